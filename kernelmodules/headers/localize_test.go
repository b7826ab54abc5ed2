package headers

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLocalizeStaysInside: what was unpacked cannot have a Makefile elsewhere rewritten, whatever links it holds.
func TestLocalizeStaysInside(t *testing.T) {
	const text = "include /usr/src/common/Makefile\n"
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	tree := filepath.Join(root, "usr/src/tree")
	for _, d := range []string{outside, tree, filepath.Join(root, "usr/src/common")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, data string) {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	makefile := filepath.Join(outside, "Makefile")
	write(makefile, text)
	write(filepath.Join(root, "usr/src/common/Makefile"), "all:\n")
	if err := os.Symlink("../../../../outside/Makefile", filepath.Join(tree, "Makefile")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []string{outside, tree, dir} {
		if err := localize(tt, root); err == nil {
			t.Errorf("%s was taken", tt)
		}
		if b, err := os.ReadFile(makefile); err != nil || string(b) != text {
			t.Errorf("%s: the Makefile outside is %q, %v", tt, b, err)
		}
	}
	if err := os.Remove(filepath.Join(tree, "Makefile")); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(tree, "Makefile"), text)
	if err := localize(tree, root); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(tree, "Makefile")); err != nil || string(b) != "include "+root+"/usr/src/common/Makefile\n" {
		t.Errorf("the tree's own Makefile: %q, %v", b, err)
	}
}

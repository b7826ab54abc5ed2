package live

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// moduleBTF is as much of BTF as tells it apart, of so many bytes.
func moduleBTF(n int, fill byte) []byte {
	return append([]byte{0x9f, 0xeb, 1, 0}, bytes.Repeat([]byte{fill}, n-4)...)
}

// collectModules runs the script on a folder in place of /sys/kernel/btf.
func collectModules(t *testing.T, dir string) (Item, []byte) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there is no sh")
	}
	script := strings.ReplaceAll(Script, "/sys/kernel/btf", dir)
	cmd := exec.Command("sh", "-s", nonce, "btf-modules")
	cmd.Stdin = strings.NewReader(script)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c, err := receive(t, string(out), 1000, parse(t, "btf-modules"), nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Content(0)
	if err != nil {
		t.Fatal(err)
	}
	return c.Items[0], raw
}

// TestModulesBTF: what the script prints of a folder comes back as the files that are in it.
func TestModulesBTF(t *testing.T) {
	dir := t.TempDir()
	want := map[string][]byte{"vsock": moduleBTF(9000, 'v'), "nf-x_tables2": moduleBTF(300, '\n'), "-rf": moduleBTF(8, 0)}
	for name, data := range want {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), moduleBTF(100, 'k'), 0o600); err != nil {
		t.Fatal(err)
	}
	it, raw := collectModules(t, dir)
	if it.Error != "" {
		t.Errorf("%+v", it)
	}
	modules, err := ModulesBTF(raw)
	if err != nil {
		t.Fatal(err)
	}
	tar, err := ModulesTar(modules)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadModulesTar(tar)
	if err != nil || !maps.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%v, %d modules of %d", err, len(got), len(want))
	}
	// Without its end the last is missing, and the others are there.
	modules, err = ModulesBTF(raw[:len(raw)-1])
	if err == nil || !strings.Contains(err.Error(), "cut") || len(modules) != 2 {
		t.Errorf("%v, %d modules", err, len(modules))
	}
	for _, d := range []string{t.TempDir(), filepath.Join(dir, "missing")} {
		if it, raw := collectModules(t, d); it.Error != "the host has none" || raw != nil {
			t.Errorf("%+v, %q", it, raw)
		}
	}
}

// TestModulesBTFHostile: what a host may say in place of that.
func TestModulesBTFHostile(t *testing.T) {
	ls := func(name string, size int) string {
		return fmt.Sprintf("-r--r--r-- 1 0 0 %d Nov 22 10:00 %s\n", size, name)
	}
	good := string(moduleBTF(10, 'a'))
	for text, c := range map[string]struct {
		n    int
		want string
	}{
		"": {0, "no end"},
		ls("a", 10) + ls("../b", 10) + "\n" + good + good:               {1, "not the name"},
		ls("a", 10) + ls("a", 10) + "\n" + good + good:                  {1, "not the name"},
		ls("a", 10) + ls("b/c", 10) + "\n" + good + good:                {1, "not the name"},
		ls("a", 10) + ls("b", 1<<30) + "\n" + good:                      {1, "cut"},
		ls("a", 10) + ls("b", -1) + "\n" + good:                         {1, "no size"},
		ls("a", 9) + ls("b", 10) + "\n" + good + good:                   {1, "came or went"},
		ls("a", 10) + "total 5\n" + "\n" + good:                         {1, "how ls lists"},
		ls("a", 10) + "\n" + good + "x":                                 {1, "follow"},
		strings.Repeat(ls("a", 10), 3) + "\n" + strings.Repeat(good, 3): {1, "not the name"},
	} {
		got, err := ModulesBTF([]byte(text))
		if err == nil || !strings.Contains(err.Error(), c.want) || len(got) != c.n {
			t.Errorf("%.80q: %d modules, %v", text, len(got), err)
		}
	}
}

// TestModulesTarHostile: files that are larger than what is stored of them, or come twice.
func TestModulesTarHostile(t *testing.T) {
	const files = 8
	sparse := func(size int) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for i := range files {
			err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("m", i), Typeflag: tar.TypeReg, Mode: 0o600, PAXRecords: map[string]string{
				// Writer refuses to write what these become.
				"XXX.sparse.major": "0", "XXX.sparse.minor": "1", "XXX.sparse.numblocks": "1",
				"XXX.sparse.size": strconv.Itoa(size), "XXX.sparse.map": fmt.Sprintf("%d,0", size),
			}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return bytes.ReplaceAll(out.Bytes(), []byte("XXX."), []byte("GNU."))
	}
	raw := sparse(100)
	if got, err := ReadModulesTar(raw); err != nil || len(got) != files || len(got["m1"]) != 100 {
		t.Fatalf("sparse files: %d, %v", len(got), err)
	}
	raw = sparse(len(raw) / 2)
	if got, err := ReadModulesTar(raw); err == nil || len(got) > 2 {
		t.Errorf("sparse files of half of it: %d, %v", len(got), err)
	}
	raw, err := ModulesTar([]ModuleBTF{{"a", moduleBTF(8, 0)}, {"a", moduleBTF(8, 1)}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadModulesTar(raw); err == nil || len(got) != 1 || !bytes.Equal(got["a"], moduleBTF(8, 0)) {
		t.Errorf("one twice: %d, %v", len(got), err)
	}
}

func FuzzModulesBTF(f *testing.F) {
	f.Add([]byte("-r--r--r-- 1 0 0 8 Nov 22 10:00 a\n\n\x9f\xeb\x01\x00aaaa"))
	tar, _ := ModulesTar([]ModuleBTF{{"a", moduleBTF(8, 0)}})
	f.Add(tar)
	f.Fuzz(func(t *testing.T, raw []byte) {
		modules, err := ModulesBTF(raw)
		tar, terr := ModulesTar(modules)
		if terr != nil {
			t.Fatalf("%v of %v, %v", terr, modules, err)
		}
		got, terr := ReadModulesTar(tar)
		if terr != nil || len(got) != len(modules) {
			t.Fatalf("%d of %d: %v", len(got), len(modules), terr)
		}
		got, _ = ReadModulesTar(raw)
		size := 0
		for _, data := range got {
			size += len(data)
		}
		if size > len(raw) {
			t.Fatalf("%d bytes came of %d", size, len(raw))
		}
	})
}

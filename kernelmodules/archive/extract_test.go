package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive/archivetest"
)

// TestExtract: one file comes out of a package, and nothing else; links and folders of its name do not count.
func TestExtract(t *testing.T) {
	p := archivetest.Package{Name: "linux-image-dbg", Version: "1-1", Arch: "amd64", Suffix: ".xz", Files: []archivetest.File{
		{Name: "./usr/lib/debug/lib/x.ko", Data: strings.Repeat("module", 1000)},
		{Name: "./usr/lib/debug/vmlinux", Data: strings.Repeat("kernel", 1000)},
		{Name: "./usr/lib/debug/after", Data: "after"},
	}}
	open := func(name string, data []byte) *archive.Package {
		t.Helper()
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := archive.OpenPackage(file)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	vmlinux := func(name string, size int64) (bool, error) { return strings.HasSuffix(name, "/vmlinux"), nil }
	rpm := p
	rpm.Arch = "x86_64"
	for _, pkg := range []*archive.Package{open("p.ddeb", p.Deb()), open("p.rpm", rpm.RPM())} {
		var out bytes.Buffer
		name, n, err := pkg.Extract(t.Context(), vmlinux, &out)
		if err != nil || name != "usr/lib/debug/vmlinux" || n != 6000 || out.String() != strings.Repeat("kernel", 1000) {
			t.Errorf("%s: %q, %d bytes, %v", pkg.Path, name, n, err)
		}
		if _, _, err := pkg.Extract(t.Context(), func(string, int64) (bool, error) { return false, nil }, &out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s without it: %v", pkg.Path, err)
		}
		full := errors.New("no room")
		if _, _, err := pkg.Extract(t.Context(), func(string, int64) (bool, error) { return true, full }, &out); !errors.Is(err, full) {
			t.Errorf("%s without room: %v", pkg.Path, err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(full)
		if _, _, err := pkg.Extract(ctx, vmlinux, &out); !errors.Is(err, full) {
			t.Errorf("%s, stopped: %v", pkg.Path, err)
		}
		other := rpm
		other.Version = "2-2"
		if err := os.WriteFile(pkg.Path, map[bool][]byte{true: other.RPM(), false: append(p.Deb(), 0)}[pkg.RPM], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := pkg.Extract(t.Context(), vmlinux, &out); err == nil || !strings.Contains(err.Error(), "was changed") {
			t.Errorf("%s, another: %v", pkg.Path, err)
		}
	}
}

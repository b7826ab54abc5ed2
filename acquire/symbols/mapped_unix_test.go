//go:build unix

package symbols

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMapped: a section is mapped as it lies in a regular file that has all of it, and only then.
func TestMapped(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	name := filepath.Join(t.TempDir(), "vmlinux")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := func(offset, size uint64, flags elf.SectionFlag) *elf.Section {
		return &elf.Section{SectionHeader: elf.SectionHeader{Offset: offset, FileSize: size, Size: size, Flags: flags}}
	}
	for _, at := range []uint64{0, 5, 4096, 5000} {
		b, unmap := mapped(f, section(at, 8192, 0))
		if !bytes.Equal(b, data[at:at+8192]) {
			t.Errorf("at %d: %d bytes", at, len(b))
		}
		if err := unmap(); err != nil {
			t.Errorf("at %d: %v", at, err)
		}
	}
	size := uint64(len(data))
	for what, s := range map[string]*elf.Section{
		"packed": section(0, 100, elf.SHF_COMPRESSED), "longer than the file": section(1, size, 0), "behind the file": section(size+1, 0, 0),
		"no sum": section(1<<63, 1<<63, 0), "too large": section(0, maxSection+1, 0),
	} {
		if b, _ := mapped(f, s); b != nil {
			t.Errorf("%s: %d bytes were mapped", what, len(b))
		}
	}
	if b, _ := mapped(strings.NewReader(string(data)), section(0, 100, 0)); b != nil {
		t.Error("what is no file was mapped")
	}

	// A file that is cut while it is read does not end the program.
	b, unmap := mapped(f, section(0, size, 0))
	defer unmap() //nolint:errcheck // as above
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	sum := byte(0)
	if err := faults(func() error { sum += b[len(b)-1]; return nil }); err == nil || !strings.Contains(err.Error(), "cut meanwhile") {
		t.Errorf("%v, %d", err, sum)
	}
	defer func() {
		if recover() != "another" {
			t.Error("another panic was taken for a fault")
		}
	}()
	faults(func() error { panic("another") }) //nolint:errcheck // it does not return
}

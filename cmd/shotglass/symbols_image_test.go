package main

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

// TestImageSymbols: an image's symbol file is made of the archive that its manifest lists, lies beside it, and replaces nothing.
func TestImageSymbols(t *testing.T) {
	files, err := smallKernel()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "x.lime")
	archive := acquire.LiveName(image, false)
	items := writeLiveItems(t, archive, files, func(*live.Item) {})
	manifest := func(items []live.Item) {
		t.Helper()
		m := &acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Live: &acquire.Live{Items: items, Complete: true, Image: acquire.Image{Location: archive, Encryption: "none"}}}
		data, err := m.Marshal()
		if err == nil {
			err = os.WriteFile(image+acquire.ManifestSuffix, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s := &imageSymbols{c: newConsole(nil, io.Discard, io.Discard)}
	fails := func(want string) {
		t.Helper()
		if _, err := s.write(t.Context(), image); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	fails("the manifest of")
	planted := append([]live.Item(nil), items...)
	planted[0].SHA256 = strings.Repeat("0", 64)
	manifest(planted)
	fails("not that of the manifest")
	manifest(items)
	s.most = 10 // less than the BTF of any kernel: as beside a capture
	fails("more than are taken beside a capture")
	s.most = 0
	rep, err := s.write(t.Context(), image)
	if err != nil || rep.File != image+".isf.json.xz" || rep.UserTypes != 1 || rep.Symbols != 1003 {
		t.Fatalf("%+v, %v", rep, err)
	}
	first, err := os.ReadFile(rep.File)
	if err != nil || int64(len(first)) != rep.Bytes || !bytes.HasPrefix(first, []byte("\xfd7zXZ")) {
		t.Errorf("%d bytes of %d, %v", len(first), rep.Bytes, err)
	}
	fails(fs.ErrExist.Error())
	if again, err := os.ReadFile(rep.File); err != nil || !bytes.Equal(again, first) {
		t.Errorf("it was changed: %v", err)
	}

	// Without BTF there is none, and nothing is left.
	os.Remove(rep.File)
	delete(files, "sys/kernel/btf/vmlinux")
	manifest(writeLiveItems(t, archive, files, func(*live.Item) {}))
	fails("there are no types")
	var h *hinted
	if _, err := s.write(t.Context(), image); !errors.As(err, &h) || !strings.Contains(h.Hint(), "--fetch") {
		t.Errorf("no hint: %v", err)
	}
	if _, err := os.Stat(rep.File); !os.IsNotExist(err) {
		t.Errorf("what is left: %v", err)
	}
}

package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// TestVMCoreInfoBehindLink finds what was collected beside the image, and not beside a link to it.
func TestVMCoreInfoBehindLink(t *testing.T) {
	evidence, desk := t.TempDir(), t.TempDir()
	const note = "OSRELEASE=6.1.0\nPAGESIZE=4096\n"
	image, link := filepath.Join(evidence, "x.lime"), filepath.Join(desk, "y.lime")
	items := writeLiveItem(t, acquire.LiveName(image, false), vmcoreinfoItem, vmcoreinfoItem, note, live.After)
	writeLiveItem(t, acquire.LiveName(link, false), vmcoreinfoItem, vmcoreinfoItem, "OSRELEASE=other\nPAGESIZE=4096\n", live.After)
	if err := errors.Join(os.WriteFile(image, []byte("memory"), 0o600), os.Symlink(image, link)); err != nil {
		t.Fatal(err)
	}
	vouched := &acquire.Manifest{Image: acquire.Image{Name: "x.lime"}, Live: &acquire.Live{Image: acquire.Image{Location: "x", Encryption: "none"}, Items: items}}
	for what, m := range map[string]*acquire.Manifest{"no manifest": nil, "a manifest": vouched} {
		for _, name := range []string{image, link} {
			got, err := vmcoreinfo(t.Context(), name, s3.Options{}, nil, m)
			if err != nil || string(got) != note {
				t.Errorf("%s, %s: %q, %v", what, name, got, err)
			}
		}
	}
}

// An endless archive is written until nobody reads it; done then.
type endless struct{ done bool }

func (e *endless) WriteTo(w io.Writer) (n int64, err error) {
	for err == nil {
		_, err = w.Write(make([]byte, 1024))
	}
	e.done = true
	return 0, err
}

// TestReadLiveWaits leaves nobody behind who reads an archive that is closed next.
func TestReadLiveWaits(t *testing.T) {
	e := &endless{}
	if _, err := readLive(e, func(live.Item, io.Reader) error { return nil }); err == nil {
		t.Error("zeros were taken for an archive")
	}
	if !e.done {
		t.Error("it is still read")
	}
}

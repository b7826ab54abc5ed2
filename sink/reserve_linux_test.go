package sink_test

import (
	"errors"
	"syscall"
	"testing"
)

// TestReserveOnFullDisk fills a file system up to the reserve, and finds room again
// after its release.
func TestReserveOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "size=1m", 0)
	d := newDisk(t, dir)
	if _, err := d.Reserve(t.Context(), "image", 2<<20); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Reserve of more than there is: %v", err)
	}
	release, err := d.Reserve(t.Context(), "image", 256<<10)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	image, err := d.Create(t.Context(), "image")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := image.Write(make([]byte, 2<<20)); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("Write to a full disk: %v", err)
	}
	write := func() error {
		o, err := d.Create(t.Context(), "manifest")
		if err != nil {
			return err
		}
		if _, err := o.Write(make([]byte, 64<<10)); err != nil {
			return errors.Join(err, o.Abort(t.Context()))
		}
		_, err = o.Commit(t.Context())
		return err
	}
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("manifest before the release: %v", err)
	}
	release()
	if err := write(); err != nil {
		t.Fatalf("manifest after the release: %v", err)
	}
}

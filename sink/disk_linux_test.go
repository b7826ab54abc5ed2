package sink_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

func mount(t *testing.T, dir, options string, flags uintptr) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		t.Skip("mount: ", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

func readOnly(t *testing.T, dir string) { mount(t, dir, "size=1m", unix.MS_RDONLY) }

// TestDiskReallyFull fills a file system of 1 MiB.
func TestDiskReallyFull(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, "size=1m", 0)
	d := newDisk(t, dir)
	free, err := d.Free(t.Context())
	if err != nil || free <= 0 || free > 1<<20 {
		t.Fatalf("Free = %d, %v", free, err)
	}
	o, err := d.Create(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	n, err := o.Write(make([]byte, 3<<20))
	var space *sink.SpaceError
	if !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) || space.Written != int64(n) || space.Free != 0 {
		t.Fatalf("Write = %d, %v", n, err)
	}
	if _, again := o.Write([]byte("x")); again != err {
		t.Errorf("second Write: %v, want the first error", again)
	}
	if r, err := o.Keep(t.Context()); err != nil || r.Size != int64(n) {
		t.Errorf("Keep: %+v, %v; %d bytes were written", r, err, n)
	}
	if err := d.Check(t.Context(), "next.lime"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Check on a full file system: %v", err)
	}
}

func TestDiskOnTmpfs(t *testing.T) {
	sinktest.Test(t, func(t *testing.T) sink.Sink {
		dir := t.TempDir()
		mount(t, dir, "size=64m", 0)
		return newDisk(t, dir)
	}, sinktest.Options{})
}

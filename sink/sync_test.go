package sink_test

import (
	"errors"
	"os"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

type syncFile struct {
	sink.DiskFile
	synced *int
	err    error
}

func (f *syncFile) Sync() error { *f.synced++; return f.err }

// TestSync: an object is made durable on its way, and one that could not be is not committed.
func TestSync(t *testing.T) {
	for _, fault := range []error{nil, errors.New("input/output error")} {
		synced := 0
		d := newDisk(t, t.TempDir()).WithHooks(sink.Hooks{File: func(f sink.DiskFile) sink.DiskFile {
			return &syncFile{f, &synced, fault}
		}})
		o, err := d.Create(t.Context(), "log")
		if err != nil {
			t.Fatal(err)
		}
		o.Write([]byte("line\n"))
		if err := o.(sink.Syncer).Sync(); !errors.Is(err, fault) || synced != 1 {
			t.Errorf("%v, synced %d times", err, synced)
		}
		if data, err := os.ReadFile(o.Location()); err != nil || string(data) != "line\n" {
			t.Errorf("%q, %v", data, err)
		}
		if _, err := o.Commit(t.Context()); (err == nil) != (fault == nil) {
			t.Errorf("commit: %v", err)
		}
		if err := o.(sink.Syncer).Sync(); fault == nil && !errors.Is(err, sink.ErrEnded) {
			t.Errorf("after the end: %v", err)
		}
	}
}

package sink

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestHole leaves holes at the beginning, between, and at the end, and what is read back are zeros.
func TestHole(t *testing.T) {
	dir := t.TempDir()
	d, err := NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	o, err := d.Create(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	h := o.(Holer)
	var want []byte
	for _, n := range []int64{1 << 20, 0, 5, 300000} {
		if err := h.Hole(n); err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write([]byte("memory")); err != nil {
			t.Fatal(err)
		}
		want = append(append(want, make([]byte, n)...), "memory"...)
	}
	if err := h.Hole(1 << 16); err != nil {
		t.Fatal(err)
	}
	want = append(want, make([]byte, 1<<16)...)
	r, err := o.Commit(t.Context())
	if err != nil || r.Size != int64(len(want)) {
		t.Fatalf("%+v, %v", r, err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "x")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of another content, want %d: %v", len(got), len(want), err)
	}
	if err := h.Hole(1); !errors.Is(err, ErrEnded) {
		t.Errorf("after its end: %v", err)
	}
}

// TestNoHole says so where the file is none that has holes, and the object goes on.
func TestNoHole(t *testing.T) {
	d, err := NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	d.ops.create = func(path string) (diskFile, error) {
		f, err := createFile(path)
		return plainFile{f}, err
	}
	o, err := d.Create(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := o.(Holer).Hole(10); !errors.Is(err, ErrNoHole) {
		t.Errorf("%v", err)
	}
	if _, err := o.Write(make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if r, err := o.Commit(t.Context()); err != nil || r.Size != 10 {
		t.Errorf("%+v, %v", r, err)
	}
}

// plainFile cannot seek.
type plainFile struct{ diskFile }

var _ io.Writer = plainFile{}

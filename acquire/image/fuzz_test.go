package image

import (
	"bytes"
	"debug/elf"
	"io"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// FuzzImage opens what anybody may have made of an image and of its frame index: nothing panics, no view is longer
// than its parts, and what is read of the stream is what the stored bytes say.
func FuzzImage(f *testing.F) {
	stored, index := bytes.Buffer{}, bytes.Buffer{}
	raw := testRaw()[:lime.HeaderSize+20000]
	w, err := frame.NewWriter(&stored, frame.Options{Pool: frame.NewPool(frame.PoolOptions{}), Size: 4096, Compression: frame.Zstd})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.Write(raw); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	if _, err := w.Index().WriteTo(&index); err != nil {
		f.Fatal(err)
	}
	f.Add(stored.Bytes(), index.Bytes())
	f.Add(raw, []byte{})
	f.Add(raw[:100], index.Bytes())
	f.Fuzz(func(t *testing.T, data, index []byte) {
		img := &Image{life: t.Context(), stop: func() {}}
		defer img.Close()
		var x *frame.Index
		if len(index) > 0 {
			var err error
			if x, err = frame.ParseIndex(bytes.NewReader(index)); err != nil {
				return
			}
			for _, e := range x.Entries {
				if e.RawSize > 1<<20 || e.StoredSize > 1<<20 {
					return // bounded elsewhere; here it would only be slow
				}
			}
		}
		if err := img.open(bytes.NewReader(data), int64(len(data)), x, Options{Cache: 1 << 20}.withDefaults()); err != nil {
			return
		}
		views := []*View{img.Lime()}
		if v, err := img.Raw(); err == nil {
			views = append(views, v)
		}
		if v, err := img.ELF(forms.MachineX86, []byte("OSRELEASE=1\n"), 0); err == nil {
			views = append(views, v)
			if _, err := elf.NewFile(v); err != nil {
				t.Errorf("no ELF: %v", err)
			}
		}
		for _, v := range views {
			p := make([]byte, 5000)
			for _, off := range []int64{0, v.Size() / 2, v.Size() - 1, v.Size()} {
				n, err := v.ReadAt(p, off)
				if int64(n) > max(0, v.Size()-off) || n < len(p) && err == nil || off == v.Size() && err != io.EOF {
					t.Errorf("read at %d of %d: %d, %v", off, v.Size(), n, err)
				}
			}
		}
	})
}

package image

import (
	"bytes"
	"debug/elf"
	"io"
	"testing"

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
		if v, err := img.ELF(MachineX86, []byte("OSRELEASE=1\n")); err == nil {
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

// FuzzELFHead makes heads of any stretches: each is one that debug/elf reads, with those stretches.
func FuzzELFHead(f *testing.F) {
	f.Add(uint64(0x1000), int64(0x9f000), uint64(0x100000), int64(1), []byte("PAGESIZE=4096\n"))
	f.Fuzz(func(t *testing.T, a uint64, n int64, b uint64, m int64, note []byte) {
		head, places, err := ELFHead(MachineARM64, []Stretch{{a, n}, {b, m}}, note)
		if err != nil {
			return
		}
		e, err := elf.NewFile(bytes.NewReader(head))
		if err != nil {
			t.Fatal(err)
		}
		if places[0] < int64(len(head)) || places[1] < places[0]+n || places[0]%4096 != 0 {
			t.Errorf("places %v after a head of %d", places, len(head))
		}
		loads := 0
		for _, p := range e.Progs {
			if p.Type == elf.PT_LOAD {
				loads++
			}
		}
		if want := min(n, 1) + min(m, 1); loads != int(want) {
			t.Errorf("%d segments of %d and %d bytes", loads, n, m)
		}
	})
}

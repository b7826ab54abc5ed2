package kcore

import (
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// header makes the start of a /proc/kcore with these segments.
func header(segs ...Segment) []byte {
	le := binary.LittleEndian
	b := make([]byte, ehSize+phSize*(len(segs)+1))
	copy(b, "\x7fELF\x02\x01\x01")
	le.PutUint16(b[16:], 4)
	le.PutUint64(b[32:], ehSize)
	le.PutUint16(b[54:], phSize)
	le.PutUint16(b[56:], uint16(len(segs)+1))
	le.PutUint32(b[ehSize:], 4) // PT_NOTE
	for i, s := range segs {
		p := b[ehSize+phSize*(i+1):]
		le.PutUint32(p, ptLoad)
		le.PutUint64(p[8:], s.Offset)
		le.PutUint64(p[16:], s.Virtual)
		le.PutUint64(p[24:], s.Physical)
		le.PutUint64(p[32:], s.Size)
		le.PutUint64(p[40:], s.Size)
	}
	return b
}

// A Debian 12 guest: text, vmalloc, and two ranges of RAM.
var (
	ram    = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0xbfdcfff}}
	modern = []Segment{
		{0x7fffb1004000, 0xffffffffb1000000, 0x5000000, 0x2a00000},
		{0x1d33380005000, 0xffffc90000000000, ^uint64(0), 1 << 44},
		{0x31d33380005000, 0xffff88a700001000, 0x1000, 0x9e000},
		{0x31d33380104000, 0xffff88a700100000, 0x100000, 0xbedd000},
	}
)

func TestModern(t *testing.T) {
	segs, err := ParseHeader(header(modern...))
	if err != nil || len(segs) != 4 {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	m, err := NewMap(segs, ram)
	if err != nil {
		t.Fatal(err)
	}
	for phys, want := range map[uint64]uint64{
		0x1000: 0x31d33380005000, 0x9e000: 0x31d33380005000 + 0x9d000,
		0x100000: 0x31d33380104000,
		// Text lies in RAM too: the RAM segment serves it.
		0x5001000: 0x31d33380104000 + 0x4f01000,
		0xbfdc000: 0x31d33380104000 + 0xbedc000,
	} {
		if off, ok := m.Offset(phys); !ok || off != want {
			t.Errorf("0x%x: 0x%x, %t, want 0x%x", phys, off, ok, want)
		}
	}
	for _, phys := range []uint64{0, 0x9f000, 0xbfdd000, 1 << 40} {
		if off, ok := m.Offset(phys); ok {
			t.Errorf("0x%x lies at 0x%x", phys, off)
		}
	}
	if p, ok := Physical(segs, 0xffffffffb151ffe0); !ok || p != 0x551ffe0 {
		t.Errorf("banner at 0x%x, %t", p, ok)
	}
	if p, ok := Physical(segs, 0xffffc90000001000); ok {
		t.Errorf("a vmalloc address lies at 0x%x", p)
	}
}

func TestOldKernel(t *testing.T) { // before 4.12: no physical addresses
	old := []Segment{
		{0x1000, 0xffff880000001000, 0, 0x9e000},
		{0x100000, 0xffff880000100000, 0, 0xbedd000},
		{0x7fff81000000, 0xffffffff81000000, 0, 0x1000000},
	}
	m, err := NewMap(old, ram)
	if err != nil || m.Rule() != BySize {
		t.Fatal(m, err)
	}
	if off, ok := m.Offset(0x200000); !ok || off != 0x200000 {
		t.Errorf("0x%x, %t", off, ok)
	}
	// A range that no segment holds makes the guess wrong: refuse.
	if _, err := NewMap(old, append(ram, lime.Range{Start: 1 << 32, End: 2<<32 - 1})); !errors.Is(err, ErrNoMap) {
		t.Errorf("error %v", err)
	}
	if _, err := NewMap(old, nil); !errors.Is(err, ErrNoMap) {
		t.Errorf("error %v", err)
	}
	// arm64 before 5.4: vmalloc lies below the direct map, and would hold any range.
	arm := append([]Segment{{0x8000000, 0xffff000008000000, 0, 1 << 46}}, old...)
	if m, err := NewMap(arm, ram); err != nil {
		t.Error(err)
	} else if off, ok := m.Offset(0x200000); !ok || off != 0x200000 {
		t.Errorf("arm64: 0x%x, %t", off, ok)
	}
	if _, err := NewMap(arm[:1], ram); !errors.Is(err, ErrNoMap) {
		t.Errorf("vmalloc alone: %v", err)
	}
	// Two mappings that both fit: refuse rather than guess.
	twice := append(old[:2:2], Segment{1 << 40, 0xffff990000001000, 0, 0x9e000}, Segment{1<<40 + 0xff000, 0xffff990000100000, 0, 0xbedd000})
	if _, err := NewMap(twice, ram); !errors.Is(err, ErrNoMap) {
		t.Errorf("two mappings: %v", err)
	}
}

func TestExtents(t *testing.T) {
	m, err := NewMap(modern, ram)
	if err != nil || m.Rule() != ByPhysical {
		t.Fatal(m, err)
	}
	for _, tt := range []struct {
		r    lime.Range
		want []Extent
	}{
		{ram[0], []Extent{{0x1000, 0x9e000, 0x31d33380005000}}}, // the last 0xc00 bytes are no page
		{ram[1], []Extent{{0x100000, 0xbedd000, 0x31d33380104000}}},
		{lime.Range{Start: 0x1800, End: 0x37ff}, []Extent{{0x2000, 0x1000, 0x31d33380006000}}},
		{lime.Range{Start: 0x1800, End: 0x27ff}, nil},
	} {
		got, err := m.Extents(tt.r)
		if err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: %x, %v, want %x", tt.r, got, err, tt.want)
		}
	}
	for _, r := range []lime.Range{{Start: 0x9f000, End: 0xa0fff}, {Start: 0x100000, End: 0xbfddfff}, {Start: 1 << 40, End: 1<<40 + 0xfff}} {
		if got, err := m.Extents(r); !errors.Is(err, ErrNoMap) {
			t.Errorf("%s: %x, %v", r, got, err)
		}
	}
	// Many abutting segments, as UEFI and virtio-mem make them, under one range and under several.
	abut := []Segment{{0x5000, 1 << 63, 1 << 32, 0x3000}, {0x8000, 1<<63 + 0x3000, 1<<32 + 0x3000, 0x2000}, {0x100000, 1<<63 + 0x5000, 1<<32 + 0x5000, 0x1000}}
	if m, err = NewMap(abut, []lime.Range{{Start: 1 << 32, End: 1<<32 + 0x5fff}}); err != nil {
		t.Fatal(err)
	}
	got, err := m.Extents(lime.Range{Start: 1 << 32, End: 1<<32 + 0x5fff})
	if want := []Extent{{1 << 32, 0x5000, 0x5000}, {1<<32 + 0x5000, 0x1000, 0x100000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("abutting: %x, %v", got, err)
	}
	// Offsets beyond what dd can seek to, and within a page.
	for _, off := range []uint64{1<<63 - 0x1000, 0x5001} {
		m, err := NewMap([]Segment{{off, 1 << 62, 1 << 32, 0x2000}}, []lime.Range{{Start: 1 << 32, End: 1<<32 + 0x1fff}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.Extents(lime.Range{Start: 1 << 32, End: 1<<32 + 0x1fff}); !errors.Is(err, ErrNoMap) {
			t.Errorf("offset 0x%x: %x, %v", off, got, err)
		}
	}
}

func TestBadHeaders(t *testing.T) {
	good := header(modern...)
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:63], "cut in the program headers": good[:len(good)-1],
		"not ELF": append([]byte("x"), good[1:]...), "no segment": header(),
	} {
		if _, err := ParseHeader(b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	var short *ShortError
	if _, err := ParseHeader(good[:ehSize]); !errors.As(err, &short) || short.Need != len(good) {
		t.Errorf("headers of %d bytes: %v", len(good), err)
	}
}

func FuzzParseHeader(f *testing.F) {
	f.Add(header(modern...), uint64(0x5001000))
	f.Fuzz(func(t *testing.T, b []byte, phys uint64) {
		segs, err := ParseHeader(b)
		if err != nil {
			return
		}
		if m, err := NewMap(segs, ram); err == nil {
			m.Offset(phys)
			for _, r := range ram {
				ext, err := m.Extents(r)
				if err != nil {
					continue
				}
				// What is given out covers the whole pages of the range, once.
				p, end := whole(r)
				for _, e := range ext {
					if e.Phys != p || e.Size == 0 || e.Size%pageSize != 0 || e.Offset%pageSize != 0 || e.Offset+e.Size > 1<<63 {
						t.Fatalf("range %s: %x", r, ext)
					}
					p += e.Size
				}
				if p != end {
					t.Fatalf("range %s: %x", r, ext)
				}
			}
		}
		Physical(segs, phys)
	})
}

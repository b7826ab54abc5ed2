package kcore

import (
	"encoding/binary"
	"errors"
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
	if err != nil {
		t.Fatal(err)
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
		}
		Physical(segs, phys)
	})
}

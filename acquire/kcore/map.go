package kcore

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Map says where in /proc/kcore physical addresses lie.
type Map struct {
	rule   string
	blocks []block
}

type block struct{ phys, size, offset uint64 }

// The rules by which segments are matched with RAM.
const (
	// ByPhysical: the kernel wrote the physical addresses into the headers (4.12 and
	// later, and backports). KASLR, 4- and 5-level paging and arm64 are all in them.
	ByPhysical = "p_paddr"
	// BySize: an older kernel wrote none. The direct map is found by the sizes of its
	// segments, which are those of the ranges of RAM.
	BySize = "size"
)

// ErrNoMap is wrapped when the segments cannot be matched with RAM safely.
var ErrNoMap = errors.New("kcore: segments cannot be matched with System RAM")

// NewMap matches segments with the System RAM ranges of /proc/iomem, by one of the
// rules above. Where neither gives one answer, it refuses rather than guesses.
func NewMap(segs []Segment, ram []lime.Range) (*Map, error) {
	if len(ram) == 0 {
		return nil, fmt.Errorf("%w: no System RAM", ErrNoMap)
	}
	m := &Map{rule: ByPhysical}
	if slices.ContainsFunc(segs, Segment.physical) {
		for _, s := range segs {
			if s.physical() || s.Physical == 0 {
				m.blocks = append(m.blocks, block{s.Physical, s.Size, s.Offset})
			}
		}
	} else {
		m.rule = BySize
		delta, err := distance(segs, ram)
		if err != nil {
			return nil, err
		}
		for _, r := range ram {
			s, e := whole(r)
			for _, g := range segs {
				if e > s && g.Virtual-delta == s && g.Size == e-s {
					m.blocks = append(m.blocks, block{s, g.Size, g.Offset})
				}
			}
		}
	}
	// The text segment overlaps a RAM segment: the larger one is tried first.
	slices.SortFunc(m.blocks, func(a, b block) int {
		return cmp.Or(cmp.Compare(b.size, a.size), cmp.Compare(a.phys, b.phys))
	})
	return m, nil
}

// Rule is ByPhysical or BySize.
func (m *Map) Rule() string { return m.rule }

// whole are the whole pages of a range, [start, end).
func whole(r lime.Range) (start, end uint64) {
	start, end = (r.Start+pageSize-1)&^(pageSize-1), (r.End+1)&^(pageSize-1)
	return start, max(start, end)
}

// distance is that of virtual from physical addresses in the direct map of a kernel that
// does not write physical addresses: under it, each range of RAM has a segment of exactly
// its whole pages. The lowest segment need not be of the direct map: on arm64
// before 5.4 vmalloc lies below, and its terabytes would hold any range.
func distance(segs []Segment, ram []lime.Range) (uint64, error) {
	type place struct{ virtual, size uint64 }
	have := map[place]bool{}
	for _, s := range segs {
		have[place{s.Virtual, s.Size}] = true
	}
	var first, size uint64 // of the largest range, which few segments equal
	for _, r := range ram {
		if s, e := whole(r); e-s > size {
			first, size = s, e-s
		}
	}
	var found []uint64
	for p := range have {
		if size == 0 || p.size != size {
			continue
		}
		delta := p.virtual - first
		if !slices.ContainsFunc(ram, func(r lime.Range) bool {
			s, e := whole(r)
			return e > s && !have[place{s + delta, e - s}]
		}) {
			found = append(found, delta)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return 0, fmt.Errorf("%w: the kernel writes no physical addresses, and no distance gives every range of RAM a segment of its size", ErrNoMap)
	}
	return 0, fmt.Errorf("%w: the kernel writes no physical addresses, and %d distances give every range of RAM a segment", ErrNoMap, len(found))
}

func (m *Map) find(phys uint64) (block, bool) {
	for _, b := range m.blocks {
		if phys >= b.phys && phys-b.phys < b.size {
			return b, true
		}
	}
	return block{}, false
}

// Offset returns the offset in /proc/kcore of the page at phys. ok is false
// when no segment holds the whole page.
func (m *Map) Offset(phys uint64) (off uint64, ok bool) {
	b, ok := m.find(phys)
	if !ok || b.size-(phys-b.phys) < pageSize {
		return 0, false
	}
	return b.offset + (phys - b.phys), true
}

// An Extent is a stretch of RAM that is one stretch of /proc/kcore, in whole pages.
type Extent struct {
	Phys, Size, Offset uint64
}

// Extents returns where the whole pages of a range of RAM lie, ascending and without
// gaps. A part of a page at the range's edge has no place in /proc/kcore. A page that no
// segment holds, or that lies where no file offset reaches, is an error that wraps
// ErrNoMap.
func (m *Map) Extents(r lime.Range) ([]Extent, error) {
	var out []Extent
	for p, end := whole(r); p < end; {
		b, ok := m.find(p)
		n := min(end-p, b.size-(p-b.phys)) &^ (pageSize - 1)
		off := b.offset + (p - b.phys)
		switch {
		case !ok || n == 0:
			return nil, fmt.Errorf("%w: no segment holds %s of range %s", ErrNoMap, lime.Addr(p), r)
		case off > math.MaxInt64-n:
			return nil, fmt.Errorf("%w: %s lies at offset 0x%x, which dd cannot reach", ErrNoMap, lime.Addr(p), off)
		case off%pageSize != 0:
			return nil, fmt.Errorf("%w: %s lies at offset 0x%x, within a page", ErrNoMap, lime.Addr(p), off)
		}
		if last := len(out) - 1; last >= 0 && out[last].Offset+out[last].Size == off {
			out[last].Size += n
		} else {
			out = append(out, Extent{p, n, off})
		}
		p += n
	}
	return out, nil
}

// Package kcore reads the program headers of /proc/kcore and says at which
// offset of it a physical address lies.
//
// /proc/kcore is an ELF64 core file of the running kernel: one PT_LOAD per
// range of System RAM (the direct map), one for the kernel's text, and more for
// vmalloc and the like, which are only other mappings of the same RAM
// (fs/proc/kcore.c of the kernel).
package kcore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Segment is one PT_LOAD of /proc/kcore.
type Segment struct {
	Offset   uint64 // in /proc/kcore
	Virtual  uint64
	Physical uint64 // as the kernel wrote it: 0 before 4.12, ^0 for vmalloc and the like
	Size     uint64 // p_filesz
}

const (
	ehSize   = 64
	phSize   = 56
	ptLoad   = 1
	pageSize = 4096
)

// ParseHeader reads the segments from the start of /proc/kcore. head must reach
// to the end of the program headers; a shorter one is an error.
func ParseHeader(head []byte) ([]Segment, error) {
	le := binary.LittleEndian
	if len(head) < ehSize || string(head[:4]) != "\x7fELF" {
		return nil, errors.New("kcore: not an ELF file")
	}
	if head[4] != 2 || head[5] != 1 {
		return nil, errors.New("kcore: not a 64-bit little-endian ELF file")
	}
	if t := le.Uint16(head[16:]); t != 4 {
		return nil, fmt.Errorf("kcore: ELF type %d is not a core file", t)
	}
	off, size, n := le.Uint64(head[32:]), le.Uint16(head[54:]), uint64(le.Uint16(head[56:]))
	if size != phSize {
		return nil, fmt.Errorf("kcore: program headers of %d bytes, want %d", size, phSize)
	}
	if off > uint64(len(head)) || off+n*phSize > uint64(len(head)) {
		return nil, fmt.Errorf("kcore: %d program headers at offset %d reach beyond the %d bytes read", n, off, len(head))
	}
	var segs []Segment
	for i := range n {
		p := head[off+i*phSize:]
		if le.Uint32(p) != ptLoad {
			continue
		}
		s := Segment{Offset: le.Uint64(p[8:]), Virtual: le.Uint64(p[16:]), Physical: le.Uint64(p[24:]), Size: le.Uint64(p[32:])}
		if s.Size == 0 || s.Offset+s.Size < s.Offset || s.Virtual+s.Size-1 < s.Virtual {
			continue
		}
		segs = append(segs, s)
	}
	if len(segs) == 0 {
		return nil, errors.New("kcore: no loadable segment")
	}
	return segs, nil
}

// physical says whether the kernel wrote a physical address into s.
func (s Segment) physical() bool {
	return s.Physical != 0 && s.Physical != ^uint64(0) && s.Physical != 0xffffffff && s.Physical+s.Size > s.Physical
}

// Physical translates a kernel virtual address by the segments whose physical
// address is known. ok is false when none covers it.
func Physical(segs []Segment, virtual uint64) (phys uint64, ok bool) {
	for _, s := range segs {
		// A RAM segment may begin at physical address 0, so a zero counts where
		// others have addresses; those are checked by the caller's map.
		if s.physical() && virtual >= s.Virtual && virtual-s.Virtual < s.Size {
			return virtual - s.Virtual + s.Physical, true
		}
	}
	return 0, false
}

// A Map says where in /proc/kcore physical addresses lie.
type Map struct{ blocks []block }

type block struct{ phys, size, offset uint64 }

// ErrNoMap is wrapped when the segments cannot be matched with RAM safely.
var ErrNoMap = errors.New("kcore: segments cannot be matched with System RAM")

// NewMap matches segments with the System RAM ranges of /proc/iomem. Where the
// kernel wrote physical addresses (4.12 and later, and backports) they are used.
// Otherwise the lowest segment must be the direct map of the first range, and
// every range must lie in a segment under the same distance; if not, NewMap
// refuses rather than guesses.
func NewMap(segs []Segment, ram []lime.Range) (*Map, error) {
	if len(ram) == 0 {
		return nil, fmt.Errorf("%w: no System RAM", ErrNoMap)
	}
	m := new(Map)
	known := slices.ContainsFunc(segs, Segment.physical)
	if known {
		for _, s := range segs {
			if s.physical() || s.Physical == 0 {
				m.blocks = append(m.blocks, block{s.Physical, s.Size, s.Offset})
			}
		}
	} else {
		first := slices.MinFunc(segs, func(a, b Segment) int {
			if a.Virtual < b.Virtual {
				return -1
			}
			return 1
		})
		start := (ram[0].Start + pageSize - 1) &^ (pageSize - 1)
		delta := first.Virtual - start
		for _, s := range segs {
			if s.Virtual >= delta {
				m.blocks = append(m.blocks, block{s.Virtual - delta, s.Size, s.Offset})
			}
		}
		for _, r := range ram {
			s := (r.Start + pageSize - 1) &^ (pageSize - 1)
			e := (r.End + 1) &^ (pageSize - 1)
			if e <= s {
				continue
			}
			if b, ok := m.find(s); !ok || e-b.phys > b.size {
				return nil, fmt.Errorf("%w: range 0x%x-0x%x lies in no segment", ErrNoMap, r.Start, r.End)
			}
		}
	}
	// The text segment overlaps a RAM segment: the larger one is tried first.
	slices.SortFunc(m.blocks, func(a, b block) int {
		if a.size > b.size {
			return -1
		}
		return 1
	})
	return m, nil
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

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

// maxHeaders bounds what a target can make us match; large hosts have some hundreds.
const maxHeaders = 8192

// A ShortError says that the program headers reach further than what was read.
type ShortError struct{ Need int } // bytes from the start of /proc/kcore

func (e *ShortError) Error() string {
	return fmt.Sprintf("kcore: the program headers take the first %d bytes, which were not all read", e.Need)
}

// ParseHeader reads the segments from the start of /proc/kcore. head must reach
// to the end of the program headers; a shorter one is a *ShortError.
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
	if off > ehSize || n > maxHeaders { // the kernel writes them right behind the file header
		return nil, fmt.Errorf("kcore: %d program headers at offset %d", n, off)
	}
	if end := off + n*phSize; end > uint64(len(head)) {
		return nil, &ShortError{int(end)}
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

package forms

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A segment is memory in an ELF core.
type segment struct {
	r    lime.Range
	off  int64  // in the decoded file
	file uint64 // bytes of it in the file; the rest are zeros
}

// maxPhdrs bounds what is read of program headers, in bytes.
const maxPhdrs = 64 << 20

// core reads the program headers. Of a stream they must lie at its start, as they do.
func (i *Image) core() error {
	head, err := i.begin(elfHeader)
	if err != nil {
		return err
	}
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: ELF: %s", ErrForm, fmt.Sprintf(format, args...))
	}
	var h elf.Header64
	if err := binary.Read(bytes.NewReader(head), binary.LittleEndian, &h); err != nil {
		return bad("header cut short")
	}
	switch {
	case h.Ident[elf.EI_CLASS] != byte(elf.ELFCLASS64) || h.Ident[elf.EI_DATA] != byte(elf.ELFDATA2LSB):
		return bad("not of 64 bits, little-endian")
	case h.Type != uint16(elf.ET_CORE):
		return bad("no core file")
	case h.Phentsize != elfPhdr:
		return bad("program headers of %d bytes", h.Phentsize)
	}
	count := uint64(h.Phnum)
	if h.Phnum == 0xffff { // the first section header has the number
		sh, err := i.part(h.Shoff, 64)
		if err != nil {
			return bad("the number of program headers: %v", err)
		}
		count = uint64(binary.LittleEndian.Uint32(sh[44:]))
	}
	if count*elfPhdr > maxPhdrs {
		return bad("%d program headers", count)
	}
	table, err := i.part(h.Phoff, int(count*elfPhdr))
	if err != nil {
		return bad("program headers: %v", err)
	}
	var list []segment
	physical, loads := false, 0
	for n := range count {
		var p elf.Prog64
		binary.Read(bytes.NewReader(table[n*elfPhdr:]), binary.LittleEndian, &p)
		if elf.ProgType(p.Type) != elf.PT_LOAD || p.Memsz == 0 || p.Paddr == ^uint64(0) {
			continue // no memory, or without a physical address
		}
		loads++
		physical = physical || p.Paddr != 0
		s := segment{lime.Range{Start: p.Paddr, End: p.Paddr + p.Memsz - 1}, int64(p.Off), min(p.Filesz, p.Memsz)}
		if !s.r.Valid() || s.r.End >= 1<<62 || p.Off > 1<<62 || p.Filesz > 1<<62 {
			return bad("a segment at %#x with %#x bytes, at offset %#x", p.Paddr, p.Memsz, p.Off)
		}
		list = append(list, s)
	}
	switch {
	case loads == 0:
		return bad("no memory with a physical address")
	case !physical && loads > 1:
		return bad("its segments have no physical addresses")
	}
	i.segments, i.machine = disjoint(list), elf.Machine(h.Machine)
	ascends := slices.IsSortedFunc(i.segments, func(a, b segment) int { return int(min(max(a.off-b.off, -1), 1)) })
	if !ascends && i.at == nil {
		return bad("its segments do not lie in the order of their addresses, and %s can be read in sequence only: decompress it", i.container)
	}
	return nil
}

// begin returns the first n bytes of the decoded file.
func (i *Image) begin(n int) ([]byte, error) { return i.part(0, n) }

// part returns bytes of the decoded file.
func (i *Image) part(off uint64, n int) ([]byte, error) {
	b := make([]byte, n)
	if off > maxPhdrs && i.at == nil || off > 1<<62 {
		return nil, fmt.Errorf("they lie at %#x", off)
	}
	if i.at != nil {
		m, err := i.at.ReadAt(b, int64(off))
		if m == n {
			err = nil
		}
		return b, err
	}
	r, done, err := i.decoder(i.r)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := io.CopyN(io.Discard, r, int64(off)); err != nil {
		return nil, err
	}
	_, err = io.ReadFull(r, b)
	return b, err
}

// disjoint sorts segments and leaves out what is in an earlier, larger one: other mappings of the same memory.
func disjoint(list []segment) (out []segment) {
	slices.SortStableFunc(list, func(a, b segment) int {
		switch {
		case a.r.Start != b.r.Start:
			return int(min(max(int64(a.r.Start)-int64(b.r.Start), -1), 1))
		case a.r.End > b.r.End:
			return -1
		case a.r.End < b.r.End:
			return 1
		}
		return 0
	})
	for _, s := range list {
		if n := len(out); n > 0 && s.r.Start <= out[n-1].r.End {
			last := out[n-1].r.End
			if s.r.End <= last {
				continue
			}
			cut := last + 1 - s.r.Start
			s.r.Start, s.off, s.file = last+1, s.off+int64(cut), s.file-min(cut, s.file)
		}
		out = append(out, s)
	}
	return out
}

func (i *Image) segmentRanges() (list []lime.Range) {
	for _, s := range i.segments {
		r := s.r
		if i.raw >= 0 && s.file > 0 { // as far as the file goes
			have := max(0, i.raw-s.off)
			if uint64(have) < s.file {
				if have == 0 {
					continue
				}
				r.End = r.Start + uint64(have) - 1
			}
		}
		list = append(list, r)
	}
	return list
}

// segmentRecords reads the segments.
type segmentRecords struct {
	places
	i    *Image
	c    *content
	rep  *Report
	list []segment
	cur  segment
	at   uint64 // bytes of cur that were given
}

func (s *segmentRecords) next() (lime.Range, error) {
	if len(s.list) == 0 {
		return lime.Range{}, io.EOF
	}
	s.cur, s.list, s.at = s.list[0], s.list[1:], 0
	s.rep.Records++
	r := s.cur.r
	if s.cur.file > 0 {
		s.places = append(s.places, place{s.cur.off, lime.Range{Start: r.Start, End: r.Start + s.cur.file - 1}})
	}
	if s.cur.file < r.Size() {
		s.rep.leftOut(lime.Range{Start: r.Start + s.cur.file, End: r.End})
	}
	if s.cur.file > 0 && s.cur.off >= s.c.off {
		if _, err := s.c.skip(s.cur.off - s.c.off); err != nil && err != io.EOF {
			return r, err
		}
	}
	return r, nil
}

// locate sorts: the places are in the order of addresses.
func (s *segmentRecords) locate(off, n int64) []lime.Range {
	sorted := slices.SortedFunc(slices.Values(s.places), func(a, b place) int { return int(min(max(a.off-b.off, -1), 1)) })
	return places(sorted).locate(off, n)
}

func (s *segmentRecords) read(p []byte) (n int, err error) {
	if s.at < s.cur.file {
		q := p[:min(uint64(len(p)), s.cur.file-s.at)]
		off := s.cur.off + int64(s.at)
		switch {
		case off == s.c.off:
			n, err = s.c.read(q)
		case s.i.at != nil: // it lies before what was read
			n, err = s.i.at.ReadAt(q, off)
		default:
			err = io.EOF
		}
		s.at += uint64(n)
		if n < len(q) && (err == io.EOF || err == io.ErrUnexpectedEOF) {
			s.rep.damage(Damage{Kind: Truncated, Offset: off + int64(n), Detail: fmt.Sprintf("the file ends %d bytes before the end of the segment %s", s.cur.file-s.at, s.cur.r)})
			return n, io.ErrUnexpectedEOF
		}
		if n < len(q) {
			return n, err
		}
	}
	clear(p[n:])
	s.at += uint64(len(p) - n)
	return len(p), nil
}

package acquire

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A layout cuts RAM into the pieces in which it is read: each is one read of
// /proc/kcore, and lies in one extent.
type layout struct {
	ranges    []lime.Range
	stretches []stretch // ascending
	size      int       // of a piece, but for the last of each stretch
	pieces    int64
}

// A stretch is an extent with the number of its first piece.
type stretch struct {
	kcore.Extent
	first int64
}

// newLayout lays out all ranges. What of them has no place in /proc/kcore, but for parts of
// pages at their edges, is an error.
func newLayout(m *kcore.Map, ranges []lime.Range, size int) (*layout, error) {
	l := &layout{ranges: ranges, size: size}
	for _, r := range ranges {
		ext, err := m.Extents(r)
		if err != nil {
			return nil, err
		}
		for _, e := range ext {
			l.stretches = append(l.stretches, stretch{e, l.pieces})
			l.pieces += int64((e.Size + uint64(size) - 1) / uint64(size))
		}
	}
	return l, nil
}

// at finds a piece: its physical address, its offset in /proc/kcore and its size.
func (l *layout) at(i int64) (phys, offset uint64, size int) {
	n, found := slices.BinarySearchFunc(l.stretches, i, func(s stretch, i int64) int { return cmp.Compare(s.first, i) })
	if !found {
		n--
	}
	s := l.stretches[n]
	into := uint64(i-s.first) * uint64(l.size)
	return s.Phys + into, s.Offset + into, int(min(uint64(l.size), s.Size-into))
}

// sizeOf is at's size.
func (l *layout) sizeOf(i int64) int {
	_, _, n := l.at(i)
	return n
}

// pieces is where an assembler gets them, in order: stripe.Reader is one.
type pieces interface {
	Next() (i int64, p []byte, err error)
	Done()
}

// An assembler makes the image of the pieces: for each range a header, then its bytes. As in
// LiME's own images, a part of a page at a range's edge is zeros.
type assembler struct {
	l    *layout
	from pieces

	ranges  int    // begun
	addr    uint64 // next of the current range
	next    int    // stretch
	piece   int64  // expected next
	pending []byte // of a header, or of a piece
	held    bool   // pending is a piece
	zeros   uint64
}

// Read implements io.Reader.
func (a *assembler) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(a.pending) > 0:
			n := copy(p, a.pending)
			a.pending = a.pending[n:]
			if len(a.pending) == 0 && a.held {
				a.from.Done()
				a.held = false
			}
			return n, nil
		case a.zeros > 0:
			n := int(min(uint64(len(p)), a.zeros))
			clear(p[:n])
			a.zeros -= uint64(n)
			return n, nil
		}
		if err := a.advance(); err != nil {
			return 0, err
		}
	}
}

// advance finds what comes next.
func (a *assembler) advance() error {
	if a.ranges == 0 || a.addr > a.l.ranges[a.ranges-1].End {
		if a.ranges == len(a.l.ranges) {
			if _, _, err := a.from.Next(); err != io.EOF {
				return fmt.Errorf("more pieces than memory: %w", err)
			}
			return io.EOF
		}
		r := a.l.ranges[a.ranges]
		a.ranges++
		a.addr = r.Start
		a.pending = lime.AppendHeader(nil, r)
		return nil
	}
	r := a.l.ranges[a.ranges-1]
	if a.next == len(a.l.stretches) || a.l.stretches[a.next].Phys > r.End {
		a.zeros = r.End + 1 - a.addr
		a.addr = r.End + 1
		return nil
	}
	s := a.l.stretches[a.next]
	if a.addr < s.Phys {
		a.zeros = s.Phys - a.addr
		a.addr = s.Phys
		return nil
	}
	i, p, err := a.from.Next()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if phys, _, size := a.l.at(i); i != a.piece || phys != a.addr || size != len(p) {
		return fmt.Errorf("piece %d of %d bytes does not belong at %s", i, len(p), lime.Addr(a.addr))
	}
	a.pending, a.held = p, true
	a.piece++
	a.addr += uint64(len(p))
	if a.addr == s.Phys+s.Size {
		a.next++
	}
	return nil
}

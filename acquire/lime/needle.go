package lime

import (
	"bytes"
	"slices"
)

// A Needle is a text to look for in the content of records. An occurrence
// lies in one record; it may straddle the blocks that the Walker is fed. The first byte
// must not be zero, so that zero pages can be skipped.
type Needle struct {
	Name string
	Text []byte // 1 to MaxNeedle bytes
	Max  int    // occurrences to report; default 16
	// In, if set, are the places that matter. Max counts occurrences there; of those elsewhere a few
	// are reported, too, so that no number of copies can hide one in its place.
	In []Range
}

// maxElsewhere is how many occurrences outside of Needle.In are reported.
const maxElsewhere = 16

// MaxNeedle is the longest needle in bytes: a kernel banner is shorter than a page.
const MaxNeedle = PageSize

// anchorLen is what bytes.Index searches with vector code on the platforms
// that have it; longer texts go a slower way.
const anchorLen = 32

// A finder looks for needles in a record that arrives in pieces.
type finder struct {
	needles []Needle
	found   []Found
	inside  []int  // of found, how many lie where they matter
	open    int    // needles with room for more occurrences
	keep    int    // longest needle - 1: what a piece leaves to the next
	tail    []byte // the last bytes of the record so far, at most keep; twice the capacity
}

func newFinder(needles []Needle) *finder {
	f := &finder{}
	for _, n := range needles {
		if len(n.Text) == 0 || len(n.Text) > MaxNeedle || n.Text[0] == 0 {
			panic("lime: needle " + n.Name + ": must have 1 to 4096 bytes, the first not zero")
		}
		if n.Max <= 0 {
			n.Max = 16
		}
		n.Text = bytes.Clone(n.Text)
		f.needles = append(f.needles, n)
		f.found = append(f.found, Found{Name: n.Name, Addrs: make([]Addr, 0, n.Max+maxElsewhere)})
		f.keep = max(f.keep, len(n.Text)-1)
	}
	f.open, f.inside = len(needles), make([]int, len(needles))
	f.tail = make([]byte, 0, 2*f.keep)
	return f
}

// begin forgets the record before.
func (f *finder) begin() { f.tail = f.tail[:0] }

// straddling reports occurrences that start in the pieces before p and end
// in p, which starts at addr.
func (f *finder) straddling(p []byte, addr uint64) {
	old := len(f.tail)
	if f.open == 0 || old == 0 {
		return
	}
	joint := append(f.tail, p[:min(len(p), f.keep)]...)
	for i := range f.needles {
		n := len(f.needles[i].Text) - 1
		from, to := max(0, old-n), min(len(joint), old+n)
		f.search(i, joint[from:to], addr-uint64(old-from))
	}
}

// within reports occurrences in p that start before p[to].
func (f *finder) within(p []byte, from, to int, addr uint64) {
	if f.open == 0 {
		return
	}
	for i := range f.needles {
		end := min(len(p), to+len(f.needles[i].Text)-1)
		f.search(i, p[from:end], addr+uint64(from))
	}
}

// end remembers the end of p for the next piece.
func (f *finder) end(p []byte) {
	if f.open == 0 || f.keep == 0 {
		return
	}
	if len(p) >= f.keep {
		f.tail = append(f.tail[:0], p[len(p)-f.keep:]...)
		return
	}
	f.tail = append(f.tail, p...)
	if extra := len(f.tail) - f.keep; extra > 0 {
		f.tail = f.tail[:copy(f.tail, f.tail[extra:])]
	}
}

// search reports all occurrences of needle i in p, which starts at addr.
func (f *finder) search(i int, p []byte, addr uint64) {
	text, found := f.needles[i].Text, &f.found[i]
	anchor := text[:min(len(text), anchorLen)]
	for at := 0; f.inside[i] < f.needles[i].Max; at++ {
		n := bytes.Index(p[at:], anchor)
		if n < 0 {
			return
		}
		at += n
		if !bytes.HasPrefix(p[at:], text) {
			continue
		}
		place := addr + uint64(at)
		if !f.needles[i].matters(place) {
			if len(found.Addrs)-f.inside[i] < maxElsewhere {
				found.Addrs = append(found.Addrs, Addr(place))
			}
			continue
		}
		found.Addrs = append(found.Addrs, Addr(place))
		if f.inside[i]++; f.inside[i] == f.needles[i].Max {
			f.open--
		}
	}
}

// matters reports whether an occurrence at a counts.
func (n *Needle) matters(a uint64) bool {
	return len(n.In) == 0 || slices.ContainsFunc(n.In, func(r Range) bool { return a >= r.Start && a <= r.End })
}

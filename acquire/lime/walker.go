package lime

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"time"
)

const (
	defaultMarkEvery  = 64 << 20
	defaultMaxRecords = 1 << 17 // 2 TiB in records of 16 MiB; the report is then some 20 MiB
	maxProblems       = 16
)

// WalkerOptions says what a Walker looks for. The zero value checks structure
// and gathers zero statistics.
type WalkerOptions struct {
	Needles    []Needle
	Samples    []uint64         // page-aligned physical addresses of pages to sample; sorted by NewWalker
	Now        func() time.Time // default time.Now
	MarkEvery  uint64           // bytes between marks, and of a span, a power of two; default 64 MiB
	MaxRecords int              // that the report holds; default 131072
}

func (o WalkerOptions) withDefaults() WalkerOptions {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MarkEvery == 0 {
		o.MarkEvery = defaultMarkEvery
	}
	if o.MaxRecords == 0 {
		o.MaxRecords = defaultMaxRecords
	}
	return o
}

// A Walker checks an image while its bytes pass: Write all of it, in blocks of
// any size, then call Finish. It keeps no block, and allocates only for
// records, marks and defects. It is not safe for concurrent use.
//
// Records that overlap or descend are noted and walked on; after a header that
// cannot be believed, the rest of the stream is only counted.
type Walker struct {
	o    WalkerOptions
	rep  Report
	done bool
	err  error

	hdr    [HeaderSize]byte
	nhdr   int
	lost   bool // no header can be found any more
	last   Range
	seen   bool // a record before this one
	in     bool // inside a record's content
	cur    RangeReport
	left   uint64
	addr   uint64
	run    uint64    // zero bytes directly before addr
	blank  bool      // what was seen of the page at addr is zero
	first  time.Time // when the bytes at hand began to come
	now    time.Time // and when all of them had come
	mark   uint64    // the next address to mark
	find   *finder
	sample int  // the first sample at or above addr
	full   bool // the report takes no more records
}

// NewWalker returns a Walker. It panics when a needle or sample is not as
// documented.
func NewWalker(o WalkerOptions) *Walker {
	w := &Walker{o: o.withDefaults(), find: newFinder(o.Needles)}
	for _, a := range slices.Compact(slices.Sorted(slices.Values(o.Samples))) {
		if a%PageSize != 0 {
			panic("lime: sample " + Addr(a).String() + " is not page-aligned")
		}
		w.rep.Samples = append(w.rep.Samples, Sample{Addr: Addr(a), Zero: true})
	}
	return w
}

// Write takes the next bytes of the stream, which came now. It always takes all of
// them: a defect is no reason to stop saving evidence. See Err.
func (w *Walker) Write(p []byte) (int, error) {
	now := w.o.Now()
	return w.WriteCame(p, now, now)
}

// WriteCame is Write for bytes of which the first came not before first, and the last not after
// last.
func (w *Walker) WriteCame(p []byte, first, last time.Time) (int, error) {
	n := len(p)
	w.first, w.now = first.UTC(), last.UTC()
	for len(p) > 0 && !w.lost {
		if !w.in {
			p = p[w.header(p):]
			continue
		}
		m := int(min(uint64(len(p)), w.left))
		w.content(p[:m])
		w.rep.Bytes += int64(m)
		p = p[m:]
		if w.left -= uint64(m); w.left == 0 {
			w.endRecord()
		}
	}
	w.rep.Bytes += int64(len(p))
	return n, nil
}

// Err returns the first defect seen so far, or nil.
func (w *Walker) Err() error {
	if len(w.rep.Problems) == 0 {
		return nil
	}
	return w.rep.Problems[0]
}

// Finish ends the walk, and returns the report and all reasons why the
// structure is not complete. Nothing may be written after it; calling it again returns
// the same.
func (w *Walker) Finish() (*Report, error) {
	if w.done {
		return &w.rep, w.err
	}
	w.done = true
	switch {
	case w.in:
		left, r := w.left, w.cur.Range
		w.endRecord()
		w.problem(ErrTruncatedRecord, w.rep.Bytes, &r, fmt.Sprintf("%d of %d bytes missing", left, r.Size()))
	case w.nhdr > 0:
		kind := ErrTruncatedHeader
		magic := AppendHeader(nil, Range{})[:4]
		if n := min(w.nhdr, len(magic)); string(w.hdr[:n]) != string(magic[:n]) {
			if kind = ErrBadMagic; w.seen {
				kind = ErrTrailing
			}
		}
		w.problem(kind, w.rep.Bytes-int64(w.nhdr), nil, fmt.Sprintf("%d of %d bytes", w.nhdr, HeaderSize))
	case w.lost: // the last defect is why
		if n := len(w.rep.Problems); n > 0 && w.rep.More == 0 {
			p := w.rep.Problems[n-1]
			p.Detail += fmt.Sprintf(" (%d bytes from there to the end)", w.rep.Bytes-p.Offset)
		}
	case !w.seen:
		w.problem(ErrEmpty, 0, nil, "")
	}
	w.rep.Found = w.find.found
	for i := range w.rep.Samples {
		w.rep.Samples[i].Zero = w.rep.Samples[i].Zero && w.rep.Samples[i].Bytes > 0
	}
	w.rep.Complete = len(w.rep.Problems) == 0
	errs := make([]error, 0, len(w.rep.Problems)+1)
	for _, p := range w.rep.Problems {
		errs = append(errs, p)
	}
	if w.rep.More > 0 {
		errs = append(errs, fmt.Errorf("lime: %d more defects", w.rep.More))
	}
	w.err = errors.Join(errs...)
	return &w.rep, w.err
}

func (w *Walker) problem(k Kind, offset int64, r *Range, detail string) {
	if len(w.rep.Problems) == maxProblems {
		w.rep.More++
		return
	}
	w.rep.Problems = append(w.rep.Problems, &FormatError{Kind: k, Offset: offset, Range: r, Detail: detail})
}

// header takes bytes of a header and returns how many.
func (w *Walker) header(p []byte) int {
	n := copy(w.hdr[w.nhdr:], p)
	w.nhdr += n
	w.rep.Bytes += int64(n)
	if w.nhdr < HeaderSize {
		return n
	}
	w.nhdr = 0
	at := w.rep.Bytes - HeaderSize
	r, err := DecodeHeader(w.hdr[:])
	var bad *FormatError
	if errors.As(err, &bad) {
		w.lost = true
		if bad.Kind == ErrBadMagic && w.seen {
			bad.Kind, bad.Detail = ErrTrailing, "magic "+bad.Detail
		}
		w.problem(bad.Kind, at, bad.Range, bad.Detail)
		return n
	}
	if w.seen && r.Start <= w.last.End {
		kind := ErrOverlap
		if r.Start < w.last.Start {
			kind = ErrDescending
		}
		w.problem(kind, at, &r, "after "+w.last.String())
	}
	w.begin(r, at)
	return n
}

func (w *Walker) begin(r Range, at int64) {
	w.cur = RangeReport{Range: r, Offset: at}
	w.last, w.seen, w.in = r, true, true
	w.left, w.addr, w.run, w.blank = r.Size(), r.Start, 0, true
	w.mark = r.Start&^(w.o.MarkEvery-1) + w.o.MarkEvery
	w.find.begin()
	w.sample, _ = slices.BinarySearchFunc(w.rep.Samples, Addr(r.Start&^(PageSize-1)), func(s Sample, a Addr) int {
		return cmp.Compare(s.Addr, a)
	})
}

// endRecord closes the record, whole or not.
func (w *Walker) endRecord() {
	if w.addr%PageSize != 0 && w.cur.Bytes > 0 {
		w.endPage()
	}
	w.endRun(w.run, w.addr)
	w.cur.ZeroTail = w.run
	w.in = false
	switch {
	case len(w.rep.Ranges) < w.o.MaxRecords:
		w.rep.Ranges = append(w.rep.Ranges, w.cur)
	case !w.full:
		w.full = true
		w.problem(ErrTooManyRecords, w.cur.Offset, nil, fmt.Sprintf("limit %d", w.o.MaxRecords))
	}
}

// content takes bytes of the current record, at most what is left of it.
func (w *Walker) content(p []byte) {
	if w.cur.Bytes == 0 {
		w.cur.First = w.first
	}
	w.cur.Last = w.now
	w.spans(uint64(len(p)))
	for w.mark > w.addr && w.mark-w.addr <= uint64(len(p)) && w.mark <= w.cur.Range.End {
		w.cur.Marks = append(w.cur.Marks, Mark{Addr(w.mark), w.now})
		w.mark += w.o.MarkEvery
	}
	w.samples(p)
	w.find.straddling(p, w.addr)

	start, from := w.addr, -1 // from: where the current run of pages with content starts
	for i := 0; i < len(p); {
		n := min(PageSize-int(w.addr%PageSize), len(p)-i)
		q := p[i : i+n]
		if isZero(q) {
			w.run += uint64(n)
			if from >= 0 {
				w.find.within(p, from, i, start)
				from = -1
			}
		} else {
			if w.run > 0 {
				lead := uint64(leadingZeros(q))
				w.endRun(w.run+lead, w.addr+lead)
			}
			w.run = uint64(trailingZeros(q))
			w.blank = false
			if from < 0 {
				from = i
			}
		}
		i += n
		w.addr += uint64(n)
		if w.addr%PageSize == 0 {
			w.endPage()
		}
	}
	if from >= 0 {
		w.find.within(p, from, len(p), start)
	}
	w.find.end(p)
	w.cur.Bytes += uint64(len(p))
}

// spans notes when the n bytes from addr on came. Records that descend, and those beyond the limit,
// are left out: there is no end to what a stream could make of them.
func (w *Walker) spans(n uint64) {
	if len(w.rep.Ranges) == w.o.MaxRecords {
		return
	}
	last := w.addr + (n - 1)
	for a := w.addr; ; {
		stretch := a / w.o.MarkEvery
		at := len(w.rep.Spans) - 1
		switch {
		case at < 0 || uint64(w.rep.Spans[at].Addr)/w.o.MarkEvery < stretch:
			w.rep.Spans = append(w.rep.Spans, Span{Addr(a), w.first, w.now})
		case uint64(w.rep.Spans[at].Addr)/w.o.MarkEvery == stretch:
			w.rep.Spans[at].Last = w.now
		}
		if stretch == last/w.o.MarkEvery {
			return
		}
		a = (stretch + 1) * w.o.MarkEvery
	}
}

func (w *Walker) endPage() {
	w.cur.Pages++
	if w.blank {
		w.cur.ZeroPages++
	}
	w.blank = true
}

// endRun notes a run of zeros that ends before address end. Shorter runs than
// a page would be seen or not depending on how the stream is cut into blocks.
func (w *Walker) endRun(length, end uint64) {
	if length >= PageSize && length > w.cur.LongestZero.Length {
		w.cur.LongestZero = Run{Addr(end - length), length}
	}
}

// samples takes what of p, at w.addr, lies in watched pages.
func (w *Walker) samples(p []byte) {
	for ; w.sample < len(w.rep.Samples); w.sample++ {
		s := &w.rep.Samples[w.sample]
		want := uint64(s.Addr) + uint64(s.Bytes) // the next byte of the page
		if s.Bytes < PageSize && want >= w.addr {
			from := want - w.addr
			if from >= uint64(len(p)) {
				return
			}
			q := p[from:min(uint64(len(p)), from+uint64(PageSize-s.Bytes))]
			s.CRC32 = crc32.Update(s.CRC32, crc32.IEEETable, q)
			s.Zero = s.Zero && isZero(q)
			s.Bytes += len(q)
		}
		if end := uint64(s.Addr) + (PageSize - 1); end >= w.addr && end-w.addr >= uint64(len(p)) {
			return // the page goes on in the next piece
		}
	}
}

// Package avml reads what AVML writes (https://github.com/microsoft/avml), and makes a LiME image of
// it that holds one record for each range of System RAM.
//
// AVML cuts ranges into records of at most 16 MiB and leaves out those that are all zeros, what
// /proc/kcore does not show, and the last byte of each range. Records are LiME's, or, with its option
// --compress, its own with snappy. A [Reader] checks every field of them, puts zeros where nothing
// came, and lists what that was.
package avml

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// Formats of records.
const (
	Lime       = "lime"   // version 1
	Compressed = "snappy" // version 2
)

// Magic starts a compressed record: "AVML" on disk.
const Magic uint32 = 0x4C4D5641

// Version is that of compressed records.
const Version uint32 = 2

// ErrFormat is wrapped by errors about a stream that AVML does not write.
var ErrFormat = errors.New("not as AVML writes it")

// A Reader gives the LiME image. It is not safe for concurrent use.
type Reader struct {
	src *bufio.Reader
	ram []lime.Range
	end func() error

	format  string
	records int64
	bytes   int64 // of memory that came

	rec   lime.Range // what of the record under way has not been read
	open  bool       // there is one
	snap  *chunks    // nil: the record is not compressed
	ended bool       // the source has
	last  uint64     // address of the record before
	begun bool       // of ram[0]
	addr  uint64     // next of ram[0]

	pending []byte // to give
	zeros   uint64 // to give then
	buf     []byte
	left    []lime.Range
	err     error
}

// NewReader reads AVML's stream from src. ram are the ranges of System RAM, ascending. end is called
// once src has ended at the end of a record: its error, which may be nil, says whether AVML
// wrote all that it meant to.
func NewReader(src io.Reader, ram []lime.Range, end func() error) *Reader {
	return &Reader{src: bufio.NewReaderSize(src, 256<<10), ram: slices.Clone(ram), end: end, buf: make([]byte, 64<<10)}
}

// Format is that of the records; empty before the first.
func (r *Reader) Format() string { return r.format }

// Records returns how many records there were, and how many bytes of memory in them.
func (r *Reader) Records() (records, bytes int64) { return r.records, r.bytes }

// LeftOut lists, ascending, what did not come and is zeros in the image. Parts of pages at
// the edges of ranges are not in it: no method reads them.
func (r *Reader) LeftOut() []lime.Range { return lime.Coalesce(r.left) }

// Read implements io.Reader. Errors are sticky.
func (r *Reader) Read(p []byte) (int, error) {
	for {
		switch {
		case len(p) == 0:
			return 0, nil
		case len(r.pending) > 0:
			n := copy(p, r.pending)
			r.pending = r.pending[n:]
			return n, nil
		case r.zeros > 0:
			n := int(min(uint64(len(p)), r.zeros))
			clear(p[:n])
			r.zeros -= uint64(n)
			return n, nil
		case r.err != nil:
			return 0, r.err
		}
		r.err = r.advance()
	}
}

// advance finds what comes next.
func (r *Reader) advance() error {
	if !r.open && !r.ended {
		if err := r.header(); err != nil {
			return err
		}
	}
	if len(r.ram) == 0 {
		if r.ended {
			return io.EOF
		}
		return fmt.Errorf("%w: a record at %s, which is no System RAM", ErrFormat, r.rec)
	}
	cur := r.ram[0]
	switch {
	case !r.begun:
		r.begun, r.addr = true, cur.Start
		r.pending = lime.AppendHeader(nil, cur)
	case r.addr > cur.End:
		r.ram, r.begun = r.ram[1:], false
	case r.ended, r.rec.Start > cur.End:
		return r.skip(cur, cur.End)
	case r.rec.Start > r.addr:
		return r.skip(cur, r.rec.Start-1)
	case r.rec.Start < r.addr:
		return fmt.Errorf("%w: a record at %s, which is no System RAM", ErrFormat, r.rec)
	default:
		return r.data(cur)
	}
	return nil
}

// skip puts zeros from the next address up to last.
func (r *Reader) skip(cur lime.Range, last uint64) error {
	// What is no whole page at an edge of RAM is nobody's.
	first := max(r.addr, (cur.Start+lime.PageSize-1)&^(lime.PageSize-1))
	if whole := (cur.End + 1) &^ (lime.PageSize - 1); first < whole && first <= last {
		if len(r.left) == maxGaps {
			return fmt.Errorf("%w: more than %d gaps between its records", ErrFormat, maxGaps)
		}
		r.left = append(r.left, lime.Range{Start: first, End: min(last, whole-1)})
	}
	r.zeros = last - r.addr + 1
	r.addr = last + 1
	return nil
}

// maxGaps bounds the list of what was left out. Of 24 TB AVML leaves out less than that many records.
const maxGaps = 1 << 20

// header reads the header of a record, or finds that the source has ended.
func (r *Reader) header() error {
	var h [lime.HeaderSize]byte
	switch _, err := io.ReadFull(r.src, h[:]); {
	case err == io.EOF:
		r.ended = true
		return r.end()
	case err == io.ErrUnexpectedEOF:
		return fmt.Errorf("the stream ends in the header of a record: %w", err)
	case err != nil:
		return err
	}
	le := binary.LittleEndian
	format := ""
	switch m, v := le.Uint32(h[:]), le.Uint32(h[4:]); {
	case m == lime.Magic && v == lime.Version:
		format = Lime
	case m == Magic && v == Version:
		format = Compressed
	default:
		return fmt.Errorf("%w: a record begins with % x", ErrFormat, h[:8])
	}
	rec := lime.Range{Start: le.Uint64(h[8:]), End: le.Uint64(h[16:])}
	switch {
	case r.format != "" && format != r.format:
		return fmt.Errorf("%w: records of two formats", ErrFormat)
	case !rec.Valid() || rec.End-rec.Start >= 1<<52:
		return fmt.Errorf("%w: a record from %#x to %#x", ErrFormat, rec.Start, rec.End)
	case le.Uint64(h[24:]) != 0:
		return fmt.Errorf("%w: reserved bytes are % x", ErrFormat, h[24:])
	case r.records > 0 && rec.Start <= r.last:
		return fmt.Errorf("%w: a record at %s after one up to %#x", ErrFormat, rec, r.last)
	}
	r.format, r.rec, r.last, r.open = format, rec, rec.End, true
	r.records++
	if r.snap = nil; format == Compressed {
		r.snap = &chunks{r: r.src}
		return r.snap.begin()
	}
	return nil
}

// data reads bytes of the record, as far as they lie in the current range.
func (r *Reader) data(cur lime.Range) (err error) {
	n := min(r.rec.Size(), cur.End-r.addr+1)
	var p []byte
	if r.snap != nil {
		p, err = r.snap.next(n)
	} else {
		p = r.buf[:min(n, uint64(len(r.buf)))]
		_, err = io.ReadFull(r.src, p)
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("the stream ends in the record that goes up to %#x: %w", r.rec.End, io.ErrUnexpectedEOF)
	}
	if err != nil {
		return err
	}
	r.pending = p
	r.bytes += int64(len(p))
	r.addr += uint64(len(p))
	if uint64(len(p)) < r.rec.Size() {
		r.rec.Start += uint64(len(p))
		return nil
	}
	r.open = false
	if r.snap != nil {
		return r.snap.finish()
	}
	return nil
}

var _ io.Reader = (*Reader)(nil)

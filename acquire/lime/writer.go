package lime

import (
	"fmt"
	"io"
)

// A Writer writes an image: for each range, in ascending order, Begin, then
// exactly the range's bytes through Write and Zero. Errors are sticky. It is not
// safe for concurrent use.
type Writer struct {
	w     io.Writer
	err   error
	cur   Range
	begun bool
	left  uint64
	hdr   [HeaderSize]byte
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Begin starts the record of r. It fails when the record before is not whole
// or when r does not lie above it.
func (w *Writer) Begin(r Range) error {
	if w.err != nil {
		return w.err
	}
	if err := w.whole(); err != nil {
		return err
	}
	if !r.Valid() {
		return w.fail(&FormatError{Kind: ErrBadRange, Range: &r})
	}
	if w.begun && r.Start <= w.cur.End {
		kind := ErrOverlap
		if r.Start < w.cur.Start {
			kind = ErrDescending
		}
		return w.fail(&FormatError{Kind: kind, Range: &r, Detail: "after " + w.cur.String()})
	}
	w.cur, w.begun, w.left = r, true, r.Size()
	if err := w.write(AppendHeader(w.hdr[:0], r)); err != nil {
		return err
	}
	return nil
}

// Write writes bytes of the current record. More than the record holds is an
// error, and then nothing is written.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if uint64(len(p)) > w.left {
		return 0, w.fail(fmt.Errorf("lime: %d bytes for record %s, which takes %d more", len(p), w.cur, w.left))
	}
	if err := w.write(p); err != nil {
		return 0, err
	}
	w.left -= uint64(len(p))
	return len(p), nil
}

// Zero writes n zero bytes to the current record: for what could not be read.
func (w *Writer) Zero(n uint64) error {
	for n > 0 {
		m, err := w.Write(zeros[:min(n, uint64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= uint64(m)
	}
	return nil
}

// Left returns how many bytes the current record still takes.
func (w *Writer) Left() uint64 { return w.left }

// Close checks that the last record is whole. It does not close the
// underlying writer.
func (w *Writer) Close() error {
	if w.err != nil {
		return w.err
	}
	return w.whole()
}

func (w *Writer) whole() error {
	if w.left == 0 {
		return nil
	}
	return w.fail(&FormatError{Kind: ErrTruncatedRecord, Range: &w.cur, Detail: fmt.Sprintf("%d bytes missing", w.left)})
}

func (w *Writer) write(p []byte) error {
	n, err := w.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}

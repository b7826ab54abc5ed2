package forms

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Writer takes memory: for each range, ascending, Begin and then its bytes. The last range may end short of
// them, if the image was cut short. Close writes what is left; it does not close what is below. A Writer is not safe for
// concurrent use.
type Writer interface {
	Begin(r lime.Range) error
	io.Writer
	Close() error
}

// A Source is what Copy reads.
type Source struct {
	Image *Image
	// RAM are the ranges to give: nil for those of the image as they are stored.
	RAM []lime.Range
	// Limit is after how many bytes of memory the image was cut short; 0: it was not, or shows it.
	Limit    uint64
	Progress func(bytes uint64) // of memory so far; nil for none
}

// Copy writes the memory of an image to writers, and returns what was read, and the digest of the stored file where
// that could be had. The error says that it could not go on; damage is in the report.
func Copy(ctx context.Context, src Source, to ...Writer) (*Report, frame.Digest, error) {
	rep := &Report{}
	s := src.Image.records(ctx, rep)
	err := func() error {
		defer s.close()
		var from records = s.records
		if src.RAM != nil {
			from = &filled{src: s.records, rep: rep, ram: src.RAM}
		}
		if err := pump(ctx, from, rep, src, to); err != nil {
			return err
		}
		// The decoder may have more to say of what follows.
		if _, err := io.Copy(io.Discard, s.c.buf); err != nil {
			return err
		}
		return nil
	}()
	s.settle()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && rep.Records == 0 {
		err = fmt.Errorf("%w: it has no record", ErrForm)
	}
	return rep, s.c.stored, err
}

func pump(ctx context.Context, from records, rep *Report, src Source, to []Writer) error {
	buf := make([]byte, contentBuffer)
	for {
		r, err := from.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if len(rep.Ranges) == maxRecords {
			return fmt.Errorf("%w: more than %d ranges", ErrForm, maxRecords)
		}
		for _, w := range to {
			if err := w.Begin(r); err != nil {
				return &WriteError{err}
			}
		}
		rep.Ranges = append(rep.Ranges, r)
		for left := r.Size(); left > 0; {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			want := min(uint64(len(buf)), left)
			if src.Limit > 0 {
				if want = min(want, src.Limit-rep.Bytes); want == 0 {
					return nil
				}
			}
			n, err := from.read(buf[:want])
			left -= uint64(n)
			rep.Bytes += uint64(n)
			for _, w := range to {
				if _, err := w.Write(buf[:n]); err != nil {
					return &WriteError{err}
				}
			}
			if src.Progress != nil {
				src.Progress(rep.Bytes)
			}
			if err == io.ErrUnexpectedEOF {
				return nil // it is in the report
			}
			if err != nil {
				return err
			}
		}
	}
}

// A WriteError says that a Writer failed.
type WriteError struct{ Err error }

func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *WriteError) Unwrap() error { return e.Err }

// limeWriter writes LiME records.
type limeWriter struct{ *lime.Writer }

// Close takes a record that is not whole: the image that was read ends there.
func (w limeWriter) Close() error {
	err := w.Writer.Close()
	if errors.Is(err, lime.ErrTruncatedRecord) {
		return nil
	}
	return err
}

// NewLime returns a Writer of the LiME stream.
func NewLime(w io.Writer) Writer { return limeWriter{lime.NewWriter(w)} }

func zero(p []byte) bool {
	for len(p) > len(zeros) {
		if string(p[:len(zeros)]) != string(zeros[:]) {
			return false
		}
		p = p[len(zeros):]
	}
	return string(p) == string(zeros[:len(p)])
}

// zeros are what a page without content holds.
var zeros [4096]byte

package wire

import (
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// A Reader unpacks a stream. Its end is io.EOF only after a whole one: what was cut off is
// io.ErrUnexpectedEOF. It is for one goroutine.
type Reader struct {
	tool string
	src  io.Reader
	r    io.Reader
	stop func()
	left int64
	err  error
}

// NewReader unpacks what r brings, which is at most so many bytes; more are ErrTooMuch. It reads
// nothing before Read is called. Close it; r stays open.
func NewReader(tool string, r io.Reader, most int64) *Reader {
	return &Reader{tool: tool, src: r, left: most, stop: func() {}}
}

// open waits for the first bytes.
func (r *Reader) open() error {
	switch r.tool {
	case Zstd:
		d, err := zstd.NewReader(r.src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return err
		}
		r.r, r.stop = d, d.Close
	case Lz4:
		r.r = lz4.NewReader(r.src)
	case Gzip:
		g, err := gzip.NewReader(r.src)
		if err != nil {
			return err
		}
		r.r = g
	default:
		return fmt.Errorf("no compressor is called %q", r.tool)
	}
	return nil
}

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.err == nil && r.r == nil {
		if err := r.open(); err != nil {
			r.err = unpackError(r.tool, noEOF(err))
		}
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	n, err = r.r.Read(p[:min(int64(len(p)), r.left+1)])
	if int64(n) > r.left {
		n, err = int(r.left), ErrTooMuch
	}
	r.left -= int64(n)
	if err != nil {
		if r.err = err; err != io.EOF && err != ErrTooMuch {
			r.err = unpackError(r.tool, err)
		}
	}
	return n, r.err
}

// Close frees the Reader.
func (r *Reader) Close() error {
	r.stop()
	return nil
}

package forms

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"sync"

	"github.com/shotglass-ir/shotglass/acquire/avml"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// pieces writes AVML's records: pieces of at most 16 MiB of a range, those left out that are zeros.
//
// Volatility 3 looks for the kernel's banner in each record, and in each block of snappy, by itself: no cut goes through a
// text that it looks for. It reads, of a compressed record, as many bytes as the record has of
// memory, and loops forever if the snappy stream is not shorter (2.11.0 and 2.28.0): a piece that does not
// compress is joined with its neighbours until the whole of them does.
type pieces struct {
	w      io.Writer
	packed bool // version 2

	addr  uint64 // of the first byte of buf
	buf   []byte
	wrote bool // a record, or part of what is pending

	pending []byte // a snappy stream that is held back, to be joined with what follows
	start   uint64 // of its range
	raw     uint64 // bytes that it decodes to
	err     error
}

const (
	// maxPending bounds the snappy stream that is held back.
	maxPending = 256 << 20
	// maxText is the longest text that no cut goes through.
	maxText = lime.PageSize
)

func newPieces(w io.Writer, packed bool) Writer {
	return &pieces{w: w, packed: packed, buf: make([]byte, 0, pieceSize+maxText)}
}

func (p *pieces) Begin(r lime.Range) error {
	if err := p.end(); err != nil {
		return err
	}
	p.addr = r.Start
	return nil
}

func (p *pieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 && p.err == nil {
		m := copy(p.buf[len(p.buf):cap(p.buf)], b)
		p.buf = p.buf[:len(p.buf)+m]
		n, b = n+m, b[m:]
		if len(p.buf) == cap(p.buf) {
			p.err = p.piece()
		}
	}
	return n, p.err
}

// end writes what is left of a range.
func (p *pieces) end() error {
	for len(p.buf) > 0 && p.err == nil {
		p.err = p.piece()
	}
	if p.err == nil {
		p.err = p.flush()
	}
	return p.err
}

func (p *pieces) Close() error { return p.end() }

// piece takes one off the buffer, which is full or holds all that is left of the range.
func (p *pieces) piece() error {
	n := len(p.buf)
	if n > pieceSize {
		n = cutBefore(p.buf, pieceSize)
	}
	b := p.buf[:n]
	var err error
	switch {
	case p.packed:
		err = p.pack(b)
	case !zero(b) || !p.wrote:
		p.wrote = true
		head := lime.AppendHeader(nil, lime.Range{Start: p.addr, End: p.addr + uint64(n) - 1})
		if _, err = p.w.Write(head); err == nil {
			_, err = p.w.Write(b)
		}
	}
	p.addr += uint64(n)
	p.buf = p.buf[:copy(p.buf, p.buf[n:])]
	return err
}

// pack compresses a piece.
func (p *pieces) pack(b []byte) error {
	blank := zero(b) && p.wrote // the first of all is kept, so that there is one
	p.wrote = true
	if blank && (p.raw == 0 || p.fits()) {
		return p.flush()
	}
	stream, size := snappy(b), uint64(len(b))
	switch {
	case p.raw == 0:
		p.start = p.addr
	case fits(len(stream), size) && p.fits():
		if err := p.flush(); err != nil {
			return err
		}
		p.start = p.addr
	}
	if p.raw == 0 {
		p.pending = append(p.pending[:0], avml.Identifier...)
	}
	p.pending = append(p.pending, stream...)
	p.raw += size
	if len(p.pending) > maxPending {
		return p.flush()
	}
	return nil
}

// fits reports whether Volatility reads all of a stream of n bytes, without its identifier.
func fits(n int, raw uint64) bool { return uint64(n+len(avml.Identifier)) < raw }

func (p *pieces) fits() bool { return fits(len(p.pending)-len(avml.Identifier), p.raw) }

// A DenseError says that memory does not compress, so that Volatility 3 would loop forever over the AVML record with
// it.
type DenseError struct{ Range lime.Range }

func (e *DenseError) Error() string {
	return fmt.Sprintf("the memory at %s does not compress: Volatility 3 would loop forever over its AVML record", e.Range)
}

// Hint says what to do instead.
func (e *DenseError) Hint() string { return "take another form: lime, gzip, avml1" }

// flush writes the record that is held back.
func (p *pieces) flush() error {
	if p.raw == 0 {
		return nil
	}
	r := lime.Range{Start: p.start, End: p.start + p.raw - 1}
	if !p.fits() {
		return &DenseError{r}
	}
	le := binary.LittleEndian
	head := le.AppendUint32(nil, avml.Magic)
	head = le.AppendUint32(head, avml.Version)
	head = le.AppendUint64(head, r.Start)
	head = le.AppendUint64(head, r.End)
	head = le.AppendUint64(head, 0)
	p.raw = 0
	for _, b := range [][]byte{head, p.pending, le.AppendUint64(nil, uint64(len(p.pending)))} {
		if _, err := p.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// snappy compresses b to blocks, on all cores.
func snappy(b []byte) []byte {
	var cuts [][]byte
	for len(b) > 0 {
		n := min(avml.MaxChunk, len(b))
		if n < len(b) {
			n = cutBefore(b, n)
		}
		cuts, b = append(cuts, b[:n]), b[n:]
	}
	workers := min(runtime.GOMAXPROCS(0), len(cuts))
	parts := make([][]byte, workers)
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for _, c := range cuts[i*len(cuts)/workers : (i+1)*len(cuts)/workers] {
				parts[i] = avml.AppendChunk(parts[i], c)
			}
		})
	}
	wg.Wait()
	return bytes.Join(parts, nil)
}

// texts are what Volatility 3 looks for: the banner of the kernel, and the name of the first task.
var texts = [][]byte{[]byte("Linux version "), []byte("swapper")}

// cutBefore returns where b is cut: at n, or at the start of the page with a text that n goes through.
func cutBefore(b []byte, n int) int {
	from := max(0, n-maxText)
	around := b[from:min(len(b), n+maxText)]
	for _, t := range texts {
		for at := 0; ; {
			i := bytes.Index(around[at:], t)
			if i < 0 {
				break
			}
			begin := from + at + i
			end := begin + maxText
			if nul := bytes.IndexByte(b[begin:min(len(b), end)], 0); nul >= 0 {
				end = begin + nul + 1
			}
			if begin < n && n < end {
				if page := begin &^ (lime.PageSize - 1); page > 0 {
					n = page
					return cutBefore(b, n)
				}
			}
			at += i + 1
		}
	}
	return n
}

package agefile

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

const (
	unitSize = 16 * encChunk // of one Write to the destination, at most
	units    = 3             // one being filled, one being written, one being digested
)

// Memory is what a Writer takes, in bytes, at most: its units, and the chunk that the age
// library holds. It adds one frame.Entry for each piece.
const Memory = units*unitSize + 4*chunkSize

// A Writer encrypts a stream. Encrypting, writing and digesting the pieces go on at
// once, each in a goroutine of its own. What it has is written as soon as the destination
// is free, in whole chunks: an age file cannot be flushed in the middle of one. Its methods
// must not be called concurrently.
type Writer struct {
	age   io.WriteCloser
	dst   io.Writer
	plain int64 // bytes taken
	cur   []byte

	free, full, taken chan []byte
	wg                sync.WaitGroup
	failed            chan struct{}
	err               error // set before failed is closed
	closed            bool

	layout Layout
	limit  int64 // of the piece being digested
	at     int64 // in that piece
	sum    hash.Hash
}

// NewWriter returns a Writer to dst, which gets the header at once or with the first
// bytes. Each piece is pieceSize bytes of the stream, rounded up to chunks. Close must
// be called.
func NewWriter(dst io.Writer, to []Recipient, pieceSize int) (*Writer, error) {
	if len(to) == 0 {
		return nil, errors.New("no recipient")
	}
	w := &Writer{
		dst: dst, failed: make(chan struct{}), sum: sha256.New(),
		free: make(chan []byte, units), full: make(chan []byte, units), taken: make(chan []byte, units),
	}
	for range units - 1 {
		w.free <- make([]byte, 0, unitSize)
	}
	w.cur = make([]byte, 0, unitSize)
	var err error
	if w.age, err = age.Encrypt(collector{w}, keys(to)...); err != nil {
		return nil, err
	}
	// Nothing but header and nonce has been written so far.
	w.layout.head = int64(len(w.cur))
	if w.layout.head > maxHeader {
		return nil, fmt.Errorf("the header for %d recipients has %d bytes, and at most %d are read again: name fewer", len(to), w.layout.head, maxHeader)
	}
	w.layout.piece = int64(max(1, (pieceSize+chunkSize-1)/chunkSize)) * encChunk
	w.limit = w.layout.head
	w.wg.Go(w.write)
	w.wg.Go(w.digest)
	return w, nil
}

// Write encrypts p. It waits for the destination when all units are full; an error of
// the destination shows here, or in Close.
func (w *Writer) Write(p []byte) (int, error) {
	if err := w.Err(); err != nil {
		return 0, err
	}
	n, err := w.age.Write(p)
	w.plain += int64(n)
	if err != nil {
		return n, err
	}
	if len(w.cur) > 0 {
		select { // the destination is idle
		case u := <-w.free:
			w.full <- w.cur
			w.cur = u
		default:
		}
	}
	return n, nil
}

// Close encrypts what is left as the last chunk, unless the destination has failed: then
// nothing more is written. It does not close the destination, and returns the
// destination's first error.
func (w *Writer) Close() error {
	if w.closed {
		return w.Err()
	}
	w.closed = true
	if w.Err() == nil {
		if err := w.age.Close(); err != nil && w.Err() == nil {
			panic("agefile: the last chunk: " + err.Error()) // it goes to memory
		}
	}
	w.full <- w.cur
	close(w.full)
	w.wg.Wait()
	if w.at > 0 {
		w.cut()
	}
	w.layout.plain, w.layout.whole = w.plain, w.Err() == nil
	return w.Err()
}

// Err returns the error of the destination, once it has failed.
func (w *Writer) Err() error {
	select {
	case <-w.failed:
		return w.err
	default:
		return nil
	}
}

// Layout says where things lie in the file. It is valid after Close.
func (w *Writer) Layout() *Layout { return &w.layout }

// A collector gets what the age library writes: the header, then chunks.
type collector struct{ *Writer }

func (c collector) Write(p []byte) (int, error) {
	if len(c.cur) > 0 && len(c.cur)+len(p) > unitSize && c.layout.head > 0 {
		c.full <- c.cur
		c.cur = <-c.free
		if err := c.Err(); err != nil {
			return 0, err
		}
	}
	c.cur = append(c.cur, p...)
	return len(p), nil
}

// write hands units to the destination, until that fails.
func (w *Writer) write() {
	defer close(w.taken)
	for u := range w.full {
		if w.Err() != nil {
			u = u[:0]
		}
		if len(u) > 0 {
			n, err := w.dst.Write(u)
			n = min(max(n, 0), len(u))
			if err == nil && n < len(u) {
				err = io.ErrShortWrite
			}
			u = u[:n]
			if err != nil {
				w.err = err
				close(w.failed)
			}
		}
		w.taken <- u
	}
}

// digest digests the pieces of what the destination took.
func (w *Writer) digest() {
	for u := range w.taken {
		w.layout.size += int64(len(u))
		for p := u; len(p) > 0; {
			n := min(int64(len(p)), w.limit-w.at)
			w.sum.Write(p[:n])
			w.at += n
			p = p[n:]
			if w.at == w.limit {
				w.cut()
			}
		}
		w.free <- u[:0]
	}
}

// cut ends a piece.
func (w *Writer) cut() {
	e := frame.Entry{StoredSize: w.at}
	if n := len(w.layout.pieces); n > 0 {
		e.StoredOffset = w.layout.pieces[n-1].StoredOffset + w.layout.pieces[n-1].StoredSize
	}
	w.sum.Sum(e.SHA256[:0])
	w.sum.Reset()
	w.layout.pieces = append(w.layout.pieces, e)
	w.limit, w.at = w.layout.piece, 0
}

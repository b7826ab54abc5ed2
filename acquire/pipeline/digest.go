package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"hash"
	"io"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// rawDigest is the SHA-256 of the raw stream, with the states after the last
// blocks: when the destination fails, the digest of what it has is wanted, and
// the hash is already further, by as many blocks as there are.
type rawDigest struct {
	h      hash.Hash
	states [][]byte // of the hash after block i, at i modulo length
	n      int      // blocks digested
}

func newRawDigest(blocks int) *rawDigest {
	d := &rawDigest{h: sha256.New(), states: make([][]byte, blocks+2)}
	for i := range d.states {
		d.states[i] = make([]byte, 0, 128)
	}
	return d
}

func (d *rawDigest) write(p []byte) {
	d.h.Write(p)
	at := d.n % len(d.states)
	var err error
	d.states[at], err = d.h.(encoding.BinaryAppender).AppendBinary(d.states[at][:0])
	if err != nil {
		panic("pipeline: SHA-256 has no state: " + err.Error())
	}
	d.n++
}

// after returns the digest of the first n blocks, which are all or not far
// from it.
func (d *rawDigest) after(n int) frame.Sum { return d.afterPlus(n, nil) }

// afterPlus returns the digest of the first n blocks followed by rest.
func (d *rawDigest) afterPlus(n int, rest []byte) (sum frame.Sum) {
	h := sha256.New()
	if n > 0 {
		if n > d.n || d.n-n >= len(d.states) {
			panic("pipeline: digest of blocks that are not there")
		}
		if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(d.states[(n-1)%len(d.states)]); err != nil {
			panic("pipeline: SHA-256 state: " + err.Error())
		}
	}
	h.Write(rest)
	h.Sum(sum[:0])
	return sum
}

// A sinkWriter counts and digests what the destination takes. What is stored
// as it is needs no second digest: rest keeps what was taken of the write that
// failed.
type sinkWriter struct {
	w        io.Writer
	progress *Progress
	n        int64
	sum      hash.Hash // nil for compression none
	rest     []byte
}

func newSinkWriter(w io.Writer, o Options) *sinkWriter {
	s := &sinkWriter{w: w, progress: o.Progress}
	if o.Compression != frame.None {
		s.sum = sha256.New()
	}
	return s
}

func (s *sinkWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	n = min(max(n, 0), len(p))
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	s.n += int64(n)
	if s.progress != nil {
		s.progress.StoredBytes.Add(int64(n))
	}
	switch {
	case s.sum != nil:
		s.sum.Write(p[:n])
	case err != nil && n > 0:
		s.rest = bytes.Clone(p[:n])
	}
	return n, err
}

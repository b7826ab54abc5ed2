package acquire

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// A digester counts and hashes what is written through it.
type digester struct {
	h hash.Hash
	n int64
}

func newDigester() *digester { return &digester{h: sha256.New()} }

// to returns a writer that passes on to w; only what w took counts.
func (d *digester) to(w io.Writer) io.Writer { return digestWriter{d, w} }

func (d *digester) digest() Digest {
	return Digest{d.n, hex.EncodeToString(d.h.Sum(nil))}
}

type digestWriter struct {
	d *digester
	w io.Writer
}

func (w digestWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.d.h.Write(p[:n])
	w.d.n += int64(n)
	return n, err
}

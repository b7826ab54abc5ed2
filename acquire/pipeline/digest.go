package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding"
	"fmt"
	"hash"
	"io"
	"sort"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// rawDigest is the SHA-256 of the raw stream, with its states after earlier blocks: when
// the destination fails, the digest of what it has is wanted, and the hash is
// already further. Every state of the last near blocks is there; before that ever
// fewer, some hundred in all.
type rawDigest struct {
	h     hash.Hash
	near  int
	marks []mark // ascending
	limit int    // of marks, before they are thinned
	n     int    // blocks digested

	chain bool // keep what a chained index wants of every block
	sums  []frame.Sum
}

// A mark is the state after n blocks.
type mark struct {
	n     int
	state [sha256State]byte
}

// sha256State is how long the state of SHA-256 is, as encoded by crypto/sha256.
const sha256State = 108

func newRawDigest(blocks int, chain bool) *rawDigest {
	near := max(64, blocks+2)
	return &rawDigest{h: sha256.New(), near: near, limit: 4 * near, chain: chain}
}

// complete makes a chained index of the frames that were stored.
func (d *rawDigest) complete(x *frame.Index) {
	if d.chain {
		x.Chained = true
		for i := range x.Entries {
			x.Entries[i].SHA256 = d.sums[i]
		}
	}
}

func (d *rawDigest) write(p []byte) {
	d.h.Write(p)
	d.n++
	d.marks = append(d.marks, mark{n: d.n})
	state, err := d.h.(encoding.BinaryAppender).AppendBinary(d.marks[len(d.marks)-1].state[:0])
	if err != nil || len(state) != sha256State {
		panic(fmt.Sprintf("pipeline: state of SHA-256 of %d bytes: %v", len(state), err))
	}
	if d.chain {
		d.sums = append(d.sums, frame.ChainSum(state))
	}
	if len(d.marks) >= d.limit {
		d.thin()
		d.limit = 2*len(d.marks) + d.near
	}
}

// thin drops marks so that gaps grow with the distance from the end.
func (d *rawDigest) thin() {
	kept := d.marks[:1]
	for i := 1; i < len(d.marks); i++ {
		m := d.marks[i]
		if i+1 < len(d.marks) && d.marks[i+1].n-kept[len(kept)-1].n <= (d.n-m.n)/d.near {
			continue
		}
		kept = append(kept, m)
	}
	d.marks = kept
}

// after returns the digest of the first n blocks, which are all or not far
// from it.
func (d *rawDigest) after(n int) frame.Sum { return d.afterPlus(n, nil) }

// afterPlus returns the digest of the first n blocks followed by rest.
func (d *rawDigest) afterPlus(n int, rest []byte) (sum frame.Sum) {
	known, h := d.upToHash(n)
	if known != n {
		panic("pipeline: digest of blocks that are not there")
	}
	h.Write(rest)
	h.Sum(sum[:0])
	return sum
}

// upTo returns the digest of the most blocks for which it is known, n at most.
func (d *rawDigest) upTo(n int) (known int, sum frame.Sum) {
	known, h := d.upToHash(n)
	h.Sum(sum[:0])
	return known, sum
}

func (d *rawDigest) upToHash(n int) (known int, h hash.Hash) {
	h = sha256.New()
	i := sort.Search(len(d.marks), func(i int) bool { return d.marks[i].n > n }) - 1
	if i < 0 {
		return 0, h
	}
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(d.marks[i].state[:]); err != nil {
		panic("pipeline: SHA-256 state: " + err.Error())
	}
	return d.marks[i].n, h
}

// A sinkWriter counts and digests what the destination takes. What is stored
// as it is needs no second digest: rest keeps what was taken of the write that
// failed.
type sinkWriter struct {
	w        io.Writer
	progress *Progress
	n        int64
	sum      hash.Hash // nil for what is stored as it is
	rest     []byte
}

func newSinkWriter(w io.Writer, o Options) *sinkWriter {
	s := &sinkWriter{w: w, progress: o.Progress}
	if o.Compression != frame.None || len(o.Recipients) > 0 {
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

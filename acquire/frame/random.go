package frame

import (
	"fmt"
	"io"
	"sync"
)

// A Random gives back single frames, by number, each checked against its digest where the index
// knows one. It is safe for concurrent use. Close frees what decoding takes; no Frame may run then.
type Random struct {
	r    io.ReaderAt
	x    *Index
	dec  *decoder
	jobs sync.Pool
}

// NewRandom returns a Random of the image in r, whose frames x lists. Of the pieces of an
// encrypted file, compression Age, it gives back the stored bytes. At most workers frames are decoded
// at once.
func NewRandom(r io.ReaderAt, x *Index, workers int) (*Random, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	dec, err := newDecoder(workers)
	if err != nil {
		return nil, fmt.Errorf("zstd: %w", err)
	}
	return &Random{r: r, x: x, dec: dec, jobs: sync.Pool{New: func() any { return new(job) }}}, nil
}

// Frame writes the bytes of frame i to buf, which has room for them, and returns them. They are
// those that the digest was made of, and nothing is returned beside an error, a *FrameError.
func (f *Random) Frame(i int, buf []byte) ([]byte, error) {
	j := f.jobs.Get().(*job)
	defer f.jobs.Put(j)
	e := f.x.Entries[i]
	if f.x.Compression == None || f.x.Compression == Age { // what is stored is what is wanted
		j.storedBuf = buf[:0:cap(buf)]
		defer func() { j.storedBuf = nil }()
	}
	j.rawBuf = buf[:0:cap(buf)]
	defer func() { j.rawBuf = nil }()
	switch j.load(f.r, f.x, i, f.dec); {
	case j.err != nil:
		return nil, frameError(i, e, j.err)
	case f.x.Compression == Age:
		return j.stored, nil
	}
	return j.raw, nil
}

// Close frees the decoder.
func (f *Random) Close() { f.dec.close() }

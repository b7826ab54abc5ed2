package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
)

// What can be wrong with a frame.
var (
	ErrMissing = errors.New("file ends before the end of the frame")
	ErrDigest  = errors.New("SHA-256 of the stored bytes differs")
	ErrDecode  = errors.New("does not decode")
)

// A FrameError says which frame of an image is damaged.
type FrameError struct {
	Frame        int // from 0
	StoredOffset int64
	StoredSize   int64
	RawOffset    int64
	RawSize      int64
	Err          error
}

func (e *FrameError) Error() string {
	return fmt.Sprintf("frame %d (stored bytes %d to %d, raw bytes %d to %d): %v", e.Frame,
		e.StoredOffset, e.StoredOffset+e.StoredSize-1, e.RawOffset, e.RawOffset+e.RawSize-1, e.Err)
}

// Unwrap returns what is wrong.
func (e *FrameError) Unwrap() error { return e.Err }

func frameError(i int, e Entry, err error) *FrameError {
	return &FrameError{i, e.StoredOffset, e.StoredSize, e.RawOffset, e.RawSize, err}
}

// A decoder decodes single frames, and never writes more than its destination has
// room for. It is safe for concurrent use.
type decoder struct{ zstd *zstd.Decoder }

func newDecoder(workers int) (*decoder, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(workers), zstd.WithDecoderMaxMemory(maxDecoded),
		zstd.WithDecodeAllCapLimit(true))
	return &decoder{z}, err
}

// decode appends the raw bytes of a compressed frame to dst.
func (d *decoder) decode(compression string, dst, stored []byte) ([]byte, error) {
	if compression == S2 {
		return decodeS2(dst, stored)
	}
	return d.zstd.DecodeAll(stored, dst)
}

func (d *decoder) close() { d.zstd.Close() }

// A job is one frame that is read and decoded.
type job struct {
	i       int
	stored  []byte // what of the stored bytes is in the file
	raw     []byte // what of the raw bytes could be had
	check   uint32 // the frame's last four bytes: zstd's checksum
	err     error
	decoded bool // raw is all of the raw bytes

	ready             chan struct{}
	refs              atomic.Int32
	storedBuf, rawBuf []byte
}

// load reads and decodes a frame. Whatever is wrong is in err.
func (j *job) load(r io.ReaderAt, x *Index, i int, dec *decoder) {
	e := x.Entries[i]
	j.i, j.err, j.decoded, j.raw, j.check = i, nil, false, nil, 0
	if int64(cap(j.storedBuf)) < e.StoredSize {
		j.storedBuf = make([]byte, e.StoredSize)
	}
	n, err := r.ReadAt(j.storedBuf[:e.StoredSize], e.StoredOffset)
	j.stored = j.storedBuf[:n]
	switch {
	case int64(n) == e.StoredSize:
	case err == nil || err == io.EOF || err == io.ErrUnexpectedEOF:
		j.err = ErrMissing
	default:
		j.err = fmt.Errorf("read: %w", err)
	}
	if x.Compression == None {
		j.raw = j.stored
	}
	if j.err != nil {
		return
	}
	if !x.intact(i, j.stored) {
		j.err = ErrDigest
	}
	if x.Compression == None || x.Compression == Age {
		j.decoded = true
		return
	}
	if n >= 4 {
		j.check = binary.LittleEndian.Uint32(j.stored[n-4:])
	}
	if int64(cap(j.rawBuf)) < e.RawSize {
		j.rawBuf = make([]byte, e.RawSize)
	}
	raw, err := dec.decode(x.Compression, j.rawBuf[:0:e.RawSize], j.stored)
	if err == nil && int64(len(raw)) != e.RawSize {
		err = fmt.Errorf("%d raw bytes", len(raw))
	}
	if err != nil {
		j.err = errors.Join(j.err, fmt.Errorf("%w: %w", ErrDecode, err))
		return
	}
	j.raw, j.decoded = raw, true
}

// ahead loads frames in parallel and hands them out in order.
type ahead struct {
	free, order, work chan *job
	stop              chan struct{}
	wg                sync.WaitGroup
}

// aheadMemory bounds what decoding ahead takes when frames are large.
const aheadMemory = 512 << 20

// newAhead starts loading frames from to the end of x. close must be called.
func newAhead(r io.ReaderAt, x *Index, from, workers int, dec *decoder) *ahead {
	var largest int64 = 1
	for _, e := range x.Entries[from:] {
		n := e.StoredSize
		if x.Compression != Age { // pieces are not decoded
			n += e.RawSize
		}
		largest = max(largest, n)
	}
	jobs := int(max(2, min(int64(2*workers+2), aheadMemory/largest)))
	a := &ahead{
		free: make(chan *job, jobs), order: make(chan *job, jobs), work: make(chan *job, jobs),
		stop: make(chan struct{}),
	}
	for range jobs {
		a.free <- &job{ready: make(chan struct{}, 1)}
	}
	a.wg.Go(func() {
		defer close(a.order)
		defer close(a.work)
		for i := from; i < len(x.Entries); i++ {
			select {
			case j := <-a.free:
				j.i = i
				a.order <- j
				a.work <- j
			case <-a.stop:
				return
			}
		}
	})
	for range min(workers, jobs) {
		a.wg.Go(func() {
			for j := range a.work {
				j.load(r, x, j.i, dec)
				j.ready <- struct{}{}
			}
		})
	}
	return a
}

// next returns the next frame, or nil after the last. The job goes back
// through free.
func (a *ahead) next() *job {
	j, ok := <-a.order
	if !ok {
		return nil
	}
	<-j.ready
	return j
}

func (a *ahead) close() {
	close(a.stop)
	a.wg.Wait()
}

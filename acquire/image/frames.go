package image

import (
	"container/list"
	"context"
	"errors"
	"io"
	"io/fs"
	"sort"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// frames reads what lies in frames, and keeps the last of them. Each is read and decoded once,
// however many want it. Memory is limit bytes, or one frame if that is larger; as much again, at most, for stored bytes
// while they are decoded; and one frame for each reader that copies from it.
type frames struct {
	src    *frame.Random
	index  *frame.Index
	stored bool // offsets are those of the stored bytes
	size   int64
	limit  int64
	told   func(error)
	life   context.Context
	slots  chan struct{}       // one for each that may be decoded at once
	room   *semaphore.Weighted // limit bytes, for those that are
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
	known  map[int]*held
	recent *list.List // of *held that are ready, the last used first
	used   int64      // bytes of all buffers
	bad    map[int]bool
	ahead  streams
	most   int // frames decoded ahead

	largest int64 // bytes of the largest frame
}

// held is a frame in memory, or on its way there.
type held struct {
	i     int
	ready chan struct{} // closed when the rest is there
	buf   []byte        // of the frame's size or more
	data  []byte
	err   error
	refs  int // readers that wait for it or copy from it; guarded by frames.mu
	place *list.Element
}

// aheadBytes is what is decoded ahead at most for one who reads in sequence: more hides no more.
const aheadBytes = 32 << 20

// newFrames returns a reader of the frames of x in r. Of pieces of an encrypted file it reads the stored
// bytes. Close must be called.
func newFrames(life context.Context, r io.ReaderAt, x *frame.Index, workers int, limit int64, damaged func(error)) (*frames, error) {
	src, err := frame.NewRandom(r, x, workers)
	if err != nil {
		return nil, err
	}
	f := &frames{
		src: src, index: x, stored: x.Compression == frame.Age, limit: limit, told: damaged, life: life,
		slots: make(chan struct{}, workers), room: semaphore.NewWeighted(limit), known: map[int]*held{}, recent: list.New(), bad: map[int]bool{},
	}
	if f.size = x.Raw(); f.stored {
		f.size = x.Stored()
	}
	var size int64 = 1
	for i := range x.Entries {
		_, n := f.span(i)
		size = max(size, n)
	}
	f.largest = size
	f.most = int(min(int64(4*workers+4), aheadBytes/size, limit/4/size))
	return f, nil
}

// memory returns the bytes that it takes at most while readers copy from frames.
func (f *frames) memory(readers int) int64 {
	return max(f.limit, f.largest) + int64(2*cap(f.slots)+readers)*f.largest
}

// span says where frame i lies.
func (f *frames) span(i int) (off, size int64) {
	e := f.index.Entries[i]
	if f.stored {
		return e.StoredOffset, e.StoredSize
	}
	return e.RawOffset, e.RawSize
}

// ReadContext reads at off. Before an error, what lies before it has been read.
func (f *frames) ReadContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	i := sort.Search(len(f.index.Entries), func(i int) bool {
		at, size := f.span(i)
		return at+size > off
	})
	for ; n < len(p); i++ {
		if i >= len(f.index.Entries) {
			return n, io.EOF
		}
		h, err := f.get(ctx, i)
		if err != nil {
			return n, err
		}
		at, _ := f.span(i)
		m := copy(p[n:], h.data[off-at:])
		f.release(h)
		n, off = n+m, off+int64(m)
	}
	return n, nil
}

// get returns frame i, which release gives back.
func (f *frames) get(ctx context.Context, i int) (*held, error) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return nil, fs.ErrClosed
	}
	h := f.want(i)
	h.refs++
	for k, end := f.ahead.next(i, f.most); k < min(end, len(f.index.Entries)); k++ {
		f.want(k)
	}
	f.mu.Unlock()
	err := context.Cause(f.life)
	select {
	case <-h.ready:
		err = h.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-f.life.Done():
		err = context.Cause(f.life)
	}
	if err != nil {
		f.release(h)
		return nil, err
	}
	return h, nil
}

func (f *frames) release(h *held) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h.refs--
}

// want returns frame i, which begins to be loaded if need be. f.mu is held.
func (f *frames) want(i int) *held {
	if h := f.known[i]; h != nil {
		if h.place != nil {
			f.recent.MoveToFront(h.place)
		}
		return h
	}
	h := &held{i: i, ready: make(chan struct{})}
	f.known[i] = h
	f.wg.Go(func() { f.load(h) })
	return h
}

// load reads a frame. Who wants one that failed again tries again.
func (f *frames) load(h *held) {
	defer close(h.ready)
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-f.life.Done():
	}
	if f.life.Err() != nil {
		h.err = context.Cause(f.life)
		return
	}
	_, size := f.span(h.i)
	weight := size // a hostile image has frames of any size
	if !f.stored && f.index.Compression != frame.None {
		weight += f.index.Entries[h.i].StoredSize
	}
	weight = min(weight, f.limit)
	if f.room.Acquire(f.life, weight) != nil {
		h.err = context.Cause(f.life)
		return
	}
	defer f.room.Release(weight)
	h.buf = f.buffer(size)
	h.data, h.err = f.src.Frame(h.i, h.buf[:0:size])
	first := false
	f.mu.Lock()
	if h.err == nil {
		h.place = f.recent.PushFront(h)
	} else {
		delete(f.known, h.i)
		f.used -= int64(cap(h.buf))
		if first = Damage(h.err) && !f.bad[h.i]; first {
			f.bad[h.i] = true
		}
	}
	f.mu.Unlock()
	if first {
		f.told(h.err)
	}
}

// Damage reports whether an error of reading is about the image, and not about reading it.
func Damage(err error) bool {
	return errors.Is(err, frame.ErrDigest) || errors.Is(err, frame.ErrDecode) || errors.Is(err, frame.ErrMissing)
}

// buffer returns room for size bytes, for which frames that were not used for longest are forgotten.
func (f *frames) buffer(size int64) (buf []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e := f.recent.Back(); e != nil && f.used+size > f.limit; {
		h, before := e.Value.(*held), e.Prev()
		if h.refs == 0 {
			f.recent.Remove(e)
			delete(f.known, h.i)
			f.used -= int64(cap(h.buf))
			if int64(cap(h.buf)) >= size && int64(cap(h.buf)) < 2*size {
				buf = h.buf
			}
		}
		e = before
	}
	if buf == nil {
		buf = make([]byte, size)
	}
	f.used += int64(cap(buf))
	return buf
}

// Close waits for what is being loaded; life has ended.
func (f *frames) Close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wg.Wait()
	f.src.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.used = nil, 0
	f.recent.Init()
	return nil
}

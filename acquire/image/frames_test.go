package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
)

// A flaky server counts what is read, fails, or waits.
type flaky struct {
	data  []byte
	reads atomic.Int64
	down  atomic.Bool
	hold  chan struct{} // nil: nothing waits
}

func (f *flaky) ReadAt(p []byte, off int64) (int, error) {
	f.reads.Add(1)
	if f.hold != nil {
		<-f.hold
	}
	if f.down.Load() {
		return 0, errGone
	}
	return bytes.NewReader(f.data).ReadAt(p, off)
}

// framed is n frames of size bytes as they are, and a reader of them.
func framed(t testing.TB, n, size int, limit int64) (*frames, *flaky) {
	t.Helper()
	src := &flaky{data: make([]byte, n*size)}
	rnd := rand.New(rand.NewPCG(1, 1))
	for i := range src.data {
		src.data[i] = byte(rnd.Uint32())
	}
	x := &frame.Index{Compression: frame.None}
	for i := range n {
		at := int64(i * size)
		x.Entries = append(x.Entries, frame.Entry{StoredOffset: at, StoredSize: int64(size), RawOffset: at, RawSize: int64(size)})
	}
	life, stop := context.WithCancel(t.Context())
	f, err := newFrames(life, src, x, 2, limit, func(error) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(); f.Close() })
	return f, src
}

func TestCacheIsBounded(t *testing.T) {
	const size, limit, readers = 64 << 10, 1 << 20, 4
	f, src := framed(t, 200, size, limit)
	before := heap()
	var most int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	for seed := range uint64(readers) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			p := make([]byte, 4096)
			for range 3000 {
				off := rnd.Int64N(int64(len(src.data) - len(p)))
				if _, err := f.ReadContext(t.Context(), p, off); err != nil || !bytes.Equal(p, src.data[off:off+4096]) {
					t.Errorf("at %d: %v", off, err)
					return
				}
				f.mu.Lock()
				used := f.used
				f.mu.Unlock()
				mu.Lock()
				most = max(most, used)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if bound := int64(limit + (readers+2)*size); most > bound || most < limit-size {
		t.Errorf("the cache held %d bytes, and may hold %d", most, bound)
	}
	if grown := heap() - before; grown > limit+(readers+2)*size+1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
}

// crowded tells how many read it at once, and gives them time to meet.
type crowded struct {
	mu        sync.Mutex
	now, most int
}

func (c *crowded) ReadAt(p []byte, _ int64) (int, error) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	c.mu.Unlock()
	time.Sleep(5 * time.Millisecond)
	clear(p)
	c.mu.Lock()
	c.now--
	c.mu.Unlock()
	return len(p), nil
}

// What is being decoded counts too: frames as large as the cache are read one after the other, however many workers there are.
func TestLargeFrames(t *testing.T) {
	const size, n = 1 << 20, 16
	x := &frame.Index{Compression: frame.None}
	for i := range int64(n) {
		x.Entries = append(x.Entries, frame.Entry{StoredOffset: i * size, StoredSize: size, RawOffset: i * size, RawSize: size})
	}
	for _, c := range []struct {
		limit int64
		most  int
	}{{1, 1}, {size, 1}, {3*size + 1, 3}} {
		life, stop := context.WithCancel(t.Context())
		src := &crowded{}
		f, err := newFrames(life, src, x, 8, c.limit, func(error) {})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for i := range int64(n) {
			wg.Go(func() {
				if _, err := f.ReadContext(t.Context(), make([]byte, 8), i*size); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		stop()
		f.Close()
		if src.most > c.most {
			t.Errorf("limit of %d bytes: %d frames at once", c.limit, src.most)
		}
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Many that want one frame have it read once; and who is in the cache is not read again.
func TestOneReadOfAFrame(t *testing.T) {
	f, src := framed(t, 4, 4096, 1<<20)
	src.hold = make(chan struct{})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, err := f.ReadContext(t.Context(), make([]byte, 10), 8200); err != nil {
				t.Error(err)
			}
		})
	}
	for { // all of them wait
		f.mu.Lock()
		h := f.known[2]
		n := 0
		if h != nil {
			n = h.refs
		}
		f.mu.Unlock()
		if n == 10 {
			break
		}
		runtime.Gosched()
	}
	close(src.hold)
	wg.Wait()
	if _, err := f.ReadContext(t.Context(), make([]byte, 10), 8300); err != nil || src.reads.Load() != 1 {
		t.Errorf("%d reads, %v", src.reads.Load(), err)
	}
}

// Who gives up is free at once; who comes when the server is back is served, and is not told of the failure before.
func TestServerDies(t *testing.T) {
	f, src := framed(t, 4, 4096, 1<<20)
	src.hold = make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	gave := make(chan error)
	go func() {
		_, err := f.ReadContext(ctx, make([]byte, 10), 0)
		gave <- err
	}()
	cancel()
	if err := <-gave; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up: %v", err)
	}
	src.down.Store(true)
	close(src.hold)
	if n, err := f.ReadContext(t.Context(), make([]byte, 10), 4096); n != 0 || !errors.Is(err, errGone) {
		t.Errorf("while it is down: %d, %v", n, err)
	}
	src.down.Store(false)
	p := make([]byte, 10)
	for _, off := range []int64{0, 4096} {
		// The read of who gave up may still be on its way to fail.
		for {
			_, err := f.ReadContext(t.Context(), p, off)
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil || !bytes.Equal(p, src.data[off:off+10]) {
				t.Errorf("when it is back: %v", err)
			}
			break
		}
	}
}

func TestClosed(t *testing.T) {
	f, _ := framed(t, 4, 4096, 1<<20)
	f.Close()
	if _, err := f.ReadContext(t.Context(), make([]byte, 10), 0); !errors.Is(err, fs.ErrClosed) {
		t.Error(err)
	}
}

// Who reads in sequence finds the next frames there; who jumps has none loaded that he does not read.
func TestReadsAhead(t *testing.T) {
	f, src := framed(t, 64, 4096, 1<<20)
	p := make([]byte, 4096)
	for _, i := range []int64{40, 3, 20, 60, 11} {
		f.ReadContext(t.Context(), p, i*4096)
	}
	f.wg.Wait()
	if n := src.reads.Load(); n != 5 {
		t.Errorf("who jumps: %d frames read", n)
	}
	for i := range int64(4) {
		f.ReadContext(t.Context(), p, (30+i)*4096)
	}
	f.wg.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 34; i < 38; i++ {
		if f.known[i] == nil {
			t.Errorf("frame %d was not loaded ahead", i)
		}
	}
}

func TestStreams(t *testing.T) {
	var s streams
	step := func(i, from, end int) {
		t.Helper()
		if a, b := s.next(i, 8); b-a != end-from || b > a && (a != from || b != end) {
			t.Errorf("frame %d: %d to %d, want %d to %d", i, a, b, from, end)
		}
	}
	step(0, 0, 0)
	step(1, 2, 3)
	step(2, 3, 5)
	step(100, 0, 0) // another reader
	step(3, 4, 8)
	step(3, 0, 0)
	step(5, 6, 14) // requests in the wrong order
	step(4, 0, 0)
	step(6, 7, 15)
	step(101, 102, 103)
	step(50, 0, 0) // a jump
}

// A source fails under the image: an error there and then, and everything as before when it is back.
func TestImageOutlivesItsServer(t *testing.T) {
	s := store(t, testRaw(), frame.Zstd, true)
	place := &flakyPlace{Opener: s.dir}
	img, err := Open(t.Context(), place, testName, Options{Identities: s.keys, Cache: 2 * testFrame})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	v := img.Lime()
	place.down.Store(true)
	begin := time.Now()
	failed := 0
	for at := int64(0); at < v.Size(); at += testFrame {
		p := make([]byte, 100)
		if n, err := v.ReadAt(p, at); errors.Is(err, errGone) {
			failed++
		} else if err != nil && err != io.EOF || !bytes.Equal(p[:n], s.raw[at:at+int64(n)]) {
			t.Fatalf("at %d: %d, %v", at, n, err)
		}
	}
	if failed == 0 || time.Since(begin) > time.Minute {
		t.Errorf("%d reads failed, in %s", failed, time.Since(begin))
	}
	place.down.Store(false)
	jump(t, v, s.raw, 1, 100)
}

type flakyPlace struct {
	sink.Opener
	down atomic.Bool
}

func (p *flakyPlace) Open(ctx context.Context, name string) (sink.Reader, error) {
	r, err := p.Opener.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &flakyReader{r, p}, nil
}

type flakyReader struct {
	sink.Reader
	p *flakyPlace
}

func (r *flakyReader) ReadAt(p []byte, off int64) (int, error) {
	if r.p.down.Load() {
		return 0, errGone
	}
	return r.Reader.ReadAt(p, off)
}

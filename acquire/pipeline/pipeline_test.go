package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

const testFrame = 8192

var raceEnabled bool

// image returns a LiME image of one range with content bytes: pages of zeros,
// text and noise.
func image(content int) []byte {
	r := rand.New(rand.NewPCG(1, uint64(content)))
	body := make([]byte, content)
	for at := 0; at < content; at += lime.PageSize {
		page := body[at:min(at+lime.PageSize, content)]
		switch (at / lime.PageSize) % 5 {
		case 0, 1, 2:
		case 3:
			copy(page, bytes.Repeat([]byte("some text "), 410))
		default:
			for i := range page {
				page[i] = byte(r.Uint32())
			}
		}
	}
	if content == 0 {
		return nil
	}
	return append(lime.AppendHeader(nil, lime.Range{Start: 0x1000, End: 0x1000 + uint64(content) - 1}), body...)
}

func testPool(t testing.TB, workers int) *frame.Pool {
	p := frame.NewPool(frame.PoolOptions{Workers: workers})
	t.Cleanup(p.Close)
	return p
}

// noLeaks fails the test if goroutines outlive it. Call it first.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 1_000_000 { // a goroutine that is done takes a moment to go
			if runtime.NumGoroutine() <= before {
				return
			}
			runtime.Gosched()
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
	})
}

// check holds a result against what was received and what the destination has.
func check(t *testing.T, res Result, received, stored []byte, complete bool) {
	t.Helper()
	if res.Received != int64(len(received)) {
		t.Errorf("received %d bytes, want %d", res.Received, len(received))
	}
	if res.Raw.Complete != complete || res.Stored.Complete != complete {
		t.Errorf("complete: raw %v, stored %v, want %v", res.Raw.Complete, res.Stored.Complete, complete)
	}
	if res.Raw.Bytes != res.Index.Raw() || res.Raw.Bytes > int64(len(received)) {
		t.Fatalf("raw digest covers %d bytes, index %d, received %d", res.Raw.Bytes, res.Index.Raw(), len(received))
	}
	if want := sha256.Sum256(received[:res.Raw.Bytes]); res.Raw.SHA256 != want {
		t.Errorf("raw digest of %d bytes is wrong", res.Raw.Bytes)
	}
	if res.Stored.Bytes != int64(len(stored)) {
		t.Errorf("stored digest covers %d bytes, destination has %d", res.Stored.Bytes, len(stored))
	}
	if want := sha256.Sum256(stored); res.Stored.SHA256 != want {
		t.Errorf("stored digest of %d bytes is wrong", len(stored))
	}
	if want := res.Index.Compression == frame.None; res.Index.Chained != want {
		t.Errorf("chained: %v, want %v", res.Index.Chained, want)
	}
	if err := res.Index.Validate(); err != nil {
		t.Error(err)
	}
	for i, e := range res.Index.Entries {
		want := sha256.Sum256(stored[e.StoredOffset:][:e.StoredSize])
		if res.Index.Chained {
			h := sha256.New()
			h.Write(stored[:e.StoredOffset+e.StoredSize])
			state, err := h.(encoding.BinaryAppender).AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			want = frame.ChainSum(state)
		}
		if want != e.SHA256 {
			t.Errorf("digest of frame %d is wrong", i)
		}
	}
}

// decode returns the raw bytes of a well-formed stored file.
func decode(t *testing.T, stored []byte) []byte {
	t.Helper()
	r, err := frame.Open(bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

var compressions = frame.Compressions

func TestRun(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	readers := map[string]func(io.Reader) io.Reader{
		"plain":   func(r io.Reader) io.Reader { return r },
		"half":    iotest.HalfReader,
		"dataerr": iotest.DataErrReader,
		"onebyte": iotest.OneByteReader,
	}
	for _, size := range []int{lime.PageSize, testFrame - 33, testFrame - 32, testFrame - 31, 2*testFrame - 32, 10*testFrame + 1} {
		for name, wrap := range readers {
			for _, c := range compressions {
				t.Run(fmt.Sprintf("%d/%s/%s", size, name, c), func(t *testing.T) {
					in := image(size)
					var out bytes.Buffer
					w := lime.NewWalker(lime.WalkerOptions{})
					p := &Progress{}
					res, err := Run(t.Context(), wrap(bytes.NewReader(in)), &out, Options{Pool: pool, Compression: c, FrameSize: testFrame, Walker: w, Progress: p})
					if err != nil {
						t.Fatal(err)
					}
					check(t, res, in, out.Bytes(), true)
					if got := decode(t, out.Bytes()); !bytes.Equal(got, in) {
						t.Errorf("stored file gives back %d other bytes", len(got))
					}
					if rep, err := w.Finish(); err != nil || rep.Bytes != int64(len(in)) {
						t.Errorf("walker saw %d bytes: %v", rep.Bytes, err)
					}
					if p.RawBytes.Load() != int64(len(in)) || p.StoredBytes.Load() != int64(out.Len()) || p.LastByteUnixNano.Load() == 0 {
						t.Errorf("progress: %d raw, %d stored", p.RawBytes.Load(), p.StoredBytes.Load())
					}
				})
			}
		}
	}
}

func TestRunEmpty(t *testing.T) {
	for _, c := range compressions {
		var out bytes.Buffer
		res, err := Run(t.Context(), bytes.NewReader(nil), &out, Options{Pool: testPool(t, 1), Compression: c})
		if err != nil {
			t.Fatal(err)
		}
		check(t, res, nil, out.Bytes(), true)
	}
}

var errSource = errors.New("connection reset")

func TestSourceFails(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	in := image(5 * testFrame)
	for _, at := range []int{0, 1, 31, 32, 33, testFrame - 1, testFrame, testFrame + 1, 3 * testFrame, len(in) - 1, len(in)} {
		for _, c := range compressions {
			t.Run(fmt.Sprintf("%d/%s", at, c), func(t *testing.T) {
				var out bytes.Buffer
				src := io.MultiReader(bytes.NewReader(in[:at]), iotest.ErrReader(errSource))
				res, err := Run(t.Context(), src, &out, Options{Pool: pool, Compression: c, FrameSize: testFrame})
				var se *SourceError
				if !errors.As(err, &se) || !errors.Is(err, errSource) || se.Bytes != int64(at) {
					t.Fatalf("error %v", err)
				}
				check(t, res, in[:at], out.Bytes(), false)
				if res.Raw.Bytes != int64(at) {
					t.Errorf("%d of %d received bytes were stored", res.Raw.Bytes, at)
				}
				if c == frame.Zstd || at >= 4 || c == frame.S2 && at > 0 {
					if got := decode(t, out.Bytes()); !bytes.Equal(got, in[:at]) {
						t.Errorf("stored file gives back other bytes")
					}
				}
				if c == frame.Zstd {
					zstd, err := exec.LookPath("zstd")
					if err != nil {
						t.Skip(err)
					}
					file := filepath.Join(t.TempDir(), "image.zst")
					if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
						t.Fatal(err)
					}
					got, err := exec.Command(zstd, "-dc", file).Output()
					if err != nil || !bytes.Equal(got, in[:at]) {
						t.Errorf("zstd -d: %v", err)
					}
				}
			})
		}
	}
}

// A failingSink takes left bytes and then fails as a full disk does, or by
// taking less without a word.
type failingSink struct {
	bytes.Buffer
	left  int
	quiet bool
}

func (s *failingSink) Write(p []byte) (int, error) {
	n, _ := s.Buffer.Write(p[:min(len(p), s.left)])
	s.left -= n
	if n < len(p) && !s.quiet {
		return n, &os.PathError{Op: "write", Path: "image", Err: syscall.ENOSPC}
	}
	return n, nil
}

func TestSinkFails(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	in := image(40 * testFrame)
	for _, c := range compressions {
		var whole bytes.Buffer
		o := Options{Pool: pool, Compression: c, FrameSize: testFrame}
		if _, err := Run(t.Context(), bytes.NewReader(in), &whole, o); err != nil {
			t.Fatal(err)
		}
		points := []int{0, 1, whole.Len() - 1}
		for at := 7; at < whole.Len(); at += whole.Len()/60 + 1 {
			points = append(points, at)
		}
		for _, at := range points {
			for _, quiet := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%v", c, at, quiet), func(t *testing.T) {
					sink := &failingSink{left: at, quiet: quiet}
					res, err := Run(t.Context(), bytes.NewReader(in), sink, o)
					var se *SinkError
					if !errors.As(err, &se) || se.Bytes != int64(at) {
						t.Fatalf("error %v", err)
					}
					if !quiet && !errors.Is(err, syscall.ENOSPC) || quiet && !errors.Is(err, io.ErrShortWrite) {
						t.Errorf("error %v", err)
					}
					if errors.As(err, new(*SourceError)) {
						t.Errorf("source is blamed: %v", err)
					}
					check(t, res, in[:res.Received], sink.Bytes(), false)
					if int64(at) < res.Index.Stored() {
						t.Errorf("index covers %d bytes of %d", res.Index.Stored(), at)
					}
				})
			}
		}
	}
}

func TestBothFail(t *testing.T) {
	in := image(testFrame - 32)
	src := io.MultiReader(bytes.NewReader(in), iotest.ErrReader(errSource))
	_, err := Run(t.Context(), src, &failingSink{}, Options{Pool: testPool(t, 1), FrameSize: 2 * testFrame})
	if !errors.As(err, new(*SourceError)) || !errors.As(err, new(*SinkError)) {
		t.Errorf("error %v", err)
	}
}

// A cancelled context ends the run as a source error, also when closing the
// source makes it say io.EOF.
func TestCancel(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	cause := errors.New("operator said stop")
	for _, end := range []error{io.EOF, io.ErrClosedPipe} {
		ctx, cancel := context.WithCancelCause(t.Context())
		in := image(3*testFrame + 100)
		pr, pw := io.Pipe()
		var wg sync.WaitGroup
		wg.Go(func() {
			pw.Write(in)
			cancel(cause)
			pw.CloseWithError(end)
		})
		var out bytes.Buffer
		res, err := Run(ctx, pr, &out, Options{Pool: pool, FrameSize: testFrame})
		wg.Wait()
		if !errors.As(err, new(*SourceError)) || !errors.Is(err, cause) {
			t.Fatalf("error %v", err)
		}
		check(t, res, in, out.Bytes(), false)
		if got := decode(t, out.Bytes()); !bytes.Equal(got, in) {
			t.Error("received bytes were lost")
		}
	}
}

type zeroReads struct{}

func (zeroReads) Read([]byte) (int, error) { return 0, nil }

type liar struct{}

func (liar) Read(p []byte) (int, error) { return len(p) + 1, nil }

func TestBadReaders(t *testing.T) {
	pool := testPool(t, 1)
	if _, err := Run(t.Context(), zeroReads{}, io.Discard, Options{Pool: pool}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("error %v", err)
	}
	if _, err := Run(t.Context(), liar{}, io.Discard, Options{Pool: pool}); !errors.As(err, new(*SourceError)) {
		t.Errorf("error %v", err)
	}
	if _, err := Run(t.Context(), liar{}, io.Discard, Options{}); err == nil {
		t.Error("no pool, no error")
	}
}

// A gate holds every write until it is opened.
type gate struct {
	io.Writer
	open chan struct{}
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.Writer.Write(p)
}

// A counted source tells how much was taken from it.
type counted struct {
	r     io.Reader
	n     atomic.Int64
	taken chan int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.taken <- c.n.Add(int64(n))
	return n, err
}

// While the destination stands still, the source is read as far as there are
// blocks, and not a byte further.
func TestBackPressure(t *testing.T) {
	noLeaks(t)
	const inFlight, workers = 3, 2
	pool := testPool(t, workers)
	in := image(50 * testFrame)
	var out bytes.Buffer
	g := &gate{&out, make(chan struct{})}
	src := &counted{r: bytes.NewReader(in), taken: make(chan int64, 1000)}
	done := make(chan struct{})
	var res Result
	var err error
	go func() {
		defer close(done)
		res, err = Run(t.Context(), src, g, Options{Pool: pool, FrameSize: testFrame, InFlight: inFlight})
	}()
	const limit = (inFlight + workers) * testFrame
	for n := range src.taken {
		if n == limit {
			break
		}
	}
	if len(src.taken) != 0 || src.n.Load() != limit {
		t.Errorf("%d bytes were read, blocks hold %d", src.n.Load(), limit)
	}
	// The pool's blocks are lent out; another host still moves with its own.
	var other bytes.Buffer
	if _, err := Run(t.Context(), bytes.NewReader(in), &other, Options{Pool: pool, FrameSize: testFrame}); err != nil {
		t.Error(err)
	}
	if src.n.Load() != limit {
		t.Errorf("%d bytes were read, blocks hold %d", src.n.Load(), limit)
	}
	close(g.open)
	<-done
	if err != nil {
		t.Fatal(err)
	}
	check(t, res, in, out.Bytes(), true)
}

func TestSharedPool(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			in := image((20+i)*testFrame + i)
			size := testFrame << (i % 3)
			var out bytes.Buffer
			w := lime.NewWalker(lime.WalkerOptions{})
			res, err := Run(t.Context(), bytes.NewReader(in), &out, Options{Pool: pool, Compression: compressions[i%2], FrameSize: size, Walker: w})
			if err != nil {
				t.Error(err)
				return
			}
			check(t, res, in, out.Bytes(), true)
			if got := decode(t, out.Bytes()); !bytes.Equal(got, in) {
				t.Error("stored file gives back other bytes")
			}
			if _, err := w.Finish(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What a run allocates does not depend on how many blocks pass, except for
// the index as it grows.
func TestNoAllocationPerBlock(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	pool := testPool(t, 2)
	allocs := func(frames int, c string) float64 {
		in := image(frames * testFrame)
		return testing.AllocsPerRun(5, func() {
			if _, err := Run(t.Context(), bytes.NewReader(in), io.Discard, Options{Pool: pool, Compression: c, FrameSize: testFrame, Walker: newWalker()}); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, c := range compressions {
		if few, many := allocs(100, c), allocs(1100, c); many-few > 50 {
			t.Errorf("%s: %v allocations for 1000 blocks more", c, many-few)
		}
	}
}

func TestMemoryPerHost(t *testing.T) {
	n, err := MemoryPerHost(Options{Pool: testPool(t, 2)})
	if err != nil || n < 9<<20 || n > 10<<20 {
		t.Errorf("%d bytes, %v", n, err)
	}
	if n, _ = MemoryPerHost(Options{Pool: testPool(t, 2), Expected: 64 << 30}); n > 20<<20 {
		t.Errorf("%d bytes for 64 GiB", n)
	}
	to, _ := testRecipient(t)
	if m, _ := MemoryPerHost(Options{Pool: testPool(t, 2), Expected: 64 << 30, Recipients: []agefile.Recipient{to}}); m <= n+3<<20 || m > n+15<<20 {
		t.Errorf("%d bytes for 64 GiB encrypted, %d without", m, n)
	}
}

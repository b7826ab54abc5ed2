package pipeline

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
)

func testRecipient(t testing.TB) (agefile.Recipient, age.Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	return to, id
}

// decrypt returns what the age library gives before it fails.
func decrypt(t *testing.T, stored []byte, id age.Identity) ([]byte, error) {
	t.Helper()
	r, err := age.Decrypt(bytes.NewReader(stored), id)
	if err != nil {
		t.Fatal(err)
	}
	return io.ReadAll(r)
}

func TestEncrypted(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	to, id := testRecipient(t)
	for _, size := range []int{1, testFrame - 32, 10*testFrame + 1, 500 * testFrame} {
		for _, c := range compressions {
			for _, fail := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d/%s/%v", size, c, fail), func(t *testing.T) {
					in := image(size)
					src := io.Reader(bytes.NewReader(in))
					if fail {
						src = io.MultiReader(src, iotest.ErrReader(errSource))
					}
					var out bytes.Buffer
					p := &Progress{}
					res, err := Run(t.Context(), src, &out, Options{Pool: pool, Compression: c, FrameSize: testFrame, Progress: p, Recipients: []agefile.Recipient{to}})
					if fail != errors.Is(err, errSource) {
						t.Fatal(err)
					}
					check(t, res, in, out.Bytes(), !fail)
					if res.Raw.Bytes != int64(len(in)) || p.StoredBytes.Load() != int64(out.Len()) {
						t.Errorf("%d raw bytes, %d stored by progress", res.Raw.Bytes, p.StoredBytes.Load())
					}
					// Also of a stream that ended early: a well-formed file, which age takes without a word.
					plain, err := decrypt(t, out.Bytes(), id)
					if err != nil {
						t.Fatal(err)
					}
					if got := decode(t, plain); !bytes.Equal(got, in) {
						t.Errorf("gives back %d other bytes", len(got))
					}
					if bytes.Contains(out.Bytes(), in[len(in)/2:min(len(in), len(in)/2+64)]) {
						t.Error("memory stands in the file in clear")
					}
				})
			}
		}
	}
}

// TestEncryptedSinkFails: however much a full disk took, the digests are those of what is
// there: the raw digest is of frames that stock age and zstd give back from it.
func TestEncryptedSinkFails(t *testing.T) {
	noLeaks(t)
	pool := testPool(t, 2)
	to, id := testRecipient(t)
	in := image(600 * testFrame)
	for _, c := range compressions {
		var whole bytes.Buffer
		o := Options{Pool: pool, Compression: c, FrameSize: testFrame, Recipients: []agefile.Recipient{to}}
		if _, err := Run(t.Context(), bytes.NewReader(in), &whole, o); err != nil {
			t.Fatal(err)
		}
		points := []int{0, 1, 300, whole.Len() - 1}
		for at := 100_000; at < whole.Len(); at += whole.Len()/9 + 1 {
			points = append(points, at)
		}
		for _, at := range points {
			t.Run(fmt.Sprintf("%s/%d", c, at), func(t *testing.T) {
				sink := &failingSink{left: at}
				res, err := Run(t.Context(), bytes.NewReader(in), sink, o)
				var se *SinkError
				if !errors.As(err, &se) || se.Bytes != int64(at) || errors.As(err, new(*SourceError)) {
					t.Fatalf("error %v", err)
				}
				check(t, res, in[:res.Received], sink.Bytes(), false)
				if res.Index.Stored() != int64(at) {
					t.Errorf("pieces cover %d of %d bytes", res.Index.Stored(), at)
				}
				if at < 300 {
					return
				}
				plain, err := decrypt(t, sink.Bytes(), id)
				if err == nil {
					t.Error("age takes the file for whole")
				}
				got := plain
				if c != frame.None {
					got = readable(t, plain)
				}
				if int64(len(got)) < res.Raw.Bytes || sha256.Sum256(got[:res.Raw.Bytes]) != res.Raw.SHA256 {
					t.Fatalf("%d bytes can be read, the digest is of %d", len(got), res.Raw.Bytes)
				}
				// Near the end every frame's digest is known.
				if lost := int64(len(got)) - res.Raw.Bytes; lost >= 8*testFrame {
					t.Errorf("the digest leaves out the last %d of %d bytes that can be read", lost, len(got))
				}
			})
		}
	}
}

// readable decodes the whole frames of a zstd file that was cut short.
func readable(t *testing.T, plain []byte) []byte {
	t.Helper()
	if len(plain) == 0 {
		return nil
	}
	r, err := frame.Open(bytes.NewReader(plain), int64(len(plain)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got bytes.Buffer
	_, err = r.WriteTo(&got)
	if err != nil && !errors.As(err, new(*frame.TailError)) {
		t.Fatal(err)
	}
	return got.Bytes()
}

// TestUntil: of an image that lost its end, what is left is known without the key.
func TestUntil(t *testing.T) {
	pool := testPool(t, 2)
	to, id := testRecipient(t)
	in := image(600 * testFrame)
	var out bytes.Buffer
	res, err := Run(t.Context(), bytes.NewReader(in), &out, Options{Pool: pool, FrameSize: testFrame, Recipients: []agefile.Recipient{to}})
	if err != nil {
		t.Fatal(err)
	}
	for at := int64(0); at <= int64(out.Len()); at += int64(out.Len()) / 7 {
		x, raw := res.Until(at)
		if err := x.Validate(); err != nil {
			t.Fatal(err)
		}
		if x.Raw() != raw.Bytes || x.Stored() > at || sha256.Sum256(in[:raw.Bytes]) != raw.SHA256 {
			t.Errorf("%d: index of %d stored and %d raw bytes, digest of %d", at, x.Stored(), x.Raw(), raw.Bytes)
		}
		if at == 0 || x.Stored() < 300 {
			continue
		}
		plain, _ := decrypt(t, out.Bytes()[:x.Stored()], id)
		if got := readable(t, plain); int64(len(got)) < raw.Bytes {
			t.Errorf("%d: %d bytes can be read, the digest is of %d", at, len(got), raw.Bytes)
		}
	}
	if _, raw := res.Until(int64(out.Len())); raw.Bytes != int64(len(in)) {
		t.Errorf("all of it: %d raw bytes", raw.Bytes)
	}
}

// A stuckSink takes nothing until it is let go.
type stuckSink struct {
	bytes.Buffer
	mu sync.Mutex
}

func (s *stuckSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Buffer.Write(p)
}

// TestEncryptedMemory: when the sink stands still the source does too, soon.
func TestEncryptedMemory(t *testing.T) {
	pool := testPool(t, 1)
	to, _ := testRecipient(t)
	const size = 1 << 20
	o := Options{Pool: pool, Compression: frame.None, FrameSize: size, Expected: 64 * size, Recipients: []agefile.Recipient{to}}
	limit, err := MemoryPerHost(o)
	if err != nil {
		t.Fatal(err)
	}
	sink := &stuckSink{}
	sink.mu.Lock()
	o.Progress = &Progress{}
	done := make(chan error)
	go func() {
		_, err := Run(t.Context(), bytes.NewReader(image(64*size)), sink, o)
		done <- err
	}()
	// The pipeline fills up and comes to rest: blocks, one that the pool lends, units.
	var last int64 = -1
	for still := 0; still < 200; still++ {
		select {
		case err := <-done:
			t.Fatalf("ended: %v", err)
		case <-time.After(time.Millisecond):
		}
		if n := o.Progress.RawBytes.Load(); n != last || n == 0 {
			last, still = n, 0
		}
	}
	if last > limit {
		t.Errorf("%d bytes were read that the sink did not take, MemoryPerHost says %d", last, limit)
	}
	sink.mu.Unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestMarks: every state near the end is there, and there are never many.
func TestMarks(t *testing.T) {
	d := newRawDigest(6, false)
	block := []byte("block")
	for range 300_000 {
		d.write(block)
	}
	for n := d.n - d.near; n <= d.n; n++ {
		if known, _ := d.upTo(n); known != n {
			t.Errorf("state after %d of %d blocks: %d", n, d.n, known)
		}
	}
	for n := 1000; n < d.n; n += 1009 {
		known, sum := d.upTo(n)
		if gap, age := n-known, d.n-n; gap > age/16 {
			t.Fatalf("%d blocks from the end the nearest state is %d away", age, gap)
		}
		if n < 5000 && sum != frame.Sum(sha256.Sum256(bytes.Repeat(block, known))) {
			t.Fatalf("digest of %d blocks is wrong", known)
		}
	}
	if len(d.marks) > 4096 {
		t.Errorf("%d states", len(d.marks))
	}
	if known, sum := d.upTo(0); known != 0 || sum != frame.Sum(sha256.Sum256(nil)) {
		t.Errorf("no block: %d", known)
	}
}

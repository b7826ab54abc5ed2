package agefile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/frame"
)

// testKey makes a recipient and its identity.
func testKey(t testing.TB) (Recipient, *age.X25519Identity) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	return r, id
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(7, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// seal encrypts data in writes of step bytes.
func seal(t testing.TB, data []byte, step, piece int, to ...Recipient) (stored []byte, w *Writer) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, to, piece)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(data); at += step {
		if _, err := w.Write(data[at:min(at+step, len(data))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), w
}

// library decrypts with the age library.
func library(stored []byte, id age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(stored), id)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

var sizes = []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 2 * chunkSize, 3*chunkSize - 1, 17*chunkSize + 5, 33 * chunkSize}

func TestRoundTrip(t *testing.T) {
	to, id := testKey(t)
	for _, n := range sizes {
		for _, step := range []int{777, 1 << 20} {
			t.Run(fmt.Sprint(n, "/", step), func(t *testing.T) {
				data := noise(n)
				stored, w := seal(t, data, step, 2*chunkSize, to)
				got, err := library(stored, id)
				if err != nil || !bytes.Equal(got, data) {
					t.Fatalf("age itself gives %d bytes: %v", len(got), err)
				}
				r, err := Open(bytes.NewReader(stored), int64(len(stored)), id)
				if err != nil {
					t.Fatal(err)
				}
				if r.Size() != int64(n) || r.Tail() != nil {
					t.Fatalf("size %d, tail %v", r.Size(), r.Tail())
				}
				if err := iotest.TestReader(io.NewSectionReader(r, 0, r.Size()), data); err != nil {
					t.Error(err)
				}
				l := w.Layout()
				if got := l.Plain(int64(len(stored))); got != int64(n) {
					t.Errorf("layout: %d plain bytes", got)
				}
				if head, err := Header(bytes.NewReader(stored), int64(len(stored))); err != nil || head != l.head {
					t.Errorf("header of %d bytes, want %d: %v", head, l.head, err)
				}
				x := l.Index(nil, l.Whole(int64(len(stored))))
				if err := x.Validate(); err != nil {
					t.Error(err)
				}
				if x.Stored() != int64(len(stored)) {
					t.Errorf("pieces cover %d of %d bytes", x.Stored(), len(stored))
				}
				for i, e := range x.Entries {
					if sum := sha256.Sum256(stored[e.StoredOffset:][:e.StoredSize]); sum != e.SHA256 {
						t.Errorf("digest of piece %d is wrong", i)
					}
				}
			})
		}
	}
}

// TestReadAt reads ranges at the edges of chunks and groups.
func TestReadAt(t *testing.T) {
	to, id := testKey(t)
	data := noise(35*chunkSize + 77)
	stored, _ := seal(t, data, 1<<20, 1, to)
	r, err := Open(bytes.NewReader(stored), int64(len(stored)), id)
	if err != nil {
		t.Fatal(err)
	}
	edges := []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 16 * chunkSize, 17*chunkSize + 3, 35 * chunkSize, len(data) - 1, len(data)}
	for _, from := range edges {
		for _, to := range edges {
			if to < from {
				continue
			}
			p := make([]byte, to-from)
			if n, err := r.ReadAt(p, int64(from)); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, data[from:to]) {
				t.Errorf("bytes %d to %d: %d, %v", from, to, n, err)
			}
		}
	}
	if n, err := r.ReadAt(make([]byte, 10), int64(len(data)-4)); n != 4 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// A countingReader counts requests.
type countingReader struct {
	io.ReaderAt
	n int
}

func (r *countingReader) ReadAt(p []byte, off int64) (int, error) {
	r.n++
	return r.ReaderAt.ReadAt(p, off)
}

// TestRequests: from afar, each read is a request. A frame takes one, not one a chunk, and what is
// not asked for is not read.
func TestRequests(t *testing.T) {
	to, id := testKey(t)
	stored, _ := seal(t, noise(100*chunkSize), 1<<20, 1, to)
	src := &countingReader{ReaderAt: bytes.NewReader(stored)}
	r, err := Open(src, int64(len(stored)), id)
	if err != nil {
		t.Fatal(err)
	}
	src.n = 0
	if _, err := r.ReadAt(make([]byte, 10*chunkSize), 50*chunkSize+9); err != nil {
		t.Fatal(err)
	}
	if src.n != 1 {
		t.Errorf("%d requests for one range", src.n)
	}
	// Where the last read ended the next begins: that chunk is known.
	if _, err := r.ReadAt(make([]byte, 100), 60*chunkSize+9); err != nil || src.n != 1 {
		t.Errorf("%d requests, %v", src.n, err)
	}
}

// TestTruncated: whatever is cut off, every whole chunk before is given back, and the file is not
// taken for whole; age itself gives the same.
func TestTruncated(t *testing.T) {
	to, id := testKey(t)
	data := noise(5*chunkSize + 100)
	stored, w := seal(t, data, 1<<20, 1, to)
	head := int(w.Layout().head)
	for _, keep := range []int{head, head + 1, head + 16, head + 100, head + encChunk - 1, head + encChunk, head + encChunk + 1, head + encChunk + 16, head + encChunk + 17, head + 5*encChunk, len(stored) - 1} {
		cut := stored[:keep]
		r, err := Open(bytes.NewReader(cut), int64(keep), id)
		if err != nil {
			t.Fatalf("%d: %v", keep, err)
		}
		want := data[:(keep-head)/encChunk*chunkSize]
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d: %d bytes, want %d: %v", keep, len(got), len(want), err)
		}
		if tail := r.Tail(); tail == nil || tail.Offset+tail.Bytes != int64(keep) {
			t.Errorf("%d: tail %v", keep, tail)
		}
		if theirs, err := library(cut, id); err == nil || !bytes.Equal(theirs, want) {
			t.Errorf("%d: age gives %d bytes, want %d: %v", keep, len(theirs), len(want), err)
		}
		if n := w.Layout().Plain(int64(keep)); n != int64(len(want)) {
			t.Errorf("%d: layout says %d plain bytes, want %d", keep, n, len(want))
		}
	}
	for _, keep := range []int{0, 10, head - 17, head - 1} {
		if _, err := Open(bytes.NewReader(stored[:keep]), int64(keep), id); !errors.Is(err, ErrHeader) {
			t.Errorf("%d: %v", keep, err)
		}
	}
}

func TestAppended(t *testing.T) {
	to, id := testKey(t)
	for _, n := range []int{0, 100, chunkSize, 2*chunkSize + 5} {
		stored, w := seal(t, noise(n), 1<<20, 1, to)
		for _, more := range []int{1, 16, 17, encChunk, 3 * encChunk} {
			long := append(bytes.Clone(stored), make([]byte, more)...)
			r, err := Open(bytes.NewReader(long), int64(len(long)), id)
			if err != nil {
				t.Fatal(err)
			}
			if r.Tail() == nil {
				t.Errorf("%d bytes appended to %d: not told", more, n)
			}
			_ = w
		}
	}
}

// TestDamage: a flipped byte costs its chunk and no other.
func TestDamage(t *testing.T) {
	to, id := testKey(t)
	data := noise(20*chunkSize + 100)
	stored, w := seal(t, data, 1<<20, 1, to)
	at := int(w.Layout().head) + 7*encChunk + 12
	stored[at] ^= 1
	r, err := Open(bytes.NewReader(stored), int64(len(stored)), id)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(data))
	n, err := r.ReadAt(p, 0)
	var bad *ChunkError
	if n != 7*chunkSize || !errors.As(err, &bad) || !errors.Is(err, ErrChunk) || bad.Offset > int64(at) || bad.Offset+bad.Bytes <= int64(at) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if !bytes.Equal(p[:n], data[:n]) {
		t.Error("what lies before is wrong")
	}
	if n, err := r.ReadAt(p[:12*chunkSize], 8*chunkSize); err != nil || !bytes.Equal(p[:n], data[8*chunkSize:20*chunkSize]) {
		t.Errorf("what follows: %d bytes, %v", n, err)
	}
	if r.Stored(7*chunkSize+1) != bad.Offset {
		t.Errorf("stored offset %d, want %d", r.Stored(7*chunkSize+1), bad.Offset)
	}
	// Two chunks that changed places are no longer what they were.
	stored[at] ^= 1
	a, b := stored[w.Layout().head:][:encChunk], stored[w.Layout().head+encChunk:][:encChunk]
	tmp := bytes.Clone(a)
	copy(a, b)
	copy(b, tmp)
	if r, err = Open(bytes.NewReader(stored), int64(len(stored)), id); err != nil {
		t.Fatal(err)
	}
	if n, err := r.ReadAt(p, 0); n != 0 || !errors.Is(err, ErrChunk) {
		t.Errorf("swapped: %d bytes, %v", n, err)
	}
}

func TestOpenErrors(t *testing.T) {
	to, id := testKey(t)
	_, other := testKey(t)
	stored, _ := seal(t, noise(1000), 1000, 1, to)
	open := func(b []byte, ids ...age.Identity) error {
		_, err := Open(bytes.NewReader(b), int64(len(b)), ids...)
		return err
	}
	if err := open(stored, other); !errors.Is(err, ErrNoMatch) {
		t.Errorf("wrong identity: %v", err)
	}
	if err := open(stored); !errors.Is(err, ErrNoMatch) {
		t.Errorf("no identity: %v", err)
	}
	if err := open(stored, other, id); err != nil {
		t.Errorf("one of two: %v", err)
	}
	i := bytes.Index(stored, []byte("\n--- ")) + 8
	mac := bytes.Clone(stored)
	mac[i] = map[bool]byte{true: 'B', false: 'A'}[mac[i] == 'A']
	if err := open(mac, id); !errors.Is(err, ErrHeader) {
		t.Errorf("wrong MAC: %v", err)
	}
	if err := open([]byte("something else"), id); !errors.Is(err, ErrHeader) {
		t.Errorf("no header: %v", err)
	}
	boom := errors.New("connection reset")
	if _, err := Open(errReaderAt{boom}, 1000, id); !errors.Is(err, boom) || errors.Is(err, ErrHeader) {
		t.Errorf("source failed: %v", err)
	}
}

type errReaderAt struct{ err error }

func (r errReaderAt) ReadAt([]byte, int64) (int, error) { return 0, r.err }

// A fullSink takes left bytes.
type fullSink struct {
	bytes.Buffer
	left  int
	quiet bool
	after int // writes after the failure
	full  bool
}

var errFull = errors.New("no space left")

func (s *fullSink) Write(p []byte) (int, error) {
	if s.full {
		s.after++
	}
	n, _ := s.Buffer.Write(p[:min(len(p), s.left)])
	s.left -= n
	if n < len(p) {
		s.full = true
		if !s.quiet {
			return n, errFull
		}
	}
	return n, nil
}

// TestSinkFails: what a full disk has taken is known exactly, and decrypts up to its last
// whole chunk.
func TestSinkFails(t *testing.T) {
	to, id := testKey(t)
	data := noise(60*chunkSize + 100)
	whole, _ := seal(t, data, 300_000, 2*chunkSize, to)
	for _, left := range []int{0, 1, 200, 300, encChunk, 3*encChunk + 17, 30 * encChunk, len(whole) - 1} {
		for _, quiet := range []bool{false, true} {
			sink := &fullSink{left: left, quiet: quiet}
			w, err := NewWriter(sink, []Recipient{to}, 2*chunkSize)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(data) && err == nil; at += 300_000 {
				_, err = w.Write(data[at:min(at+300_000, len(data))])
			}
			cerr := w.Close()
			want := errFull
			if quiet {
				want = io.ErrShortWrite
			}
			if !errors.Is(cerr, want) || err != nil && !errors.Is(err, want) || w.Close() != cerr {
				t.Errorf("%d: write %v, close %v", left, err, cerr)
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("%d: write after the failure", left)
			}
			if sink.after > 0 || sink.Len() != left {
				t.Errorf("%d: %d writes after the failure, %d bytes", left, sink.after, sink.Len())
			}
			l := w.Layout()
			x := l.Index(nil, l.Whole(int64(left)))
			if x.Stored() != int64(left) {
				t.Errorf("%d: pieces cover %d bytes", left, x.Stored())
			}
			for i, e := range x.Entries {
				if sum := sha256.Sum256(sink.Bytes()[e.StoredOffset:][:e.StoredSize]); sum != e.SHA256 {
					t.Errorf("%d: digest of piece %d is wrong", left, i)
				}
			}
			if int64(left) < l.head {
				continue
			}
			got, err := library(sink.Bytes(), id)
			if err == nil || !bytes.Equal(got, data[:l.Plain(int64(left))]) {
				t.Errorf("%d: age gives %d bytes, layout says %d: %v", left, len(got), l.Plain(int64(left)), err)
			}
		}
	}
}

// TestIndex: a piece names the raw bytes of every frame that has a byte in it.
func TestIndex(t *testing.T) {
	to, _ := testKey(t)
	plain := noise(10*chunkSize + 3)
	stored, w := seal(t, plain, 1<<20, chunkSize, to)
	var frames []frame.Entry
	var at, raw int64
	for i := 0; at < 10*chunkSize; i++ { // the rest is the seek table's
		n := int64(1 + i*7919%(2*chunkSize))
		n = min(n, 10*chunkSize-at)
		frames = append(frames, frame.Entry{StoredOffset: at, StoredSize: n, RawOffset: raw, RawSize: 1 << 20})
		at, raw = at+n, raw+1<<20
	}
	l := w.Layout()
	x := l.Index(frames, int64(len(stored)))
	if err := x.Validate(); err != nil {
		t.Fatal(err)
	}
	if x.Raw() != raw {
		t.Errorf("index covers %d raw bytes, want %d", x.Raw(), raw)
	}
	for _, f := range frames {
		for i, e := range x.Entries[1:] {
			from := int64(i) * chunkSize
			if f.StoredOffset < from+chunkSize && f.StoredOffset+f.StoredSize > from &&
				(f.RawOffset < e.RawOffset || f.RawOffset+f.RawSize > e.RawOffset+e.RawSize) {
				t.Errorf("piece %d does not name the frame at %d", i+1, f.StoredOffset)
			}
		}
	}
	var text bytes.Buffer
	if _, err := x.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if back, err := frame.ParseIndex(&text); err != nil || len(back.Entries) != len(x.Entries) {
		t.Errorf("does not parse: %v", err)
	}
}

// TestStockAge: the program age decrypts what we encrypt, and we what it encrypts.
func TestStockAge(t *testing.T) {
	bin, err := exec.LookPath("age")
	if err != nil {
		t.Skip("age is not installed")
	}
	to, id := testKey(t)
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := write("key", []byte("# a comment\n"+id.String()+"\n"))
	data := noise(20*chunkSize + 5)
	stored, _ := seal(t, data, 1<<20, 1, to)
	if got, err := exec.Command(bin, "-d", "-i", key, write("ours", stored)).Output(); err != nil || !bytes.Equal(got, data) {
		t.Errorf("age -d: %d bytes, %v", len(got), err)
	}
	theirs, err := exec.Command(bin, "-r", to.String(), write("plain", data)).Output()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(bytes.NewReader(theirs), int64(len(theirs)), id)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size())); err != nil || !bytes.Equal(got, data) {
		t.Errorf("age's file: %d bytes, %v", len(got), err)
	}
}

// FuzzOpen: whatever the file, we give back exactly what the age library does before it stops,
// and call it whole only if the library does.
func FuzzOpen(f *testing.F) {
	id, err := age.ParseX25519Identity("AGE-SECRET-KEY-1EQ2DVALFSDMQH0723XDX30VC7RKWFSX7QWMGK2FEEJRHGKC709NQQW0M86")
	if err != nil {
		f.Fatal(err)
	}
	to, err := ParseRecipient(id.Recipient().String())
	if err != nil {
		f.Fatal(err)
	}
	for _, n := range []int{0, 1, chunkSize, chunkSize + 1, 2*chunkSize + 9} {
		stored, _ := seal(f, noise(n), 1<<20, 1, to)
		f.Add(stored)
		f.Add(stored[:len(stored)-1])
		f.Add(append(bytes.Clone(stored), "more"...))
	}
	f.Add([]byte(strings.Repeat("age-encryption.org/v1\n", 3)))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wantErr := library(b, id)
		r, err := Open(bytes.NewReader(b), int64(len(b)), id)
		if err != nil {
			if wantErr == nil {
				t.Fatalf("age reads %d bytes, we: %v", len(want), err)
			}
			return
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
		whole := err == nil && r.Tail() == nil
		if whole != (wantErr == nil) {
			t.Fatalf("whole: %v (%v, %v), age: %v", whole, err, r.Tail(), wantErr)
		}
		if whole && !bytes.Equal(got, want) {
			t.Fatalf("%d bytes, age: %d", len(got), len(want))
		}
		if !bytes.HasPrefix(got, want) && !bytes.HasPrefix(want, got) {
			t.Fatal("other bytes than age's")
		}
	})
}

// TestHeaderBound: nothing is written that could not be opened again.
func TestHeaderBound(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := NewWriter(&b, slices.Repeat([]Recipient{r}, 12_000), chunkSize); err == nil || b.Len() > 0 {
		t.Errorf("%d bytes written, %v", b.Len(), err)
	}
}

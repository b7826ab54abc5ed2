package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const testSize = 4096

// data returns n bytes that begin like a LiME image: zeros, text and noise.
func data(n int) []byte {
	r := rand.New(rand.NewPCG(2, uint64(n)))
	b := make([]byte, n)
	for at := 0; at < n; at += testSize {
		p := b[at:min(at+testSize, n)]
		switch (at / testSize) % 4 {
		case 0, 1:
			copy(p, bytes.Repeat([]byte("evidence "), 300))
		case 2:
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		}
	}
	copy(b, binary.LittleEndian.AppendUint32(nil, limeMagic))
	return b
}

func testPool(t testing.TB) *Pool {
	p := NewPool(PoolOptions{Workers: 2})
	t.Cleanup(p.Close)
	return p
}

// store returns raw as stored, and its index.
func store(t testing.TB, pool *Pool, raw []byte, compression string) ([]byte, *Index) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{Pool: pool, Compression: compression, Size: testSize})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := w.Write(raw); n != len(raw) || err != nil {
		t.Fatal(n, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal("second Close:", err)
	}
	return out.Bytes(), w.Index()
}

func open(t testing.TB, b []byte) *Reader {
	t.Helper()
	r, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

var sizes = []int{4, 5, testSize - 1, testSize, testSize + 1, 3 * testSize, 7*testSize - 1, 20*testSize + 5}

func TestRoundTrip(t *testing.T) {
	pool := testPool(t)
	for _, size := range sizes {
		for _, c := range Compressions {
			t.Run(fmt.Sprintf("%d/%s", size, c), func(t *testing.T) {
				raw := data(size)
				stored, x := store(t, pool, raw, c)
				if err := x.Validate(); err != nil || x.Raw() != int64(size) || len(x.Entries) != (size+testSize-1)/testSize {
					t.Fatalf("index: %d frames, %d bytes, %v", len(x.Entries), x.Raw(), err)
				}
				r := open(t, stored)
				if n, ok := r.Size(); !ok || n != int64(size) {
					t.Errorf("Size is %d, %v", n, ok)
				}
				if got, err := io.ReadAll(struct{ io.Reader }{r}); err != nil || !bytes.Equal(got, raw) {
					t.Errorf("Read gives other bytes: %v", err)
				}
				var b bytes.Buffer
				if n, err := open(t, stored).WriteTo(&b); n != int64(size) || err != nil || !bytes.Equal(b.Bytes(), raw) {
					t.Errorf("WriteTo gives %d other bytes: %v", n, err)
				}
				if err := iotest.TestReader(open(t, stored), raw); err != nil {
					t.Error(err)
				}
				for off := 0; off < size; off += size/17 + 1 {
					p := make([]byte, min(2*testSize+7, size-off))
					if n, err := r.ReadAt(p, int64(off)); n != len(p) || err != nil && err != io.EOF || !bytes.Equal(p, raw[off:off+n]) {
						t.Errorf("ReadAt %d gives %d of %d bytes: %v", off, n, len(p), err)
					}
				}
				if n, err := r.ReadAt(make([]byte, 10), int64(size)-1); n != 1 || err != io.EOF {
					t.Errorf("ReadAt over the end: %d, %v", n, err)
				}
				if c == Zstd {
					checkTable(t, stored, x, raw)
				}
			})
		}
	}
}

// checkTable parses the seek table on its own.
func checkTable(t *testing.T, stored []byte, x *Index, raw []byte) {
	t.Helper()
	b := stored[x.Stored():]
	n := len(x.Entries)
	if len(b) != 8+12*n+9 || binary.LittleEndian.Uint32(b) != 0x184D2A5E || int(binary.LittleEndian.Uint32(b[4:])) != 12*n+9 ||
		int(binary.LittleEndian.Uint32(b[8+12*n:])) != n || b[12+12*n] != 0x80 || binary.LittleEndian.Uint32(b[13+12*n:]) != 0x8F92EAB1 {
		t.Fatalf("seek table % x", b)
	}
	for i, e := range x.Entries {
		at := b[8+12*i:]
		sum := uint32(xxhash.Sum64(raw[e.RawOffset:][:e.RawSize]))
		if int64(binary.LittleEndian.Uint32(at)) != e.StoredSize || int64(binary.LittleEndian.Uint32(at[4:])) != e.RawSize ||
			binary.LittleEndian.Uint32(at[8:]) != sum {
			t.Errorf("seek table entry %d is wrong", i)
		}
	}
}

// TestTools checks that stock tools read what we write.
func TestTools(t *testing.T) {
	pool := testPool(t)
	raw := data(9*testSize + 77)
	stored, x := store(t, pool, raw, Zstd)
	dir := t.TempDir()
	image, side := filepath.Join(dir, "image.zst"), filepath.Join(dir, "image.frames")
	if err := os.WriteFile(image, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(side)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.WriteTo(f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Run("zstd", func(t *testing.T) {
		zstd, err := exec.LookPath("zstd")
		if err != nil {
			t.Skip(err)
		}
		if got, err := exec.Command(zstd, "-dc", image).Output(); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("zstd -d gives other bytes: %v", err)
		}
		if out, err := exec.Command(zstd, "-t", image).CombinedOutput(); err != nil {
			t.Errorf("zstd -t: %v: %s", err, out)
		}
	})
	t.Run("dd", func(t *testing.T) {
		for _, tool := range []string{"awk", "dd", "sha256sum"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skip(err)
			}
		}
		script := `awk -F '\t' 'NR > 1 { print $1, $2, $5 }' "$2" | while read off size sum; do
	got=$(dd if="$1" iflag=skip_bytes,count_bytes skip=$off count=$size 2>/dev/null | sha256sum | cut -d' ' -f1)
	[ "$got" = "$sum" ] || { echo "frame at $off: $got"; exit 1; }
done`
		if out, err := exec.Command("sh", "-c", script, "sh", image, side).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// A file without a seek table, cut anywhere, gives back all whole frames.
func TestTruncated(t *testing.T) {
	for _, c := range []string{Zstd, S2} {
		t.Run(c, func(t *testing.T) { testTruncated(t, c) })
	}
}

func testTruncated(t *testing.T, compression string) {
	raw := data(5*testSize + 100)
	stored, x := store(t, testPool(t), raw, compression)
	for cut := 10; cut < len(stored); cut += 13 {
		want := int64(0)
		whole := cut == int(x.Stored())
		for _, e := range x.Entries {
			if e.StoredOffset+e.StoredSize <= int64(cut) {
				want = e.RawOffset + e.RawSize
			}
			whole = whole || e.StoredOffset+e.StoredSize == int64(cut)
		}
		r := open(t, stored[:cut])
		got, err := io.ReadAll(r)
		if !bytes.Equal(got, raw[:want]) {
			t.Fatalf("cut at %d: %d bytes, want %d", cut, len(got), want)
		}
		var tail *TailError
		if !whole && (!errors.As(err, &tail) || !errors.Is(err, io.ErrUnexpectedEOF) || tail.Offset+tail.Bytes != int64(cut)) {
			t.Errorf("cut at %d: error %v", cut, err)
		}
		if whole && err != nil {
			t.Errorf("cut at %d, between frames: %v", cut, err)
		}
		r.Close()
	}
}

func TestOthers(t *testing.T) {
	raw := data(40*testSize + 3)
	stream := func(o ...zstd.EOption) []byte {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b, o...)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(struct{ io.Writer }{z}, bytes.NewReader(raw))
		z.Close()
		return b.Bytes()
	}
	frames := func() (b []byte) {
		z, _ := zstd.NewWriter(nil)
		for at := 0; at < len(raw); at += 50000 {
			b = append(b, 0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4) // as pzstd does
			b = z.EncodeAll(raw[at:min(at+50000, len(raw))], b)
		}
		return b
	}
	zipped := func() []byte {
		var b bytes.Buffer
		for at := 0; at < len(raw); at += 50000 {
			z := gzip.NewWriter(&b)
			z.Write(raw[at:min(at+50000, len(raw))])
			z.Close()
		}
		return b.Bytes()
	}
	for name, c := range map[string]struct {
		b      []byte
		format Format
		random bool
	}{
		"plain":   {raw, FormatRaw, true},
		"stream":  {stream(), FormatZstd, false},
		"streams": {append(frames(), stream()...), FormatZstd, false},
		"frames":  {frames(), FormatZstd, true},
		"gzip":    {zipped(), FormatGzip, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, c.b)
			if r.Format() != c.format {
				t.Errorf("format %q", r.Format())
			}
			want := raw
			if name == "streams" {
				want = append(bytes.Clone(raw), raw...)
			}
			if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			p := make([]byte, 100)
			_, err := r.ReadAt(p, 60000)
			if c.random && (err != nil || !bytes.Equal(p, raw[60000:60100])) || !c.random && err != ErrSequential {
				t.Errorf("ReadAt: %v", err)
			}
		})
	}
	t.Run("cut", func(t *testing.T) {
		b := stream()
		if _, err := io.ReadAll(open(t, b[:len(b)-3])); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("error %v", err)
		}
	})
	for _, b := range []string{"", "x", "age-encryption.org/v1\n", "something else entirely"} {
		if _, err := Open(bytes.NewReader([]byte(b)), int64(len(b))); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: error %v", b, err)
		}
	}
}

func TestIndexText(t *testing.T) {
	_, x := store(t, testPool(t), data(5*testSize+1), Zstd)
	var b bytes.Buffer
	if n, err := x.WriteTo(&b); n != int64(b.Len()) || err != nil {
		t.Fatal(n, err)
	}
	text := b.String()
	got, err := ParseIndex(iotest.OneByteReader(bytes.NewReader(b.Bytes())))
	if err != nil || fmt.Sprint(got) != fmt.Sprint(x) {
		t.Fatalf("%v, %v", got, err)
	}
	for name, bad := range map[string]string{
		"empty":      "",
		"no newline": text[:len(text)-1],
		"version":    "shotglass-frames\t2\tzstd\n",
		"codec":      "shotglass-frames\t1\tlz4\n",
		"columns":    "shotglass-frames\t1\tzstd\n0\t1\t0\t1\n",
		"digest":     "shotglass-frames\t1\tzstd\n0\t1\t0\t1\tabc\n",
		"no digest":  "shotglass-frames\t1\tzstd\n0\t1\t0\t1\t" + Sum{}.String() + "\n",
		"plus":       "shotglass-frames\t1\tzstd\n+0\t1\t0\t1\t" + Sum{1}.String() + "\n",
		"gap":        "shotglass-frames\t1\tzstd\n1\t1\t0\t1\t" + Sum{1}.String() + "\n",
		"negative":   "shotglass-frames\t1\tzstd\n0\t-1\t0\t1\t" + Sum{1}.String() + "\n",
		"upper case": "shotglass-frames\t1\tzstd\n0\t1\t0\t1\t" + string(bytes.ToUpper([]byte(Sum{0xab}.String()))) + "\n",
		"none":       "shotglass-frames\t1\tnone\n0\t1\t0\t2\t" + Sum{1}.String() + "\n",
		"too long":   "shotglass-frames\t1\tzstd" + string(make([]byte, 10000)) + "\n",
	} {
		if _, err := ParseIndex(bytes.NewReader([]byte(bad))); !errors.Is(err, ErrIndex) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := ParseIndex(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v", err)
	}
}

func TestPlanFrameSize(t *testing.T) {
	for _, c := range []struct {
		expected int64
		want     int
	}{{0, 1 << 20}, {64 << 30, 1 << 20}, {256 << 30, 1 << 20}, {256<<30 + 1, 2 << 20}, {1 << 40, 4 << 20}, {12 << 40, 64 << 20}, {1 << 60, 64 << 20}} {
		if got := PlanFrameSize(c.expected); got != c.want {
			t.Errorf("%d bytes: %d, want %d", c.expected, got, c.want)
		}
	}
}

// A harder level stores less, and stores it so that it is read.
func TestLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	raw := binary.LittleEndian.AppendUint32(nil, limeMagic)
	words := bytes.Fields([]byte("kernel page struct return static void user home self import error"))
	for len(raw) < 1<<19 {
		raw = append(raw, words[r.IntN(len(words))]...)
		raw = append(raw, byte(' '+r.IntN(20)))
	}
	var before int
	for i, level := range Levels {
		pool := NewPool(PoolOptions{Workers: 1, Level: level})
		defer pool.Close()
		var out bytes.Buffer
		w, err := NewWriter(&out, Options{Pool: pool})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(raw)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(open(t, out.Bytes())); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes: %v", level, len(got), err)
		}
		if i > 0 && out.Len() >= before {
			t.Errorf("%s: %d bytes, the level before %d", level, out.Len(), before)
		}
		before = out.Len()
	}
}

func TestWriterErrors(t *testing.T) {
	pool := testPool(t)
	for _, o := range []Options{{}, {Pool: pool, Compression: "lz4"}, {Pool: pool, Size: MaxSize + 1}, {Pool: pool, InFlight: -1}} {
		if _, err := NewWriter(io.Discard, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	w, err := NewWriter(io.Discard, Options{Pool: pool, Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		b, err := w.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.Data = b.Data[:5]
		if err := w.Put(b); (err == nil) != want {
			t.Errorf("block %d: %v", i, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("write after close")
	}
}

func TestSticky(t *testing.T) {
	pool := testPool(t)
	w, err := NewWriter(&limited{left: 3 * testSize}, Options{Pool: pool, Size: testSize, Compression: None})
	if err != nil {
		t.Fatal(err)
	}
	raw := data(100 * testSize)
	if _, err := w.Write(raw); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("Write: %v", err)
	}
	for range 2 {
		if err := w.Close(); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("Close: %v", err)
		}
	}
	if n := len(w.Index().Entries); n != 3 {
		t.Errorf("%d frames, want 3", n)
	}
}

type limited struct{ left int }

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	return n, nil
}

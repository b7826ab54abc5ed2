package frame

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
)

// big stores raw in s2 frames of more than one chunk.
func big(t *testing.T, raw []byte, size int) ([]byte, *Index) {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, Options{Pool: testPool(t), Compression: S2, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Write(raw)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), w.Index()
}

// The library's reader takes our frames, and its random access our index.
func TestS2Library(t *testing.T) {
	raw := data(9<<20 + 77)
	for _, size := range []int{1000, 1 << 20, 3<<20 - 5} {
		stored, x := big(t, raw, size)
		if got, err := io.ReadAll(s2.NewReader(bytes.NewReader(stored))); err != nil || !bytes.Equal(got, raw) {
			t.Fatalf("size %d: the library reads %d of %d bytes: %v", size, len(got), len(raw), err)
		}
		seeker, err := s2.NewReader(bytes.NewReader(stored)).ReadSeeker(true, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, off := range []int{0, 1, size - 1, size, 5<<20 + 123, len(raw) - 10} {
			p := make([]byte, 10)
			if _, err := seeker.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, raw[off:off+10]) {
				t.Errorf("size %d: the library at %d: %v", size, off, err)
			}
		}
		r := open(t, stored)
		if got := r.Index(); fmt.Sprint(offsets(got)) != fmt.Sprint(offsets(x)) {
			t.Errorf("size %d: %d frames are read, %d were written", size, len(got.Entries), len(x.Entries))
		}
		// Without the index all is found again, chunk by chunk.
		if got, err := io.ReadAll(open(t, stored[:x.Stored()])); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("size %d: without the index %d bytes: %v", size, len(got), err)
		}
	}
}

func offsets(x *Index) (places [][2]int64) {
	for _, e := range x.Entries {
		places = append(places, [2]int64{e.StoredOffset, e.RawOffset})
	}
	return places
}

// The index of a terabyte lists every fourth frame, and more than it may hold is
// never written.
func TestS2ManyFrames(t *testing.T) {
	for _, n := range []int{1, maxS2Index - 1, maxS2Index, maxS2Index + 1, 3*maxS2Index + 5, MaxPlanned} {
		x := &Index{Compression: S2}
		for i := range n {
			raw := int64(DefaultSize)
			if i == n-1 {
				raw = 7
			}
			x.add(int64(1000+i%5000), raw, Sum{})
		}
		b := appendS2Table(nil, x.Entries)
		var lib s2.Index
		if rest, err := lib.Load(b); err != nil || len(rest) > 0 {
			t.Fatalf("%d frames: the library says %v", n, err)
		}
		if lib.TotalUncompressed != x.Raw() || lib.TotalCompressed != x.Stored() {
			t.Errorf("%d frames: totals %d and %d", n, lib.TotalUncompressed, lib.TotalCompressed)
		}
		got, err := readS2Table(endOf{b, x.Stored()}, x.Stored()+int64(len(b)))
		if err != nil {
			t.Fatalf("%d frames: %v", n, err)
		}
		step := (n + maxS2Index - 1) / maxS2Index
		if len(got.Entries) != (n+step-1)/step || got.Raw() != x.Raw() || got.Stored() != x.Stored() {
			t.Fatalf("%d frames: %d places, %d raw bytes", n, len(got.Entries), got.Raw())
		}
		for i, e := range got.Entries {
			want := x.Entries[i*step]
			if e.StoredOffset != want.StoredOffset || e.RawOffset != want.RawOffset {
				t.Fatalf("%d frames: place %d is %+v, want %+v", n, i, e, want)
			}
		}
	}
}

// An endOf is a file of which there is nothing but b, after off bytes.
type endOf struct {
	b   []byte
	off int64
}

func (e endOf) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(e.b).ReadAt(p, off-e.off)
}

// What others write is read in sequence and at random.
func TestS2Others(t *testing.T) {
	raw := data(5<<20 + 3)
	stream := func(o ...s2.WriterOption) []byte {
		var b bytes.Buffer
		w := s2.NewWriter(&b, o...)
		_, err := w.Write(raw)
		if err := errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for name, b := range map[string][]byte{
		"default": stream(),
		"index":   stream(s2.WriterAddIndex()),
		"padded":  stream(s2.WriterAddIndex(), s2.WriterPadding(4096)),
		"better":  stream(s2.WriterBetterCompression(), s2.WriterBlockSize(4<<20)),
		"small":   stream(s2.WriterBlockSize(4 << 10)),
		"snappy":  stream(s2.WriterSnappyCompat()),
		"raw":     stream(s2.WriterUncompressed()),
	} {
		r := open(t, b)
		if r.Format() != FormatS2 {
			t.Errorf("%s: format %q", name, r.Format())
		}
		p := make([]byte, 3000)
		if _, err := r.ReadAt(p, 3<<20-1000); err != nil || !bytes.Equal(p, raw[3<<20-1000:][:3000]) {
			t.Errorf("%s: ReadAt: %v", name, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes: %v", name, len(got), err)
		}
		if n := len(r.Index().Entries); n > 6 {
			t.Errorf("%s: %d frames for 5 MiB", name, n)
		}
	}
}

// A table that does not fit the file is not believed, and the chunks are walked.
func TestS2FalseIndex(t *testing.T) {
	raw := data(3*testSize + 1)
	stored, x := store(t, testPool(t), raw, S2)
	frames := stored[:x.Stored()]
	other := slices.Clone(x.Entries)
	other[1].StoredOffset += 5
	later := slices.Clone(x.Entries)
	later[0].StoredOffset = 3
	huge := []Entry{{StoredSize: x.Stored(), RawSize: maxDecoded + 1}}
	for name, end := range map[string][]byte{
		"offset beyond frames": appendS2Table(nil, append(slices.Clone(x.Entries), Entry{x.Stored(), 100, x.Raw(), 4096, Sum{}})),
		"late start":           appendS2Table(nil, later),
		"huge":                 appendS2Table(nil, huge),
	} {
		if got, err := io.ReadAll(open(t, append(bytes.Clone(frames), end...))); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%s: %d bytes: %v", name, len(got), err)
		}
	}
	// Places inside of chunks are found out when they are decoded.
	if got, err := io.ReadAll(open(t, append(bytes.Clone(frames), appendS2Table(nil, other)...))); err == nil {
		t.Errorf("a wrong place gives %d bytes and no error", len(got))
	}
}

// A byte that flips is found, wherever it is, unless it is in what a reader skips.
func TestS2Flipped(t *testing.T) {
	raw := data(2*testSize + 9)
	stored, x := store(t, testPool(t), raw, S2)
	for at := range x.Stored() {
		r, err := Open(bytes.NewReader(flip(stored, int(at))), int64(len(stored)))
		if err != nil {
			continue
		}
		if got, err := io.ReadAll(r); err == nil && !bytes.Equal(got, raw) {
			t.Fatalf("byte %d flipped: %d other bytes and no error", at, len(got))
		}
		r.Close()
	}
}

// The stock tool, of the version in go.mod, gives back the raw bytes.
func TestS2Tool(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	s2d := filepath.Join(dir, "s2d")
	if out, err := exec.Command(goTool, "build", "-o", s2d, "github.com/klauspost/compress/s2/cmd/s2d").CombinedOutput(); err != nil {
		t.Skipf("build s2d: %v: %s", err, out)
	}
	raw := data(5<<20 + 77)
	stored, _ := big(t, raw, DefaultSize)
	image := filepath.Join(dir, "image.lime.s2")
	if err := os.WriteFile(image, stored, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(s2d, "-verify", image).CombinedOutput(); err != nil {
		t.Errorf("s2d -verify: %v: %s", err, out)
	}
	if out, err := exec.Command(s2d, "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("s2d: %v: %s", err, out)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "image.lime")); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("s2d gives other bytes: %v", err)
	}
	if got, err := exec.Command(s2d, "-q", "-c", "-offset", "3000000", image).Output(); err != nil || !bytes.Equal(got, raw[3000000:]) {
		t.Errorf("s2d -offset gives %d other bytes: %v", len(got), err)
	}
}

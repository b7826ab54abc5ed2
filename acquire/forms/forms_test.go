package forms

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zlib"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A memory is ranges and what they hold.
type memory []chunk

type chunk struct {
	r lime.Range
	b []byte
}

func at(start uint64, b []byte) chunk {
	return chunk{lime.Range{Start: start, End: start + uint64(len(b)) - 1}, b}
}

func (m memory) ranges() (out []lime.Range) {
	for _, c := range m {
		out = append(out, c.r)
	}
	return out
}

func (m memory) stream() []byte {
	var b []byte
	for _, c := range m {
		b = append(lime.AppendHeader(b, c.r), c.b...)
	}
	return b
}

// words are bytes that compress, of which no page is zero.
func words(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	list := strings.Fields("memory forensics acquires evidence from volatile storage while kernels run")
	b := make([]byte, 0, n+16)
	for len(b) < n {
		b = append(append(b, list[r.IntN(len(list))]...), byte(r.IntN(256)))
	}
	return b[:n]
}

func random(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// memories are odd in all ways.
func memories() map[string]memory {
	const mib = 1 << 20
	return map[string]memory{
		"several": {
			at(0x1000, words(1, 0x9e000+0xc00)), at(1*mib, words(2, 1*mib)), at(16*mib, make([]byte, 5*mib)),
			at(64*mib, join(words(3, 16*mib+1), make([]byte, 33*mib), words(4, 5))),
		},
		"touching":    {at(0, words(1, 1<<20)), at(1<<20, words(2, 4096)), at(1<<20+4096, make([]byte, 4096))},
		"odd sizes":   {at(1, words(1, 1)), at(3, words(2, 4095)), at(0x10001, words(3, 4097)), at(0x20000, words(4, 65537))},
		"zeros":       {at(0, make([]byte, 100)), at(0x100000, make([]byte, 17*mib))},
		"dense":       {at(0, join(words(1, 1*mib), random(2, 17*mib), words(3, 1*mib)))},
		"zeros first": {at(0x1000, join(make([]byte, 20*mib), words(1, 4096)))},
	}
}

func write(t testing.TB, f Form, m memory, o WriteOptions) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := writeTo(&out, f, m, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeTo(out io.Writer, f Form, m memory, o WriteOptions) error {
	o.Ranges = m.ranges()
	fw, close := out, func() error { return nil }
	if f.Compression() != frame.None {
		p := frame.NewPool(frame.PoolOptions{})
		defer p.Close()
		z, err := frame.NewWriter(out, frame.Options{Pool: p, Compression: f.Compression()})
		if err != nil {
			return err
		}
		fw, close = z, z.Close
	}
	w, err := NewWriter(fw, f, o)
	if err != nil {
		return err
	}
	for _, c := range m {
		if err := w.Begin(c.r); err != nil {
			return err
		}
		for b := c.b; len(b) > 0; { // in steps that fit nothing
			n := min(len(b), 700001)
			if _, err := w.Write(b[:n]); err != nil {
				return err
			}
			b = b[n:]
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return close()
}

// read returns the LiME stream of a file.
func read(t testing.TB, file []byte, o OpenOptions) ([]byte, *Report, error) {
	t.Helper()
	img, err := Open(bytes.NewReader(file), int64(len(file)), o)
	if err != nil {
		return nil, nil, err
	}
	defer img.Close()
	ram, err := img.Ranges(t.Context())
	if err != nil {
		return nil, nil, err
	}
	if img.Content() == Lime && o.RAM == nil {
		ram = nil
	}
	var out bytes.Buffer
	w := NewLime(&out)
	rep, _, err := Copy(t.Context(), Source{Image: img, RAM: ram}, w)
	if err == nil {
		err = w.Close()
	}
	return out.Bytes(), rep, err
}

// TestRoundTrip writes every memory in every form, and reads it back: the LiME stream is the same to the byte.
func TestRoundTrip(t *testing.T) {
	for name, m := range memories() {
		want := sha256.Sum256(m.stream())
		for _, f := range All {
			t.Run(name+"/"+string(f), func(t *testing.T) {
				if f == AVML2 && name == "odd sizes" { // TestAVMLShape has that
					return
				}
				file := write(t, f, m, WriteOptions{})
				got, rep, err := read(t, file, OpenOptions{RAM: m.ranges(), Raw: f == Raw})
				if err != nil || !rep.Whole() {
					t.Fatalf("%v, %+v", err, rep)
				}
				if sha256.Sum256(got) != want {
					t.Fatalf("%d bytes of another content, want %d; %+v", len(got), len(m.stream()), rep)
				}
				if f != Raw && rep.Content != map[bool]Form{true: f, false: Lime}[f == AVML2 || f == ELF] {
					t.Errorf("%s was read as %s", f, rep.Content)
				}
			})
		}
	}
}

// TestRangesOfTheFile reads back what nobody knows the ranges of.
func TestRangesOfTheFile(t *testing.T) {
	m := memory{at(0x1000, words(1, 0x9e000)), at(1<<20, words(2, 17<<20))}
	for _, f := range All {
		if f == Raw { // its one range is the file
			continue
		}
		t.Run(string(f), func(t *testing.T) {
			file := write(t, f, m, WriteOptions{})
			got, rep, err := read(t, file, OpenOptions{})
			if err != nil || !rep.Whole() || !bytes.Equal(got, m.stream()) {
				if f != AVML1 { // its records are LiME's: what is cut is cut
					t.Fatalf("%v, %d bytes, want %d, %+v", err, len(got), len(m.stream()), rep)
				}
			}
			img, err := Open(bytes.NewReader(file), int64(len(file)), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			defer img.Close()
			if r, err := img.Ranges(t.Context()); err != nil || !slices.Equal(r, m.ranges()) {
				t.Errorf("%v, %v", r, err)
			}
		})
	}
}

// TestZlib reads what LiME's compress=1 writes, also without its checksum.
func TestZlib(t *testing.T) {
	m := memories()["several"]
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	z.Write(m.stream())
	z.Close()
	got, rep, err := read(t, b.Bytes(), OpenOptions{})
	if err != nil || !rep.Whole() || rep.Container != "zlib" || !bytes.Equal(got, m.stream()) {
		t.Fatalf("%v, %d bytes, %+v", err, len(got), rep)
	}
	got, rep, err = read(t, b.Bytes()[:b.Len()-2], OpenOptions{})
	if err != nil || rep.Whole() || rep.Damage[0].Kind != Truncated || !bytes.Equal(got, m.stream()) {
		t.Fatalf("%v, %d bytes, %+v", err, len(got), rep)
	}
}

// TestAVMLShape holds what makes Volatility 3 loop, or miss the banner.
func TestAVMLShape(t *testing.T) {
	const mib = 1 << 20
	banner := "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc) #1 SMP\n\x00"
	b := words(1, 40*mib)
	// The place of linux_banner in Debian's kernel, and one through which AVML cuts its records.
	for _, at := range []int{0x31ffe0 % (16 * mib), 16*mib - 5, 32*mib - 70} {
		copy(b[at:], banner)
	}
	copy(b[20<<16-3:], "swapper/0\x00")
	m := memory{at(0, b), at(64*mib, join(words(2, 65536), random(3, 35*mib)))}
	for _, f := range []Form{AVML1, AVML2} {
		t.Run(string(f), func(t *testing.T) {
			file := write(t, f, m, WriteOptions{})
			texts := 0
			for off := 0; off < len(file); {
				r := lime.Range{Start: binary.LittleEndian.Uint64(file[off+8:]), End: binary.LittleEndian.Uint64(file[off+16:])}
				off += lime.HeaderSize
				if f == AVML1 {
					if r.Size() > pieceSize+maxText {
						t.Errorf("a record of %d bytes", r.Size())
					}
					texts += whole(file[off:off+int(r.Size())], banner)
					off += int(r.Size())
					continue
				}
				begin := off
				off += 10
				for done := 0; done < int(r.Size()); {
					h, raw := block(t, file[off:])
					texts += whole(raw, banner)
					off, done = off+h, done+len(raw)
				}
				if n := off - begin; uint64(n) >= r.Size() {
					t.Errorf("the record %s of %d bytes has a stream of %d", r, r.Size(), n)
				}
				off += 8
			}
			if texts != 4 {
				t.Errorf("%d texts are whole, want 4", texts)
			}
		})
	}
	// One that nothing can be done about is an error, not a trap.
	err := writeTo(io.Discard, AVML2, memory{at(0, random(1, 4096))}, WriteOptions{})
	if _, ok := err.(*DenseError); !ok {
		t.Errorf("dense memory: %v", err)
	}
}

func whole(b []byte, banner string) int {
	return bytes.Count(b, []byte(banner)) + bytes.Count(b, []byte("swapper/0\x00"))
}

// TestCopyStops ends when it is told to.
func TestCopyStops(t *testing.T) {
	m := memories()["several"]
	file := write(t, Zstd, m, WriteOptions{})
	img, err := Open(bytes.NewReader(file), int64(len(file)), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := fmt.Errorf("enough")
	_, _, err = Copy(ctx, Source{Image: img, Progress: func(n uint64) {
		if n > 1<<20 {
			cancel(why)
		}
	}}, NewLime(io.Discard))
	if err != why {
		t.Errorf("%v", err)
	}
}

func TestPadding(t *testing.T) {
	m := memory{at(1<<40, words(1, 10))}
	err := writeTo(io.Discard, Raw, m, WriteOptions{MaxPadding: 1 << 20})
	if err == nil {
		t.Error("a terabyte of padding was written")
	}
	w, err := NewWriter(io.Discard, Raw, WriteOptions{MaxPadding: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Begin(lime.Range{Start: 1 << 30, End: 1<<30 + 1}); err == nil {
		t.Error("a gigabyte of padding was begun")
	}
}

// A countingReader counts reads.
type countingReader struct {
	io.ReaderAt
	n int
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.n++
	return c.ReaderAt.ReadAt(p, off)
}

// TestReadPhysicalMany finds memory among many records without walking them again each time, and ends with its context.
func TestReadPhysicalMany(t *testing.T) {
	const records = 2000
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	for i := range uint64(records) {
		w.Begin(lime.Range{Start: i * 0x10000, End: i*0x10000 + 15})
		w.Write(binary.LittleEndian.AppendUint64(make([]byte, 8), i))
	}
	r := &countingReader{ReaderAt: bytes.NewReader(b.Bytes())}
	img, err := Open(r, int64(b.Len()), OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	over, cancel := context.WithCancel(t.Context())
	for i := range uint64(records) {
		p := make([]byte, 8)
		if err := img.ReadPhysical(over, p, i*0x10000+8); err != nil || binary.LittleEndian.Uint64(p) != i {
			t.Fatalf("%d: %x, %v", i, p, err)
		}
	}
	for _, phys := range []uint64{16, 9, 0xffff, records * 0x10000, 1<<64 - 1} {
		if err := img.ReadPhysical(over, make([]byte, 8), phys); err == nil {
			t.Errorf("there is memory at %#x", phys)
		}
	}
	if r.n > 3*records {
		t.Errorf("%d reads of %d records", r.n, records)
	}
	cancel()
	if err := img.ReadPhysical(over, make([]byte, 8), 8); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

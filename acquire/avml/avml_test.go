package avml

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/s2"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// record makes one as AVML does.
func record(compressed bool, start uint64, data []byte) []byte {
	le := binary.LittleEndian
	m, v := lime.Magic, uint32(1)
	if compressed {
		m, v = Magic, Version
	}
	b := le.AppendUint32(nil, m)
	b = le.AppendUint32(b, v)
	b = le.AppendUint64(b, start)
	b = le.AppendUint64(b, start+uint64(len(data))-1)
	b = le.AppendUint64(b, 0)
	if !compressed {
		return append(b, data...)
	}
	var s bytes.Buffer
	w := s2.NewWriter(&s, s2.WriterSnappyCompat(), s2.WriterBlockSize(64<<10), s2.WriterConcurrency(1))
	w.Write(data)
	w.Close()
	b = append(b, s.Bytes()...)
	return le.AppendUint64(b, uint64(s.Len()))
}

// ram is that of a small guest; its third range abuts on the second.
var ram = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x1ffffff}, {Start: 0x2000000, End: 0x20fffff}}

// content is the memory of a range; every 16 MiB from 0x1100000 on are zeros.
func content(r lime.Range) []byte {
	p := make([]byte, r.Size())
	rnd := rand.NewChaCha8([32]byte{byte(r.Start >> 12)})
	for i := 0; i < len(p); i += 3 * 4096 {
		rnd.Read(p[i:min(len(p), i+4096)])
	}
	if r.Start == 0x100000 {
		clear(p[0x1000000:])
	}
	return p
}

// stream is what AVML writes of it, and the image that it should become.
func stream(compressed bool) (avml, image []byte, left []lime.Range) {
	var img bytes.Buffer
	w := lime.NewWriter(&img)
	for _, r := range ram {
		p := content(r)
		whole := (r.End+1)&^4095 - r.Start
		clear(p[whole:])                  // not in /proc/kcore
		n := min(uint64(len(p)-1), whole) // an end that is taken for exclusive
		for at := uint64(0); at < n; at += 16 << 20 {
			q := p[at:min(n, at+16<<20)]
			if bytes.Count(q, []byte{0}) == len(q) {
				left = append(left, lime.Range{Start: r.Start + at, End: r.Start + at + uint64(len(q)) - 1})
				continue
			}
			avml = append(avml, record(compressed, r.Start+at, q)...)
		}
		if n < whole {
			left = append(left, lime.Range{Start: r.Start + n, End: r.Start + whole - 1})
			clear(p[n:])
		}
		w.Begin(r)
		w.Write(p)
	}
	return avml, img.Bytes(), lime.Coalesce(left)
}

func none() error { return nil }

func TestReader(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		in, want, left := stream(compressed)
		for name, src := range map[string]io.Reader{"at once": bytes.NewReader(in), "halves": iotest.HalfReader(bytes.NewReader(in)), "error with data": iotest.DataErrReader(bytes.NewReader(in))} {
			r := NewReader(src, ram, none)
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("compressed %t, %s: %d bytes of %d, %v", compressed, name, len(got), len(want), err)
			}
			if !slices.Equal(r.LeftOut(), left) || len(left) != 2 {
				t.Errorf("left out %v, want %v", r.LeftOut(), left)
			}
			if n, b := r.Records(); n != 3 || b == 0 || r.Format() != map[bool]string{false: Lime, true: Compressed}[compressed] {
				t.Errorf("%d records, %d bytes, %q", n, b, r.Format())
			}
		}
		if rep, err := lime.Inspect(bytes.NewReader(want), lime.WalkerOptions{}); err != nil || len(rep.Ranges) != len(ram) {
			t.Errorf("%v, %d records", err, len(rep.Ranges))
		}
	}
}

// TestMergedRecord: a record over two ranges that abut becomes two.
func TestMergedRecord(t *testing.T) {
	two := []lime.Range{{Start: 0x1000, End: 0x2fff}, {Start: 0x3000, End: 0x4fff}}
	data := bytes.Repeat([]byte("abcd"), 0x1000)
	r := NewReader(bytes.NewReader(record(true, 0x1000, data)), two, none)
	got, err := io.ReadAll(r)
	if err != nil || len(got) != 0x4000+64 || !bytes.Equal(got[32:0x2020], data[:0x2000]) || len(r.LeftOut()) != 0 {
		t.Errorf("%d bytes, %v, left out %v", len(got), err, r.LeftOut())
	}
}

// TestNothing: all that AVML left out is listed.
func TestNothing(t *testing.T) {
	r := NewReader(strings.NewReader(""), ram, none)
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != lime.Total(ram) {
		t.Errorf("%d bytes, %v", n, err)
	}
	want := []lime.Range{{Start: 0x1000, End: 0x9efff}, {Start: 0x100000, End: 0x20fffff}}
	if !slices.Equal(r.LeftOut(), want) {
		t.Errorf("left out %v", r.LeftOut())
	}
}

// TestFailed: what AVML did not mean to end is not filled up.
func TestFailed(t *testing.T) {
	in, want, _ := stream(false)
	broke := errors.New("exit status 1")
	got, err := io.ReadAll(NewReader(bytes.NewReader(in), ram, func() error { return broke }))
	if !errors.Is(err, broke) || len(got) >= len(want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

func TestCutShort(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		one := record(compressed, 0x1000, content(lime.Range{Start: 0x1000, End: 0x8fff}))
		for n := 1; n < len(one); n += 1 + n/3 {
			if _, err := io.Copy(io.Discard, NewReader(bytes.NewReader(one[:n]), ram, none)); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("compressed %t, %d bytes of %d: %v", compressed, n, len(one), err)
			}
		}
	}
}

func TestHostile(t *testing.T) {
	data := bytes.Repeat([]byte("data"), 0x1000)
	good, packed := record(false, 0x1000, data), record(true, 0x1000, data)
	set := func(p []byte, at int, b ...byte) []byte {
		p = bytes.Clone(p)
		copy(p[at:], b)
		return p
	}
	for name, in := range map[string][]byte{
		"magic":           set(good, 0, 'x'),
		"version":         set(good, 4, 2),
		"reserved":        set(good, 24, 1),
		"end before":      set(good, 16, 0, 0),
		"whole of 64 bit": set(good, 16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"not RAM":         record(false, 0xa0000, data),
		"into a hole":     record(false, 0x9f000, data),
		"beyond":          record(false, 1<<40, data),
		"twice":           append(bytes.Clone(good), good...),
		"descending":      append(record(false, 0x100000, data), good...),
		"two formats":     append(bytes.Clone(good), record(true, 0x100000, data)...),
		"identifier":      set(packed, 36, 'x'),
		"chunk kind":      set(packed, 42, 0xfe),
		"chunk length":    set(packed, 43, 0xff, 0xff, 0xff),
		"checksum":        set(packed, 46, 1, 2, 3, 4),
		"block":           set(packed, 50, 0xff, 0xff, 0xff, 0xff, 0xff),
		"length after":    set(packed, len(packed)-8, 0xff),
		"shorter range":   set(packed, 16, 0xff, 0x4e),
	} {
		if _, err := io.Copy(io.Discard, NewReader(bytes.NewReader(in), ram, none)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReader(f *testing.F) {
	for _, compressed := range []bool{false, true} {
		f.Add(append(record(compressed, 0x1000, bytes.Repeat([]byte("x"), 4096)), record(compressed, 0x100000, bytes.Repeat([]byte("y"), 70000))...))
	}
	small := []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x1fffff}}
	f.Fuzz(func(t *testing.T, in []byte) {
		r := NewReader(bytes.NewReader(in), small, none)
		var out bytes.Buffer
		if _, err := io.Copy(&out, r); err != nil {
			return
		}
		rep, err := lime.Inspect(&out, lime.WalkerOptions{})
		if err != nil || len(rep.Compare(small)) > 0 {
			t.Errorf("%v, %v", err, rep.Compare(small))
		}
		_, came := r.Records()
		for _, l := range r.LeftOut() {
			came += int64(l.Size())
		}
		if came > lime.Total(small) {
			t.Errorf("%d bytes came or were left out", came)
		}
	})
}

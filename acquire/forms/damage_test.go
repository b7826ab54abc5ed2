package forms

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/avml"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// block decodes the first block of a snappy stream, and returns how long it is.
func block(t testing.TB, b []byte) (n int, raw []byte) {
	t.Helper()
	h, err := avml.ParseChunk(b)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = h.Decode(make([]byte, avml.MaxChunk), b[avml.ChunkHeader:avml.ChunkHeader+h.Size])
	if err != nil {
		t.Fatal(err)
	}
	return avml.ChunkHeader + h.Size, bytes.Clone(raw)
}

// damaged reads a file that has damage of a kind, and returns the memory that zeros stand in for.
func damaged(t *testing.T, file []byte, o OpenOptions, kind Kind) ([]byte, []lime.Range) {
	t.Helper()
	got, rep, err := read(t, file, o)
	if err != nil {
		t.Fatal(err)
	}
	var ranges []lime.Range
	there := false
	for _, d := range rep.Damage {
		t.Log(d)
		there = there || d.Kind == kind
		if d.Zeroed {
			ranges = append(ranges, d.Ranges...)
		}
	}
	if !there {
		t.Errorf("no damage of the kind %s: %v", kind, rep.Damage)
	}
	return got, lime.Coalesce(ranges)
}

// without returns the stream with zeros in ranges.
func (m memory) without(ranges []lime.Range) []byte {
	var b []byte
	for _, c := range m {
		b = lime.AppendHeader(b, c.r)
		data := bytes.Clone(c.b)
		for _, r := range ranges {
			from, to := max(r.Start, c.r.Start), min(r.End, c.r.End)
			if from <= to {
				clear(data[from-c.r.Start : to-c.r.Start+1])
			}
		}
		b = append(b, data...)
	}
	return b
}

func (m memory) headers() map[int64]lime.Range {
	out, off := map[int64]lime.Range{}, int64(0)
	for _, c := range m {
		out[off] = c.r
		off += lime.HeaderSize + int64(len(c.b))
	}
	return out
}

func TestBadFrame(t *testing.T) {
	m := memory{at(0x1000, words(1, 3<<20)), at(1<<30, words(2, 4<<20))}
	for _, f := range []Form{Zstd, S2} {
		for frame := range 8 {
			file := write(t, f, m, WriteOptions{})
			img, err := Open(bytes.NewReader(file), int64(len(file)), OpenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			e := img.index.Entries[frame]
			img.Close()
			file[e.StoredOffset+e.StoredSize/2] ^= 0x55
			got, lost := damaged(t, file, OpenOptions{RAM: m.ranges(), Headers: m.headers()}, BadFrame)
			if want := m.without(lost); !bytes.Equal(got, want) {
				t.Errorf("%s, frame %d: %d bytes of another content, want %d", f, frame, len(got), len(want))
			}
			if n := lime.Total(lost); n == 0 || n > 1<<20+64 {
				t.Errorf("%s, frame %d: lost %v", f, frame, lost)
			}
		}
	}
}

func TestBadSnappy(t *testing.T) {
	m := memory{at(0, words(1, 20<<20)), at(1<<30, words(2, 1<<20))}
	file := write(t, AVML2, m, WriteOptions{})
	n, _ := block(t, file[lime.HeaderSize+10:])
	t.Run("checksum", func(t *testing.T) {
		bad := bytes.Clone(file)
		bad[lime.HeaderSize+10+n+4] ^= 1 // of the second block
		got, lost := damaged(t, bad, OpenOptions{}, BadBlock)
		if want := []lime.Range{{Start: 0x10000, End: 0x1ffff}}; !slices.Equal(lost, want) || !bytes.Equal(got, m.without(lost)) {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("kind", func(t *testing.T) {
		bad := bytes.Clone(file)
		bad[lime.HeaderSize+10+n] = 0x7f
		got, lost := damaged(t, bad, OpenOptions{}, BadBlock)
		if want := []lime.Range{{Start: 0x10000, End: 1<<24 - 1}}; !slices.Equal(lost, want) || !bytes.Equal(got, m.without(lost)) {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("identifier", func(t *testing.T) {
		bad := bytes.Clone(file)
		bad[lime.HeaderSize+5] = 'x'
		got, lost := damaged(t, bad, OpenOptions{}, BadBlock)
		if want := []lime.Range{{Start: 0, End: 1<<24 - 1}}; !slices.Equal(lost, want) || !bytes.Equal(got, m.without(lost)) {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("length", func(t *testing.T) {
		bad := bytes.Clone(file)
		bad[len(bad)-8] ^= 1
		if got, lost := damaged(t, bad, OpenOptions{}, BadHeader); len(lost) > 0 || !bytes.Equal(got, m.stream()) {
			t.Errorf("lost %v", lost)
		}
	})
	t.Run("header", func(t *testing.T) {
		bad := bytes.Clone(file)
		i := bytes.Index(bad[1:], avmlMagic) + 1
		bad[i] = 'x'
		got, _ := damaged(t, bad, OpenOptions{RAM: m.ranges()}, Garbage)
		if want := m.without([]lime.Range{{Start: 1 << 24, End: 20<<20 - 1}}); !bytes.Equal(got, want) {
			t.Errorf("%d bytes of another content, want %d", len(got), len(want))
		}
	})
}

func TestGarbageBetween(t *testing.T) {
	m := memory{at(0x1000, words(1, 1<<20)), at(1<<30, words(2, 2<<20)), at(1<<31, words(3, 1))}
	s := m.stream()
	i := bytes.LastIndex(s[:2<<20], limeMagic)
	junk := append(bytes.Repeat([]byte("EMiL"), 400000), make([]byte, 100)...)
	got, lost := damaged(t, join(s[:i], junk, s[i:]), OpenOptions{}, Garbage)
	if len(lost) > 0 || !bytes.Equal(got, s) {
		t.Errorf("%d bytes, want %d; lost %v", len(got), len(s), lost)
	}
	got, _ = damaged(t, join(s, []byte("more")), OpenOptions{}, Truncated)
	if !bytes.Equal(got, s) {
		t.Errorf("%d bytes, want %d", len(got), len(s))
	}
}

// TestLostHeader restores the header of a record that the manifest knows.
func TestLostHeader(t *testing.T) {
	m := memory{at(0x1000, words(1, 1<<20)), at(1<<30, words(2, 2<<20))}
	s := m.stream()
	clear(s[bytes.LastIndex(s, limeMagic):][:lime.HeaderSize])
	got, lost := damaged(t, s, OpenOptions{RAM: m.ranges(), Headers: m.headers()}, BadHeader)
	if len(lost) > 0 || !bytes.Equal(got, m.stream()) {
		t.Errorf("lost %v", lost)
	}
}

// TestCutShort gives what is there of a file that ends anywhere, and never more.
func TestCutShort(t *testing.T) {
	m := memory{at(0x1000, words(1, 1<<20+5)), at(1<<30, words(2, 2<<20))}
	m[1].r = lime.Range{Start: 2 << 20, End: 4<<20 - 1} // a raw image of this is small
	for _, f := range All {
		file := write(t, f, m, WriteOptions{})
		for _, n := range []int{len(file) - 1, len(file) - 20, len(file) * 9 / 10, len(file) / 2, 4500} {
			o := OpenOptions{Raw: f == Raw, RAM: m.ranges()}
			got, rep, err := read(t, file[:n], o)
			if err != nil {
				if n > 4500 || f != Zstd && f != S2 && f != AVML2 && f != Gzip {
					t.Errorf("%s, %d of %d bytes: %v", f, n, len(file), err)
				}
				continue
			}
			if rep.Whole() {
				t.Errorf("%s, %d of %d bytes: nothing is missing: %+v", f, n, len(file), rep)
			}
			if !bytes.HasPrefix(m.stream(), got) {
				t.Errorf("%s, %d of %d bytes: %d bytes of another content", f, n, len(file), len(got))
			}
			if n > 4500 && len(got) < lime.HeaderSize+4096 {
				t.Errorf("%s, %d of %d bytes: %d bytes were read", f, n, len(file), len(got))
			}
		}
	}
}

// TestELFOutOfOrder reads a core whose segments do not ascend, and overlap as /proc/kcore's do.
func TestELFOutOfOrder(t *testing.T) {
	m := memory{at(0x1000, words(1, 1<<20)), at(1<<30, words(2, 2<<20))}
	file := write(t, ELF, m, WriteOptions{})
	swap(file[elfHeader+elfPhdr:], file[elfHeader+2*elfPhdr:], elfPhdr)
	// What is one segment's at the end is another's too.
	got, rep, err := read(t, file, OpenOptions{})
	if err != nil || !rep.Whole() || !bytes.Equal(got, m.stream()) {
		t.Fatalf("%v, %+v", err, rep)
	}
	// The bytes in the other order.
	offs := []int{elfHeader + elfPhdr + 8, elfHeader + 2*elfPhdr + 8}
	high, low := binary.LittleEndian.Uint64(file[offs[0]:]), binary.LittleEndian.Uint64(file[offs[1]:])
	var turned []byte
	turned = append(turned, file[:low]...)
	turned = append(turned, m[1].b...)
	turned = append(turned, m[0].b...)
	binary.LittleEndian.PutUint64(turned[offs[0]:], low)
	binary.LittleEndian.PutUint64(turned[offs[1]:], low+uint64(len(m[1].b)))
	_ = high
	got, rep, err = read(t, turned, OpenOptions{})
	if err != nil || !rep.Whole() || !bytes.Equal(got, m.stream()) {
		t.Fatalf("%v, %+v", err, rep)
	}
}

func swap(a, b []byte, n int) {
	c := bytes.Clone(a[:n])
	copy(a[:n], b[:n])
	copy(b[:n], c)
}

// TestOutside tells of memory that the given ranges do not have.
func TestOutside(t *testing.T) {
	m := memory{at(0x1000, words(1, 1<<20)), at(1<<30, words(2, 2<<20))}
	m[1].r = lime.Range{Start: 4 << 20, End: 6<<20 - 1}
	for _, f := range []Form{Lime, Raw} {
		_, rep, err := read(t, write(t, f, m, WriteOptions{}), OpenOptions{Raw: f == Raw, RAM: m.ranges()[1:]})
		if err != nil || rep.Whole() || rep.Damage[0].Kind != Outside {
			t.Errorf("%s: %v, %+v", f, err, rep)
		}
	}
}

// theirs is memory as AVML writes it: pieces of 16 MiB from the start of each range, without its last byte, zeros
// left out, blocks of 64 KiB wherever they fall.
func theirs(m memory, packed bool) []byte {
	var out []byte
	for _, c := range m {
		b := c.b[:len(c.b)-1]
		for off := 0; off < len(b); off += pieceSize {
			p := b[off:min(len(b), off+pieceSize)]
			if zero(p) {
				continue
			}
			start := c.r.Start + uint64(off)
			head := lime.AppendHeader(nil, lime.Range{Start: start, End: start + uint64(len(p)) - 1})
			if !packed {
				out = append(append(out, head...), p...)
				continue
			}
			copy(head, avmlMagic)
			stream := []byte(avml.Identifier)
			for len(p) > 0 {
				n := min(len(p), avml.MaxChunk)
				stream, p = avml.AppendChunk(stream, p[:n]), p[n:]
			}
			out = binary.LittleEndian.AppendUint64(append(append(out, head...), stream...), uint64(len(stream)))
		}
	}
	return out
}

// TestTheirs reads what AVML writes, of which some memory does not compress.
func TestTheirs(t *testing.T) {
	zeros := make([]byte, 16<<20)
	m := memory{at(0x1000, words(1, 0x9e000)), at(1<<24, join(words(2, 17<<20), random(3, 15<<20), zeros, words(4, 4096))), at(1<<30, words(5, 4096))}
	m[1].b[len(m[1].b)-1], m[0].b[len(m[0].b)-1], m[2].b[4095] = 0, 0, 0
	left := []lime.Range{{Start: 0x9efff, End: 0x9efff}, {Start: 1<<24 + 32<<20, End: 1<<24 + 48<<20 - 1}, {Start: m[1].r.End, End: m[1].r.End}, {Start: m[2].r.End, End: m[2].r.End}}
	for _, packed := range []bool{false, true} {
		file := theirs(m, packed)
		got, rep, err := read(t, file, OpenOptions{RAM: m.ranges()})
		if err != nil || !rep.Whole() || !bytes.Equal(got, m.stream()) || !slices.Equal(rep.LeftOut, left) {
			t.Errorf("packed: %t: %v, %d bytes, want %d, %+v", packed, err, len(got), len(m.stream()), rep)
		}
		// Nobody says which ranges there are: what is between pieces is nothing, and the last byte of a page is back.
		img, err := Open(bytes.NewReader(file), int64(len(file)), OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		want := []lime.Range{m[0].r, {Start: 1 << 24, End: 1<<24 + 32<<20 - 1}, {Start: 1<<24 + 48<<20, End: m[1].r.End}, m[2].r}
		if r, err := img.Ranges(t.Context()); err != nil || !slices.Equal(r, want) {
			t.Errorf("packed: %t: ranges %v, %v, want %v", packed, r, err, want)
		}
		img.Close()
	}
}

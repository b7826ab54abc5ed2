package acquire

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/wire"
)

// given are pieces in order, from a function of the address.
type given struct {
	l    *layout
	next int64
	held bool
	skip bool // gives the second piece in place of the first
	t    *testing.T
}

func (g *given) Next() (int64, []byte, error) {
	if g.held {
		g.t.Fatal("a piece is asked for while another is held")
	}
	i := g.next
	if g.skip {
		i++
	}
	if i >= g.l.pieces {
		return 0, nil, io.EOF
	}
	phys, _, size := g.l.at(i)
	p := make([]byte, size)
	for k := 0; k+8 <= len(p); k += 8 {
		binary.LittleEndian.PutUint64(p[k:], phys+uint64(k)+1)
	}
	g.held = true
	return i, p, nil
}

func (g *given) Done() { g.next++; g.held = false }

// assembled is what the assembler should make.
func assembled(t testing.TB, l *layout, ram []lime.Range) []byte {
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	for _, r := range ram {
		data := make([]byte, r.Size())
		for _, s := range l.stretches {
			if s.Phys < r.Start || s.Phys > r.End {
				continue
			}
			for k := uint64(0); k < s.Size; k += 8 {
				binary.LittleEndian.PutUint64(data[s.Phys+k-r.Start:], s.Phys+k+1)
			}
		}
		if err := w.Begin(r); err != nil {
			t.Fatal(err)
		}
		w.Write(data)
	}
	return b.Bytes()
}

// FuzzAssemble: whatever ranges and segments a target shows, the image is one record for each
// range, with each page at its place, however it is read; or the layout is refused.
func FuzzAssemble(f *testing.F) {
	f.Add(uint64(1), uint16(1), []byte{1, 0xc0, 1, 3, 0x40, 0})
	f.Add(uint64(7), uint16(3), []byte{1, 0xff, 0, 200, 1, 9, 40, 1, 77})
	f.Fuzz(func(t *testing.T, seed uint64, pages uint16, shape []byte) {
		size := int(pages%64+1) * page
		var ram []lime.Range
		var segs []kcore.Segment
		at := uint64(0x1000)
		for i := 0; i+3 <= len(shape) && len(ram) < 16; i += 3 {
			r := lime.Range{Start: at + uint64(shape[i])*16, End: at + uint64(shape[i])*16 + uint64(shape[i+1])*1237}
			ram = append(ram, r)
			s, e := (r.Start+page-1)/page*page, (r.End+1)/page*page
			for c := s; c < e; { // in segments of some pages
				n := min(e-c, uint64(shape[i+2]%9+1)*page)
				segs = append(segs, kcore.Segment{Offset: 1<<30 + c*2, Virtual: 1<<63 + c, Physical: c, Size: n})
				c += n
			}
			at = r.End + 1 + page
		}
		m, err := kcore.NewMap(segs, ram)
		if err != nil {
			return
		}
		l, err := newLayout(m, ram, size)
		if err != nil {
			t.Fatal(err) // each page has a segment
		}
		rnd := rand.New(rand.NewPCG(seed, 2))
		a := &assembler{l: l, from: &given{l: l, t: t}}
		var got bytes.Buffer
		buf := make([]byte, 3*page)
		for {
			n, err := a.Read(buf[:1+rnd.IntN(len(buf))])
			got.Write(buf[:n])
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if want := assembled(t, l, ram); !bytes.Equal(got.Bytes(), want) {
			t.Fatalf("%d bytes, want %d", got.Len(), len(want))
		}
	})
}

// TestAssembleWrongPiece: a piece that is not the next one never gets into the image.
func TestAssembleWrongPiece(t *testing.T) {
	ram := []lime.Range{{Start: 0x1000, End: 0x8fff}}
	m, err := kcore.NewMap([]kcore.Segment{{Offset: 0x5000, Virtual: 1 << 63, Physical: 0x1000, Size: 0x8000}}, ram)
	if err != nil {
		t.Fatal(err)
	}
	l, err := newLayout(m, ram, 2*page)
	if err != nil {
		t.Fatal(err)
	}
	a := &assembler{l: l, from: &given{l: l, t: t, skip: true}}
	if b, err := io.ReadAll(a); err == nil || len(b) != lime.HeaderSize {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// FuzzLane: whatever a target sends, a buffer is either filled with exactly what was sent for
// it, or the lane ends.
func FuzzLane(f *testing.F) {
	const mark = "0123456789abcdef"
	good := "noise\n@" + mark + " ready boot\n" + "abcdefgh\n@" + mark + " 0 ok\n" + "\x00\x00\n@" + mark + " 1 no\n"
	f.Add([]byte(good), uint64(1))
	f.Add([]byte(good+"x"), uint64(2))
	f.Add([]byte(good[:len(good)-3]), uint64(3))
	for _, tool := range wire.Tools {
		var packed bytes.Buffer
		packed.WriteString("@" + mark + " ready boot\n")
		packed.Write(squeeze(f, tool, []byte("abcdefgh")))
		packed.WriteString("\n@" + mark + " 0 7 ok\n")
		packed.Write(squeeze(f, tool, nil))
		packed.WriteString("\n@" + mark + " 1 9 no\n")
		f.Add(packed.Bytes(), uint64(4))
	}
	f.Fuzz(func(t *testing.T, sent []byte, seed uint64) {
		for _, tool := range append([]string{""}, wire.Tools...) {
			st := &kcoreStream{mark: mark, h: &remote{}, zip: tool, ticks: map[*kcoreLane]int64{}}
			from, to := io.Pipe()
			l := &kcoreLane{st: st, ready: make(chan struct{}), read: make(chan struct{}), from: from}
			l.ctx, l.cancel = context.WithCancel(t.Context())
			pr, pw := io.Pipe()
			l.in = pw
			go io.Copy(io.Discard, pr)
			bufs := [][]byte{make([]byte, 8), make([]byte, 2)}
			var answers []*answer
			for _, b := range bufs {
				a, err := l.order(0, b, readAll)
				if err != nil {
					t.Fatal(err)
				}
				answers = append(answers, a)
			}
			go func() {
				defer to.Close()
				rnd := rand.New(rand.NewPCG(seed, 3))
				in := &laneInput{l, to}
				for rest := sent; len(rest) > 0; {
					n := 1 + rnd.IntN(len(rest))
					if _, err := in.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			var unpack *wire.Unpacker
			if tool != "" {
				unpack, _ = wire.NewUnpacker(tool)
			}
			if err := l.take(bufio.NewReaderSize(from, maxNoise), unpack); err == nil {
				t.Fatal("a lane ended without a reason")
			}
			close(l.read)
			l.Close()
			whole := 0
			for i, a := range answers {
				ok, aerr := a.wait()
				if aerr != nil {
					continue
				}
				if i != whole {
					t.Fatalf("answer %d came before answer %d", i, whole)
				}
				whole++
				want := fmt.Sprintf("%s\n@%s %d %s\n", bufs[i], mark, i, map[bool]string{true: "ok", false: "no"}[ok])
				if tool == "" && !bytes.Contains(sent, []byte(want)) {
					t.Fatalf("%q was not sent", want)
				}
			}
			if _, err := l.order(0, nil, readAll); err == nil || errors.Is(err, io.EOF) {
				t.Fatalf("a closed lane takes orders: %v", err)
			}
		}
	})
}

// squeeze packs data as a tool on a target would.
func squeeze(t testing.TB, tool string, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch tool {
	case wire.Zstd:
		w, _ = zstd.NewWriter(&b)
	case wire.Lz4:
		w = lz4.NewWriter(&b)
	default:
		w = gzip.NewWriter(&b)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

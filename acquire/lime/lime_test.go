package lime

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// epoch is the clock of tests that do not care.
func epoch() time.Time { return time.Unix(1700000000, 0) }

// record returns a whole record with content.
func record(start uint64, content []byte) []byte {
	return append(AppendHeader(nil, Range{start, start + uint64(len(content)) - 1}), content...)
}

// content returns n bytes: pages of zeros, of text, of noise and with zeros
// at either end.
func content(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 4))
	b := make([]byte, n)
	for at := 0; at < n; at += 1000 {
		p := b[at:min(at+1000, n)]
		switch r.IntN(3) {
		case 0:
			for i := range p {
				p[i] = byte(r.Uint32())
			}
		case 1:
			copy(p[min(len(p), r.IntN(1000)):], "text")
		}
		if r.IntN(4) == 0 {
			at += r.IntN(20000)
		}
	}
	return b
}

func walk(t *testing.T, o WalkerOptions, blocks ...[]byte) (*Report, error) {
	t.Helper()
	w := NewWalker(o)
	for _, b := range blocks {
		if n, err := w.Write(b); n != len(b) || err != nil {
			t.Fatalf("Write returned %d, %v", n, err)
		}
	}
	return w.Finish()
}

func TestHeader(t *testing.T) {
	r := Range{0x1000, 0x9fbff}
	b := AppendHeader(nil, r)
	want := "454d694c" + "01000000" + "0010000000000000" + "fffb090000000000" + "0000000000000000"
	if got := fmt.Sprintf("%x", b); got != want {
		t.Errorf("header %s, want %s", got, want)
	}
	if got, err := DecodeHeader(b); got != r || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	j, err := json.Marshal(r)
	if err != nil || string(j) != `{"start":"0x1000","end":"0x9fbff"}` {
		t.Errorf("JSON %s, %v", j, err)
	}
	var back Range
	if err := json.Unmarshal(j, &back); err != nil || back != r {
		t.Errorf("%v, %v", back, err)
	}
	for _, bad := range []string{`{"start":"1000"}`, `{"start":"0xg"}`, `{"start":4096}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out)
	body := content(10000, 1)
	for _, r := range []Range{{0x1000, 0x1000 + 9999}, {0x1000 + 10000, 0x1000 + 19999}} {
		if err := w.Begin(r); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body[:4000]); err != nil {
			t.Fatal(err)
		}
		if err := w.Zero(w.Left()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := walk(t, WalkerOptions{}, out.Bytes())
	if err != nil || len(rep.Ranges) != 2 || rep.Ranges[1].ZeroTail < 6000 {
		t.Errorf("%+v, %v", rep, err)
	}
	for name, use := range map[string]func(w *Writer) error{
		"short":      func(w *Writer) error { w.Begin(Range{0, 9}); return w.Close() },
		"short next": func(w *Writer) error { w.Begin(Range{0, 9}); return w.Begin(Range{10, 19}) },
		"long":       func(w *Writer) error { w.Begin(Range{0, 1}); _, err := w.Write([]byte("abc")); return err },
		"no record":  func(w *Writer) error { _, err := w.Write([]byte("abc")); return err },
		"backwards":  func(w *Writer) error { return w.Begin(Range{9, 0}) },
		"overlap":    func(w *Writer) error { w.Begin(Range{0, 0}); w.Zero(1); return w.Begin(Range{0, 0}) },
		"descending": func(w *Writer) error { w.Begin(Range{5, 5}); w.Zero(1); return w.Begin(Range{0, 0}) },
	} {
		w := NewWriter(io.Discard)
		err := use(w)
		if err == nil || w.Close() != err {
			t.Errorf("%s: error %v, then %v", name, err, w.Close())
		}
	}
}

func TestStructure(t *testing.T) {
	a, b := record(0x1000, content(5000, 1)), record(0x100000, content(9000, 2))
	ok := append(bytes.Clone(a), b...)
	edit := func(at int, p ...byte) []byte {
		c := bytes.Clone(ok)
		copy(c[at:], p)
		return c
	}
	second := len(a)
	for _, c := range []struct {
		name   string
		image  []byte
		kind   error
		offset int64
		rng    *Range
	}{
		{"whole", ok, nil, 0, nil},
		{"empty", nil, ErrEmpty, 0, nil},
		{"not an image", []byte("hello"), ErrBadMagic, 0, nil},
		{"other format", bytes.Repeat([]byte("AVML"), 100), ErrBadMagic, 0, nil},
		{"version", edit(4, 2), ErrBadVersion, 0, nil},
		{"second version", edit(second+4, 2), ErrBadVersion, int64(second), nil},
		{"backwards", edit(second+16, 0, 0, 0), ErrBadRange, int64(second), &Range{0x100000, 0}},
		{"overlap", edit(second+8, 0x00, 0x20, 0, 0, 0, 0, 0, 0, 0x27, 0x43, 0), ErrOverlap, int64(second), &Range{0x2000, 0x4327}},
		{"descending", edit(second+8, 0x00, 0x08, 0, 0, 0, 0, 0, 0, 0x27, 0x2b, 0), ErrDescending, int64(second), &Range{0x800, 0x2b27}},
		{"one byte more", append(bytes.Clone(ok), 0), ErrTrailing, int64(len(ok)), nil},
		{"padding", append(bytes.Clone(ok), make([]byte, 4096)...), ErrTrailing, int64(len(ok)), nil},
		{"half a header", ok[:second+16], ErrTruncatedHeader, int64(second), nil},
		{"half a magic", ok[:second+2], ErrTruncatedHeader, int64(second), nil},
		{"header only", ok[:second+32], ErrTruncatedRecord, int64(second + 32), &Range{0x100000, 0x100000 + 8999}},
		{"last byte", ok[:len(ok)-1], ErrTruncatedRecord, int64(len(ok) - 1), &Range{0x100000, 0x100000 + 8999}},
	} {
		t.Run(c.name, func(t *testing.T) {
			rep, err := walk(t, WalkerOptions{}, c.image)
			if !errors.Is(err, c.kind) {
				t.Fatalf("error %v, want %v", err, c.kind)
			}
			if rep.Complete != (c.kind == nil) || rep.Bytes != int64(len(c.image)) {
				t.Errorf("%d bytes, complete %v", rep.Bytes, rep.Complete)
			}
			if c.kind == nil {
				return
			}
			if p := rep.Problems[0]; p.Offset != c.offset || !reflect.DeepEqual(p.Range, c.rng) {
				t.Errorf("%v: want offset %d, range %v", p, c.offset, c.rng)
			}
			if _, err := json.Marshal(rep); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRecordLimits(t *testing.T) {
	var image []byte
	for i := range uint64(100) {
		image = append(image, record(2*i, []byte{1})...)
	}
	rep, err := walk(t, WalkerOptions{MaxRecords: 10}, image)
	if !errors.Is(err, ErrTooManyRecords) || len(rep.Ranges) != 10 || len(rep.Problems) != 1 {
		t.Errorf("%d ranges, %v", len(rep.Ranges), err)
	}
	image = nil
	for range 100 {
		image = append(image, record(0, []byte{1})...)
	}
	rep, err = walk(t, WalkerOptions{}, image)
	if !errors.Is(err, ErrOverlap) || len(rep.Problems) != maxProblems || rep.More != 99-maxProblems {
		t.Errorf("%d problems and %d more, %v", len(rep.Problems), rep.More, err)
	}
	top := AppendHeader(nil, Range{^uint64(0) - 8191, ^uint64(0)})
	if rep, err = walk(t, WalkerOptions{}, top, make([]byte, 8192)); err != nil || rep.Ranges[0].ZeroPages != 2 {
		t.Errorf("range at the top: %+v, %v", rep, err)
	}
}

// naive gathers the statistics of a record's content the plain way.
func naive(r *RangeReport, start uint64, body []byte) {
	page := -1
	var run uint64
	blank := false
	for i, c := range body {
		a := start + uint64(i)
		if page < 0 || a%PageSize == 0 {
			if page >= 0 && blank {
				r.ZeroPages++
			}
			page, blank = 0, true
			r.Pages++
		}
		if c == 0 {
			if run++; run >= PageSize && run > r.LongestZero.Length {
				r.LongestZero = Run{Addr(a + 1 - run), run}
			}
		} else {
			run, blank = 0, false
		}
	}
	if page >= 0 && blank {
		r.ZeroPages++
	}
	r.ZeroTail = run
}

func TestStatistics(t *testing.T) {
	for seed := range uint64(60) {
		body := content(1+int(seed*seed*37), seed)
		start := seed * 0x777
		cut := len(body) - int(seed%3)*(len(body)/5)
		image := record(start, body)[:HeaderSize+cut]
		want := RangeReport{Range: Range{start, start + uint64(len(body)) - 1}, Bytes: uint64(cut), First: epoch().UTC(), Last: epoch().UTC()}
		naive(&want, start, body[:cut])
		for _, size := range []int{1, 7, 4095, 4096, 4097, len(image)} {
			var blocks [][]byte
			for at := 0; at < len(image); at += size {
				blocks = append(blocks, image[at:min(at+size, len(image))])
			}
			rep, _ := walk(t, WalkerOptions{Now: epoch}, blocks...)
			if got := rep.Ranges[0]; !reflect.DeepEqual(got, want) {
				t.Fatalf("seed %d, blocks of %d:\n got %+v\nwant %+v", seed, size, got, want)
			}
		}
	}
}

func TestTimes(t *testing.T) {
	now := epoch()
	w := NewWalker(WalkerOptions{MarkEvery: 8192, Now: func() time.Time { now = now.Add(time.Second); return now }})
	body := make([]byte, 20480)
	w.Write(AppendHeader(nil, Range{0x1000, 0x5fff}))
	w.Write(body[:4096]) // reaches the mark at 0x2000
	w.Write(body[4096:12288])
	w.Write(body[12288:])
	rep, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int) time.Time { return epoch().Add(time.Duration(s) * time.Second).UTC() }
	r := rep.Ranges[0]
	if !r.First.Equal(at(2)) || !r.Last.Equal(at(4)) || !reflect.DeepEqual(r.Marks, []Mark{{0x2000, at(2)}, {0x4000, at(3)}}) {
		t.Errorf("%+v", r)
	}
}

const testBanner = "Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP Debian\n\x00"

func TestNeedles(t *testing.T) {
	osrelease := "OSRELEASE=6.1.0-56-cloud-amd64\n"
	body := content(200000, 7)
	want := map[string][]Addr{}
	put := func(name, text string, at int) {
		copy(body[at:], text)
		want[name] = append(want[name], Addr(0x10000+at))
	}
	put("banner", testBanner, 0)
	put("banner", testBanner, 8192-50)
	clear(body[40960:49152])
	put("banner", testBanner, 40960-len(testBanner)+1) // its NUL is in a zero page
	put("banner", testBanner, len(body)-len(testBanner))
	put("osrelease", osrelease, 30000)
	put("osrelease", osrelease, 30000+len(osrelease))
	copy(body[100000:], testBanner[:60]) // a truncated one does not count
	body[100060] = 'x'
	// One that straddles two records does not count either.
	image := append(record(0x10000, body), record(0x10000+uint64(len(body)), []byte(testBanner[1:]))...)
	o := WalkerOptions{Needles: []Needle{{Name: "banner", Text: []byte(testBanner)}, {Name: "osrelease", Text: []byte(osrelease)}, {Name: "one", Text: []byte("L"), Max: 1}}}
	want["one"] = []Addr{0x10000}
	for _, size := range []int{1, 3, 31, 100, 4096, 8192, len(image)} {
		var blocks [][]byte
		for at := 0; at < len(image); at += size {
			blocks = append(blocks, image[at:min(at+size, len(image))])
		}
		rep, err := walk(t, o, blocks...)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range rep.Found {
			if !reflect.DeepEqual(f.Addrs, want[f.Name]) {
				t.Errorf("blocks of %d: %s at %v, want %v", size, f.Name, f.Addrs, want[f.Name])
			}
		}
	}
}

func TestSamples(t *testing.T) {
	low, high := content(3*PageSize, 3), content(5*PageSize+100, 4)
	clear(high[PageSize : 2*PageSize])
	image := append(record(0x1000, low), record(0x4000, high)...)
	o := WalkerOptions{Samples: []uint64{0x5000, 0, 0x2000, 0x9000, 0x3000, 0x4000, 0x2000, 0x100000}}
	memory := append(bytes.Clone(low), high...)
	for _, size := range []int{1, 1000, PageSize, len(image)} {
		var blocks [][]byte
		for at := 0; at < len(image); at += size {
			blocks = append(blocks, image[at:min(at+size, len(image))])
		}
		rep, err := walk(t, o, blocks...)
		if err != nil {
			t.Fatal(err)
		}
		if len(rep.Samples) != 7 {
			t.Fatalf("%d samples", len(rep.Samples))
		}
		for _, s := range rep.Samples {
			want := Sample{Addr: s.Addr}
			if at := int(s.Addr) - 0x1000; at >= 0 && at < len(memory) {
				p := memory[at:min(at+PageSize, len(memory))]
				want = Sample{s.Addr, len(p), bytes.Count(p, []byte{0}) == len(p), crc32.ChecksumIEEE(p)}
			}
			if s != want {
				t.Errorf("blocks of %d: %+v, want %+v", size, s, want)
			}
		}
	}
}

func TestMisuse(t *testing.T) {
	for _, o := range []WalkerOptions{
		{Needles: []Needle{{Name: "empty"}}},
		{Needles: []Needle{{Name: "zero", Text: []byte("\x00a")}}},
		{Samples: []uint64{1}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%+v: no panic", o)
				}
			}()
			NewWalker(o)
		}()
	}
}

func TestNoAllocation(t *testing.T) {
	w := NewWalker(WalkerOptions{Needles: []Needle{{Name: "banner", Text: []byte(testBanner)}}, Samples: []uint64{0x5000}})
	w.Write(AppendHeader(nil, Range{0x1000, 1 << 40}))
	block := content(1<<16, 5)
	if n := testing.AllocsPerRun(100, func() { w.Write(block) }); n != 0 {
		t.Errorf("%v allocations per block", n)
	}
}

// AVML cuts ranges into records of 16 MiB and leaves out those that are zero;
// here they are smaller.
func TestInspect(t *testing.T) {
	image := append(record(0x1000, content(8192, 1)), record(0x3000, content(8192, 2))...)
	image = append(image, record(0x9000, content(100, 3))...)
	rep, err := Inspect(iotest.HalfReader(bytes.NewReader(image)), WalkerOptions{})
	if err != nil || !rep.Complete || len(rep.Ranges) != 3 || rep.Size() != 2*8192+100 {
		t.Errorf("%+v, %v", rep, err)
	}
	rep, err = Inspect(io.MultiReader(bytes.NewReader(image), iotest.ErrReader(io.ErrClosedPipe)), WalkerOptions{})
	if !errors.Is(err, io.ErrClosedPipe) || rep.Complete || rep.Bytes != int64(len(image)) {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestCompare(t *testing.T) {
	expected := []Range{{0x1000, 0x9fbff}, {0x100000, 0x1fffff}, {0x200000, 0x2fffff}, {0x400000, 0x4fffff}}
	for _, c := range []struct {
		name string
		got  []Range
		want []string
	}{
		{"same", expected, nil},
		{"cut", []Range{{0x1000, 0x4ffff}, {0x50000, 0x9fbff}, {0x100000, 0x2fffff}, {0x400000, 0x4fffff}}, nil},
		{"missing", expected[1:], []string{"missing: 0x1000-0x9fbff (650240 bytes)"}},
		{"short", []Range{{0x1000, 0x9fbff}, {0x100000, 0x1fffff}, {0x200000, 0x2000ff}, {0x400000, 0x4fffff}},
			[]string{"short: 0x200100-0x2fffff (1048320 bytes) of 0x200000-0x2fffff"}},
		{"off by one", []Range{{0x1000, 0x9fbfe}, {0x100000, 0x1ffffe}, {0x200000, 0x2ffffe}, {0x400000, 0x500000}},
			[]string{
				"off by one: 0x9fbff-0x9fbff (1 bytes) of 0x1000-0x9fbff",
				"off by one: 0x1fffff-0x1fffff (1 bytes) of 0x100000-0x1fffff",
				"off by one: 0x2fffff-0x2fffff (1 bytes) of 0x200000-0x2fffff",
				"off by one: 0x500000-0x500000 (1 bytes) of 0x400000-0x4fffff",
			}},
		{"extra", append([]Range{{0x0, 0x10}}, expected...), []string{"extra: 0x0-0x10 (17 bytes)"}},
		{"hole", []Range{{0x1000, 0x9fbff}, {0x100000, 0x1fffff}, {0x200000, 0x20ffff}, {0x220000, 0x2fffff}, {0x400000, 0x4fffff}},
			[]string{"missing: 0x210000-0x21ffff (65536 bytes) of 0x200000-0x2fffff"}},
		{"nothing", nil, []string{
			"missing: 0x1000-0x9fbff (650240 bytes)", "missing: 0x100000-0x1fffff (1048576 bytes)",
			"missing: 0x200000-0x2fffff (1048576 bytes)", "missing: 0x400000-0x4fffff (1048576 bytes)",
		}},
	} {
		var got []string
		for _, d := range Compare(c.got, expected) {
			got = append(got, d.String())
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
	// A record cut short is judged by what came of it.
	image := record(0x1000, make([]byte, 0x2000))
	rep, err := walk(t, WalkerOptions{}, image[:HeaderSize+0x1000])
	if err == nil {
		t.Error("no error")
	}
	if d := rep.Compare([]Range{{0x1000, 0x2fff}}); len(d) != 1 || d[0].Kind != Short || d[0].Range != (Range{0x2000, 0x2fff}) {
		t.Errorf("%v", d)
	}
	if d := Compare([]Range{{0, ^uint64(0)}}, []Range{{0, 0}, {5, ^uint64(0)}}); len(d) != 1 || d[0].Range != (Range{1, 4}) {
		t.Errorf("%v", d)
	}
}

// FuzzWalker: however a stream is cut into blocks, the report is the same.
func FuzzWalker(f *testing.F) {
	image := append(record(0x1800, content(9000, 1)), record(0x10000, content(20000, 2))...)
	copy(image[5000:], "needle")
	f.Add(image, []byte{1, 200, 3})
	f.Add(image[:20000], []byte{255})
	f.Add(append(bytes.Clone(image), 0), []byte{9})
	f.Add(append(record(0x1000, make([]byte, 5000)), record(0x1000, make([]byte, 100))...), []byte{7, 0, 90})
	f.Add(binary.LittleEndian.AppendUint32(nil, Magic), []byte{1})
	f.Fuzz(func(t *testing.T, image, cuts []byte) {
		o := WalkerOptions{
			Now: epoch, MarkEvery: 4096, MaxRecords: 100,
			Needles: []Needle{{Name: "a", Text: []byte("needle"), Max: 3}, {Name: "b", Text: []byte("aa"), Max: 1000}, {Name: "c", Text: []byte("d\x00\x00e")}, {Name: "d", Text: []byte("aa"), Max: 2, In: []Range{{0x3000, 0x3fff}, {0x11000, 0x11fff}}}},
			Samples: []uint64{0x1000, 0x2000, 0x4000, 0x5000, 0x10000},
		}
		whole, wholeErr := walk(t, o, image)
		var blocks [][]byte
		for i, rest := 0, image; len(rest) > 0; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, 17*int(cuts[i%len(cuts)])+i%3)
				if i > 5000 {
					n = len(rest)
				}
			}
			blocks = append(blocks, rest[:n])
			rest = rest[n:]
		}
		split, splitErr := walk(t, o, blocks...)
		if !reflect.DeepEqual(whole, split) || fmt.Sprint(wholeErr) != fmt.Sprint(splitErr) {
			t.Errorf("whole: %+v, %v\nsplit: %+v, %v", whole, wholeErr, split, splitErr)
		}
		if whole.Bytes != int64(len(image)) || whole.Complete != (wholeErr == nil) {
			t.Errorf("%d of %d bytes, complete %v, %v", whole.Bytes, len(image), whole.Complete, wholeErr)
		}
	})
}

// TestSpans: a span holds the times of all blocks that have a byte of its stretch, however the
// stream is cut, and records that descend add none.
func TestSpans(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, 1, 0, 0, n, 0, time.UTC) }
	var image []byte
	for _, r := range []Range{{0x1000, 0x2fff}, {0x4000, 0x8fff}, {0x1000, 0x1fff}, {1<<52 - 4096, 1<<52 - 1}} {
		image = append(AppendHeader(image, r), make([]byte, r.Size())...)
	}
	w := NewWalker(WalkerOptions{MarkEvery: 0x4000})
	const block = 0x1800
	for i := 0; i*block < len(image); i++ {
		w.WriteCame(image[i*block:min(len(image), (i+1)*block)], at(10*i), at(10*i+9))
	}
	rep, _ := w.Finish()
	// Content 0x0000-0x3fff lies at 32 to 0x2020, 0x4000-0x7fff at 0x2040 to 0x6040, 0x8000-0x8fff
	// up to 0x7040; then 0x1020 of the record that descends.
	want := []Span{
		{0x1000, at(0), at(19)}, {0x4000, at(10), at(49)}, {0x8000, at(40), at(49)},
		{1<<52 - 4096, at(50), at(69)},
	}
	if !reflect.DeepEqual(rep.Spans, want) {
		t.Errorf("got  %v\nwant %v", rep.Spans, want)
	}
	var many []byte
	for i := range 40 {
		r := Range{uint64(i) << 26, uint64(i)<<26 + 15}
		many = append(AppendHeader(many, r), make([]byte, 16)...)
	}
	if rep, _ := walk(t, WalkerOptions{MaxRecords: 10}, many); len(rep.Spans) != 10 {
		t.Errorf("%d spans of at most 10 records", len(rep.Spans))
	}
}

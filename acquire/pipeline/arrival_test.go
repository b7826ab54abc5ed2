package pipeline

import (
	"io"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A chunked reader gives at most so many bytes a read, and counts reads.
type chunked struct {
	data  []byte
	size  int
	reads int
}

func (c *chunked) Read(p []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	c.reads++
	n := copy(p, c.data[:min(c.size, len(c.data))])
	c.data = c.data[n:]
	return n, nil
}

// TestArrival: the walker learns when bytes were read, not when it had the time to look at them.
func TestArrival(t *testing.T) {
	noLeaks(t)
	const frame, every = 8192, 16384
	r := lime.Range{Start: 0, End: 4*every - 1}
	src := &chunked{data: append(lime.AppendHeader(nil, r), make([]byte, r.Size())...), size: frame / 2}
	at := func(n int) time.Time { return time.Unix(int64(n), 0).UTC() }
	w := lime.NewWalker(lime.WalkerOptions{MarkEvery: every, Now: func() time.Time { return at(1e6) }})
	_, err := Run(t.Context(), src, io.Discard, Options{Pool: testPool(t, 1), Compression: "none", FrameSize: frame, Walker: w, Now: func() time.Time { return at(src.reads) }})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := w.Finish()
	if err != nil || len(rep.Spans) != 4 {
		t.Fatalf("spans %v, %v", rep.Spans, err)
	}
	// A block is two reads, and the header shifts all by 32 bytes: each stretch ends in the first
	// read of a third block, at whose end the times of its last byte are.
	for i, s := range rep.Spans {
		want := lime.Span{Addr: lime.Addr(i * every), First: at(4*i + 1), Last: at(4*i + 6)}
		if i == 3 {
			want.Last = at(17) // the last block is short
		}
		if s != want {
			t.Errorf("span %d is %v, want %v", i, s, want)
		}
	}
}

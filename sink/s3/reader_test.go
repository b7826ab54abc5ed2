package s3

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// rangeOf is the first byte that a request asks for, and how many.
func rangeOf(h http.Header) (from, n int) {
	var to int
	fmt.Sscanf(h.Get("Range"), "bytes=%d-%d", &from, &to)
	return from, to + 1 - from
}

// What was cut goes on where it was cut.
func TestReadIsCut(t *testing.T) {
	isolate(t)
	f := newFake(t)
	data := pattern(3*blockSize + 77)
	f.store("case-1/image.lime", "x", data)
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "GetObject" && c.Nth <= 2 {
			from, n := rangeOf(c.Header)
			w.Header().Set("Content-Length", strconv.Itoa(n))
			w.WriteHeader(206)
			w.Write(data[from:][:n/2])
			panic(http.ErrAbortHandler)
		}
		return false
	}
	r, err := f.sink(t).Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make([]byte, len(data))
	if n, err := r.ReadAt(got, 0); n != len(data) || err != nil || !bytes.Equal(got, data) {
		t.Fatalf("ReadAt = %d, %v", n, err)
	}
	for i, c := range f.of("GetObject") {
		if from, n := rangeOf(c.Header); i == 0 && n != len(data) || i == 1 && from < blockSize {
			t.Errorf("request %d is for %d bytes from %d", i, n, from)
		}
	}
	calls := len(f.of("GetObject"))
	if _, err := r.ReadAt(got[:10], blockSize+5); err != nil || len(f.of("GetObject")) != calls {
		t.Errorf("a block was fetched twice (%v)", err)
	}
}

// Who jumps about gets little at each place, who reads in sequence much ahead by few requests, and what is kept is bounded. Several at
// once get what is theirs.
func TestReadPattern(t *testing.T) {
	isolate(t)
	f := newFake(t)
	data := pattern(100*blockSize + 7)
	f.store("case-1/image.lime", "x", data)
	open := func() *reader {
		r, err := f.sink(t).Open(t.Context(), "image.lime")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r.(*reader)
	}
	check := func(r *reader, p []byte, off int64) {
		if n, err := r.ReadAt(p, off); err != nil || n != len(p) || !bytes.Equal(p, data[off:][:n]) {
			t.Errorf("%d bytes at %d: %d, %v", len(p), off, n, err)
		}
	}
	asked := func(from int) (requests, bytes int) {
		for _, c := range f.of("GetObject")[from:] {
			_, n := rangeOf(c.Header)
			requests, bytes = requests+1, bytes+n
		}
		return requests, bytes
	}

	jumps := open()
	for i := range int64(9) {
		check(jumps, make([]byte, 4096), (i*37%100)*blockSize+100)
	}
	check(jumps, make([]byte, 4096), 31*blockSize-2000) // over an edge
	if requests, n := asked(0); requests != 10 || n != 11*blockSize {
		t.Errorf("jumps: %d requests for %d bytes", requests, n)
	}

	before := len(f.of("GetObject"))
	r := open()
	for off := int64(0); off < int64(len(data)); off += 300_000 {
		check(r, make([]byte, min(300_000, int64(len(data))-off)), off)
	}
	if requests, n := asked(before); requests > 32 || n != len(data) {
		t.Errorf("in sequence: %d requests for %d bytes of %d", requests, n, len(data))
	}

	several := open()
	var wg sync.WaitGroup
	for seed := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 3))
			for range 150 {
				n := 1 + rnd.IntN(3*blockSize)
				check(several, make([]byte, n), rnd.Int64N(int64(len(data)-n)))
			}
		})
	}
	wg.Wait()
	several.mu.Lock()
	defer several.mu.Unlock()
	if len(several.blocks) > keptBlocks {
		t.Errorf("%d blocks are kept", len(several.blocks))
	}
}

// While as much is under way as is kept, what is there is still given out, and nothing is fetched ahead.
func TestReadCrowded(t *testing.T) {
	for last, ahead := range []sequence{{next: 0, steps: 9, used: 1}, {}} { // in sequence; to a block that is not there
		r := &reader{s: &Sink{}, life: t.Context(), size: 1000 * blockSize, blocks: map[int64]*block{}}
		r.ahead.slots[0] = ahead
		for i := range int64(keptBlocks - 1) {
			r.blocks[100+i] = &block{i: 100 + i, ready: make(chan struct{})}
		}
		there := &block{ready: make(chan struct{})}
		close(there.ready)
		r.blocks[0] = there
		if got, err := r.block(0, int64(last)); got != there || err != nil || len(r.blocks) != keptBlocks {
			t.Errorf("of blocks 0 to %d: %v, %v; %d are kept", last, got, err, len(r.blocks))
		}
		r.wg.Wait()
	}
}

package acquire

import (
	"io"
	"sync"
)

// leashLength is how far one of two readers of a file may be ahead of the other, in bytes: what
// the first has read is then still in the sink's, or the system's, cache.
const leashLength = 16 << 20

// A leash keeps two readers that go through a file in order close to each other.
type leash struct {
	mu   sync.Mutex
	move sync.Cond
	at   [2]int64
	done [2]bool
}

func newLeash() *leash {
	l := &leash{}
	l.move.L = &l.mu
	return l
}

// reader returns r as reader i of the two; stored maps its offsets to those of the file.
func (l *leash) reader(i int, r io.ReaderAt, stored func(int64) int64) io.ReaderAt {
	return leashed{l, i, r, stored}
}

// end lets the other reader go.
func (l *leash) end(i int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done[i] = true
	l.move.Broadcast()
}

// wait moves reader i to off, once the other is near. Only the one that is ahead waits.
func (l *leash) wait(i int, off int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if off > l.at[i] {
		l.at[i] = off
		l.move.Broadcast()
	}
	for !l.done[1-i] && off > l.at[1-i]+leashLength {
		l.move.Wait()
	}
}

type leashed struct {
	l      *leash
	i      int
	r      io.ReaderAt
	stored func(int64) int64
}

func (r leashed) ReadAt(p []byte, off int64) (int, error) {
	r.l.wait(r.i, r.stored(off))
	return r.r.ReadAt(p, off)
}

//go:build e2e

package e2e

import (
	"sync"
	"testing"
	"time"
)

// A slotCount bounds how many guests work at once.
type slotCount struct {
	mu   sync.Mutex
	free *sync.Cond
	n    int // free; below zero while one came back that had been idle
}

func newSlots(n int) *slotCount {
	s := &slotCount{n: n}
	s.free = sync.NewCond(&s.mu)
	return s
}

// slots are two: the machine has two cores. More tests than that run at once (-parallel), since some wait.
var slots = newSlots(2)

// take waits for a slot, which is free again when the test ends.
func (s *slotCount) take(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.n <= 0 {
		s.free.Wait()
	}
	s.n--
	t.Cleanup(func() { s.add(1) })
}

func (s *slotCount) add(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n += n
	s.free.Broadcast()
}

// idle calls wait, during which the caller's guest does nothing, and somebody else's may work. It goes on at once: what it
// has to do then can be late for something.
func (s *slotCount) idle(wait func()) {
	s.add(1)
	defer s.add(-1)
	wait()
}

// TestSlots: the time of one that is idle is another's, and who comes back does not wait.
func TestSlots(t *testing.T) {
	s := newSlots(1)
	t.Run("users", func(t *testing.T) {
		s.take(t)
		taken := make(chan struct{})
		s.idle(func() {
			t.Run("other", func(t *testing.T) { s.take(t); close(taken) })
			<-taken
			if s.n != 1 {
				t.Errorf("%d slots are free, want 1", s.n)
			}
			s.add(-1) // another takes it, and keeps it
		})
		if s.n != -1 {
			t.Errorf("%d slots are free, want -1: one too many works", s.n)
		}
	})
	if s.n != 0 {
		t.Errorf("%d slots are free, want none", s.n)
	}
	got := make(chan struct{})
	go func() { s.take(t); close(got) }()
	select {
	case <-got:
		t.Error("a slot was given that there is not")
	case <-time.After(50 * time.Millisecond):
	}
	s.add(1)
	<-got
}

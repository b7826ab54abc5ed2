package acquire

import (
	"testing"
	"time"
)

// TestSteadyClock: the examiner's clock is set twice, and what is told goes on.
func TestSteadyClock(t *testing.T) {
	begin := time.Now()
	now := begin
	c := newSteadyClock(func() time.Time { return now })
	now = begin.Add(3 * time.Second)
	if got := c.now(); !got.Equal(begin.Add(3*time.Second)) || got.Location() != time.UTC || c.set() != 0 {
		t.Errorf("after 3 s it is %s, set by %s; it began at %s", got, c.set(), begin)
	}
	// A clock without a monotonic reading is believed.
	now = begin.Round(0).Add(-time.Hour)
	if got := c.now(); !got.Equal(now) {
		t.Errorf("%s, want %s", got, now)
	}
}

func TestTCPBuffers(t *testing.T) {
	for text, want := range map[string]int64{
		"4096\t16384\t4194304\n4096\t131072\t6291456\n": 10 << 20,
		"1 2 3\n4 5 6\n":                    9,
		"":                                  10 << 20,
		"1 2 3\n":                           10 << 20,
		"1 2 3\n1 2 99999999999999999999\n": 10 << 20,
	} {
		if got := tcpBuffers(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

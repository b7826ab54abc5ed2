package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// A meter shows how far something is, such as the reading of one file: on a terminal a line that is
// written over, elsewhere a heartbeat. It may be used from several goroutines.
type meter struct {
	c    *console
	live bool
	text func(done, total int64, took time.Duration) string

	mu    sync.Mutex
	began time.Time
	last  time.Time
	drawn bool
}

func newMeter(c *console, name string) *meter {
	return meterOf(c, func(done, total int64, took time.Duration) string {
		return fmt.Sprintf("%s: %s of %s (%s), %s", printable(name), size(done), size(total), percent(done, total), rate(float64(done)/took.Seconds()))
	})
}

// newCounter is a meter of things that are counted.
func newCounter(c *console, what string) *meter {
	return meterOf(c, func(done, total int64, took time.Duration) string {
		return fmt.Sprintf("%d of %d %s, %s", done, total, what, took.Round(time.Second))
	})
}

func meterOf(c *console, text func(done, total int64, took time.Duration) string) *meter {
	now := time.Now()
	return &meter{c: c, text: text, live: !c.json && canDraw(c.stderr, os.Getenv("TERM")), began: now, last: now}
}

func (m *meter) show(done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := heartbeat
	if m.live {
		every = 200 * time.Millisecond
	}
	now := time.Now()
	if now.Sub(m.last) < every {
		return
	}
	m.last = now
	line := m.text(done, total, now.Sub(m.began))
	if !m.live {
		m.c.info("%s", line)
		return
	}
	m.drawn = true
	fmt.Fprintf(m.c.stderr, "\r\x1b[K%s", line)
}

// close wipes the line.
func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drawn {
		io.WriteString(m.c.stderr, "\r\x1b[K")
	}
}

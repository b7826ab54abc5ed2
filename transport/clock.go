package transport

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errDialTimeout is the cause of a dial context whose time is up.
var errDialTimeout = errors.New("dial deadline")

// A dialClock cancels a dial when its time is up. It stands still while a
// human is asked for a secret, which no connection deadline can do.
type dialClock struct {
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer
	left  time.Duration
	since time.Time
	stage string
}

// newDialClock returns a context that ends with parent or after d.
func newDialClock(parent context.Context, d time.Duration) (context.Context, *dialClock) {
	ctx, cancel := context.WithCancelCause(parent)
	c := &dialClock{cancel: cancel, left: d, since: time.Now()}
	c.timer = time.AfterFunc(d, func() { cancel(errDialTimeout) })
	return ctx, c
}

func (c *dialClock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.left -= time.Since(c.since)
}

func (c *dialClock) resume() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
	c.timer.Reset(max(c.left, 0))
}

func (c *dialClock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timer.Stop()
	c.cancel(context.Canceled)
}

// enter names what the dial does now, for the message when its time is up.
func (c *dialClock) enter(stage string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stage = stage
}

func (c *dialClock) where() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage
}

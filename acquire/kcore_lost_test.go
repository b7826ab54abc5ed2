//go:build unix

package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A cutter breaks the connections when some of the image has passed.
type cutter struct {
	io.Writer
	left *atomic.Int64
	cut  func()
}

func (c *cutter) Write(p []byte) (int, error) {
	if n := c.left.Add(-int64(len(p))); n < 0 && n+int64(len(p)) >= 0 {
		c.cut()
	}
	return c.Writer.Write(p)
}

// TestKcoreConnectionsLost: connections die in the middle of pieces, more than once. All is
// read again, and the image is whole.
func TestKcoreConnectionsLost(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	cuts := 0
	var left atomic.Int64
	left.Store(5 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() {
			if cuts++; cuts < 4 {
				left.Store(6 << 20)
				go f.server.Kill()
			}
		}}
	}
	dir := t.TempDir()
	m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.Connections = 3 }))
	if s := m.Method.Kcore.Connections; s.Lost < 3 || s.Again == 0 {
		t.Errorf("connections %+v", s)
	}
	if s := m.Method.Kcore.Connections; int64(m.Footprint.Logins) < int64(s.Made) {
		t.Errorf("%d logins, %+v", m.Footprint.Logins, s)
	}
}

// TestKcorePlanConnectionLost: the connection of the plan has ended when the stream is there, as that of a tunnel does after its hour. Live
// memory is looked at again over a new one.
func TestKcorePlanConnectionLost(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	var left atomic.Int64
	left.Store(5 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { go f.server.Kill() }}
	}
	var once sync.Once
	f.exec = func(name string) {
		if name == "read" { // pages at the end of a range are freed, and cleared
			once.Do(func() { f.zero(fakeOffset+0x17f0000, 0x10000) })
		}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.Connections = 2 })
	if res.State != StateComplete || res.Err != nil {
		t.Errorf("%+v", res)
	}
	if n := f.scripts["sample"]; n != 2 {
		t.Errorf("%d looks at samples: %+v", n, res)
	}
}

// zero clears bytes of the file.
func (f *fakeKcore) zero(at int64, n int) {
	file, err := os.OpenFile(f.path("kcore"), os.O_RDWR, 0)
	if err == nil {
		_, err = file.WriteAt(make([]byte, n), at)
		err = errors.Join(err, file.Close())
	}
	if err != nil {
		f.t.Error(err)
	}
}

// TestKcoreGone: the target never comes back. What had come in order is kept, and the user is
// told what could not be checked.
func TestKcoreGone(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { go f.server.Close() }}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Connections, o.StallTimeout, o.CleanupTimeout = 2, 3*time.Second, 3*time.Second
	})
	if res.State != StatePartial || len(res.Left) != 1 || !strings.Contains(res.Left[0], "not checked") {
		t.Fatalf("%+v", res)
	}
	f.same(manifestIn(t, dir), f.image[:res.Image.Raw.Bytes])
}

// TestKcoreStall: the link stands still; the capture gives up, and no later.
func TestKcoreStall(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, f.server.Stall}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Connections, o.StallTimeout, o.CleanupTimeout = 2, 3*time.Second, 3*time.Second
	})
	if res.State != StatePartial || !strings.Contains(fmt.Sprint(res.Err), "no byte came for") || res.Duration > 20*time.Second {
		t.Fatalf("after %s: %+v", res.Duration, res)
	}
}

// TestKcoreInterrupted: the processes on the target end when nobody wants them any more.
func TestKcoreInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	var left atomic.Int64
	left.Store(12 << 20)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &cutter{w, &left, func() { cancel(io.ErrClosedPipe) }}
	}
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) { o.Connections = 2 })
	if res.State != StatePartial || !res.Interrupted || len(res.Left) != 0 {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); !m.Footprint.Clean {
		t.Errorf("footprint %+v", m.Footprint)
	}
}

// metered counts what passes, and keeps the most that was ahead of a rate.
type metered struct {
	io.Writer
	m *meter
}

type meter struct {
	mu    sync.Mutex
	rate  float64
	begun time.Time
	bytes float64
	ahead float64
}

func (w *metered) Write(p []byte) (int, error) {
	m := w.m
	m.mu.Lock()
	if m.begun.IsZero() {
		m.begun = time.Now()
	}
	m.bytes += float64(len(p))
	m.ahead = max(m.ahead, m.bytes-m.rate*time.Since(m.begun).Seconds())
	m.mu.Unlock()
	return w.Writer.Write(p)
}

// TestKcoreLimit: pieces that are read ahead come at the rate too, from the first one on.
func TestKcoreLimit(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	const rate = 8 << 20
	m := &meter{rate: rate}
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return &metered{w, m}
	}
	dir := t.TempDir()
	began := time.Now()
	f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.LimitRate, o.Connections = rate, 4 }))
	if d := time.Since(began); d < time.Duration(float64(len(f.image))/rate*0.9*float64(time.Second)) {
		t.Errorf("%d bytes took %s", len(f.image), d)
	}
	if m.ahead > rate { // pieces of a quarter of a second, on four connections
		t.Errorf("%.0f bytes came before their time", m.ahead)
	}
}

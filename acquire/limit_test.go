package acquire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

func TestParseRate(t *testing.T) {
	for s, want := range map[string]int64{
		"50MB": 50e6, "50MB/s": 50e6, "50 mb/s": 50e6, "1.5MiB": 3 << 19, "400Mbit/s": 50e6, "1GiB/s": 1 << 30, "64KiB": MinRate, "1Gbit": 125e6,
		"50": 0, "": 0, "MB": 0, "-1MB": 0, "0MB": 0, "63KiB": 0, "1B": 0, "NaNMB": 0, "InfMB": 0, "1e30GB": 0, "50 MB per s": 0, "8M": 0, "50MBit/s": 625e4,
	} {
		if got, err := ParseRate(s); got != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
}

// TestLimitedReader: bytes arrive whole, at the rate, and the first at once.
func TestLimitedReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := bytes.Repeat([]byte("memory!!"), 10<<20/8)
		began := time.Now()
		l := newPacer(newLimit(1<<20), nil)
		r := limited(t.Context(), bytes.NewReader(data), l)
		first := make([]byte, 1<<20)
		n, err := r.Read(first)
		if n != limitChunk || err != nil || time.Since(began) != 0 {
			t.Errorf("%d bytes after %s: %v", n, time.Since(began), err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(append(first[:n], rest...), data) || l.waiting() {
			t.Errorf("%d bytes, %v", len(rest), err)
		}
		if d := time.Since(began); d < 9*time.Second || d > 10*time.Second {
			t.Errorf("10 MiB at 1 MiB/s took %s", d)
		}
	})
}

// TestLimitTotal: hosts share a limit evenly, and one that has a limit of its own leaves the rest
// to the others.
func TestLimitTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := newLimit(4 << 20)
		var wg sync.WaitGroup
		var took [3]time.Duration
		began := time.Now()
		for i, own := range []*rate.Limiter{nil, nil, newLimit(1 << 20)} {
			wg.Go(func() {
				r := limited(t.Context(), io.LimitReader(zeros{}, 10<<20), newPacer(own, total))
				if n, err := io.Copy(io.Discard, r); n != 10<<20 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				took[i] = time.Since(began)
			})
		}
		wg.Wait()
		for i, want := range []time.Duration{20 * time.Second / 3, 20 * time.Second / 3, 10 * time.Second} {
			if d := took[i] - want; d.Abs() > time.Second {
				t.Errorf("stream %d took %s, want %s", i, took[i], want)
			}
		}
	})
}

// TestLimitTurns: a host of many connections has no more of what all share than one of a single connection. Who gives up does not wait for its turn.
func TestLimitTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		total := newLimit(4 << 20)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		var got [2]atomic.Int64
		for host, connections := range []int{1, 8} {
			p := newPacer(total)
			for range connections {
				wg.Go(func() {
					for p.pay(ctx, 1<<20) == nil {
						got[host].Add(1 << 20)
					}
				})
			}
		}
		began := time.Now()
		wg.Wait()
		if d := time.Since(began); d > 11*time.Second {
			t.Errorf("ended after %s", d)
		}
		for host := range got {
			if n := got[host].Load(); n < 14<<20 || n > 22<<20 {
				t.Errorf("host %d had %d MiB of 40 MiB", host, n>>20)
			}
		}
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestLimitEnds: an error comes through, and a wait ends with its context, for its cause.
func TestLimitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := errors.New("the end")
		r := limited(t.Context(), iotest.ErrReader(want), newPacer(newLimit(MinRate)))
		if _, err := r.Read(make([]byte, 1)); err != want {
			t.Error(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		l := newPacer(newLimit(MinRate))
		r = limited(ctx, zeros{}, l)
		done := make(chan error)
		go func() { _, err := io.Copy(io.Discard, r); done <- err }()
		synctest.Wait()
		if !l.waiting() {
			t.Error("it does not wait")
		}
		cancel(want)
		if err := <-done; err != want {
			t.Errorf("%v", err)
		}
	})
	if r := limited(t.Context(), zeros{}, newPacer(nil, newLimit(0))); r != (zeros{}) {
		t.Error("without a limit there is a reader in between")
	}
}

// TestLimitIsNoStall: a stream that waits for its limit longer than the stall timeout goes on.
func TestLimitIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var events int
		o := Options{StallTimeout: 30 * time.Second, Observer: func(Event) { events++ }}.withDefaults()
		c := &capture{step: &Step{Host: "a"}, h: &remote{name: "a", opts: &o}, opts: &o}
		ctx, cancel := context.WithCancelCause(t.Context())
		limit := newLimit(MinRate)
		limit.ReserveN(time.Now(), limit.Burst())
		for range 600 { // others stand in line before us for ten minutes
			limit.ReserveN(time.Now(), MinRate)
		}
		c.h.pace = newPacer(limit)
		r := limited(ctx, zeros{}, c.h.pace)
		p := &pipeline.Progress{}
		p.Reading.Store(true)
		done := make(chan struct{})
		go func() { defer close(done); c.watch(ctx, cancel, p, nil) }()
		r.Read(make([]byte, limitChunk))
		p.RawBytes.Store(limitChunk)
		r.Read(make([]byte, limitChunk)) // ten minutes
		if ctx.Err() != nil || events != 0 || len(c.stalls) != 0 {
			t.Errorf("a limit counts as a stall: %v, %d events, %v", context.Cause(ctx), events, c.stalls)
		}
		time.Sleep(time.Minute) // the source, though, gives nothing
		<-done
		if _, ok := context.Cause(ctx).(*errStalled); !ok {
			t.Errorf("a stall was not seen: %v", context.Cause(ctx))
		}
	})
}

// TestPacer: who asks for more than comes at once waits as long as it takes, and others that share
// the limit get their turns meanwhile.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newLimit(1 << 20)
		limit.WaitN(t.Context(), limit.Burst())
		began := time.Now()
		var small time.Duration
		var wg sync.WaitGroup
		big := newPacer(limit)
		wg.Go(func() {
			if err := big.pay(t.Context(), 8<<20); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			newPacer(limit).pay(t.Context(), 1<<20)
			small = time.Since(began)
		})
		synctest.Wait()
		if !big.waiting() {
			t.Error("it does not wait")
		}
		wg.Wait()
		if d := time.Since(began); (d-9*time.Second).Abs() > time.Second || (small-2*time.Second).Abs() > time.Second {
			t.Errorf("9 MiB at 1 MiB/s took %s, and the 1 MiB of them %s", d, small)
		}
	})
}

// TestLeastRate: a source that brings some bytes now and then never stalls, and is given up all
// the same. What waits for us, or was away for less than the stall timeout, is not.
func TestLeastRate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		least int64
		play  func(c *capture, p *pipeline.Progress)
		slow  bool
	}{
		{"a byte every second", 0, func(c *capture, p *pipeline.Progress) {
			for range 3600 {
				time.Sleep(time.Second)
				p.RawBytes.Add(1)
			}
		}, true},
		{"that is enough", 1, func(c *capture, p *pipeline.Progress) {
			for range 3600 {
				time.Sleep(time.Second)
				p.RawBytes.Add(2)
			}
		}, false},
		{"off", -1, func(c *capture, p *pipeline.Progress) {
			for range 3600 {
				time.Sleep(time.Second)
				p.RawBytes.Add(1)
			}
		}, false},
		{"the sink is slow", 0, func(c *capture, p *pipeline.Progress) {
			p.Reading.Store(false)
			time.Sleep(time.Hour)
			p.Reading.Store(true)
			for range 300 {
				time.Sleep(time.Second)
				p.RawBytes.Add(100e3)
			}
		}, false},
		{"the link is away for a while", 0, func(c *capture, p *pipeline.Progress) {
			for range 3 {
				for range 330 {
					time.Sleep(time.Second)
					p.RawBytes.Add(30e3)
				}
				time.Sleep(270 * time.Second)
			}
		}, false},
		{"a limit holds it up", 0, func(c *capture, p *pipeline.Progress) {
			c.h.pace.paying.Add(1)
			time.Sleep(time.Hour)
			c.h.pace.paying.Add(-1)
			for range 300 {
				time.Sleep(time.Second)
				p.RawBytes.Add(100e3)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{LeastRate: tt.least}.withDefaults()
				c := &capture{step: &Step{Host: "a"}, h: &remote{name: "a", opts: &o, pace: newPacer()}, opts: &o}
				ctx, cancel := context.WithCancelCause(t.Context())
				p := &pipeline.Progress{}
				p.Reading.Store(true)
				done := make(chan struct{})
				go func() { defer close(done); c.watch(ctx, cancel, p, nil) }()
				tt.play(c, p)
				slow, ok := context.Cause(ctx).(*errSlow)
				if ok != tt.slow || (ctx.Err() != nil) != tt.slow {
					t.Errorf("%v", context.Cause(ctx))
				}
				if ok && (slow.rate > 10e3 || slow.span != 2*o.StallTimeout) {
					t.Errorf("%+v", slow)
				}
				cancel(nil)
				<-done
			})
		})
	}
}

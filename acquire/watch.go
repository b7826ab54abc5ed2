package acquire

import (
	"context"
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// stallShown is the pause after which a stall is told and recorded.
const stallShown = 10 * time.Second

// errStalled ends a stream in which nothing moved.
type errStalled struct{ after time.Duration }

func (e *errStalled) Error() string { return fmt.Sprintf("no byte came for %s", e.after) }
func (e *errStalled) Hint() string {
	return "check the link and the target; a longer --stall-timeout waits longer"
}

// errSlow ends a stream that brings too little for too long.
type errSlow struct {
	rate float64 // bytes per second
	span time.Duration
}

func (e *errSlow) Error() string {
	return fmt.Sprintf("only %.1f kB/s came in the last %s", e.rate/1e3, e.span)
}
func (e *errSlow) Hint() string {
	return "check the link and the target; a lower --min-rate, or off, lets it go on"
}

// arrived counts the bytes that came from st, those that wait for their turn included.
func arrived(st interruptible, p *pipeline.Progress) int64 {
	if r, ok := st.(interface{ Received() int64 }); ok {
		return r.Received()
	}
	return p.RawBytes.Load()
}

// A window measures how many bytes came over a span of time in which the source was waited for.
type window struct {
	span    time.Duration
	time    time.Duration // so far
	samples []struct {
		at    time.Duration
		bytes int64
	}
}

// add notes that so much more time has passed, and how many bytes there are now.
func (w *window) add(d time.Duration, bytes int64) {
	w.time += d
	w.samples = append(w.samples, struct {
		at    time.Duration
		bytes int64
	}{w.time, bytes})
	for len(w.samples) > 1 && w.samples[1].at <= w.time-w.span {
		w.samples = w.samples[1:]
	}
}

// rate is bytes per second over the span; full says that so much time has passed.
func (w *window) rate() (r float64, full bool) {
	if len(w.samples) < 2 {
		return 0, false
	}
	first, last := w.samples[0], w.samples[len(w.samples)-1]
	if last.at-first.at < w.span {
		return 0, false
	}
	return float64(last.bytes-first.bytes) / (last.at - first.at).Seconds(), true
}

// watch tells of stalls, and ends the stream after the stall timeout, or when it is slower than
// the least rate for twice that time. A stall
// by itself is not an end, and a stream that waits for its rate limit does not stall. While the sink
// takes nothing, processes do not stay frozen for longer than the patience; nor for longer than twice that
// while it takes less than MinRate.
func (c *capture) watch(ctx context.Context, cancel context.CancelCauseFunc, p *pipeline.Progress, st interruptible) {
	defer c.startThaw(nil) // nothing more is read, though what was may wait for the sink
	name := host(c.step.Host)
	t := time.NewTicker(min(time.Second, c.opts.StallTimeout/4))
	defer t.Stop()
	begin, bytes := time.Now(), int64(0)
	changed, blocked := begin, begin // since when the source, and the sink, have not moved
	stalled, told := false, false
	var longest time.Duration
	recent, ticked := window{span: 2 * c.opts.StallTimeout}, begin
	taken := window{span: 2 * c.opts.patience()} // while the sink was waited for
	for {
		select {
		case <-ctx.Done():
			if stalled {
				c.stalls = append(c.stalls, longest)
			}
			return
		case <-t.C:
		}
		now := time.Now()
		if x, ok := st.(interface{ Whole() bool }); ok && x.Whole() { // it may wait here for the sink
			c.startThaw(nil)
		}
		if n := arrived(st, p); n != bytes {
			changed, bytes, blocked, told = now, n, now, false
		}
		if c.h.pace.waiting() {
			changed, blocked = now, now
		}
		reading := p.Reading.Load()
		switch {
		case c.h.pace.waiting():
		case reading:
			recent.add(now.Sub(ticked), bytes)
		default:
			taken.add(now.Sub(ticked), bytes)
		}
		ticked = now
		if rate, full := recent.rate(); full && rate < float64(c.opts.LeastRate) {
			c.h.mark("gave up: %.0f bytes per second came in the last %s", rate, recent.span)
			cancel(&errSlow{rate, recent.span})
			return
		}
		if !reading { // our own side is slow: no reason to give up
			waited := now.Sub(blocked)
			if waited >= c.opts.patience() {
				c.startThaw(&EarlyThaw{Byte: p.RawBytes.Load(), Waited: waited})
			}
			if rate, full := taken.rate(); full && rate < MinRate {
				c.startThaw(&EarlyThaw{Byte: p.RawBytes.Load(), Waited: taken.span, Rate: rate})
			}
			if waited >= stallShown && !told {
				told = true
				c.h.mark("the sink took no byte for %s", waited.Round(time.Second))
				c.opts.Observer(Problem{name, fmt.Errorf("%s has taken no byte for %s; the target waits, nothing is lost", c.opts.Sink, waited.Round(time.Second))})
			}
			changed = now
			continue
		}
		blocked = now
		quiet := now.Sub(changed)
		switch {
		case quiet >= c.opts.StallTimeout:
			c.stalls = append(c.stalls, quiet)
			c.h.mark("gave up after %s without a byte", quiet.Round(time.Second))
			cancel(&errStalled{quiet.Round(time.Second)})
			return
		case quiet >= stallShown:
			if !stalled {
				c.h.mark("no byte for %s", quiet.Round(time.Second))
				c.opts.Observer(Stalled{name, quiet, c.opts.StallTimeout})
			}
			stalled, longest = true, quiet
		case stalled:
			stalled = false
			c.stalls = append(c.stalls, longest)
			c.h.mark("bytes flow again after %s", longest.Round(time.Second))
			c.opts.Observer(Resumed{name, longest})
		}
	}
}

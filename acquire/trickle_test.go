package acquire

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// TestFreezeSinkTrickles: a destination that takes some bytes now and then does not hold up the target for longer than one that takes none. One
// that is only slow does, and so does what is slow because of the link or a limit.
func TestFreezeSinkTrickles(t *testing.T) {
	const lease = 30 * time.Second
	// each plays a second of the destination's.
	steady := func(bytes int64) func(int, *capture, *pipeline.Progress) {
		return func(_ int, _ *capture, p *pipeline.Progress) { p.RawBytes.Add(bytes) }
	}
	for name, tt := range map[string]struct {
		play  func(second int, c *capture, p *pipeline.Progress)
		after time.Duration // it is let go on then; 0: never
		took  string
	}{
		"some bytes":                {steady(1000), 2 * lease, "only 1.0 kB/s for 1m0s"},
		"a little less than enough": {steady(MinRate - 1), 2 * lease, "only 65.5 kB/s for 1m0s"},
		"enough":                    {steady(MinRate), 0, ""},
		"nothing":                   {steady(0), lease, "no byte for 30s"},
		"a block every 20 seconds": {func(n int, _ *capture, p *pipeline.Progress) {
			if n%20 == 19 {
				p.RawBytes.Add(1 << 20)
			}
		}, 2 * lease, "only 5"},
		"enough in blocks": {func(n int, _ *capture, p *pipeline.Progress) {
			if n%20 == 19 {
				p.RawBytes.Add(2 << 20)
			}
		}, 0, ""},
		"first fast": {func(n int, _ *capture, p *pipeline.Progress) {
			p.RawBytes.Add(1000)
			if n < 100 {
				p.RawBytes.Add(10 << 20)
			}
		}, 100*time.Second + 2*lease, "only "},
		"the link is slow": {func(n int, _ *capture, p *pipeline.Progress) {
			p.RawBytes.Add(20e3)
			p.Reading.Store(n%10 > 0) // the sink takes its time for a tenth of it
		}, 0, ""},
		"a limit is low": {func(n int, c *capture, p *pipeline.Progress) {
			if p.RawBytes.Add(1000); n == 0 {
				c.h.pace.paying.Add(1)
			}
		}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := Options{FreezeLease: lease}.withDefaults()
				h := &remote{name: "a", opts: &o, pace: newPacer(), clock: newSteadyClock(time.Now)}
				orders, in := io.Pipe()
				go io.Copy(io.Discard, orders) //nolint:errcheck // ends with the agent
				f := &freezer{h: h, seen: make(chan struct{}), a: &agent{in: in, cancel: func() {}, beats: make(chan struct{}), reports: make(chan report)}}
				close(f.seen)
				close(f.a.reports)
				c := &capture{step: &Step{Host: "a"}, h: h, opts: &o, freezer: f}
				ctx, cancel := context.WithCancelCause(t.Context())
				p := &pipeline.Progress{}
				began, done := time.Now(), make(chan struct{})
				go func() { defer close(done); c.watch(ctx, cancel, p, nil) }()
				for n := range 1800 {
					time.Sleep(time.Second)
					synctest.Wait()
					tt.play(n, c, p)
				}
				f.mu.Lock()
				use := f.use
				f.mu.Unlock()
				if after := use.Thawing.Sub(began); (tt.after == 0) != use.Thawing.IsZero() || tt.after > 0 && (after < tt.after || after > tt.after+3*time.Second) {
					t.Errorf("let go on after %s, want %s", after, tt.after)
				}
				if tt.after > 0 && (use.Early == nil || use.Early.Byte == 0 != (tt.took[:2] == "no") || !strings.HasPrefix(use.Lost, "the destination took "+tt.took) || use.Early.Rate >= MinRate) {
					t.Errorf("%+v: %s", use.Early, use.Lost)
				}
				if tt.after == 0 && use.Early != nil || ctx.Err() != nil {
					t.Errorf("%+v, %v", use.Early, context.Cause(ctx))
				}
				cancel(nil)
				<-done
				f.thawing.Wait()
			})
		})
	}
}

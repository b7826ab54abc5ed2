package main

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// killed runs the function and has it die at its n-th call that changes something, before or after that has its effect.
func (w *world) killed(n int, after bool, payload []byte) (died bool) {
	ctx, cancel := context.WithCancelCause(w.Context())
	defer cancel(nil)
	w.cloud.Reset()
	var once sync.Once
	w.cloud.Edit(func() {
		w.cloud.Died = func() { once.Do(func() { died = true; cancel(errKilled) }) }
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault { return awsfake.Fault{Crash: c.Write == n, After: after} }
	})
	w.dead = func() error { return context.Cause(ctx) }
	if _, err := w.f.Invoke(ctx, payload); err == nil && died {
		w.Errorf("call %d: killed, and no error", n)
	}
	w.dead = nil
	w.cloud.Edit(func() { w.cloud.Fault, w.cloud.Died = nil, nil })
	w.cloud.Revive()
	return died
}

// Killed at each call in turn, and delivered again: contained, with what it was before in the journal.
func TestCrashThenRedelivery(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		n := 1
		for died := true; died; n++ {
			w := newWorld(t)
			before := w.state()
			contain := w.ask("m-1", w.hostARN())
			died = w.killed(n, after, contain)
			w.want(contain, "", "")
			w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
			w.want(w.ask("m-2", w.hostARN(), "Action", "release"), "", "")
			if got := w.state(); got != before {
				t.Fatalf("call %d, after=%v: released it is\n%s\nwas\n%s", n, after, got, before)
			}
		}
		if n < 10 {
			t.Errorf("only %d calls", n-1)
		}
	}
}

// Killed at each call of a release, and delivered again: as before.
func TestCrashInRelease(t *testing.T) {
	t.Parallel()
	for n, died := 1, true; died; n++ {
		w := newWorld(t)
		before := w.state()
		w.want(w.ask("m-1", w.hostARN()), "", "")
		w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
		release := w.ask("m-2", w.hostARN(), "Action", "release")
		died = w.killed(n, n%2 == 0, release)
		w.want(release, "", "")
		if got := w.state(); got != before {
			t.Fatalf("call %d: released it is\n%s\nwas\n%s", n, got, before)
		}
	}
}

// Out of time at each call in turn: the journal is whole and nothing stands open; the message, delivered again, finishes it.
func TestOutOfTime(t *testing.T) {
	t.Parallel()
	stopped := 0
	for n, more := 1, true; more; n++ {
		w := newWorld(t)
		before := w.state()
		var end context.CancelCauseFunc
		w.f.limit = func(ctx context.Context) (context.Context, context.CancelFunc) {
			soft, cancel := context.WithCancelCause(ctx)
			end = cancel
			return soft, func() { cancel(nil) }
		}
		more = false
		w.cloud.Edit(func() {
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if c.Write == n {
					more = true
					end(errTime)
				}
				return awsfake.Fault{}
			}
		})
		m := w.ask("m-1", w.hostARN())
		kind, text := w.deliver(m)
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		if more {
			if kind == "" { // it was the last, and the rest was done
				continue
			}
			stopped++
			if kind != "Unfinished" {
				t.Fatalf("call %d: %s: %s", n, kind, text)
			}
			if r := w.last(); !r.Again || r.Journal == "" {
				t.Errorf("call %d: %+v", n, r)
			}
			w.entries()
			w.cloud.Edit(func() {
				for _, id := range w.eni.Groups {
					if g := w.reg.Groups[id]; g.Name != "web" && len(g.Rules) > 0 {
						t.Errorf("call %d: left in %s, which lets everything pass", n, g.Name)
					}
				}
			})
		}
		// A flow that was not given the time to become untracked stays a residual: that is true, and told.
		if kind, text := w.deliver(m); kind != "" && (kind != "NotContained" || text != "the outcome is residual") {
			t.Fatalf("call %d: %s: %s", n, kind, text)
		}
		w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
		w.want(w.ask("m-2", w.hostARN(), "Action", "release"), "", "")
		if got := w.state(); got != before {
			t.Fatalf("call %d: released it is\n%s\nwas\n%s", n, got, before)
		}
	}
	if stopped < 5 {
		t.Errorf("stopped %d times", stopped)
	}
}

// Two deliveries at once: one may lose, with an error; delivered again, it is contained, once.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.state()
	m := w.ask("m-1", w.alice.ARN)
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() { w.f.Invoke(t.Context(), m) }) //nolint:errcheck // either may be busy
	}
	g.Wait()
	w.want(m, "", "")
	w.entries()
	w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
	w.want(w.ask("m-2", w.alice.ARN, "Action", "release"), "", "")
	if got := w.state(); got != before {
		t.Errorf("released it is\n%s\nwas\n%s", got, before)
	}
}

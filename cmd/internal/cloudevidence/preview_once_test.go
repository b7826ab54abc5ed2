package cloudevidence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What has one answer for all has a time of its own: neither an instance whose time ends meanwhile spoils it for the others, nor one whose time is over.
func TestAskOnceFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run, end := context.WithCancel(t.Context())
		defer end()
		p, asked := &Previewer{}, 0
		ask := func(ctx context.Context, question string, takes time.Duration) error {
			return askOnceFor(ctx, p, question, func(ctx context.Context) error {
				asked++
				select {
				case <-ctx.Done():
					return ctx.Err()
				case <-time.After(takes):
					return nil
				}
			})
		}
		instance := func(left time.Duration) context.Context {
			ctx, cancel := context.WithTimeout(context.WithValue(run, runKey{}, run), left)
			t.Cleanup(cancel)
			return ctx
		}
		if err := ask(instance(0), "a", time.Second); err == nil {
			t.Error("it was asked for one whose time is over")
		}
		if err := ask(instance(time.Second), "a", 30*time.Second); err != nil {
			t.Errorf("the first, whose time ends: %v", err)
		}
		if err := ask(instance(0), "a", time.Second); err != nil || asked != 2 {
			t.Errorf("the next, after %d questions: %v", asked, err)
		}
		start := time.Now()
		if err := ask(instance(time.Second), "b", time.Hour); err == nil || time.Since(start) != itemTime {
			t.Errorf("after %s: %v", time.Since(start), err)
		}
		time.AfterFunc(time.Second, end)
		start = time.Now()
		if err := ask(instance(time.Minute), "c", time.Hour); err == nil || time.Since(start) != time.Second {
			t.Errorf("the run ended: after %s: %v", time.Since(start), err)
		}
	})
}

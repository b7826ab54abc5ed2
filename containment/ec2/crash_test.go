package ec2_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// kill has the program die at its n-th call that changes something, before or after that has its effect: nothing is
// answered from there on, and the journal is not written any more.
func (w *world) kill(n int, after bool, run func(context.Context, *containment.Engine)) (died bool) {
	ctx, cancel := context.WithCancelCause(w.t.Context())
	defer cancel(nil)
	w.cloud.Reset()
	var once sync.Once
	w.cloud.Edit(func() {
		w.cloud.Died = func() { once.Do(func() { died = true; cancel(errKilled) }) }
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			return awsfake.Fault{Crash: c.Write == n, After: after}
		}
	})
	w.logs.dead = func() error { return context.Cause(ctx) }
	run(ctx, w.engine())
	w.logs.dead = nil
	w.cloud.Edit(func() { w.cloud.Fault, w.cloud.Died = nil, nil })
	w.cloud.Revive()
	return died
}

// TestCrash kills a containment at each call in turn, before and after its effect. Resumed and released, or released at once,
// everything is as it was.
func TestCrash(t *testing.T) {
	for _, after := range []bool{false, true} {
		t.Run(fmt.Sprintf("after=%v", after), func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; crashOnce(t, n, after, n%2 == 0 == after); n++ { // each call resumed one way, released the other
			}
			if n < 20 {
				t.Errorf("only %d calls: what was contained?", n-1)
			}
		})
	}
}

func crashOnce(t *testing.T, n int, after, resume bool) bool {
	w := newWorld(t)
	before := w.snapshot()
	o := w.all()
	o.UntrackWait = short
	plan := w.plan(o)
	name := containment.JournalName(caseID, plan.Target)
	died := w.kill(n, after, func(ctx context.Context, e *containment.Engine) {
		if _, err := e.Apply(ctx, plan, containment.ApplyOptions{}); err == nil && ctx.Err() != nil {
			t.Errorf("call %d: killed, and no error", n)
		}
	})
	w.whole(name)
	if resume || !died {
		res, err := w.engine().Resume(t.Context(), name, containment.ApplyOptions{})
		if err != nil || res.Outcome != containment.Unverified {
			t.Fatalf("call %d: resume: %v\n%s", n, err, status(res))
		}
	}
	rel := w.release(name, containment.ReleaseOptions{})
	if rel.Outcome != containment.Released {
		t.Fatalf("call %d: release: %s", n, status(rel))
	}
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Fatalf("call %d: not as before:\n%s", n, diff)
	}
	return died
}

// TestCrashInRelease kills a release at each call; another one finishes it.
func TestCrashInRelease(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			before := w.snapshot()
			o := w.all()
			o.UntrackWait = short
			res := w.contain(o, containment.ApplyOptions{})
			died := w.kill(n, after, func(ctx context.Context, e *containment.Engine) {
				e.Release(ctx, res.Journal, containment.ReleaseOptions{}) //nolint:errcheck // it is killed
			})
			rel := w.release(res.Journal, containment.ReleaseOptions{})
			if rel.Outcome != containment.Released {
				t.Fatalf("call %d, after=%v: %s", n, after, status(rel))
			}
			if diff := cmp.Diff(before, w.snapshot()); diff != "" {
				t.Fatalf("call %d, after=%v: not as before:\n%s", n, after, diff)
			}
			if !died {
				break
			}
		}
	}
}

// A journal of a build that called the credentials' policy otherwise is released as well.
func TestOldKind(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	res := w.contain(containment.Options{UntrackWait: short}, containment.ApplyOptions{})
	var old []byte
	prev := ""
	for _, e := range w.whole(res.Journal) {
		e.Prev = prev
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		line = bytes.ReplaceAll(line, []byte("iam/role-policy"), []byte("ec2/credential-deny"))
		prev = fmt.Sprintf("%x", sha256.Sum256(line))
		old = append(append(old, line...), '\n')
	}
	if !bytes.Contains(old, []byte("ec2/credential-deny")) {
		t.Fatal("there is no such item")
	}
	w.logs.logs[res.Journal] = old
	st, err := w.engine().Status(t.Context(), res.Journal)
	if err != nil || st.Outcome != containment.Unverified {
		t.Errorf("%v: %s", err, status(st))
	}
	rel := w.release(res.Journal, containment.ReleaseOptions{})
	if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
		t.Errorf("%s\n%s", status(rel), diff)
	}
}

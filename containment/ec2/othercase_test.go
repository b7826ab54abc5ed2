package ec2_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
)

// other contains the world's instance for another case.
func (w *world) other(ctx context.Context) (*containment.Plan, *containment.Result) {
	w.t.Helper()
	e := w.engine()
	p, err := e.Plan(ctx, w.target, containment.Options{Case: "other", UntrackWait: short})
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := e.Apply(ctx, p, containment.ApplyOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return p, res
}

// open reports whether the interface is in the group that lets everything pass.
func (w *world) open() bool {
	return slices.ContainsFunc(w.eni().Groups, func(id string) bool { return w.region.Groups[id].Name == "shotglass-untrack" })
}

// Two cases contain one instance: the second begins while the first waits in the group that lets everything pass. Neither release opens
// the instance to all, in any order, and the first gives back what was before.
func TestOtherCaseMeanwhile(t *testing.T) {
	for _, force := range []bool{false, true} {
		t.Run(fmt.Sprint("force=", force), func(t *testing.T) {
			w := newWorld(t)
			web := slices.Clone(w.eni().Groups)
			first, e := w.plan(containment.Options{}), w.engine()
			var second *containment.Result
			e.Sleep = func(ctx context.Context, d time.Duration) error {
				if second == nil && d > 30*time.Second {
					var p *containment.Plan
					p, second = w.other(ctx)
					if !slices.ContainsFunc(p.Warnings, func(s string) bool { return strings.Contains(s, `of the case "case-42"`) }) {
						t.Errorf("no warning: %q", p.Warnings)
					}
				}
				return w.sleep(ctx, d)
			}
			res, err := e.Apply(t.Context(), first, containment.ApplyOptions{})
			if err != nil || res.Outcome != containment.Unverified || strings.Contains(status(res), "residual open") {
				t.Errorf("the first: %v, %s", err, status(res))
			}
			rel := w.release(second.Journal, containment.ReleaseOptions{Force: force})
			if rel.Outcome != containment.Conflict || !strings.Contains(status(rel), "lets everything pass") || w.open() {
				t.Errorf("the second is released: open %v: %s", w.open(), status(rel))
			}
			if rel := w.release(res.Journal, containment.ReleaseOptions{}); rel.Outcome != containment.Released || !slices.Equal(w.eni().Groups, web) {
				t.Errorf("the first is released: %v: %s", w.eni().Groups, status(rel))
			}
			// What is left of the second is taken off by force, and changes nothing.
			rel = w.release(second.Journal, containment.ReleaseOptions{Force: true})
			if rel.Outcome != containment.Released || !slices.Equal(w.eni().Groups, web) {
				t.Errorf("the second is released again: %v: %s", w.eni().Groups, status(rel))
			}
			if st, err := w.engine().Status(t.Context(), second.Journal); err != nil || st.Outcome != containment.Free {
				t.Errorf("%v: %s", err, status(st))
			}
		})
	}
}

// dieOpen has a containment killed while flows have their time.
func (w *world) dieOpen(p *containment.Plan) {
	w.t.Helper()
	e := w.engine()
	ctx, cancel := context.WithCancelCause(w.t.Context())
	e.Sleep = func(ctx context.Context, d time.Duration) error {
		if d > 30*time.Second {
			w.logs.dead = func() error { return errKilled }
			cancel(errKilled)
		}
		return w.sleep(ctx, d)
	}
	e.Apply(ctx, p, containment.ApplyOptions{}) //nolint:errcheck // it is killed
	w.logs.dead = nil
	if !w.open() {
		w.t.Fatal("it is not open")
	}
}

// The first case is killed while the instance is open, and the second begins.
func TestOtherCaseAfterCrash(t *testing.T) {
	crashed := func(t *testing.T) (w *world, web []string, name string) {
		w = newWorld(t)
		web = slices.Clone(w.eni().Groups)
		first := w.plan(containment.Options{})
		w.dieOpen(first)
		return w, web, containment.JournalName(caseID, first.Target)
	}
	t.Run("release the first", func(t *testing.T) {
		w, web, name := crashed(t)
		if _, res := w.other(t.Context()); res.Outcome != containment.Unverified || w.open() {
			t.Errorf("%s", status(res))
		}
		if rel := w.release(name, containment.ReleaseOptions{}); !slices.Equal(w.eni().Groups, web) {
			t.Errorf("%v: %s", w.eni().Groups, status(rel))
		}
	})
	t.Run("resume the first", func(t *testing.T) {
		w, web, name := crashed(t)
		w.other(t.Context())
		res, err := w.engine().Resume(t.Context(), name, containment.ApplyOptions{})
		if err != nil || res.Outcome != containment.Unverified || w.open() {
			t.Errorf("%v: %s", err, status(res))
		}
		if st, err := w.engine().Status(t.Context(), name); err != nil || st.Outcome != containment.Unverified {
			t.Errorf("%v: %s", err, status(st))
		}
		if rel := w.release(name, containment.ReleaseOptions{}); !slices.Equal(w.eni().Groups, web) {
			t.Errorf("%v: %s", w.eni().Groups, status(rel))
		}
	})
	t.Run("the second is stopped and released", func(t *testing.T) {
		w, web, name := crashed(t)
		p, err := w.engine().Plan(t.Context(), w.target, containment.Options{Case: "other"})
		if err != nil {
			t.Fatal(err)
		}
		w.dieOpen(p)
		second := containment.JournalName("other", p.Target)
		for range 2 { // it says so each time
			if rel := w.release(second, containment.ReleaseOptions{}); rel.Outcome != containment.Conflict || !w.open() {
				t.Errorf("open %v: %s", w.open(), status(rel))
			}
			if st, err := w.engine().Status(t.Context(), second); err != nil || st.Outcome != containment.Partial || !strings.Contains(status(st), "residual open") {
				t.Errorf("%v: %s", err, status(st))
			}
		}
		if rel := w.release(name, containment.ReleaseOptions{}); !slices.Equal(w.eni().Groups, web) {
			t.Errorf("%v: %s", w.eni().Groups, status(rel))
		}
		if rel := w.release(second, containment.ReleaseOptions{}); rel.Outcome != containment.Released {
			t.Errorf("%s", status(rel))
		}
	})
}

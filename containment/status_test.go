package containment_test

import (
	"context"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
)

func status(t *testing.T, e *containment.Engine, want containment.Outcome) *containment.Result {
	t.Helper()
	s, err := e.Status(t.Context(), containment.JournalName("case-42", host))
	if err != nil || s.Outcome != want {
		t.Errorf("status %+v, %v; want %s", s, err, want)
	}
	return s
}

// The end of a run that was asked for some stages is not the end of all, nor is that of the run before one that was killed.
func TestStatusOfPart(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	contain(t, e, containment.ApplyOptions{Stages: []containment.Stage{containment.Protect, containment.Lock}})
	s := status(t, e, containment.Partial)
	left := 0
	for _, c := range s.Changes {
		if c.Status == "skipped" && strings.HasPrefix(c.ID, "eni-") && c.Stage == containment.Isolate {
			left++
		}
	}
	if left != 2 {
		t.Errorf("%d interfaces are said to be left, want 2: %+v", left, s.Changes)
	}
	// Killed between the groups.
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	a.undo = func(a *account) { a.dead = true }
	if _, err := e.Apply(t.Context(), p, containment.ApplyOptions{}); !errors.Is(err, errCrash) {
		t.Fatal(err)
	}
	a.undo = nil
	e = alive(a, j, e)
	if a.items["eni-1"] != `["sg-untrack"]` {
		t.Fatalf("the test is not at its point: %v", a.items)
	}
	s = status(t, e, containment.Partial)
	if n := len(s.Residuals); n != 2 || s.Residuals[0].Path != "open" {
		t.Errorf("residuals %+v", s.Residuals)
	}
	// Resumed, everything is applied, whatever the run before was asked for.
	r, err := e.Resume(t.Context(), s.Journal, containment.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, containment.Held, a, contained)
	status(t, e, containment.Held)
	// A part once more: the rest holds from before.
	contain(t, e, containment.ApplyOptions{Stages: []containment.Stage{containment.Lock}})
	status(t, e, containment.Held)
	release(t, e, containment.ReleaseOptions{})
	status(t, e, containment.Released)
	if _, err := e.Resume(t.Context(), s.Journal, containment.ApplyOptions{}); !strings.Contains(errString(err), "contain it anew") {
		t.Errorf("resumed a release: %v", err)
	}
	want(t, &containment.Result{}, "", a, free())
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What was locked before a capture is resumed to the end.
func TestResumePart(t *testing.T) {
	a := newAccount()
	e, _ := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{Stages: []containment.Stage{containment.Lock}})
	r, err := e.Resume(t.Context(), r.Journal, containment.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, r, containment.Held, a, contained)
}

// That flows were looked at once does not say it for now.
func TestStatusNeverVerified(t *testing.T) {
	a := newAccount()
	a.by = containment.ByFlows
	e, _ := engine(t, a)
	seen := func(context.Context) ([]containment.Residual, error) { return nil, nil }
	want(t, contain(t, e, containment.ApplyOptions{Flows: seen}), containment.Verified, a, contained)
	status(t, e, containment.Unverified)
}

// A call that had no effect is not ours: what an administrator sets later stays. One that nobody knows of is.
func TestReleaseAfterFailure(t *testing.T) {
	a := newAccount()
	a.deny["term"] = true
	e, _ := engine(t, a)
	contain(t, e, containment.ApplyOptions{})
	a.deny["term"], a.items["term"] = false, "true"
	m := free()
	m["term"] = "true"
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, m)

	a = newAccount()
	a.fail["term"], a.blind["term"] = true, true
	e, _ = engine(t, a)
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Partial, a, contained)
	a.fail, a.blind = nil, nil
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
}

// What was as wanted before is looked at by status, and left by release.
func TestAlready(t *testing.T) {
	a := newAccount()
	maps.Copy(a.items, contained)
	e, j := engine(t, a)
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	status(t, e, containment.Held)
	before, err := j.Load(t.Context(), containment.JournalName("case-42", host))
	if err != nil {
		t.Fatal(err)
	}
	contain(t, e, containment.ApplyOptions{}) // says nothing of it twice
	after, err := j.Load(t.Context(), containment.JournalName("case-42", host))
	if n := strings.Count(string(after[len(before):]), "\n"); err != nil || n != 2 {
		t.Errorf("%d lines more, want 2; %v", n, err)
	}
	a.items["policy"] = "null"
	s := status(t, e, containment.Partial)
	for _, c := range s.Changes {
		if (c.Status == "undone") != (c.ID == "policy") {
			t.Errorf("%s: %s", c.ID, c.Status)
		}
	}
	a.items["policy"] = contained["policy"]
	calls := a.calls
	want(t, release(t, e, containment.ReleaseOptions{Also: []string{"mem/key"}}), containment.Released, a, contained)
	if a.calls != calls {
		t.Errorf("release made %d calls", a.calls-calls)
	}
	status(t, e, containment.Free)
}

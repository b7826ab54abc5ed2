package containment_test

import (
	"context"
	"errors"
	"maps"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
)

// A run that is killed before it changes anything has no end: that of the run before it says nothing of now.
func TestStatusOfRunKilledAtOnce(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	contain(t, e, containment.ApplyOptions{})
	status(t, e, containment.Held)
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	j.diesAt = j.n + 2 // the first is its begin
	if _, err := e.Apply(t.Context(), p, containment.ApplyOptions{}); !errors.Is(err, errCrash) {
		t.Fatalf("it did not die: %v", err)
	}
	e = alive(a, j, e)
	status(t, e, containment.Partial)
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	status(t, e, containment.Held)
}

// Who has interrupted a run does not wait for an item that is not as wanted to become so.
func TestInterruptedLooksOnce(t *testing.T) {
	a := newAccount()
	e, _ := engine(t, a)
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancelCause(t.Context())
	a.refuse = func(id, _ string) bool {
		if id == "key" {
			a.items["term"] = "false" // somebody undoes it
			stop(errStop)
		}
		return false
	}
	began := a.clock()
	r, err := e.Apply(ctx, p, containment.ApplyOptions{})
	if !errors.Is(err, errStop) {
		t.Fatalf("not interrupted: %v", err)
	}
	if d := a.clock().Sub(began); d != 0 {
		t.Errorf("it waited for %s", d)
	}
	for _, c := range r.Changes {
		if c.ID == "term" && c.Status != "undone" {
			t.Errorf("%+v", c)
		}
	}
}

type errLost struct{}

func (errLost) Error() string         { return "connection reset by peer" }
func (errLost) ConnectionError() bool { return true }

// A call that nobody answered has its effect later, when all was read back: a release undoes it all the same.
func TestUnansweredCallLandsLate(t *testing.T) {
	for _, id := range []string{"term", "policy", "eni-1"} {
		for name, interrupted := range map[string]bool{"interrupted": true, "connection lost": false} {
			t.Run(id+" "+name, func(t *testing.T) {
				a := newAccount()
				before := maps.Clone(a.items)
				e, _ := engine(t, a)
				p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancelCause(t.Context())
				a.lose = func(of string) error {
					if of != id || a.land != nil {
						return nil
					}
					if interrupted {
						stop(errStop)
						return errStop
					}
					return errLost{}
				}
				a.undo = func(a *account) { // time passes
					if a.land != nil {
						a.land()
						a.undo = nil
					}
				}
				if _, err := e.Apply(ctx, p, containment.ApplyOptions{}); interrupted != errors.Is(err, errStop) {
					t.Fatal(err)
				}
				if a.undo != nil {
					a.land()
				}
				if a.undo = nil; a.items["eni-1"] == `["sg-untrack"]` {
					t.Error("left in the group that lets everything pass")
				}
				contain(t, e, containment.ApplyOptions{})
				if _, err := e.Release(t.Context(), containment.JournalName("case-42", host), containment.ReleaseOptions{Also: []string{"mem/key"}}); err != nil {
					t.Fatal(err)
				}
				if !maps.Equal(a.items, before) {
					t.Errorf("released it is %v, was %v", a.items, before)
				}
			})
		}
	}
}

package containment_test

import (
	"context"
	"errors"
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

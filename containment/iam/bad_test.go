package iam_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// Quotas: one of the policies is enough; if neither fits, the permissions boundary does it.
func TestQuotas(t *testing.T) {
	ten := make([]string, 10)
	for i := range ten {
		ten[i] = fmt.Sprint("arn:aws:iam::111122223333:policy/p", i)
	}
	long := `{"Version":"2012-10-17","Statement":[],"Id":"` + strings.Repeat("x", 1950) + `"}`
	for name, c := range map[string]struct {
		attached []string
		inline   string
		warning  string
	}{
		"ten policies attached": {attached: ten, warning: "AWSDenyAll does not fit"},
		"inline is full":        {inline: long, warning: "of at most 2048 characters"},
		"both":                  {attached: ten, inline: long, warning: "AWSDenyAll does not fit"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.attached != nil {
				w.alice.Attached = slices.Clone(c.attached)
			}
			if c.inline != "" {
				w.alice.Policies["long"] = c.inline
			}
			w.alice.Boundary = "arn:aws:iam::111122223333:policy/edge"
			before := w.states()
			p := w.plan("user/alice+ops", containment.Options{})
			if !strings.Contains(strings.Join(p.Warnings, "\n"), c.warning) {
				t.Errorf("no warning of the quota in %q", p.Warnings)
			}
			r := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: 30 * time.Second})
			w.outcome(r, containment.Held)
			if r.Tampering != 0 {
				t.Error("a quota is no tampering")
			}
			said := slices.ContainsFunc(r.Changes, func(c containment.ItemResult) bool { return strings.Contains(c.Error, "quota of IAM is used up") })
			if !said {
				t.Errorf("no quota is named: %s", asJSON(r.Changes))
			}
			if name == "both" && w.alice.Boundary != denyAll {
				t.Error("the boundary is " + w.alice.Boundary)
			}
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
			same(t, w.states(), before)
		})
	}
}

// deny has one permission missing from the nth call on, and returns a function that tells which, if it was asked for.
func (w *world) deny(n int) func() string {
	w.cloud.Reset()
	action := ""
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if action == "" && c.Seq == n {
				action = c.Action
			}
			if c.Action == action {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	return func() string { return action }
}

// A permission that is missing at each call in turn: a clear error, or a result that says what is not done; the
// journal is whole, and a release gives back what was.
func TestPermissionMissing(t *testing.T) {
	tag := containment.Options{QuarantineTag: "ms-ir-quarantine", Cuts: []string{iam.CutTrust}, Case: "case-42"}
	for _, x := range []struct {
		target string
		o      containment.Options
		least  int
		holds  func(*world) bool
	}{
		{"user/alice+ops", tag, 24, func(w *world) bool {
			return w.off() && (w.alice.Policies[iam.PolicyName] != "" || slices.Contains(w.alice.Attached, denyAll))
		}},
		{"role/web", tag, 18, func(w *world) bool {
			return w.web.Policies[iam.PolicyName] != "" || slices.Contains(w.web.Attached, denyAll)
		}},
		{"", containment.Options{KeyOnly: true, Case: "case-42"}, 6, func(w *world) bool { return w.key.Status == "Inactive" }},
	} {
		for n := 1; ; n++ {
			w := newWorld(t)
			before := w.states()
			denied := w.deny(n)
			target := x.target
			if target == "" {
				target = w.key.ID
			}
			p, err := w.engine.Plan(t.Context(), w.target(target), x.o)
			if err != nil {
				if !errors.Is(err, containment.ErrDenied) || !strings.Contains(err.Error(), denied()) {
					t.Errorf("%s denied: %v", denied(), err)
				}
				continue
			}
			planned := denied() != ""
			r, err := w.engine.Apply(t.Context(), p, containment.ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if denied() == "" {
				if n <= x.least {
					t.Errorf("%s: only %d calls", target, n-1)
				}
				break
			}
			if r.Outcome == containment.Held && !x.holds(w) {
				t.Errorf("%s denied: held: %s", denied(), w.states())
			}
			evidence := r.Outcome == containment.Held && !planned // it was read when the plan was made
			asked := strings.HasPrefix(denied(), "sts:") || denied() == "iam:GetAccountSummary"
			if !strings.Contains(asJSON(p)+asJSON(r), denied()) && !evidence && !asked {
				t.Errorf("%s: %s denied: nothing tells (%s)", target, denied(), r.Outcome)
			}
			w.cloud.Edit(func() { w.cloud.Fault = nil })
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
			w.journal(r.Journal)
			same(t, w.states(), before)
		}
	}
}

// A permission that is missing at each call of a release in turn: what stays is said, and the next release gives it back.
func TestReleasePermissionMissing(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		before := w.states()
		r := w.contain("user/alice+ops", containment.Options{QuarantineTag: "ms-ir-quarantine"}, containment.ApplyOptions{})
		denied := w.deny(n)
		back := w.release(r.Journal, allKinds...)
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		if denied() == "" {
			w.outcome(back, containment.Released)
			if n < 14 {
				t.Errorf("only %d calls", n-1)
			}
			return
		}
		w.outcome(back, containment.Partial)
		if !strings.Contains(asJSON(back), denied()) {
			t.Errorf("%s denied: nothing tells: %s", denied(), asJSON(back))
		}
		w.outcome(w.release(r.Journal, allKinds...), containment.Released)
		w.journal(r.Journal)
		same(t, w.states(), before)
	}
}

// Every call is throttled, and succeeds when tried again.
func TestThrottling(t *testing.T) {
	w := newWorld(t)
	seen := map[string]int{}
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if seen[c.Form.Encode()]++; seen[c.Form.Encode()]%2 == 1 {
			return awsfake.Fault{Error: &awsfake.Error{Code: "Throttling", Message: "Rate exceeded"}}
		}
		return awsfake.Fault{}
	}
	w.outcome(w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{}), containment.Held)
	if !w.denied(&w.alice.Entity) || !w.off() {
		t.Error("not contained")
	}
}

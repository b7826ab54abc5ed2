package ec2_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
)

// actions are those that containing the world's instance calls.
func actions(t *testing.T) []string {
	w := newWorld(t)
	o := w.all()
	o.UntrackWait = short
	w.contain(o, containment.ApplyOptions{})
	var all []string
	for _, c := range w.cloud.Calls() {
		all = append(all, c.Action)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestMissingPermission takes each permission away in turn: it is named, in an error, by the plan, as a failed item or as something that
// could not be looked for; and everything can be taken back.
func TestMissingPermission(t *testing.T) {
	for _, action := range actions(t) {
		w := newWorld(t)
		before := w.snapshot()
		o := w.all()
		o.UntrackWait, o.Case = short, caseID
		w.cloud.Edit(func() {
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if c.Action == action {
					return awsfake.Fault{Error: awsfake.Denied(c)}
				}
				return awsfake.Fault{}
			}
		})
		e := w.engine()
		p, err := e.Plan(t.Context(), w.target, o)
		if err != nil {
			if !errors.Is(err, containment.ErrDenied) || !strings.Contains(err.Error(), action) {
				t.Errorf("%s: plan: %v", action, err)
			}
			continue
		}
		res, err := e.Apply(t.Context(), p, containment.ApplyOptions{})
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		w.whole(res.Journal)
		// A tag is optional: it fails, and all else holds; so does all if nobody can be asked what is allowed.
		asking := action == "iam:SimulatePrincipalPolicy" || action == "sts:GetCallerIdentity"
		if good := res.Outcome == containment.Unverified; good != (asking || action == "ec2:CreateTags") || !strings.Contains(status(res)+strings.Join(p.Unchecked, "\n"), action) {
			t.Errorf("%s: not told: %s", action, status(res))
		}
		if _, service, _ := strings.Cut(action, ":"); strings.HasPrefix(action, "ec2:") && !strings.HasPrefix(service, "Describe") {
			asked := slices.ContainsFunc(p.Missing, func(d containment.Denial) bool { return d.Action == action }) ||
				strings.Contains(strings.Join(p.Unchecked, "\n"), action)
			if !asked {
				t.Errorf("%s: the plan says nothing: missing %v, unchecked %q", action, p.Missing, p.Unchecked)
			}
		}
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		rel := w.release(res.Journal, containment.ReleaseOptions{})
		if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
			t.Errorf("%s: %s\n%s", action, status(rel), diff)
		}
	}
}

// TestReleaseMissingPermission takes each permission away in turn from the release: what stays is told, and the next one gives it back.
func TestReleaseMissingPermission(t *testing.T) {
	o := containment.Options{UntrackWait: short, Cuts: []string{ec2.CutSubnet, ec2.CutPublicAddress}, Addresses: []string{"198.51.100.7"}}
	begin := func() (*world, string, string) {
		w := newWorld(t)
		before := w.snapshot()
		res := w.contain(o, containment.ApplyOptions{})
		w.cloud.Reset()
		return w, before, res.Journal
	}
	w, _, journal := begin()
	w.release(journal, containment.ReleaseOptions{})
	var all []string
	for _, c := range w.cloud.Calls() {
		all = append(all, c.Action)
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) < 15 {
		t.Errorf("a release calls %v alone", all)
	}
	for _, action := range all {
		w, before, journal := begin()
		w.cloud.Edit(func() {
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if c.Action == action {
					return awsfake.Fault{Error: awsfake.Denied(c)}
				}
				return awsfake.Fault{}
			}
		})
		rel := w.release(journal, containment.ReleaseOptions{})
		if rel.Outcome != containment.Partial || !strings.Contains(status(rel), action) {
			t.Errorf("%s: not told: %s", action, status(rel))
		}
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		rel = w.release(journal, containment.ReleaseOptions{})
		if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
			t.Errorf("%s: %s\n%s", action, status(rel), diff)
		}
		w.whole(journal)
	}
}

// TestNothingOpensWithoutTheOther: the group that opens all ports is not used unless there is the one that closes them.
func TestNothingOpensWithoutTheOther(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "RevokeSecurityGroupEgress" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	res := w.contain(containment.Options{}, containment.ApplyOptions{})
	if res.Outcome != containment.Partial || w.eni().Groups[0] != w.web.ID {
		t.Errorf("in %v: %s", w.eni().Groups, status(res))
	}
}

func TestThrottling(t *testing.T) {
	w := newWorld(t)
	throttled := 0
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Attempt < 5 { // more often than the SDK tries by default
				throttled++
				return awsfake.Fault{Error: awsfake.Throttled}
			}
			return awsfake.Fault{}
		}
	})
	if res := w.contain(containment.Options{}, containment.ApplyOptions{}); res.Outcome != containment.Unverified || throttled < 100 {
		t.Errorf("throttled %d times: %s", throttled, status(res))
	}
}

// TestLostAnswers has each change succeed without an answer once.
func TestLostAnswers(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			first := c.Write > 0 && c.Attempt == 1
			return awsfake.Fault{Lost: first, After: first}
		}
	})
	o := w.all()
	o.UntrackWait = short
	res := w.contain(o, containment.ApplyOptions{})
	if res.Outcome != containment.Unverified {
		t.Fatal(status(res))
	}
	if n := len(w.region.ACLs); n != 2 {
		t.Errorf("%d network ACLs", n)
	}
	for _, a := range w.region.ACLs {
		if n := len(a.Entries); a.Default && n != 8 { // four were there
			t.Errorf("%s has %d entries", a.ID, n)
		}
	}
	rel := w.release(res.Journal, containment.ReleaseOptions{})
	if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
		t.Errorf("%s\n%s", status(rel), diff)
	}
}

func TestRefusedTargets(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(*world)
		want string
		is   error
	}{
		"terminated":    {func(w *world) { w.host.State = "terminated" }, "is terminated", containment.ErrGone},
		"another id":    {func(w *world) { w.target.Name = "i-0fffffffffffffff0" }, "is not in the region", containment.ErrGone},
		"wrong region":  {func(w *world) { w.target.Region = "us-east-1" }, `is not in the region "us-east-1"`, containment.ErrGone},
		"region off":    {func(w *world) { w.region.Off = true }, "is not enabled for the account", nil},
		"wrong account": {func(w *world) { w.target.Account = "999999999999" }, "belongs to account 111122223333, not 999999999999", nil},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.Edit(func() { tt.make(w) })
			_, err := w.engine().Plan(t.Context(), w.target, containment.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestMeanwhile is what changes between contain and release.
func TestMeanwhile(t *testing.T) {
	for name, tt := range map[string]struct {
		make    func(*world)
		outcome containment.Outcome
		want    string
	}{
		"its group was deleted": {func(w *world) { delete(w.region.Groups, w.web.ID) }, containment.Partial, "no longer exists: make another"},
		"someone else opened it": {func(w *world) {
			g := w.region.AddGroup(w.vpc.ID, "debug", awsfake.All(false)...)
			w.region.Regroup(w.eni(), g.ID) //nolint:errcheck // it is there
		}, containment.Conflict, "neither as before nor as it was set"},
		"the interface was deleted":   {func(w *world) { delete(w.region.Interfaces, w.eni().ID) }, containment.Released, "gone"},
		"the instance was ended":      {func(w *world) { w.host.State = "terminated" }, containment.Released, "is terminated"},
		"the target group was":        {func(w *world) { clear(w.region.Targets) }, containment.Released, "targetgroup/web/0123456789abcdef no longer exists"},
		"the group is at its maximum": {func(w *world) { w.region.Scaling["web-asg"].Max = 1 }, containment.Partial, "maximum size"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			res := w.contain(containment.Options{UntrackWait: short}, containment.ApplyOptions{})
			w.cloud.Edit(func() { tt.make(w) })
			rel := w.release(res.Journal, containment.ReleaseOptions{})
			if rel.Outcome != tt.outcome || !strings.Contains(status(rel), tt.want) {
				t.Errorf("%s", status(rel))
			}
		})
	}
}

package iam_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// A role is denied everything, with who else uses it, and comes back as it was.
func TestRole(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	p := w.plan("arn:aws:iam::111122223333:role/service/web", containment.Options{})
	for _, part := range []string{"web-a, web-b", "ec2.amazonaws.com", "last used at 2026-11-22T02:00:00Z"} {
		if !strings.Contains(strings.Join(p.Warnings, "\n"), part) {
			t.Errorf("no %q in %q", part, p.Warnings)
		}
	}
	r := w.contain("role/web", containment.Options{}, containment.ApplyOptions{Watch: 5 * time.Second})
	w.outcome(r, containment.Held)
	if !w.denied(&w.web.Entity) || strings.Contains(w.web.Policies[iam.PolicyName], "Condition") {
		t.Errorf("not contained: %s", w.states())
	}
	w.outcome(w.release(r.Journal), containment.Released)
	same(t, w.states(), before)
}

// What is revoked are the sessions before the call, by AWS's clock, in UTC, not before the plan nor by the
// responder's clock. Done again, later sessions are revoked too, and the release knows what was before the first.
func TestRevoke(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	o := containment.Options{Mode: iam.ModeRevoke}
	p := w.plan("role/web", o)
	if err := w.cloud.Sleep(t.Context(), 5*time.Minute); err != nil { // a person thinks
		t.Fatal(err)
	}
	apply := func(p *containment.Plan) *containment.Result {
		t.Helper()
		r, err := w.engine.Apply(t.Context(), p, containment.ApplyOptions{Watch: 20 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w.outcome(r, containment.Held)
		if r.Tampering != 0 {
			t.Errorf("tampering %d times", r.Tampering)
		}
		return r
	}
	r := apply(p)
	if want := `"DateLessThan":{"aws:TokenIssueTime":"2026-11-22T03:05:00Z"}`; !strings.Contains(w.web.Policies[iam.RevokeName], want) {
		t.Errorf("policy %s, want %s", w.web.Policies[iam.RevokeName], want)
	}
	if slices.Contains(w.web.Attached, denyAll) {
		t.Error("AWSDenyAll denies later sessions too")
	}
	again := slices.ContainsFunc(p.Residuals, func(r containment.Residual) bool {
		return r.Path == "assume-again" && strings.Contains(r.What, "ec2.amazonaws.com")
	})
	if !again {
		t.Errorf("nothing about who may assume it again: %+v", p.Residuals)
	}

	if err := w.cloud.Sleep(t.Context(), 10*time.Minute); err != nil {
		t.Fatal(err)
	}
	apply(w.plan("role/web", o))
	if want := "2026-11-22T03:15:20Z"; !strings.Contains(w.web.Policies[iam.RevokeName], want) {
		t.Errorf("policy %s, want %s", w.web.Policies[iam.RevokeName], want)
	}
	w.outcome(w.release(r.Journal), containment.Released)
	same(t, w.states(), before)
}

// A policy that looks like ours but revokes nothing is not taken for ours.
func TestRevokeAsAttackersWouldHaveIt(t *testing.T) {
	for _, theirs := range []string{
		string(iam.Deny(iam.Condition{Operator: "DateLessThan", Key: "aws:TokenIssueTime", Value: "2001-01-01T00:00:00Z"})),
		strings.Replace(string(iam.Deny(iam.Condition{Operator: "DateLessThan", Key: "aws:TokenIssueTime", Value: "2026-11-22T03:00:00Z"})), `"Deny"`, `"Allow"`, 1),
	} {
		w := newWorld(t)
		w.web.Policies[iam.RevokeName] = theirs
		before := w.states()
		r := w.contain("role/web", containment.Options{Mode: iam.ModeRevoke}, containment.ApplyOptions{})
		w.outcome(r, containment.Held)
		if p := w.web.Policies[iam.RevokeName]; !strings.Contains(p, "2026-11-22T03:00:") || !strings.Contains(p, `"Deny"`) {
			t.Errorf("policy %s", p)
		}
		w.outcome(w.release(r.Journal), containment.Released)
		same(t, w.states(), before)
	}
}

// The trust policy, on request: nobody assumes it any more, and it comes back as it was.
func TestTrust(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	r := w.contain("role/web", containment.Options{Cuts: []string{iam.CutTrust}}, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	if !strings.Contains(w.web.Trust, `"Deny"`) || strings.Contains(w.web.Trust, "ec2.amazonaws.com") {
		t.Errorf("trust policy %s", w.web.Trust)
	}
	w.outcome(w.release(r.Journal), containment.Released)
	same(t, w.states(), before)
}

// The tag that an organisation's policy acts on.
func TestQuarantineTag(t *testing.T) {
	w := newWorld(t)
	w.alice.Tags["ms-ir-quarantine"] = "no"
	before := w.states()
	r := w.contain("user/alice+ops", containment.Options{QuarantineTag: "ms-ir-quarantine"}, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	if w.alice.Tags["ms-ir-quarantine"] != "true" || !w.denied(&w.alice.Entity) {
		t.Errorf("not contained: %s", w.states())
	}
	w.outcome(w.release(r.Journal, allKinds...), containment.Released)
	same(t, w.states(), before)
	w.contain("role/web", containment.Options{QuarantineTag: "state=locked"}, containment.ApplyOptions{})
	if w.web.Tags["state"] != "locked" {
		t.Errorf("tags %v", w.web.Tags)
	}
}

// What is not contained, and why.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.acct.AddRole("/aws-service-role/ecs.amazonaws.com/", "AWSServiceRoleForECS")
	w.acct.AddRole("/aws-reserved/sso.amazonaws.com/eu-west-1/", "AWSReservedSSO_Admin_0123456789abcdef")
	for target, c := range map[string]struct {
		is   error
		says string
	}{
		"role/AWSServiceRoleForECS": {containment.ErrRefused, "contain what ecs.amazonaws.com acts on"},
		"arn:aws:iam::111122223333:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS": {containment.ErrRefused, "service-linked"},
		"role/AWSReservedSSO_Admin_0123456789abcdef":                                             {containment.ErrRefused, "Identity Center"},
		"role/responder": {containment.ErrRefused, "what you are calling as"},
		"user/nobody":    {containment.ErrGone, "nobody"},
		"role/nobody":    {containment.ErrGone, "nobody"},
		"arn:aws:iam::111122223333:user/alice+ops":           {nil, "user/team/blue/alice+ops"},
		"arn:aws:iam::444455556666:user/team/blue/alice+ops": {nil, "444455556666"},
	} {
		_, err := w.engine.Plan(t.Context(), w.target(target), containment.Options{})
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", target, err)
		}
	}
	if _, err := w.engine.Plan(t.Context(), w.target("role/web"), containment.Options{Mode: "gently"}); err == nil {
		t.Error("a mode that is none")
	}
	for _, c := range w.cloud.Calls() {
		if c.Writes {
			t.Errorf("a plan called %s", c.Action)
		}
	}
}

// A role that is deleted meanwhile is gone, which is no conflict.
func TestGone(t *testing.T) {
	w := newWorld(t)
	r := w.contain("role/web", containment.Options{}, containment.ApplyOptions{})
	w.acct.Remove("web")
	w.outcome(w.release(r.Journal), containment.Released)
}

package ready_test

import (
	"context"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// What there is nothing to say of does not apply, and what cannot be seen from here is unknown: neither passes.
func TestResponderApplies(t *testing.T) {
	const assume, contain, shield, quarantine = "responder-assume", "responder-contain", "responder-shield", "quarantine-policy"
	for _, tt := range []struct {
		name   string
		do     func(*world, *ready.Auditor)
		state  ready.State
		says   string
		checks []string
	}{
		{"nobody is named", func(_ *world, a *ready.Auditor) { a.Responder.Role = "" }, ready.NotApplicable, "none was named: --responder", []string{assume, contain, shield}},
		{"of another account", func(_ *world, a *ready.Auditor) { a.Responder.Role = theirRole }, ready.NotApplicable, "of account " + other, []string{assume, contain, shield}},
		{"no role", func(_ *world, a *ready.Auditor) { a.Responder.Role = "arn:aws:iam::" + own + ":user/alice" }, ready.Unknown, "is no role", []string{assume, contain, shield}},
		{"may gather, and not plan it", func(w *world, _ *ready.Auditor) { may("Deny", "kms:DescribeKey")(w) }, ready.Pass, "", []string{"responder-gather"}},
		{"by its ARN", func(_ *world, a *ready.Auditor) { a.Responder.Role = workRole }, ready.Pass, "", []string{assume, contain, shield}},
		{"the audit's own", func(w *world, a *ready.Auditor) {
			a.Responder = ready.Responder{Role: "responder", Assume: func(context.Context, string) error { w.Error("it was assumed"); return nil }}
		}, ready.Pass, "this audit has it", []string{assume}},
		{"no organisation", func(w *world, _ *ready.Auditor) { w.cloud.Organization = nil }, ready.NotApplicable, "in no organisation", []string{shield, quarantine}},
		{"the management account", func(w *world, _ *ready.Auditor) { w.cloud.Organization.Management = own }, ready.NotApplicable, "is the management account", []string{shield, quarantine}},
		{"another's organisation", func(w *world, _ *ready.Auditor) {
			w.cloud.Organization.Parents = map[string]string{}
		}, ready.Unknown, "is not in your organisation", []string{shield, quarantine}},
		{"no delegate", func(w *world, _ *ready.Auditor) { w.cloud.Organization.Delegates = nil }, ready.Unknown, "permission", []string{shield, quarantine}},
		{"nobody knows", func(_ *world, a *ready.Auditor) { a.Organization = nil }, ready.Unknown, "nobody knows", []string{shield, quarantine}},
		{"not JSON", func(w *world, _ *ready.Auditor) { w.cloud.Organization.Policies[1].Document = "}" }, ready.Unknown, "could not be read", []string{shield, quarantine}},
		{"not JSON, beside one that is enough", func(w *world, _ *ready.Auditor) {
			w.cloud.Organization.Policies = append(w.cloud.Organization.Policies, awsfake.SCP{ID: "p-bad", Document: "}", On: []string{own}})
		}, ready.Pass, "", []string{shield, quarantine}},
		{"a condition that nobody can meet here", func(w *world, _ *ready.Auditor) {
			if err := w.cloud.Restrict(workRole, []byte(`{"Statement":[{"Effect":"Allow","Action":["*","iam:GetRole"],"Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`)); err != nil {
				w.Fatal(err)
			}
		}, ready.Unknown, "it depends on aws:MultiFactorAuthPresent", []string{contain}},
	} {
		for _, id := range tt.checks {
			t.Run(tt.name+"/"+id, func(t *testing.T) {
				w := newWorld(t)
				a := w.auditor(w.check(id))
				tt.do(w, a)
				r := w.run(a)
				if len(r.Results) != 1 || r.Results[0].State != tt.state || !strings.Contains(r.Results[0].Detail, tt.says) {
					t.Errorf("want %s, %q:\n%s", tt.state, tt.says, describe(r))
				}
			})
		}
	}
}

// A group that lets in its own members alone is a way in for who is put into it, and is told as that.
func TestOwnGroup(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() { w.ssh.Rules[1].CIDR, w.ssh.Rules[1].Group = "", w.ssh.ID })
	r := w.run(w.auditor(w.check("ssh-path")))
	if text := describe(r); !strings.Contains(text, "from its own group "+w.ssh.ID+" alone") {
		t.Error(text)
	}
}

package ready_test

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// What a policy leaves to conditions that nobody knows is unknown, and what is not asked does not apply.
func TestKeyPolicy(t *testing.T) {
	key := func(policy string) func(*world, *ready.Auditor) {
		return func(w *world, _ *ready.Auditor) {
			w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "CUSTOMER", Policy: policy}
		}
	}
	role := "arn:aws:iam::" + other + ":role/forensic"
	for _, tt := range []struct {
		name  string
		do    func(*world, *ready.Auditor)
		state ready.State
		says  string
	}{
		{"nobody is named", func(_ *world, a *ready.Auditor) { a.Forensic = "" }, ready.NotApplicable, "no account was named: --forensic-account"},
		{"the forensic account itself", func(_ *world, a *ready.Auditor) { a.Forensic = own }, ready.NotApplicable, "this is the forensic account"},
		{"AWS's own key", func(w *world, _ *ready.Auditor) { w.here.Posture.Keys[ownKey] = awsfake.KMSKey{Manager: "AWS"} }, ready.NotApplicable, "see snapshot-key"},
		{"a condition", key(keyPolicy(`"kms:*"`, `"StringEquals":{"aws:PrincipalOrgID":"o-1"}`)), ready.Unknown, "whether it lets account 444455556666 do kms:CreateGrant: it depends on aws:PrincipalOrgID"},
		{"not JSON", key("}"), ready.Unknown, "the key's policy could not be read"},
		{"one role", key(strings.ReplaceAll(keyPolicy(`"kms:*"`, ""), `"arn:aws:iam::`+other+`:root"`, `"`+role+`"`)), ready.Pass, `it lets "` + role + `" use it`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.auditor(w.check("snapshot-key-policy"))
			a.Regions = []string{home}
			tt.do(w, a)
			r := w.run(a)
			if len(r.Results) != 1 || r.Results[0].State != tt.state || !strings.Contains(r.Results[0].Detail, tt.says) {
				t.Errorf("want %s, %q:\n%s", tt.state, tt.says, describe(r))
			}
		})
	}
}

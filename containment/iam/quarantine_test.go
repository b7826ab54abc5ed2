package iam_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const (
	quarantined = `{"Sid":"QuarantinedPrincipals","Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalTag/ms-ir-quarantine":"true"}}}`
	protected   = `{"Effect":"Deny","Resource":"*","Action":["iam:TagUser","iam:UntagUser","iam:TagRole","iam:UntagRole","sts:TagSession"],
		"Condition":{"ForAnyValue:StringEqualsIgnoreCase":{"aws:TagKeys":["ms-ir-quarantine"]},"ArnNotLike":{"aws:PrincipalArn":["arn:aws:iam::*:role/ir/responder"]}}}`
)

func scp(statements ...string) string {
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}

// The plan says whether a service control policy acts on the tag, from reads of the organisation; where none does, the result is not
// called contained wholly, whatever the deny policies do.
func TestServiceControlPolicy(t *testing.T) {
	in := func(documents ...string) *awsfake.Organization {
		o := &awsfake.Organization{Management: "999900001111", Delegates: []string{home}, Parents: map[string]string{home: "ou-1", "ou-1": "ou-0", "ou-0": "r-ab12"}}
		for i, d := range documents {
			o.Policies = append(o.Policies, awsfake.SCP{ID: "p-" + string(rune('a'+i)), Name: "scp" + string(rune('a'+i)), Document: d, On: []string{[]string{"r-ab12", "ou-1", home}[i%3]}})
		}
		return o
	}
	member := in(scp(quarantined, protected))
	member.Delegates = nil
	elsewhere := in(scp(quarantined, protected))
	elsewhere.Policies[0].On = []string{"ou-9"}
	billing := in(scp(quarantined, protected))
	billing.BillingOnly = true
	for _, c := range []struct {
		name, tag string
		org       *awsfake.Organization
		want      containment.Outcome
		summary   string
		says      []string // residuals
	}{
		{"there, and the tag protected", "ms-ir-quarantine", in(scp(`{"Effect":"Allow","Action":"*","Resource":"*"}`), scp(quarantined, protected)), containment.Held,
			"to which the service control policy scpb (p-b, on unit ou-1) denies everything", nil},
		{"one statement, not in a list", "ms-ir-quarantine", in(`{"Statement":` + quarantined + `}`), containment.Held, "p-a, on root r-ab12", []string{"scp-tag-not-protected", "UntagUser"}},
		{"tagging alone is for some", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `"ArnNotLike":`, `"ArnLike":`, 1))), containment.Held, "p-a", []string{"scp-tag-not-protected", "UntagUser"}},
		{"tagging with a second condition", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `"ArnNotLike":`, `"BoolIfExists":{"aws:MultiFactorAuthPresent":"false"},"ArnNotLike":`, 1))), containment.Held, "p-a", []string{"scp-tag-not-protected"}},
		{"all users may tag", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `role/ir/responder`, `user/*`, 1))), containment.Held, "p-a", []string{"scp-tag-not-protected"}},
		{"one spelling", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `StringEqualsIgnoreCase`, `StringEquals`, 1))), containment.Held, "p-a", []string{"scp-tag-not-protected", "in any spelling"}},
		{"another spelling", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `["ms-ir`, `["MS-ir`, 1))), containment.Held, "p-a", nil},
		{"calls by a pattern", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `["iam:TagUser","iam:UntagUser","iam:TagRole","iam:UntagRole","sts:TagSession"]`, `"iam:*ag*"`, 1))), containment.Held, "p-a", nil},
		{"no tags at all", "ms-ir-quarantine", in(scp(quarantined, strings.Replace(protected, `"ForAnyValue:StringEqualsIgnoreCase":{"aws:TagKeys":["ms-ir-quarantine"]},`, ``, 1))), containment.Held, "p-a", nil},
		{"any value", "ms-ir-quarantine=now", in(scp(strings.Replace(quarantined, `"StringEquals":{"aws:PrincipalTag/ms-ir-quarantine":"true"}`, `"Null":{"aws:principaltag/MS-IR-quarantine":"false"}`, 1), protected)),
			containment.Held, "p-a", nil},
		{"another value", "ms-ir-quarantine=now", in(scp(quarantined, protected)), containment.Remaining, "which nothing acts on", []string{"scp-none", "none of the 1 service"}},
		{"some actions alone", "ms-ir-quarantine", in(scp(strings.Replace(quarantined, `"Action":"*"`, `"Action":"s3:*"`, 1))), containment.Remaining, "which nothing acts on", []string{"scp-none"}},
		{"some resources alone", "ms-ir-quarantine", in(scp(strings.Replace(quarantined, `"Resource":"*"`, `"Resource":"arn:aws:s3:::x"`, 1))), containment.Remaining, "which nothing acts on", []string{"scp-none"}},
		{"an allow", "ms-ir-quarantine", in(scp(strings.Replace(quarantined, `"Deny"`, `"Allow"`, 1))), containment.Remaining, "which nothing acts on", []string{"scp-none"}},
		{"with an exception", "ms-ir-quarantine", in(scp(strings.Replace(quarantined, `"Condition":{`, `"Condition":{"ArnNotLike":{"aws:PrincipalArn":"arn:aws:iam::*:user/team/*"},`, 1), protected)),
			containment.Remaining, "p-a", []string{"scp-condition", "ArnNotLike aws:PrincipalArn arn:aws:iam::*:user/team/*"}},
		{"elsewhere in the tree", "ms-ir-quarantine", elsewhere, containment.Remaining, "which nothing acts on", []string{"scp-none", "none of the 0"}},
		{"no policies at all", "ms-ir-quarantine", billing, containment.Remaining, "which nothing acts on", []string{"not all features"}},
		{"the management account", "ms-ir-quarantine", &awsfake.Organization{Management: home}, containment.Remaining, "which nothing acts on", []string{"management account"}},
		{"another organisation", "ms-ir-quarantine", &awsfake.Organization{Management: "999900001111", Delegates: []string{home}, Parents: map[string]string{}}, containment.Remaining, "which nothing acts on", []string{"is not in your organisation"}},
		{"no organisation", "ms-ir-quarantine", nil, containment.Remaining, "which nothing acts on", []string{"in no organisation"}},
		{"another organisation, and not all features here", "ms-ir-quarantine", &awsfake.Organization{Management: "999900001111", Delegates: []string{home}, Parents: map[string]string{}, BillingOnly: true}, containment.Remaining, "which nothing acts on", []string{"is not in your organisation"}},
		{"not to be seen", "ms-ir-quarantine", member, containment.Held, "for the organisation's policy", []string{"scp-not-checked", "permission missing"}},
		{"not JSON", "ms-ir-quarantine", in("}"), containment.Remaining, "which nothing acts on", []string{"scp-none"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.Edit(func() { w.cloud.Organization = c.org })
			w.engine.Services[0].(*iam.Service).Organization = &iam.Organizations{Config: w.cloud.Config(responder, "eu-west-1")}
			before := w.states()
			p := w.plan("user/alice+ops", containment.Options{QuarantineTag: c.tag})
			text := asJSON(p.Changes)
			if !strings.Contains(text, c.summary) {
				t.Errorf("no %q in %s", c.summary, text)
			}
			open := ""
			for _, r := range p.Residuals {
				if strings.HasPrefix(r.Path, "scp-") {
					open += r.Path + ": " + r.What + "\n"
				}
			}
			for _, part := range c.says {
				if !strings.Contains(open, part) {
					t.Errorf("no %q in %q", part, open)
				}
			}
			if len(c.says) == 0 && open != "" {
				t.Errorf("residuals: %s", open)
			}
			r := w.contain("user/alice+ops", containment.Options{QuarantineTag: c.tag}, containment.ApplyOptions{})
			w.outcome(r, c.want)
			if !w.denied(&w.alice.Entity) {
				t.Error("the deny policies are not there")
			}
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
			same(t, w.states(), before) // the tag is gone, and nothing else
		})
	}
}

// That the caller's account is in no organisation says nothing of another: it may be bound by one that the caller does not see.
func TestAloneKnowsItself(t *testing.T) {
	w := newWorld(t)
	o := &iam.Organizations{Config: w.cloud.Config(responder, "eu-west-1")}
	if _, err := o.Policies(t.Context(), home); !errors.Is(err, iam.ErrUnbound) || errors.Is(err, iam.ErrElsewhere) {
		t.Error(err)
	}
	if _, err := o.Policies(t.Context(), "444455556666"); !errors.Is(err, iam.ErrElsewhere) || !strings.Contains(err.Error(), "444455556666 is not in your organisation") {
		t.Error(err)
	}
}

package lockdown_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
	"github.com/shotglass-ir/shotglass/containment"
)

const (
	instance = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"
	secret   = "correct-horse-battery"
)

func TestParse(t *testing.T) {
	host := containment.Target{Kind: containment.Instance, Partition: "aws", Region: "eu-west-1", Account: "111122223333", Name: "i-0123456789abcdef0"}
	for _, tt := range []struct {
		attributes map[string]string
		want       lockdown.Request
	}{
		{map[string]string{"Arn": instance, "ExternalId": secret}, lockdown.Request{Target: host, Action: lockdown.Contain, Case: "lockdown"}},
		{map[string]string{"Arn": instance, "Action": "release", "CaseId": "2026-042", "DryRun": "true", "Other": "x"}, lockdown.Request{Target: host, Action: lockdown.Release, Case: "2026-042", DryRun: true}},
		{map[string]string{"Arn": "AKIAIOSFODNN7EXAMPLE", "Action": "status", "DryRun": "false"},
			lockdown.Request{Target: containment.Target{Kind: containment.AccessKey, Name: "AKIAIOSFODNN7EXAMPLE"}, Action: lockdown.Status, Case: "lockdown"}},
	} {
		got, err := lockdown.Parse(tt.attributes)
		if err != nil {
			t.Errorf("%v: %v", tt.attributes, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%v: %s", tt.attributes, diff)
		}
	}
}

// What is refused is not repeated: it may be the secret, in the wrong place.
func TestParseRefuses(t *testing.T) {
	for want, attributes := range map[string]map[string]string{
		"has no attribute Arn":       {"ExternalId": secret},
		"is no ARN of":               {"Arn": secret},
		"no ARN: a short form":       {"Arn": "role/" + secret},
		"that is no ARN":             {"Arn": "arn:aws:iam::111122223333:role/" + strings.Repeat("a/", 1024) + secret},
		"is none of [contain":        {"Arn": instance, "Action": secret},
		"Action is none of":          {"Arn": instance, "Action": ""},
		"is no id of a case":         {"Arn": instance, "CaseId": "a b " + secret},
		"CaseId is no id":            {"Arn": instance, "CaseId": "../" + secret},
		"DryRun is neither true nor": {"Arn": instance, "DryRun": secret},
		"root user":                  {"Arn": "arn:aws:iam::111122223333:root"},
	} {
		r, err := lockdown.Parse(attributes)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%v: %+v, %v; want %q", attributes, r, err, want)
		}
	}
}

func TestCheckExternalID(t *testing.T) {
	for _, bad := range []string{"", "12345678", "has a space in it", "ümlaut-ümlaut", strings.Repeat("x", 1225)} {
		if err := lockdown.CheckExternalID(bad); err == nil || bad != "" && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if err := lockdown.CheckExternalID(secret); err != nil {
		t.Error(err)
	}
}

// What one side writes, the other reads; whatever else is written is a request or an error.
func FuzzParse(f *testing.F) {
	f.Add(instance, "contain", "case-42", "true")
	f.Add("arn:aws:iam::111122223333:user/a/b", "release", "", "false")
	f.Add("AKIAIOSFODNN7EXAMPLE", "status", "x", "")
	f.Fuzz(func(t *testing.T, arn, action, caseID, dry string) {
		r, err := lockdown.Parse(map[string]string{"Arn": arn, "Action": action, "CaseId": caseID, "DryRun": dry})
		if err != nil {
			return
		}
		again, err := lockdown.Parse(r.Attributes(secret))
		if err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		if diff := cmp.Diff(r, again); diff != "" {
			t.Error(diff)
		}
	})
}

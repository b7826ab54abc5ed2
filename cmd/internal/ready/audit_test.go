package ready_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// Regions and accounts: those that are off are named and do not count, those that cannot be entered do.
func TestPlaces(t *testing.T) {
	w := newWorld(t)
	w.cloud.AddRole(theirRole, awsfake.Trust{Principals: []string{responder}})
	w.cloud.Account(other).Region(home)
	w.cloud.Account(other).IAM().Quotas["AccountMFAEnabled"] = 0
	w.cloud.Account(own).Region("me-south-1").Off = true
	a := w.auditor(w.check("ebs-encryption"), w.check("root-mfa"))
	a.Accounts, a.Regions = []string{own, other, "777788889999"}, []string{hosts.AllRegions}
	r := w.run(a)
	var gaps []string
	for _, g := range r.Gaps {
		gaps = append(gaps, fmt.Sprint(g.Place, g.Off))
	}
	if len(r.Gaps) != 2 || len(r.Blind()) != 1 || r.Blind()[0].Account != "777788889999" {
		t.Errorf("gaps %q", gaps)
	}
	if fmt.Sprint(r.Places) != "[eu-west-1 of account 111122223333 us-east-1 of account 111122223333 eu-west-1 of account 444455556666]" {
		t.Errorf("%v", r.Places)
	}
	// Two accounts, one line each of what is once in an account; three regions.
	count := map[string]int{}
	for _, x := range r.Results {
		count[x.Check.ID]++
	}
	if count["root-mfa"] != 2 || count["ebs-encryption"] != 3 {
		t.Errorf("%v\n%s", count, describe(r))
	}
	if x := r.Results[0]; x.State != ready.Fail || x.Check.ID != "root-mfa" || x.Account != other { // high before medium
		t.Errorf("the worst is not first:\n%s", describe(r))
	}
	// Named, a region that is off is unknown, everywhere.
	a.Accounts, a.Regions = nil, []string{"me-south-1"}
	r = w.run(a)
	if u := of(r, ready.Unknown); len(u) != 1 || u[0].Cause != ready.NotEnabled || u[0].Region != "me-south-1" {
		t.Errorf("%s", describe(r))
	}
}

// A check that brings findings and an error loses neither; one that is silent or undecided does not pass; one that hangs is cut off.
func TestBadChecks(t *testing.T) {
	w := newWorld(t)
	look := func(f func(context.Context) ([]ready.Finding, error)) *ready.Check {
		return &ready.Check{ID: "x", Severity: ready.High, Account: true, Look: func(ctx context.Context, _ *ready.Site) ([]ready.Finding, error) { return f(ctx) }}
	}
	for _, tt := range []struct {
		check *ready.Check
		want  string
	}{
		{look(func(context.Context) ([]ready.Finding, error) {
			return []ready.Finding{{State: ready.Pass, Resource: "a"}}, errors.New("the second page is missing")
		}), "[UNKNOWN PASS]"},
		{look(func(context.Context) ([]ready.Finding, error) { return []ready.Finding{{Resource: "a"}}, nil }), "[UNKNOWN]"},
		{look(func(context.Context) ([]ready.Finding, error) { return nil, nil }), "[NOT APPLICABLE]"},
		{look(func(ctx context.Context) ([]ready.Finding, error) { <-ctx.Done(); return nil, ctx.Err() }), "[UNKNOWN]"},
	} {
		a := w.auditor(tt.check)
		a.Patience = 10 * time.Millisecond
		r := w.run(a)
		var states []ready.State
		for _, x := range r.Results {
			states = append(states, x.State)
		}
		if fmt.Sprint(states) != tt.want {
			t.Errorf("%v, want %s", states, tt.want)
		}
	}
}

// Throttling that passes is waited out: it costs time and no result.
func TestThrottled(t *testing.T) {
	w := newWorld(t)
	a := w.auditor(w.most()...)
	throttled := 0
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Attempt < 3 && c.Operation != "GetCallerIdentity" {
			throttled++
			return awsfake.Fault{Error: awsfake.Throttled}
		}
		return awsfake.Fault{}
	}
	r := w.run(a)
	if r.Count(ready.Unknown)+r.Count(ready.Fail) > 0 || throttled < 20 {
		t.Errorf("throttled %d times\n%s", throttled, describe(r))
	}
}

// What several checks read is read once in a region.
func TestReadOnce(t *testing.T) {
	w := newWorld(t)
	w.run(w.auditor(ready.Checks...))
	calls := map[string]int{}
	for _, c := range w.cloud.Calls() {
		calls[c.Operation+" "+c.Region]++
	}
	for _, op := range []string{"DescribeInstances", "DescribeVpcs", "GetCredentialReport"} {
		if n := calls[op+" "+home]; n != 1 {
			t.Errorf("%s: %d calls", op, n)
		}
	}
}

func TestFixQuotes(t *testing.T) {
	r := ready.Result{Check: &ready.Check{Fix: "aws x --name {resource} --region {region}"}, Finding: ready.Finding{Resource: "a'; rm -rf / #"}}
	r.Region = home
	if got, want := r.Fix(), `aws x --name 'a'\''; rm -rf / #' --region eu-west-1`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

package awsconfig_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
)

// A user, a key and a function of another account, through a role there: every call that changes something is made in that
// account, by the case's session. The role itself is refused.
func TestAnotherAccount(t *testing.T) {
	c := cloud(t)
	acct := c.Account("444455556666")
	bob := acct.AddUser("/", "bob")
	key := bob.AddKey("Active")
	acct.AddRole("/ir/", "responder")
	role := acct.AddRole("/", "thumbs-role")
	thumbs := acct.Region("us-west-2").AddFunction("thumbs", role.ARN)
	accounts := &awsconfig.Accounts{Base: c.Config(alice, "eu-west-1"), Role: "ir/responder", ExternalID: "correct horse", Case: "case-42", SourceIdentity: "alice", NoIMDS: true}
	caller, err := accounts.Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles := &iam.Service{Config: accounts.Config}
	engine := &containment.Engine{
		Services: []containment.Service{roles, &lambda.Service{Config: accounts.Config, Roles: roles}}, Journals: containment.Dir(t.TempDir()),
		Caller: caller, Tool: "test", Now: c.Now, Sleep: c.Sleep,
	}
	for _, s := range []string{key.ID, "arn:aws:lambda:us-west-2:444455556666:function:thumbs"} {
		p, err := engine.Plan(t.Context(), target(t, s), containment.Options{Case: "case-42"})
		if err != nil {
			t.Fatal(err)
		}
		r, err := engine.Apply(t.Context(), p, containment.ApplyOptions{})
		if err != nil || r.Outcome != containment.Held {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if key.Status != "Inactive" || thumbs.Reserved == nil || role.Policies[iam.PolicyName+"-lambda-us-west-2-thumbs"] == "" {
		t.Error("not contained")
	}
	n := 0
	for _, call := range c.Calls() {
		if call.Writes {
			n++
			if call.Account != acct.ID || !strings.HasSuffix(call.Principal, ":assumed-role/responder/shotglass-case-42") {
				t.Errorf("%s by %s", call.Action, call.Principal)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d calls", n)
	}
	if _, err := engine.Plan(t.Context(), target(t, member), containment.Options{}); !errors.Is(err, containment.ErrRefused) {
		t.Errorf("the role that is acted through: %v", err)
	}
}

package keytrail_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// furnish gives alice all that a user can have.
func (w *world) furnish() {
	a := w.cloud.Account(own)
	a.AddRole("/ir/", "responder")
	w.alice.AddKey("Inactive")
	iam := a.IAM()
	w.cloud.Edit(func() {
		w.alice.Keys[0].Used = at(8)
		w.alice.Password, w.alice.MFA, w.alice.Groups = true, []string{"arn:aws:iam::" + own + ":mfa/alice"}, []string{"ops"}
		w.alice.SSHKeys = []*awsfake.Credential{{ID: "APKA1", Status: "Active"}}
		w.alice.Certificates = []*awsfake.Credential{{ID: "CERT1", Status: "Active"}}
		w.alice.ServiceCredentials = []*awsfake.Credential{{ID: "ACCA1", Status: "Active", Service: "bedrock.amazonaws.com"}}
		w.alice.Policies["own"] = `{"Statement":{"Effect":"Allow","Action":["sts:AssumeRole"],"Resource":["arn:aws:iam::444455556666:role/admin"]}}`
		w.alice.Attached = []string{"arn:aws:iam::" + own + ":policy/deploy"}
		iam.Managed["arn:aws:iam::"+own+":policy/deploy"] = `{"Statement":[{"Effect":"Allow","Action":"lambda:Update*","Resource":"*"},{"Effect":"Allow","Action":"kms:Decrypt","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}]}`
		iam.Groups["ops"] = &awsfake.UserGroup{Policies: map[string]string{"g": `{"Statement":[{"Effect":"Allow","NotAction":["iam:*","s3:*"],"Resource":"*"},{"Effect":"Deny","Action":"ec2:Terminate*","Resource":"*"}]}`},
			Attached: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}}
	})
}

func can(f *keytrail.Found) map[string]string {
	m := map[string]string{}
	for _, a := range f.Owner.Rights.Can {
		text := strings.Join(a.On, ", ")
		if a.If {
			text += " if"
		}
		m[a.Action] = text
	}
	return m
}

// All that leads to the user is listed, and what its policies allow is judged.
func TestOwner(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	f := w.trace(w.tracer(), w.key)
	o := f.Owner
	if g := gaps(f); len(g) > 0 {
		t.Errorf("gaps %q", g)
	}
	if o.ARN != arnOf(own, "user/team/alice") || o.Key.Status != "Active" || !o.Key.Used.Equal(at(8)) || o.Key.For != "s3 in eu-west-1" || !o.Key.Created.Equal(awsfake.Start) {
		t.Errorf("%+v %+v", o, o.Key)
	}
	var kinds []string
	for _, c := range o.Credentials {
		kinds = append(kinds, c.Kind+" "+c.Status)
	}
	if diff := cmp.Diff([]string{"access-key Active", "access-key Inactive", "password ", "mfa ", "ssh-key Active", "signing-certificate Active", "service-credential Active"}, kinds); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"own (inline)", "deploy", "g (inline) of the group ops", "ReadOnlyAccess of the group ops"}, o.Rights.Policies); diff != "" {
		t.Error(diff)
	}
	got := can(f)
	if o.Rights.Admin || got["sts:AssumeRole"] != "*" || got["lambda:UpdateFunctionCode"] != "*" || got["kms:Decrypt"] != "*" {
		t.Errorf("%v", got)
	}
	// What only IAM's simulation allows, which here knows no policies, says so by having none.
	for _, a := range o.Rights.Can {
		if by := len(a.By) > 0; by == (slices.Contains([]string{"ec2:TerminateInstances", "s3:PutBucketPolicy", "s3:DeleteObject"}, a.Action) || strings.HasPrefix(a.Action, "iam:")) || a.Simulated != "allowed" {
			t.Errorf("%+v", a)
		}
	}

	w.cloud.Edit(func() { w.alice.Boundary = "arn:aws:iam::aws:policy/ReadOnlyAccess" })
	if err := w.cloud.Restrict(o.ARN, []byte(`{"Statement":[]}`)); err != nil {
		t.Fatal(err)
	}
	if got := can(w.trace(w.tracer(), w.key)); len(got) != 1 || got["s3:GetObject"] != "*" {
		t.Errorf("%v", got)
	}
	w.cloud.Edit(func() {
		w.alice.Boundary, w.alice.Attached = "", []string{"arn:aws:iam::aws:policy/AdministratorAccess"}
	})
	if r := w.trace(w.tracer(), w.key).Owner.Rights; !r.Admin || r.AdminBy != "AdministratorAccess" {
		t.Errorf("%+v", r)
	}
	w.cloud.Edit(func() { w.alice.Attached = append(w.alice.Attached, "arn:aws:iam::aws:policy/AWSDenyAll") })
	if r := w.trace(w.tracer(), w.key).Owner.Rights; r.Admin || len(r.Can) > 0 || r.Denied[0] != "AWSDenyAll" {
		t.Errorf("%+v", r)
	}
}

// A key that is gone, and one of root, are told by what is left.
func TestOwnerless(t *testing.T) {
	w := newWorld(t)
	w.attack()
	w.cloud.Edit(func() { w.alice.Keys = nil })
	f := w.trace(w.tracer(), w.key)
	if o := f.Owner; o.ARN != arnOf(own, "user/team/alice") || !o.Gone || o.Key.Status == "" || !strings.Contains(o.How, "198.51.100.7") {
		t.Errorf("%+v", o)
	}
	a := w.cloud.Account(own)
	w.cloud.Edit(func() { a.RootKeys = []string{"AKIAROOTROOTROOTROOT"} })
	if o := w.trace(w.tracer(), "AKIAROOTROOTROOTROOT").Owner; o.Kind != "root" || !o.Rights.Admin {
		t.Errorf("%+v", o)
	}
}

// Of a key that nobody knows it is said who was asked, and who could not be.
func TestUnheard(t *testing.T) {
	w := newWorld(t)
	const typo = "AKIATYPOTYPOTYPOTYPO"
	w.did(own, "us-east-1", 1, w.thief(), "iam", "GetAccessKeyLastUsed", "", "", typo) // so that STS tells its account
	tr := func() *keytrail.Tracer {
		tr := w.tracer()
		tr.Since = at(0)
		return tr
	}
	if o := w.trace(tr(), typo).Owner; !o.Gone || o.How != "CloudTrail has no event of it, and IAM does not know it" {
		t.Errorf("%+v", o)
	}
	for _, c := range []struct{ key, allowed, how string }{
		{typo, "iam:GetAccessKeyLastUsed", "no event of it was found, where CloudTrail could be asked, and IAM does not know it"},
		{typo, "cloudtrail:LookupEvents", "CloudTrail has no event of it, and IAM could not be asked"},
		{typo, "sts:GetCallerIdentity", "no event of it was found, where CloudTrail could be asked, and IAM could not be asked"},
		{"ASIATYPOTYPOTYPOTYPO", "iam:GetAccessKeyLastUsed", "no event of it was found, where CloudTrail could be asked, and IAM does not know it"},
	} {
		if err := w.cloud.Restrict(responder, []byte(`{"Statement":[{"Effect":"Allow","Action":["ec2:DescribeRegions","sts:GetAccessKeyInfo","`+c.allowed+`"],"Resource":"*"}]}`)); err != nil {
			t.Fatal(err)
		}
		if o := w.trace(tr(), c.key).Owner; o.How != c.how {
			t.Errorf("%s with %s: %+v", c.key, c.allowed, o)
		}
	}
}

// Where the caller's account is not known there are events that nobody looked at; where an account has not enabled a region there are none.
func TestUnheardGaps(t *testing.T) {
	for _, c := range []struct {
		gap  keytrail.Gap
		want bool
	}{
		{keytrail.Gap{What: "the caller's account"}, true}, {keytrail.Gap{What: "the account of the key"}, true}, {keytrail.Gap{What: "log files"}, true},
		{keytrail.Gap{What: "events of it", Off: true}, false}, {keytrail.Gap{What: "the rights of alice"}, false},
	} {
		if f := (&keytrail.Found{Gaps: []keytrail.Gap{c.gap}}); f.Unheard() != c.want {
			t.Errorf("%+v: %v", c.gap, !c.want)
		}
	}
}

// TestPolicy does everything with docs/key-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/key-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.furnish()
	w.attack()
	w.cloud.Account(own).AddRole("/service/", "web").Policies["p"] = `{"Statement":[]}`
	for _, arn := range []string{responder, theirRole} {
		if err := w.cloud.Restrict(arn, doc); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{w.key, asia1, "role/web"} {
		if g := gaps(w.trace(w.tracer(), target)); len(g) > 0 {
			t.Errorf("%s: %q", target, g)
		}
	}
	var p awsfake.Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	missing, unused := p.Sum("Key", w.cloud.Calls())
	if len(missing) > 0 || len(unused) > 0 {
		t.Errorf("missing %q, unused %q", missing, unused)
	}
	for _, c := range w.cloud.Calls() {
		if c.Writes {
			t.Errorf("%s writes", c.Action)
		}
	}
}

// Without permissions each thing that is not known is named, and nothing is taken to be so.
func TestDenied(t *testing.T) {
	w := newWorld(t)
	w.furnish()
	w.attack()
	if err := w.cloud.Restrict(responder, []byte(`{"Statement":[{"Effect":"Allow","Action":["ec2:DescribeRegions","iam:GetAccessKeyLastUsed"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	f := w.trace(w.tracer(), w.key)
	text := strings.Join(gaps(f), "\n")
	for _, want := range []string{"the account of the key", "events of " + w.key + " in eu-west-1", "user alice", "access keys of alice", "has a password", "MFA devices", "SSH keys", "signing certificates", "service-specific",
		"inline policies of the user alice", "managed policies of the user alice", "groups of alice", "simulation"} {
		if !strings.Contains(text, want) {
			t.Errorf("no gap %q in\n%s", want, text)
		}
	}
	if f.Owner.Rights.Admin || len(f.Owner.Rights.Can) > 0 || f.Owner.ARN == "" || f.Use.Events != 0 {
		t.Errorf("%+v", f.Owner)
	}
}

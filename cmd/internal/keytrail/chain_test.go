package keytrail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	asia1 = "ASIAAAAAAAAAAAAAAAA7"
	asia2 = "ASIAAAAAAAAAAAAAAAA2"
	asia3 = "ASIAAAAAAAAAAAAAAAA3"
	akia2 = "AKIAAAAAAAAAAAAAAAA2"
)

// attack is what a thief of alice's key does: regions, accounts, sessions of sessions, in a circle.
func (w *world) attack() {
	alice := w.key + " " + arnOf(own, "user/team/alice")
	web := asia1 + " arn:aws:sts::" + own + ":assumed-role/web/x"
	theirs := asia2 + " arn:aws:sts::" + other + ":assumed-role/admin/y"
	w.did(own, "us-east-1", 0, alice, "sts", "GetCallerIdentity", "", "")
	w.did(own, "us-east-1", 1, alice, "iam", "CreateUser", `{"userName":"backup"}`, "!AccessDenied")
	w.did(own, "ap-south-1", 2, alice, "cloudtrail", "StopLogging", `{"name":"main"}`, "")
	w.did(own, "us-east-1", 3, alice, "sts", "AssumeRole", `{"roleArn":"`+arnOf(own, "role/service/web")+`"}`, `{"credentials":{"accessKeyId":"`+asia1+`"}}`, asia1)
	w.did(own, "eu-west-1", 4, web, "sts", "AssumeRole", `{"roleArn":"`+arnOf(other, "role/admin")+`"}`, `{"credentials":{"accessKeyId":"`+asia2+`"}}`, asia2)
	w.did(other, "us-east-1", 5, theirs, "iam", "CreateAccessKey", `{"userName":"root-helper"}`, `{"accessKey":{"accessKeyId":"`+akia2+`","userName":"root-helper"}}`)
	w.did(other, "us-east-1", 6, akia2+" "+arnOf(other, "user/root-helper"), "ec2", "RunInstances", `{"instanceType":"p5.48xlarge","iamInstanceProfile":{"name":"web"}}`, `{"instancesSet":{"items":[{"instanceId":"i-0123456789abcdef0"}]}}`)
	w.did(other, "us-east-1", 7, "ASIAAAAAAAAAAAAAAAA6 arn:aws:sts::"+other+":assumed-role/web/i-0123456789abcdef0", "secretsmanager", "GetSecretValue", `{"secretId":"db"}`, "")
	w.did(other, "us-east-1", 8, theirs, "sts", "AssumeRole", `{"roleArn":"`+arnOf(own, "role/service/web")+`"}`, `{"credentials":{"accessKeyId":"`+asia1+`"}}`) // the circle
	w.did(own, "eu-west-1", 9, "AKIASOMEBODYELSE2345 "+arnOf(own, "user/bob"), "ec2", "TerminateInstances", "", "")
}

// The chain leads over regions and accounts, ends, and has nobody else's doings in it.
func TestChain(t *testing.T) {
	w := newWorld(t)
	w.attack()
	f := w.trace(w.tracer(), w.key)
	if g := gaps(f); len(g) > 0 {
		t.Errorf("gaps %q", g)
	}
	want := []string{
		w.key,
		asia1 + " by AssumeRole of " + w.key,
		asia2 + " by AssumeRole of " + asia1,
		akia2 + " by CreateAccessKey of " + asia2,
		"i-0123456789abcdef0 of " + other + " by RunInstances of " + akia2,
	}
	if diff := cmp.Diff(want, labels(f)); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, e := range f.Events {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "GetCallerIdentity CreateUser StopLogging AssumeRole AssumeRole CreateAccessKey RunInstances GetSecretValue AssumeRole" {
		t.Error(got)
	}
	u := f.Use
	if u.Events != 9 || u.DeniedIn != 1 || u.Denied[0].Value != "iam:CreateUser AccessDenied" || !u.First.Equal(at(0)) || !u.Last.Equal(at(8)) {
		t.Errorf("%+v", u)
	}
	if u.Classes[trail.Hides] != 1 || u.Classes[trail.Persists] != 1 || u.Classes[trail.Takes] != 1 || u.Classes[trail.Spends] != 1 || u.Classes[trail.Moves] != 3 {
		t.Errorf("%v", u.Classes)
	}
	var made []string
	targets, unnamed := f.Made()
	for _, m := range targets {
		made = append(made, m.ARN())
	}
	if diff := cmp.Diff([]string{arnOf(own, "role/service/web"), arnOf(other, "role/admin"), arnOf(other, "user/root-helper"), "arn:aws:ec2:us-east-1:" + other + ":instance/i-0123456789abcdef0"}, made); diff != "" || len(unnamed) > 0 {
		t.Error(diff, unnamed)
	}
	if s := f.Subjects[0].Use; s.Events != 4 || f.Subjects[4].Use.Events != 1 {
		t.Errorf("%+v", s)
	}
}

// What bounds the chain is named, and so is what it cuts off.
func TestChainBounds(t *testing.T) {
	w := newWorld(t)
	w.attack()
	tr := w.tracer()
	tr.Depth = 1
	f := w.trace(tr, w.key)
	if diff := cmp.Diff([]string{asia2 + ": not followed: 1 steps and 60 identities are the bounds"}, gaps(f)); diff != "" || len(f.Subjects) != 2 {
		t.Error(diff, labels(f))
	}
	tr.Depth, tr.Most = 9, 3
	if f = w.trace(tr, w.key); len(f.Subjects) != 3 || len(gaps(f)) != 1 || !strings.HasPrefix(gaps(f)[0], akia2+": not followed") {
		t.Error(labels(f), gaps(f))
	}
	tr.Most, tr.Events = 0, 4
	if f = w.trace(tr, w.key); len(f.Events) != 8 || !strings.Contains(strings.Join(gaps(f), "\n"), "more than 4") {
		t.Error(len(f.Events), gaps(f))
	}
}

// Many pages are read whole through throttling; a bound of pages, a refusal and a region that is off are told apart.
func TestPagesAndRefusals(t *testing.T) {
	w := newWorld(t)
	for i := range 130 {
		w.did(own, "eu-west-1", i, w.key+" "+arnOf(own, "user/team/alice"), "ec2", "DescribeInstances", "", "")
	}
	throttled, denied := 0, false
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "LookupEvents" && c.Region == "eu-west-1" && c.Attempt < 4 {
				throttled++
				return awsfake.Fault{Error: awsfake.TrailThrottled}
			}
			if c.Operation == "LookupEvents" && c.Region == "ap-south-1" && denied {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	f := w.trace(w.tracer(), w.key)
	if f.Use.Events != 130 || throttled != 9 || len(gaps(f)) > 0 {
		t.Errorf("%d events, %d times throttled, %q", f.Use.Events, throttled, gaps(f))
	}
	off := 0
	for _, g := range f.Gaps {
		if g.Off && g.Region == "me-south-1" {
			off++
		}
	}
	if off != 1 {
		t.Errorf("%+v", f.Gaps)
	}
	tr := w.tracer()
	tr.Pages, denied = 2, true
	f = w.trace(tr, w.key)
	g := strings.Join(gaps(f), "\n")
	if f.Use.Events != 100 || !strings.Contains(g, "events of "+w.key+" in eu-west-1 of account "+own+": there are more than 2 pages; what was before "+at(30).Format("2006-01-02T15:04:05Z")) ||
		!strings.Contains(g, "in ap-south-1 of account "+own+": permission missing") {
		t.Errorf("%d events\n%s", f.Use.Events, g)
	}
}

// An account that cannot be reached is a gap; what was done from there in one's own is found all the same.
func TestForeignKey(t *testing.T) {
	w := newWorld(t)
	var key string
	bob := w.cloud.Account("777788889999").AddUser("/", "bob")
	key = bob.AddKey("Active").ID
	w.did(own, "us-east-1", 1, key+" arn:aws:iam::777788889999:user/bob", "sts", "AssumeRole", `{"roleArn":"`+arnOf(own, "role/web")+`"}`, `{"credentials":{"accessKeyId":"`+asia3+`"}}`)
	w.did(own, "us-east-1", 2, asia3+" arn:aws:sts::"+own+":assumed-role/web/x", "iam", "ListUsers", "", "")
	f := w.trace(w.tracer(), key)
	if f.Account != "777788889999" || f.Use.Events != 2 || f.Owner.ARN != "arn:aws:iam::777788889999:user/bob" {
		t.Errorf("%+v", f)
	}
	if g := strings.Join(gaps(f), "\n"); !strings.Contains(g, "account 777788889999: assume arn:aws:iam::777788889999:role/responder") {
		t.Error(g)
	}
}

// A temporary key leads to the call that issued it, and to whom it was issued.
func TestTemporary(t *testing.T) {
	w := newWorld(t)
	w.attack()
	f := w.trace(w.tracer(), asia1)
	if f.Maker == nil || f.Maker.By.Key != w.key || f.Owner.Kind != "role" || f.Owner.ARN != arnOf(own, "role/service/web") {
		t.Errorf("%+v, made by %+v", f.Owner, f.Maker)
	}
	if f = w.trace(w.tracer(), "ASIAZZZZZZZZZZZZZZZZ"); f.Owner.ARN != "" || len(gaps(f)) != 2 {
		t.Errorf("%+v %q", f.Owner, gaps(f))
	}
}

// Users and roles are followed by name; a role by the sessions of it that anyone began.
func TestPrincipals(t *testing.T) {
	w := newWorld(t)
	w.attack()
	w.cloud.Account(own).AddRole("/service/", "web")
	r := w.cloud.Account(own).Region("us-east-1")
	w.cloud.Edit(func() {
		for i := range r.Trail {
			r.Trail[i].Resources = append(r.Trail[i].Resources, arnOf(own, "role/service/web"))
		}
	})
	if got := fmt.Sprint(labels(w.trace(w.tracer(), "user/alice"))); !strings.Contains(got, "[user/alice of "+own+" "+asia1+" by AssumeRole") {
		t.Error(got)
	}
	f := w.trace(w.tracer(), "role/web")
	if got := fmt.Sprint(labels(f)); !strings.HasPrefix(got, "[role/web of "+own+" "+asia1+" by AssumeRole of role/web of "+own) {
		t.Error(got)
	}
	if f.Owner.ARN != arnOf(own, "role/service/web") || len(f.Owner.Trusts) != 1 || f.Target.Kind != containment.Role {
		t.Errorf("%+v", f.Owner)
	}
}

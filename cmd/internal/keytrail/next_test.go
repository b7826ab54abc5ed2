package keytrail_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// made are the identities that would be contained.
func made(f *keytrail.Found) (list []string) {
	targets, unnamed := f.Made()
	for _, t := range targets {
		list = append(list, strings.TrimSpace(t.Region+" "+t.Short()))
	}
	return append(list, unnamed...)
}

func (w *world) thief() string { return w.key + " " + arnOf(own, "user/team/alice") }

// Whoever makes a function chooses its name: sessions of that name are its own only if their role is.
func TestFunctionName(t *testing.T) {
	w := newWorld(t)
	w.did(own, "us-east-1", 1, w.thief(), "lambda", "CreateFunction20150331", `{"functionName":"GitHubActions","role":"`+arnOf(own, "role/evil")+`"}`, "")
	w.did(own, "us-east-1", 2, w.thief(), "lambda", "UpdateFunctionCode20150331v2", `{"functionName":"Deploy"}`, "")
	w.did(own, "us-east-1", 5, "ASIACI00000000000001 arn:aws:sts::"+own+":assumed-role/ci/GitHubActions", "iam", "PutRolePolicy", `{"roleName":"prod"}`, "")
	w.did(own, "us-east-1", 5, "ASIACI00000000000002 arn:aws:sts::"+own+":assumed-role/cd/Deploy", "iam", "PutRolePolicy", `{"roleName":"prod"}`, "")
	f := w.trace(w.tracer(), w.key)
	if diff := cmp.Diff([]string{"us-east-1 function/GitHubActions", "us-east-1 function/Deploy"}, made(f)); diff != "" || f.Use.Events != 2 {
		t.Error(diff, f.Use.Events)
	}
	if g := gaps(f); len(g) != 1 || !strings.HasPrefix(g[0], "what function/Deploy of "+own+" in us-east-1 did: ") || !strings.Contains(g[0], "role/cd") {
		t.Errorf("%q", g)
	}
	// Later it has another role, and does something.
	w.did(own, "us-east-1", 6, w.thief(), "lambda", "UpdateFunctionConfiguration20150331v2", `{"functionName":"GitHubActions","role":"`+arnOf(own, "role/evil2")+`"}`, "")
	w.did(own, "us-east-1", 7, "ASIAEV00000000000001 arn:aws:sts::"+own+":assumed-role/evil2/GitHubActions", "iam", "CreateUser", `{"userName":"bd"}`, "")
	if f = w.trace(w.tracer(), w.key); !slices.Contains(made(f), "user/bd") || slices.Contains(made(f), "role/prod") {
		t.Errorf("%q", made(f))
	}
}

// Many temporary keys hide neither a user that was made nor what that user made; all are contained.
func TestFlood(t *testing.T) {
	w := newWorld(t)
	for i := range 60 {
		w.did(own, "us-east-1", 1, w.thief(), "sts", "AssumeRole", `{"roleArn":"`+arnOf(own, "role/web")+`"}`, fmt.Sprintf(`{"credentials":{"accessKeyId":"ASIAFLOOD%011d"}}`, i))
	}
	w.did(own, "us-east-1", 2, w.thief(), "iam", "CreateUser", `{"userName":"bd"}`, "")
	w.did(own, "us-east-1", 3, "AKIABD00000000000001 "+arnOf(own, "user/bd"), "iam", "CreateUser", `{"userName":"bd2"}`, "")
	f := w.trace(w.tracer(), w.key)
	if got := labels(f); len(got) != 60 || !strings.HasPrefix(got[1], "user/bd ") || !slices.Contains(got, "user/bd2 of "+own+" by CreateUser of user/bd of "+own) {
		t.Errorf("%d: %q", len(got), got)
	}
	if diff := cmp.Diff([]string{"3 temporary keys of " + arnOf(own, "role/web") + ": not followed: 4 steps and 60 identities are the bounds"}, gaps(f)); diff != "" {
		t.Error(diff)
	}
	for i := range 80 {
		w.did(own, "us-east-1", 4, w.thief(), "iam", "CreateUser", fmt.Sprintf(`{"userName":"u%d"}`, i), "")
	}
	f = w.trace(w.tracer(), w.key)
	if m, g := made(f), gaps(f); len(m) != 83 || len(g) != 22 || !strings.HasPrefix(g[21], "user/") && !strings.Contains(strings.Join(g, "\n"), "3 more of the kind user") {
		t.Errorf("%d made, %d gaps: %q", len(m), len(g), g)
	}
}

// A role with a path is looked for by its ARN, which IAM knows and the event does not; where IAM does not, that is a gap.
func TestRolePath(t *testing.T) {
	w := newWorld(t)
	w.cloud.Account(own).AddRole("/service/", "web")
	for i, name := range []string{"web", "gone"} {
		w.did(own, "us-east-1", 1, w.thief(), "iam", "UpdateAssumeRolePolicy", `{"roleName":"`+name+`"}`, "")
		role, key := arnOf(own, "role/service/"+name), fmt.Sprintf("ASIATHIEF0000000000%d", i)
		w.did(own, "us-east-1", 5, "AKIAEXTERNAL00000001 "+arnOf("999988887777", "user/thief"), "sts", "AssumeRole", `{"roleArn":"`+role+`"}`, `{"credentials":{"accessKeyId":"`+key+`"}}`, role)
		w.did(own, "us-east-1", 6, key+" arn:aws:sts::"+own+":assumed-role/"+name+"/x", "iam", "CreateUser", `{"userName":"bd`+name+`"}`, "")
	}
	f := w.trace(w.tracer(), w.key)
	if diff := cmp.Diff([]string{"role/gone", "role/web", "user/bdweb"}, made(f)); diff != "" {
		t.Error(diff)
	}
	if g := gaps(f); len(g) != 1 || !strings.HasPrefix(g[0], "the path of the role gone in account "+own) {
		t.Errorf("%q", g)
	}
}

// Who was taken twice is followed from the first time, however late that becomes known.
func TestTakenTwice(t *testing.T) {
	w := newWorld(t)
	session, bob := asia1+" arn:aws:sts::"+own+":assumed-role/web/x", "AKIABOB0000000000001 "+arnOf(own, "user/bob")
	w.did(own, "us-east-1", 1, w.thief(), "sts", "AssumeRole", `{"roleArn":"`+arnOf(own, "role/web")+`"}`, `{"credentials":{"accessKeyId":"`+asia1+`"}}`)
	w.did(own, "us-east-1", 2, session, "iam", "UpdateLoginProfile", `{"userName":"bob"}`, "")
	w.did(own, "us-east-1", 3, bob, "cloudtrail", "StopLogging", `{"name":"t"}`, "")
	w.did(own, "us-east-1", 4, bob, "iam", "CreateUser", `{"userName":"bd"}`, "")
	w.did(own, "us-east-1", 30, w.thief(), "iam", "AddUserToGroup", `{"userName":"bob"}`, "")
	f := w.trace(w.tracer(), w.key)
	if diff := cmp.Diff([]string{"user/bob", "role/web", "user/bd"}, made(f)); diff != "" || f.Use.Events != 5 || len(gaps(f)) > 0 {
		t.Error(diff, f.Use.Events, gaps(f))
	}
}

// A function is one of its region; what nobody can contain, and what an event does not tell, is named.
func TestNotDropped(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"us-east-1", "eu-west-1"} {
		w.did(own, r, 1, w.thief(), "lambda", "UpdateFunctionCode20150331v2", `{"functionName":"api"}`, `{"role":"`+arnOf(own, "role/fn")+`"}`)
	}
	w.did(own, "us-east-1", 2, w.thief(), "sts", "AssumeRoot", `{"targetPrincipal":"`+other+`"}`, `{"credentials":{"accessKeyId":"`+asia1+`"}}`)
	for i := range 3 {
		w.did(own, "us-east-1", 3+i, w.thief(), "ssm", "SendCommand", `{"targets":[{"key":"tag:Env","values":["prod"]}]}`, "")
	}
	f := w.trace(w.tracer(), w.key)
	want := []string{"us-east-1 function/api", "eu-west-1 function/api", asia1 + " of " + arnOf(other, "root")}
	slices.Sort(want)
	got := made(f)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"what ssm:SendCommand of " + w.key + " gave: it names its targets by tags or groups (3 times)"}, gaps(f)); diff != "" {
		t.Error(diff)
	}
}

// A chain of roles over three accounts is followed as far as the accounts may be entered; where it goes on beyond that, the session that does is named.
func TestChainOverAccounts(t *testing.T) {
	const third = "777788889999"
	w := newWorld(t)
	w.cloud.AddRole("arn:aws:iam::"+third+":role/responder", awsfake.Trust{Principals: []string{responder}})
	w.cloud.Account(third).Region("us-east-1")
	give := func(key string) string { return `{"credentials":{"accessKeyId":"` + key + `"}}` }
	w.did(own, "us-east-1", 1, w.thief(), "sts", "AssumeRole", `{"roleArn":"`+arnOf(other, "role/deploy")+`"}`, give(asia1))
	w.did(other, "us-east-1", 2, asia1+" arn:aws:sts::"+other+":assumed-role/deploy/x", "sts", "AssumeRole", `{"roleArn":"`+arnOf(third, "role/prod")+`"}`, give(asia2))
	w.did(third, "us-east-1", 3, asia2+" arn:aws:sts::"+third+":assumed-role/prod/y", "iam", "CreateUser", `{"userName":"backdoor"}`, `{"user":{"arn":"`+arnOf(third, "user/backdoor")+`"}}`)
	w.did(third, "us-east-1", 4, akia2+" "+arnOf(third, "user/backdoor"), "cloudtrail", "StopLogging", "", "")
	for n, accounts := range [][]string{{own}, {own, other}, {own, other, third}} {
		tr := w.tracer()
		tr.Accounts = accounts
		f := w.trace(tr, w.key)
		followed := []string{w.key, asia1 + " by AssumeRole of " + w.key, asia2 + " by AssumeRole of " + asia1, "user/backdoor of " + third + " by CreateUser of " + asia2}[:n+2]
		if diff := cmp.Diff(followed, labels(f)); diff != "" {
			t.Error(n, diff)
		}
		lost := [][]string{{"events of " + asia1 + " in account " + other + ": account " + other + " is not entered"}, {"events of " + asia2 + " in account " + third + ": account " + third + " is not entered"}, nil}[n]
		g := gaps(f)
		if len(g) != len(lost) || len(g) > 0 && !strings.HasPrefix(g[0], lost[0]) {
			t.Errorf("%d: %q", n, g)
		}
		var made []string
		list, _ := f.Made()
		for _, m := range list {
			made = append(made, m.ARN())
		}
		if diff := cmp.Diff([]string{arnOf(other, "role/deploy"), arnOf(third, "role/prod"), arnOf(third, "user/backdoor")}[:n+1], made); diff != "" {
			t.Error(n, diff)
		}
		if f.Use.Events != n+1+n/2 {
			t.Errorf("%d: %d events", n, f.Use.Events)
		}
	}
}

// No role is assumed in an account that only the events name.
func TestAccountOfEvents(t *testing.T) {
	w := newWorld(t)
	w.did(own, "us-east-1", 1, w.thief(), "sts", "AssumeRole", `{"roleArn":"`+arnOf(other, "role/anything")+`"}`, `{"credentials":{"accessKeyId":"`+asia1+`"}}`)
	w.did(own, "us-east-1", 2, asia1+" arn:aws:sts::"+other+":assumed-role/anything/x", "s3", "ListBuckets", "", "")
	tr := w.tracer()
	tr.Accounts = nil
	f := w.trace(tr, w.key)
	if g := gaps(f); len(g) != 1 || !strings.HasPrefix(g[0], "events of "+asia1+" in account "+other+": account "+other+" is not entered") || f.Use.Events != 2 {
		t.Errorf("%d events, %q", f.Use.Events, g)
	}
	for _, c := range w.cloud.Calls() {
		if c.Operation == "AssumeRole" {
			t.Errorf("%+v", c)
		}
	}
}

// Of a flood of events those that gave identities are kept; the bound is of bytes, too.
func TestEventsBounds(t *testing.T) {
	w := newWorld(t)
	w.did(own, "us-east-1", 0, w.thief(), "iam", "CreateUser", `{"userName":"bd"}`, "")
	for i := range 60 {
		w.did(own, "us-east-1", 1+i, w.thief(), "ec2", "DescribeInstances", "", "")
	}
	for name, set := range map[string]func(*keytrail.Tracer){"events": func(t *keytrail.Tracer) { t.Events = 10 }, "bytes": func(t *keytrail.Tracer) { t.Bytes = 5000 }} {
		tr := w.tracer()
		set(tr)
		f := w.trace(tr, w.key)
		if g := gaps(f); len(f.Events) > 11 || !slices.Contains(made(f), "user/bd") || len(g) != 1 || !strings.HasPrefix(g[0], "events: there are more than") {
			t.Errorf("%s: %d events, %q, %q", name, len(f.Events), made(f), g)
		}
	}
}

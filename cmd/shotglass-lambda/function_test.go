package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// A target of each kind is contained by a message, and by the same again nothing more is done; a message releases
// it to what it was. All is told in Vectra's words, which those who wait for them know.
func TestContainRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.state()
	for _, tt := range []struct{ arn, told string }{
		{w.hostARN(), w.hostARN()},
		{w.alice.ARN, w.alice.ARN},
		{w.web.ARN, w.web.ARN},
		{w.thumb.ARN, w.thumb.ARN},
		{w.bob.ARN, w.bob.ARN}, // through a role there
		{w.key.ID, w.key.ID},
	} {
		w.sns.sent = nil
		contain := w.ask("m-1", tt.arn)
		w.want(contain, "", "")
		if r := w.last(); r.Outcome != containment.Held && r.Outcome != containment.Unverified || r.Message != "m-1" || r.Journal == "" || len(r.Head) != 64 || r.Case != "lockdown" {
			t.Errorf("%s: %+v", tt.arn, r)
		}
		w.wantLines("Entity Lockdown status: Started. Details: "+tt.told, "Entity Lockdown status: Complete. Details: "+tt.told)
		if got := *w.sns.sent[0].Subject; got != "Entity Lockdown Notification" {
			t.Errorf("subject %q", got)
		}
		if w.state() == before {
			t.Errorf("%s: nothing was changed", tt.arn)
		}
		held, n := w.state(), w.writes()
		w.want(contain, "", "") // delivered again
		if w.state() != held || w.writes() != n {
			t.Errorf("%s: delivered again it made %d calls", tt.arn, w.writes()-n)
		}
		w.want(w.ask("m-2", tt.arn, "Action", "status"), "", "")
		if r := w.last(); r.Outcome != containment.Held && r.Outcome != containment.Unverified {
			t.Errorf("%s: status %s", tt.arn, r.Outcome)
		}
		w.cloud.Sleep(t.Context(), time.Minute) //nolint:errcheck // virtual
		w.want(w.ask("m-3", tt.arn, "Action", "release"), "", "")
		if got := w.sns.lines(); got[len(got)-1] != "Entity Lockdown release status: Complete. Details: "+tt.told {
			t.Errorf("told %q", got[len(got)-1])
		}
		if got := w.state(); got != before {
			t.Errorf("%s: released it is\n%s\nwas\n%s", tt.arn, got, before)
		}
	}
	for _, c := range w.cloud.Calls() {
		if c.Write > 0 && c.Account == member && !strings.Contains(c.Principal, "shotglass-lockdown-member/shotglass-lockdown") {
			t.Errorf("%s in %s by %s", c.Action, c.Account, c.Principal)
		}
	}
}

// A message that is delivered once more when the opposite was asked for since changes nothing: one that was carried out is
// done, one that never was is an error.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.state()
	tick := func() { w.cloud.Sleep(t.Context(), time.Minute) } //nolint:errcheck // virtual
	late := w.ask("late", w.alice.ARN)
	tick()
	first := w.ask("first", w.alice.ARN)
	w.want(first, "", "")
	held := w.state()
	tick()
	release := w.ask("release", w.alice.ARN, "Action", "release")
	w.want(release, "", "")
	tick()
	w.want(first, "", "")
	if r := w.last(); w.state() != before || !strings.Contains(r.Note, "SNS message release asked for a release") || r.Status != complete {
		t.Errorf("%s, %+v", w.state(), r)
	}
	w.want(late, "Overtaken", "after this was asked for")
	if w.state() != before {
		t.Error("a late message contained again")
	}
	tick()
	w.want(w.ask("second", w.alice.ARN), "", "")
	tick()
	w.want(release, "", "")
	if w.state() != held {
		t.Error("a release that was delivered again took off what was asked for since")
	}
}

// Of a containment and a release what was asked for last holds, whichever is carried out first.
func TestLate(t *testing.T) {
	t.Parallel()
	for _, arn := range []func(*world) string{func(w *world) string { return w.alice.ARN }, (*world).hostARN, func(w *world) string { return w.key.ID }} {
		w := newWorld(t)
		before := w.state()
		tick := func() { w.cloud.Sleep(t.Context(), time.Minute) } //nolint:errcheck // virtual
		contain := w.ask("contain", arn(w))
		tick()
		release := w.ask("release", arn(w), "Action", "release")
		tick()
		for range 3 { // the containment was throttled: the release comes first, and finds nothing
			w.want(release, "Gone", "no such journal")
		}
		w.want(contain, "Overtaken", "SNS message release asked for a release")
		w.want(w.ask("status", arn(w), "Action", "status"), "Gone", "no such journal")
		w.want(release, "Gone", "no such journal")
		if w.state() != before || len(w.entries()) != 1 {
			t.Errorf("%s, %d entries", w.state(), len(w.entries()))
		}
		tick()
		again := w.ask("again", arn(w))
		tick()
		w.want(release, "Gone", "")
		w.want(again, "", "")
		w.want(release, "Overtaken", "SNS message again asked for a containment")
		if w.state() == before {
			t.Error("it is not contained")
		}

		// Carried out late, it is no later than it was asked for.
		w = newWorld(t)
		before = w.state()
		contain = w.ask("contain", arn(w))
		tick()
		release = w.ask("release", arn(w), "Action", "release")
		tick()
		w.want(contain, "", "")
		tick()
		w.want(release, "", "")
		if w.state() != before {
			t.Errorf("it is not released: %s", w.state())
		}
	}
}

// What is wrong with a message, or refused, changes nothing, and is an error, so that it reaches the dead-letter queue.
func TestRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.f.accounts = nil
	w.f.glass = []containment.Target{{Kind: containment.Role, Name: "web"}}
	before := w.state()
	const unknown = "no valid target"
	for _, tt := range []struct {
		payload           []byte
		kind, text, about string
	}{
		{[]byte(`{`), "BadRequest", "none of SNS", unknown},
		{[]byte(`{"Arn":"` + secret + `"}`), "BadRequest", "none of SNS", unknown},
		{[]byte(`{"Records":[{"EventSource":"aws:sns","Sns":{}}]}`), "BadRequest", "no id or time", unknown},
		{[]byte(strings.Repeat(" ", maxEvent+1)), "BadRequest", "larger", unknown},
		{w.event("m"), "BadRequest", "ExternalId is missing or wrong", unknown},
		{w.event("m", "Arn", w.alice.ARN), "BadRequest", "ExternalId is missing or wrong", w.alice.ARN},
		{w.event("m", "Arn", w.alice.ARN, "ExternalId", secret+"x"), "BadRequest", "ExternalId is missing or wrong", w.alice.ARN},
		{w.event("m", "Arn", secret, "ExternalId", w.alice.ARN), "BadRequest", "ExternalId is missing or wrong", unknown}, // the wrong way round
		{w.event("m", "Arn", w.alice.ARN, "ExternalId", "case-42", "CaseId", secret), "BadRequest", "ExternalId is missing or wrong", w.alice.ARN},
		{w.ask("m", w.alice.ARN, "CaseId", secret), "BadRequest", "choose another", w.alice.ARN},
		{w.ask("m", "role/web"), "BadRequest", "short form", "role/web"},
		{w.ask("m", "arn:aws:s3:::bucket"), "BadRequest", "Arn is no ARN", unknown},
		{w.ask("m", w.alice.ARN, "Action", "destroy"), "BadRequest", "Action is none of", w.alice.ARN},
		{w.ask("m", w.alice.ARN, "DryRun", "perhaps"), "BadRequest", "neither true nor false", w.alice.ARN},
		{w.ask("m", "arn:aws:iam::"+account+":root"), "BadRequest", "root user", unknown},
		{w.ask("m", self), "Refused", "what you are calling as", self},
		{w.ask("m", w.web.ARN), "Refused", "break-glass", w.web.ARN},
		{w.ask("m", w.bob.ARN), "Refused", "SHOTGLASS_ACCOUNTS", w.bob.ARN},
		{w.ask("m", "arn:aws:iam::999999999999:user/eve"), "Refused", "999999999999", "arn:aws:iam::999999999999:user/eve"},
		{w.ask("m", "arn:aws:iam::"+account+":user/nobody"), "Gone", "no longer exists", "arn:aws:iam::" + account + ":user/nobody"},
		{w.ask("m", "arn:aws-cn:iam::"+account+":user/alice"), "Unfinished", "partition", "arn:aws-cn:iam::" + account + ":user/alice"},
		{w.ask("m", w.alice.ARN, "Action", "status", "CaseId", "other"), "Gone", "no such journal", w.alice.ARN},
	} {
		w.want(tt.payload, tt.kind, tt.text)
		r := w.last()
		if r.Status != failed || string(r.Kind) != tt.kind || !strings.Contains(r.Error, tt.text) || !strings.Contains(w.sns.lines()[len(w.sns.sent)-1], "Failed. Details: "+tt.about) {
			t.Errorf("%s: told %s: %+v", tt.text, w.sns.lines()[len(w.sns.sent)-1], r)
		}
	}
	if w.state() != before || w.writes() > 0 {
		t.Error("something was changed")
	}
	if names, err := w.place.List(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("journals %v, %v", names, err)
	}
}

// An access key has no ARN that names its account: none is reached that the function is not for, by no action.
func TestKeyElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.bob.AddKey("Active")
	w.f.accounts = nil
	for _, action := range []string{"contain", "release", "status"} {
		w.want(w.ask("m", key.ID, "Action", action), "Refused", member+" is not among those")
	}
	for _, c := range w.cloud.Calls() {
		if c.Action == "sts:AssumeRole" || c.Account == member {
			t.Errorf("%s in %s", c.Action, c.Account)
		}
	}
	w.f.accounts = []string{member}
	w.want(w.ask("m", key.ID), "", "")
}

// A dry run plans, says what is missing, and changes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.state()
	w.want(w.ask("m-1", w.hostARN(), "DryRun", "true"), "", "")
	r := w.last()
	if len(r.Planned) < 5 || r.Outcome != "" || r.Status != complete {
		t.Errorf("%+v", r)
	}
	w.wantLines("Entity Lockdown dry run status: Started. Details: "+w.hostARN(), "Entity Lockdown dry run status: Complete. Details: "+w.hostARN())
	if err := w.cloud.Restrict(self, []byte(`{"Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*","sts:*"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	w.want(w.ask("m-2", w.alice.ARN, "DryRun", "true"), "Denied", "permissions are missing")
	if r := w.last(); len(r.Missing) == 0 || !strings.Contains(*w.sns.sent[3].Message, "Permission missing: iam:") {
		t.Errorf("%+v", r)
	}
	if w.state() != before || w.writes() > 0 {
		t.Error("a dry run changed something")
	}
	if names, err := w.place.List(t.Context()); err != nil || len(names) > 0 {
		t.Errorf("journals %v, %v", names, err)
	}
}

// What may be done is done though a permission is missing, and the end is no success.
func TestDenied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.cloud.Restrict(self, []byte(`{"Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*","sts:*","iam:PutUserPolicy","iam:AttachUserPolicy"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	w.want(w.ask("m-1", w.alice.ARN), "NotContained", "partial")
	if len(w.alice.Attached) == 0 || w.key.Status != "Active" {
		t.Error("what was allowed was not done")
	}
	if r := w.last(); !r.Again || r.Outcome != containment.Partial || len(r.Changes) == 0 {
		t.Errorf("%+v", r)
	}
}

// What stays open is no success either.
func TestResidual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.eni.Subnet = w.reg.AddSubnet(w.vpc.ID, awsfake.Route{To: "0.0.0.0/0", Via: "nat-1"}).ID
	})
	w.want(w.ask("m-1", w.hostARN()), "NotContained", "residual")
	if body := *w.sns.sent[1].Message; !strings.Contains(body, "Stays open: nat") {
		t.Error(body)
	}
}

// Throttled once at each call, it comes through; throttled for good, it is an error, and the next delivery finishes it.
func TestThrottled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Attempt == 1 {
				return awsfake.Fault{Error: awsfake.Throttled}
			}
			return awsfake.Fault{}
		}
	})
	w.want(w.ask("m-1", w.hostARN()), "", "")

	w = newWorld(t)
	w.cloud.Edit(func() {
		w.cloud.Fault = func(*awsfake.Call) awsfake.Fault { return awsfake.Fault{Error: awsfake.Throttled} }
	})
	m := w.ask("m-1", w.hostARN())
	w.want(m, "Unfinished", "RequestLimitExceeded")
	if r := w.last(); !r.Again || r.Status != failed {
		t.Errorf("%+v", r)
	}
	w.cloud.Edit(func() { w.cloud.Fault = nil })
	w.want(m, "", "")
}

// The start that cannot be told holds nothing up. The end that cannot be told is an error, though all is done.
func TestAuditFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sns.fails = func(n int) error { return []error{nil, errors.New("no topic")}[n%2] }
	m := w.ask("m-1", w.alice.ARN)
	w.want(m, "", "")
	if r := w.last(); len(w.alice.Attached) == 0 || r.Note == "" {
		t.Errorf("%+v", r)
	}
	w.sns.fails = func(int) error { return errors.New("no topic") }
	w.want(m, "Unaudited", "contain is done, but that could not be told")
	w.want(w.event("m-2"), "BadRequest", "no topic")
}

func TestInTime(t *testing.T) {
	for _, tt := range []struct{ has, want time.Duration }{{10 * time.Minute, 10*time.Minute - margin}, {time.Minute, 30 * time.Second}, {-time.Second, -time.Second / 2}} {
		hard, cancel := context.WithTimeout(t.Context(), tt.has)
		defer cancel()
		soft, cancel := inTime(hard)
		defer cancel()
		end, _ := soft.Deadline()
		if got := time.Until(end); got > tt.want || got < tt.want-5*time.Second {
			t.Errorf("of %s it works for %s", tt.has, got)
		}
		if tt.has < 0 && !errors.Is(context.Cause(soft), context.DeadlineExceeded) && !errors.Is(context.Cause(soft), errTime) {
			t.Errorf("cause %v", context.Cause(soft))
		}
	}
}

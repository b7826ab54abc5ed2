package iam_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const (
	home      = "111122223333"
	responder = "arn:aws:iam::111122223333:role/ir/responder"
	denyAll   = "arn:aws:iam::aws:policy/AWSDenyAll"
)

// world is an account with a user that has everything, a role, and an engine to contain them with.
type world struct {
	*testing.T
	cloud  *awsfake.Cloud
	acct   *awsfake.Account
	alice  *awsfake.User
	key    *awsfake.Credential // her active one
	web    *awsfake.Role
	engine *containment.Engine
	dir    containment.Dir
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New(), dir: containment.Dir(t.TempDir())}
	t.Cleanup(w.cloud.Close)
	w.acct = w.cloud.Account(home)
	w.alice = w.acct.AddUser("/team/blue/", "alice+ops")
	w.key = w.alice.AddKey("Active")
	w.alice.AddKey("Inactive")
	w.alice.Policies["own"] = `{"Version":"2012-10-17", "Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::a+b/*"}]}`
	w.alice.Attached = []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}
	w.alice.Password, w.alice.Groups, w.alice.MFA = true, []string{"admins", "blue"}, []string{"arn:aws:iam::111122223333:mfa/alice"}
	w.alice.Tags["team"] = "blue"
	w.alice.ServiceCredentials = []*awsfake.Credential{{ID: "ACCA1", Status: "Active", Service: "codecommit.amazonaws.com"}, {ID: "ACCA2", Status: "Expired", Service: "bedrock.amazonaws.com"}}
	w.alice.SSHKeys = []*awsfake.Credential{{ID: "APKA1", Status: "Active"}, {ID: "APKA2", Status: "Inactive"}}
	w.alice.Certificates = []*awsfake.Credential{{ID: "CERT1", Status: "Active"}}
	w.web = w.acct.AddRole("/service/", "web")
	w.web.Profiles, w.web.Used = []string{"web-a", "web-b"}, awsfake.Start.Add(-time.Hour)
	w.acct.AddRole("/ir/", "responder")
	w.engine = w.caller(responder)
	return w
}

// caller is an engine of who calls.
func (w *world) caller(arn string) *containment.Engine {
	cfg := w.cloud.Config(arn, "eu-west-1")
	config := func(context.Context, containment.Target) (aws.Config, error) { return cfg, nil }
	return &containment.Engine{
		Services: []containment.Service{&iam.Service{Config: config}}, Journals: w.dir, Tool: "test", Now: w.cloud.Now, Sleep: w.cloud.Sleep,
		Caller: containment.Identity{ARN: arn, Account: home},
	}
}

func (w *world) target(s string) containment.Target {
	w.Helper()
	t, err := containment.ParseTarget(s)
	if err != nil {
		w.Fatal(err)
	}
	return t
}

func (w *world) plan(target string, o containment.Options) *containment.Plan {
	w.Helper()
	o.Case = "case-42"
	p, err := w.engine.Plan(w.Context(), w.target(target), o)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) contain(target string, o containment.Options, a containment.ApplyOptions) *containment.Result {
	w.Helper()
	r, err := w.engine.Apply(w.Context(), w.plan(target, o), a)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) release(journal string, also ...string) *containment.Result {
	w.Helper()
	r, err := w.engine.Release(w.Context(), journal, containment.ReleaseOptions{Also: also})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) outcome(r *containment.Result, want containment.Outcome) {
	w.Helper()
	if r.Outcome != want {
		w.Errorf("outcome %s, want %s: %s", r.Outcome, want, asJSON(r))
	}
}

// journal checks that the journal is whole, and returns its entries.
func (w *world) journal(name string) []containment.Entry {
	w.Helper()
	b, err := w.dir.Load(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	entries, err := containment.ParseJournal(b)
	if err != nil {
		w.Fatal(err)
	}
	return entries
}

// states is all that the user and the role are, policies as JSON without spaces.
func (w *world) states() string {
	var s string
	w.cloud.Edit(func() { s = asJSON(w.alice) + asJSON(w.web) })
	return s
}

func asJSON(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

// same compares policies whatever their spacing.
func same(t *testing.T, got, want string) {
	t.Helper()
	if d := cmp.Diff(strings.ReplaceAll(want, " ", ""), strings.ReplaceAll(got, " ", "")); d != "" {
		t.Errorf("differs (-want +got):\n%s", d)
	}
}

var allKinds = []string{"iam/access-key", "iam/service-credential", "iam/ssh-key", "iam/signing-certificate"}

func (w *world) denied(e *awsfake.Entity) bool {
	return slices.Contains(e.Attached, denyAll) && strings.Contains(e.Policies[iam.PolicyName], `"Deny"`)
}

func (w *world) off() bool {
	ok := true
	for _, c := range slices.Concat(w.alice.Keys, w.alice.SSHKeys, w.alice.ServiceCredentials, w.alice.Certificates) {
		ok = ok && c.Status != "Active"
	}
	return ok
}

// Contained twice and released with all kinds that are kept otherwise, a user is as before.
func TestUser(t *testing.T) {
	for _, size := range []int{0, 1} {
		t.Run(fmt.Sprint("page size ", size), func(t *testing.T) {
			w := newWorld(t)
			w.cloud.PageSize = size
			before := w.states()
			p := w.plan("arn:aws:iam::111122223333:user/team/blue/alice+ops", containment.Options{})
			if d := cmp.Diff([]string{iam.RiskUser}, p.Risks()); d != "" {
				t.Error(d)
			}
			all := strings.Join(p.Warnings, "\n")
			if !strings.Contains(all, "password") {
				t.Errorf("nothing about the password in %q", all)
			}
			for _, part := range []string{`"groups":["admins","blue"]`, `"own":{`, "a+b", "ReadOnlyAccess", "mfa/alice"} {
				if !bytes.Contains(p.Evidence, []byte(part)) {
					t.Errorf("no %s in the evidence %s", part, p.Evidence)
				}
			}
			r := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{})
			w.outcome(r, containment.Held)
			if !w.denied(&w.alice.Entity) || !w.off() {
				t.Errorf("not contained: %s", w.states())
			}
			w.cloud.Reset()
			w.outcome(w.contain("user/ALICE+ops", containment.Options{}, containment.ApplyOptions{}), containment.Held)
			for _, c := range w.cloud.Calls() {
				if c.Writes {
					t.Errorf("the second contain called %s", c.Action)
				}
			}
			w.outcome(w.release(r.Journal), containment.Released)
			if w.denied(&w.alice.Entity) || !w.off() {
				t.Errorf("after a release: %s", w.states())
			}
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
			same(t, w.states(), before)
			w.journal(r.Journal)
		})
	}
}

// Every call about a key names the user: without, IAM would take the responder's.
func TestKeysNameTheirUser(t *testing.T) {
	w := newWorld(t)
	w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{})
	n := 0
	for _, c := range w.cloud.Calls() {
		if c.Operation == "UpdateAccessKey" || c.Operation == "ListAccessKeys" {
			n++
			if c.Form.Get("UserName") != "alice+ops" {
				t.Errorf("%s for the user %q", c.Operation, c.Form.Get("UserName"))
			}
		}
	}
	if n < 2 {
		t.Errorf("only %d calls", n)
	}
}

// Killed at every call that changes something, before and after its effect: resume contains, release frees.
func TestCrashAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			before := w.states()
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				return awsfake.Fault{Crash: c.Write == n, After: after}
			}
			r, err := w.engine.Apply(t.Context(), w.plan("user/alice+ops", containment.Options{}), containment.ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			w.cloud.Edit(func() { w.cloud.Fault = nil })
			w.cloud.Revive()
			if r.Outcome == containment.Held {
				if n < 7 {
					t.Errorf("only %d calls change something", n-1)
				}
				break
			}
			if n%2 == 0 {
				again, err := w.engine.Resume(t.Context(), r.Journal, containment.ApplyOptions{})
				if err != nil {
					t.Fatal(err)
				}
				w.outcome(again, containment.Held)
				if !w.denied(&w.alice.Entity) || !w.off() {
					t.Errorf("call %d: not contained: %s", n, w.states())
				}
			}
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
			same(t, w.states(), before)
		}
	}
}

// IAM shows changes late: a release just after a crash, and a containment just after a release, see it as it was before.
// Neither takes that for how it is.
func TestLateReads(t *testing.T) {
	for n := 1; n <= 3; n++ {
		w := newWorld(t)
		before := w.states()
		w.acct.IAM().Delay = 4 * time.Second
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault { return awsfake.Fault{Crash: c.Write == n, After: true} }
		r, err := w.engine.Apply(t.Context(), w.plan("user/alice+ops", containment.Options{}), containment.ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		w.cloud.Revive()
		w.outcome(w.release(r.Journal, allKinds...), containment.Released)
		same(t, w.states(), before)

		w.outcome(w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{}), containment.Held)
		w.outcome(w.release(r.Journal, allKinds...), containment.Released)
		again := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: 20 * time.Second})
		w.outcome(again, containment.Held)
		if !w.denied(&w.alice.Entity) || !w.off() || again.Tampering != 0 {
			t.Errorf("tampering %d times: %s", again.Tampering, w.states())
		}
		w.outcome(w.release(r.Journal, allKinds...), containment.Released)
		same(t, w.states(), before)
	}
}

// An attacker who does not stop: told as such.
func TestAttackerWhoDoesNotStop(t *testing.T) {
	w := newWorld(t)
	w.cloud.Attacker = func() {
		delete(w.alice.Policies, iam.PolicyName)
		w.alice.Attached = nil
	}
	r := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: time.Minute})
	w.outcome(r, containment.Tampered)
	told := slices.ContainsFunc(r.Residuals, func(r containment.Residual) bool { return r.Path == "still-undone" })
	if r.Tampering < 90 || !told {
		t.Errorf("tampering %d times: %+v", r.Tampering, r.Residuals)
	}
}

// An attacker who undoes what is done, and IAM that shows it late: all is done again, and told.
func TestTampering(t *testing.T) {
	w := newWorld(t)
	w.acct.IAM().Delay = 3 * time.Second
	until := awsfake.Start.Add(40 * time.Second)
	w.cloud.Attacker = func() {
		if n := w.cloudNow(); n.After(awsfake.Start.Add(8*time.Second)) && n.Before(until) {
			delete(w.alice.Policies, iam.PolicyName)
			w.alice.Attached = nil
			w.key.Status = "Active"
		}
	}
	r := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: time.Minute})
	w.outcome(r, containment.Tampered)
	if r.Tampering == 0 || !w.denied(&w.alice.Entity) || !w.off() {
		t.Errorf("%d times: %s", r.Tampering, w.states())
	}
	told := slices.ContainsFunc(w.journal(r.Journal), func(e containment.Entry) bool { return e.Kind == containment.EntryTamper })
	if !told {
		t.Error("the journal tells nothing of it")
	}
}

// cloudNow is the time for an attacker, who acts while the cloud is locked.
func (w *world) cloudNow() time.Time { return w.cloud.LockedNow() }

// A key that the attacker makes while the others are switched off is switched off too.
func TestNewKey(t *testing.T) {
	w := newWorld(t)
	made := &awsfake.Credential{ID: "AKIAQQQQQQQQQQQQQQQQ", Status: "Active"}
	w.cloud.Attacker = func() {
		if !slices.Contains(w.alice.Keys, made) {
			w.alice.Keys = append(w.alice.Keys, made)
		}
	}
	w.outcome(w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: 5 * time.Second}), containment.Held)
	if made.Status != "Inactive" {
		t.Error("the new key is " + made.Status)
	}
}

// Late reads are no tampering.
func TestDelay(t *testing.T) {
	w := newWorld(t)
	w.acct.IAM().Delay = 4 * time.Second
	r := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{Watch: 20 * time.Second})
	w.outcome(r, containment.Held)
	if r.Tampering != 0 {
		t.Errorf("%d times", r.Tampering)
	}
}

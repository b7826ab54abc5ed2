package lambda_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
)

const (
	responder = "arn:aws:iam::111122223333:role/ir/responder"
	thumbsARN = "arn:aws:lambda:eu-west-1:111122223333:function:thumbs"
	quiet     = "shotglass-quarantine-lambda-eu-west-1-thumbs"
	revoked   = "shotglass-revoke-lambda-eu-west-1-thumbs"
)

// world is a region with the function thumbs, which has everything, and another with the same role.
type world struct {
	*testing.T
	cloud         *awsfake.Cloud
	region        *awsfake.Region
	thumbs, other *awsfake.Function
	role, old     *awsfake.Role // of $LATEST and the other function, and of version 1
	engine        *containment.Engine
	dir           containment.Dir
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New(), dir: containment.Dir(t.TempDir())}
	t.Cleanup(w.cloud.Close)
	acct := w.cloud.Account("111122223333")
	w.region = acct.Region("eu-west-1")
	w.role, w.old = acct.AddRole("/service-role/", "thumbs-role"), acct.AddRole("/", "thumbs-role-of-old")
	w.thumbs = w.region.AddFunction("thumbs", w.role.ARN)
	w.thumbs.Versions = append(w.thumbs.Versions, &awsfake.FunctionVersion{Version: "1", Role: w.old.ARN}, &awsfake.FunctionVersion{Version: "2", Role: w.role.ARN})
	w.thumbs.Aliases = map[string]string{"live": "2"}
	w.thumbs.Policy = `{"Version":"2012-10-17","Statement":[]}`
	w.thumbs.Provisioned = map[string]int{"live": 5, "1": 2}
	w.thumbs.URLs = map[string]string{"": "NONE", "live": "AWS_IAM"}
	w.thumbs.Sources = []*awsfake.EventSource{
		{UUID: "uuid-queue", Function: thumbsARN, Source: "arn:aws:sqs:eu-west-1:111122223333:in", State: "Enabled"},
		{UUID: "uuid-stream", Function: thumbsARN + ":live", Source: "arn:aws:kinesis:eu-west-1:111122223333:stream/in", State: "Enabled"},
		{UUID: "uuid-off", Function: thumbsARN, Source: "arn:aws:sqs:eu-west-1:111122223333:off", State: "Disabled"},
	}
	w.other = w.region.AddFunction("thumbs2", w.role.ARN)
	w.other.Sources = []*awsfake.EventSource{{UUID: "uuid-other", Function: thumbsARN + "2", State: "Enabled"}}
	cfg := w.cloud.Config(responder, "eu-west-1")
	config := func(context.Context, containment.Target) (aws.Config, error) { return cfg, nil }
	roles := &iam.Service{Config: config}
	w.engine = &containment.Engine{
		Services: []containment.Service{&lambda.Service{Config: config, Roles: roles}, roles}, Journals: w.dir, Tool: "test", Now: w.cloud.Now, Sleep: w.cloud.Sleep,
		Caller: containment.Identity{ARN: responder, Account: "111122223333"},
	}
	return w
}

func (w *world) plan(o containment.Options) *containment.Plan {
	w.Helper()
	o.Case = "case-42"
	p, err := w.engine.Plan(w.Context(), containment.Target{Kind: containment.Function, Name: "thumbs"}, o)
	if err != nil {
		w.Fatal(err)
	}
	return p
}

func (w *world) contain(o containment.Options, a containment.ApplyOptions) *containment.Result {
	w.Helper()
	r, err := w.engine.Apply(w.Context(), w.plan(o), a)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) release(journal string) *containment.Result {
	w.Helper()
	r, err := w.engine.Release(w.Context(), journal, containment.ReleaseOptions{})
	if err != nil {
		w.Fatal(err)
	}
	b, err := w.dir.Load(w.Context(), journal)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := containment.ParseJournal(b); err != nil {
		w.Error(err)
	}
	return r
}

func (w *world) outcome(r *containment.Result, want containment.Outcome) {
	w.Helper()
	if r.Outcome != want {
		w.Errorf("outcome %s, want %s: %s", r.Outcome, want, asJSON(r))
	}
}

// states is all that the functions and their roles are, once every change has settled.
func (w *world) states() string {
	var s string
	w.cloud.Edit(func() { s = asJSON([]any{w.thumbs, w.other, w.role, w.old}) })
	return strings.ReplaceAll(s, "ing\"", "ed\"") // Enabling, Disabling
}

func asJSON(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		panic(err)
	}
	return strings.ReplaceAll(string(b), "Enabling", "Enabled")
}

// stopped reports whether the function is, in all its ways.
func (w *world) stopped() bool {
	f := w.thumbs
	return f.Reserved != nil && *f.Reserved == 0 && len(f.Provisioned) == 0 && f.URLs[""] == "AWS_IAM" &&
		strings.HasPrefix(f.Sources[0].State, "Disabl") && strings.HasPrefix(f.Sources[1].State, "Disabl") &&
		strings.Contains(w.role.Policies[quiet], thumbsARN+`"`) && strings.Contains(w.old.Policies[quiet], "lambda:SourceFunctionArn")
}

// Contained twice and released, the function is as before; nothing else was touched.
func TestFunction(t *testing.T) {
	for _, size := range []int{0, 1} {
		for _, reserved := range []*int{nil, aws.Int(40)} {
			w := newWorld(t)
			w.cloud.PageSize, w.thumbs.Reserved = size, reserved
			before, other := w.states(), asJSON(w.other)
			p := w.plan(containment.Options{})
			if bytes.Contains(p.Evidence, []byte("hunter2")) {
				t.Error("a secret of the environment is in the evidence")
			}
			for _, part := range []string{"DB_PASSWORD", "sha-of-$LATEST", `"live":"2"`, "thumbs-role"} {
				if !bytes.Contains(p.Evidence, []byte(part)) {
					t.Errorf("no %s in the evidence %s", part, p.Evidence)
				}
			}
			r := w.contain(containment.Options{}, containment.ApplyOptions{Watch: 5 * time.Second})
			w.outcome(r, containment.Held)
			if !w.stopped() || asJSON(w.other) != other {
				t.Errorf("not contained alone: %s", w.states())
			}
			w.cloud.Reset()
			w.outcome(w.contain(containment.Options{}, containment.ApplyOptions{}), containment.Held)
			for _, c := range w.cloud.Calls() {
				if c.Writes {
					t.Errorf("the second contain called %s", c.Action)
				}
			}
			w.outcome(w.release(r.Journal), containment.Released)
			if d := cmp.Diff(before, w.states()); d != "" {
				t.Errorf("after the release (-before +after):\n%s", d)
			}
		}
	}
}

func TestCrashAnywhere(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			w := newWorld(t)
			before := w.states()
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault { return awsfake.Fault{Crash: c.Write == n, After: after} }
			r, err := w.engine.Apply(t.Context(), w.plan(containment.Options{}), containment.ApplyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			w.cloud.Edit(func() { w.cloud.Fault = nil })
			w.cloud.Revive()
			if r.Outcome == containment.Held {
				if n < 9 {
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
				if !w.stopped() {
					t.Errorf("call %d: not contained: %s", n, w.states())
				}
			}
			w.outcome(w.release(r.Journal), containment.Released)
			if d := cmp.Diff(before, w.states()); d != "" {
				t.Errorf("call %d, after the release (-before +after):\n%s", n, d)
			}
		}
	}
}

// A permission that is missing at each call in turn: an error that names it, or a result that tells.
func TestPermissionMissing(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		var hit *awsfake.Call
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if hit == nil && c.Seq == n || hit != nil && c.Action == hit.Action {
				call := *c
				hit = &call
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
		p, err := w.engine.Plan(t.Context(), containment.Target{Kind: containment.Function, Name: "thumbs"}, containment.Options{Case: "case-42"})
		if err != nil {
			if !errors.Is(err, containment.ErrDenied) || !strings.Contains(err.Error(), hit.Action) {
				t.Errorf("%s denied: %v", hit.Action, err)
			}
			continue
		}
		planned := hit != nil
		r, err := w.engine.Apply(t.Context(), p, containment.ApplyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if hit == nil {
			if n < 20 {
				t.Errorf("only %d calls", n-1)
			}
			return
		}
		evidence := r.Outcome == containment.Held && w.stopped() && (!planned || strings.Contains(asJSON(p.Warnings)+asJSON(p.Unchecked), hit.Action))
		if r.Outcome == containment.Held && !evidence || !evidence && !strings.Contains(asJSON(p)+asJSON(r), hit.Action) {
			t.Errorf("%s denied: %s: %s", hit.Action, r.Outcome, asJSON(r))
		}
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		w.outcome(w.release(r.Journal), containment.Released)
	}
}

// A permission that is missing at each call of a release in turn: what stays is told, and the next one gives it back.
func TestReleasePermissionMissing(t *testing.T) {
	for n := 1; ; n++ {
		w := newWorld(t)
		before := w.states()
		r := w.contain(containment.Options{Mode: lambda.ModeStrict}, containment.ApplyOptions{})
		w.cloud.Reset()
		denied := ""
		w.cloud.Edit(func() {
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if denied == "" && c.Seq == n {
					denied = c.Action
				}
				if c.Action == denied {
					return awsfake.Fault{Error: awsfake.Denied(c)}
				}
				return awsfake.Fault{}
			}
		})
		back := w.release(r.Journal)
		w.cloud.Edit(func() { w.cloud.Fault = nil })
		if denied == "" {
			if w.outcome(back, containment.Released); n < 14 {
				t.Errorf("only %d calls", n-1)
			}
			return
		}
		if w.outcome(back, containment.Partial); !strings.Contains(asJSON(back), denied) {
			t.Errorf("%s denied: nothing tells: %s", denied, asJSON(back))
		}
		w.outcome(w.release(r.Journal), containment.Released)
		if d := cmp.Diff(before, w.states()); d != "" {
			t.Errorf("%s denied, after the second release (-before +after):\n%s", denied, d)
		}
	}
}

// Every call is throttled at first, as Lambda words it and as IAM does, and succeeds when tried again.
func TestThrottling(t *testing.T) {
	w := newWorld(t)
	throttled := 0
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Attempt > 1 {
			return awsfake.Fault{}
		}
		throttled++
		code := "Throttling"
		if strings.HasPrefix(c.Action, "lambda:") {
			code = "TooManyRequestsException"
		}
		return awsfake.Fault{Error: &awsfake.Error{Code: code, Message: "Rate exceeded", Status: 429}}
	}
	before := w.states()
	r := w.contain(containment.Options{}, containment.ApplyOptions{})
	if w.outcome(r, containment.Held); !w.stopped() || throttled < 30 {
		t.Errorf("throttled %d times: %s", throttled, w.states())
	}
	w.outcome(w.release(r.Journal), containment.Released)
	if d := cmp.Diff(before, w.states()); d != "" {
		t.Errorf("after the release (-before +after):\n%s", d)
	}
}

// An attacker who opens it again, for a while.
func TestTampering(t *testing.T) {
	w := newWorld(t)
	start := w.cloud.Now()
	w.cloud.Attacker = func() {
		if at := w.cloud.LockedNow().Sub(start); at > 15*time.Second && at < 30*time.Second {
			w.thumbs.Reserved, w.thumbs.URLs[""], w.thumbs.Sources[0].State = nil, "NONE", "Enabled"
			delete(w.role.Policies, quiet)
		}
	}
	before := w.states()
	r := w.contain(containment.Options{}, containment.ApplyOptions{Watch: time.Minute})
	w.outcome(r, containment.Tampered)
	if r.Tampering < 4 || !w.stopped() {
		t.Errorf("%d times: %s", r.Tampering, w.states())
	}
	w.outcome(w.release(r.Journal), containment.Released)
	if d := cmp.Diff(before, w.states()); d != "" {
		t.Errorf("after the release (-before +after):\n%s", d)
	}
}

// Only 0 can be reserved where too little stays unreserved; going back to more may no longer be possible.
func TestUnreserved(t *testing.T) {
	w := newWorld(t)
	w.thumbs.Reserved = aws.Int(300)
	r := w.contain(containment.Options{}, containment.ApplyOptions{})
	w.cloud.Edit(func() { w.other.Reserved = aws.Int(800) })
	back := w.release(r.Journal)
	w.outcome(back, containment.Partial)
	if !strings.Contains(asJSON(back), "100 must stay unreserved") {
		t.Errorf("nothing tells why: %s", asJSON(back))
	}
	w.cloud.Edit(func() { w.other.Reserved = nil })
	w.outcome(w.release(r.Journal), containment.Released)
	if *w.thumbs.Reserved != 300 || w.thumbs.Provisioned["live"] != 5 {
		t.Errorf("after the second release: %s", w.states())
	}
}

// Functions on managed instances know no reserved concurrency; their versions' limits become 0.
func TestManaged(t *testing.T) {
	w := newWorld(t)
	w.thumbs.Provisioned = map[string]int{}
	for _, v := range w.thumbs.Versions {
		v.Managed = true
	}
	w.thumbs.Versions[2].Limits = &[2]int{3, 30}
	before := w.states()
	r := w.contain(containment.Options{}, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	for _, v := range w.thumbs.Versions[1:] {
		if v.Limits == nil || *v.Limits != [2]int{} {
			t.Errorf("version %s: %v", v.Version, v.Limits)
		}
	}
	if w.thumbs.Reserved != nil {
		t.Error("a concurrency is reserved")
	}
	w.outcome(w.release(r.Journal), containment.Released)
	if d := cmp.Diff(before, w.states()); d != "" {
		t.Errorf("after the release (-before +after):\n%s", d)
	}
}

// Durable executions outlive it: told, and ended only when asked for.
func TestDurableExecutions(t *testing.T) {
	w := newWorld(t)
	w.thumbs.Versions[1].Durable = true
	w.thumbs.Executions = []*awsfake.Execution{{Name: "a", Status: "RUNNING"}, {Name: "b", Status: "SUCCEEDED"}}
	w.outcome(w.contain(containment.Options{}, containment.ApplyOptions{}), containment.Remaining)
	if w.thumbs.Executions[0].Status != "RUNNING" {
		t.Error("it was ended without being asked for")
	}
	o := containment.Options{Irreversible: []string{lambda.Executions}}
	if p := w.plan(o); !slices.Contains(p.Risks(), lambda.RiskExecutions) {
		t.Errorf("risks %v", p.Risks())
	}
	r := w.contain(o, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	if w.thumbs.Executions[0].Status != "STOPPED" || w.thumbs.Executions[1].Status != "SUCCEEDED" {
		t.Errorf("%+v", w.thumbs.Executions)
	}
	back := w.release(r.Journal)
	w.outcome(back, containment.Released)
	if !strings.Contains(asJSON(back), "cannot be resumed") {
		t.Error("the release does not tell what it cannot undo")
	}
}

// In strict mode the sessions of the roles are revoked too. The responder's own role is refused.
func TestStrict(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	r := w.contain(containment.Options{Mode: lambda.ModeStrict}, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	if !w.stopped() || !strings.Contains(w.role.Policies[revoked], "aws:TokenIssueTime") || !strings.Contains(w.old.Policies[revoked], "aws:TokenIssueTime") {
		t.Errorf("not contained: %s", w.states())
	}
	w.outcome(w.release(r.Journal), containment.Released)
	if d := cmp.Diff(before, w.states()); d != "" {
		t.Errorf("after the release (-before +after):\n%s", d)
	}
	w.engine.Caller.ARN = "arn:aws:sts::111122223333:assumed-role/thumbs-role/alice"
	if _, err := w.engine.Plan(t.Context(), containment.Target{Kind: containment.Function, Name: "thumbs"}, containment.Options{Mode: lambda.ModeStrict}); !errors.Is(err, containment.ErrRefused) {
		t.Errorf("the responder's own role: %v", err)
	}
}

// Two functions and their role itself are contained at once: none undoes another's, and each is released alone.
func TestStrictWithItsRole(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	var wg sync.WaitGroup
	targets := []containment.Target{{Kind: containment.Function, Name: "thumbs"}, {Kind: containment.Function, Name: "thumbs2"}, {Kind: containment.Role, Name: "thumbs-role"}, {Kind: containment.Role, Name: "thumbs-role"}}
	modes := []string{lambda.ModeStrict, lambda.ModeStrict, iam.ModeDeny, iam.ModeRevoke}
	journals := make([]string, len(targets))
	for n, target := range targets {
		wg.Go(func() {
			o := containment.Options{Mode: modes[n], Case: "case-" + strconv.Itoa(n)}
			p, err := w.engine.Plan(t.Context(), target, o)
			if err != nil {
				t.Error(err)
				return
			}
			r, err := w.engine.Apply(t.Context(), p, containment.ApplyOptions{Watch: 30 * time.Second})
			if err != nil {
				t.Error(err)
				return
			}
			w.outcome(r, containment.Held)
			journals[n] = r.Journal
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	if p := w.role.Policies; strings.Contains(p[iam.PolicyName], "Condition") || !strings.Contains(p[iam.RevokeName], "aws:TokenIssueTime") ||
		!strings.Contains(p[revoked], "aws:TokenIssueTime") || !strings.Contains(p[revoked+"2"], "aws:TokenIssueTime") {
		t.Errorf("policies %s", asJSON(p))
	}
	w.outcome(w.release(journals[2]), containment.Released)
	if p := w.role.Policies; p[iam.PolicyName] != "" || p[iam.RevokeName] == "" || p[revoked] == "" || p[revoked+"2"] == "" {
		t.Errorf("after the release of one: %s", asJSON(p))
	}
	for _, n := range []int{0, 1, 3} {
		w.outcome(w.release(journals[n]), containment.Released)
	}
	if d := cmp.Diff(before, w.states()); d != "" {
		t.Errorf("after the releases (-before +after):\n%s", d)
	}
}

// What is not there, or not where it was said to be.
func TestNoFunction(t *testing.T) {
	w := newWorld(t)
	for target, is := range map[string]error{
		"function/thumb": containment.ErrGone,
		"arn:aws:lambda:eu-west-1:444455556666:function:thumbs": nil,
		"arn:aws:lambda:eu-west-2:111122223333:function:thumbs": nil,
	} {
		tg, err := containment.ParseTarget(target)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.engine.Plan(t.Context(), tg, containment.Options{}); err == nil || is != nil && !errors.Is(err, is) {
			t.Errorf("%s: %v", target, err)
		}
	}
	r := w.contain(containment.Options{}, containment.ApplyOptions{})
	w.region.RemoveFunction("thumbs")
	w.outcome(w.release(r.Journal), containment.Released)
	if w.role.Policies[quiet] != "" {
		t.Error("the role's policy is left")
	}
}

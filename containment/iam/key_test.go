package iam_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// A key is contained with its user, in one journal with the user's own containment.
func TestKey(t *testing.T) {
	w := newWorld(t)
	before := w.states()
	r := w.contain(w.key.ID, containment.Options{}, containment.ApplyOptions{})
	w.outcome(r, containment.Held)
	if !w.denied(&w.alice.Entity) || !w.off() {
		t.Errorf("not contained: %s", w.states())
	}
	if again := w.contain("user/alice+ops", containment.Options{}, containment.ApplyOptions{}); again.Journal != r.Journal {
		t.Errorf("journals %s and %s", r.Journal, again.Journal)
	}
	w.outcome(w.release(r.Journal, allKinds...), containment.Released)
	same(t, w.states(), before)
}

// A key alone: the user is as before, and sessions made with the key are told of, if there may be some.
func TestKeyOnly(t *testing.T) {
	for _, c := range []struct {
		used time.Duration // ago; 0: never
		want containment.Outcome
	}{{0, containment.Held}, {time.Hour, containment.Remaining}, {30 * 24 * time.Hour, containment.Held}} {
		w := newWorld(t)
		if c.used > 0 {
			w.key.Used = awsfake.Start.Add(-c.used)
		}
		before := w.states()
		r := w.contain(w.key.ID, containment.Options{KeyOnly: true}, containment.ApplyOptions{})
		w.outcome(r, c.want)
		if w.key.Status != "Inactive" || w.denied(&w.alice.Entity) || w.alice.SSHKeys[0].Status != "Active" {
			t.Errorf("not the key alone: %s", w.states())
		}
		if s, err := w.engine.Status(t.Context(), r.Journal); err != nil || s.Outcome != c.want {
			t.Errorf("status %+v, %v", s, err)
		}
		w.outcome(w.release(r.Journal), containment.Released)
		if w.key.Status != "Inactive" {
			t.Error("the key was switched on without being asked to")
		}
		w.release(r.Journal, "iam/access-key")
		same(t, w.states(), before)
	}
}

// One's own key is refused, with its user and alone.
func TestOwnKey(t *testing.T) {
	w := newWorld(t)
	w.engine = w.caller(w.alice.ARN)
	for _, o := range []containment.Options{{}, {KeyOnly: true}} {
		if _, err := w.engine.Plan(t.Context(), w.target(w.key.ID), o); !errors.Is(err, containment.ErrRefused) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// Keys that are none of an IAM user here: root's, another account's, unknown ones.
func TestOtherKeys(t *testing.T) {
	w := newWorld(t)
	w.acct.RootKeys = []string{"AKIARRRRRRRRRRRRRRRR"}
	other := w.cloud.Account("444455556666").AddUser("/", "bob").AddKey("Active")
	for key, c := range map[string]struct {
		is   error
		says string
	}{
		"AKIARRRRRRRRRRRRRRRR": {containment.ErrRefused, "root user of account 111122223333"},
		"AKIAZZZZZZZZZZZZZZZZ": {containment.ErrGone, "AKIAZZZZZZZZZZZZZZZZ"},
		other.ID:               {containment.ErrGone, "in account 444455556666"}, // looked for here alone
	} {
		_, err := w.engine.Plan(t.Context(), w.target(key), containment.Options{})
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", key, err)
		}
	}
	// With a configuration for the key's account, it is found there.
	w.cloud.AddRole("arn:aws:iam::444455556666:role/responder", awsfake.Trust{})
	config := w.engine.Services[0].(*iam.Service).Config
	w.engine.Services[0].(*iam.Service).Config = func(ctx context.Context, t containment.Target) (aws.Config, error) {
		if t.Account == "444455556666" {
			return w.cloud.Config("arn:aws:iam::444455556666:role/responder", "eu-west-1"), nil
		}
		return config(ctx, t)
	}
	p := w.plan(other.ID, containment.Options{})
	if p.Target.ARN() != "arn:aws:iam::444455556666:user/bob" {
		t.Errorf("the target is %s", p.Target)
	}
}

// trail answers with one event.
type trail string

func (e trail) Event(context.Context, containment.Target, string) ([]byte, error) {
	if e == "" {
		return nil, fmt.Errorf("the event %w", containment.ErrGone)
	}
	return []byte(e), nil
}

// A temporary key is explained, and traced to who it was issued to as far as that can be.
func TestTemporaryKey(t *testing.T) {
	event := func(identity string) trail {
		return trail(`{"eventName":"ListBuckets","eventTime":"2026-11-22T02:59:00Z","sourceIPAddress":"198.51.100.7","userIdentity":` + identity + `}`)
	}
	for _, c := range []struct {
		trail iam.Trail
		says  []string
	}{
		{nil, []string{"temporary key", "aws cloudtrail lookup-events", "AttributeValue=ASIA"}},
		{trail(""), []string{"CloudTrail did not tell", "aws cloudtrail lookup-events"}},
		{event(`{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0",
			"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/service/web"}}}`),
			[]string{"contain arn:aws:iam::111122223333:role/service/web, with mode revoke", "198.51.100.7"}},
		{event(`{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/blue/alice+ops"}`), []string{"contain arn:aws:iam::111122223333:user/team/blue/alice+ops, whose deny"}},
		{event(`{"type":"Root","arn":"arn:aws:iam::111122223333:root"}`), []string{"root user"}},
		{event(`{"type":"AWSService","invokedBy":"ec2.amazonaws.com"}`), []string{"no session issuer"}},
		{trail("nonsense"), []string{"could not be read"}},
		{event(`{"type":"AssumedRole","accessKeyId":"ASIAZZZZZZZZZZZZZZZZ","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/service/web"}}}`),
			[]string{"could not be read", "ASIAZZZZZZZZZZZZZZZZ"}},
	} {
		w := newWorld(t)
		w.engine.Services[0].(*iam.Service).Trail = c.trail
		_, err := w.engine.Plan(t.Context(), w.target("ASIAIOSFODNN7EXAMPLE"), containment.Options{})
		if !errors.Is(err, containment.ErrRefused) {
			t.Errorf("%v: %v", c.trail, err)
			continue
		}
		for _, part := range c.says {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("no %q in %v", part, err)
			}
		}
	}
}

// A question that IAM does not take leaves the others asked.
func TestSimulateOneRefused(t *testing.T) {
	w := newWorld(t)
	if err := w.cloud.Restrict(responder, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"},
		{"Effect":"Deny","Action":"iam:AttachUserPolicy","Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Operation == "SimulatePrincipalPolicy" && c.Form.Get("ActionNames.member.1") == "iam:GetUserPolicy" {
			return awsfake.Fault{Error: &awsfake.Error{Code: "InvalidInput", Message: "no such resource"}}
		}
		return awsfake.Fault{}
	}
	p := w.plan("user/alice+ops", containment.Options{})
	if len(p.Missing) != 1 || p.Missing[0].Action != "iam:AttachUserPolicy" || len(p.Unchecked) != 1 || !strings.Contains(p.Unchecked[0], "iam:PutUserPolicy") {
		t.Errorf("missing %v, unchecked %q", p.Missing, p.Unchecked)
	}
}

// What the responder may not do is known before anything is done. What cannot be known is not taken for allowed.
func TestSimulate(t *testing.T) {
	policy := func(statements string) []byte {
		return []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
	}
	all := `{"Effect":"Allow","Action":"*","Resource":"*"}`
	for _, c := range []struct {
		name, policy       string
		missing, unchecked []string
	}{
		{"all", all, nil, nil},
		{"one denied", all + `,{"Effect":"Deny","Action":"iam:PutUserPolicy","Resource":"*"}`, []string{"iam:PutUserPolicy"}, nil},
		{"not to be asked", all + `,{"Effect":"Deny","Action":"iam:SimulatePrincipalPolicy","Resource":"*"}`, nil, []string{"iam:PutUserPolicy", "not authorized"}},
		{"a condition", all + `,{"Effect":"Allow","Action":"iam:PutUserPolicy","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}}`,
			nil, []string{"iam:PutUserPolicy on ", "aws:MultiFactorAuthPresent"}},
		{"a condition that is known", all + `,{"Effect":"Allow","Action":"iam:AttachUserPolicy","Resource":"*","Condition":{"ArnEquals":{"iam:PolicyARN":"` + denyAll + `"}}}`, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if err := w.cloud.Restrict(responder, policy(c.policy)); err != nil {
				t.Fatal(err)
			}
			p := w.plan("user/alice+ops", containment.Options{})
			var missing []string
			for _, m := range p.Missing {
				missing = append(missing, m.Action)
			}
			if !slices.Equal(missing, c.missing) {
				t.Errorf("missing %v, want %v", missing, c.missing)
			}
			unchecked := strings.Join(p.Unchecked, "\n")
			if len(c.unchecked) == 0 && unchecked != "" {
				t.Errorf("unchecked: %s", unchecked)
			}
			for _, part := range c.unchecked {
				if !strings.Contains(unchecked, part) {
					t.Errorf("no %q in %q", part, unchecked)
				}
			}
		})
	}
}

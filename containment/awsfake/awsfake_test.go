package awsfake_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	home      = "111122223333"
	member    = "444455556666"
	responder = "arn:aws:iam::111122223333:role/responder"
	admin     = "arn:aws:iam::444455556666:role/ir/containment"
)

func newCloud(t *testing.T) *awsfake.Cloud {
	c := awsfake.New()
	t.Cleanup(c.Close)
	return c
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

func TestIdentityAndRoles(t *testing.T) {
	c := newCloud(t)
	c.AddRole(admin, awsfake.Trust{Principals: []string{home}, ExternalID: "case", SourceIdentity: true})
	cfg := c.Config(responder, "eu-west-1")
	client := sts.NewFromConfig(cfg)
	me, err := client.GetCallerIdentity(t.Context(), nil)
	if err != nil || *me.Arn != responder || *me.Account != home {
		t.Fatalf("%+v, %v", me, err)
	}
	in := &sts.AssumeRoleInput{RoleArn: ptr(admin), RoleSessionName: ptr("ir-7"), ExternalId: ptr("other"), SourceIdentity: ptr("alice")}
	if _, err := client.AssumeRole(t.Context(), in); code(err) != "AccessDenied" {
		t.Fatalf("a wrong external id: %v", err)
	}
	in.ExternalId = ptr("case")
	out, err := client.AssumeRole(t.Context(), in)
	if err != nil || *out.AssumedRoleUser.Arn != "arn:aws:sts::444455556666:assumed-role/containment/ir-7" {
		t.Fatalf("%+v, %v", out, err)
	}
	calls := c.Calls()
	if last := calls[len(calls)-1]; last.Action != "sts:AssumeRole" || last.Resources[0] != admin || last.Form.Get("SourceIdentity") != "alice" {
		t.Errorf("recorded: %+v", last)
	}
	if err := c.Restrict(responder, []byte(`{"Statement":[{"Effect":"Allow","Action":"sts:Assume*","Resource":"arn:aws:iam::*:role/other"}]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AssumeRole(t.Context(), in); code(err) != "AccessDenied" {
		t.Errorf("beyond the policy: %v", err)
	}
}

func TestFaults(t *testing.T) {
	c := newCloud(t)
	client := sts.NewFromConfig(c.Config(responder, "eu-west-1"))
	var seen int
	c.Edit(func() {
		c.Fault = func(*awsfake.Call) awsfake.Fault {
			if seen++; seen < 3 {
				return awsfake.Fault{Error: awsfake.Throttled}
			}
			return awsfake.Fault{}
		}
	})
	if _, err := client.GetCallerIdentity(t.Context(), nil); err != nil || seen != 3 {
		t.Errorf("throttled twice: %v after %d calls", err, seen)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Edit(func() {
		c.Died = cancel
		c.Fault = func(*awsfake.Call) awsfake.Fault { return awsfake.Fault{Crash: true} }
	})
	if _, err := client.GetCallerIdentity(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("killed: %v", err)
	}
	c.Edit(func() { c.Fault = nil })
	if _, err := client.GetCallerIdentity(t.Context(), nil); err == nil {
		t.Error("a dead program was answered")
	}
	c.Revive()
	if _, err := client.GetCallerIdentity(t.Context(), nil); err != nil {
		t.Errorf("revived: %v", err)
	}
}

func TestTimeIsVirtual(t *testing.T) {
	c := newCloud(t)
	steps := 0
	c.Edit(func() { c.Attacker = func() { steps++ } })
	began := time.Now()
	if err := c.Sleep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := c.Now().Sub(awsfake.Start); got != time.Hour || steps != 3600 || time.Since(began) > time.Minute {
		t.Errorf("%v passed in %d steps", got, steps)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := c.Sleep(ctx, time.Second); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("interrupted: %v", err)
	}
}

func ptr[T any](v T) *T { return &v }

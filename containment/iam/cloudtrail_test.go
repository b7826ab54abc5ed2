package iam_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const stolen = "ASIAIOSFODNN7EXAMPLE"

// Events as CloudTrail has them: of a call that was made with the key, and of those that made it.
const (
	madeWith = `{"eventName":"ListUsers","eventTime":"2026-11-22T02:59:00Z","sourceIPAddress":"198.51.100.7","userIdentity":{"type":"AssumedRole",
		"arn":"arn:aws:sts::111122223333:assumed-role/web/i-0123456789abcdef0","accessKeyId":"ASIAIOSFODNN7EXAMPLE",
		"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/service/web"}}}}`
	madeIt = `{"eventName":"AssumeRole","eventTime":"2026-11-22T02:50:00Z","sourceIPAddress":"203.0.113.9",
		"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/mallory","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},
		"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/service/web","roleSessionName":"x"},
		"responseElements":{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE"},"assumedRoleUser":{"arn":"arn:aws:sts::111122223333:assumed-role/web/x"}}}`
	token = `{"eventName":"GetSessionToken","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/blue/alice+ops","accessKeyId":"AKIAIOSFODNN7EXAMPLE"},
		"requestParameters":{"durationSeconds":900},"responseElements":{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE"}}}`
)

// A temporary key is traced over all regions of the account: by what it did, or by who made it.
func TestCloudTrail(t *testing.T) {
	denied := func(action string) func(*awsfake.Call) awsfake.Fault {
		return func(c *awsfake.Call) awsfake.Fault {
			if c.Action == action {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	}
	away := func(*testing.T, context.Context, aws.Config) ([]string, error) {
		return []string{"eu-west-1", "us-east-1", "ap-south-1"}, nil
	}
	for _, c := range []struct {
		name, region string
		event        awsfake.TrailEvent
		regions      func(*testing.T, context.Context, aws.Config) ([]string, error)
		fault        func(*awsfake.Call) awsfake.Fault
		says         []string
		not          string
	}{
		{"what it did, far away", "ap-south-1", awsfake.TrailEvent{AccessKey: stolen, JSON: madeWith}, away, nil,
			[]string{`"ListUsers" from "198.51.100.7"`, "contain arn:aws:iam::111122223333:role/service/web, with mode revoke", "contain i-0123456789abcdef0"}, "cloudtrail lookup-events"},
		{"who made it", "us-east-1", awsfake.TrailEvent{AccessKey: "AKIAIOSFODNN7EXAMPLE", Resource: stolen, JSON: madeIt}, away, nil,
			[]string{"contain arn:aws:iam::111122223333:role/service/web", `assumed-role/web/x`, "user/mallory", "203.0.113.9"}, "contain i-"},
		{"a user's own session", "us-east-1", awsfake.TrailEvent{Resource: stolen, JSON: token}, away, nil,
			[]string{"contain arn:aws:iam::111122223333:user/team/blue/alice+ops, whose deny"}, "revoke"},
		{"no event", "us-east-1", awsfake.TrailEvent{AccessKey: "ASIAZZZZZZZZZZZZZZZZ", JSON: madeWith}, away, nil,
			[]string{"in eu-west-1, us-east-1, ap-south-1", "events take minutes", "aws cloudtrail lookup-events"}, "with mode"},
		{"regions unknown", "us-east-1", awsfake.TrailEvent{AccessKey: stolen, JSON: madeWith},
			func(*testing.T, context.Context, aws.Config) ([]string, error) { return nil, errors.New("not told") }, nil, []string{"role/service/web"}, ""},
		{"regions unknown, event elsewhere", "ap-south-1", awsfake.TrailEvent{AccessKey: stolen, JSON: madeWith},
			func(*testing.T, context.Context, aws.Config) ([]string, error) { return nil, errors.New("not told") }, nil,
			[]string{"in eu-west-1, us-east-1; other regions were not asked (not told)"}, "with mode"},
		{"not allowed", "us-east-1", awsfake.TrailEvent{AccessKey: stolen, JSON: madeWith}, away, denied("cloudtrail:LookupEvents"),
			[]string{"not all could be asked", "ap-south-1: permission missing", "cloudtrail:LookupEvents", "aws cloudtrail lookup-events"}, "with mode"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			r := w.acct.Region(c.region)
			w.cloud.Edit(func() { r.Trail, w.cloud.Fault = []awsfake.TrailEvent{c.event}, c.fault })
			service := w.engine.Services[0].(*iam.Service)
			service.Trail = &iam.CloudTrail{Config: service.Config, Regions: func(ctx context.Context, cfg aws.Config) ([]string, error) { return c.regions(t, ctx, cfg) }}
			_, err := w.engine.Plan(t.Context(), w.target(stolen), containment.Options{})
			if !errors.Is(err, containment.ErrRefused) {
				t.Fatal(err)
			}
			for _, part := range c.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in %v", part, err)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%q in %v", c.not, err)
			}
			for _, call := range w.cloud.Calls() {
				if call.Writes {
					t.Errorf("it called %s", call.Action)
				}
			}
		})
	}
}

package ec2_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// An instance that is named by its id alone is in the region of the configuration, and the policies that deny its credentials
// everything name it so: without the region they would match nothing.
func TestShortForm(t *testing.T) {
	w := newWorld(t)
	e := w.engine()
	config := func(context.Context, containment.Target) (aws.Config, error) {
		return w.cloud.Config(responder, "eu-west-1"), nil
	}
	e.Services = []containment.Service{&ec2.Service{Config: config, Roles: &iam.Service{Config: config}}}
	p, err := e.Plan(t.Context(), containment.Target{Kind: containment.Instance, Name: w.host.ID}, containment.Options{Case: caseID})
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:ec2:eu-west-1:" + account + ":instance/" + w.host.ID
	if p.Target.ARN() != arn {
		t.Errorf("target %s, want %s", p.Target.ARN(), arn)
	}
	data, err := json.Marshal(p.Changes)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.ToLower(string(data)), `ec2:sourceinstancearn":"`+arn) {
		t.Errorf("no policy names %s:\n%s", arn, data)
	}
}

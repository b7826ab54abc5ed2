// Package awslab makes a small network with a victim, and a server for it to talk to, in an AWS account, for the one test that
// tries containment on AWS itself; and takes all of it away again.
//
// Everything it makes has the tag shotglass-test with the name of the run, and goes in reverse order. What could not be removed is
// an error of Close that names it. It makes nothing before the account is the one that it was told.
package awslab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// A Lab is what was made. It is not safe for concurrent use.
type Lab struct {
	Run    string // names everything
	Config aws.Config
	EC2    *awsec2.Client
	IAM    *awsiam.Client
	Lambda *awslambda.Client

	// Image and Type are those of instances: Amazon Linux 2023, and a Nitro type.
	Image string
	Type  types.InstanceType

	VPC, Public, Private string // ids; Private is empty without a NAT gateway
	Account              string

	undo []undo
}

// An undo removes one thing. Dependent ones may take their time to go: it is tried again until patience is over.
type undo struct {
	what string
	do   func(context.Context) error
}

// New checks that the configuration is of the account, and makes nothing yet.
func New(ctx context.Context, cfg aws.Config, account, run string) (*Lab, error) {
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("who is calling: %w", err)
	}
	if got := aws.ToString(who.Account); got != account {
		return nil, fmt.Errorf("the credentials are of account %s, and the account to use is %s: nothing was made", got, account)
	}
	return &Lab{
		Run: run, Config: cfg, Account: account, EC2: awsec2.NewFromConfig(cfg), IAM: awsiam.NewFromConfig(cfg), Lambda: awslambda.NewFromConfig(cfg),
		Image: "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64", Type: types.InstanceTypeT3Micro,
	}, nil
}

// removePatience is how long one thing may refuse to go, for instance a network whose gateway is going.
const removePatience = 8 * time.Minute

// Close removes all that was made, the last first, and goes on after a failure.
func (l *Lab) Close(ctx context.Context) error {
	var errs []error
	for _, u := range slices.Backward(l.undo) {
		if err := Until(ctx, removePatience, func() error { return u.do(ctx) }); err != nil {
			errs = append(errs, fmt.Errorf("LEFT IN ACCOUNT %s: %s: %w", l.Account, u.what, err))
		}
	}
	l.undo = nil
	return errors.Join(errs...)
}

func (l *Lab) made(what string, do func(context.Context) error) {
	l.undo = append(l.undo, undo{what, do})
}

// Until tries something every few seconds until it succeeds, or returns its last error.
func Until(ctx context.Context, patience time.Duration, do func() error) error {
	end := time.Now().Add(patience)
	for {
		err := do()
		if err == nil || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		case <-time.After(5 * time.Second):
		}
	}
}

// tags of a thing of EC2.
func (l *Lab) tags(kind types.ResourceType) []types.TagSpecification {
	return []types.TagSpecification{{ResourceType: kind, Tags: []types.Tag{{Key: aws.String("shotglass-test"), Value: &l.Run}, {Key: aws.String("Name"), Value: aws.String("shotglass-test-" + l.Run)}}}}
}

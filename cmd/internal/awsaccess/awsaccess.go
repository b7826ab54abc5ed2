// Package awsaccess makes an engine that contains what lies in AWS accounts: with the services of
// package containment, called by the credentials of whoever runs the program.
package awsaccess

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
)

// An Access is how AWS is called, and where journals lie.
type Access struct {
	Region, Profile string // empty: the environment's
	Endpoint        string // URL of another server than AWS

	// Role, ExternalID, SourceIdentity and Allow are as in awsconfig.Accounts.
	Role, ExternalID, SourceIdentity string
	Allow                            func(account string) error
	// NoMetadata leaves out the question to EC2's metadata service.
	NoMetadata bool

	BreakGlass []containment.Target
	Journals   containment.Journals
	// Tool and Request are for the journal: see containment.Engine.
	Tool, Request string
}

// Accounts finds credentials, and returns the accounts that they reach. Nobody is called yet.
func (a Access) Accounts(ctx context.Context, caseID string) (*awsconfig.Accounts, error) {
	base, err := awsconfig.Load(ctx, a.Profile, a.Region)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	if a.Endpoint != "" {
		base.BaseEndpoint = aws.String(a.Endpoint)
	}
	return &awsconfig.Accounts{
		Base: base, Role: a.Role, ExternalID: a.ExternalID, SourceIdentity: a.SourceIdentity, Allow: a.Allow, Case: caseID, NoIMDS: a.NoMetadata || a.Endpoint != "",
	}, nil
}

// Engine finds credentials, and returns an engine that knows who calls. No target is asked for yet.
func (a Access) Engine(ctx context.Context, caseID string) (*containment.Engine, error) {
	accounts, err := a.Accounts(ctx, caseID)
	if err != nil {
		return nil, err
	}
	who, err := accounts.Caller(ctx)
	if err != nil {
		return nil, err
	}
	roles := &iam.Service{
		Config: accounts.Config, Trail: &iam.CloudTrail{Config: accounts.Config, Regions: ec2.Regions}, Organization: &iam.Organizations{Config: accounts.Base},
	}
	return &containment.Engine{
		Services: []containment.Service{&ec2.Service{Config: accounts.Config, Roles: roles, Caller: who}, roles, &lambda.Service{Config: accounts.Config, Roles: roles}},
		Journals: a.Journals, Guard: containment.Guard{BreakGlass: a.BreakGlass}, Caller: who, Tool: a.Tool, Request: a.Request,
	}, nil
}

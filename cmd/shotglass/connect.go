package main

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

// connectAWS finds credentials, and says who calls. No target is asked for yet.
func connectAWS(ctx context.Context, a awsAccess, caseID string) ([]containment.Service, containment.Identity, error) {
	base, err := awsconfig.Load(ctx, a.profile, a.region)
	if err != nil {
		return nil, containment.Identity{}, fmt.Errorf("AWS configuration: %w", err)
	}
	if a.endpoint != "" {
		base.BaseEndpoint = aws.String(a.endpoint)
	}
	accounts := &awsconfig.Accounts{
		Base: base, Role: a.role, ExternalID: a.externalID, SourceIdentity: a.sourceIdentity, Case: caseID, NoIMDS: a.noMetadata || a.endpoint != "",
	}
	who, err := accounts.Caller(ctx)
	if err != nil {
		return nil, who, err
	}
	roles := &iam.Service{Config: accounts.Config}
	return []containment.Service{&ec2.Service{Config: accounts.Config, Caller: who}, roles, &lambda.Service{Config: accounts.Config, Roles: roles}}, who, nil
}

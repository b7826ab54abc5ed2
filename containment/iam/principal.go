package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	metadata "github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment"
)

// A principal is a user or a role. IAM has most calls twice, once for each.
type principal struct {
	api  API
	role bool
	name string
}

func (p principal) String() string {
	if p.role {
		return "role " + p.name
	}
	return "user " + p.name
}

func (p principal) gone() error { return fmt.Errorf("the %s %w", p, containment.ErrGone) }

// get returns the boundary and the trust policy of the principal, and when AWS answered.
func (p principal) get(ctx context.Context) (boundary *types.AttachedPermissionsBoundary, trust string, md metadata.Metadata, err error) {
	if p.role {
		out, err := p.api.GetRole(ctx, &awsiam.GetRoleInput{RoleName: &p.name})
		if err == nil {
			return out.Role.PermissionsBoundary, aws.ToString(out.Role.AssumeRolePolicyDocument), out.ResultMetadata, nil
		}
		if missing(err) {
			err = p.gone()
		}
		return nil, "", md, err
	}
	out, err := p.api.GetUser(ctx, &awsiam.GetUserInput{UserName: &p.name})
	if err == nil {
		return out.User.PermissionsBoundary, "", out.ResultMetadata, nil
	}
	if missing(err) {
		err = p.gone()
	}
	return nil, "", md, err
}

// readPolicy reads an inline policy. IAM's answer that there is none is the same as that there is no such
// user; only looking for the user tells.
func readPolicy(ctx context.Context, p principal, id string) (containment.State, metadata.Metadata, error) {
	var document *string
	var md metadata.Metadata
	var err error
	if p.role {
		var out *awsiam.GetRolePolicyOutput
		if out, err = p.api.GetRolePolicy(ctx, &awsiam.GetRolePolicyInput{RoleName: &p.name, PolicyName: &id}); err == nil {
			document, md = out.PolicyDocument, out.ResultMetadata
		}
	} else {
		var out *awsiam.GetUserPolicyOutput
		if out, err = p.api.GetUserPolicy(ctx, &awsiam.GetUserPolicyInput{UserName: &p.name, PolicyName: &id}); err == nil {
			document, md = out.PolicyDocument, out.ResultMetadata
		}
	}
	if missing(err) {
		if _, _, md, err = p.get(ctx); err == nil {
			return containment.Absent, md, nil
		}
	}
	if err != nil {
		return nil, md, err
	}
	s, err := decode(aws.ToString(document))
	return s, md, err
}

func setPolicy(ctx context.Context, p principal, id string, to containment.State) (metadata.Metadata, error) {
	if containment.Same(to, containment.Absent) {
		if p.role {
			out, err := p.api.DeleteRolePolicy(ctx, &awsiam.DeleteRolePolicyInput{RoleName: &p.name, PolicyName: &id})
			return unset(out, err)
		}
		out, err := p.api.DeleteUserPolicy(ctx, &awsiam.DeleteUserPolicyInput{UserName: &p.name, PolicyName: &id})
		return unset(out, err)
	}
	document := string(to)
	if p.role {
		out, err := p.api.PutRolePolicy(ctx, &awsiam.PutRolePolicyInput{RoleName: &p.name, PolicyName: &id, PolicyDocument: &document})
		return done(out, err)
	}
	out, err := p.api.PutUserPolicy(ctx, &awsiam.PutUserPolicyInput{UserName: &p.name, PolicyName: &id, PolicyDocument: &document})
	return done(out, err)
}

func readAttachment(ctx context.Context, p principal, arn string) (containment.State, metadata.Metadata, error) {
	attached, err := p.attached(ctx)
	if missing(err) {
		err = p.gone()
	}
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	for _, a := range attached {
		if aws.ToString(a.PolicyArn) == arn {
			return containment.State("true"), metadata.Metadata{}, nil
		}
	}
	return containment.Absent, metadata.Metadata{}, nil
}

// attached lists the managed policies of the principal.
func (p principal) attached(ctx context.Context) ([]types.AttachedPolicy, error) {
	if p.role {
		return pages(ctx, awsiam.NewListAttachedRolePoliciesPaginator(p.api, &awsiam.ListAttachedRolePoliciesInput{RoleName: &p.name}),
			func(o *awsiam.ListAttachedRolePoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
	}
	return pages(ctx, awsiam.NewListAttachedUserPoliciesPaginator(p.api, &awsiam.ListAttachedUserPoliciesInput{UserName: &p.name}),
		func(o *awsiam.ListAttachedUserPoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
}

// inline lists the names of the principal's inline policies.
func (p principal) inline(ctx context.Context) ([]string, error) {
	if p.role {
		return pages(ctx, awsiam.NewListRolePoliciesPaginator(p.api, &awsiam.ListRolePoliciesInput{RoleName: &p.name}),
			func(o *awsiam.ListRolePoliciesOutput) []string { return o.PolicyNames })
	}
	return pages(ctx, awsiam.NewListUserPoliciesPaginator(p.api, &awsiam.ListUserPoliciesInput{UserName: &p.name}),
		func(o *awsiam.ListUserPoliciesOutput) []string { return o.PolicyNames })
}

func setAttachment(ctx context.Context, p principal, arn string, to containment.State) (metadata.Metadata, error) {
	off := containment.Same(to, containment.Absent)
	switch {
	case p.role && off:
		out, err := p.api.DetachRolePolicy(ctx, &awsiam.DetachRolePolicyInput{RoleName: &p.name, PolicyArn: &arn})
		return unset(out, err)
	case p.role:
		out, err := p.api.AttachRolePolicy(ctx, &awsiam.AttachRolePolicyInput{RoleName: &p.name, PolicyArn: &arn})
		return done(out, err)
	case off:
		out, err := p.api.DetachUserPolicy(ctx, &awsiam.DetachUserPolicyInput{UserName: &p.name, PolicyArn: &arn})
		return unset(out, err)
	}
	out, err := p.api.AttachUserPolicy(ctx, &awsiam.AttachUserPolicyInput{UserName: &p.name, PolicyArn: &arn})
	return done(out, err)
}

func readBoundary(ctx context.Context, p principal, _ string) (containment.State, metadata.Metadata, error) {
	b, _, md, err := p.get(ctx)
	switch {
	case err != nil:
		return nil, md, err
	case b == nil:
		return containment.Absent, md, nil
	}
	return state(aws.ToString(b.PermissionsBoundaryArn)), md, nil
}

func setBoundary(ctx context.Context, p principal, _ string, to containment.State) (metadata.Metadata, error) {
	arn, err := text(to)
	switch {
	case err != nil:
		return metadata.Metadata{}, err
	case p.role && arn == nil:
		out, err := p.api.DeleteRolePermissionsBoundary(ctx, &awsiam.DeleteRolePermissionsBoundaryInput{RoleName: &p.name})
		return unset(out, err)
	case p.role:
		out, err := p.api.PutRolePermissionsBoundary(ctx, &awsiam.PutRolePermissionsBoundaryInput{RoleName: &p.name, PermissionsBoundary: arn})
		return done(out, err)
	case arn == nil:
		out, err := p.api.DeleteUserPermissionsBoundary(ctx, &awsiam.DeleteUserPermissionsBoundaryInput{UserName: &p.name})
		return unset(out, err)
	}
	out, err := p.api.PutUserPermissionsBoundary(ctx, &awsiam.PutUserPermissionsBoundaryInput{UserName: &p.name, PermissionsBoundary: arn})
	return done(out, err)
}

func readTag(ctx context.Context, p principal, key string) (containment.State, metadata.Metadata, error) {
	var tags []types.Tag
	var err error
	if p.role {
		tags, err = pages(ctx, awsiam.NewListRoleTagsPaginator(p.api, &awsiam.ListRoleTagsInput{RoleName: &p.name}),
			func(o *awsiam.ListRoleTagsOutput) []types.Tag { return o.Tags })
	} else {
		tags, err = pages(ctx, awsiam.NewListUserTagsPaginator(p.api, &awsiam.ListUserTagsInput{UserName: &p.name}),
			func(o *awsiam.ListUserTagsOutput) []types.Tag { return o.Tags })
	}
	if missing(err) {
		err = p.gone()
	}
	if err != nil {
		return nil, metadata.Metadata{}, err
	}
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return state(aws.ToString(t.Value)), metadata.Metadata{}, nil
		}
	}
	return containment.Absent, metadata.Metadata{}, nil
}

func setTag(ctx context.Context, p principal, key string, to containment.State) (metadata.Metadata, error) {
	value, err := text(to)
	tags := []types.Tag{{Key: &key, Value: value}}
	switch {
	case err != nil:
		return metadata.Metadata{}, err
	case p.role && value == nil:
		out, err := p.api.UntagRole(ctx, &awsiam.UntagRoleInput{RoleName: &p.name, TagKeys: []string{key}})
		return unset(out, err)
	case p.role:
		out, err := p.api.TagRole(ctx, &awsiam.TagRoleInput{RoleName: &p.name, Tags: tags})
		return done(out, err)
	case value == nil:
		out, err := p.api.UntagUser(ctx, &awsiam.UntagUserInput{UserName: &p.name, TagKeys: []string{key}})
		return unset(out, err)
	}
	out, err := p.api.TagUser(ctx, &awsiam.TagUserInput{UserName: &p.name, Tags: tags})
	return done(out, err)
}

func readTrust(ctx context.Context, p principal, _ string) (containment.State, metadata.Metadata, error) {
	_, document, md, err := p.get(ctx)
	if err != nil {
		return nil, md, err
	}
	s, err := decode(document)
	return s, md, err
}

func setTrust(ctx context.Context, p principal, _ string, to containment.State) (metadata.Metadata, error) {
	if containment.Same(to, containment.Absent) {
		return metadata.Metadata{}, errors.New("a role cannot be without a trust policy")
	}
	document := string(to)
	out, err := p.api.UpdateAssumeRolePolicy(ctx, &awsiam.UpdateAssumeRolePolicyInput{RoleName: &p.name, PolicyDocument: &document})
	return done(out, err)
}

// text is the string of a state; nil for none.
func text(s containment.State) (*string, error) {
	var t *string
	if err := json.Unmarshal(s, &t); err != nil {
		return nil, fmt.Errorf("state %s is no text: %w", s, err)
	}
	return t, nil
}

package iam

import (
	"context"

	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
)

// API are the calls of IAM that this package makes. The SDK's client has them.
type API interface {
	userAPI
	roleAPI
	credentialAPI

	GetAccountSummary(context.Context, *awsiam.GetAccountSummaryInput, ...func(*awsiam.Options)) (*awsiam.GetAccountSummaryOutput, error)
	SimulatePrincipalPolicy(context.Context, *awsiam.SimulatePrincipalPolicyInput, ...func(*awsiam.Options)) (*awsiam.SimulatePrincipalPolicyOutput, error)
}

type userAPI interface {
	GetUser(context.Context, *awsiam.GetUserInput, ...func(*awsiam.Options)) (*awsiam.GetUserOutput, error)
	GetLoginProfile(context.Context, *awsiam.GetLoginProfileInput, ...func(*awsiam.Options)) (*awsiam.GetLoginProfileOutput, error)
	ListGroupsForUser(context.Context, *awsiam.ListGroupsForUserInput, ...func(*awsiam.Options)) (*awsiam.ListGroupsForUserOutput, error)
	ListMFADevices(context.Context, *awsiam.ListMFADevicesInput, ...func(*awsiam.Options)) (*awsiam.ListMFADevicesOutput, error)

	ListUserPolicies(context.Context, *awsiam.ListUserPoliciesInput, ...func(*awsiam.Options)) (*awsiam.ListUserPoliciesOutput, error)
	GetUserPolicy(context.Context, *awsiam.GetUserPolicyInput, ...func(*awsiam.Options)) (*awsiam.GetUserPolicyOutput, error)
	PutUserPolicy(context.Context, *awsiam.PutUserPolicyInput, ...func(*awsiam.Options)) (*awsiam.PutUserPolicyOutput, error)
	DeleteUserPolicy(context.Context, *awsiam.DeleteUserPolicyInput, ...func(*awsiam.Options)) (*awsiam.DeleteUserPolicyOutput, error)

	ListAttachedUserPolicies(context.Context, *awsiam.ListAttachedUserPoliciesInput, ...func(*awsiam.Options)) (*awsiam.ListAttachedUserPoliciesOutput, error)
	AttachUserPolicy(context.Context, *awsiam.AttachUserPolicyInput, ...func(*awsiam.Options)) (*awsiam.AttachUserPolicyOutput, error)
	DetachUserPolicy(context.Context, *awsiam.DetachUserPolicyInput, ...func(*awsiam.Options)) (*awsiam.DetachUserPolicyOutput, error)

	PutUserPermissionsBoundary(context.Context, *awsiam.PutUserPermissionsBoundaryInput, ...func(*awsiam.Options)) (*awsiam.PutUserPermissionsBoundaryOutput, error)
	DeleteUserPermissionsBoundary(context.Context, *awsiam.DeleteUserPermissionsBoundaryInput, ...func(*awsiam.Options)) (*awsiam.DeleteUserPermissionsBoundaryOutput, error)

	ListUserTags(context.Context, *awsiam.ListUserTagsInput, ...func(*awsiam.Options)) (*awsiam.ListUserTagsOutput, error)
	TagUser(context.Context, *awsiam.TagUserInput, ...func(*awsiam.Options)) (*awsiam.TagUserOutput, error)
	UntagUser(context.Context, *awsiam.UntagUserInput, ...func(*awsiam.Options)) (*awsiam.UntagUserOutput, error)
}

type roleAPI interface {
	GetRole(context.Context, *awsiam.GetRoleInput, ...func(*awsiam.Options)) (*awsiam.GetRoleOutput, error)
	UpdateAssumeRolePolicy(context.Context, *awsiam.UpdateAssumeRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.UpdateAssumeRolePolicyOutput, error)
	ListInstanceProfilesForRole(context.Context, *awsiam.ListInstanceProfilesForRoleInput, ...func(*awsiam.Options)) (*awsiam.ListInstanceProfilesForRoleOutput, error)

	ListRolePolicies(context.Context, *awsiam.ListRolePoliciesInput, ...func(*awsiam.Options)) (*awsiam.ListRolePoliciesOutput, error)
	GetRolePolicy(context.Context, *awsiam.GetRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.GetRolePolicyOutput, error)
	PutRolePolicy(context.Context, *awsiam.PutRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.PutRolePolicyOutput, error)
	DeleteRolePolicy(context.Context, *awsiam.DeleteRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.DeleteRolePolicyOutput, error)

	ListAttachedRolePolicies(context.Context, *awsiam.ListAttachedRolePoliciesInput, ...func(*awsiam.Options)) (*awsiam.ListAttachedRolePoliciesOutput, error)
	AttachRolePolicy(context.Context, *awsiam.AttachRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.AttachRolePolicyOutput, error)
	DetachRolePolicy(context.Context, *awsiam.DetachRolePolicyInput, ...func(*awsiam.Options)) (*awsiam.DetachRolePolicyOutput, error)

	PutRolePermissionsBoundary(context.Context, *awsiam.PutRolePermissionsBoundaryInput, ...func(*awsiam.Options)) (*awsiam.PutRolePermissionsBoundaryOutput, error)
	DeleteRolePermissionsBoundary(context.Context, *awsiam.DeleteRolePermissionsBoundaryInput, ...func(*awsiam.Options)) (*awsiam.DeleteRolePermissionsBoundaryOutput, error)

	ListRoleTags(context.Context, *awsiam.ListRoleTagsInput, ...func(*awsiam.Options)) (*awsiam.ListRoleTagsOutput, error)
	TagRole(context.Context, *awsiam.TagRoleInput, ...func(*awsiam.Options)) (*awsiam.TagRoleOutput, error)
	UntagRole(context.Context, *awsiam.UntagRoleInput, ...func(*awsiam.Options)) (*awsiam.UntagRoleOutput, error)
}

type credentialAPI interface {
	GetAccessKeyLastUsed(context.Context, *awsiam.GetAccessKeyLastUsedInput, ...func(*awsiam.Options)) (*awsiam.GetAccessKeyLastUsedOutput, error)
	ListAccessKeys(context.Context, *awsiam.ListAccessKeysInput, ...func(*awsiam.Options)) (*awsiam.ListAccessKeysOutput, error)
	UpdateAccessKey(context.Context, *awsiam.UpdateAccessKeyInput, ...func(*awsiam.Options)) (*awsiam.UpdateAccessKeyOutput, error)

	ListServiceSpecificCredentials(context.Context, *awsiam.ListServiceSpecificCredentialsInput, ...func(*awsiam.Options)) (*awsiam.ListServiceSpecificCredentialsOutput, error)
	UpdateServiceSpecificCredential(context.Context, *awsiam.UpdateServiceSpecificCredentialInput, ...func(*awsiam.Options)) (*awsiam.UpdateServiceSpecificCredentialOutput, error)
	ListSSHPublicKeys(context.Context, *awsiam.ListSSHPublicKeysInput, ...func(*awsiam.Options)) (*awsiam.ListSSHPublicKeysOutput, error)
	UpdateSSHPublicKey(context.Context, *awsiam.UpdateSSHPublicKeyInput, ...func(*awsiam.Options)) (*awsiam.UpdateSSHPublicKeyOutput, error)
	ListSigningCertificates(context.Context, *awsiam.ListSigningCertificatesInput, ...func(*awsiam.Options)) (*awsiam.ListSigningCertificatesOutput, error)
	UpdateSigningCertificate(context.Context, *awsiam.UpdateSigningCertificateInput, ...func(*awsiam.Options)) (*awsiam.UpdateSigningCertificateOutput, error)
}

var _ API = (*awsiam.Client)(nil)

package keytrail

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// An stsAPI is what is called of STS.
type stsAPI interface {
	GetAccessKeyInfo(context.Context, *sts.GetAccessKeyInfoInput, ...func(*sts.Options)) (*sts.GetAccessKeyInfoOutput, error)
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

type iamOptions = func(*iam.Options)

// An iamAPI is what is called of IAM: reads, and nothing else.
type iamAPI interface {
	GetAccessKeyLastUsed(context.Context, *iam.GetAccessKeyLastUsedInput, ...iamOptions) (*iam.GetAccessKeyLastUsedOutput, error)
	GetUser(context.Context, *iam.GetUserInput, ...iamOptions) (*iam.GetUserOutput, error)
	GetRole(context.Context, *iam.GetRoleInput, ...iamOptions) (*iam.GetRoleOutput, error)
	GetLoginProfile(context.Context, *iam.GetLoginProfileInput, ...iamOptions) (*iam.GetLoginProfileOutput, error)
	ListAccessKeys(context.Context, *iam.ListAccessKeysInput, ...iamOptions) (*iam.ListAccessKeysOutput, error)
	ListMFADevices(context.Context, *iam.ListMFADevicesInput, ...iamOptions) (*iam.ListMFADevicesOutput, error)
	ListServiceSpecificCredentials(context.Context, *iam.ListServiceSpecificCredentialsInput, ...iamOptions) (*iam.ListServiceSpecificCredentialsOutput, error)
	ListSSHPublicKeys(context.Context, *iam.ListSSHPublicKeysInput, ...iamOptions) (*iam.ListSSHPublicKeysOutput, error)
	ListSigningCertificates(context.Context, *iam.ListSigningCertificatesInput, ...iamOptions) (*iam.ListSigningCertificatesOutput, error)

	ListGroupsForUser(context.Context, *iam.ListGroupsForUserInput, ...iamOptions) (*iam.ListGroupsForUserOutput, error)
	ListUserPolicies(context.Context, *iam.ListUserPoliciesInput, ...iamOptions) (*iam.ListUserPoliciesOutput, error)
	GetUserPolicy(context.Context, *iam.GetUserPolicyInput, ...iamOptions) (*iam.GetUserPolicyOutput, error)
	ListAttachedUserPolicies(context.Context, *iam.ListAttachedUserPoliciesInput, ...iamOptions) (*iam.ListAttachedUserPoliciesOutput, error)
	ListGroupPolicies(context.Context, *iam.ListGroupPoliciesInput, ...iamOptions) (*iam.ListGroupPoliciesOutput, error)
	GetGroupPolicy(context.Context, *iam.GetGroupPolicyInput, ...iamOptions) (*iam.GetGroupPolicyOutput, error)
	ListAttachedGroupPolicies(context.Context, *iam.ListAttachedGroupPoliciesInput, ...iamOptions) (*iam.ListAttachedGroupPoliciesOutput, error)
	ListRolePolicies(context.Context, *iam.ListRolePoliciesInput, ...iamOptions) (*iam.ListRolePoliciesOutput, error)
	GetRolePolicy(context.Context, *iam.GetRolePolicyInput, ...iamOptions) (*iam.GetRolePolicyOutput, error)
	ListAttachedRolePolicies(context.Context, *iam.ListAttachedRolePoliciesInput, ...iamOptions) (*iam.ListAttachedRolePoliciesOutput, error)
	GetPolicy(context.Context, *iam.GetPolicyInput, ...iamOptions) (*iam.GetPolicyOutput, error)
	GetPolicyVersion(context.Context, *iam.GetPolicyVersionInput, ...iamOptions) (*iam.GetPolicyVersionOutput, error)
	SimulatePrincipalPolicy(context.Context, *iam.SimulatePrincipalPolicyInput, ...iamOptions) (*iam.SimulatePrincipalPolicyOutput, error)
}

var (
	_ stsAPI = (*sts.Client)(nil)
	_ iamAPI = (*iam.Client)(nil)
)

// all takes the items of all pages.
func all[O, T any](ctx context.Context, p interface {
	HasMorePages() bool
	NextPage(context.Context, ...iamOptions) (O, error)
}, of func(O) []T) (list []T, err error) {
	for p.HasMorePages() {
		out, err := p.NextPage(ctx)
		if err != nil {
			return list, err
		}
		list = append(list, of(out)...)
	}
	return list, nil
}

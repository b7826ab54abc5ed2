package ec2

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// policyName is that of the policy that denies an instance's credentials, on each role of its profile.
func policyName(instance string) string { return "shotglass-quarantine-" + instance }

// A role is one that the instance has credentials of.
type role struct{ name, arn string }

// rolesOf are the roles of the instance's profiles. Lost are profiles that were deleted under the instance: it gets no new
// credentials, but the role of those that it has is not to be learned.
func (c *conn) rolesOf(ctx context.Context, instance string) (roles []role, lost []string, err error) {
	var profiles []string
	pages := sdk.NewDescribeIamInstanceProfileAssociationsPaginator(c.ec2, &sdk.DescribeIamInstanceProfileAssociationsInput{
		Filters: []types.Filter{{Name: aws.String("instance-id"), Values: []string{instance}}},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, failed("ec2:DescribeIamInstanceProfileAssociations", err)
		}
		for _, a := range out.IamInstanceProfileAssociations {
			if a.IamInstanceProfile != nil && a.State != types.IamInstanceProfileAssociationStateDisassociated {
				arn := aws.ToString(a.IamInstanceProfile.Arn)
				profiles = append(profiles, arn[strings.LastIndexByte(arn, '/')+1:]) // the path is no part of the name
			}
		}
	}
	for _, p := range profiles {
		out, err := c.iam.GetInstanceProfile(ctx, &iam.GetInstanceProfileInput{InstanceProfileName: &p})
		if missing(err) {
			lost = append(lost, p)
			continue
		}
		if err != nil {
			return nil, nil, failed("iam:GetInstanceProfile", err)
		}
		for _, r := range out.InstanceProfile.Roles {
			roles = append(roles, role{name: aws.ToString(r.RoleName), arn: aws.ToString(r.Arn)})
		}
	}
	return roles, lost, nil
}

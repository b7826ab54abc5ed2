package ec2

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/shotglass-ir/shotglass/containment"
)

// policyName is that of the policy that denies an instance's credentials, on each role of its profile.
func policyName(instance string) string { return "shotglass-quarantine-" + instance }

// denyPolicy denies everything to credentials that were issued to this instance, wherever they are used by now: the
// key is in each request of a session that EC2 began. Other instances with the role are left alone.
func denyPolicy(t containment.Target) containment.State {
	return state(map[string]any{
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "ShotglassQuarantine", "Effect": "Deny", "Action": "*", "Resource": "*",
			"Condition": map[string]any{"ArnEquals": map[string]any{"ec2:SourceInstanceARN": t.ARN()}},
		}},
	})
}

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

// readDeny reads the policy: its document, as JSON.
func readDeny(ctx context.Context, c *conn, id string) (containment.State, error) {
	role, policy, _ := strings.Cut(id, "/")
	out, err := c.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: &policy})
	if missing(err) {
		return containment.Absent, nil
	}
	if err != nil {
		return nil, failed("iam:GetRolePolicy", err)
	}
	doc, err := url.PathUnescape(aws.ToString(out.PolicyDocument))
	if err != nil || !json.Valid([]byte(doc)) {
		return nil, fmt.Errorf("iam:GetRolePolicy: the policy %s of %s is no JSON", policy, role)
	}
	return containment.State(doc), nil
}

func setDeny(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	role, policy, _ := strings.Cut(id, "/")
	if absent(to) {
		out, err := c.iam.DeleteRolePolicy(ctx, &iam.DeleteRolePolicyInput{RoleName: &role, PolicyName: &policy})
		if missing(err) {
			return containment.Reply{}, nil
		}
		if err != nil {
			return containment.Reply{}, failed("iam:DeleteRolePolicy", err)
		}
		return reply(out.ResultMetadata, ""), nil
	}
	out, err := c.iam.PutRolePolicy(ctx, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: &policy, PolicyDocument: aws.String(string(to))})
	if missing(err) {
		return containment.Reply{}, gone("the role " + role)
	}
	if err != nil {
		return containment.Reply{}, failed("iam:PutRolePolicy", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

package keytrail

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
)

// Rights are what the policies of an identity allow it, of what an attacker would want. They are read, not tried.
type Rights struct {
	// Admin says that a policy allows everything, and AdminBy which.
	Admin    bool      `json:"admin"`
	AdminBy  string    `json:"admin_by,omitempty"`
	Boundary string    `json:"permissions_boundary,omitempty"`
	Policies []string  `json:"policies,omitempty"`
	Can      []Ability `json:"can,omitempty"`
	// Denied are policies that deny everything, without a condition.
	Denied []string `json:"denied_all_by,omitempty"`
}

// An Ability is an action that policies allow.
type Ability struct {
	Action string `json:"action"`
	// On are the resources; "*" for all.
	On []string `json:"on,omitempty"`
	// If says that each allowing or some denying statement has a condition, which was not judged.
	If bool     `json:"conditional,omitempty"`
	By []string `json:"by,omitempty"` // policies; none: IAM's simulation alone says so
	// Simulated is what IAM's own simulation says, on all resources: "allowed", "explicitDeny", "implicitDeny"; empty: not asked.
	Simulated string `json:"simulated,omitempty"`
}

// wanted are the actions that are looked for, the worst first.
var wanted = strings.Fields(`iam:CreateAccessKey iam:CreateUser iam:CreateLoginProfile iam:UpdateLoginProfile iam:AttachUserPolicy iam:AttachRolePolicy iam:AttachGroupPolicy iam:PutUserPolicy
	iam:PutRolePolicy iam:PutGroupPolicy iam:CreatePolicyVersion iam:SetDefaultPolicyVersion iam:AddUserToGroup iam:UpdateAssumeRolePolicy iam:DeleteUserPermissionsBoundary iam:PassRole
	sts:AssumeRole sts:GetFederationToken cloudtrail:StopLogging cloudtrail:DeleteTrail guardduty:DeleteDetector ec2:DeleteFlowLogs organizations:LeaveOrganization
	lambda:CreateFunction lambda:UpdateFunctionCode lambda:InvokeFunction ec2:RunInstances ec2:ModifyInstanceAttribute ssm:SendCommand ssm:StartSession ec2-instance-connect:SendSSHPublicKey
	cloudformation:CreateStack secretsmanager:GetSecretValue ssm:GetParameter s3:GetObject s3:PutBucketPolicy s3:DeleteObject ec2:ModifySnapshotAttribute ec2:CreateSnapshot
	ec2:AuthorizeSecurityGroupIngress ec2:TerminateInstances rds:ModifyDBSnapshotAttribute kms:Decrypt kms:PutKeyPolicy kms:ScheduleKeyDeletion bedrock:InvokeModel`)

// A granted is a policy with where it comes from.
type granted struct {
	name string // "AdministratorAccess of the group ops"
	*policy
}

// userRights reads the policies of a user and its groups.
func (r *run) userRights(ctx context.Context, api iamAPI, name string) {
	var list []granted
	r.inline(ctx, &list, "user "+name, "", func() ([]string, error) {
		return all(ctx, iam.NewListUserPoliciesPaginator(api, &iam.ListUserPoliciesInput{UserName: &name}), func(o *iam.ListUserPoliciesOutput) []string { return o.PolicyNames })
	}, func(id string) (*string, error) {
		out, err := api.GetUserPolicy(ctx, &iam.GetUserPolicyInput{UserName: &name, PolicyName: &id})
		if err != nil {
			return nil, err
		}
		return out.PolicyDocument, nil
	})
	attached, err := all(ctx, iam.NewListAttachedUserPoliciesPaginator(api, &iam.ListAttachedUserPoliciesInput{UserName: &name}), func(o *iam.ListAttachedUserPoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
	r.attached(ctx, api, &list, "user "+name, "", attached, err)
	groups, err := all(ctx, iam.NewListGroupsForUserPaginator(api, &iam.ListGroupsForUserInput{UserName: &name}), func(o *iam.ListGroupsForUserOutput) []types.Group { return o.Groups })
	if err != nil {
		r.missed("groups of "+name, err)
	}
	for _, g := range groups {
		group := aws.ToString(g.GroupName)
		r.found.Owner.Groups = append(r.found.Owner.Groups, group)
		r.inline(ctx, &list, "group "+group, " of the group "+group, func() ([]string, error) {
			return all(ctx, iam.NewListGroupPoliciesPaginator(api, &iam.ListGroupPoliciesInput{GroupName: &group}), func(o *iam.ListGroupPoliciesOutput) []string { return o.PolicyNames })
		}, func(id string) (*string, error) {
			out, err := api.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: &group, PolicyName: &id})
			if err != nil {
				return nil, err
			}
			return out.PolicyDocument, nil
		})
		attached, err := all(ctx, iam.NewListAttachedGroupPoliciesPaginator(api, &iam.ListAttachedGroupPoliciesInput{GroupName: &group}), func(o *iam.ListAttachedGroupPoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
		r.attached(ctx, api, &list, "group "+group, " of the group "+group, attached, err)
	}
	r.judge(ctx, api, list)
}

// roleRights reads the policies of a role.
func (r *run) roleRights(ctx context.Context, api iamAPI, name string) {
	var list []granted
	r.inline(ctx, &list, "role "+name, "", func() ([]string, error) {
		return all(ctx, iam.NewListRolePoliciesPaginator(api, &iam.ListRolePoliciesInput{RoleName: &name}), func(o *iam.ListRolePoliciesOutput) []string { return o.PolicyNames })
	}, func(id string) (*string, error) {
		out, err := api.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &name, PolicyName: &id})
		if err != nil {
			return nil, err
		}
		return out.PolicyDocument, nil
	})
	attached, err := all(ctx, iam.NewListAttachedRolePoliciesPaginator(api, &iam.ListAttachedRolePoliciesInput{RoleName: &name}), func(o *iam.ListAttachedRolePoliciesOutput) []types.AttachedPolicy { return o.AttachedPolicies })
	r.attached(ctx, api, &list, "role "+name, "", attached, err)
	r.judge(ctx, api, list)
}

func (r *run) inline(ctx context.Context, list *[]granted, whose, suffix string, names func() ([]string, error), get func(string) (*string, error)) {
	ids, err := names()
	if err != nil {
		r.missed("inline policies of the "+whose, err)
	}
	for _, id := range ids {
		document, err := get(id)
		if err == nil {
			var p *policy
			if p, err = parsePolicy(aws.ToString(document)); err == nil {
				*list = append(*list, granted{id + " (inline)" + suffix, p})
				continue
			}
		}
		r.missed(fmt.Sprintf("the inline policy %q of the %s", id, whose), err)
	}
}

func (r *run) attached(ctx context.Context, api iamAPI, list *[]granted, whose, suffix string, attached []types.AttachedPolicy, err error) {
	if err != nil {
		r.missed("managed policies of the "+whose, err)
	}
	for _, a := range attached {
		p, err := managed(ctx, api, aws.ToString(a.PolicyArn))
		if err != nil {
			r.missed(fmt.Sprintf("the policy %q of the %s", aws.ToString(a.PolicyArn), whose), err)
			continue
		}
		*list = append(*list, granted{aws.ToString(a.PolicyName) + suffix, p})
	}
}

// managed reads the version of a managed policy that is in force.
func managed(ctx context.Context, api iamAPI, arn string) (*policy, error) {
	out, err := api.GetPolicy(ctx, &iam.GetPolicyInput{PolicyArn: &arn})
	if err != nil {
		return nil, err
	}
	version, err := api.GetPolicyVersion(ctx, &iam.GetPolicyVersionInput{PolicyArn: &arn, VersionId: out.Policy.DefaultVersionId})
	if err != nil {
		return nil, err
	}
	return parsePolicy(aws.ToString(version.PolicyVersion.Document))
}

// judge sums up what the policies allow.
func (r *run) judge(ctx context.Context, api iamAPI, list []granted) {
	rights := &r.found.Owner.Rights
	var boundary *policy
	if rights.Boundary != "" {
		var err error
		if boundary, err = managed(ctx, api, rights.Boundary); err != nil {
			r.missed("the permissions boundary "+rights.Boundary, err)
		}
	}
	for _, p := range list {
		rights.Policies = append(rights.Policies, p.name)
	}
	rights.sum(list, boundary)
	r.simulate(ctx, api)
}

// sum judges policies; a boundary takes away what it does not allow.
func (rights *Rights) sum(list []granted, boundary *policy) {
	for _, p := range list {
		for i := range p.Statement {
			s := &p.Statement[i]
			if s.conditional || !s.everywhere() || !slices.Contains(s.Action, "*") && !slices.Contains(s.Action, "*:*") {
				continue
			}
			if !s.allowed {
				rights.Denied = append(rights.Denied, p.name)
			} else if !rights.Admin {
				rights.Admin, rights.AdminBy = true, p.name
			}
		}
	}
	if len(rights.Denied) > 0 || boundary != nil && !boundary.allows("*") {
		rights.Admin, rights.AdminBy = false, ""
	}
	for _, action := range wanted {
		if a, ok := able(action, list, boundary); ok {
			rights.Can = append(rights.Can, a)
		}
	}
}

// allows reports whether some statement allows an action, and none denies it everywhere.
func (p *policy) allows(action string) bool {
	allowed := false
	for i := range p.Statement {
		s := &p.Statement[i]
		if !s.about(action) {
			continue
		}
		if !s.allowed && !s.conditional && s.everywhere() {
			return false
		}
		allowed = allowed || s.allowed
	}
	return allowed
}

func able(action string, list []granted, boundary *policy) (a Ability, ok bool) {
	a = Ability{Action: action, If: true}
	limited := false
	for _, p := range list {
		for i := range p.Statement {
			s := &p.Statement[i]
			switch {
			case !s.about(action):
			case !s.allowed && !s.conditional && s.everywhere():
				return a, false
			case !s.allowed:
				limited = true
			default:
				ok = true
				a.If = a.If && s.conditional
				if !slices.Contains(a.By, p.name) {
					a.By = append(a.By, p.name)
				}
				for _, on := range s.on() {
					if !slices.Contains(a.On, on) {
						a.On = append(a.On, on)
					}
				}
			}
		}
	}
	if slices.Contains(a.On, "*") {
		a.On = []string{"*"}
	}
	a.If = a.If || limited
	return a, ok && (boundary == nil || boundary.allows(action))
}

// simulate asks IAM what it thinks of the same actions, on all resources.
func (r *run) simulate(ctx context.Context, api iamAPI) {
	o := &r.found.Owner
	results, err := all(ctx, iam.NewSimulatePrincipalPolicyPaginator(api, &iam.SimulatePrincipalPolicyInput{PolicySourceArn: &o.ARN, ActionNames: wanted}),
		func(p *iam.SimulatePrincipalPolicyOutput) []types.EvaluationResult { return p.EvaluationResults })
	if err != nil {
		r.missed("IAM's simulation of what it may do", err)
	}
	for _, x := range results {
		action, decision := aws.ToString(x.EvalActionName), string(x.EvalDecision)
		if d := x.OrganizationsDecisionDetail; d != nil && !d.AllowedByOrganizations {
			decision += ", not by the organisation"
		}
		i := slices.IndexFunc(o.Rights.Can, func(a Ability) bool { return strings.EqualFold(a.Action, action) })
		switch {
		case i >= 0:
			o.Rights.Can[i].Simulated = decision
		case decision == string(types.PolicyEvaluationDecisionTypeAllowed):
			o.Rights.Can = append(o.Rights.Can, Ability{Action: action, Simulated: decision})
		}
	}
}

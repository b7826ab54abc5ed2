package ready

import (
	"context"
	"errors"
	"strings"

	"github.com/shotglass-ir/shotglass/containment/iam"
)

// lockingOut are the calls by which an attacker with an administrator's rights takes the responder's role away, or takes it over.
var lockingOut = []string{
	"iam:AttachRolePolicy", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:DetachRolePolicy", "iam:PutRolePermissionsBoundary", "iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy",
}

// organizationCalls are what reading the service control policies of an account needs.
var organizationCalls = []string{"organizations:DescribeOrganization", "organizations:DescribePolicy", "organizations:ListParents", "organizations:ListPoliciesForTarget"}

var responderShield = Check{
	ID: "responder-shield", Title: "a service control policy keeps others from changing the responder's role",
	Why:      "An attacker who is an administrator of the account locks the responder out with one call, or makes the role trust its own. Only a policy of the organisation stops an administrator.",
	Severity: Medium, Account: true,
	Fix:     "attach the statement ProtectResponder of docs/containment.md from the organisation's management account: aws organizations create-policy --type SERVICE_CONTROL_POLICY --name responder --description responder --content file://scp.json && aws organizations attach-policy --policy-id ID --target-id {account}",
	Actions: organizationCalls,
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		role, none, err := s.responder()
		if role == nil || err != nil {
			return none, err
		}
		list, none, err := s.controlPolicies(ctx)
		if none != nil || err != nil {
			return none, err
		}
		free, err := iam.Unshielded(list, role.Partition, s.Account, role.ARN(), lockingOut...)
		switch {
		case len(free) == 0:
			return []Finding{pass(role.Name, "by what is attached to the account, its units and the root")}, nil
		case err != nil:
			return nil, err
		}
		return []Finding{fail(role.Name, "no service control policy denies others %s on it", strings.Join(free, ", "))}, nil
	},
}

// controlPolicies are the service control policies on the site's account, or a finding where there can be none.
func (s *Site) controlPolicies(ctx context.Context) ([]iam.ControlPolicy, []Finding, error) {
	if s.Organization == nil {
		return nil, nil, errors.New("nobody knows the organisation")
	}
	list, err := read(ctx, s, "control policies", func(ctx context.Context) ([]iam.ControlPolicy, error) {
		return over(ctx, s.organization, func(ctx context.Context) ([]iam.ControlPolicy, error) { return s.Organization.Policies(ctx, s.Account) })
	})
	if errors.Is(err, iam.ErrUnbound) && !errors.Is(err, iam.ErrElsewhere) {
		return nil, []Finding{without(s.Account, "%s", explain(err))}, nil
	}
	return list, nil, err
}

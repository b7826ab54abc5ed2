package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
)

// A Question is whether a principal may do some actions on a resource, in a request that says of itself what Context has.
type Question struct {
	Actions  []string
	Resource string
	Context  []types.ContextEntry
}

// An Answer has the actions of a Question that are denied, and those of which it is not known, in the order in which they were asked. All
// others are allowed.
type Answer struct {
	Denied []string
	Open   []Doubt
}

// A Doubt is an action of which it is not known whether it is allowed.
type Doubt struct{ Action, Why string }

// Ask asks IAM's simulation about a user or role, by ARN. It goes by the policies of the principal, its boundary and the
// organisation's control policies. It knows no policy of a session or a resource, as of a key, and no condition that Context does not meet.
func (q Question) Ask(ctx context.Context, api awsiam.SimulatePrincipalPolicyAPIClient, principal string) (Answer, error) {
	var a Answer
	pager := awsiam.NewSimulatePrincipalPolicyPaginator(api, &awsiam.SimulatePrincipalPolicyInput{
		PolicySourceArn: &principal, ActionNames: q.Actions, ResourceArns: []string{q.Resource}, ContextEntries: q.Context,
	})
	results, err := pages(ctx, pager, func(o *awsiam.SimulatePrincipalPolicyOutput) []types.EvaluationResult { return o.EvaluationResults })
	if err != nil {
		return a, err
	}
	for _, action := range q.Actions {
		i := slices.IndexFunc(results, func(r types.EvaluationResult) bool { return strings.EqualFold(aws.ToString(r.EvalActionName), action) })
		if i < 0 {
			a.Open = append(a.Open, Doubt{action, "IAM's simulation said nothing"})
			continue
		}
		switch no, why := judge(results[i]); {
		case no:
			a.Denied = append(a.Denied, action)
		case why != "":
			a.Open = append(a.Open, Doubt{action, why})
		}
	}
	return a, nil
}

// judge reads one result of IAM's simulation: denied, or why it is not known. A condition on a key that the simulation was not given
// makes every answer but an explicit deny a guess.
func judge(r types.EvaluationResult) (denied bool, unknown string) {
	if o := r.OrganizationsDecisionDetail; o != nil && !o.AllowedByOrganizations {
		return true, ""
	}
	if r.EvalDecision == types.PolicyEvaluationDecisionTypeExplicitDeny {
		return true, ""
	}
	if keys := r.MissingContextValues; len(keys) > 0 {
		return false, "it depends on " + strings.Join(unique(slices.Clone(keys)), ", ")
	}
	return r.EvalDecision != types.PolicyEvaluationDecisionTypeAllowed, ""
}

// Caller is the ARN of the principal whose policies count for who calls with a configuration: for a session its role, with the path
// that the session's ARN does not tell.
func Caller(ctx context.Context, cfg aws.Config) (string, error) {
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("who is calling: %w", err)
	}
	arn := aws.ToString(who.Arn)
	t, ok := containment.PrincipalOf(arn)
	switch {
	case !ok:
		return "", fmt.Errorf("the policies of %s cannot be simulated", arn)
	case t.Kind == containment.User || t.Path != "":
		return t.ARN(), nil
	}
	out, err := awsiam.NewFromConfig(cfg).GetRole(ctx, &awsiam.GetRoleInput{RoleName: &t.Name})
	if err != nil {
		return "", fmt.Errorf("look up your role %s: %w", t.Name, err)
	}
	return aws.ToString(out.Role.Arn), nil
}

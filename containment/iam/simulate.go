package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Simulate asks IAM whether whoever the target's configuration calls as may do what the plan needs, one question per resource. What
// IAM does not know is unchecked, never allowed. EC2's calls are not asked about, since it can be asked itself,
// by DryRun.
func (s *Service) Simulate(ctx context.Context, p *containment.Plan) (denied []containment.Denial, unchecked []string, err error) {
	asked := questions(p)
	if len(asked) == 0 {
		return nil, nil, nil
	}
	unknown := func(err error) ([]containment.Denial, []string, error) {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		var all []string
		for _, q := range asked {
			all = append(all, q.actions...)
		}
		return denied, append(unchecked, fmt.Sprintf("%s: %v", strings.Join(unique(all), ", "), err)), nil
	}
	cfg, err := s.Config(ctx, p.Target)
	if err != nil {
		return nil, nil, err
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return unknown(fmt.Errorf("who is calling: %w", err))
	}
	var api API = awsiam.NewFromConfig(cfg)
	source, err := policySource(ctx, api, aws.ToString(who.Arn))
	if err != nil {
		return unknown(err)
	}
	for len(asked) > 0 {
		q := asked[0]
		results, err := q.ask(ctx, api, source)
		if ctx.Err() != nil || errors.Is(awsconfig.Explain(err), containment.ErrDenied) {
			return unknown(err)
		}
		asked = asked[1:]
		if err != nil {
			unchecked = append(unchecked, fmt.Sprintf("%s on %s: %v", strings.Join(q.actions, ", "), q.resource, err))
			continue
		}
		for _, action := range q.actions {
			i := slices.IndexFunc(results, func(r types.EvaluationResult) bool { return strings.EqualFold(aws.ToString(r.EvalActionName), action) })
			if i < 0 {
				unchecked = append(unchecked, action+": IAM's simulation said nothing")
				continue
			}
			switch no, why := Judge(results[i]); {
			case no:
				denied = append(denied, containment.Denial{Permission: containment.Permission{Action: action, Resource: q.resource}, By: "SimulatePrincipalPolicy"})
			case why != "":
				unchecked = append(unchecked, fmt.Sprintf("%s on %s: %s", action, q.resource, why))
			}
		}
	}
	return denied, unchecked, nil
}

// Judge reads one result of IAM's simulation: denied, or why it is not known. A condition on a key that the simulation was not given
// makes every answer but an explicit deny a guess.
func Judge(r types.EvaluationResult) (denied bool, unknown string) {
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

// policySource is the principal whose policies count: for a session, its role, with the path that the session's
// ARN does not tell.
func policySource(ctx context.Context, api API, arn string) (string, error) {
	t, ok := containment.PrincipalOf(arn)
	switch {
	case !ok:
		return "", fmt.Errorf("the policies of %s cannot be simulated", arn)
	case t.Kind == containment.User || t.Path != "":
		return t.ARN(), nil
	}
	out, err := api.GetRole(ctx, &awsiam.GetRoleInput{RoleName: &t.Name})
	if err != nil {
		return "", fmt.Errorf("look up your role %s: %w", t.Name, err)
	}
	return aws.ToString(out.Role.Arn), nil
}

// A question is whether some actions are allowed on a resource.
type question struct {
	resource string
	actions  []string
	managed  string // the policy that is attached, for policies that allow only this one
}

func questions(p *containment.Plan) []question {
	var qs []question
	for _, c := range p.Changes {
		managed := ""
		if c.Kind == userAttachment || c.Kind == roleAttachment {
			_, managed = cut(c.ID)
		}
		for _, need := range c.Permissions {
			if strings.HasPrefix(need.Action, "ec2:") {
				continue
			}
			i := slices.IndexFunc(qs, func(q question) bool { return q.resource == need.Resource && q.managed == managed })
			if i < 0 {
				i = len(qs)
				qs = append(qs, question{resource: need.Resource, managed: managed})
			}
			if !slices.Contains(qs[i].actions, need.Action) {
				qs[i].actions = append(qs[i].actions, need.Action)
			}
		}
	}
	return qs
}

func (q question) ask(ctx context.Context, api API, source string) ([]types.EvaluationResult, error) {
	in := &awsiam.SimulatePrincipalPolicyInput{PolicySourceArn: &source, ActionNames: q.actions, ResourceArns: []string{q.resource}}
	if q.managed != "" {
		in.ContextEntries = []types.ContextEntry{{ContextKeyName: aws.String("iam:PolicyARN"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{q.managed}}}
	}
	return pages(ctx, awsiam.NewSimulatePrincipalPolicyPaginator(api, in), func(o *awsiam.SimulatePrincipalPolicyOutput) []types.EvaluationResult { return o.EvaluationResults })
}

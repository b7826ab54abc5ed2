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
			all = append(all, q.Actions...)
		}
		return denied, append(unchecked, fmt.Sprintf("%s: %v", strings.Join(unique(all), ", "), err)), nil
	}
	cfg, err := s.Config(ctx, p.Target)
	if err != nil {
		return nil, nil, err
	}
	var api API = awsiam.NewFromConfig(cfg)
	source, err := Caller(ctx, cfg)
	if err != nil {
		return unknown(err)
	}
	for len(asked) > 0 {
		q := asked[0]
		answer, err := q.Ask(ctx, api, source)
		if ctx.Err() != nil || errors.Is(awsconfig.Explain(err), containment.ErrDenied) {
			return unknown(err)
		}
		asked = asked[1:]
		if err != nil {
			unchecked = append(unchecked, fmt.Sprintf("%s on %s: %v", strings.Join(q.Actions, ", "), q.Resource, err))
			continue
		}
		for _, action := range answer.Denied {
			denied = append(denied, containment.Denial{Permission: containment.Permission{Action: action, Resource: q.Resource}, By: "SimulatePrincipalPolicy"})
		}
		for _, d := range answer.Open {
			unchecked = append(unchecked, fmt.Sprintf("%s on %s: %s", d.Action, q.Resource, d.Why))
		}
	}
	return denied, unchecked, nil
}

// questions are what a plan needs, one for each resource, and for each policy that is attached, as a policy may allow only that one.
func questions(p *containment.Plan) []Question {
	type on struct{ resource, managed string }
	var of []on
	var qs []Question
	for _, c := range p.Changes {
		managed := ""
		if c.Kind == userAttachment || c.Kind == roleAttachment {
			_, managed = cut(c.ID)
		}
		for _, need := range c.Permissions {
			if strings.HasPrefix(need.Action, "ec2:") {
				continue
			}
			about := on{need.Resource, managed}
			i := slices.Index(of, about)
			if i < 0 {
				i = len(of)
				q := Question{Resource: need.Resource}
				if managed != "" {
					q.Context = []types.ContextEntry{{ContextKeyName: aws.String("iam:PolicyARN"), ContextKeyType: types.ContextKeyTypeEnumString, ContextKeyValues: []string{managed}}}
				}
				of, qs = append(of, about), append(qs, q)
			}
			if !slices.Contains(qs[i].Actions, need.Action) {
				qs[i].Actions = append(qs[i].Actions, need.Action)
			}
		}
	}
	return qs
}

package ready

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
)

// A Responder is the role that will work on an incident, if there is one.
type Responder struct {
	// Role is a name, with its path, in each account, or an ARN, which is a role of one of them.
	Role string
	// Assume assumes a role, by ARN, as whoever runs the audit, and throws its credentials away.
	Assume func(ctx context.Context, role string) error
}

var responderAssume = Check{
	ID: "responder-assume", Title: "the responder's role can be assumed",
	Why:      "A role that was never assumed from where responders sit fails at its first use: its trust policy names another account, wants an external id or a second factor, or it is not in the account at all.",
	Severity: High, Account: true,
	Fix:     "aws iam update-assume-role-policy --role-name {resource} --policy-document file://trust.json, which names who runs shotglass; and that identity's own policies must allow sts:AssumeRole on it",
	Actions: []string{"sts:AssumeRole"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		role, none, err := s.responder()
		if role == nil || err != nil {
			return none, err
		}
		who, err := sts.NewFromConfig(s.Config).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		if err != nil {
			return nil, err
		}
		if own, ok := containment.PrincipalOf(aws.ToString(who.Arn)); ok && own.Kind == containment.Role && own.Account == role.Account && own.Name == role.Name {
			return []Finding{pass(role.Name, "it was: this audit has it")}, nil
		}
		err = s.Responder.Assume(ctx, role.ARN())
		switch {
		case err == nil:
			return []Finding{pass(role.Name, "it was, with the credentials that the audit began with")}, nil
		case ctx.Err() == nil && errors.Is(err, containment.ErrDenied): // that is the answer
			return []Finding{fail(role.Name, "%s", explain(err))}, nil
		}
		return []Finding{unknown(role.Name, err)}, nil
	},
}

// responder is the responder's role in the site's account; nil: there is none to look at, for the reason that the finding has.
func (s *Site) responder() (*containment.Target, []Finding, error) {
	if s.Responder.Role == "" {
		return nil, []Finding{without("", "none was named: --responder")}, nil
	}
	arn := s.Responder.Role
	if !strings.HasPrefix(arn, "arn:") {
		arn = "arn:" + containment.PartitionOf(s.Region) + ":iam::" + s.Account + ":role/" + strings.TrimPrefix(arn, "/")
	}
	role, err := containment.ParseTarget(arn)
	switch {
	case err != nil:
		return nil, nil, err
	case role.Kind != containment.Role:
		return nil, nil, errors.New(arn + " is no role")
	case role.Account != s.Account:
		return nil, []Finding{without(s.Account, "the role is of account %s", role.Account)}, nil
	}
	return &role, nil, nil
}

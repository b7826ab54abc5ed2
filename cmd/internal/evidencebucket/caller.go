package evidencebucket

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A caller is who makes the bucket.
type caller struct {
	arn, account string // as STS says
}

func whoCalls(ctx context.Context, cfg aws.Config) (caller, error) {
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return caller{}, fmt.Errorf("ask AWS who is calling: %w", awsconfig.Explain(err))
	}
	return caller{arn: aws.ToString(out.Arn), account: aws.ToString(out.Account)}, nil
}

// part is a part of an ARN.
func part(arn string, n int) string {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 {
		return ""
	}
	return f[n]
}

// principal is the caller as aws:PrincipalArn has it. A session's ARN has the name of its role and not its path: IAM is asked.
func (m *Maker) principal(ctx context.Context) (string, error) {
	kind, rest, _ := strings.Cut(part(m.me.arn, 5), "/")
	if kind != "assumed-role" {
		return m.me.arn, nil
	}
	name, _, _ := strings.Cut(rest, "/")
	out, err := iam.NewFromConfig(m.Config).GetRole(ctx, &iam.GetRoleInput{RoleName: &name})
	if err != nil {
		return "", fmt.Errorf("look up the role %s that we are: %s", name, short(err))
	}
	return aws.ToString(out.Role.Arn), nil
}

// guard makes sure that the policy leaves somebody who can still change the bucket, and that it is no surprise if that is
// not who calls. The root user of the account can always take a bucket's policy away.
func (m *Maker) guard(ctx context.Context) (notes []string, err error) {
	t := m.Terms
	me, meErr := m.principal(ctx)
	if len(t.BreakGlass) == 0 {
		yours := me
		if meErr != nil {
			yours = m.me.arn
		}
		return nil, refuse("--break-glass ARN names the role or user; you are "+yours, "nobody is named who may delete evidence and change the bucket's settings later")
	}
	var doubts []string
	for _, arn := range t.BreakGlass {
		doubt, err := m.known(ctx, arn)
		if err != nil {
			return nil, err
		}
		if doubt != "" {
			doubts = append(doubts, doubt)
		}
	}
	switch {
	case meErr != nil:
		doubts = append(doubts, "whether you are among those of --break-glass cannot be told: "+meErr.Error())
	case part(me, 5) == "root":
	case !slices.Contains(t.BreakGlass, me):
		doubts = append(doubts, fmt.Sprintf("you, %s, are none of --break-glass: once the policy is there, you cannot change the bucket's settings any more, nor complete it", me))
	}
	if len(doubts) > 0 && !t.AcceptLockOut {
		return nil, refuse("--accept-lock-out does it all the same; the root user of the account can always take the policy away", "%s", strings.Join(doubts, "; "))
	}
	return doubts, nil
}

// known says what is doubtful about an ARN of --break-glass. A wrong path in it would fit nobody.
func (m *Maker) known(ctx context.Context, arn string) (doubt string, err error) {
	kind, rest, _ := strings.Cut(part(arn, 5), "/")
	switch {
	case part(arn, 2) != "iam" || kind != "role" && kind != "user" || rest == "" || strings.ContainsAny(arn, "*?$"):
		return "", refuse("", "--break-glass %q: want the ARN of one role or user, such as arn:aws:iam::%s:role/break-glass", arn, m.me.account)
	case part(arn, 4) != m.me.account:
		return fmt.Sprintf("%s is in another account, where it cannot be looked up", arn), nil
	}
	name, have := rest[strings.LastIndexByte(rest, '/')+1:], ""
	api := iam.NewFromConfig(m.Config)
	if kind == "role" {
		var out *iam.GetRoleOutput
		if out, err = api.GetRole(ctx, &iam.GetRoleInput{RoleName: &name}); err == nil {
			have = aws.ToString(out.Role.Arn)
		}
	} else {
		var out *iam.GetUserOutput
		if out, err = api.GetUser(ctx, &iam.GetUserInput{UserName: &name}); err == nil {
			have = aws.ToString(out.User.Arn)
		}
	}
	switch {
	case awsconfig.Code(err) == "NoSuchEntity":
		return fmt.Sprintf("there is no %s %s", kind, arn), nil
	case err != nil:
		return fmt.Sprintf("%s could not be looked up: %s", arn, short(err)), nil
	case have != arn:
		return "", refuse("--break-glass "+have, "--break-glass %s: its ARN is %s, and a policy with another fits nobody", arn, have)
	}
	return "", nil
}

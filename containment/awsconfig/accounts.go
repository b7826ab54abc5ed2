package awsconfig

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
)

// Accounts are the accounts that targets are in. Its fields are set before the first call; it is then safe for
// concurrent use.
type Accounts struct {
	// Base is the configuration of the caller.
	Base aws.Config
	// Role is what is assumed for a target. A name, with its path, is that of a role in every account but the
	// caller's own, where none is needed; an ARN is one role, for targets in its account. Empty: none is assumed, and targets are
	// in the caller's own account.
	Role string
	// ExternalID is what the role's trust policy asks for, if it does.
	ExternalID string
	// Allow is asked for the account of a role before it is assumed; its error says why not. Nil: any.
	Allow func(account string) error
	// Case names the role's sessions, for CloudTrail.
	Case string
	// SourceIdentity, if set, is that of the sessions: it cannot be changed, follows into roles that are assumed
	// further, and needs sts:SetSourceIdentity in the role's trust policy.
	SourceIdentity string
	// NoIMDS leaves out the question to EC2's metadata service on which instance this runs.
	NoIMDS bool

	mu       sync.Mutex
	caller   *containment.Identity
	sessions map[string]aws.CredentialsProvider // by the role's ARN
}

// Config returns the configuration for calls about a target: in its region, and in its account by the role there. It
// asks for the role's credentials at once, so that its error tells what is wrong with them.
func (a *Accounts) Config(ctx context.Context, t containment.Target) (aws.Config, error) {
	own, err := a.identity(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := a.Base.Copy()
	partition := partitionOf(own.ARN)
	if t.Partition != "" && t.Partition != partition {
		return cfg, fmt.Errorf("%s is in the partition %s, and your credentials are of %s, which knows nothing of it: use others", t, t.Partition, partition)
	}
	if cfg.Region, err = region(t, cfg.Region, partition); err != nil {
		return cfg, err
	}
	role, err := a.roleFor(t, own)
	if err != nil || role == "" {
		return cfg, err
	}
	a.mu.Lock()
	session := a.sessions[role]
	if session == nil {
		session = a.assume(role, cfg.Region)
		if a.sessions == nil {
			a.sessions = map[string]aws.CredentialsProvider{}
		}
		a.sessions[role] = session
	}
	a.mu.Unlock()
	if _, err := session.Retrieve(ctx); err != nil {
		return cfg, a.explain(ctx, role, own, err)
	}
	cfg.Credentials = session
	return cfg, nil
}

// roleFor is the ARN of the role to assume for a target; empty for none.
func (a *Accounts) roleFor(t containment.Target, own containment.Identity) (string, error) {
	if strings.HasPrefix(a.Role, "arn:") {
		r, err := containment.ParseTarget(a.Role)
		if err != nil || r.Kind != containment.Role {
			return "", fmt.Errorf("%q is no role to assume", a.Role)
		}
		if t.Account != "" && t.Account != r.Account {
			return "", fmt.Errorf("%s is in account %s, and the role to assume, %s, in %s: give a role of the target's account, or a role's name for any", t, t.Account, a.Role, r.Account)
		}
		return a.Role, a.allow(r.Account)
	}
	if t.Account == "" || t.Account == own.Account {
		return "", nil
	}
	if a.Role == "" {
		return "", fmt.Errorf("%s is in account %s, and you are in %s: give a role to assume there", cmp.Or(t.String(), "it"), t.Account, own.Account)
	}
	return "arn:" + partitionOf(own.ARN) + ":iam::" + t.Account + ":role/" + strings.TrimPrefix(a.Role, "/"), a.allow(t.Account)
}

func (a *Accounts) allow(account string) error {
	if a.Allow == nil {
		return nil
	}
	return a.Allow(account)
}

// renewBefore is how long before their end credentials are renewed.
const renewBefore = 5 * time.Minute

func (a *Accounts) assume(role, region string) aws.CredentialsProvider {
	cfg := a.Base.Copy()
	if cfg.Region == "" {
		cfg.Region = region
	}
	p := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), role, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = SessionName(a.Case)
		if a.ExternalID != "" {
			o.ExternalID = &a.ExternalID
		}
		if a.SourceIdentity != "" {
			o.SourceIdentity = &a.SourceIdentity
		}
	})
	return aws.NewCredentialsCache(p, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = renewBefore })
}

// explain says what may stand against assuming a role. It never tells the external id.
func (a *Accounts) explain(ctx context.Context, role string, own containment.Identity, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if Code(err) != "AccessDenied" {
		return fmt.Errorf("assume %s: %w", role, Explain(err))
	}
	needs := "sts:AssumeRole for " + own.ARN
	if a.ExternalID != "" {
		needs += ", with the external id that you gave"
	} else {
		needs += ", without an external id"
	}
	if a.SourceIdentity != "" {
		needs += ", and sts:SetSourceIdentity (your own session may have another already, which cannot be changed)"
	}
	return fmt.Errorf("assume %s: its trust policy must allow %s, and your policies sts:AssumeRole on it: %w: %w", role, needs, containment.ErrDenied, err)
}

// SessionName is the name of a case's sessions, of the characters and the length that STS takes.
func SessionName(caseID string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_=,.@-", r) {
			return r
		}
		return '-'
	}, strings.TrimSuffix("shotglass-"+caseID, "-"))
	return name[:min(len(name), 64)]
}

// region is where calls about a target go. IAM has no region, but each of its partitions has one that it is asked in.
func region(t containment.Target, own, partition string) (string, error) {
	switch {
	case t.Region != "":
		return t.Region, nil
	case own != "":
		return own, nil
	case t.Kind == containment.Instance || t.Kind == containment.Function:
		return "", fmt.Errorf("in which region %s is, is not known: give its ARN, or a region", t)
	}
	switch partition {
	case "aws-cn":
		return "cn-north-1", nil
	case "aws-us-gov":
		return "us-gov-west-1", nil
	case "aws":
		return "us-east-1", nil
	}
	return "", fmt.Errorf("which region of the partition %s IAM is asked in, is not known: give a region", partition)
}

func partitionOf(arn string) string {
	if f := strings.SplitN(arn, ":", 3); len(f) == 3 {
		return f[1]
	}
	return "aws"
}

package iam

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Trail looks into the account's CloudTrail. It may be nil in a Service: its messages then say what to look for.
type Trail interface {
	// Event returns the JSON of a CloudTrail event that was made with an access key, or that made it, or an
	// error wrapping ErrGone if there is none.
	Event(ctx context.Context, t containment.Target, accessKey string) ([]byte, error)
}

// longestSession is how long temporary credentials made with a user's key can live: 36 h. When a
// key was last used is known some hours later.
const longestSession = 36*time.Hour + 12*time.Hour

// planKey plans the containment of a long-term key: of its user, or of the key alone.
func (s *Service) planKey(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	t, err := s.keyAccount(ctx, t)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(t.Name, "ASIA") {
		return nil, s.temporary(ctx, t)
	}
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, err
	}
	used, err := api.GetAccessKeyLastUsed(ctx, &awsiam.GetAccessKeyLastUsedInput{AccessKeyId: &t.Name})
	if missing(err) {
		return nil, fmt.Errorf("the access key %s %w in %s", t.Name, containment.ErrGone, accountOf(t))
	}
	if err != nil {
		return nil, fmt.Errorf("whose key %s is: %w", t.Name, awsconfig.Explain(err))
	}
	name := aws.ToString(used.UserName)
	user := containment.Target{Kind: containment.User, Partition: t.Partition, Account: t.Account, Name: name}
	if name == "" || name == "<root_account>" {
		return nil, rootKey(t)
	}
	d, err := s.user(ctx, api, user)
	if errors.Is(err, containment.ErrGone) {
		return nil, rootKey(t)
	}
	if err != nil {
		return nil, err
	}
	if !o.KeyOnly {
		p, err := s.planUser(ctx, d.plan.Target, o)
		if err != nil {
			return nil, err
		}
		p.Warnings = append([]string{fmt.Sprintf("%s is a key of %s, who is contained with all credentials", t.Name, p.Target)}, p.Warnings...)
		return p, nil
	}

	owner := d.plan.Target
	t.Account, t.Partition = owner.Account, owner.Partition
	d.plan.Target, d.plan.Touches = t, []containment.Target{owner}
	keys, err := d.accessKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the access keys of the %s: %w", d, awsconfig.Explain(err))
	}
	i := slices.IndexFunc(keys, func(c credential) bool { return c.id == t.Name })
	if i < 0 {
		return nil, fmt.Errorf("the access key %s of the %s %w", t.Name, d, containment.ErrGone)
	}
	d.off(accessKey, keys[i], RiskKey)
	last := used.AccessKeyLastUsed
	if last != nil {
		d.evidence["last_used"], d.evidence["last_used_for"], d.evidence["last_used_in"] = last.LastUsedDate, last.ServiceName, last.Region
	}
	if last != nil && last.LastUsedDate != nil && awsconfig.ServerTime(used.ResultMetadata).Sub(*last.LastUsedDate) < longestSession {
		d.plan.Residuals = append(d.plan.Residuals, containment.Residual{
			Path: "key-sessions",
			What: fmt.Sprintf("sessions begun with the key live on for up to 36 h, with all that the %s may do: it was last used at %s for %s",
				d, last.LastUsedDate.UTC().Format(time.RFC3339), aws.ToString(last.ServiceName)),
			Do: "contain the user too: the deny binds them",
		})
	}
	if len(keys) > 1 {
		d.warn("the %s has %d access keys; the others stay as they are", d, len(keys))
	}
	d.propagation()
	return d.finish()
}

// keyAccount finds the account of a key of unknown account, for the calls that need to be made there. If AWS does
// not say, it is looked for in the caller's own.
func (s *Service) keyAccount(ctx context.Context, t containment.Target) (containment.Target, error) {
	if t.Account != "" {
		return t, nil
	}
	cfg, err := s.Config(ctx, t)
	if err != nil {
		return t, err
	}
	out, err := sts.NewFromConfig(cfg).GetAccessKeyInfo(ctx, &sts.GetAccessKeyInfoInput{AccessKeyId: &t.Name})
	if ctx.Err() != nil {
		return t, context.Cause(ctx)
	}
	if err == nil {
		t.Account = aws.ToString(out.Account)
	}
	return t, nil
}

func rootKey(t containment.Target) error {
	return fmt.Errorf("%s is no key of an IAM user, so it is one of the root user of %s, which no policy of the account binds: "+
		"sign in as root to delete it; or, in an organisation, do so from the management account by central root access, "+
		"and deny root by a service control policy meanwhile: %w", t.Name, accountOf(t), containment.ErrRefused)
}

func accountOf(t containment.Target) string {
	if t.Account == "" {
		return "an account that AWS did not tell"
	}
	return "account " + t.Account
}

// temporary explains why a temporary key is not contained itself, and what is, as far as that can be found.
func (s *Service) temporary(ctx context.Context, t containment.Target) error {
	refused := func(how string) error {
		return fmt.Errorf("%s is a temporary key (of %s), which cannot be switched off: whom it was issued to must be contained: %s: %w",
			t.Name, accountOf(t), how, containment.ErrRefused)
	}
	look := fmt.Sprintf("aws cloudtrail lookup-events --lookup-attributes AttributeKey=AccessKeyId,AttributeValue=%s "+
		"--query 'Events[0].CloudTrailEvent' --output text, in each region, and read userIdentity.sessionContext.sessionIssuer.arn", t.Name)
	if s.Trail == nil {
		return refused("to find it, run " + look)
	}
	event, err := s.Trail.Event(ctx, t, t.Name)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return refused(fmt.Sprintf("CloudTrail did not tell (%v); later, run %s", awsconfig.Explain(err), look))
	}
	issuer, who, err := Issuer(event, t.Name)
	if err != nil {
		return refused(fmt.Sprintf("CloudTrail's event could not be read (%v); run %s", err, look))
	}
	if issuer.Kind == containment.User {
		return refused(fmt.Sprintf("%s; contain %s, whose deny binds its sessions too", who, issuer.ARN()))
	}
	return refused(fmt.Sprintf("%s; contain %s, with mode revoke if new sessions are to work", who, issuer.ARN()))
}

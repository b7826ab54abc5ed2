package iam

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Modes of a role's containment.
const (
	ModeDeny   = "deny"   // all sessions are denied everything, those to come too
	ModeRevoke = "revoke" // the sessions that there are
)

// CutTrust is the name of the cut that lets nobody assume a role any more.
const CutTrust = "trust-policy"

// Risks of a role's changes, by name.
const (
	RiskRole    = "stops-role"   // whatever uses the role stops working
	RiskRevoke  = "revokes-role" // whatever uses the role must begin a session again
	RiskNoTrust = "closes-role"  // nothing can begin a session of the role
)

// planRole plans the containment of a role: ModeDeny, the default, denies all its sessions everything, ModeRevoke
// those that there are.
func (s *Service) planRole(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	if err := refused(t); err != nil {
		return nil, err
	}
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, err
	}
	out, err := api.GetRole(ctx, &awsiam.GetRoleInput{RoleName: &t.Name})
	p := principal{api: api, role: true, name: t.Name}
	if missing(err) {
		return nil, fmt.Errorf("the %s %w (or is in another account)", p, containment.ErrGone)
	}
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	d, err := begin(p, t, aws.ToString(out.Role.Arn))
	if err != nil {
		return nil, err
	}
	if err := refused(d.plan.Target); err != nil {
		return nil, err
	}
	trust, err := decode(aws.ToString(out.Role.AssumeRolePolicyDocument))
	if err != nil {
		return nil, fmt.Errorf("trust policy of the %s: %w", d, err)
	}
	d.evidence["created"], d.evidence["id"], d.evidence["tags"], d.evidence["trust_policy"] = out.Role.CreateDate, out.Role.RoleId, tags(out.Role.Tags), trust
	if b := out.Role.PermissionsBoundary; b != nil {
		d.evidence["permissions_boundary"] = b.PermissionsBoundaryArn
	}
	d.usedBy(ctx, api, out.Role, trust)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}

	switch o.Mode {
	case "", ModeDeny, "strict": // which is one of functions
		err = d.deny(ctx, api, RiskRole)
	case ModeRevoke:
		err = d.revoke(ctx, awsconfig.ServerTime(out.ResultMetadata), trust)
	default:
		err = fmt.Errorf("no such mode for a role: %q: expected %s or %s", o.Mode, ModeDeny, ModeRevoke)
	}
	if err != nil {
		return nil, err
	}
	if slices.Contains(o.Cuts, CutTrust) {
		c, err := d.change(ctx, roleTrust, "", trustNobody(), fmt.Sprintf("let nobody assume the %s any more", d))
		if err != nil {
			return nil, err
		}
		c.Stage, c.Risk = containment.Cut, RiskNoTrust
	}
	if err := d.quarantine(ctx, s.Organization, o.QuarantineTag); err != nil {
		return nil, err
	}
	d.known("chained-roles", "sessions of other roles that were begun with this role's sessions are not its own: they live for up to an hour",
		"look in CloudTrail for AssumeRole by "+d.arn+", and contain those roles")
	d.propagation()
	return d.finish()
}

// refused refuses roles that cannot be changed in IAM.
func refused(t containment.Target) error {
	switch {
	case strings.HasPrefix(t.Path, "/aws-service-role/"):
		service := strings.Trim(strings.TrimPrefix(t.Path, "/aws-service-role/"), "/")
		return fmt.Errorf("%s is a service-linked role, which only %s can use and nobody can change: contain what %s acts on instead: %w", t, service, service, containment.ErrRefused)
	case strings.HasPrefix(t.Path, "/aws-reserved/sso.amazonaws.com/"):
		return fmt.Errorf("%s is made by IAM Identity Center, and cannot be changed in IAM: disable the person there and "+
			"delete the person's sessions; and put a deny with aws:TokenIssueTime into the permission set's inline policy, "+
			"since sessions of the role live on until they end: %w", t, containment.ErrRefused)
	}
	return nil
}

// revoke drafts the change that denies the sessions there are. Its time becomes that of the call: see Resolve.
func (d *draft) revoke(ctx context.Context, now time.Time, trust containment.State) error {
	c, err := d.change(ctx, rolePolicy, RevokeName, Revoke(now), fmt.Sprintf("deny the sessions of the %s that were begun before the time of the call, by the inline policy %s", d, RevokeName))
	if err != nil {
		return err
	}
	c.Risk = RiskRevoke
	d.known("assume-again", "sessions begun afterwards are not denied; who may begin them: "+strings.Join(trusted(trust), ", "),
		"if the attacker is, or has, one of them: contain with mode deny, or cut the trust policy too")
	return nil
}

// usedBy says who else uses the role, as far as IAM knows.
func (d *draft) usedBy(ctx context.Context, api API, r *types.Role, trust containment.State) {
	by := trusted(trust)
	d.warn("the role %s can be assumed by: %s", d.name, strings.Join(by, ", "))
	if slices.Contains(by, "*") {
		d.warn("the trust policy of the role %s names everyone: its conditions alone keep others out", d.name)
	}
	if u := r.RoleLastUsed; u != nil && u.LastUsedDate != nil {
		d.warn("the role %s was last used at %s in %s", d.name, u.LastUsedDate.UTC().Format(time.RFC3339), aws.ToString(u.Region))
		d.evidence["last_used"] = u.LastUsedDate
	}
	profiles, err := pages(ctx, awsiam.NewListInstanceProfilesForRolePaginator(api, &awsiam.ListInstanceProfilesForRoleInput{RoleName: &d.name}),
		func(o *awsiam.ListInstanceProfilesForRoleOutput) (names []string) {
			for _, p := range o.InstanceProfiles {
				names = append(names, aws.ToString(p.InstanceProfileName))
			}
			return names
		})
	if err != nil {
		d.warn("the instance profiles with the role %s could not be listed: instances may use it: %v", d.name, err)
	} else if len(profiles) > 0 {
		d.warn("every instance with the instance profile %s uses the role %s, and would stop: to contain one of them alone, contain the instance", strings.Join(profiles, ", "), d.name)
	}
	d.evidence["instance_profiles"] = profiles
}

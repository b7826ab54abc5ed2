package iam

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Risks of this package's changes, by name.
const (
	RiskUser = "stops-user"     // whatever uses the user's credentials stops working
	RiskKey  = "stops-key"      // whatever uses the key stops working
	RiskTag  = "quarantine-tag" // what the organisation's policy does to the tag's bearer
)

const keepOff = "a credential that was compromised stays off: have a new one made"

// planUser plans the containment of a user: everything denied, every credential off.
func (s *Service) planUser(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, err
	}
	d, err := s.user(ctx, api, t)
	if err != nil {
		return nil, err
	}
	if err := d.deny(ctx, api, RiskUser); err != nil {
		return nil, err
	}
	if err := d.quarantine(ctx, s.Organization, o.QuarantineTag); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		kind, whats string
		list        func(context.Context) ([]credential, error)
	}{
		{accessKey, "access keys", d.accessKeys},
		{serviceCredential, "service-specific credentials", d.serviceCredentials},
		{sshKey, "SSH keys", d.sshKeys},
		{certificate, "signing certificates", d.certificates},
	} {
		list, err := l.list(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			d.unlisted("the "+l.whats, err)
			continue
		}
		var ids []string
		for _, c := range list {
			ids = append(ids, fmt.Sprintf("%s %s", c.id, c.status))
			d.off(l.kind, c, RiskUser)
		}
		d.evidence[l.whats] = ids
	}
	d.surroundings(ctx, api)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d.known("role-sessions", "sessions of roles that the user assumed are the roles', not the user's: they live until they end",
		"look in CloudTrail for AssumeRole by "+d.arn+" in the last 12 h, and contain those roles")
	d.known("what-it-made", "users, keys, roles and policies that it made, and sessions that others have, are not touched",
		"look in CloudTrail for CreateAccessKey, CreateUser, CreateRole, CreateLoginProfile, UpdateAssumeRolePolicy, PutUserPolicy, GetFederationToken by "+d.arn)
	d.propagation()
	return d.finish()
}

// user looks the target's user up and begins a draft for it.
func (s *Service) user(ctx context.Context, api API, t containment.Target) (*draft, error) {
	p := principal{api: api, name: t.Name}
	out, err := api.GetUser(ctx, &awsiam.GetUserInput{UserName: &t.Name})
	if missing(err) {
		return nil, fmt.Errorf("the %s %w (or is in another account)", p, containment.ErrGone)
	}
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	d, err := begin(p, t, aws.ToString(out.User.Arn))
	if err != nil {
		return nil, err
	}
	d.evidence["created"], d.evidence["password_last_used"] = out.User.CreateDate, out.User.PasswordLastUsed
	d.evidence["id"], d.evidence["tags"] = out.User.UserId, tags(out.User.Tags)
	if b := out.User.PermissionsBoundary; b != nil {
		d.evidence["permissions_boundary"] = b.PermissionsBoundaryArn
	}
	return d, nil
}

// off drafts that a credential becomes inactive. One that has expired needs nothing.
func (d *draft) off(name string, c credential, risk string) {
	if c.status == types.StatusTypeExpired {
		return
	}
	k := kinds[name]
	about := k.what + " " + c.id
	if c.about != "" {
		about += " " + c.about
	}
	d.plan.Changes = append(d.plan.Changes, containment.Change{
		Item: containment.Item{Kind: name, ID: d.name + "/" + c.id}, Stage: containment.Lock, Summary: "make the " + about + " inactive", Call: k.puts,
		Prior: state(c.status), Want: state(types.StatusTypeInactive), Keep: keepOff, Watch: true, Risk: risk, Permissions: permissions(name, d.arn),
	})
}

// surroundings takes what else the user has as evidence, and says what is left.
func (d *draft) surroundings(ctx context.Context, api API) {
	_, err := api.GetLoginProfile(ctx, &awsiam.GetLoginProfileInput{UserName: &d.name})
	switch {
	case err == nil:
		d.warn("the password of the user %s for the console is left: it could only be deleted, never put back; the deny binds it", d.name)
	case !missing(err):
		d.warn("whether the user %s has a password could not be read: %v", d.name, err)
	}
	d.evidence["console_password"] = err == nil

	groups, err := pages(ctx, awsiam.NewListGroupsForUserPaginator(api, &awsiam.ListGroupsForUserInput{UserName: &d.name}),
		func(o *awsiam.ListGroupsForUserOutput) (names []string) {
			for _, g := range o.Groups {
				names = append(names, aws.ToString(g.GroupName))
			}
			return names
		})
	if err != nil {
		d.warn("the groups of the user %s could not be listed as evidence: %v", d.name, err)
	}
	mfa, err := pages(ctx, awsiam.NewListMFADevicesPaginator(api, &awsiam.ListMFADevicesInput{UserName: &d.name}),
		func(o *awsiam.ListMFADevicesOutput) (serials []string) {
			for _, m := range o.MFADevices {
				serials = append(serials, aws.ToString(m.SerialNumber))
			}
			return serials
		})
	if err != nil {
		d.warn("the MFA devices of the user %s could not be listed as evidence: %v", d.name, err)
	}
	d.evidence["groups"], d.evidence["mfa"] = groups, mfa
}

// propagation says what holds for everything that IAM is told.
func (d *draft) propagation() {
	d.known("propagation", "IAM takes seconds, says AWS's own documentation minutes, until a change binds everywhere; until then the attacker can undo it",
		"watch (the default), and have a quarantine tag with a service control policy where there is an organisation")
}

func tags(list []types.Tag) map[string]string {
	m := map[string]string{}
	for _, t := range list {
		m[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return m
}

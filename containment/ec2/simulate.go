package ec2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/containment"
)

// permissions are what setting an item and putting it back need.
func (p *planner) permissions(i containment.Item) []containment.Permission {
	ec2 := func(kind, id string) string {
		return fmt.Sprintf("arn:%s:ec2:%s:%s:%s/%s", p.t.Partition, p.t.Region, p.t.Account, kind, id)
	}
	var all []containment.Permission
	need := func(resource string, actions ...string) {
		for _, a := range actions {
			all = append(all, containment.Permission{Action: a, Resource: resource})
		}
	}
	first, rest, _ := strings.Cut(i.ID, "/")
	switch i.Kind {
	case kindAttribute, kindVolume:
		need(ec2("instance", first), "ec2:ModifyInstanceAttribute")
	case kindTag:
		need(ec2("instance", first), "ec2:CreateTags", "ec2:DeleteTags")
	case kindScaling:
		need(fmt.Sprintf("arn:%s:autoscaling:%s:%s:autoScalingGroup:*:autoScalingGroupName/%s", p.t.Partition, p.t.Region, p.t.Account, rest), "autoscaling:EnterStandby", "autoscaling:ExitStandby")
	case kindTarget:
		if t, err := parseTarget(i.ID); err == nil {
			need(t.group, "elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:RegisterTargets")
		}
	case kindGroup:
		need(ec2("vpc", first), "ec2:CreateSecurityGroup")
		need(ec2("security-group", "*"), "ec2:CreateSecurityGroup", "ec2:CreateTags", "ec2:AuthorizeSecurityGroupIngress", "ec2:AuthorizeSecurityGroupEgress",
			"ec2:RevokeSecurityGroupIngress", "ec2:RevokeSecurityGroupEgress", "ec2:DeleteSecurityGroup")
	case kindTimeouts, kindPublicIP:
		need(ec2("network-interface", first), "ec2:ModifyNetworkInterfaceAttribute")
	case kindGroups:
		need(ec2("network-interface", first), "ec2:ModifyNetworkInterfaceAttribute")
		need(ec2("security-group", "*"), "ec2:ModifyNetworkInterfaceAttribute")
	case kindElasticIP:
		need(ec2("elastic-ip", first), "ec2:DisassociateAddress", "ec2:AssociateAddress")
	case kindACLEntry:
		need(ec2("network-acl", first), "ec2:CreateNetworkAclEntry", "ec2:DeleteNetworkAclEntry")
	case kindACL:
		need(ec2("network-acl", "*"), "ec2:CreateNetworkAcl", "ec2:CreateTags", "ec2:DeleteNetworkAclEntry", "ec2:DeleteNetworkAcl")
	case kindSubnetACL:
		need(ec2("subnet", first), "ec2:ReplaceNetworkAclAssociation")
	case kindPower:
		need(ec2("instance", first), "ec2:StopInstances", "ec2:StartInstances")
	}
	return all
}

// Simulate makes the calls of a plan as dry runs, where EC2 has them: it then says whether the caller may make them. What
// is not there yet, and the calls of other services, cannot be asked so.
func (s *Service) Simulate(ctx context.Context, p *containment.Plan) (denied []containment.Denial, unchecked []string, err error) {
	seen := map[containment.Permission]bool{}
	var groups bool
	for _, ch := range p.Changes {
		k, ok := kinds[ch.Kind]
		if !ok || containment.Same(ch.Prior, ch.Want) || !strings.HasPrefix(ch.Call, "ec2:") {
			continue
		}
		c, err := s.connect(ctx, p.Target)
		if err != nil {
			return nil, nil, err
		}
		c.dry = true
		want := ch.Want
		switch ch.Kind {
		case kindGroups, kindSubnetACL: // into what it is in now, since ours may not be there
			want = ch.Prior
		case kindGroup:
			groups = groups || absent(ch.Prior)
		}
		perm := containment.Permission{Action: ch.Call, Resource: ch.ID}
		if len(ch.Permissions) > 0 {
			perm.Resource = ch.Permissions[0].Resource
		}
		if seen[perm] {
			continue
		}
		seen[perm] = true
		_, err = k.set(ctx, c, ch.ID, ch.Prior, want)
		switch {
		case ctx.Err() != nil:
			return nil, nil, context.Cause(ctx)
		case errors.Is(err, errAllowed), err == nil: // nothing to do is nothing to be allowed
		case errors.Is(err, containment.ErrDenied):
			denied = append(denied, containment.Denial{Permission: perm, By: "DryRun"})
		case err != nil:
			unchecked = append(unchecked, fmt.Sprintf("%s on %s: %v", perm.Action, perm.Resource, err))
		}
	}
	if groups {
		unchecked = append(unchecked, "ec2:AuthorizeSecurityGroupIngress, ec2:AuthorizeSecurityGroupEgress, ec2:RevokeSecurityGroupEgress: the groups are not there yet")
	}
	slices.Sort(unchecked)
	return denied, unchecked, nil
}

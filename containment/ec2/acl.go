package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Network ACLs have no state: what they deny ends connections too. They are those of a subnet, so they are hard cuts,
// made on request alone.

// denyAllName is what the network ACL is tagged with that lets nothing pass: it has no entries but the last ones.
const denyAllName = "deny-all"

func (c *conn) acls(ctx context.Context, filters ...types.Filter) ([]types.NetworkAcl, error) {
	var all []types.NetworkAcl
	pages := sdk.NewDescribeNetworkAclsPaginator(c.ec2, &sdk.DescribeNetworkAclsInput{Filters: filters})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("ec2:DescribeNetworkAcls", err)
		}
		all = append(all, out.NetworkAcls...)
	}
	return all, nil
}

func (c *conn) acl(ctx context.Context, id string) (*types.NetworkAcl, error) {
	out, err := c.ec2.DescribeNetworkAcls(ctx, &sdk.DescribeNetworkAclsInput{NetworkAclIds: []string{id}})
	if missing(err) || err == nil && len(out.NetworkAcls) == 0 {
		return nil, gone("the network ACL " + id)
	}
	if err != nil {
		return nil, failed("ec2:DescribeNetworkAcls", err)
	}
	return &out.NetworkAcls[0], nil
}

// aclOf is the network ACL that a subnet is associated with, and the association.
func (c *conn) aclOf(ctx context.Context, subnet string) (*types.NetworkAcl, string, error) {
	all, err := c.acls(ctx, types.Filter{Name: aws.String("association.subnet-id"), Values: []string{subnet}})
	if err != nil {
		return nil, "", err
	}
	for n := range all {
		for _, a := range all[n].Associations {
			if aws.ToString(a.SubnetId) == subnet {
				return &all[n], aws.ToString(a.NetworkAclAssociationId), nil
			}
		}
	}
	return nil, "", gone("the subnet " + subnet)
}

// An aclEntry is the item of one denied address in one direction.
type aclEntry struct {
	acl    string
	egress bool
	cidr   netip.Prefix
}

func (e aclEntry) itemID() string {
	way := "ingress"
	if e.egress {
		way = "egress"
	}
	return e.acl + "/" + way + "/" + e.cidr.String()
}

func parseACLEntry(id string) (aclEntry, error) {
	f := strings.SplitN(id, "/", 3)
	if len(f) != 3 {
		return aclEntry{}, fmt.Errorf("%q is no entry of a network ACL", id)
	}
	p, err := netip.ParsePrefix(f[2])
	return aclEntry{acl: f[0], egress: f[1] == "egress", cidr: p}, err
}

// denied is the state of an address that is.
var denied = state("denied")

// look returns the numbers of the entries that deny the address before anything is allowed, all that are used in this direction,
// and the lowest one that allows something.
func (e aclEntry) look(a *types.NetworkAcl) (denies []int32, used []int32, firstAllow int32) {
	firstAllow = 32767
	for _, x := range a.Entries {
		if aws.ToBool(x.Egress) != e.egress {
			continue
		}
		n := aws.ToInt32(x.RuleNumber)
		used = append(used, n)
		if x.RuleAction == types.RuleActionAllow {
			firstAllow = min(firstAllow, n)
		}
	}
	for _, x := range a.Entries {
		cidr := aws.ToString(x.CidrBlock) + aws.ToString(x.Ipv6CidrBlock)
		if n := aws.ToInt32(x.RuleNumber); aws.ToBool(x.Egress) == e.egress && x.RuleAction == types.RuleActionDeny &&
			aws.ToString(x.Protocol) == "-1" && cidr == e.cidr.String() && n < firstAllow {
			denies = append(denies, n)
		}
	}
	return denies, used, firstAllow
}

func readACLEntry(ctx context.Context, c *conn, id string) (containment.State, error) {
	e, err := parseACLEntry(id)
	if err != nil {
		return nil, err
	}
	a, err := c.acl(ctx, e.acl)
	if err != nil {
		return nil, err
	}
	if denies, _, _ := e.look(a); len(denies) > 0 {
		return denied, nil
	}
	return containment.Absent, nil
}

func setACLEntry(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	e, err := parseACLEntry(id)
	if err != nil {
		return containment.Reply{}, err
	}
	for range attempts {
		a, err := c.acl(ctx, e.acl)
		if err != nil {
			return containment.Reply{}, err
		}
		denies, used, firstAllow := e.look(a)
		if absent(to) {
			var r containment.Reply
			for _, n := range denies {
				out, err := c.ec2.DeleteNetworkAclEntry(ctx, &sdk.DeleteNetworkAclEntryInput{NetworkAclId: &e.acl, Egress: &e.egress, RuleNumber: &n, DryRun: c.dryRun()})
				if err != nil && !missing(err) {
					return r, failed("ec2:DeleteNetworkAclEntry", err)
				}
				if err == nil {
					r = reply(out.ResultMetadata, "")
				}
			}
			return r, nil
		}
		if len(denies) > 0 { // an answer was lost, or someone did the same
			return containment.Reply{}, nil
		}
		number := firstAllow - 1
		for number > 0 && slices.Contains(used, number) {
			number--
		}
		if number < 1 {
			return containment.Reply{}, fmt.Errorf("%s has no free number before its entry %d, which allows: renumber its entries", e.acl, firstAllow)
		}
		in := &sdk.CreateNetworkAclEntryInput{NetworkAclId: &e.acl, Egress: &e.egress, RuleNumber: &number, RuleAction: types.RuleActionDeny, Protocol: aws.String("-1"), DryRun: c.dryRun()}
		if cidr := e.cidr.String(); e.cidr.Addr().Is4() {
			in.CidrBlock = &cidr
		} else {
			in.Ipv6CidrBlock = &cidr
		}
		out, err := c.ec2.CreateNetworkAclEntry(ctx, in)
		if awsconfig.Code(err) == "NetworkAclEntryAlreadyExists" {
			continue // someone took the number
		}
		if err != nil {
			return containment.Reply{}, failed("ec2:CreateNetworkAclEntry", err)
		}
		return reply(out.ResultMetadata, fmt.Sprintf("entry %d", number)), nil
	}
	return containment.Reply{}, fmt.Errorf("the numbers of %s were taken by someone else %d times", e.acl, attempts)
}

// ownACL finds the network ACL of ours in a VPC; nil: there is none.
func (c *conn) ownACL(ctx context.Context, vpc string) (*types.NetworkAcl, error) {
	all, err := c.acls(ctx, types.Filter{Name: aws.String("vpc-id"), Values: []string{vpc}}, types.Filter{Name: aws.String("tag:" + markTag), Values: []string{denyAllName}})
	if err != nil || len(all) == 0 {
		return nil, err
	}
	slices.SortFunc(all, func(a, b types.NetworkAcl) int {
		return strings.Compare(aws.ToString(a.NetworkAclId), aws.ToString(b.NetworkAclId))
	})
	return &all[0], nil
}

// entries are those of a network ACL but for the last ones, which deny all and cannot be removed.
func entries(a *types.NetworkAcl) []string {
	list := []string{}
	for _, e := range a.Entries {
		if aws.ToInt32(e.RuleNumber) < 32767 {
			list = append(list, fmt.Sprintf("%d egress=%t %s %s%s", aws.ToInt32(e.RuleNumber), aws.ToBool(e.Egress), e.RuleAction, aws.ToString(e.CidrBlock), aws.ToString(e.Ipv6CidrBlock)))
		}
	}
	slices.Sort(list)
	return list
}

func readACL(ctx context.Context, c *conn, id string) (containment.State, error) {
	vpc, _, _ := strings.Cut(id, "/")
	a, err := c.ownACL(ctx, vpc)
	if err != nil || a == nil {
		return containment.Absent, err
	}
	return state(entries(a)), nil
}

// setACL makes the network ACL that denies all, or takes every entry out of the one that is there.
func setACL(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	vpc, _, _ := strings.Cut(id, "/")
	a, err := c.ownACL(ctx, vpc)
	if err != nil {
		return containment.Reply{}, err
	}
	switch {
	case absent(to) && a == nil:
		return containment.Reply{}, nil
	case absent(to):
		out, err := c.ec2.DeleteNetworkAcl(ctx, &sdk.DeleteNetworkAclInput{NetworkAclId: a.NetworkAclId, DryRun: c.dryRun()})
		if awsconfig.Code(err) == "DependencyViolation" {
			return stays("the network ACL %s is still that of a subnet that is cut off: it is left as it is; delete it after the last release", aws.ToString(a.NetworkAclId))
		}
		if missing(err) {
			return containment.Reply{}, nil
		}
		if err != nil {
			return containment.Reply{}, failed("ec2:DeleteNetworkAcl", err)
		}
		return reply(out.ResultMetadata, ""), nil
	case a == nil:
		out, err := c.ec2.CreateNetworkAcl(ctx, &sdk.CreateNetworkAclInput{VpcId: &vpc, DryRun: c.dryRun(), TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeNetworkAcl, Tags: []types.Tag{{Key: aws.String(markTag), Value: aws.String(denyAllName)}},
		}}})
		if err != nil {
			return containment.Reply{}, failed("ec2:CreateNetworkAcl", err)
		}
		return reply(out.ResultMetadata, ""), nil
	}
	for _, e := range a.Entries {
		if aws.ToInt32(e.RuleNumber) >= 32767 {
			continue
		}
		_, err := c.ec2.DeleteNetworkAclEntry(ctx, &sdk.DeleteNetworkAclEntryInput{NetworkAclId: a.NetworkAclId, Egress: e.Egress, RuleNumber: e.RuleNumber, DryRun: c.dryRun()})
		if err != nil && !missing(err) {
			return containment.Reply{}, failed("ec2:DeleteNetworkAclEntry", err)
		}
	}
	return containment.Reply{}, nil
}

func readSubnetACL(ctx context.Context, c *conn, id string) (containment.State, error) {
	a, _, err := c.aclOf(ctx, id)
	if err != nil {
		return nil, err
	}
	return state(aws.ToString(a.NetworkAclId)), nil
}

func setSubnetACL(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	want, err := decode[string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	_, association, err := c.aclOf(ctx, id) // it changes each time
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.ReplaceNetworkAclAssociation(ctx, &sdk.ReplaceNetworkAclAssociationInput{AssociationId: &association, NetworkAclId: &want, DryRun: c.dryRun()})
	if err != nil {
		return containment.Reply{}, failed("ec2:ReplaceNetworkAclAssociation", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// resolveACL puts the id of our network ACL in place of its name.
func (c *conn) resolveACL(ctx context.Context, want containment.State) (containment.State, error) {
	ref, err := decode[string](want)
	if err != nil {
		return nil, err
	}
	ref, ok := strings.CutPrefix(ref, "name:")
	if !ok {
		return want, nil
	}
	vpc, name, _ := strings.Cut(ref, "/")
	var found *types.NetworkAcl
	err = c.until(ctx, 3*time.Second, func() (bool, error) {
		var err error
		found, err = c.ownACL(ctx, vpc)
		return found != nil, err
	})
	if errors.Is(err, errNotYet) {
		return nil, fmt.Errorf("the network ACL %q of %s is not there", name, vpc)
	}
	if err != nil {
		return nil, err
	}
	return state(aws.ToString(found.NetworkAclId)), nil
}

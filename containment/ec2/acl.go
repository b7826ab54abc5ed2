package ec2

import (
	"context"
	"errors"
	"fmt"
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

func setSubnetACL(ctx context.Context, c *conn, id string, from, to containment.State) (containment.Reply, error) {
	want, err := decode[string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	if err := c.keepsCut(ctx, id, from, to); err != nil {
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

// keepsCut refuses to give a subnet back that our network ACL cuts off while another contained instance is in it.
func (c *conn) keepsCut(ctx context.Context, subnet string, from, to containment.State) error {
	if c.dry || containment.Same(from, to) {
		return nil
	}
	id, err := decode[string](from)
	if err != nil {
		return err
	}
	a, err := c.acl(ctx, id)
	if errors.Is(err, containment.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(a.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == markTag }) {
		return nil
	}
	return c.alone(ctx, subnet+" stays cut off", []string{subnet})
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

package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	autoscalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// facts are what is read of an instance before a plan is made.
type facts struct {
	instance   *types.Instance
	kind       instanceType
	interfaces []types.NetworkInterface // attached ones, then branches of its trunks
	branches   map[string]bool
	secondary  []types.SecondaryInterface
	routes     map[string][]types.Route // of each subnet
	endpoints  []types.VpcEndpoint
	rules      map[string][]rule // of each group that an interface is in
	scaling    *autoscalingtypes.AutoScalingInstanceDetails
	targets    []target
	roles      []role
	lost       []string // instance profiles that were deleted
	addresses  []types.Address

	unread []containment.Residual // what could not be looked for
}

// inspect reads all of it. What tells only of ways that may stay open need not succeed, but is reported.
func (c *conn) inspect(ctx context.Context, o containment.Options) (*facts, error) {
	f := &facts{branches: map[string]bool{}, routes: map[string][]types.Route{}, rules: map[string][]rule{}}
	var owner string
	var err error
	if f.instance, owner, err = c.reservation(ctx, c.t.Name); err != nil {
		return nil, err
	}
	if owner != "" {
		if c.t.Account != "" && c.t.Account != owner {
			return nil, fmt.Errorf("the instance belongs to account %s, not %s", owner, c.t.Account)
		}
		c.t.Account = owner
	}
	if c.t.Partition == "" {
		c.t.Partition = containment.PartitionOf(c.t.Region)
	}
	if f.kind, err = c.typeOf(ctx, c.t.Name); err != nil {
		return nil, err
	}
	if err := c.inspectInterfaces(ctx, f); err != nil {
		return nil, err
	}
	if !slices.Contains(o.Without, containment.Lock) {
		if f.roles, f.lost, err = c.rolesOf(ctx, c.t.Name); err != nil {
			return nil, err
		}
	}
	if !slices.Contains(o.Without, containment.Detach) {
		if f.scaling, err = c.scalingOf(ctx, c.t.Name); err != nil {
			return nil, fmt.Errorf("whether Auto Scaling would end the instance: %w", err)
		}
		if f.targets, err = c.targetsOf(ctx, f.vpcs(), f.names()); err != nil {
			return nil, fmt.Errorf("whether a load balancer sends to the instance: %w", err)
		}
	}
	if f.addresses, err = c.addressesOf(ctx, f); err != nil {
		return nil, err
	}
	return f, c.inspectNetwork(ctx, f)
}

// inspectInterfaces lists all interfaces: also those that services manage, and the branches of trunks, which are not attached.
func (c *conn) inspectInterfaces(ctx context.Context, f *facts) error {
	pages := sdk.NewDescribeNetworkInterfacesPaginator(c.ec2, &sdk.DescribeNetworkInterfacesInput{
		IncludeManagedResources: aws.Bool(true),
		Filters:                 []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{c.t.Name}}},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return failed("ec2:DescribeNetworkInterfaces", err)
		}
		f.interfaces = append(f.interfaces, out.NetworkInterfaces...)
	}
	if len(f.interfaces) == 0 {
		return fmt.Errorf("%s has no network interface: nothing there can be isolated", c.t.Name)
	}
	if err := c.inspectBranches(ctx, f); err != nil {
		return err
	}
	secondary := sdk.NewDescribeSecondaryInterfacesPaginator(c.ec2, &sdk.DescribeSecondaryInterfacesInput{
		Filters: []types.Filter{{Name: aws.String("attachment.instance-id"), Values: []string{c.t.Name}}},
	})
	for secondary.HasMorePages() {
		out, err := secondary.NextPage(ctx)
		if err != nil {
			f.notRead(ctx, "secondary interfaces, which have no security groups", "ec2:DescribeSecondaryInterfaces", err)
			break
		}
		f.secondary = append(f.secondary, out.SecondaryInterfaces...)
	}
	for _, e := range f.interfaces {
		for _, id := range groupsOf(&e) {
			if _, ok := f.rules[id]; ok {
				continue
			}
			rules, err := c.rules(ctx, id)
			if err != nil {
				return err
			}
			f.rules[id] = rules
		}
	}
	return ctx.Err()
}

// inspectBranches adds the branch interfaces of the instance's trunks: those of containers.
func (c *conn) inspectBranches(ctx context.Context, f *facts) error {
	trunks := map[string]bool{}
	for _, e := range f.interfaces {
		if e.InterfaceType == types.NetworkInterfaceTypeTrunk {
			trunks[aws.ToString(e.NetworkInterfaceId)] = true
		}
	}
	if len(trunks) == 0 {
		return nil
	}
	pages := sdk.NewDescribeTrunkInterfaceAssociationsPaginator(c.ec2, &sdk.DescribeTrunkInterfaceAssociationsInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			f.notRead(ctx, "the branch interfaces of its trunk, which containers have", "ec2:DescribeTrunkInterfaceAssociations", err)
			return ctx.Err()
		}
		for _, a := range out.InterfaceAssociations {
			if !trunks[aws.ToString(a.TrunkInterfaceId)] {
				continue
			}
			e, err := c.netInterface(ctx, aws.ToString(a.BranchInterfaceId))
			if err != nil {
				return err
			}
			f.interfaces = append(f.interfaces, *e)
			f.branches[aws.ToString(e.NetworkInterfaceId)] = true
		}
	}
	return nil
}

// inspectNetwork reads what the interfaces' packets may go through.
func (c *conn) inspectNetwork(ctx context.Context, f *facts) error {
	for _, e := range f.interfaces {
		subnet, vpc := aws.ToString(e.SubnetId), aws.ToString(e.VpcId)
		if _, ok := f.routes[subnet]; ok {
			continue
		}
		routes, err := c.routesOf(ctx, subnet, vpc)
		if err != nil {
			f.notRead(ctx, "the routes of "+subnet+": whether a NAT or transit gateway keeps connections alive", "ec2:DescribeRouteTables", err)
		}
		f.routes[subnet] = routes
	}
	for vpc := range f.vpcs() {
		pages := sdk.NewDescribeVpcEndpointsPaginator(c.ec2, &sdk.DescribeVpcEndpointsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{vpc}}}})
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				f.notRead(ctx, "the endpoints of "+vpc+", through which connections stay tracked", "ec2:DescribeVpcEndpoints", err)
				break
			}
			f.endpoints = append(f.endpoints, out.VpcEndpoints...)
		}
	}
	return ctx.Err()
}

// routesOf are the routes of a subnet's own table, or of the VPC's main one.
func (c *conn) routesOf(ctx context.Context, subnet, vpc string) ([]types.Route, error) {
	for _, filters := range [][]types.Filter{
		{{Name: aws.String("association.subnet-id"), Values: []string{subnet}}},
		{{Name: aws.String("vpc-id"), Values: []string{vpc}}, {Name: aws.String("association.main"), Values: []string{"true"}}},
	} {
		out, err := c.ec2.DescribeRouteTables(ctx, &sdk.DescribeRouteTablesInput{Filters: filters})
		if err != nil {
			return nil, err
		}
		if len(out.RouteTables) > 0 {
			return out.RouteTables[0].Routes, nil
		}
	}
	return nil, fmt.Errorf("%s has no route table", subnet)
}

// addressesOf are the Elastic IPs of the interfaces.
func (c *conn) addressesOf(ctx context.Context, f *facts) ([]types.Address, error) {
	var ids []string
	for _, e := range f.interfaces {
		ids = append(ids, aws.ToString(e.NetworkInterfaceId))
	}
	out, err := c.ec2.DescribeAddresses(ctx, &sdk.DescribeAddressesInput{Filters: []types.Filter{{Name: aws.String("network-interface-id"), Values: ids}}})
	if err != nil {
		return nil, failed("ec2:DescribeAddresses", err)
	}
	return out.Addresses, nil
}

// notRead reports what could not be looked for. Where EC2 does not have the call at all there is nothing to look for.
func (f *facts) notRead(ctx context.Context, what, call string, err error) {
	if ctx.Err() != nil || unknown(err) {
		return
	}
	f.unread = append(f.unread, containment.Residual{
		Path: "not-checked", What: what + " could not be read: " + failed(call, err).Error(), Do: "allow " + call + " and contain again",
	})
}

func (f *facts) vpcs() map[string]bool {
	set := map[string]bool{}
	for _, e := range f.interfaces {
		set[aws.ToString(e.VpcId)] = true
	}
	return set
}

// names are what the instance may be registered as with a load balancer.
func (f *facts) names() map[string]bool {
	set := map[string]bool{aws.ToString(f.instance.InstanceId): true}
	for _, e := range f.interfaces {
		set[aws.ToString(e.PrivateIpAddress)] = true
		for _, a := range e.PrivateIpAddresses {
			set[aws.ToString(a.PrivateIpAddress)] = true
		}
		for _, a := range e.Ipv6Addresses {
			set[aws.ToString(a.Ipv6Address)] = true
		}
	}
	delete(set, "")
	return set
}

package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// timeouts are the idle timeouts of an interface's tracked connections, in seconds. What was never set is what
// the instance type has, so that to be set to that and not to be set are one state: AWS cannot unset them.
type timeouts struct {
	TCP       int32 `json:"tcp"`
	UDPStream int32 `json:"udp_stream"`
	UDP       int32 `json:"udp"`
}

// shortest are the lowest timeouts that EC2 takes.
var shortest = timeouts{TCP: 60, UDPStream: 60, UDP: 30}

// instanceType is what is known of a type of instances.
type instanceType struct {
	xen      bool // it has no timeouts to set
	defaults timeouts
}

// typeOf returns the type of an instance.
func (c *conn) typeOf(ctx context.Context, instance string) (instanceType, error) {
	c.mu.Lock()
	name := c.of[instance]
	t, ok := c.types[name]
	c.mu.Unlock()
	if ok {
		return t, nil
	}
	i, err := c.instance(ctx, instance)
	if err != nil {
		return instanceType{}, err
	}
	out, err := c.ec2.DescribeInstanceTypes(ctx, &sdk.DescribeInstanceTypesInput{InstanceTypes: []types.InstanceType{i.InstanceType}})
	if err != nil {
		return instanceType{}, failed("ec2:DescribeInstanceTypes", err)
	}
	if len(out.InstanceTypes) == 0 {
		return instanceType{}, fmt.Errorf("ec2:DescribeInstanceTypes knows nothing of the type %q", i.InstanceType)
	}
	info := out.InstanceTypes[0]
	t.xen = info.Hypervisor == types.InstanceTypeHypervisorXen
	t.defaults = timeouts{TCP: 432000, UDPStream: 180, UDP: 30} // what EC2's guide says, where the call is silent
	if info.NetworkInfo != nil && info.NetworkInfo.ConnectionTrackingConfiguration != nil {
		d := info.NetworkInfo.ConnectionTrackingConfiguration
		t.defaults.fill(d.DefaultTcpEstablishedTimeout, d.DefaultUdpStreamTimeout, d.DefaultUdpTimeout)
	}
	c.mu.Lock()
	c.of[instance], c.types[string(i.InstanceType)] = string(i.InstanceType), t
	c.mu.Unlock()
	return t, nil
}

func (t *timeouts) fill(tcp, stream, udp *int32) {
	for _, f := range []struct {
		to   *int32
		from *int32
	}{{&t.TCP, tcp}, {&t.UDPStream, stream}, {&t.UDP, udp}} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
}

// netInterface describes one interface.
func (c *conn) netInterface(ctx context.Context, id string) (*types.NetworkInterface, error) {
	out, err := c.ec2.DescribeNetworkInterfaces(ctx, &sdk.DescribeNetworkInterfacesInput{NetworkInterfaceIds: []string{id}, IncludeManagedResources: aws.Bool(true)})
	if missing(err) || err == nil && len(out.NetworkInterfaces) == 0 {
		return nil, gone("the interface " + id)
	}
	if err != nil {
		return nil, failed("ec2:DescribeNetworkInterfaces", err)
	}
	return &out.NetworkInterfaces[0], nil
}

func readTimeouts(ctx context.Context, c *conn, id string) (containment.State, error) {
	e, err := c.netInterface(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.timeoutsOf(ctx, e)
}

func (c *conn) timeoutsOf(ctx context.Context, e *types.NetworkInterface) (containment.State, error) {
	t, err := c.typeOf(ctx, c.t.Name)
	if err != nil {
		return nil, err
	}
	now := t.defaults
	if s := e.ConnectionTrackingConfiguration; s != nil {
		now.fill(s.TcpEstablishedTimeout, s.UdpStreamTimeout, s.UdpTimeout)
	}
	return state(now), nil
}

func setTimeouts(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	want, err := decode[timeouts](to)
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &sdk.ModifyNetworkInterfaceAttributeInput{
		NetworkInterfaceId: &id, DryRun: c.dryRun(),
		ConnectionTrackingSpecification: &types.ConnectionTrackingSpecificationRequest{
			TcpEstablishedTimeout: &want.TCP, UdpStreamTimeout: &want.UDPStream, UdpTimeout: &want.UDP,
		},
	})
	if missing(err) {
		return containment.Reply{}, gone("the interface " + id)
	}
	if err != nil {
		return containment.Reply{}, failed("ec2:ModifyNetworkInterfaceAttribute", err)
	}
	note := ""
	if t, err := c.typeOf(ctx, c.t.Name); err == nil && want == t.defaults {
		note = "AWS cannot unset a timeout: the defaults of the instance type were written as the interface's own"
	}
	return reply(out.ResultMetadata, note), nil
}

func groupsOf(e *types.NetworkInterface) []string {
	ids := []string{}
	for _, g := range e.Groups {
		ids = append(ids, aws.ToString(g.GroupId))
	}
	slices.Sort(ids)
	return ids
}

func readGroups(ctx context.Context, c *conn, id string) (containment.State, error) {
	e, err := c.netInterface(ctx, id)
	if err != nil {
		return nil, err
	}
	return state(groupsOf(e)), nil
}

// setGroups puts an interface into groups, and into no others. It is called for each interface: for an instance EC2 refuses
// as soon as it has several.
func setGroups(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	groups, err := decode[[]string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &sdk.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, Groups: groups, DryRun: c.dryRun()})
	switch {
	case awsconfig.Code(err) == "InvalidGroup.NotFound":
		return containment.Reply{}, fmt.Errorf("one of the security groups %v that %s shall be in no longer exists: make another, and put the interface into it: %w", groups, id, err)
	case missing(err):
		return containment.Reply{}, gone("the interface " + id)
	case err != nil:
		return containment.Reply{}, failed("ec2:ModifyNetworkInterfaceAttribute", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// readPublicIP tells whether an interface has a public address that is none of ours, but was assigned.
func readPublicIP(ctx context.Context, c *conn, id string) (containment.State, error) {
	e, err := c.netInterface(ctx, id)
	if err != nil {
		return nil, err
	}
	return state(assigned(e)), nil
}

func assigned(e *types.NetworkInterface) bool {
	return e.Association != nil && e.Association.PublicIp != nil && e.Association.AllocationId == nil
}

func setPublicIP(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	want, err := decode[bool](to)
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.ModifyNetworkInterfaceAttribute(ctx, &sdk.ModifyNetworkInterfaceAttributeInput{NetworkInterfaceId: &id, AssociatePublicIpAddress: &want, DryRun: c.dryRun()})
	if err != nil {
		return containment.Reply{}, failed("ec2:ModifyNetworkInterfaceAttribute", err)
	}
	note := ""
	if want {
		note = "the public address is another one than before"
	}
	return reply(out.ResultMetadata, note), nil
}

// An association is where an Elastic IP leads.
type association struct {
	Interface string `json:"interface"`
	Private   string `json:"private"`
}

func (c *conn) address(ctx context.Context, id string) (*types.Address, error) {
	out, err := c.ec2.DescribeAddresses(ctx, &sdk.DescribeAddressesInput{AllocationIds: []string{id}})
	if missing(err) || err == nil && len(out.Addresses) == 0 {
		return nil, gone("the Elastic IP " + id)
	}
	if err != nil {
		return nil, failed("ec2:DescribeAddresses", err)
	}
	return &out.Addresses[0], nil
}

func readElasticIP(ctx context.Context, c *conn, id string) (containment.State, error) {
	a, err := c.address(ctx, id)
	if err != nil {
		return nil, err
	}
	return associationState(a), nil
}

func associationState(a *types.Address) containment.State {
	if a.AssociationId == nil {
		return containment.Absent
	}
	return state(association{Interface: aws.ToString(a.NetworkInterfaceId), Private: aws.ToString(a.PrivateIpAddress)})
}

func setElasticIP(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	if absent(to) {
		a, err := c.address(ctx, id)
		if err != nil || a.AssociationId == nil {
			return containment.Reply{}, err
		}
		out, err := c.ec2.DisassociateAddress(ctx, &sdk.DisassociateAddressInput{AssociationId: a.AssociationId, DryRun: c.dryRun()})
		if err != nil {
			return containment.Reply{}, failed("ec2:DisassociateAddress", err)
		}
		return reply(out.ResultMetadata, ""), nil
	}
	where, err := decode[association](to)
	if err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.AssociateAddress(ctx, &sdk.AssociateAddressInput{
		AllocationId: &id, NetworkInterfaceId: &where.Interface, PrivateIpAddress: &where.Private,
		AllowReassociation: aws.Bool(false), // it may have become someone else's meanwhile
		DryRun:             c.dryRun(),
	})
	if err != nil {
		return containment.Reply{}, failed("ec2:AssociateAddress", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// Opens says which of the groups that an interface would come back to lets everything pass: one of ours for the stage Untrack, which another
// containment put it into. It stays where it is.
func (s *Service) Opens(ctx context.Context, t containment.Target, i containment.Item, to containment.State) (string, error) {
	if i.Kind != kindGroups {
		return "", nil
	}
	groups, err := decode[[]string](to)
	if err != nil || len(groups) == 0 {
		return "", err
	}
	c, err := s.connect(ctx, t)
	if err != nil {
		return "", err
	}
	out, err := c.ec2.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String("group-id"), Values: groups}}})
	if err != nil {
		return "", failed("ec2:DescribeSecurityGroups", err)
	}
	for _, g := range out.SecurityGroups {
		if name := aws.ToString(g.GroupName); base(name) == untrackName {
			return fmt.Sprintf("before, it was in %s (%s), which lets everything pass: another containment had put it there; release that one, or put %s into groups of its own by hand",
				aws.ToString(g.GroupId), name, i.ID), nil
		}
	}
	return "", nil
}

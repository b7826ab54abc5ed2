package ec2

import (
	"context"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// cuts adds what was asked for beyond the security groups.
func (p *planner) cuts(ctx context.Context) error {
	if p.cut(CutPublicAddress) {
		p.cutAddresses()
	}
	if len(p.opts.Addresses) > 0 || p.cut(CutSubnet) {
		if err := p.cutSubnets(ctx); err != nil {
			return err
		}
	}
	if p.cut(CutStop) {
		if p.facts.instance.RootDeviceType == types.DeviceTypeInstanceStore {
			return fmt.Errorf("%s cannot be stopped: its root is an instance store", p.t.Name)
		}
		c := p.change(containment.Cut, kindPower, p.t.Name, state("stopped"), "stop %s at once, without its shutdown scripts", p.t.Name)
		c.Risk, c.Irreversible = RiskMemory, "what is in the instance's memory is lost: start it yourself"
	}
	return nil
}

// cutAddresses takes the public addresses away before the untracked group opens all ports, so that the
// internet does not reach them.
func (p *planner) cutAddresses() {
	for _, a := range p.facts.addresses {
		c := p.change(containment.Timeouts, kindElasticIP, aws.ToString(a.AllocationId), containment.Absent, "take the Elastic IP %s from %s", aws.ToString(a.PublicIp), aws.ToString(a.NetworkInterfaceId))
		c.Risk = RiskAddress
	}
	for _, e := range p.facts.interfaces {
		if assigned(&e) {
			c := p.change(containment.Timeouts, kindPublicIP, aws.ToString(e.NetworkInterfaceId), state(false), "give up the public address %s of %s", aws.ToString(e.Association.PublicIp), aws.ToString(e.NetworkInterfaceId))
			c.Risk, c.Keep = RiskAddress, "AWS would assign another address than before"
		}
		if len(e.Ipv6Addresses) > 0 {
			p.warn("%s keeps its IPv6 addresses: only public IPv4 addresses can be taken away", aws.ToString(e.NetworkInterfaceId))
		}
	}
}

func (p *planner) cutSubnets(ctx context.Context) error {
	seen := map[string]bool{}
	for _, e := range p.facts.interfaces {
		subnet, vpc := aws.ToString(e.SubnetId), aws.ToString(e.VpcId)
		if seen[subnet] {
			continue
		}
		seen[subnet] = true
		out, err := p.ec2.DescribeSubnets(ctx, &sdk.DescribeSubnetsInput{SubnetIds: []string{subnet}})
		if err != nil {
			return failed("ec2:DescribeSubnets", err)
		}
		if owner := aws.ToString(out.Subnets[0].OwnerId); owner != "" && owner != p.t.Account {
			return fmt.Errorf("%s is shared by account %s, whose network ACLs they are: cut there", subnet, owner)
		}
		acl, _, err := p.aclOf(ctx, subnet)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(acl.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == markTag }) { // ours denies them already
			if err := p.denyAddresses(acl); err != nil {
				return err
			}
		}
		if p.cut(CutSubnet) {
			if err := p.cutSubnet(ctx, subnet, vpc); err != nil {
				return err
			}
		}
	}
	return nil
}

// denyAddresses denies the addresses that were named, in both directions.
func (p *planner) denyAddresses(acl *types.NetworkAcl) error {
	id := aws.ToString(acl.NetworkAclId)
	planned := map[bool][]int32{} // numbers, by direction
	for _, a := range p.opts.Addresses {
		cidr, err := prefix(a)
		if err != nil {
			return fmt.Errorf("the address to deny: %w", err)
		}
		if cidr.Bits() == 0 {
			return fmt.Errorf("to deny %s is to cut the subnet: ask for %s", a, CutSubnet)
		}
		for _, egress := range []bool{false, true} {
			e := aclEntry{acl: id, egress: egress, cidr: cidr}
			n := e.look(acl).choose(0, planned[egress]...)
			planned[egress] = append(planned[egress], n)
			c := p.change(containment.Cut, kindACLEntry, e.itemID(), state(denyEntry{n}), "deny %s in %s, %s", cidr, id, map[bool]string{false: "in", true: "out"}[egress])
			c.Risk = RiskSubnet
		}
	}
	if n := len(acl.Associations); n > 1 && len(p.opts.Addresses) > 0 {
		p.warn("%s is the network ACL of %d subnets: what is denied there is denied to all of them", id, n)
	}
	if len(p.opts.Addresses) > 0 {
		p.warn("what is denied in %s stays denied as long as another instance behind it is contained: release that first", id)
	}
	return nil
}

// cutSubnet cuts a whole subnet off, unless it is the caller's.
func (p *planner) cutSubnet(ctx context.Context, subnet, vpc string) error {
	item := containment.Item{Kind: kindACL, ID: vpc + "/" + denyAllName}
	made := false
	for _, c := range p.plan.Changes {
		made = made || c.Item == item
	}
	if !made {
		c := p.change(containment.Prepare, kindACL, item.ID, state([]string{}), "make or check the network ACL %q of %s, which lets nothing pass", denyAllName, vpc)
		c.Keep = "the network ACL is shared by all subnets that are cut in the VPC; release with its kind deletes it if nothing uses it"
	}
	c := p.change(containment.Cut, kindSubnetACL, subnet, state(named(vpc, denyAllName)), "cut the whole of %s off", subnet)
	c.Needs, c.Risk, c.Watch = []containment.Item{item}, RiskSubnet, true
	p.warn("EVERYTHING in %s goes offline, not %s alone, and so does whoever captures from there; it stays so as long as another instance in it is contained", subnet, p.t.Name)
	if p.s.Caller.ARN == "" {
		p.warn("whether this runs in %s is not known: it would cut itself off", subnet)
	}
	here, err := p.inSubnets(ctx, p.s.Caller.Instances(), []string{subnet})
	if err != nil {
		return err
	}
	if len(here) > 0 {
		return fmt.Errorf("%s, which you call from, is in %s: to cut it would lock you out half way: call from elsewhere: %w", here[0], subnet, containment.ErrRefused)
	}
	return nil
}

package ec2

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

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

// A denyEntry is the state of an address that is denied: by which entry, so that release deletes that one alone and not one like it that
// someone else made.
type denyEntry struct {
	Number int32 `json:"entry"`
}

// A view is what a network ACL says about an address in a direction.
type view struct {
	denies     []int32 // the entries that deny it before anything is allowed
	used       []int32 // all numbers of this direction
	firstAllow int32   // the lowest entry that allows something
}

func (e aclEntry) look(a *types.NetworkAcl) view {
	v := view{firstAllow: 32767}
	for _, x := range a.Entries {
		if aws.ToBool(x.Egress) != e.egress {
			continue
		}
		n := aws.ToInt32(x.RuleNumber)
		v.used = append(v.used, n)
		if x.RuleAction == types.RuleActionAllow {
			v.firstAllow = min(v.firstAllow, n)
		}
	}
	for _, x := range a.Entries {
		cidr := aws.ToString(x.CidrBlock) + aws.ToString(x.Ipv6CidrBlock)
		if n := aws.ToInt32(x.RuleNumber); aws.ToBool(x.Egress) == e.egress && x.RuleAction == types.RuleActionDeny &&
			aws.ToString(x.Protocol) == "-1" && cidr == e.cidr.String() && n < v.firstAllow {
			v.denies = append(v.denies, n)
		}
	}
	return v
}

// choose returns the number of the entry that denies the address, or the one that shall: the preferred one if it is free, else the highest
// that is, and that others are not about to use. Zero: none is free.
func (v view) choose(preferred int32, others ...int32) int32 {
	if len(v.denies) > 0 {
		return slices.Max(v.denies)
	}
	free := func(n int32) bool {
		return n > 0 && n < v.firstAllow && !slices.Contains(v.used, n) && !slices.Contains(others, n)
	}
	if free(preferred) {
		return preferred
	}
	for n := v.firstAllow - 1; n > 0; n-- {
		if free(n) {
			return n
		}
	}
	return 0
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
	if v := e.look(a); len(v.denies) > 0 {
		return state(denyEntry{v.choose(0)}), nil
	}
	return containment.Absent, nil
}

// resolveACLEntry takes another number if someone took the planned one, or that of an entry that denies the address already.
func (c *conn) resolveACLEntry(ctx context.Context, id string, want containment.State) (containment.State, error) {
	e, err := parseACLEntry(id)
	if err != nil {
		return nil, err
	}
	planned, err := decode[denyEntry](want)
	if err != nil {
		return nil, err
	}
	a, err := c.acl(ctx, e.acl)
	if err != nil {
		return nil, err
	}
	v := e.look(a)
	n := c.promise(e, func(others []int32) int32 { return v.choose(planned.Number, others...) })
	if n == 0 {
		return nil, fmt.Errorf("%s has no free number before its entry %d, which allows: renumber its entries", e.acl, v.firstAllow)
	}
	return state(denyEntry{n}), nil
}

// promise chooses a number for an entry that no other that this program is about to make has.
func (c *clients) promise(e aclEntry, choose func(others []int32) int32) int32 {
	c.mu.Lock()
	defer c.mu.Unlock()
	var others []int32
	for o, n := range c.promised {
		if o.acl == e.acl && o.egress == e.egress && o.cidr != e.cidr {
			others = append(others, n)
		}
	}
	n := choose(others)
	if n == 0 { // of those that were promised some are free again
		n = choose(nil)
	}
	c.promised[e] = n
	return n
}

func setACLEntry(ctx context.Context, c *conn, id string, from, to containment.State) (containment.Reply, error) {
	e, err := parseACLEntry(id)
	if err != nil {
		return containment.Reply{}, err
	}
	if absent(to) {
		return c.deleteACLEntry(ctx, e, from)
	}
	want, err := decode[denyEntry](to)
	if err != nil {
		return containment.Reply{}, err
	}
	in := &sdk.CreateNetworkAclEntryInput{NetworkAclId: &e.acl, Egress: &e.egress, RuleNumber: &want.Number, RuleAction: types.RuleActionDeny, Protocol: aws.String("-1"), DryRun: c.dryRun()}
	if cidr := e.cidr.String(); e.cidr.Addr().Is4() {
		in.CidrBlock = &cidr
	} else {
		in.Ipv6CidrBlock = &cidr
	}
	out, err := c.ec2.CreateNetworkAclEntry(ctx, in)
	if awsconfig.Code(err) == "NetworkAclEntryAlreadyExists" {
		a, err := c.acl(ctx, e.acl)
		if err != nil {
			return containment.Reply{}, err
		}
		if slices.Contains(e.look(a).denies, want.Number) { // an answer was lost, or someone did the same
			return containment.Reply{}, nil
		}
		return containment.Reply{}, fmt.Errorf("the entry %d of %s was taken by someone else just now: contain again", want.Number, e.acl)
	}
	if err != nil {
		return containment.Reply{}, failed("ec2:CreateNetworkAclEntry", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

// deleteACLEntry deletes the entry that was made, unless another contained instance is behind the network ACL: it may need it too.
func (c *conn) deleteACLEntry(ctx context.Context, e aclEntry, from containment.State) (containment.Reply, error) {
	if absent(from) {
		return containment.Reply{}, nil
	}
	made, err := decode[denyEntry](from)
	if err != nil {
		return containment.Reply{}, err
	}
	a, err := c.acl(ctx, e.acl)
	if err != nil {
		return containment.Reply{}, err
	}
	if !slices.Contains(e.look(a).denies, made.Number) { // gone, or something else by now
		return containment.Reply{}, nil
	}
	var subnets []string
	for _, s := range a.Associations {
		subnets = append(subnets, aws.ToString(s.SubnetId))
	}
	if err := c.alone(ctx, fmt.Sprintf("%s stays denied by the entry %d of %s", e.cidr, made.Number, e.acl), subnets); err != nil {
		return containment.Reply{}, err
	}
	out, err := c.ec2.DeleteNetworkAclEntry(ctx, &sdk.DeleteNetworkAclEntryInput{NetworkAclId: &e.acl, Egress: &e.egress, RuleNumber: &made.Number, DryRun: c.dryRun()})
	if missing(err) {
		return containment.Reply{}, nil
	}
	if err != nil {
		return containment.Reply{}, failed("ec2:DeleteNetworkAclEntry", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

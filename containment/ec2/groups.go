package ec2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// The groups are one pair for each VPC, shared by all that is contained there. They are found by name, and
// never trusted by name: whoever may edit groups may have made one of that name, or opened ours. Where the name is taken by a group
// without our tag, ours has a number behind it: "shotglass-isolate (2)".
const (
	untrackName = "shotglass-untrack"
	isolateName = "shotglass-isolate"
	markTag     = "shotglass" // on what is made here
	markValue   = "containment"
)

// A rule is one of a group, for one source or destination: a prefix, a group or a prefix list.
type rule struct {
	Egress   bool   `json:"egress,omitempty"`
	Protocol string `json:"protocol"` // "-1": all
	From     int32  `json:"from"`     // -1 with all protocols
	To       int32  `json:"to"`
	Peer     string `json:"peer"`

	id string
}

// ruleSet is the state of a group.
type ruleSet struct {
	Rules []rule `json:"rules"`
}

func (r rule) key() rule { r.id = ""; return r }

func compareRules(a, b rule) int {
	return strings.Compare(fmt.Sprintf("%t %+v", a.Egress, a.key()), fmt.Sprintf("%t %+v", b.Egress, b.key()))
}

func rulesState(rules []rule) containment.State {
	rules = slices.Clone(rules)
	slices.SortFunc(rules, compareRules)
	if rules == nil {
		rules = []rule{}
	}
	return state(ruleSet{Rules: rules})
}

// untrackRules let everything pass, of both families.
func untrackRules() []rule {
	var all []rule
	for _, egress := range []bool{false, true} {
		for _, peer := range []string{"0.0.0.0/0", "::/0"} {
			all = append(all, rule{Egress: egress, Protocol: "-1", From: -1, To: -1, Peer: peer})
		}
	}
	return all
}

// isolateRules let nothing pass, or connections from the forensic host to one port. There is no rule out: answers
// to what was let in need none.
func isolateRules(o containment.Options) (name string, rules []rule, err error) {
	if o.Forensic == "" {
		return isolateName, nil, nil
	}
	peer := o.Forensic
	if !strings.HasPrefix(peer, "sg-") {
		p, err := prefix(peer)
		if err != nil {
			return "", nil, fmt.Errorf("the forensic source: %w", err)
		}
		if p.Bits() == 0 {
			return "", nil, fmt.Errorf("the forensic source %s is everyone: name the forensic host", peer)
		}
		peer = p.String()
	}
	port := o.ForensicPort
	if port == 0 {
		port = 22
	}
	if port < 1 || port > 65535 {
		return "", nil, fmt.Errorf("the forensic port %d is none", port)
	}
	return fmt.Sprintf("%s tcp %d from %s", isolateName, port, peer),
		[]rule{{Protocol: "tcp", From: int32(port), To: int32(port), Peer: peer}}, nil
}

// groupRules are the rules that our group of a name shall have: the name of one for a forensic host tells them. It reports
// whether the name is one of ours.
func groupRules(name string) ([]rule, bool) {
	name = base(name)
	var port, peer string
	switch _, err := fmt.Sscanf(name, isolateName+" tcp %s from %s", &port, &peer); {
	case name == untrackName:
		return untrackRules(), true
	case name == isolateName:
		return nil, true
	case err != nil:
		return nil, false
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, false
	}
	made, rules, err := isolateRules(containment.Options{Forensic: peer, ForensicPort: n})
	return rules, err == nil && made == name
}

// reachable is the state that an item may be brought to. What is shared by all that is contained in a VPC is as it shall be, or is not there:
// what it was before may have been read while someone else was making it, or had opened it, and rules that come
// back would open it under others.
func reachable(i containment.Item, to containment.State) containment.State {
	_, name, _ := strings.Cut(i.ID, "/")
	var want containment.State
	switch i.Kind {
	case kindGroup:
		rules, ok := groupRules(name)
		if !ok {
			return containment.Absent
		}
		want = rulesState(rules)
	case kindACL:
		want = state([]string{})
	default:
		return to
	}
	if containment.Same(to, want) {
		return to
	}
	return containment.Absent
}

// prefix reads a prefix, or an address as the prefix of it alone.
func prefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is no address and no prefix", s)
	}
	return p.Masked(), nil
}

// findGroup returns the group of a name in a VPC, nil if there is none.
func (c *conn) findGroup(ctx context.Context, vpc, name string) (*types.SecurityGroup, error) {
	filter := []types.Filter{
		{Name: aws.String("vpc-id"), Values: []string{vpc}},
		{Name: aws.String("group-name"), Values: []string{name}},
	}
	if c.t.Account != "" {
		filter = append(filter, types.Filter{Name: aws.String("owner-id"), Values: []string{c.t.Account}})
	}
	out, err := c.ec2.DescribeSecurityGroups(ctx, &sdk.DescribeSecurityGroupsInput{Filters: filter})
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, failed("ec2:DescribeSecurityGroups", err)
	}
	if len(out.SecurityGroups) == 0 {
		return nil, nil
	}
	return &out.SecurityGroups[0], nil // names are unique within a VPC
}

// rules are all of a group's, as they are.
func (c *conn) rules(ctx context.Context, group string) ([]rule, error) {
	var rules []rule
	pages := sdk.NewDescribeSecurityGroupRulesPaginator(c.ec2, &sdk.DescribeSecurityGroupRulesInput{
		Filters: []types.Filter{{Name: aws.String("group-id"), Values: []string{group}}},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("ec2:DescribeSecurityGroupRules", err)
		}
		for _, r := range out.SecurityGroupRules {
			peer := aws.ToString(r.CidrIpv4) + aws.ToString(r.CidrIpv6) + aws.ToString(r.PrefixListId) // one of them is set
			if r.ReferencedGroupInfo != nil {
				peer = aws.ToString(r.ReferencedGroupInfo.GroupId)
			}
			one := rule{Egress: aws.ToBool(r.IsEgress), Protocol: aws.ToString(r.IpProtocol), From: -1, To: -1, Peer: peer, id: aws.ToString(r.SecurityGroupRuleId)}
			if one.Protocol != "-1" {
				one.From, one.To = aws.ToInt32(r.FromPort), aws.ToInt32(r.ToPort)
			}
			rules = append(rules, one)
		}
	}
	return rules, nil
}

// readGroup reads a group's rules: Absent if there is no such group.
func readGroup(ctx context.Context, c *conn, id string) (containment.State, error) {
	vpc, name, _ := strings.Cut(id, "/")
	g, err := c.findGroup(ctx, vpc, name)
	if err != nil || g == nil {
		return containment.Absent, err
	}
	rules, err := c.rules(ctx, aws.ToString(g.GroupId))
	if err != nil {
		return nil, err
	}
	return rulesState(rules), nil
}

// attempts is how often a group's rules are compared and set while someone else edits them too.
const attempts = 5

// setGroup makes the group if need be, and brings its rules to those wanted, one by one.
func setGroup(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	vpc, name, _ := strings.Cut(id, "/")
	if absent(to) {
		return c.deleteGroup(ctx, vpc, name)
	}
	want, err := decode[ruleSet](to)
	if err != nil {
		return containment.Reply{}, err
	}
	group, r, err := c.makeGroup(ctx, vpc, name)
	if err != nil {
		return r, err
	}
	for range attempts {
		have, err := c.rules(ctx, group)
		if err != nil {
			return r, err
		}
		if containment.Same(rulesState(have), rulesState(want.Rules)) {
			return r, nil
		}
		if err := c.fixRules(ctx, group, have, want.Rules); err != nil && !raced(err) {
			return r, err
		}
	}
	return r, fmt.Errorf("the rules of %s (%s) were changed by someone else each of the %d times that they were set", group, name, attempts)
}

// raced reports whether a rule was revoked or authorized by someone else in between, or is not seen yet.
func raced(err error) bool {
	switch awsconfig.Code(err) {
	case "InvalidSecurityGroupRuleId.NotFound", "InvalidPermission.NotFound", "InvalidPermission.Duplicate", "InvalidGroup.NotFound":
		return true
	}
	return false
}

// makeGroup returns the id of the group, which it makes unless it is there.
func (c *conn) makeGroup(ctx context.Context, vpc, name string) (string, containment.Reply, error) {
	var r containment.Reply
	g, err := c.findGroup(ctx, vpc, name)
	if err != nil {
		return "", r, err
	}
	if g != nil {
		return aws.ToString(g.GroupId), r, nil
	}
	var id string
	out, err := c.ec2.CreateSecurityGroup(ctx, &sdk.CreateSecurityGroupInput{
		GroupName: &name, VpcId: &vpc, DryRun: c.dryRun(),
		Description: aws.String("Made by shotglass to contain instances. It is checked, rule by rule, each time."),
		TagSpecifications: []types.TagSpecification{{
			ResourceType: types.ResourceTypeSecurityGroup, Tags: []types.Tag{{Key: aws.String(markTag), Value: aws.String(markValue)}},
		}},
	})
	switch {
	case err == nil:
		id, r = aws.ToString(out.GroupId), reply(out.ResultMetadata, "")
	case awsconfig.Code(err) != "InvalidGroup.Duplicate": // someone was faster
		return "", r, failed("ec2:CreateSecurityGroup", err)
	}
	// EC2 is eventually consistent: what was made may not be there yet for other calls.
	err = c.until(ctx, settleFor, func() (bool, error) {
		g, err := c.findGroup(ctx, vpc, name)
		if err == nil && g != nil {
			id = aws.ToString(g.GroupId)
		}
		return g != nil, err
	})
	if err != nil {
		return "", r, fmt.Errorf("the security group %q of %s was made but %w", name, vpc, err)
	}
	return id, r, nil
}

// fixRules revokes what is too much and then authorizes what is missing.
func (c *conn) fixRules(ctx context.Context, group string, have, want []rule) error {
	for _, egress := range []bool{true, false} {
		var extra []string
		var lacking []types.IpPermission
		for _, h := range have {
			if h.Egress == egress && !slices.Contains(want, h.key()) {
				extra = append(extra, h.id) // by id: it covers both families, and a default VPC is not silent about it
			}
		}
		for _, w := range want {
			if w.Egress == egress && !slices.ContainsFunc(have, func(h rule) bool { return h.key() == w }) {
				lacking = append(lacking, w.permission())
			}
		}
		if err := c.revoke(ctx, group, egress, extra); err != nil {
			return err
		}
		if err := c.authorize(ctx, group, egress, lacking); err != nil {
			return err
		}
	}
	return nil
}

func (r rule) permission() types.IpPermission {
	p := types.IpPermission{IpProtocol: aws.String(r.Protocol)}
	if r.Protocol != "-1" {
		p.FromPort, p.ToPort = aws.Int32(r.From), aws.Int32(r.To)
	}
	switch {
	case strings.HasPrefix(r.Peer, "sg-"):
		p.UserIdGroupPairs = []types.UserIdGroupPair{{GroupId: aws.String(r.Peer)}}
	case strings.HasPrefix(r.Peer, "pl-"):
		p.PrefixListIds = []types.PrefixListId{{PrefixListId: aws.String(r.Peer)}}
	case strings.Contains(r.Peer, ":"):
		p.Ipv6Ranges = []types.Ipv6Range{{CidrIpv6: aws.String(r.Peer)}}
	default:
		p.IpRanges = []types.IpRange{{CidrIp: aws.String(r.Peer)}}
	}
	return p
}

func (c *conn) revoke(ctx context.Context, group string, egress bool, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	if egress {
		_, err := c.ec2.RevokeSecurityGroupEgress(ctx, &sdk.RevokeSecurityGroupEgressInput{GroupId: &group, SecurityGroupRuleIds: ids, DryRun: c.dryRun()})
		return failed("ec2:RevokeSecurityGroupEgress", err)
	}
	_, err := c.ec2.RevokeSecurityGroupIngress(ctx, &sdk.RevokeSecurityGroupIngressInput{GroupId: &group, SecurityGroupRuleIds: ids, DryRun: c.dryRun()})
	return failed("ec2:RevokeSecurityGroupIngress", err)
}

func (c *conn) authorize(ctx context.Context, group string, egress bool, rules []types.IpPermission) error {
	if len(rules) == 0 {
		return nil
	}
	if egress {
		_, err := c.ec2.AuthorizeSecurityGroupEgress(ctx, &sdk.AuthorizeSecurityGroupEgressInput{GroupId: &group, IpPermissions: rules, DryRun: c.dryRun()})
		return failed("ec2:AuthorizeSecurityGroupEgress", err)
	}
	_, err := c.ec2.AuthorizeSecurityGroupIngress(ctx, &sdk.AuthorizeSecurityGroupIngressInput{GroupId: &group, IpPermissions: rules, DryRun: c.dryRun()})
	return failed("ec2:AuthorizeSecurityGroupIngress", err)
}

// errStays says that something shared was not deleted, and why.
var errStays = errors.New("it stays")

func stays(format string, v ...any) (containment.Reply, error) {
	return containment.Reply{Note: fmt.Sprintf(format, v...)}, errStays
}

// ours reports whether a group has the tag of those that are made here, which a policy may ask for.
func ours(g *types.SecurityGroup) bool {
	return slices.ContainsFunc(g.Tags, func(t types.Tag) bool { return aws.ToString(t.Key) == markTag && aws.ToString(t.Value) == markValue })
}

// deleteGroup deletes the group, if it is ours and nothing is in it.
func (c *conn) deleteGroup(ctx context.Context, vpc, name string) (containment.Reply, error) {
	g, err := c.findGroup(ctx, vpc, name)
	if err != nil || g == nil {
		return containment.Reply{}, err
	}
	if !ours(g) {
		return stays("the security group %s (%s) was not made by shotglass: it is left as it is", aws.ToString(g.GroupId), name)
	}
	out, err := c.ec2.DeleteSecurityGroup(ctx, &sdk.DeleteSecurityGroupInput{GroupId: g.GroupId, DryRun: c.dryRun()})
	switch {
	case awsconfig.Code(err) == "DependencyViolation":
		return stays("the security group %s (%s) is still used, by another contained instance or by a rule: it is left as it is; delete it after the last release", aws.ToString(g.GroupId), name)
	case err != nil && !missing(err):
		return containment.Reply{}, failed("ec2:DeleteSecurityGroup", err)
	case err != nil:
		return containment.Reply{}, nil
	}
	return reply(out.ResultMetadata, ""), nil
}

// named is a reference to a group of ours in a state that is wanted, for its id is not known before it is made.
func named(vpc, name string) string { return "name:" + vpc + "/" + name }

// Resolve puts the ids of groups and network ACLs in place of their names, and free numbers in place of entries that are taken.
func (s *Service) Resolve(ctx context.Context, t containment.Target, i containment.Item, want containment.State) (containment.State, error) {
	if i.Kind != kindGroups && i.Kind != kindSubnetACL && i.Kind != kindACLEntry {
		return want, nil
	}
	c, err := s.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	switch i.Kind {
	case kindSubnetACL:
		return c.resolveACL(ctx, want)
	case kindACLEntry:
		return c.resolveACLEntry(ctx, i.ID, want)
	}
	groups, err := decode[[]string](want)
	if err != nil {
		return nil, err
	}
	for n, g := range groups {
		ref, ok := strings.CutPrefix(g, "name:")
		if !ok {
			continue
		}
		vpc, name, _ := strings.Cut(ref, "/")
		var found *types.SecurityGroup
		err := c.until(ctx, 3*time.Second, func() (bool, error) {
			var err error
			found, err = c.findGroup(ctx, vpc, name)
			return found != nil, err
		})
		if errors.Is(err, errNotYet) {
			return nil, fmt.Errorf("the security group %q of %s is not there", name, vpc)
		}
		if err != nil {
			return nil, err
		}
		groups[n] = aws.ToString(found.GroupId)
	}
	slices.Sort(groups)
	return state(groups), nil
}

package awsfake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Group is a security group.
type Group struct {
	ID, Name, VPC, Description string
	Tags                       map[string]string
	Rules                      []*Rule

	hidden int // how many calls do not see it yet
}

// A Rule is one of a group: one source or destination.
type Rule struct {
	ID       string
	Egress   bool
	Protocol string // "-1", "tcp", "udp", "icmp"
	From, To int    // -1: all, or none
	CIDR     string // or
	CIDR6    string // or
	Group    string
}

// All is what a new group lets out, and what an open one lets in: everything.
func All(egress bool) []*Rule {
	return []*Rule{{Egress: egress, Protocol: "-1", From: -1, To: -1, CIDR: "0.0.0.0/0"}, {Egress: egress, Protocol: "-1", From: -1, To: -1, CIDR6: "::/0"}}
}

// TCP is a rule for one port.
func TCP(egress bool, port int, cidr string) *Rule {
	return &Rule{Egress: egress, Protocol: "tcp", From: port, To: port, CIDR: cidr}
}

// AddGroup makes a group with exactly these rules.
func (r *Region) AddGroup(vpc, name string, rules ...*Rule) *Group {
	g := &Group{ID: r.id("sg-"), Name: name, VPC: vpc, Tags: map[string]string{}}
	for _, rule := range rules {
		r.AddRule(g, *rule)
	}
	r.Groups[g.ID] = g
	return g
}

// AddRule adds a rule to a group, as an attacker may, too.
func (r *Region) AddRule(g *Group, rule Rule) {
	rule.ID = r.id("sgr-")
	g.Rules = append(g.Rules, &rule)
}

var groupOps = map[string]operation{
	"CreateSecurityGroup":           {do: createGroup, on: onNew("security-group", true), writes: true},
	"DeleteSecurityGroup":           {do: deleteGroup, on: on("security-group", "GroupId"), writes: true},
	"DescribeSecurityGroups":        {do: describeGroups},
	"DescribeSecurityGroupRules":    {do: describeRules},
	"AuthorizeSecurityGroupIngress": {do: authorizeRules(false), on: on("security-group", "GroupId"), writes: true},
	"AuthorizeSecurityGroupEgress":  {do: authorizeRules(true), on: on("security-group", "GroupId"), writes: true},
	"RevokeSecurityGroupIngress":    {do: revokeRules(false), on: on("security-group", "GroupId"), writes: true},
	"RevokeSecurityGroupEgress":     {do: revokeRules(true), on: on("security-group", "GroupId"), writes: true},
}

// onNew is the resource of a call that makes something in a VPC.
func onNew(kind string, inVPC bool) func(*Request) []string {
	return func(r *Request) []string {
		arns := []string{r.Region.arn(kind, "*")}
		if inVPC {
			arns = append(arns, r.Region.arn("vpc", r.Form.Get("VpcId")))
		}
		return arns
	}
}

// group finds a group that the call can see already.
func (r *Region) group(id string) (*Group, error) {
	g := r.Groups[id]
	if g != nil && g.hidden > 0 {
		g.hidden--
		g = nil
	}
	if g == nil {
		return nil, fail("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
	}
	return g, nil
}

func createGroup(r *Request) (any, error) {
	name, vpc := r.Form.Get("GroupName"), r.Region.VPCs[r.Form.Get("VpcId")]
	if vpc == nil {
		return nil, fail("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", r.Form.Get("VpcId"))
	}
	if name == "" || len(name) > 255 || strings.HasPrefix(name, "sg-") || strings.Trim(name, groupNameChars) != "" || r.Form.Get("GroupDescription") == "" {
		return nil, fail("InvalidParameterValue", "Invalid value '%s' for groupName", name)
	}
	for _, g := range r.Region.Groups {
		if g.VPC == vpc.ID && strings.EqualFold(g.Name, name) {
			return nil, fail("InvalidGroup.Duplicate", "The security group '%s' already exists for VPC '%s'", name, vpc.ID)
		}
	}
	g := r.Region.AddGroup(vpc.ID, name)
	g.Description, g.Tags, g.hidden = r.Form.Get("GroupDescription"), r.tags("TagSpecification.1.Tag"), r.Region.Lag
	for _, rule := range All(true) {
		if rule.CIDR6 == "" || vpc.IPv6 {
			r.Region.AddRule(g, *rule)
		}
	}
	return []X{el("groupId", g.ID), el("return", true)}, nil
}

// groupNameChars may be in the name of a group of a VPC.
const groupNameChars = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-:/()#,@[]+=&;{}!$*"

func deleteGroup(r *Request) (any, error) {
	g, err := r.Region.group(r.Form.Get("GroupId"))
	if err != nil {
		return nil, err
	}
	for _, i := range r.Region.Interfaces {
		if slices.Contains(i.Groups, g.ID) {
			return nil, fail("DependencyViolation", "resource %s has a dependent object", g.ID)
		}
	}
	delete(r.Region.Groups, g.ID)
	return nil, nil
}

func (r *Region) visible() map[string]*Group {
	all := map[string]*Group{}
	for id, g := range r.Groups {
		if g.hidden > 0 {
			g.hidden--
			continue
		}
		all[id] = g
	}
	return all
}

func describeGroups(r *Request) (any, error) {
	found, err := pick(r, r.Region.visible(), "GroupId", "InvalidGroup.NotFound", func(g *Group) attributes {
		return attributes{"group-id": {g.ID}, "group-name": {g.Name}, "vpc-id": {g.VPC}, "owner-id": {r.Account.ID}}.tags(g.Tags)
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, g := range found {
		items = append(items, []X{el("groupId", g.ID), el("groupName", g.Name), el("vpcId", g.VPC), el("ownerId", r.Account.ID), el("groupDescription", g.Description), tagSet(g.Tags)})
	}
	return r.pages("securityGroupInfo", items)
}

func describeRules(r *Request) (any, error) {
	var items [][]X
	for _, id := range sorted(r.Region.Groups) {
		g := r.Region.Groups[id]
		for _, rule := range g.Rules {
			ok, err := r.matches(attributes{"group-id": {g.ID}, "security-group-rule-id": {rule.ID}})
			if err != nil {
				return nil, err
			}
			if ok {
				items = append(items, rule.describe(r, g))
			}
		}
	}
	return r.pages("securityGroupRuleSet", items)
}

func (rule *Rule) describe(r *Request, g *Group) []X {
	x := []X{
		el("securityGroupRuleId", rule.ID), el("groupId", g.ID), el("groupOwnerId", r.Account.ID), el("isEgress", rule.Egress),
		el("ipProtocol", rule.Protocol), el("fromPort", rule.From), el("toPort", rule.To),
	}
	switch {
	case rule.CIDR != "":
		x = append(x, el("cidrIpv4", rule.CIDR))
	case rule.CIDR6 != "":
		x = append(x, el("cidrIpv6", rule.CIDR6))
	default:
		x = append(x, el("referencedGroupInfo", []X{el("groupId", rule.Group), el("userId", r.Account.ID)}))
	}
	return x
}

// permissions reads the IpPermissions of a call, one rule for each source.
func (r *Request) permissions(egress bool) []*Rule {
	var rules []*Rule
	for n := 1; r.Form.Has(fmt.Sprintf("IpPermissions.%d.IpProtocol", n)); n++ {
		p := fmt.Sprintf("IpPermissions.%d.", n)
		port := func(name string) int {
			v, err := strconv.Atoi(r.Form.Get(p + name))
			if err != nil {
				return -1
			}
			return v
		}
		one := func(cidr, cidr6, group string) {
			rules = append(rules, &Rule{Egress: egress, Protocol: r.Form.Get(p + "IpProtocol"), From: port("FromPort"), To: port("ToPort"), CIDR: cidr, CIDR6: cidr6, Group: group})
		}
		for k := 1; r.Form.Has(fmt.Sprintf("%sIpRanges.%d.CidrIp", p, k)); k++ {
			one(r.Form.Get(fmt.Sprintf("%sIpRanges.%d.CidrIp", p, k)), "", "")
		}
		for k := 1; r.Form.Has(fmt.Sprintf("%sIpv6Ranges.%d.CidrIpv6", p, k)); k++ {
			one("", r.Form.Get(fmt.Sprintf("%sIpv6Ranges.%d.CidrIpv6", p, k)), "")
		}
		for k := 1; r.Form.Has(fmt.Sprintf("%sGroups.%d.GroupId", p, k)); k++ {
			one("", "", r.Form.Get(fmt.Sprintf("%sGroups.%d.GroupId", p, k)))
		}
	}
	return rules
}

func (rule *Rule) same(o *Rule) bool {
	a, b := *rule, *o
	a.ID, b.ID = "", ""
	return a == b
}

func authorizeRules(egress bool) func(*Request) (any, error) {
	return func(r *Request) (any, error) {
		g, err := r.Region.group(r.Form.Get("GroupId"))
		if err != nil {
			return nil, err
		}
		rules := r.permissions(egress)
		for _, rule := range rules {
			if slices.ContainsFunc(g.Rules, rule.same) {
				return nil, fail("InvalidPermission.Duplicate", "the specified rule already exists")
			}
			if rule.Group != "" && r.Region.Groups[rule.Group] == nil {
				return nil, fail("InvalidGroup.NotFound", "The security group '%s' does not exist", rule.Group)
			}
		}
		for _, rule := range rules {
			r.Region.AddRule(g, *rule)
		}
		r.Region.judgeAll()
		return nil, nil
	}
}

func revokeRules(egress bool) func(*Request) (any, error) {
	return func(r *Request) (any, error) {
		g, err := r.Region.group(r.Form.Get("GroupId"))
		if err != nil {
			return nil, err
		}
		ids := r.values("SecurityGroupRuleId")
		for _, id := range ids {
			if !slices.ContainsFunc(g.Rules, func(rule *Rule) bool { return rule.ID == id && rule.Egress == egress }) {
				return nil, fail("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '%s' does not exist", id)
			}
		}
		asked := r.permissions(egress)
		before := len(g.Rules)
		g.Rules = slices.DeleteFunc(g.Rules, func(rule *Rule) bool {
			return slices.Contains(ids, rule.ID) || slices.ContainsFunc(asked, rule.same)
		})
		if len(g.Rules) == before && !r.Region.VPCs[g.VPC].Default { // a default VPC says nothing
			return nil, fail("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
		}
		r.Region.judgeAll()
		return nil, nil
	}
}

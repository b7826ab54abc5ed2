package awsfake

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// An Interface is an elastic network interface, attached or not.
type Interface struct {
	ID, Subnet, VPC string
	Instance        string // that it is attached to; empty: none
	Type            string // "interface", "efa", "efa-only", "trunk", "branch"
	Trunk           string // of a branch
	Groups          []string
	PrivateIP       string
	AutoPublicIP    string // assigned by the subnet; lost with AssociatePublicIpAddress
	IPv6            []string
	Timeouts        *Timeouts // nil: never set
	// Managed interfaces belong to a service; Hidden ones are only listed for who asks for them.
	Managed, Hidden bool
	// Secondary interfaces are of another kind altogether, without groups.
	Secondary bool

	old   []string // groups before the last change, shown to the next stale calls
	stale int
}

// Timeouts are an interface's idle timeouts, in seconds.
type Timeouts struct{ TCP, UDPStream, UDP int }

// AddInterface makes an interface. What is empty becomes usual.
func (r *Region) AddInterface(i Interface) *Interface {
	if i.ID == "" {
		i.ID = r.id("eni-")
	}
	if i.Type == "" {
		i.Type = "interface"
	}
	if s := r.Subnets[i.Subnet]; s != nil {
		i.VPC = s.VPC
	}
	if i.PrivateIP == "" {
		i.PrivateIP = fmt.Sprintf("10.0.%d.%d", len(r.Interfaces)/200, len(r.Interfaces)%200+10)
	}
	r.Interfaces[i.ID] = &i
	return &i
}

// interfacesOf are those attached to an instance, in the order of their ids.
func (r *Region) interfacesOf(instance string) []*Interface {
	var mine []*Interface
	for _, id := range sorted(r.Interfaces) {
		if i := r.Interfaces[id]; i.Instance == instance && !i.Secondary {
			mine = append(mine, i)
		}
	}
	return mine
}

var interfaceOps = map[string]operation{
	"DescribeNetworkInterfaces":          {do: describeInterfaces},
	"ModifyNetworkInterfaceAttribute":    {do: modifyInterface, on: modified, writes: true},
	"DescribeTrunkInterfaceAssociations": {do: describeTrunks},
	"DescribeSecondaryInterfaces":        {do: describeSecondary},
}

// modified are the resources of ModifyNetworkInterfaceAttribute: also the groups must be allowed, and the instance.
func modified(r *Request) []string {
	arns := on("network-interface", "NetworkInterfaceId")(r)
	if i := r.Region.Interfaces[r.Form.Get("NetworkInterfaceId")]; i != nil && i.Instance != "" {
		arns = append(arns, r.Region.arn("instance", i.Instance))
	}
	return append(arns, on("security-group", "SecurityGroupId")(r)...)
}

func describeInterfaces(r *Request) (any, error) {
	all := map[string]*Interface{}
	for id, i := range r.Region.Interfaces {
		if !i.Secondary && (!i.Hidden || r.Form.Get("IncludeManagedResources") == "true") {
			all[id] = i
		}
	}
	found, err := pick(r, all, "NetworkInterfaceId", "InvalidNetworkInterfaceID.NotFound", func(i *Interface) attributes {
		a := attributes{"attachment.instance-id": {}, "vpc-id": {i.VPC}, "subnet-id": {i.Subnet}, "group-id": i.Groups, "network-interface-id": {i.ID}}
		if i.Instance != "" {
			a["attachment.instance-id"] = []string{i.Instance}
		}
		return a
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, i := range found {
		items = append(items, r.Region.describeInterface(i))
	}
	return r.pages("networkInterfaceSet", items)
}

func (r *Region) describeInterface(i *Interface) []X {
	shown := i.Groups
	if i.stale > 0 {
		i.stale--
		shown = i.old
	}
	var groups, v6 [][]X
	for _, g := range shown {
		item := []X{el("groupId", g)}
		if have := r.Groups[g]; have != nil {
			item = append(item, el("groupName", have.Name))
		}
		groups = append(groups, item)
	}
	for _, a := range i.IPv6 {
		v6 = append(v6, []X{el("ipv6Address", a)})
	}
	x := []X{
		el("networkInterfaceId", i.ID), el("subnetId", i.Subnet), el("vpcId", i.VPC), el("ownerId", r.account.ID), el("interfaceType", i.Type),
		el("privateIpAddress", i.PrivateIP), el("status", "in-use"), list("groupSet", groups...), list("ipv6AddressesSet", v6...),
	}
	if i.Instance != "" {
		x = append(x, el("attachment", []X{el("attachmentId", "eni-attach-"+i.ID[4:]), el("instanceId", i.Instance), el("status", "attached")}))
	}
	if t := i.Timeouts; t != nil {
		c := []X{el("tcpEstablishedTimeout", t.TCP)}
		if t.UDPStream > 0 {
			c = append(c, el("udpStreamTimeout", t.UDPStream))
		}
		if t.UDP > 0 {
			c = append(c, el("udpTimeout", t.UDP))
		}
		x = append(x, el("connectionTrackingConfiguration", c))
	}
	if i.Managed {
		x = append(x, el("operator", []X{el("managed", true), el("principal", "service.amazonaws.com"), el("hiddenByDefault", i.Hidden)}))
	}
	if ip, alloc := r.publicIP(i); ip != "" {
		a := []X{el("publicIp", ip)}
		if alloc != "" {
			a = append(a, el("allocationId", alloc))
		}
		x = append(x, el("association", a))
	}
	return x
}

// publicIP is an interface's public address, with its allocation if it is an Elastic IP.
func (r *Region) publicIP(i *Interface) (ip, allocation string) {
	for _, id := range sorted(r.Addresses) {
		if a := r.Addresses[id]; a.Interface == i.ID {
			return a.IP, a.ID
		}
	}
	return i.AutoPublicIP, ""
}

func modifyInterface(r *Request) (any, error) {
	i := r.Region.Interfaces[r.Form.Get("NetworkInterfaceId")]
	if i == nil || i.Secondary {
		return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", r.Form.Get("NetworkInterfaceId"))
	}
	what := map[string]bool{}
	for k := range r.Form {
		first, _, _ := strings.Cut(k, ".")
		switch first {
		case "Action", "Version", "NetworkInterfaceId", "DryRun":
		default:
			what[first] = true
		}
	}
	if len(what) != 1 {
		return nil, fail("InvalidParameterCombination", "Only one attribute may be modified at a time")
	}
	switch {
	case what["SecurityGroupId"]:
		return nil, r.Region.regroup(i, r.values("SecurityGroupId"))
	case what["ConnectionTrackingSpecification"]:
		if in := r.Region.Instances[i.Instance]; in != nil && r.Region.Types[in.Type].Xen {
			return nil, fail("InvalidParameterValue", "ConnectionTrackingSpecification is not supported for instance type %s", in.Type)
		}
		t := Timeouts{TCP: r.Region.tcpTimeout(i), UDPStream: 180, UDP: 30}
		if i.Timeouts != nil {
			t = *i.Timeouts
		}
		for _, f := range []struct {
			name     string
			at       *int
			min, max int
		}{{"TcpEstablishedTimeout", &t.TCP, 60, 432000}, {"UdpStreamTimeout", &t.UDPStream, 60, 180}, {"UdpTimeout", &t.UDP, 30, 60}} {
			if v := r.Form.Get("ConnectionTrackingSpecification." + f.name); v != "" {
				n, err := strconv.Atoi(v)
				if err != nil || n < f.min || n > f.max {
					return nil, fail("InvalidParameterValue", "Invalid value '%s' for %s", v, f.name)
				}
				*f.at = n
			}
		}
		i.Timeouts = &t
	case what["AssociatePublicIpAddress"]:
		if r.Form.Get("AssociatePublicIpAddress") != "true" {
			i.AutoPublicIP = ""
		} else if i.AutoPublicIP == "" {
			r.Cloud.ids++
			i.AutoPublicIP = fmt.Sprintf("198.51.100.%d", r.Cloud.ids%250+1)
		}
	default:
		return nil, fail("InvalidParameterValue", "awsfake: no such attribute")
	}
	return nil, nil
}

// Regroup puts an interface into groups, as someone else may, and inside Edit.
func (r *Region) Regroup(i *Interface, groups ...string) error { return r.regroup(i, groups) }

// regroup puts an interface into groups.
func (r *Region) regroup(i *Interface, groups []string) error {
	if len(groups) == 0 {
		return fail("InvalidParameterValue", "You must specify at least one group")
	}
	if len(groups) > r.GroupsPerInterface {
		return fail("SecurityGroupsPerInterfaceLimitExceeded", "The maximum number of security groups per interface has been reached.")
	}
	if i.Type == "efa-only" {
		return fail("UnsupportedOperation", "Security groups cannot be changed for this interface type")
	}
	for _, id := range groups {
		g, err := r.group(id)
		if err != nil {
			return err
		}
		if g.VPC != i.VPC {
			return fail("InvalidGroup.NotFound", "You have specified two resources that belong to different networks.")
		}
	}
	i.old, i.stale, i.Groups = i.Groups, r.Lag, slices.Clone(groups)
	r.judge(i)
	return nil
}

func (r *Region) tcpTimeout(i *Interface) int {
	if i.Timeouts != nil {
		return i.Timeouts.TCP
	}
	if in := r.Instances[i.Instance]; in != nil {
		return r.defaultTCP(in.Type)
	}
	return 432000
}

func describeTrunks(r *Request) (any, error) {
	all := map[string]*Interface{}
	for id, i := range r.Region.Interfaces {
		if i.Trunk != "" {
			all[id] = i
		}
	}
	found, err := pick(r, all, "AssociationId", "InvalidAssociationID.NotFound", func(i *Interface) attributes {
		return attributes{"gre-key": {}, "interface-protocol": {"VLAN"}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, i := range found {
		items = append(items, []X{el("associationId", "trunk-assoc-"+i.ID[4:]), el("branchInterfaceId", i.ID), el("trunkInterfaceId", i.Trunk), el("interfaceProtocol", "VLAN")})
	}
	return r.pages("interfaceAssociationSet", items)
}

func describeSecondary(r *Request) (any, error) {
	all := map[string]*Interface{}
	for id, i := range r.Region.Interfaces {
		if i.Secondary {
			all[id] = i
		}
	}
	found, err := pick(r, all, "SecondaryInterfaceId", "InvalidSecondaryInterfaceID.NotFound", func(i *Interface) attributes {
		return attributes{"attachment.instance-id": {i.Instance}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, i := range found {
		items = append(items, []X{el("secondaryInterfaceId", i.ID), el("secondaryNetworkType", "rdma"), el("status", "in-use"),
			el("attachment", []X{el("instanceId", i.Instance), el("status", "attached")})})
	}
	return r.pages("secondaryInterfaceSet", items)
}

package awsfake

import (
	"fmt"
	"slices"
	"strconv"
)

// A VPC is a virtual network.
type VPC struct {
	ID            string
	Default, IPv6 bool
	Owner         string // the account that shares it; empty: this one
}

// A Subnet is a part of a VPC, with the network ACL that it is associated with.
type Subnet struct {
	ID, VPC, ACL string
	// Owner is another account's id if the subnet is shared.
	Owner string

	association string
}

// A RouteTable is that of some subnets, or the VPC's main one.
type RouteTable struct {
	ID, VPC string
	Main    bool
	Subnets []string
	Routes  []Route
}

// A Route leads to something, named by its id: igw-, nat-, eigw-, tgw-, vpce-, pcx-, or local.
type Route struct {
	To, Via   string
	Blackhole bool
}

// An ACL is a network ACL.
type ACL struct {
	ID, VPC string
	Default bool
	Tags    map[string]string
	Entries []ACLEntry // without the last ones, that deny all

	token string // of the call that made it: a second one with it makes no other
}

// An ACLEntry allows or denies in one direction.
type ACLEntry struct {
	Number        int
	Egress, Allow bool
	CIDR          string // or
	CIDR6         string
	Protocol      string // "-1": all
}

// An Address is an Elastic IP.
type Address struct {
	ID, IP               string
	Interface, PrivateIP string // of its association; empty: none

	association string
}

// An Endpoint is a VPC endpoint.
type Endpoint struct{ ID, VPC, Type, Service string }

// AddVPC makes a VPC with its main route table, its default network ACL, which allows all, and its default group.
func (r *Region) AddVPC(v VPC) *VPC {
	if v.ID == "" {
		v.ID = r.id("vpc-")
	}
	r.VPCs[v.ID] = &v
	r.RouteTables = append(r.RouteTables, &RouteTable{ID: r.id("rtb-"), VPC: v.ID, Main: true, Routes: []Route{{To: "10.0.0.0/16", Via: "local"}}})
	acl := &ACL{ID: r.id("acl-"), VPC: v.ID, Default: true, Tags: map[string]string{}}
	for _, egress := range []bool{false, true} {
		acl.Entries = append(acl.Entries, ACLEntry{Number: 100, Egress: egress, Allow: true, CIDR: "0.0.0.0/0", Protocol: "-1"})
		acl.Entries = append(acl.Entries, ACLEntry{Number: 101, Egress: egress, Allow: true, CIDR6: "::/0", Protocol: "-1"})
	}
	r.ACLs[acl.ID] = acl
	r.AddGroup(v.ID, "default", All(true)...)
	return &v
}

// AddSubnet makes a subnet with a route table of its own, if routes are given.
func (r *Region) AddSubnet(vpc string, routes ...Route) *Subnet {
	s := &Subnet{ID: r.id("subnet-"), VPC: vpc, association: r.id("aclassoc-")}
	for _, id := range sorted(r.ACLs) {
		if a := r.ACLs[id]; a.VPC == vpc && a.Default {
			s.ACL = id
		}
	}
	r.Subnets[s.ID] = s
	if len(routes) > 0 {
		r.RouteTables = append(r.RouteTables, &RouteTable{ID: r.id("rtb-"), VPC: vpc, Subnets: []string{s.ID}, Routes: routes})
	}
	return s
}

// AddAddress makes an Elastic IP, and associates it with an interface unless that is empty.
func (r *Region) AddAddress(ip, eni string) *Address {
	a := &Address{ID: r.id("eipalloc-"), IP: ip}
	if i := r.Interfaces[eni]; i != nil {
		a.Interface, a.PrivateIP, a.association = eni, i.PrivateIP, r.id("eipassoc-")
	}
	r.Addresses[a.ID] = a
	return a
}

var networkOps = map[string]operation{
	"DescribeSubnets":              {do: describeSubnets},
	"DescribeRouteTables":          {do: describeRouteTables},
	"DescribeVpcEndpoints":         {do: describeEndpoints},
	"DescribeNetworkAcls":          {do: describeACLs},
	"CreateNetworkAcl":             {do: createACL, on: onNew("network-acl", true), writes: true},
	"DeleteNetworkAcl":             {do: deleteACL, on: on("network-acl", "NetworkAclId"), writes: true},
	"ReplaceNetworkAclAssociation": {do: replaceACL, on: replaced, writes: true},
	"CreateNetworkAclEntry":        {do: createEntry, on: on("network-acl", "NetworkAclId"), writes: true},
	"DeleteNetworkAclEntry":        {do: deleteEntry, on: on("network-acl", "NetworkAclId"), writes: true},
	"DescribeAddresses":            {do: describeAddresses},
	"AssociateAddress":             {do: associateAddress, on: associated, writes: true},
	"DisassociateAddress":          {do: disassociateAddress, on: disassociated, writes: true},
}

func describeSubnets(r *Request) (any, error) {
	found, err := pick(r, r.Region.Subnets, "SubnetId", "InvalidSubnetID.NotFound", func(s *Subnet) attributes {
		return attributes{"subnet-id": {s.ID}, "vpc-id": {s.VPC}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, s := range found {
		owner := s.Owner
		if owner == "" {
			owner = r.Account.ID
		}
		items = append(items, []X{el("subnetId", s.ID), el("vpcId", s.VPC), el("ownerId", owner)})
	}
	return r.pages("subnetSet", items)
}

func describeRouteTables(r *Request) (any, error) {
	var items [][]X
	for _, t := range r.Region.RouteTables {
		ok, err := r.matches(attributes{"association.subnet-id": t.Subnets, "association.main": {strconv.FormatBool(t.Main)}, "vpc-id": {t.VPC}})
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		var routes, assocs [][]X
		for _, route := range t.Routes {
			routes = append(routes, route.describe())
		}
		for _, s := range t.Subnets {
			assocs = append(assocs, []X{el("subnetId", s), el("main", false)})
		}
		if t.Main {
			assocs = append(assocs, []X{el("main", true)})
		}
		items = append(items, []X{el("routeTableId", t.ID), el("vpcId", t.VPC), list("routeSet", routes...), list("associationSet", assocs...)})
	}
	return r.pages("routeTableSet", items)
}

func (t Route) describe() []X {
	state := "active"
	if t.Blackhole {
		state = "blackhole"
	}
	name := "gatewayId"
	for prefix, n := range map[string]string{"nat-": "natGatewayId", "eigw-": "egressOnlyInternetGatewayId", "tgw-": "transitGatewayId", "pcx-": "vpcPeeringConnectionId", "eni-": "networkInterfaceId"} {
		if len(t.Via) > len(prefix) && t.Via[:len(prefix)] == prefix {
			name = n
		}
	}
	to := "destinationCidrBlock"
	if slices.Contains([]byte(t.To), ':') {
		to = "destinationIpv6CidrBlock"
	}
	return []X{el(to, t.To), el(name, t.Via), el("state", state)}
}

func describeEndpoints(r *Request) (any, error) {
	var items [][]X
	for _, e := range r.Region.Endpoints {
		ok, err := r.matches(attributes{"vpc-id": {e.VPC}, "vpc-endpoint-type": {e.Type}, "vpc-endpoint-state": {"available"}})
		if err != nil {
			return nil, err
		}
		if ok {
			items = append(items, []X{el("vpcEndpointId", e.ID), el("vpcId", e.VPC), el("vpcEndpointType", e.Type), el("serviceName", e.Service), el("state", "available")})
		}
	}
	return r.pages("vpcEndpointSet", items)
}

func describeACLs(r *Request) (any, error) {
	found, err := pick(r, r.Region.ACLs, "NetworkAclId", "InvalidNetworkAclID.NotFound", func(a *ACL) attributes {
		return attributes{"vpc-id": {a.VPC}, "association.subnet-id": r.Region.subnetsOf(a), "owner-id": {r.Account.ID}}.tags(a.Tags)
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, a := range found {
		items = append(items, r.Region.describeACL(a))
	}
	return r.pages("networkAclSet", items)
}

func (r *Region) subnetsOf(a *ACL) []string {
	var ids []string
	for _, id := range sorted(r.Subnets) {
		if r.Subnets[id].ACL == a.ID {
			ids = append(ids, id)
		}
	}
	return ids
}

func (r *Region) describeACL(a *ACL) []X {
	var entries, assocs [][]X
	last := []ACLEntry{{Number: 32767, CIDR: "0.0.0.0/0", Protocol: "-1"}, {Number: 32768, CIDR6: "::/0", Protocol: "-1"}}
	all := slices.Clone(a.Entries)
	for _, e := range last {
		out := e
		out.Egress = true
		all = append(all, e, out)
	}
	for _, e := range all {
		action := "deny"
		if e.Allow {
			action = "allow"
		}
		x := []X{el("ruleNumber", e.Number), el("egress", e.Egress), el("ruleAction", action), el("protocol", e.Protocol)}
		if e.CIDR != "" {
			x = append(x, el("cidrBlock", e.CIDR))
		} else {
			x = append(x, el("ipv6CidrBlock", e.CIDR6))
		}
		entries = append(entries, x)
	}
	for _, s := range r.subnetsOf(a) {
		assocs = append(assocs, []X{el("networkAclAssociationId", r.Subnets[s].association), el("networkAclId", a.ID), el("subnetId", s)})
	}
	return []X{el("networkAclId", a.ID), el("vpcId", a.VPC), el("default", a.Default), list("entrySet", entries...), list("associationSet", assocs...), tagSet(a.Tags)}
}

func (r *Request) acl(id string) (*ACL, error) {
	a := r.Region.ACLs[id]
	if a == nil {
		return nil, fail("InvalidNetworkAclID.NotFound", "The networkAcl ID '%s' does not exist", id)
	}
	return a, nil
}

func createACL(r *Request) (any, error) {
	if r.Region.VPCs[r.Form.Get("VpcId")] == nil {
		return nil, fail("InvalidVpcID.NotFound", "The vpc ID '%s' does not exist", r.Form.Get("VpcId"))
	}
	token := r.Form.Get("ClientToken")
	for _, a := range r.Region.ACLs {
		if token != "" && a.token == token {
			return []X{el("networkAcl", r.Region.describeACL(a))}, nil
		}
	}
	a := &ACL{ID: r.Region.id("acl-"), VPC: r.Form.Get("VpcId"), Tags: r.tags("TagSpecification.1.Tag"), token: token}
	r.Region.ACLs[a.ID] = a
	return []X{el("networkAcl", r.Region.describeACL(a))}, nil
}

func deleteACL(r *Request) (any, error) {
	a, err := r.acl(r.Form.Get("NetworkAclId"))
	if err != nil {
		return nil, err
	}
	if len(r.Region.subnetsOf(a)) > 0 || a.Default {
		return nil, fail("DependencyViolation", "networkAcl %s has dependencies and cannot be deleted", a.ID)
	}
	delete(r.Region.ACLs, a.ID)
	return nil, nil
}

// replaced are the resources of ReplaceNetworkAclAssociation: the ACL, and the subnet.
func replaced(r *Request) []string {
	arns := on("network-acl", "NetworkAclId")(r)
	for _, s := range r.Region.Subnets {
		if s.association == r.Form.Get("AssociationId") {
			arns = append(arns, r.Region.arn("subnet", s.ID))
		}
	}
	return arns
}

func replaceACL(r *Request) (any, error) {
	a, err := r.acl(r.Form.Get("NetworkAclId"))
	if err != nil {
		return nil, err
	}
	for _, s := range r.Region.Subnets {
		if s.association == r.Form.Get("AssociationId") {
			s.ACL, s.association = a.ID, r.Region.id("aclassoc-")
			return []X{el("newAssociationId", s.association)}, nil
		}
	}
	return nil, fail("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", r.Form.Get("AssociationId"))
}

func createEntry(r *Request) (any, error) {
	a, err := r.acl(r.Form.Get("NetworkAclId"))
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(r.Form.Get("RuleNumber"))
	if err != nil || n < 1 || n > 32766 {
		return nil, fail("InvalidParameterValue", "Invalid rule number '%s'", r.Form.Get("RuleNumber"))
	}
	e := ACLEntry{Number: n, Egress: r.Form.Get("Egress") == "true", Allow: r.Form.Get("RuleAction") == "allow", Protocol: r.Form.Get("Protocol"),
		CIDR: r.Form.Get("CidrBlock"), CIDR6: r.Form.Get("Ipv6CidrBlock")}
	same := 0
	for _, have := range a.Entries {
		if have.Egress != e.Egress {
			continue
		}
		if same++; have.Number == n {
			return nil, fail("NetworkAclEntryAlreadyExists", "The network acl entry identified by %d already exists.", n)
		}
	}
	if same >= r.Region.EntriesPerACL {
		return nil, fail("NetworkAclEntryLimitExceeded", "The maximum number of network acl entries has been reached.")
	}
	a.Entries = append(a.Entries, e)
	return nil, nil
}

func deleteEntry(r *Request) (any, error) {
	a, err := r.acl(r.Form.Get("NetworkAclId"))
	if err != nil {
		return nil, err
	}
	before := len(a.Entries)
	a.Entries = slices.DeleteFunc(a.Entries, func(e ACLEntry) bool {
		return fmt.Sprint(e.Number) == r.Form.Get("RuleNumber") && e.Egress == (r.Form.Get("Egress") == "true")
	})
	if len(a.Entries) == before {
		return nil, fail("InvalidNetworkAclEntry.NotFound", "The specified entry does not exist")
	}
	return nil, nil
}

func describeAddresses(r *Request) (any, error) {
	found, err := pick(r, r.Region.Addresses, "AllocationId", "InvalidAllocationID.NotFound", func(a *Address) attributes {
		return attributes{"network-interface-id": {a.Interface}, "allocation-id": {a.ID}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, a := range found {
		x := []X{el("allocationId", a.ID), el("publicIp", a.IP), el("domain", "vpc")}
		if a.Interface != "" {
			x = append(x, el("associationId", a.association), el("networkInterfaceId", a.Interface), el("privateIpAddress", a.PrivateIP))
		}
		items = append(items, x)
	}
	return []X{list("addressesSet", items...)}, nil
}

func associated(r *Request) []string {
	return append(on("elastic-ip", "AllocationId")(r), on("network-interface", "NetworkInterfaceId")(r)...)
}

func associateAddress(r *Request) (any, error) {
	a, i := r.Region.Addresses[r.Form.Get("AllocationId")], r.Region.Interfaces[r.Form.Get("NetworkInterfaceId")]
	switch {
	case a == nil:
		return nil, fail("InvalidAllocationID.NotFound", "The allocation ID '%s' does not exist", r.Form.Get("AllocationId"))
	case i == nil:
		return nil, fail("InvalidNetworkInterfaceID.NotFound", "The networkInterface ID '%s' does not exist", r.Form.Get("NetworkInterfaceId"))
	case a.Interface != "" && a.Interface != i.ID && r.Form.Get("AllowReassociation") == "false":
		return nil, fail("Resource.AlreadyAssociated", "resource %s is already associated", a.ID)
	}
	a.Interface, a.PrivateIP, a.association = i.ID, r.Form.Get("PrivateIpAddress"), r.Region.id("eipassoc-")
	return []X{el("associationId", a.association)}, nil
}

func disassociated(r *Request) []string {
	for _, a := range r.Region.Addresses {
		if a.association == r.Form.Get("AssociationId") {
			return []string{r.Region.arn("elastic-ip", a.ID), r.Region.arn("network-interface", a.Interface)}
		}
	}
	return []string{"*"}
}

func disassociateAddress(r *Request) (any, error) {
	for _, a := range r.Region.Addresses {
		if a.Interface != "" && a.association == r.Form.Get("AssociationId") {
			a.Interface, a.PrivateIP, a.association = "", "", ""
			return nil, nil
		}
	}
	return nil, fail("InvalidAssociationID.NotFound", "The association ID '%s' does not exist", r.Form.Get("AssociationId"))
}

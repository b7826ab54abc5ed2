package awsfake

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"
)

// An Image is an AMI.
type Image struct{ Name, Owner, Description string }

// tagsOfInstance are its own tags, and the one that Auto Scaling keeps on it.
func (r *Region) tagsOfInstance(i *Instance) map[string]string {
	for name, g := range r.Scaling {
		if _, in := g.States[i.ID]; in {
			tags := maps.Clone(i.Tags)
			tags["aws:autoscaling:groupName"] = name
			return tags
		}
	}
	return i.Tags
}

// describeNetwork is what DescribeInstances says of an instance's interfaces, the first of which is the primary one.
func (r *Region) describeNetwork(i *Instance, attached []*Interface) (x []X) {
	var interfaces, groups [][]X
	for n, e := range attached {
		public, _ := r.publicIP(e)
		var v6, mine [][]X
		for _, a := range e.IPv6 {
			v6 = append(v6, []X{el("ipv6Address", a)})
		}
		for _, g := range e.Groups {
			item := []X{el("groupId", g)}
			if have := r.Groups[g]; have != nil {
				item = append(item, el("groupName", have.Name))
			}
			mine = append(mine, item)
		}
		address := []X{el("privateIpAddress", e.PrivateIP), el("primary", true)}
		if public != "" {
			address = append(address, el("association", []X{el("publicIp", public)}))
		}
		interfaces = append(interfaces, []X{
			el("networkInterfaceId", e.ID), el("subnetId", e.Subnet), el("vpcId", e.VPC), list("groupSet", mine...), list("ipv6AddressesSet", v6...),
			list("privateIpAddressesSet", address), el("attachment", []X{el("deviceIndex", n), el("attachTime", i.Launched.Add(-time.Hour).Format(time.RFC3339))}),
		})
		if n > 0 {
			continue
		}
		groups = mine
		x = append(x, el("privateIpAddress", e.PrivateIP), el("privateDnsName", "ip-"+strings.ReplaceAll(e.PrivateIP, ".", "-")+"."+r.Name+".compute.internal"))
		if public != "" {
			x = append(x, el("ipAddress", public), el("dnsName", "ec2-"+strings.ReplaceAll(public, ".", "-")+"."+r.Name+".compute.amazonaws.com"))
		}
	}
	return append(x, list("groupSet", groups...), list("networkInterfaceSet", interfaces...))
}

// describeRegions tells those that somebody named; those that are off only to who asks for all.
func describeRegions(r *Request) (any, error) {
	var items [][]X
	for _, name := range sorted(r.Account.regions) {
		status := "opt-in-not-required"
		if r.Account.regions[name].Off {
			if status = "not-opted-in"; r.Form.Get("AllRegions") != "true" {
				continue
			}
		}
		items = append(items, []X{el("regionName", name), el("optInStatus", status), el("regionEndpoint", "ec2."+name+".amazonaws.com")})
	}
	return []X{list("regionInfo", items...)}, nil
}

func describeImages(r *Request) (any, error) {
	var items [][]X
	for _, id := range sorted(r.Region.Images) {
		ok, err := r.matches(attributes{"image-id": {id}})
		if err != nil {
			return nil, err
		}
		if i := r.Region.Images[id]; ok {
			items = append(items, []X{el("imageId", id), el("name", i.Name), el("description", i.Description), el("imageOwnerAlias", i.Owner), el("imageOwnerId", "137112412989")})
		}
	}
	return r.pages("imagesSet", items)
}

// managerService is Systems Manager.
func managerService() *service {
	return &service{prefix: "ssm", proto: targetJSON, ops: map[string]operation{"DescribeInstanceInformation": {do: describeManaged}}}
}

func describeManaged(r *Request) (any, error) {
	var in struct {
		MaxResults int
		NextToken  string
	}
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	ids := sorted(r.Region.Managed)
	from, _ := strconv.Atoi(in.NextToken)
	ids = ids[min(from, len(ids)):]
	out := map[string]any{}
	if n := in.MaxResults; n > 0 && n < len(ids) {
		ids, out["NextToken"] = ids[:n], strconv.Itoa(from+n)
	}
	list := []map[string]any{}
	for _, id := range ids {
		list = append(list, map[string]any{"InstanceId": id, "PingStatus": r.Region.Managed[id], "AgentVersion": "3.3.1.0", "PlatformType": "Linux"})
	}
	out["InstanceInformationList"] = list
	return out, nil
}

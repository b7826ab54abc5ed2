package inventory

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// instanceOf reads what DescribeInstances says of an instance.
func instanceOf(in *types.Instance, account, region string) *Instance {
	i := &Instance{
		ID: aws.ToString(in.InstanceId), Account: account, Region: region, Type: string(in.InstanceType), Spot: in.InstanceLifecycle == types.InstanceLifecycleTypeSpot,
		Launched: aws.ToTime(in.LaunchTime).UTC(), Architecture: string(in.Architecture), Platform: aws.ToString(in.PlatformDetails),
		Image: Image{ID: aws.ToString(in.ImageId)}, VPC: aws.ToString(in.VpcId), PrivateDNS: aws.ToString(in.PrivateDnsName), PublicDNS: aws.ToString(in.PublicDnsName),
		Key: aws.ToString(in.KeyName), Tags: map[string]string{},
	}
	i.ARN = containment.Target{Kind: containment.Instance, Account: account, Region: region, Name: i.ID}.ARN()
	i.Windows = strings.EqualFold(string(in.Platform), "windows") || strings.HasPrefix(strings.ToLower(i.Platform), "windows")
	if in.State != nil {
		i.State = string(in.State.Name)
	}
	if in.Placement != nil {
		i.Zone = aws.ToString(in.Placement.AvailabilityZone)
	}
	if in.IamInstanceProfile != nil {
		i.Profile = aws.ToString(in.IamInstanceProfile.Arn)
	}
	if m := in.MetadataOptions; m != nil {
		i.IMDS = IMDS{On: m.HttpEndpoint != types.InstanceMetadataEndpointStateDisabled, V2Only: m.HttpTokens == types.HttpTokensStateRequired}
	}
	for _, t := range in.Tags {
		i.Tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	i.Name = i.Tags["Name"]
	if g := i.Tags[scalingTag]; g != "" {
		i.Scaling = &Scaling{Group: g}
	}
	i.readAddresses(in)
	return i
}

// readAddresses reads the addresses and groups of all interfaces, the primary ones first.
func (i *Instance) readAddresses(in *types.Instance) {
	add := func(list *[]string, s *string) {
		v := aws.ToString(s)
		if a, err := netip.ParseAddr(v); err == nil {
			v = a.String() // of IPv6 there are many ways to write one
		}
		if v != "" && !slices.Contains(*list, v) {
			*list = append(*list, v)
		}
	}
	group := func(g types.GroupIdentifier) {
		one := Group{aws.ToString(g.GroupId), aws.ToString(g.GroupName)}
		if one.ID != "" && !slices.ContainsFunc(i.Groups, func(have Group) bool { return have.ID == one.ID }) {
			i.Groups = append(i.Groups, one)
		}
	}
	add(&i.Private, in.PrivateIpAddress)
	add(&i.Public, in.PublicIpAddress)
	add(&i.IPv6, in.Ipv6Address)
	add(&i.Subnets, in.SubnetId)
	for _, g := range in.SecurityGroups {
		group(g)
	}
	for _, e := range in.NetworkInterfaces {
		if a := e.Attachment; a != nil && a.AttachTime != nil && aws.ToInt32(a.DeviceIndex) == 0 {
			i.Created = a.AttachTime.UTC()
		}
		add(&i.Subnets, e.SubnetId)
		add(&i.Interfaces, e.NetworkInterfaceId)
		for _, p := range e.PrivateIpAddresses {
			add(&i.Private, p.PrivateIpAddress)
			if p.Association != nil {
				add(&i.Public, p.Association.PublicIp)
			}
		}
		for _, a := range e.Ipv6Addresses {
			add(&i.IPv6, a.Ipv6Address)
		}
		for _, g := range e.Groups {
			group(g)
		}
	}
}

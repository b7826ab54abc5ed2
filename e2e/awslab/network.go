package awslab

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Network makes a VPC with a public subnet and, if asked, a private one whose way out is a NAT gateway, which costs money by the hour.
func (l *Lab) Network(ctx context.Context, nat bool) error {
	vpc, err := l.EC2.CreateVpc(ctx, &awsec2.CreateVpcInput{CidrBlock: aws.String("10.77.0.0/16"), TagSpecifications: l.tags(types.ResourceTypeVpc)})
	if err != nil {
		return err
	}
	l.VPC = aws.ToString(vpc.Vpc.VpcId)
	l.made(l.VPC, func(ctx context.Context) error {
		if err := l.groups(ctx); err != nil {
			return err
		}
		_, err := l.EC2.DeleteVpc(ctx, &awsec2.DeleteVpcInput{VpcId: &l.VPC})
		return err
	})
	gateway, err := l.EC2.CreateInternetGateway(ctx, &awsec2.CreateInternetGatewayInput{TagSpecifications: l.tags(types.ResourceTypeInternetGateway)})
	if err != nil {
		return err
	}
	igw := aws.ToString(gateway.InternetGateway.InternetGatewayId)
	l.made(igw, func(ctx context.Context) error {
		_, err := l.EC2.DeleteInternetGateway(ctx, &awsec2.DeleteInternetGatewayInput{InternetGatewayId: &igw})
		return err
	})
	if _, err := l.EC2.AttachInternetGateway(ctx, &awsec2.AttachInternetGatewayInput{InternetGatewayId: &igw, VpcId: &l.VPC}); err != nil {
		return err
	}
	l.made("the attachment of "+igw, func(ctx context.Context) error {
		_, err := l.EC2.DetachInternetGateway(ctx, &awsec2.DetachInternetGatewayInput{InternetGatewayId: &igw, VpcId: &l.VPC})
		return err
	})
	if l.Public, err = l.subnet(ctx, "10.77.1.0/24", &awsec2.CreateRouteInput{GatewayId: &igw}); err != nil || !nat {
		return err
	}
	return l.nat(ctx)
}

// nat makes the private subnet.
func (l *Lab) nat(ctx context.Context) error {
	address, err := l.EC2.AllocateAddress(ctx, &awsec2.AllocateAddressInput{Domain: types.DomainTypeVpc, TagSpecifications: l.tags(types.ResourceTypeElasticIp)})
	if err != nil {
		return err
	}
	l.made(aws.ToString(address.AllocationId), func(ctx context.Context) error {
		_, err := l.EC2.ReleaseAddress(ctx, &awsec2.ReleaseAddressInput{AllocationId: address.AllocationId})
		return err
	})
	out, err := l.EC2.CreateNatGateway(ctx, &awsec2.CreateNatGatewayInput{SubnetId: &l.Public, AllocationId: address.AllocationId, TagSpecifications: l.tags(types.ResourceTypeNatgateway)})
	if err != nil {
		return err
	}
	id := []string{aws.ToString(out.NatGateway.NatGatewayId)}
	l.made(id[0], func(ctx context.Context) error {
		if _, err := l.EC2.DeleteNatGateway(ctx, &awsec2.DeleteNatGatewayInput{NatGatewayId: &id[0]}); err != nil {
			return err
		}
		return awsec2.NewNatGatewayDeletedWaiter(l.EC2).Wait(ctx, &awsec2.DescribeNatGatewaysInput{NatGatewayIds: id}, removePatience)
	})
	if err := awsec2.NewNatGatewayAvailableWaiter(l.EC2).Wait(ctx, &awsec2.DescribeNatGatewaysInput{NatGatewayIds: id}, removePatience); err != nil {
		return err
	}
	l.Private, err = l.subnet(ctx, "10.77.2.0/24", &awsec2.CreateRouteInput{NatGatewayId: &id[0]})
	return err
}

// subnet makes one with a route table of its own, whose way out is given.
func (l *Lab) subnet(ctx context.Context, cidr string, out *awsec2.CreateRouteInput) (string, error) {
	made, err := l.EC2.CreateSubnet(ctx, &awsec2.CreateSubnetInput{VpcId: &l.VPC, CidrBlock: &cidr, TagSpecifications: l.tags(types.ResourceTypeSubnet)})
	if err != nil {
		return "", err
	}
	id := aws.ToString(made.Subnet.SubnetId)
	l.made(id, func(ctx context.Context) error {
		_, err := l.EC2.DeleteSubnet(ctx, &awsec2.DeleteSubnetInput{SubnetId: &id})
		return err
	})
	table, err := l.EC2.CreateRouteTable(ctx, &awsec2.CreateRouteTableInput{VpcId: &l.VPC, TagSpecifications: l.tags(types.ResourceTypeRouteTable)})
	if err != nil {
		return "", err
	}
	out.RouteTableId, out.DestinationCidrBlock = table.RouteTable.RouteTableId, aws.String("0.0.0.0/0")
	l.made(*out.RouteTableId, func(ctx context.Context) error {
		_, err := l.EC2.DeleteRouteTable(ctx, &awsec2.DeleteRouteTableInput{RouteTableId: out.RouteTableId})
		return err
	})
	tied, err := l.EC2.AssociateRouteTable(ctx, &awsec2.AssociateRouteTableInput{RouteTableId: out.RouteTableId, SubnetId: &id})
	if err != nil {
		return "", err
	}
	l.made("the association of "+*out.RouteTableId, func(ctx context.Context) error {
		_, err := l.EC2.DisassociateRouteTable(ctx, &awsec2.DisassociateRouteTableInput{AssociationId: tied.AssociationId})
		return err
	})
	_, err = l.EC2.CreateRoute(ctx, out)
	return id, err
}

// Group makes a security group that lets in the ports from everywhere, and everything out: so connections are tracked.
func (l *Lab) Group(ctx context.Context, name string, ports ...int32) (string, error) {
	g, err := l.EC2.CreateSecurityGroup(ctx, &awsec2.CreateSecurityGroupInput{GroupName: &name, Description: aws.String("shotglass test " + l.Run), VpcId: &l.VPC, TagSpecifications: l.tags(types.ResourceTypeSecurityGroup)})
	if err != nil {
		return "", err
	}
	var in []types.IpPermission
	for _, p := range ports {
		in = append(in, types.IpPermission{IpProtocol: aws.String("tcp"), FromPort: &p, ToPort: &p, IpRanges: []types.IpRange{{CidrIp: aws.String("0.0.0.0/0")}}})
	}
	_, err = l.EC2.AuthorizeSecurityGroupIngress(ctx, &awsec2.AuthorizeSecurityGroupIngressInput{GroupId: g.GroupId, IpPermissions: in})
	return aws.ToString(g.GroupId), err
}

// groups removes those of the VPC, also those that containment made and keeps.
func (l *Lab) groups(ctx context.Context) error {
	out, err := l.EC2.DescribeSecurityGroups(ctx, &awsec2.DescribeSecurityGroupsInput{Filters: []types.Filter{{Name: aws.String("vpc-id"), Values: []string{l.VPC}}}})
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range out.SecurityGroups {
		if aws.ToString(g.GroupName) != "default" {
			_, err := l.EC2.DeleteSecurityGroup(ctx, &awsec2.DeleteSecurityGroupInput{GroupId: g.GroupId})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Instance starts one with a script that runs as root at its first boot, and waits until it runs.
func (l *Lab) Instance(ctx context.Context, subnet, group, profile, script string) (types.Instance, error) {
	in := &awsec2.RunInstancesInput{
		ImageId: &l.Image, InstanceType: l.Type, MinCount: aws.Int32(1), MaxCount: aws.Int32(1), UserData: aws.String(base64.StdEncoding.EncodeToString([]byte(script))),
		NetworkInterfaces: []types.InstanceNetworkInterfaceSpecification{{DeviceIndex: aws.Int32(0), SubnetId: &subnet, Groups: []string{group}, AssociatePublicIpAddress: aws.Bool(subnet == l.Public)}},
		TagSpecifications: append(l.tags(types.ResourceTypeInstance), l.tags(types.ResourceTypeVolume)...),
	}
	if profile != "" {
		in.IamInstanceProfile = &types.IamInstanceProfileSpecification{Name: &profile}
	}
	var out *awsec2.RunInstancesOutput
	err := Until(ctx, 2*time.Minute, func() (err error) { // a new profile is not known at once
		out, err = l.EC2.RunInstances(ctx, in)
		return err
	})
	if err != nil {
		return types.Instance{}, err
	}
	ids := []string{aws.ToString(out.Instances[0].InstanceId)}
	l.made(ids[0], func(ctx context.Context) error {
		// What a containment that was not released set.
		_, err := l.EC2.ModifyInstanceAttribute(ctx, &awsec2.ModifyInstanceAttributeInput{InstanceId: &ids[0], DisableApiTermination: &types.AttributeBooleanValue{Value: aws.Bool(false)}})
		if err != nil {
			return err
		}
		if _, err := l.EC2.TerminateInstances(ctx, &awsec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			return err
		}
		return awsec2.NewInstanceTerminatedWaiter(l.EC2).Wait(ctx, &awsec2.DescribeInstancesInput{InstanceIds: ids}, removePatience)
	})
	wait := &awsec2.DescribeInstancesInput{InstanceIds: ids}
	if err := awsec2.NewInstanceRunningWaiter(l.EC2).Wait(ctx, wait, removePatience); err != nil {
		return types.Instance{}, err
	}
	seen, err := l.EC2.DescribeInstances(ctx, wait)
	if err != nil {
		return types.Instance{}, err
	}
	if len(seen.Reservations) != 1 || len(seen.Reservations[0].Instances) != 1 {
		return types.Instance{}, fmt.Errorf("%s is not described", ids[0])
	}
	return seen.Reservations[0].Instances[0], nil
}

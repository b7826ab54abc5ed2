package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

type ec2Options = func(*sdk.Options)

// An api is what is called of EC2, and nothing else.
type api interface {
	DescribeInstances(context.Context, *sdk.DescribeInstancesInput, ...ec2Options) (*sdk.DescribeInstancesOutput, error)
	DescribeInstanceTypes(context.Context, *sdk.DescribeInstanceTypesInput, ...ec2Options) (*sdk.DescribeInstanceTypesOutput, error)
	DescribeInstanceAttribute(context.Context, *sdk.DescribeInstanceAttributeInput, ...ec2Options) (*sdk.DescribeInstanceAttributeOutput, error)
	DescribeIamInstanceProfileAssociations(context.Context, *sdk.DescribeIamInstanceProfileAssociationsInput, ...ec2Options) (*sdk.DescribeIamInstanceProfileAssociationsOutput, error)
	DescribeNetworkInterfaces(context.Context, *sdk.DescribeNetworkInterfacesInput, ...ec2Options) (*sdk.DescribeNetworkInterfacesOutput, error)
	DescribeTrunkInterfaceAssociations(context.Context, *sdk.DescribeTrunkInterfaceAssociationsInput, ...ec2Options) (*sdk.DescribeTrunkInterfaceAssociationsOutput, error)
	DescribeSecondaryInterfaces(context.Context, *sdk.DescribeSecondaryInterfacesInput, ...ec2Options) (*sdk.DescribeSecondaryInterfacesOutput, error)
	DescribeSecurityGroups(context.Context, *sdk.DescribeSecurityGroupsInput, ...ec2Options) (*sdk.DescribeSecurityGroupsOutput, error)
	DescribeSecurityGroupRules(context.Context, *sdk.DescribeSecurityGroupRulesInput, ...ec2Options) (*sdk.DescribeSecurityGroupRulesOutput, error)
	DescribeRouteTables(context.Context, *sdk.DescribeRouteTablesInput, ...ec2Options) (*sdk.DescribeRouteTablesOutput, error)
	DescribeVpcEndpoints(context.Context, *sdk.DescribeVpcEndpointsInput, ...ec2Options) (*sdk.DescribeVpcEndpointsOutput, error)
	DescribeNetworkAcls(context.Context, *sdk.DescribeNetworkAclsInput, ...ec2Options) (*sdk.DescribeNetworkAclsOutput, error)
	DescribeSubnets(context.Context, *sdk.DescribeSubnetsInput, ...ec2Options) (*sdk.DescribeSubnetsOutput, error)
	DescribeAddresses(context.Context, *sdk.DescribeAddressesInput, ...ec2Options) (*sdk.DescribeAddressesOutput, error)

	ModifyInstanceAttribute(context.Context, *sdk.ModifyInstanceAttributeInput, ...ec2Options) (*sdk.ModifyInstanceAttributeOutput, error)
	ModifyNetworkInterfaceAttribute(context.Context, *sdk.ModifyNetworkInterfaceAttributeInput, ...ec2Options) (*sdk.ModifyNetworkInterfaceAttributeOutput, error)
	CreateTags(context.Context, *sdk.CreateTagsInput, ...ec2Options) (*sdk.CreateTagsOutput, error)
	DeleteTags(context.Context, *sdk.DeleteTagsInput, ...ec2Options) (*sdk.DeleteTagsOutput, error)
	CreateSecurityGroup(context.Context, *sdk.CreateSecurityGroupInput, ...ec2Options) (*sdk.CreateSecurityGroupOutput, error)
	DeleteSecurityGroup(context.Context, *sdk.DeleteSecurityGroupInput, ...ec2Options) (*sdk.DeleteSecurityGroupOutput, error)
	AuthorizeSecurityGroupIngress(context.Context, *sdk.AuthorizeSecurityGroupIngressInput, ...ec2Options) (*sdk.AuthorizeSecurityGroupIngressOutput, error)
	AuthorizeSecurityGroupEgress(context.Context, *sdk.AuthorizeSecurityGroupEgressInput, ...ec2Options) (*sdk.AuthorizeSecurityGroupEgressOutput, error)
	RevokeSecurityGroupIngress(context.Context, *sdk.RevokeSecurityGroupIngressInput, ...ec2Options) (*sdk.RevokeSecurityGroupIngressOutput, error)
	RevokeSecurityGroupEgress(context.Context, *sdk.RevokeSecurityGroupEgressInput, ...ec2Options) (*sdk.RevokeSecurityGroupEgressOutput, error)
	CreateNetworkAcl(context.Context, *sdk.CreateNetworkAclInput, ...ec2Options) (*sdk.CreateNetworkAclOutput, error)
	DeleteNetworkAcl(context.Context, *sdk.DeleteNetworkAclInput, ...ec2Options) (*sdk.DeleteNetworkAclOutput, error)
	CreateNetworkAclEntry(context.Context, *sdk.CreateNetworkAclEntryInput, ...ec2Options) (*sdk.CreateNetworkAclEntryOutput, error)
	DeleteNetworkAclEntry(context.Context, *sdk.DeleteNetworkAclEntryInput, ...ec2Options) (*sdk.DeleteNetworkAclEntryOutput, error)
	ReplaceNetworkAclAssociation(context.Context, *sdk.ReplaceNetworkAclAssociationInput, ...ec2Options) (*sdk.ReplaceNetworkAclAssociationOutput, error)
	AssociateAddress(context.Context, *sdk.AssociateAddressInput, ...ec2Options) (*sdk.AssociateAddressOutput, error)
	DisassociateAddress(context.Context, *sdk.DisassociateAddressInput, ...ec2Options) (*sdk.DisassociateAddressOutput, error)
	StopInstances(context.Context, *sdk.StopInstancesInput, ...ec2Options) (*sdk.StopInstancesOutput, error)
	StartInstances(context.Context, *sdk.StartInstancesInput, ...ec2Options) (*sdk.StartInstancesOutput, error)
}

// An iamAPI is what is called of IAM: for the roles whose credentials the instance has.
type iamAPI interface {
	GetInstanceProfile(context.Context, *iam.GetInstanceProfileInput, ...func(*iam.Options)) (*iam.GetInstanceProfileOutput, error)
}

// A scalingAPI is what is called of Auto Scaling.
type scalingAPI interface {
	DescribeAutoScalingInstances(context.Context, *autoscaling.DescribeAutoScalingInstancesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingInstancesOutput, error)
	EnterStandby(context.Context, *autoscaling.EnterStandbyInput, ...func(*autoscaling.Options)) (*autoscaling.EnterStandbyOutput, error)
	ExitStandby(context.Context, *autoscaling.ExitStandbyInput, ...func(*autoscaling.Options)) (*autoscaling.ExitStandbyOutput, error)
}

// A balancingAPI is what is called of the load balancers with target groups.
type balancingAPI interface {
	DescribeTargetGroups(context.Context, *elb.DescribeTargetGroupsInput, ...func(*elb.Options)) (*elb.DescribeTargetGroupsOutput, error)
	DescribeTargetHealth(context.Context, *elb.DescribeTargetHealthInput, ...func(*elb.Options)) (*elb.DescribeTargetHealthOutput, error)
	RegisterTargets(context.Context, *elb.RegisterTargetsInput, ...func(*elb.Options)) (*elb.RegisterTargetsOutput, error)
	DeregisterTargets(context.Context, *elb.DeregisterTargetsInput, ...func(*elb.Options)) (*elb.DeregisterTargetsOutput, error)
}

var (
	_ api          = (*sdk.Client)(nil)
	_ iamAPI       = (*iam.Client)(nil)
	_ scalingAPI   = (*autoscaling.Client)(nil)
	_ balancingAPI = (*elb.Client)(nil)
)

package inventory

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
)

type ec2Options = func(*ec2.Options)

// An ec2API is what is called of EC2: reads, and nothing else.
type ec2API interface {
	DescribeRegions(context.Context, *ec2.DescribeRegionsInput, ...ec2Options) (*ec2.DescribeRegionsOutput, error)
	DescribeInstances(context.Context, *ec2.DescribeInstancesInput, ...ec2Options) (*ec2.DescribeInstancesOutput, error)
	DescribeImages(context.Context, *ec2.DescribeImagesInput, ...ec2Options) (*ec2.DescribeImagesOutput, error)
	DescribeInstanceTypes(context.Context, *ec2.DescribeInstanceTypesInput, ...ec2Options) (*ec2.DescribeInstanceTypesOutput, error)
	DescribeSecurityGroupRules(context.Context, *ec2.DescribeSecurityGroupRulesInput, ...ec2Options) (*ec2.DescribeSecurityGroupRulesOutput, error)
	DescribeInstanceConnectEndpoints(context.Context, *ec2.DescribeInstanceConnectEndpointsInput, ...ec2Options) (*ec2.DescribeInstanceConnectEndpointsOutput, error)
}

// A scalingAPI is what is called of Auto Scaling.
type scalingAPI interface {
	DescribeAutoScalingInstances(context.Context, *autoscaling.DescribeAutoScalingInstancesInput, ...func(*autoscaling.Options)) (*autoscaling.DescribeAutoScalingInstancesOutput, error)
}

// An ssmAPI is what is called of Systems Manager.
type ssmAPI interface {
	DescribeInstanceInformation(context.Context, *ssm.DescribeInstanceInformationInput, ...func(*ssm.Options)) (*ssm.DescribeInstanceInformationOutput, error)
}

var (
	_ ec2API     = (*ec2.Client)(nil)
	_ scalingAPI = (*autoscaling.Client)(nil)
	_ ssmAPI     = (*ssm.Client)(nil)
)

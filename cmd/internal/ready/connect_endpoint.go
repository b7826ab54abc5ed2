package ready

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

var connectEndpoint = Check{
	ID: "connect-endpoint", Title: "each VPC with running instances has an endpoint of EC2 Instance Connect",
	Why:      "It is a way in to instances without a public address, for an hour at a time, that leaves a line in CloudTrail. Without one, a bastion or a peered network must be there before the case.",
	Severity: Low,
	Fix:      "aws ec2 create-instance-connect-endpoint --subnet-id SUBNET_OF_{resource} --security-group-ids GROUP --region {region}",
	Actions:  []string{"ec2:DescribeInstances", "ec2:DescribeInstanceConnectEndpoints"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		all, err := s.running(ctx)
		if err != nil {
			return nil, err
		}
		var vpcs []string
		for _, i := range all {
			if i.VPC != "" && !slices.Contains(vpcs, i.VPC) {
				vpcs = append(vpcs, i.VPC)
			}
		}
		if len(vpcs) == 0 {
			return nil, nil
		}
		pager := ec2.NewDescribeInstanceConnectEndpointsPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeInstanceConnectEndpointsInput{})
		endpoints, err := pages(ctx, pager, func(o *ec2.DescribeInstanceConnectEndpointsOutput) []types.Ec2InstanceConnectEndpoint {
			return o.InstanceConnectEndpoints
		})
		if err != nil {
			return nil, err
		}
		var list []Finding
		for _, v := range vpcs {
			var own []Finding
			for _, e := range endpoints {
				if aws.ToString(e.VpcId) != v {
					continue
				}
				if id := aws.ToString(e.InstanceConnectEndpointId); e.State == types.Ec2InstanceConnectEndpointStateCreateComplete {
					own = append(own, pass(id, "it is there"))
				} else {
					own = append(own, fail(id, "it is %s", e.State))
				}
			}
			list = append(list, oneOf(v, "it has none", own))
		}
		return list, nil
	},
}

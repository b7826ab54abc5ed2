package inventory

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// usable are the states in which an endpoint carries tunnels.
var usable = []types.Ec2InstanceConnectEndpointState{
	types.Ec2InstanceConnectEndpointStateCreateComplete, types.Ec2InstanceConnectEndpointStateUpdateInProgress,
	types.Ec2InstanceConnectEndpointStateUpdateComplete, types.Ec2InstanceConnectEndpointStateUpdateFailed,
}

// readEndpoints reads which VPCs have an endpoint of EC2 Instance Connect. Of several, that of the instance's own subnet is taken: it is in
// the same Availability Zone.
func readEndpoints(ctx context.Context, c clients, list []*Instance) error {
	by, vpcs := grouped(list, func(i *Instance) []string { return []string{i.VPC} })
	for chunk := range slices.Chunk(vpcs, perFilter) {
		pages := ec2.NewDescribeInstanceConnectEndpointsPaginator(c.ec2, &ec2.DescribeInstanceConnectEndpointsInput{Filters: filter("vpc-id", chunk...)})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, e := range page.InstanceConnectEndpoints {
				if !slices.Contains(usable, e.State) {
					continue
				}
				name := aws.ToString(e.DnsName)
				if c.fips {
					name = aws.ToString(e.FipsDnsName)
				}
				for _, i := range by[aws.ToString(e.VpcId)] {
					if i.Ways.Endpoint == "" || len(i.Subnets) > 0 && aws.ToString(e.SubnetId) == i.Subnets[0] {
						i.Ways.Endpoint, i.Ways.EndpointDNS = aws.ToString(e.InstanceConnectEndpointId), name
					}
				}
			}
		}
	}
	return nil
}

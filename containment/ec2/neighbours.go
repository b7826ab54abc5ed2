package ec2

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// alone returns an error unless the instance is the only contained one in the subnets, by the tag that containing
// gives: a cut that they share stays until the last of them is released. It says so of what stays.
func (c *conn) alone(ctx context.Context, stays string, subnets []string) error {
	var tagged []string
	pages := sdk.NewDescribeInstancesPaginator(c.ec2, &sdk.DescribeInstancesInput{
		IncludeManagedResources: aws.Bool(true),
		Filters:                 []types.Filter{{Name: aws.String("tag-key"), Values: []string{tagKey}}},
	})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return failed("ec2:DescribeInstances", err)
		}
		for _, r := range out.Reservations {
			for _, i := range r.Instances {
				if id := aws.ToString(i.InstanceId); id != c.t.Name {
					tagged = append(tagged, id)
				}
			}
		}
	}
	others, err := c.inSubnets(ctx, tagged, subnets)
	if err != nil || len(others) == 0 {
		return err
	}
	return fmt.Errorf("%s: %s is contained there too, by the tag %s: release that first, then this again", stays, strings.Join(others, ", "), tagKey)
}

// inSubnets returns those of the instances that have an interface in one of the subnets.
func (c *conn) inSubnets(ctx context.Context, instances, subnets []string) ([]string, error) {
	var in []string
	for some := range slices.Chunk(instances, 100) { // a filter has 200 values at most
		pages := sdk.NewDescribeNetworkInterfacesPaginator(c.ec2, &sdk.DescribeNetworkInterfacesInput{
			IncludeManagedResources: aws.Bool(true),
			Filters:                 []types.Filter{{Name: aws.String("attachment.instance-id"), Values: some}},
		})
		for pages.HasMorePages() {
			out, err := pages.NextPage(ctx)
			if err != nil {
				return nil, failed("ec2:DescribeNetworkInterfaces", err)
			}
			for _, e := range out.NetworkInterfaces {
				if e.Attachment != nil && slices.Contains(subnets, aws.ToString(e.SubnetId)) {
					in = append(in, aws.ToString(e.Attachment.InstanceId))
				}
			}
		}
	}
	slices.Sort(in)
	return slices.Compact(in), nil
}

package ec2

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
)

// Regions returns the names of the regions that are enabled for the account of a configuration, for those who look
// for something in all of them.
func Regions(ctx context.Context, cfg aws.Config) ([]string, error) {
	out, err := sdk.NewFromConfig(cfg).DescribeRegions(ctx, &sdk.DescribeRegionsInput{})
	if err != nil {
		return nil, failed("ec2:DescribeRegions", err)
	}
	names := make([]string, 0, len(out.Regions))
	for _, r := range out.Regions {
		names = append(names, aws.ToString(r.RegionName))
	}
	return names, nil
}

package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
)

var standbyRoom = Check{
	ID: "asg-standby", Title: "Auto Scaling groups have room to set an instance aside",
	Why:      "An isolated instance fails its health check and is terminated, memory and all, unless it is set in standby first. A group at its minimum then starts a replacement, with the same hole, in the middle of the case.",
	Severity: Medium,
	Fix:      "aws autoscaling update-auto-scaling-group --auto-scaling-group-name {resource} --min-size N --region {region}",
	Actions:  []string{"autoscaling:DescribeAutoScalingGroups"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		pager := autoscaling.NewDescribeAutoScalingGroupsPaginator(autoscaling.NewFromConfig(s.Config), &autoscaling.DescribeAutoScalingGroupsInput{MaxRecords: aws.Int32(100)})
		groups, err := pages(ctx, pager, func(o *autoscaling.DescribeAutoScalingGroupsOutput) []types.AutoScalingGroup {
			return o.AutoScalingGroups
		})
		for _, g := range groups {
			name, desired, least := aws.ToString(g.AutoScalingGroupName), aws.ToInt32(g.DesiredCapacity), aws.ToInt32(g.MinSize)
			switch {
			case desired == 0:
				list = append(list, without(name, "it wants no instances"))
			case desired > least:
				list = append(list, pass(name, "%d wanted, %d at least", desired, least))
			default:
				list = append(list, fail(name, "%d wanted, and no less allowed", desired))
			}
		}
		return list, err
	},
}

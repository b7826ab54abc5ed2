package ready

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

// logDays is how long log groups keep what they get: intruders have been found after most of a year, and trails and flow logs end up in log groups.
const logDays = 365

var logRetention = Check{
	ID: "log-retention", Title: fmt.Sprintf("log groups keep their events for %d days", logDays),
	Why:      "A log that is kept for a month says nothing of an intruder who came two months ago. What a group has dropped cannot be had back.",
	Severity: Medium, Prowler: "cloudwatch_log_group_retention_policy_specific_days_enabled",
	Fix:     fmt.Sprintf("aws logs put-retention-policy --log-group-name {resource} --retention-in-days %d --region {region}", logDays),
	Actions: []string{"logs:DescribeLogGroups"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		pager := cloudwatchlogs.NewDescribeLogGroupsPaginator(cloudwatchlogs.NewFromConfig(s.Config), &cloudwatchlogs.DescribeLogGroupsInput{Limit: aws.Int32(50)})
		groups, err := pages(ctx, pager, func(o *cloudwatchlogs.DescribeLogGroupsOutput) []types.LogGroup { return o.LogGroups })
		for _, g := range groups {
			name, days := aws.ToString(g.LogGroupName), int(aws.ToInt32(g.RetentionInDays))
			switch {
			case g.LogGroupClass == types.LogGroupClassDelivery:
				list = append(list, without(name, "its events are kept where they are delivered to"))
			case days == 0:
				list = append(list, pass(name, "for ever"))
			case days < logDays:
				list = append(list, fail(name, "for %d days", days))
			default:
				list = append(list, pass(name, "for %d days", days))
			}
		}
		return list, err
	},
}

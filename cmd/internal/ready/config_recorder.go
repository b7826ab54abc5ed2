package ready

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/configservice"
	"github.com/aws/aws-sdk-go-v2/service/configservice/types"
)

var configRecorder = Check{
	ID: "config-recorder", Title: "AWS Config records how resources change",
	Why:      "What a security group, a role or a bucket looked like before the attacker changed it is otherwise put together from CloudTrail, call by call.",
	Severity: Medium, Prowler: "config_recorder_all_regions_enabled",
	Fix:     "aws configservice put-configuration-recorder --configuration-recorder name=default,roleARN=ROLE && aws configservice put-delivery-channel --delivery-channel name=default,s3BucketName=BUCKET && aws configservice start-configuration-recorder --configuration-recorder-name default --region {region}",
	Actions: []string{"config:DescribeConfigurationRecorderStatus"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		out, err := configservice.NewFromConfig(s.Config).DescribeConfigurationRecorderStatus(ctx, &configservice.DescribeConfigurationRecorderStatusInput{})
		if err != nil {
			return nil, err
		}
		var list []Finding
		for _, r := range out.ConfigurationRecordersStatus {
			switch name := aws.ToString(r.Name); {
			case !r.Recording:
				list = append(list, fail(name, "it is stopped"))
			case strings.EqualFold(string(r.LastStatus), string(types.RecorderStatusFailure)): // it is written both ways
				list = append(list, fail(name, "its delivery fails: %s %s", aws.ToString(r.LastErrorCode), aws.ToString(r.LastErrorMessage)))
			default:
				list = append(list, pass(name, "it records"))
			}
		}
		return []Finding{oneOf(s.Region, "there is no recorder", list)}, nil
	},
}

package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
)

var trailValidation = Check{
	ID: "trail-validation", Title: "log file validation of the trail is on",
	Why:      "Signed digests prove that no log file was changed or removed after its delivery. Without them the log is somebody's word, and a gap cannot be told from a quiet hour.",
	Severity: High, Prowler: "cloudtrail_log_file_validation_enabled",
	Fix:     "aws cloudtrail update-trail --name {resource} --enable-log-file-validation --region {region}",
	Actions: []string{"cloudtrail:DescribeTrails"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		trails, err := s.homeTrails(ctx)
		for _, t := range trails {
			if aws.ToBool(t.LogFileValidationEnabled) {
				list = append(list, pass(aws.ToString(t.TrailARN), "on"))
			} else {
				list = append(list, fail(aws.ToString(t.TrailARN), "off"))
			}
		}
		return list, err
	},
}

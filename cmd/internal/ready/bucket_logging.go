package ready

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var bucketLogging = Check{
	ID: "s3-logging", Title: "access to the bucket is logged",
	Why:      "Server access logs say who read which object from where, also those who need no credentials, whom CloudTrail's data events leave out in part.",
	Severity: Medium, Prowler: "s3_bucket_server_access_logging_enabled", Account: true,
	Fix:     `aws s3api put-bucket-logging --bucket {resource} --bucket-logging-status '{"LoggingEnabled":{"TargetBucket":"LOGS","TargetPrefix":"s3/"}}'`,
	Actions: []string{"s3:ListAllMyBuckets", "s3:GetBucketLogging"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		var mu sync.Mutex
		targets := map[string]bool{}
		list, err := s.perBucket(ctx, func(ctx context.Context, api *s3.Client, name string) Finding {
			out, err := api.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: &name})
			if err != nil {
				return unknown(name, err)
			}
			if out.LoggingEnabled == nil || aws.ToString(out.LoggingEnabled.TargetBucket) == "" {
				return fail(name, "it is not")
			}
			target := aws.ToString(out.LoggingEnabled.TargetBucket)
			mu.Lock()
			defer mu.Unlock()
			targets[target] = true
			return pass(name, "to %s", target)
		})
		for n, f := range list {
			if f.State == Fail && targets[f.Resource] { // which would log its own logs
				list[n] = without(f.Resource, "it takes the logs of others")
			}
		}
		return list, err
	},
}

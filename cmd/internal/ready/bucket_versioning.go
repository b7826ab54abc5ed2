package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var bucketVersioning = Check{
	ID: "s3-versioning", Title: "versioning of the bucket is on",
	Why:      "With it, what an attacker deletes or overwrites can be had back, and compared. It is what ransomware in S3 looks for first.",
	Severity: Medium, Prowler: "s3_bucket_object_versioning", Account: true,
	Fix:     "aws s3api put-bucket-versioning --bucket {resource} --versioning-configuration Status=Enabled",
	Actions: []string{"s3:ListAllMyBuckets", "s3:GetBucketVersioning"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.perBucket(ctx, func(ctx context.Context, api *s3.Client, name string) Finding {
			out, err := api.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &name})
			switch {
			case err != nil:
				return unknown(name, err)
			case out.Status == types.BucketVersioningStatusEnabled:
				return pass(name, "on")
			case out.Status == types.BucketVersioningStatusSuspended:
				return fail(name, "it is suspended")
			}
			return fail(name, "it was never on")
		})
	},
}

package ready

import (
	"context"
	"errors"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

var trailBucketLock = Check{
	ID: "trail-bucket-lock", Title: "Object Lock of the trail's bucket keeps log files from being deleted",
	Why:      "Validation shows that log files are gone; Object Lock keeps them. Deleting the trail's bucket is in every attacker's script.",
	Severity: Medium, Prowler: "s3_bucket_object_lock",
	Fix:     `aws s3api put-object-lock-configuration --bucket {resource} --object-lock-configuration '{"ObjectLockEnabled":"Enabled","Rule":{"DefaultRetention":{"Mode":"GOVERNANCE","Days":365}}}'`,
	Actions: []string{"cloudtrail:DescribeTrails", "s3:ListBucket", "s3:GetBucketObjectLockConfiguration"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.perTrailBucket(ctx, func(ctx context.Context, api *s3.Client, name string) Finding {
			out, err := api.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &name})
			if awsconfig.Code(err) == "ObjectLockConfigurationNotFoundError" {
				return fail(name, "it has no Object Lock")
			}
			if err != nil {
				return unknown(name, err)
			}
			c := out.ObjectLockConfiguration
			switch {
			case c == nil || c.ObjectLockEnabled != types.ObjectLockEnabledEnabled:
				return fail(name, "it has no Object Lock")
			case c.Rule == nil || c.Rule.DefaultRetention == nil:
				return fail(name, "it has Object Lock without a default, and CloudTrail sets none on its files")
			}
			return pass(name, "%s, %d days %d years", c.Rule.DefaultRetention.Mode, aws.ToInt32(c.Rule.DefaultRetention.Days), aws.ToInt32(c.Rule.DefaultRetention.Years))
		})
	},
}

var trailBucketPublic = Check{
	ID: "trail-bucket-public", Title: "the trail's bucket is not open to everybody",
	Why:      "The log tells an attacker all names and roles, and what you have found out so far.",
	Severity: High, Prowler: "cloudtrail_logs_s3_bucket_is_not_publicly_accessible",
	Fix:     "aws s3api put-public-access-block --bucket {resource} --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
	Actions: []string{"cloudtrail:DescribeTrails", "s3:ListBucket", "s3:GetBucketPublicAccessBlock", "s3:GetBucketPolicyStatus", "s3:GetBucketAcl"},
	Look:    func(ctx context.Context, s *Site) ([]Finding, error) { return s.perTrailBucket(ctx, openBucket) },
}

// perTrailBucket looks at the buckets of the trails that are at home in the site's region. A bucket may be in another account, where the
// caller may see nothing: that is unknown.
func (s *Site) perTrailBucket(ctx context.Context, look func(context.Context, *s3.Client, string) Finding) ([]Finding, error) {
	trails, err := s.homeTrails(ctx)
	var names []string
	for _, t := range trails {
		if n := aws.ToString(t.S3BucketName); n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	return each(ctx, names, func(ctx context.Context, n string) Finding {
		region, err := s.bucketRegion(ctx, n)
		if err != nil {
			return unknown(n, err)
		}
		return look(ctx, s.s3(region), n)
	}), err
}

// bucketRegion is where a bucket is, which S3 tells also to whom it refuses the rest.
func (s *Site) bucketRegion(ctx context.Context, name string) (string, error) {
	out, err := s.s3("").HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	if err == nil {
		return aws.ToString(out.BucketRegion), nil
	}
	if r, ok := errors.AsType[*smithyhttp.ResponseError](err); ok && r.Response != nil && r.Response.Header.Get("X-Amz-Bucket-Region") != "" {
		return r.Response.Header.Get("X-Amz-Bucket-Region"), nil
	}
	return "", err
}

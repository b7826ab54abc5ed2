package ready

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// freshness is within which a trail that delivers has delivered something: a digest comes every hour, also when nothing happened, and both come
// some minutes late.
const freshness = 2 * time.Hour

var trailLive = Check{
	ID: "trail-live", Title: "a trail delivers what happens in the region",
	Why:      "A trail can be there and deliver nothing: it was stopped, or its bucket, its policy or its key was changed. Attackers do that first, and nobody notices until the log is needed.",
	Severity: High, Prowler: "cloudtrail_multi_region_enabled",
	Fix:     "aws cloudtrail start-logging --name TRAIL --region {region}; aws cloudtrail get-trail-status --name TRAIL --region {region} says what delivery meets",
	Actions: []string{"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		trails, err := s.trails(ctx)
		if err != nil {
			return nil, err
		}
		list := each(ctx, trails, func(ctx context.Context, t types.Trail) Finding {
			arn := aws.ToString(t.TrailARN)
			status, err := s.trailStatus(ctx, t, s.Region)
			if err != nil {
				return unknown(arn, err)
			}
			last := aws.ToTime(status.LatestDeliveryTime)
			if d := aws.ToTime(status.LatestDigestDeliveryTime); d.After(last) {
				last = d
			}
			switch e := aws.ToString(status.LatestDeliveryError); {
			case !aws.ToBool(status.IsLogging):
				return fail(arn, "it is stopped")
			case e != "":
				return fail(arn, "delivery to bucket %s fails: %s", aws.ToString(t.S3BucketName), e)
			case last.IsZero():
				return fail(arn, "it never delivered anything from here")
			case s.Now.Sub(last) <= freshness:
				return pass(arn, "last delivery %s ago", s.Now.Sub(last).Round(time.Minute))
			case aws.ToBool(t.LogFileValidationEnabled):
				return fail(arn, "last delivery %s ago, and a digest is due each hour", s.Now.Sub(last).Round(time.Minute))
			}
			return Finding{State: Unknown, Resource: arn, Cause: Failed, Detail: "last delivery " + s.Now.Sub(last).Round(time.Minute).String() +
				" ago: nothing happened here since, or delivery has stopped; with log file validation the hourly digests would tell"}
		})
		return []Finding{oneOf(s.Region, "no trail records this region", list)}, nil
	},
}

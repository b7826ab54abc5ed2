package ready

import "context"

var trailAllRegions = Check{
	ID: "trail-all-regions", Title: "CloudTrail records the management events of all regions, now",
	Why:      "Who did what with the API is the backbone of every case in AWS, and attackers go to regions that nobody looks at. The event history keeps 90 days, of one region at a time.",
	Severity: High, Prowler: "cloudtrail_multi_region_enabled_logging_management_events", Account: true,
	Fix:     "aws cloudtrail create-trail --name all-regions --s3-bucket-name BUCKET --is-multi-region-trail --enable-log-file-validation && aws cloudtrail start-logging --name all-regions",
	Actions: []string{"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.recorded(ctx, "all management events", managementEvents)
	},
}

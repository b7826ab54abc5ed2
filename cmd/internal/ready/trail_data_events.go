package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
)

// recordAll sets all that a trail records at once, so that it names what both checks want.
const recordAll = `aws cloudtrail put-event-selectors --trail-name TRAIL --advanced-event-selectors '[` +
	`{"Name":"management","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]}]},` +
	`{"Name":"objects","FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}]},` +
	`{"Name":"invocations","FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::Lambda::Function"]}]}]'`

var trailS3Events = Check{
	ID: "trail-s3-events", Title: "a trail records who reads and writes objects in all buckets",
	Why:      "What was stolen is the question that management events cannot answer: reading an object is a data event, which is off until somebody turns it on.",
	Severity: Medium, Prowler: "cloudtrail_s3_dataevents_read_enabled", Account: true,
	Fix:     recordAll,
	Actions: []string{"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.recorded(ctx, "reading and writing of all objects", func(o *cloudtrail.GetEventSelectorsOutput) bool {
			return dataEvents(o, "AWS::S3::Object", "arn:aws:s3")
		})
	},
}

var trailLambdaEvents = Check{
	ID: "trail-lambda-events", Title: "a trail records the invocations of all functions",
	Why:      "A backdoored or stolen function leaves its traces in who invoked it and when. Invocations are data events, which are off until somebody turns them on.",
	Severity: Low, Prowler: "awslambda_function_invoke_api_operations_cloudtrail_logging_enabled", Account: true,
	Fix:     recordAll,
	Actions: []string{"cloudtrail:DescribeTrails", "cloudtrail:GetTrailStatus", "cloudtrail:GetEventSelectors"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.recorded(ctx, "invocations of all functions", func(o *cloudtrail.GetEventSelectorsOutput) bool {
			return dataEvents(o, "AWS::Lambda::Function", "arn:aws:lambda")
		})
	},
}

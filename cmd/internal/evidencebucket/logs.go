package evidencebucket

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// logSteps have accesses logged: to a bucket that was named, or to one that is made.
func (m *Maker) logSteps(ctx context.Context, plan *Plan, have *settings, api *s3.Client) (steps []Step, err error) {
	p, t := m.place(), m.Terms
	switch {
	case have.logging.v != nil && (t.LogBucket != "" || aws.ToString(have.logging.v.TargetBucket) != m.logs().Bucket): // ours is completed
		if to := aws.ToString(have.logging.v.TargetBucket); t.LogBucket != "" && to != t.LogBucket {
			plan.Notes = append(plan.Notes, fmt.Sprintf("accesses stay logged to %q", to))
		}
		return nil, nil
	case t.NoLog:
		plan.Notes = append(plan.Notes, "no access log, as asked: have a CloudTrail trail log data events of "+p.Bucket+
			`: aws cloudtrail put-event-selectors --trail-name TRAIL --advanced-event-selectors '[{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]},{"Field":"resources.ARN","StartsWith":["arn:`+
			partition(t.Region)+":s3:::"+p.Bucket+`/"]}]}]' (it replaces the selectors that the trail has)`)
		return nil, nil
	}
	target := m.logs()
	if t.LogBucket != "" {
		if target.Bucket = t.LogBucket; target.Bucket == p.Bucket {
			return nil, refuse("--log-bucket of another", "a bucket that logs into itself logs its own logs for ever")
		}
		if err := m.takesLogs(ctx, plan, target); err != nil {
			return nil, err
		}
	} else if _, err := m.planOne(ctx, plan, target, tagLogs, false, func(_ context.Context, plan *Plan, have *settings) ([]Step, error) {
		list := m.common(target, tagLogs, t.Tags, false)
		return append(list, m.policyStep(plan, target, have, forLogs(target, p, partition(t.Region), m.me.account, t.BreakGlass))), nil
	}); err != nil {
		return nil, err
	}
	return []Step{{ID: p.Bucket + ": " + idLogging, What: fmt.Sprintf("log accesses to s3://%s/%s/", target.Bucket, p.Bucket), place: p,
		do: func(ctx context.Context) error {
			_, err := api.PutBucketLogging(ctx, &s3.PutBucketLoggingInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner(),
				BucketLoggingStatus: &types.BucketLoggingStatus{LoggingEnabled: &types.LoggingEnabled{TargetBucket: &target.Bucket, TargetPrefix: aws.String(p.Bucket + "/")}}})
			return err
		},
		holds: func(s *settings) bool {
			return s.logging.v != nil && aws.ToString(s.logging.v.TargetBucket) == target.Bucket
		},
	}}, nil
}

// takesLogs looks at a bucket for logs that is not ours: nothing of it is changed.
func (m *Maker) takesLogs(ctx context.Context, plan *Plan, target Place) error {
	region, found, err := target.find(ctx, m.Config)
	switch {
	case err != nil:
		return fmt.Errorf("look for --log-bucket %s: %s", target.Bucket, short(err))
	case !found:
		return refuse("leave --log-bucket out to have one made", "there is no bucket %s for access logs", target.Bucket)
	case region != "" && region != m.Terms.Region:
		return refuse("", "access logs go to a bucket of the same region, and %s is in %s", target.Bucket, region)
	}
	have := target.read(ctx, m.Config, m.Terms.Region)
	if have.policy.err != nil {
		plan.Notes = append(plan.Notes, fmt.Sprintf("whether %s takes logs is not known: its policy could not be read: %s", target.Bucket, short(have.policy.err)))
		return nil
	}
	_, objects := target.arns(partition(m.Terms.Region))
	for _, s := range have.policy.v.statements() {
		if who, ok := s.Principal.(map[string]any); ok && who["Service"] == "logging.s3.amazonaws.com" && s.Effect == "Allow" {
			for _, r := range s.Resource {
				if like(r, objects[:len(objects)-1]+m.Terms.Bucket+"/x") {
					return nil
				}
			}
		}
	}
	plan.Notes = append(plan.Notes, fmt.Sprintf("the policy of %s does not let logging.s3.amazonaws.com put objects under %s/: add that, or no log arrives", target.Bucket, m.Terms.Bucket))
	return nil
}

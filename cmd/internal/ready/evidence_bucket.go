package ready

import (
	"context"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
)

var evidenceBucket = Check{
	ID: "evidence-bucket", Title: "the evidence bucket keeps what is put into it",
	Why:      "Evidence in a bucket without versions, Object Lock and a policy that denies its deletion lasts until the first credential of a responder is stolen.",
	Severity: High, Account: true,
	Fix: "shotglass bucket check {resource} says how; shotglass bucket create makes one that lacks nothing",
	Actions: []string{"s3:ListBucket", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetEncryptionConfiguration", "kms:DescribeKey", "s3:GetBucketPublicAccessBlock",
		"s3:GetBucketOwnershipControls", "s3:GetBucketPolicy", "s3:GetLifecycleConfiguration", "s3:GetBucketLogging", "s3:GetBucketTagging"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		if s.Bucket == "" {
			return []Finding{without("", "none was named: --bucket")}, nil
		}
		if !s.keeper {
			return []Finding{without(s.Bucket, "the forensic account looks at it, or else the first")}, nil
		}
		for _, f := range evidencebucket.Check(ctx, s.Config, evidencebucket.Place{Bucket: s.Bucket, PathStyle: s.Config.BaseEndpoint != nil}) {
			one := Finding{State: Unknown, Resource: s.Bucket, Detail: f.ID + ": " + f.Have}
			switch f.State {
			case evidencebucket.Pass:
				one.State = Pass
			case evidencebucket.Fail:
				one.State = Fail
			default: // not known, or not to be known of that server
				one.Cause = Failed
			}
			list = append(list, one)
		}
		return list, ctx.Err()
	},
}

package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

var bucketBlock = Check{
	ID: "s3-public-block", Title: "public access to the bucket is blocked, whatever its policy and its ACL say",
	Why:      "With the block, one wrong policy does not open the bucket. A block of the whole account, which is not looked at, does as well.",
	Severity: Low, Prowler: "s3_bucket_level_public_access_block", Account: true,
	Fix:     "aws s3api put-public-access-block --bucket {resource} --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
	Actions: []string{"s3:ListAllMyBuckets", "s3:GetBucketPublicAccessBlock"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.perBucket(ctx, func(ctx context.Context, api *s3.Client, name string) Finding {
			open, err := blocked(ctx, api, name)
			switch {
			case err != nil:
				return unknown(name, err)
			case len(open) > 0:
				return fail(name, "off: %s", strings.Join(open, ", "))
			}
			return pass(name, "blocked")
		})
	},
}

var bucketPublic = Check{
	ID: "s3-public", Title: "the bucket is not open to everybody",
	Why:      "In an open bucket everything may have been read or, worse, put there by anybody: nothing that lies in it is evidence of anything.",
	Severity: High, Prowler: "s3_bucket_public_access", Account: true,
	Fix:     "aws s3api put-public-access-block --bucket {resource} --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true",
	Actions: []string{"s3:ListAllMyBuckets", "s3:GetBucketPublicAccessBlock", "s3:GetBucketPolicyStatus", "s3:GetBucketAcl"},
	Look:    func(ctx context.Context, s *Site) ([]Finding, error) { return s.perBucket(ctx, openBucket) },
}

// openBucket says whether a bucket's policy or ACL lets everybody in, and its block does not stand before them.
func openBucket(ctx context.Context, api *s3.Client, name string) Finding {
	open, err := blocked(ctx, api, name)
	if err != nil {
		return unknown(name, err)
	}
	unblocked := func(what string) bool { return slices.Contains(open, what) || slices.Contains(open, allFour) }
	var held []string
	policy, err := api.GetBucketPolicyStatus(ctx, &s3.GetBucketPolicyStatusInput{Bucket: &name})
	switch {
	case awsconfig.Code(err) == "NoSuchBucketPolicy":
	case err != nil:
		return unknown(name, err)
	case policy.PolicyStatus == nil || !aws.ToBool(policy.PolicyStatus.IsPublic):
	case unblocked("RestrictPublicBuckets"):
		return fail(name, "its policy lets everybody in")
	default:
		held = append(held, "policy")
	}
	acl, err := api.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &name})
	if err != nil {
		return unknown(name, err)
	}
	if given := publicGrants(acl.Grants); len(given) > 0 && unblocked("IgnorePublicAcls") {
		return fail(name, "its ACL gives everybody %s", strings.Join(given, ", "))
	} else if len(given) > 0 {
		held = append(held, "ACL")
	}
	if len(held) > 0 {
		return pass(name, "only the block of public access keeps everybody out: its %s would let them in", strings.Join(held, " and its "))
	}
	return pass(name, "it is not")
}

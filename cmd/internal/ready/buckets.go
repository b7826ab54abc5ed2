package ready

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// bucketPage is how many buckets are listed at once.
const bucketPage = 1000

// A bucket is one with its region.
type bucket struct{ name, region string }

// s3 is the client of a region. Emulators have no host name for each bucket.
func (s *Site) s3(region string) *s3.Client {
	return s3.NewFromConfig(s.at(region), func(o *s3.Options) { o.UsePathStyle = o.BaseEndpoint != nil })
}

// buckets are those of the account.
func (s *Site) buckets(ctx context.Context) ([]bucket, error) {
	return read(ctx, s, "buckets", func(ctx context.Context) ([]bucket, error) {
		pager := s3.NewListBucketsPaginator(s.s3(""), &s3.ListBucketsInput{MaxBuckets: aws.Int32(bucketPage)})
		return pages(ctx, pager, func(o *s3.ListBucketsOutput) (list []bucket) {
			for _, b := range o.Buckets {
				list = append(list, bucket{aws.ToString(b.Name), aws.ToString(b.BucketRegion)})
			}
			return list
		})
	})
}

// perBucket looks at each bucket of the account.
func (s *Site) perBucket(ctx context.Context, look func(context.Context, *s3.Client, string) Finding) ([]Finding, error) {
	all, err := s.buckets(ctx)
	return each(ctx, all, func(ctx context.Context, b bucket) Finding { return look(ctx, s.s3(b.region), b.name) }), err
}

// allFour is what is open without a block.
const allFour = "all four"

// blocked says which of the four kinds of public access a bucket's own block leaves open.
func blocked(ctx context.Context, api *s3.Client, name string) (open []string, err error) {
	out, err := api.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: &name})
	if awsconfig.Code(err) == "NoSuchPublicAccessBlockConfiguration" {
		return []string{allFour}, nil
	}
	if err != nil {
		return nil, err
	}
	c := out.PublicAccessBlockConfiguration
	for _, k := range []struct {
		on   *bool
		name string
	}{{c.BlockPublicAcls, "BlockPublicAcls"}, {c.IgnorePublicAcls, "IgnorePublicAcls"}, {c.BlockPublicPolicy, "BlockPublicPolicy"}, {c.RestrictPublicBuckets, "RestrictPublicBuckets"}} {
		if !aws.ToBool(k.on) {
			open = append(open, k.name)
		}
	}
	return open, nil
}

// everybody are the groups that a grant to opens a bucket.
var everybody = []string{"http://acs.amazonaws.com/groups/global/AllUsers", "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}

// publicGrants are the permissions that a bucket's ACL gives everybody, or everybody with an account.
func publicGrants(list []types.Grant) (given []string) {
	for _, g := range list {
		if g.Grantee != nil && slices.Contains(everybody, aws.ToString(g.Grantee.URI)) {
			given = append(given, string(g.Permission))
		}
	}
	return given
}

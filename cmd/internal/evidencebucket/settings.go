package evidencebucket

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// got is what reading a setting gave: a value, nothing set (nil), or an error.
type got[T any] struct {
	v   *T
	err error
}

// settings are what a bucket has, as far as it could be read.
type settings struct {
	versioning got[s3.GetBucketVersioningOutput]
	lock       got[types.ObjectLockConfiguration]
	encryption got[types.ServerSideEncryptionRule]
	key        got[kmstypes.KeyMetadata]
	access     got[types.PublicAccessBlockConfiguration]
	ownership  got[types.ObjectOwnership]
	policy     got[document]
	lifecycle  got[[]types.LifecycleRule]
	logging    got[types.LoggingEnabled]
	tags       got[map[string]string]
}

// fetch makes a call; codes are what it answers when nothing is set.
func fetch[T any](into *got[T], codes []string, call func() (*T, error)) func() error {
	return func() error {
		v, err := call()
		if err != nil && slices.Contains(codes, awsconfig.Code(err)) {
			v, err = nil, nil
		}
		*into = got[T]{v, err}
		return nil
	}
}

// find asks where a bucket is. found is false when nobody has one of that name; the error tells of everything else, with the region if the
// service told it all the same.
func (p Place) find(ctx context.Context, cfg aws.Config) (region string, found bool, err error) {
	out, err := p.client(cfg, "").HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner()})
	if err == nil {
		return aws.ToString(out.BucketRegion), true, nil
	}
	if status(err) == http.StatusNotFound {
		return "", false, nil
	}
	region = regionIn(err)
	if status(err) == http.StatusMovedPermanently && region != "" {
		return region, true, nil
	}
	return region, true, err
}

// readers is how many settings are read at once.
const readers = 4

// read reads all settings. What cannot be read is an error in its place.
func (p Place) read(ctx context.Context, cfg aws.Config, region string) *settings {
	s, api, b, owner := &settings{}, p.client(cfg, region), &p.Bucket, p.owner()
	g := errgroup.Group{}
	g.SetLimit(readers)
	g.Go(fetch(&s.versioning, nil, func() (*s3.GetBucketVersioningOutput, error) {
		return api.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: b, ExpectedBucketOwner: owner})
	}))
	g.Go(fetch(&s.lock, []string{"ObjectLockConfigurationNotFoundError"}, func() (*types.ObjectLockConfiguration, error) {
		out, err := api.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil {
			return nil, err
		}
		return out.ObjectLockConfiguration, nil
	}))
	g.Go(fetch(&s.encryption, []string{"ServerSideEncryptionConfigurationNotFoundError"}, func() (*types.ServerSideEncryptionRule, error) {
		out, err := api.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil || out.ServerSideEncryptionConfiguration == nil || len(out.ServerSideEncryptionConfiguration.Rules) == 0 {
			return nil, err
		}
		return &out.ServerSideEncryptionConfiguration.Rules[0], nil
	}))
	g.Go(fetch(&s.access, []string{"NoSuchPublicAccessBlockConfiguration"}, func() (*types.PublicAccessBlockConfiguration, error) {
		out, err := api.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil {
			return nil, err
		}
		return out.PublicAccessBlockConfiguration, nil
	}))
	g.Go(fetch(&s.ownership, []string{"OwnershipControlsNotFoundError"}, func() (*types.ObjectOwnership, error) {
		out, err := api.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil || out.OwnershipControls == nil || len(out.OwnershipControls.Rules) == 0 {
			return nil, err
		}
		return &out.OwnershipControls.Rules[0].ObjectOwnership, nil
	}))
	g.Go(fetch(&s.policy, []string{"NoSuchBucketPolicy"}, func() (*document, error) {
		out, err := api.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: b, ExpectedBucketOwner: owner})
		if status(err) == http.StatusMethodNotAllowed {
			return nil, fmt.Errorf("%w: %w", errOthers, err)
		}
		if err != nil {
			return nil, err
		}
		return parsePolicy(aws.ToString(out.Policy))
	}))
	g.Go(fetch(&s.lifecycle, []string{"NoSuchLifecycleConfiguration"}, func() (*[]types.LifecycleRule, error) {
		out, err := api.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil {
			return nil, err
		}
		return &out.Rules, nil
	}))
	g.Go(fetch(&s.logging, nil, func() (*types.LoggingEnabled, error) {
		out, err := api.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil {
			return nil, err
		}
		return out.LoggingEnabled, nil
	}))
	g.Go(fetch(&s.tags, []string{"NoSuchTagSet"}, func() (*map[string]string, error) {
		out, err := api.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b, ExpectedBucketOwner: owner})
		if err != nil {
			return nil, err
		}
		tags := map[string]string{}
		for _, t := range out.TagSet {
			tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
		return &tags, nil
	}))
	g.Wait() //nolint:errcheck // each error is in its place
	if id := keyOf(s.encryption.v); id != "" {
		s.key.v, s.key.err = describeKey(ctx, cfg, region, id)
	}
	return s
}

// keyOf is the key that objects are encrypted under by default, if it was named.
func keyOf(r *types.ServerSideEncryptionRule) string {
	if r == nil || r.ApplyServerSideEncryptionByDefault == nil {
		return ""
	}
	switch r.ApplyServerSideEncryptionByDefault.SSEAlgorithm {
	case types.ServerSideEncryptionAwsKms, types.ServerSideEncryptionAwsKmsDsse:
		return aws.ToString(r.ApplyServerSideEncryptionByDefault.KMSMasterKeyID)
	}
	return ""
}

func kmsClient(cfg aws.Config, region string) *kms.Client {
	return kms.NewFromConfig(cfg, func(o *kms.Options) {
		if region != "" {
			o.Region = region
		}
	})
}

func describeKey(ctx context.Context, cfg aws.Config, region, id string) (*kmstypes.KeyMetadata, error) {
	out, err := kmsClient(cfg, region).DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
	if err != nil {
		return nil, err
	}
	return out.KeyMetadata, nil
}

package evidencebucket

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

func (m *Maker) alias() string { return "alias/shotglass-" + m.Terms.Bucket }

// findKey looks for the key that was named, or that an earlier run made. Empty: one is to be made.
func (m *Maker) findKey(ctx context.Context) (string, error) {
	id := m.Terms.KMSKey
	if id == "" {
		id = m.alias()
	}
	k, err := describeKey(ctx, m.Config, m.Terms.Region, id)
	switch {
	case awsconfig.Code(err) == "NotFoundException" && m.Terms.KMSKey == "":
		return m.orphan(ctx)
	case err != nil:
		return "", fmt.Errorf("look up the key %q in %s: %w", id, m.Terms.Region, awsconfig.Explain(err))
	case k.KeyManager == kmstypes.KeyManagerTypeAws:
		return "", refuse("--kms-key ARN of one of yours", "%q is a key of AWS: its policy cannot be yours, and another account cannot read what it encrypts", id)
	case k.KeyState != kmstypes.KeyStateEnabled:
		return "", refuse("", "the key %q is %s", id, k.KeyState)
	case k.KeySpec != kmstypes.KeySpecSymmetricDefault || k.KeyUsage != kmstypes.KeyUsageTypeEncryptDecrypt:
		return "", refuse("", "S3 encrypts with symmetric keys, and the key %q is %s for %s", id, k.KeySpec, k.KeyUsage)
	}
	return aws.ToString(k.Arn), nil
}

// orphan looks for a key that a run made which ended before it gave it its alias.
func (m *Maker) orphan(ctx context.Context) (string, error) {
	api := kmsClient(m.Config, m.Terms.Region)
	pages := kms.NewListKeysPaginator(api, &kms.ListKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return "", fmt.Errorf("look for a key that an earlier run made: %w", awsconfig.Explain(err))
		}
		for _, k := range page.Keys {
			tags, err := api.ListResourceTags(ctx, &kms.ListResourceTagsInput{KeyId: k.KeyId})
			if err != nil {
				continue // a key whose policy keeps us out is not ours
			}
			ours, of := false, false
			for _, t := range tags.Tags {
				ours = ours || aws.ToString(t.TagKey) == TagKey && aws.ToString(t.TagValue) == tagKey
				of = of || aws.ToString(t.TagKey) == tagBucket && aws.ToString(t.TagValue) == m.Terms.Bucket
			}
			if !ours || !of {
				continue
			}
			d, err := describeKey(ctx, m.Config, m.Terms.Region, aws.ToString(k.KeyId))
			if err != nil {
				return "", fmt.Errorf("look up the key that an earlier run made: %w", awsconfig.Explain(err))
			}
			if d.KeyState == kmstypes.KeyStateEnabled {
				return aws.ToString(d.Arn), nil
			}
		}
	}
	return "", nil
}

// tagBucket is the tag of a key that names its bucket.
const tagBucket = "shotglass-bucket"

// makeKey makes the key, and gives it its alias. Each is done once, over all runs.
func (m *Maker) makeKey(ctx context.Context) error {
	api := kmsClient(m.Config, m.Terms.Region)
	if m.keyARN == "" {
		policy, err := json.Marshal(keyPolicy(partition(m.Terms.Region), m.me.account, m.Terms.BreakGlass))
		if err != nil {
			return err
		}
		out, err := api.CreateKey(ctx, &kms.CreateKeyInput{
			Description: aws.String("shotglass: evidence in s3://" + m.Terms.Bucket), Policy: aws.String(string(policy)), BypassPolicyLockoutSafetyCheck: m.Terms.AcceptLockOut,
			Tags: []kmstypes.Tag{{TagKey: aws.String(TagKey), TagValue: aws.String(tagKey)}, {TagKey: aws.String(tagBucket), TagValue: &m.Terms.Bucket}},
		})
		if err != nil {
			return err
		}
		m.keyARN = aws.ToString(out.KeyMetadata.Arn)
	}
	if _, err := describeKey(ctx, m.Config, m.Terms.Region, m.alias()); awsconfig.Code(err) != "NotFoundException" {
		return err
	}
	_, err := api.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String(m.alias()), TargetKeyId: &m.keyARN})
	if awsconfig.Code(err) == "AlreadyExistsException" {
		return nil
	}
	return err
}

// keyPolicy lets IAM's policies of the account decide who uses the key, and nobody but the break-glass principals destroy it: what it
// encrypted would be gone.
func keyPolicy(partition, account string, breakGlass []string) map[string]any {
	return map[string]any{"Version": "2012-10-17", "Statement": []statement{
		{Sid: "ShotglassAccount", Effect: "Allow", Principal: map[string]string{"AWS": "arn:" + partition + ":iam::" + account + ":root"}, Action: texts{"kms:*"}, Resource: texts{"*"}},
		{Sid: "ShotglassKeyStays", Effect: "Deny", Principal: map[string]string{"AWS": "*"}, Action: texts{"kms:DeleteAlias", "kms:DisableKey", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion"}, Resource: texts{"*"},
			Condition: map[string]map[string]texts{"ArnNotLike": {principalKey: breakGlass}}},
	}}
}

// Region is where a bucket is; empty if its server knows no regions. Also a refusal tells.
func Region(ctx context.Context, cfg aws.Config, p Place) (string, error) {
	region, found, err := p.find(ctx, cfg)
	switch {
	case err == nil && !found:
		return "", refuse("check its name", "there is no bucket %s", p.Bucket)
	case err != nil && region == "":
		return "", fmt.Errorf("look for bucket %s: %s", p.Bucket, short(err))
	}
	return region, nil
}

// DefaultKey is the ARN of the key that a bucket encrypts under by default; empty when that is none of the user's.
func DefaultKey(ctx context.Context, cfg aws.Config, p Place) (string, error) {
	region, found, err := p.find(ctx, cfg)
	switch {
	case !found:
		return "", refuse("check its name", "there is no bucket %s", p.Bucket)
	case err != nil:
		return "", fmt.Errorf("look for bucket %s: %s", p.Bucket, short(err))
	}
	out, err := p.client(cfg, region).GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner()})
	if awsconfig.Code(err) == "ServerSideEncryptionConfigurationNotFoundError" { // other servers, and old buckets
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("under which key %s encrypts could not be read: %s", p.Bucket, short(err))
	}
	if out.ServerSideEncryptionConfiguration == nil || len(out.ServerSideEncryptionConfiguration.Rules) == 0 {
		return "", nil
	}
	id := keyOf(&out.ServerSideEncryptionConfiguration.Rules[0])
	if id == "" {
		return "", nil
	}
	k, err := describeKey(ctx, cfg, region, id)
	if err != nil {
		return "", fmt.Errorf("the key %q of %s could not be looked up: %s", id, p.Bucket, short(err))
	}
	return aws.ToString(k.Arn), nil
}

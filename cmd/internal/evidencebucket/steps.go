package evidencebucket

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// evidenceSteps are what makes an evidence bucket. The policy is last: after it, only who may break the glass can go on.
func (m *Maker) evidenceSteps(ctx context.Context, plan *Plan, have *settings) ([]Step, error) {
	p, t := m.place(), m.Terms
	api := p.client(m.Config, t.Region)
	steps := m.common(p, TagMade, t.Tags, true)
	if lock := m.lockStep(plan, have, api); lock != nil {
		steps = append(steps, *lock)
	}
	key, err := m.keySteps(ctx, plan, have, api)
	if err != nil {
		return nil, err
	}
	steps = append(steps, key...)
	uploads, err := m.uploadsStep(plan, have, api)
	if err != nil {
		return nil, err
	}
	steps = append(steps, uploads...)
	logs, err := m.logSteps(ctx, plan, have, api)
	if err != nil {
		return nil, err
	}
	return append(append(steps, logs...), m.policyStep(plan, p, have, wanted(p, partition(t.Region), t.BreakGlass))), nil
}

// common are the steps of every bucket that we make.
func (m *Maker) common(p Place, tag string, tags map[string]string, lock bool) []Step {
	api, b, owner := p.client(m.Config, m.Terms.Region), &p.Bucket, p.owner()
	step := func(id, what string, do func(context.Context) error, holds func(*settings) bool) Step {
		return Step{ID: p.Bucket + ": " + id, What: what, place: p, do: do, holds: holds}
	}
	what := fmt.Sprintf("make the bucket %s in %s", p.Bucket, m.Terms.Region)
	if lock {
		what += ", with Object Lock"
	}
	return []Step{
		step("bucket", what, func(ctx context.Context) error { return m.createBucket(ctx, p, lock, m.tagsOf(tag, tags, nil)) }, func(s *settings) bool {
			return s.versioning.v != nil // an answer at all
		}),
		step("tags", fmt.Sprintf("tag it %s=%s", TagKey, tag), func(ctx context.Context) error {
			old, err := api.GetBucketTagging(ctx, &s3.GetBucketTaggingInput{Bucket: b, ExpectedBucketOwner: owner})
			if err != nil && awsconfig.Code(err) != "NoSuchTagSet" {
				return err
			}
			var set []types.Tag
			if err == nil {
				set = old.TagSet
			}
			_, err = api.PutBucketTagging(ctx, &s3.PutBucketTaggingInput{Bucket: b, ExpectedBucketOwner: owner, Tagging: &types.Tagging{TagSet: m.tagsOf(tag, tags, set)}})
			return err
		}, func(s *settings) bool { return s.tagged(tag) }),
		step(idAccess, "block all public access", func(ctx context.Context) error {
			_, err := api.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: b, ExpectedBucketOwner: owner, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
				BlockPublicAcls: aws.Bool(true), BlockPublicPolicy: aws.Bool(true), IgnorePublicAcls: aws.Bool(true), RestrictPublicBuckets: aws.Bool(true)}})
			return err
		}, func(s *settings) bool { good, _ := accessText(s.access.v); return good }),
		step(idOwnership, "have the bucket's owner own all objects: no ACLs", func(ctx context.Context) error {
			_, err := api.PutBucketOwnershipControls(ctx, &s3.PutBucketOwnershipControlsInput{Bucket: b, ExpectedBucketOwner: owner,
				OwnershipControls: &types.OwnershipControls{Rules: []types.OwnershipControlsRule{{ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced}}}})
			return err
		}, func(s *settings) bool {
			return s.ownership.v != nil && *s.ownership.v == types.ObjectOwnershipBucketOwnerEnforced
		}),
		step(idVersioning, "keep all versions of objects", func(ctx context.Context) error {
			_, err := api.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: b, ExpectedBucketOwner: owner, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
			return err
		}, func(s *settings) bool {
			return s.versioning.v != nil && s.versioning.v.Status == types.BucketVersioningStatusEnabled
		}),
	}
}

// tagsOf adds our tags to those that are there.
func (m *Maker) tagsOf(tag string, more map[string]string, set []types.Tag) []types.Tag {
	add := maps.Clone(more)
	if add == nil {
		add = map[string]string{}
	}
	add[TagKey] = tag
	for _, t := range set {
		if _, ok := add[aws.ToString(t.Key)]; !ok {
			add[aws.ToString(t.Key)] = aws.ToString(t.Value)
		}
	}
	set = nil
	for _, k := range slices.Sorted(maps.Keys(add)) {
		set = append(set, types.Tag{Key: aws.String(k), Value: aws.String(add[k])})
	}
	return set
}

func (m *Maker) createBucket(ctx context.Context, p Place, lock bool, tags []types.Tag) error {
	in := &s3.CreateBucketInput{Bucket: &p.Bucket, ObjectOwnership: types.ObjectOwnershipBucketOwnerEnforced, CreateBucketConfiguration: &types.CreateBucketConfiguration{Tags: tags}}
	if lock {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if m.Terms.Region != "us-east-1" {
		in.CreateBucketConfiguration.LocationConstraint = types.BucketLocationConstraint(m.Terms.Region)
	}
	_, err := p.client(m.Config, m.Terms.Region).CreateBucket(ctx, in)
	switch awsconfig.Code(err) {
	case "BucketAlreadyExists":
		return refuse("choose another name", "the name %s is taken by another account", p.Bucket)
	case "BucketAlreadyOwnedByYou":
		return refuse("run it again", "somebody made %s meanwhile", p.Bucket)
	}
	return err
}

// lockStep switches Object Lock on, and sets the default retention, if there is something to do. A retention that is there is lengthened,
// never shortened, and never made compliance by itself.
func (m *Maker) lockStep(plan *Plan, have *settings, api *s3.Client) *Step {
	p, t := m.place(), m.Terms
	var old *types.DefaultRetention
	on := have.lock.v != nil && have.lock.v.ObjectLockEnabled == types.ObjectLockEnabledEnabled
	if on && have.lock.v.Rule != nil {
		old = have.lock.v.Rule.DefaultRetention
	}
	mode, days := t.LockMode, t.RetainDays
	if old != nil {
		oldDays := aws.ToInt32(old.Days) + 365*aws.ToInt32(old.Years)
		stricter := old.Mode == types.ObjectLockRetentionModeCompliance && mode != types.ObjectLockRetentionModeCompliance
		if stricter || oldDays >= days && old.Mode == mode || days == 0 {
			if _, text := lockText(have.lock.v); days != 0 && (stricter || oldDays != days) {
				plan.Notes = append(plan.Notes, "Object Lock stays as it is: "+text)
			}
			mode, days = old.Mode, 0 // nothing to set
		} else {
			days = max(days, oldDays)
		}
	}
	holds := func(s *settings) bool {
		if s.lock.v == nil || s.lock.v.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
			return false
		}
		if days == 0 {
			return true
		}
		r := s.lock.v.Rule
		return r != nil && r.DefaultRetention != nil && r.DefaultRetention.Mode == mode && aws.ToInt32(r.DefaultRetention.Days) == days
	}
	what := "switch Object Lock on"
	config := &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled}
	switch {
	case days > 0:
		what = fmt.Sprintf("lock objects by default, %s for %d days", strings.ToLower(string(mode)), days)
		config.Rule = &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: mode, Days: &days}}
	case old != nil:
		return nil
	}
	if !plan.existsWithout(have) && days == 0 {
		return nil // it is made with it
	}
	return &Step{ID: p.Bucket + ": " + idLock, What: what, place: p, holds: holds, do: func(ctx context.Context) error {
		_, err := api.PutObjectLockConfiguration(ctx, &s3.PutObjectLockConfigurationInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner(), ObjectLockConfiguration: config})
		return err
	}}
}

// existsWithout reports whether settings are those of a bucket that there is.
func (*Plan) existsWithout(s *settings) bool { return s.versioning.v != nil }

// keySteps have objects encrypted under a key of the user's.
func (m *Maker) keySteps(ctx context.Context, plan *Plan, have *settings, api *s3.Client) (steps []Step, err error) {
	p := m.place()
	if id := keyOf(have.encryption.v); id != "" && !strings.HasSuffix(id, "alias/aws/s3") && (have.key.v == nil || have.key.v.KeyManager != "AWS") {
		if m.Terms.KMSKey != "" {
			want, err := m.findKey(ctx)
			if err != nil {
				return nil, err
			}
			if have.key.v == nil || aws.ToString(have.key.v.Arn) != want {
				plan.Notes = append(plan.Notes, fmt.Sprintf("encryption stays under %q, which is not --kms-key: whoever relies on it would not be asked", id))
			}
		}
		m.keyARN = id
	} else if m.keyARN, err = m.findKey(ctx); err != nil {
		return nil, err
	}
	if m.Terms.KMSKey == "" && keyOf(have.encryption.v) == "" {
		what := fmt.Sprintf("make a key of KMS, %s, that only the break-glass principals can destroy", m.alias())
		if m.keyARN != "" {
			what = fmt.Sprintf("take the key of an earlier run, %s, as %s", m.keyARN, m.alias())
		}
		steps = append(steps, Step{ID: idKey, What: what, place: p, do: m.makeKey})
	}
	return append(steps, Step{ID: p.Bucket + ": " + idEncryption, What: "encrypt objects under the key by default, with a bucket key", place: p, do: func(ctx context.Context) error {
		_, err := api.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner(), ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{BucketKeyEnabled: aws.Bool(true), ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &m.keyARN}}}}})
		return err
	}, holds: func(s *settings) bool {
		return m.keyARN != "" && keyOf(s.encryption.v) == m.keyARN && aws.ToBool(s.encryption.v.BucketKeyEnabled)
	}}), nil
}

// uploadsStep adds our rule to those that are there.
func (m *Maker) uploadsStep(plan *Plan, have *settings, api *s3.Client) ([]Step, error) {
	p, days := m.place(), m.Terms.AbortDays
	if good, text := expiryText(rules(have)); !good {
		plan.Notes = append(plan.Notes, text+": they stay, and take evidence away")
	}
	if d, all := endsUploads(rules(have)); all || d != 0 && d < LeastDays {
		if good, text := uploadsText(rules(have)); !good {
			plan.Notes = append(plan.Notes, text+": it stays; another rule would not help")
		}
		return nil, nil
	}
	list := append(slices.Clone(rules(have)), types.LifecycleRule{ID: aws.String(ruleID), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
		AbortIncompleteMultipartUpload: &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: &days}})
	return []Step{{ID: p.Bucket + ": " + idUploads, What: fmt.Sprintf("end unfinished uploads after %d days", days), place: p,
		do: func(ctx context.Context) error {
			_, err := api.PutBucketLifecycleConfiguration(ctx, &s3.PutBucketLifecycleConfigurationInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner(), LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: list}})
			return err
		},
		holds: func(s *settings) bool { _, all := endsUploads(rules(s)); return all },
	}}, nil
}

// policyStep adds the statements that a bucket's policy lacks.
func (m *Maker) policyStep(plan *Plan, p Place, have *settings, add []statement) Step {
	merged, err := have.policy.v.with(add)
	if len(merged.kept) > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s: statements of its policy say something else than would be made, and stay: %s", p.Bucket, strings.Join(merged.kept, ", ")))
	}
	return Step{ID: p.Bucket + ": policy", What: "add to its policy: " + strings.Join(merged.added, ", "), place: p,
		do: func(ctx context.Context) error {
			if err != nil {
				return err
			}
			return m.putPolicy(ctx, p, merged.policy.String())
		},
		holds: func(s *settings) bool {
			now, err := s.policy.v.with(add)
			return err == nil && len(now.added) == 0
		}}
}

func (m *Maker) putPolicy(ctx context.Context, p Place, policy string) error {
	const most = 20 << 10
	if len(policy) > most {
		return refuse("", "the policy of %s would have %d bytes, and S3 takes %d", p.Bucket, len(policy), most)
	}
	// S3 itself refuses a policy that keeps us from changing it again, unless this says that it is meant.
	in := &s3.PutBucketPolicyInput{Bucket: &p.Bucket, ExpectedBucketOwner: p.owner(), Policy: &policy}
	if m.Terms.AcceptLockOut {
		in.ConfirmRemoveSelfBucketAccess = aws.Bool(true)
	}
	_, err := p.client(m.Config, m.Terms.Region).PutBucketPolicy(ctx, in)
	return err
}

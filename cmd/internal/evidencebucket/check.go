package evidencebucket

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// LeastDays is how long an unfinished upload must be left alone: it may hold what shotglass upload still has to finish.
const LeastDays = 7

// The properties that are checked, in their order.
const (
	idExists      = "exists"
	idVersioning  = "versioning"
	idLock        = "object-lock"
	idEncryption  = "encryption"
	idBucketKey   = "bucket-key"
	idKey         = "key"
	idAccess      = "public-access"
	idOwnership   = "ownership"
	idTLS         = "tls-only"
	idDelete      = "deny-delete"
	idSettings    = "deny-settings"
	idConditional = "no-overwrite"
	idUploads     = "stale-uploads"
	idExpiry      = "no-expiry"
	idLogging     = "access-log"
)

// why says of each property why it matters.
var why = map[string]string{
	idExists:      "what is not there takes no evidence",
	idVersioning:  "without it a deleted or overwritten object is gone",
	idLock:        "without it whoever may delete a version deletes evidence; shotglass capture --s3-lock needs it",
	idEncryption:  "under a key of yours its policy says who reads the evidence, and CloudTrail who did; AWS's own keys cannot be shared with another account",
	idBucketKey:   "without it every object costs a call of KMS, whose quota a large collection meets",
	idKey:         "without its key the evidence cannot be read ever again",
	idAccess:      "one wrong policy or ACL would show the evidence to everybody",
	idOwnership:   "with ACLs on, an object belongs to who wrote it, who may take it away from you",
	idTLS:         "without TLS anybody in between can read and forge the evidence",
	idDelete:      "an attacker with a responder's credentials deletes what proves the attack",
	idSettings:    "whoever may change the settings can switch all of this off first",
	idConditional: "an object of the same name would stand in front of the evidence; the older version is found only by who looks for it",
	idUploads:     "uploads that were cut off cost storage for ever, unseen; but a rule of few days takes what shotglass upload still has to finish",
	idExpiry:      "a rule that expires objects takes evidence away without anybody asking",
	idLogging:     "who read, changed or tried to is part of the chain of custody",
}

// Check says of each property of a bucket what is known. It only reads. A bucket that there is not has one finding. Cancelling
// makes what was not read yet UNKNOWN.
func Check(ctx context.Context, cfg aws.Config, p Place) []Finding {
	region, found, err := p.find(ctx, cfg)
	if !found {
		return []Finding{finding(idExists, Fail, "there is no bucket of this name", "shotglass bucket create --break-glass ARN "+p.Bucket)}
	}
	first := finding(idExists, Pass, "in "+orUnknown(region), "")
	if err != nil {
		state, have := unread(err)
		first = finding(idExists, state, have, "aws s3api head-bucket --bucket "+p.Bucket)
		if status(err) == 403 {
			first.Have = "it is there, and who we are may not list it, or it is of another account: " + short(err)
		}
	}
	return append([]Finding{first}, p.judge(p.read(ctx, cfg, region), partition(region))...)
}

func orUnknown(s string) string {
	if s == "" {
		return "a region that it does not tell"
	}
	return s
}

func finding(id string, s State, have, fix string) Finding {
	if s == Pass {
		fix = ""
	}
	return Finding{ID: id, State: s, Have: have, Why: why[id], Fix: fix}
}

// judge makes findings of settings.
func (p Place) judge(s *settings, partition string) []Finding {
	api := func(format string, v ...any) string {
		return "aws s3api " + fmt.Sprintf(format, v...) + " --bucket " + p.Bucket
	}
	return slices.Concat(
		[]Finding{
			of(idVersioning, s.versioning.err, api("put-bucket-versioning --versioning-configuration Status=Enabled"), func() (bool, string) {
				v := s.versioning.v.Status
				return v == types.BucketVersioningStatusEnabled, orNever(string(v))
			}),
			of(idLock, s.lock.err, api("put-object-lock-configuration --object-lock-configuration ObjectLockEnabled=Enabled"), func() (bool, string) { return lockText(s.lock.v) }),
		},
		p.judgeKey(s, api),
		[]Finding{
			of(idAccess, s.access.err, api("put-public-access-block --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"), func() (bool, string) { return accessText(s.access.v) }),
			of(idOwnership, s.ownership.err, api("put-bucket-ownership-controls --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'"), func() (bool, string) {
				if s.ownership.v == nil {
					return false, "not set: ACLs count"
				}
				return *s.ownership.v == types.ObjectOwnershipBucketOwnerEnforced, string(*s.ownership.v)
			}),
		},
		p.judgePolicy(s, partition),
		[]Finding{
			of(idUploads, s.lifecycle.err, "shotglass bucket create --adopt --break-glass ARN "+p.Bucket, func() (bool, string) { return uploadsText(rules(s)) }),
			of(idExpiry, s.lifecycle.err, api("get-bucket-lifecycle-configuration"), func() (bool, string) { return expiryText(rules(s)) }),
			of(idLogging, s.logging.err, "shotglass bucket create --adopt --break-glass ARN "+p.Bucket, func() (bool, string) {
				if s.logging.v == nil {
					return false, "server access logging is off; data events of a CloudTrail trail would do as well: shotglass looks for none here"
				}
				return true, fmt.Sprintf("to s3://%s/%s", aws.ToString(s.logging.v.TargetBucket), aws.ToString(s.logging.v.TargetPrefix))
			}),
		})
}

// of is a finding about what was read.
func of(id string, err error, fix string, ask func() (good bool, have string)) Finding {
	if err != nil {
		state, have := unread(err)
		if state == Unknown {
			fix = ""
		}
		return finding(id, state, have, fix)
	}
	good, have := ask()
	if good {
		return finding(id, Pass, have, "")
	}
	return finding(id, Fail, have, fix)
}

func orNever(s string) string {
	if s == "" {
		return "never enabled"
	}
	return s
}

func lockText(l *types.ObjectLockConfiguration) (bool, string) {
	if l == nil || l.ObjectLockEnabled != types.ObjectLockEnabledEnabled {
		return false, "off"
	}
	if l.Rule == nil || l.Rule.DefaultRetention == nil {
		return true, "on, no default retention: only what is stored with --s3-lock is locked"
	}
	d := l.Rule.DefaultRetention
	if d.Years != nil {
		return true, fmt.Sprintf("on, by default %s for %d years", strings.ToLower(string(d.Mode)), *d.Years)
	}
	return true, fmt.Sprintf("on, by default %s for %d days", strings.ToLower(string(d.Mode)), aws.ToInt32(d.Days))
}

func accessText(a *types.PublicAccessBlockConfiguration) (bool, string) {
	if a == nil {
		return false, "nothing is blocked"
	}
	var off []string
	for _, f := range []struct {
		name string
		on   *bool
	}{{"BlockPublicAcls", a.BlockPublicAcls}, {"IgnorePublicAcls", a.IgnorePublicAcls}, {"BlockPublicPolicy", a.BlockPublicPolicy}, {"RestrictPublicBuckets", a.RestrictPublicBuckets}} {
		if !aws.ToBool(f.on) {
			off = append(off, f.name)
		}
	}
	if len(off) > 0 {
		return false, "off: " + strings.Join(off, ", ")
	}
	return true, "all four are on"
}

// judgeKey is what encryption comes to.
func (p Place) judgeKey(s *settings, api func(string, ...any) string) []Finding {
	fix := api(`put-bucket-encryption --server-side-encryption-configuration '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms","KMSMasterKeyID":"KEY-ARN"},"BucketKeyEnabled":true}]}'`)
	id, rule := keyOf(s.encryption.v), s.encryption.v
	managed := s.key.v != nil && s.key.v.KeyManager == kmstypes.KeyManagerTypeAws
	list := []Finding{of(idEncryption, s.encryption.err, fix, func() (bool, string) {
		switch {
		case rule == nil || rule.ApplyServerSideEncryptionByDefault == nil:
			return false, "none by default"
		case id == "" && rule.ApplyServerSideEncryptionByDefault.SSEAlgorithm == types.ServerSideEncryptionAes256:
			return false, "SSE-S3: a key of AWS, for all who may read the bucket"
		case id == "" || managed || strings.HasSuffix(id, "alias/aws/s3"):
			return false, "SSE-KMS under aws/s3, a key of AWS that has no policy of yours"
		}
		return true, fmt.Sprintf("SSE-KMS under %q", id)
	})}
	if s.encryption.err != nil || id == "" || managed {
		return list // there is no key to ask about
	}
	return append(list,
		of(idBucketKey, nil, fix, func() (bool, string) {
			if aws.ToBool(rule.BucketKeyEnabled) {
				return true, "on"
			}
			return false, "off"
		}),
		of(idKey, s.key.err, "aws kms cancel-key-deletion --key-id "+id+"; aws kms enable-key --key-id "+id, func() (bool, string) {
			if s.key.v.KeyState != kmstypes.KeyStateEnabled {
				return false, fmt.Sprintf("%q: it is %s", id, s.key.v.KeyState)
			}
			return true, "enabled"
		}))
}

// judgePolicy is what the policy comes to.
func (p Place) judgePolicy(s *settings, partition string) []Finding {
	bucket, objects := p.arns(partition)
	one := strings.TrimSuffix(objects, "*") + "x"
	d := s.policy.v
	fix := "shotglass bucket create --adopt --break-glass ARN " + p.Bucket
	not := func(actions texts, resource string) (bool, string) {
		missing, exempt := d.denies(actions, resource)
		if len(missing) > 0 {
			return false, "not denied: " + strings.Join(missing, ", ")
		}
		for _, e := range exempt {
			if strings.ContainsAny(e, "*?") {
				return false, fmt.Sprintf("denied to all but %q, which whoever can make a role can make fit", e)
			}
		}
		if len(exempt) == 0 {
			return true, "denied to all"
		}
		return true, fmt.Sprintf("denied to all but %q", exempt)
	}
	return []Finding{
		of(idTLS, s.policy.err, fix, func() (bool, string) {
			plain := func(c map[string]map[string]texts) bool { return only(c, "Bool", "aws:SecureTransport", "false") }
			if d.deniesWhen("s3:GetObject", one, plain) && d.deniesWhen("s3:PutObject", one, plain) && d.deniesWhen("s3:ListBucket", bucket, plain) {
				return true, "plain HTTP is denied"
			}
			return false, "plain HTTP is not denied"
		}),
		of(idDelete, s.policy.err, fix, func() (bool, string) { return not(destroyingMost, one) }),
		of(idSettings, s.policy.err, fix, func() (bool, string) { return not(weakeningMost, bucket) }),
		of(idConditional, s.policy.err, fix, func() (bool, string) {
			if d.deniesWhen("s3:PutObject", one, func(c map[string]map[string]texts) bool {
				create := map[string]map[string]texts{"Null": c["Null"]}
				if b, ok := c["Bool"]; ok {
					if !only(map[string]map[string]texts{"Bool": b}, "Bool", "s3:ObjectCreationOperation", "true") {
						return false
					}
					return len(c) == 2 && only(create, "Null", "s3:if-none-match", "true")
				}
				return only(c, "Null", "s3:if-none-match", "true")
			}) {
				return true, "objects are taken with If-None-Match only"
			}
			return false, "an object may be stored over another"
		}),
	}
}

// What must be denied for a bucket to pass; what is made denies more.
var (
	destroyingMost = texts{"s3:BypassGovernanceRetention", "s3:DeleteObject", "s3:DeleteObjectVersion"}
	weakeningMost  = texts{"s3:DeleteBucket", "s3:DeleteBucketPolicy", "s3:PutBucketObjectLockConfiguration", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock", "s3:PutBucketVersioning",
		"s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration"}
)

// only reports whether a condition is this one and no other.
func only(c map[string]map[string]texts, op, key, value string) bool {
	if len(c) != 1 || len(c[op]) != 1 {
		return false
	}
	for k, v := range c[op] {
		return strings.EqualFold(k, key) && len(v) == 1 && strings.EqualFold(v[0], value)
	}
	return false
}

// Good reports whether all findings pass.
func Good(list []Finding) bool {
	return !slices.ContainsFunc(list, func(f Finding) bool { return f.State != Pass })
}

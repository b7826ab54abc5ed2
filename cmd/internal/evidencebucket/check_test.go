package evidencebucket_test

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// A bucket as S3 makes it lacks nearly everything.
func TestCheckBare(t *testing.T) {
	w := newWorld(t)
	w.cloud.Account(account).Region("us-west-2").AddBucket(name) // found from another region
	states := w.states(name)
	for id, s := range states {
		if want := id == "exists" || id == "no-expiry"; (s == evidencebucket.Pass) != want || s == evidencebucket.Unknown {
			t.Errorf("%s: %s", id, s)
		}
	}
	if len(states) != 13 { // a key that there is not is not asked about
		t.Errorf("%d findings: %v", len(states), states)
	}
	for _, f := range w.check(name) {
		if f.State == evidencebucket.Fail && (f.Fix == "" || !strings.Contains(f.Fix, name)) {
			t.Errorf("no fix: %+v", f)
		}
	}
	if list := w.check("nowhere"); len(list) != 1 || list[0].State != evidencebucket.Fail || list[0].ID != "exists" {
		t.Errorf("%+v", list)
	}
}

// Each setting is found missing, and only that.
func TestCheckEach(t *testing.T) {
	w := newWorld(t)
	w.must(evidencebucket.Terms{})
	w.good(name)
	b := w.cloud.Bucket(name)
	key := w.cloud.Account(account).Region(region).Keys[0]
	cut := func(sid string) func() {
		return func() {
			b.Policy = strings.Replace(b.Policy, `"Sid":"`+sid+`","Effect":"Deny"`, `"Sid":"`+sid+`","Effect":"Allow"`, 1)
		}
	}
	set := func(what, old, new string) func() {
		return func() { b.Settings[what] = strings.Replace(b.Settings[what], old, new, 1) }
	}
	policy := func(old, new string) func() { return func() { b.Policy = strings.ReplaceAll(b.Policy, old, new) } }
	for _, tt := range []struct {
		what string
		do   func()
		want string // the findings that fail
	}{
		{"suspended", set("versioning", "Enabled", "Suspended"), "versioning"},
		{"no lock", set("object-lock", "<ObjectLockEnabled>Enabled", "<ObjectLockEnabled>Off"), "object-lock"},
		{"AES256", set("encryption", "<SSEAlgorithm>aws:kms", "<SSEAlgorithm>AES256"), "encryption"},
		{"no bucket key", set("encryption", "<BucketKeyEnabled>true", "<BucketKeyEnabled>false"), "bucket-key"},
		{"the key goes", func() { key.State = "PendingDeletion" }, "key"},
		{"AWS's key", func() { key.Manager = "AWS" }, "encryption"},
		{"one flag", set("publicAccessBlock", "<BlockPublicPolicy>true", "<BlockPublicPolicy>false"), "public-access"},
		{"ACLs", set("ownershipControls", "BucketOwnerEnforced", "ObjectWriter"), "ownership"},
		{"plain", cut("ShotglassTLSOnly"), "tls-only"},
		{"plain for some", policy(`{"Bool":{"aws:SecureTransport":"false"}}`, `{"Bool":{"aws:SecureTransport":"false"},"StringEquals":{"aws:x":"y"}}`), "tls-only"},
		{"deletes", cut("ShotglassNothingDeleted"), "deny-delete"},
		{"deletes by one action", policy(`"s3:DeleteObjectVersion",`, ``), "deny-delete"},
		{"settings", cut("ShotglassSettingsStay"), "deny-settings"},
		{"all are exempt", policy(glass, "*"), "deny-delete deny-settings"},
		{"many are exempt", policy(glass, "arn:aws:iam::"+account+":role/*"), "deny-delete deny-settings"},
		{"not everybody", policy(`"Principal":{"AWS":"*"},"Action":"s3:PutObject"`, `"Principal":{"AWS":"arn:aws:iam::1:root"},"Action":"s3:PutObject"`), "no-overwrite"},
		{"a part of it", policy(`"arn:aws:s3:::evidence/*"`, `"arn:aws:s3:::evidence/a/*"`), "tls-only deny-delete no-overwrite"},
		{"overwrites", cut("ShotglassNothingOverwritten"), "no-overwrite"},
		{"off", set("lifecycle", "Enabled", "Disabled"), "stale-uploads"},
		{"few days", set("lifecycle", ">30<", ">3<"), "stale-uploads"},
		{"expires", set("lifecycle", "<AbortIncompleteMultipartUpload>", "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload>"), "no-expiry"},
		{"no logs", func() { b.Settings["logging"] = "" }, "access-log"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			settings, text, k := map[string]string{}, "", *key
			w.cloud.Edit(func() {
				for k, v := range b.Settings {
					settings[k] = v
				}
				text = b.Policy
				tt.do()
			})
			var fails []string
			for _, f := range w.check(name) {
				switch f.State {
				case evidencebucket.Fail:
					fails = append(fails, f.ID)
				case evidencebucket.Pass:
				default:
					t.Errorf("%+v", f)
				}
			}
			if got := strings.Join(fails, " "); got != tt.want {
				t.Errorf("failed: %q, want %q", got, tt.want)
			}
			w.cloud.Edit(func() { b.Settings, b.Policy, *key = settings, text, k })
		})
	}
	w.good(name)
}

// What may not be read is unknown, whatever it is; what a server does not know is not supported. Neither passes.
func TestCheckUnknown(t *testing.T) {
	w := newWorld(t)
	w.must(evidencebucket.Terms{})
	w.cloud.Edit(func() {
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if strings.HasPrefix(c.Operation, "Get") || c.Operation == "DescribeKey" || c.Operation == "HeadBucket" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	list := w.check(name)
	if len(list) < 12 || evidencebucket.Good(list) {
		t.Errorf("%d findings", len(list))
	}
	for _, f := range list {
		if f.State != evidencebucket.Unknown || !strings.Contains(f.Have, "AccessDenied") && f.ID != "exists" {
			t.Errorf("%+v", f)
		}
	}
}

func TestCheckOtherServers(t *testing.T) {
	w := newWorld(t)
	w.must(evidencebucket.Terms{})
	b := w.cloud.Bucket(name)
	w.cloud.Edit(func() { b.Unsupported = []string{"object-lock", "encryption", "logging", "ownershipControls"} })
	s := w.states(name)
	for _, id := range []string{"object-lock", "encryption", "access-log", "ownership"} {
		if s[id] != evidencebucket.NotSupported {
			t.Errorf("%s: %s", id, s[id])
		}
	}
	if _, asked := s["key"]; asked || s["versioning"] != evidencebucket.Pass {
		t.Errorf("%v", s)
	}
	w.cloud.Edit(func() { b.Unsupported, b.Policy = nil, "{" })
	if s := w.states(name); s["tls-only"] != evidencebucket.Unknown || s["deny-delete"] != evidencebucket.Unknown {
		t.Errorf("a policy that is none: %v", s)
	}
}

func TestDefaultKey(t *testing.T) {
	w := newWorld(t)
	w.must(evidencebucket.Terms{})
	bare := w.cloud.Account(account).Region(region).AddBucket("bare")
	key := w.cloud.Account(account).Region(region).Keys[0].ARN
	ask := func(bucket string) (string, error) {
		return evidencebucket.DefaultKey(t.Context(), w.cloud.Config(session, region), evidencebucket.Place{Bucket: bucket})
	}
	for bucket, want := range map[string]string{name: key, "bare": ""} {
		if got, err := ask(bucket); err != nil || got != want {
			t.Errorf("%s: %q, %v", bucket, got, err)
		}
	}
	w.cloud.Edit(func() { delete(bare.Settings, "encryption") })
	if got, err := ask("bare"); err != nil || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ask("nowhere"); err == nil {
		t.Errorf("%q", got)
	}
}

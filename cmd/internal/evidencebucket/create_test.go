package evidencebucket_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func TestCreate(t *testing.T) {
	for _, where := range []string{region, "us-east-1"} {
		w := newWorld(t)
		plan := w.must(evidencebucket.Terms{Region: where, LockMode: types.ObjectLockRetentionModeGovernance, RetainDays: 90, Tags: map[string]string{"case": "42"}})
		if plan.Exists || plan.Account != account || plan.Region != where {
			t.Errorf("%+v", plan)
		}
		w.good(name)
		b := w.cloud.Bucket(name)
		if b.Region != where || !strings.Contains(b.Settings["tagging"], "<Key>case</Key><Value>42</Value>") || !strings.Contains(b.Settings["object-lock"], "<Days>90</Days>") {
			t.Errorf("%+v", b)
		}
		// The policy is the last thing, of each bucket: after it, not all can go on.
		calls := w.writes()
		if calls[len(calls)-1] != "PutBucketPolicy" {
			t.Errorf("%q", calls)
		}
		w.cloud.Reset()
		if again := w.must(evidencebucket.Terms{Region: where}); len(again.Steps) != 0 || !again.Exists || len(w.writes()) != 0 {
			t.Errorf("again: %q, %q", ids(again), w.writes())
		}
	}
}

// Killed at each change, before or after its effect, and run again: the same bucket, and one key.
func TestKilledAndRunAgain(t *testing.T) {
	w := newWorld(t)
	w.must(evidencebucket.Terms{})
	total := len(w.writes())
	if total < 15 {
		t.Fatalf("%d changes", total)
	}
	for n := 1; n <= total; n++ {
		for _, after := range []bool{false, true} {
			w := newWorld(t)
			w.cloud.PageSize = 1
			w.cloud.Account(account).Region(region).AddKey("alias/other")
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				return awsfake.Fault{Crash: c.Write == n, After: after}
			}
			_, err := w.create(evidencebucket.Terms{})
			var half *evidencebucket.HalfMadeError
			if !errors.As(err, &half) || half.Bucket != name {
				t.Fatalf("change %d: %v", n, err)
			}
			w.cloud.Edit(func() { w.cloud.Fault = nil })
			w.cloud.Revive()
			w.must(evidencebucket.Terms{})
			w.good(name)
			if keys := w.cloud.Account(account).Region(region).Keys; len(keys) != 2 || !slices.Equal(keys[1].Aliases, []string{"alias/shotglass-evidence"}) {
				t.Errorf("change %d, after %v: %d keys", n, after, len(keys))
			}
		}
	}
}

func TestHalfMade(t *testing.T) {
	w := newWorld(t)
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Operation == "PutBucketLogging" {
			return awsfake.Fault{Error: awsfake.Denied(c)}
		}
		return awsfake.Fault{}
	}
	_, err := w.create(evidencebucket.Terms{})
	var half *evidencebucket.HalfMadeError
	if !errors.As(err, &half) || half.Failed != "evidence: access-log" || !has(half.Done, "evidence: encryption") || !slices.Equal(half.Left, []string{"evidence: policy"}) {
		t.Fatalf("%+v", err)
	}
	if !strings.Contains(half.Hint(), "bucket-policy.json") || !strings.Contains(err.Error(), "not done: evidence: policy") {
		t.Errorf("%v; %s", err, half.Hint())
	}
}

// What was set is read late: it is waited for, and not set again.
func TestEventualConsistency(t *testing.T) {
	w := newWorld(t)
	b := w.cloud.Account(account).Region(region).AddBucket(name)
	w.cloud.Edit(func() { b.Lag = 3 })
	w.must(evidencebucket.Terms{Adopt: true})
	w.good(name)
	seen := map[string]int{}
	for _, c := range w.writes() {
		if c != "PutBucketTagging" && c != "PutPublicAccessBlock" && c != "PutBucketVersioning" && c != "PutBucketOwnershipControls" && c != "PutBucketPolicy" { // also of the bucket for logs
			if seen[c]++; seen[c] > 1 {
				t.Errorf("%s twice", c)
			}
		}
	}
}

func TestRefusals(t *testing.T) {
	other := "arn:aws:iam::444455556666:role/other"
	for _, tt := range []struct {
		what  string
		terms evidencebucket.Terms
		setup func(w *world)
		want  string
	}{
		{"nobody to break the glass", evidencebucket.Terms{BreakGlass: []string{}}, nil, "nobody is named"},
		{"the creator is locked out", evidencebucket.Terms{BreakGlass: []string{glass}}, nil, "none of --break-glass"},
		{"a wrong path", evidencebucket.Terms{BreakGlass: []string{"arn:aws:iam::" + account + ":role/creator"}}, nil, "its ARN is " + creator},
		{"a role that there is not", evidencebucket.Terms{BreakGlass: []string{creator, "arn:aws:iam::" + account + ":role/typo"}}, nil, "there is no role"},
		{"a pattern", evidencebucket.Terms{BreakGlass: []string{"arn:aws:iam::" + account + ":role/*"}}, nil, "want the ARN of one role"},
		{"a session", evidencebucket.Terms{BreakGlass: []string{session}}, nil, "want the ARN of one role"},
		{"another account's role", evidencebucket.Terms{BreakGlass: []string{creator, other}}, nil, "cannot be looked up"},
		{"not ours", evidencebucket.Terms{}, func(w *world) { w.cloud.Account(account).Region(region).AddBucket(name) }, "was not made by shotglass"},
		{"another's", evidencebucket.Terms{Adopt: true}, func(w *world) { w.cloud.Account("444455556666").Region(region).AddBucket(name) }, "of another account"},
		{"the logs' bucket is not ours", evidencebucket.Terms{}, func(w *world) { w.cloud.Account(account).Region(region).AddBucket(name + "-logs") }, "was not made by shotglass"},
		{"elsewhere", evidencebucket.Terms{Adopt: true}, func(w *world) { w.cloud.Account(account).Region("us-west-2").AddBucket(name) }, "is in us-west-2"},
		{"few days", evidencebucket.Terms{AbortDays: 3}, nil, "7 days at least"},
		{"a dot", evidencebucket.Terms{Bucket: "a.b"}, nil, "a dot"},
		{"too long for logs", evidencebucket.Terms{Bucket: strings.Repeat("a", 60)}, nil, "bucket for access logs"},
		{"AWS's key", evidencebucket.Terms{KMSKey: "alias/aws/s3"}, func(w *world) {
			w.cloud.Account(account).Region(region).AddKey("alias/aws/s3").Manager = "AWS"
		}, "is a key of AWS"},
		{"a key that goes", evidencebucket.Terms{KMSKey: "alias/k"}, func(w *world) {
			w.cloud.Account(account).Region(region).AddKey("alias/k").State = "PendingDeletion"
		}, "is PendingDeletion"},
		{"no key", evidencebucket.Terms{KMSKey: "alias/none"}, nil, "does not exist"},
		{"logs into itself", evidencebucket.Terms{LogBucket: name}, nil, "logs its own logs"},
		{"no bucket for logs", evidencebucket.Terms{LogBucket: "nowhere"}, nil, "no bucket nowhere"},
		{"unreadable", evidencebucket.Terms{Adopt: true}, func(w *world) {
			w.cloud.Account(account).Region(region).AddBucket(name)
			w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				if c.Operation == "GetBucketPolicy" {
					return awsfake.Fault{Error: awsfake.Denied(c)}
				}
				return awsfake.Fault{}
			}
		}, "must be known before anything is changed: policy"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			w := newWorld(t)
			if tt.setup != nil {
				tt.setup(w)
			}
			if _, err := w.create(tt.terms); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if done := w.writes(); len(done) > 0 {
				t.Errorf("changed: %q", done)
			}
		})
	}
}

// Who is told by --accept-lock-out that it is meant is locked out, and nobody else is; reading goes on.
func TestLockOut(t *testing.T) {
	w := newWorld(t)
	plan := w.must(evidencebucket.Terms{BreakGlass: []string{glass}, AcceptLockOut: true})
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "you cannot change") {
		t.Errorf("%q", plan.Notes)
	}
	w.good(name)
	for who, denied := range map[string]bool{session: true, "arn:aws:sts::" + account + ":assumed-role/break-glass/x": false, "arn:aws:iam::" + account + ":root": false} {
		api := s3.NewFromConfig(w.cloud.Config(who, region))
		policy := w.cloud.Bucket(name).Policy
		b := name
		_, err := api.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: &b, Policy: &policy})
		if got := awsconfig.Code(err) == "AccessDenied"; got != denied || !denied && err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
	key := w.cloud.Account(account).Region(region).Keys[0]
	if !strings.Contains(key.Policy, "kms:ScheduleKeyDeletion") || !strings.Contains(key.Policy, glass) || strings.Contains(key.Policy, creator) {
		t.Errorf("%s", key.Policy)
	}
}

// What is set already is never loosened, nor replaced.
func TestNothingIsLoosened(t *testing.T) {
	w := newWorld(t)
	r := w.cloud.Account(account).Region(region)
	key := r.AddKey("alias/theirs")
	r.AddBucket("their-logs").Policy = `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::their-logs/*"}}`
	b := r.AddBucket(name)
	own := `{"Sid":"Own","Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::evidence/secret/*","Condition":{"Odd":{"aws:x":"y"}}}`
	settings := ""
	w.cloud.Edit(func() {
		b.Policy = `{"Version":"2012-10-17","Statement":[` + own + `]}`
		b.Settings["versioning"] = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
		b.Settings["object-lock"] = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>"
		b.Settings["encryption"] = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms:dsse</SSEAlgorithm><KMSMasterKeyID>" + key.ARN + "</KMSMasterKeyID></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled></Rule></ServerSideEncryptionConfiguration>"
		b.Settings["lifecycle"] = "<LifecycleConfiguration><Rule><ID>theirs</ID><Status>Enabled</Status><Filter><Prefix>tmp/</Prefix></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>60</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule></LifecycleConfiguration>"
		b.Settings["logging"] = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>their-logs</TargetBucket><TargetPrefix>x/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>"
		settings = b.Settings["object-lock"] + b.Settings["encryption"] + b.Settings["logging"]
	})
	other := r.AddKey("alias/other")
	plan := w.must(evidencebucket.Terms{Adopt: true, KMSKey: "alias/other", LogBucket: "elsewhere", LockMode: types.ObjectLockRetentionModeGovernance, RetainDays: 7})
	w.good(name)
	if now := b.Settings["object-lock"] + b.Settings["encryption"] + b.Settings["logging"]; now != settings {
		t.Errorf("changed: %s", now)
	}
	if !strings.Contains(b.Policy, own) || !strings.Contains(b.Settings["lifecycle"], "theirs") || len(other.Tags) != 0 {
		t.Errorf("lost: %s %s", b.Policy, b.Settings["lifecycle"])
	}
	notes := strings.Join(plan.Notes, "\n")
	for _, want := range []string{"Object Lock stays as it is: on, by default compliance for 1 years", "encryption stays under", "accesses stay logged to \"their-logs\""} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note %q in\n%s", want, notes)
		}
	}

	// A statement of ours that says something else stays, and a rule of few days.
	w = newWorld(t)
	w.must(evidencebucket.Terms{BreakGlass: []string{creator}})
	b = w.cloud.Bucket(name)
	w.cloud.Edit(func() { b.Settings["lifecycle"] = strings.Replace(b.Settings["lifecycle"], ">30<", ">2<", 1) })
	before := b.Policy
	plan = w.must(evidencebucket.Terms{})
	if len(plan.Steps) != 0 || b.Policy != before || len(plan.Notes) != 3 {
		t.Errorf("%q %q", ids(plan), plan.Notes)
	}
	if s := w.states(name); s["stale-uploads"] != evidencebucket.Fail {
		t.Errorf("%v", s)
	}
}

// Retention is lengthened, and not shortened.
func TestRetention(t *testing.T) {
	w := newWorld(t)
	governance := types.ObjectLockRetentionModeGovernance
	for _, step := range []struct{ ask, want int32 }{{0, 0}, {10, 10}, {5, 10}, {0, 10}, {20, 20}} {
		w.must(evidencebucket.Terms{LockMode: governance, RetainDays: step.ask})
		want := fmt.Sprintf("<Days>%d</Days>", step.want)
		if got := w.cloud.Bucket(name).Settings["object-lock"]; step.want == 0 && strings.Contains(got, "Days") || step.want > 0 && !strings.Contains(got, want) {
			t.Errorf("asked %d: %s", step.ask, got)
		}
	}
	w.must(evidencebucket.Terms{LockMode: types.ObjectLockRetentionModeCompliance, RetainDays: 1})
	if got := w.cloud.Bucket(name).Settings["object-lock"]; !strings.Contains(got, "COMPLIANCE") || !strings.Contains(got, "<Days>20</Days>") {
		t.Errorf("%s", got)
	}
}

// TestPolicy makes and checks buckets with docs/bucket-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	w.cloud.Account(account).AddUser("/", "emergency")
	w.cloud.Account(account).Region(region).AddKey("alias/other")
	exact := w.cloud.RestrictTo(t, "../../../docs/bucket-policy.json", session, creator)
	w.must(evidencebucket.Terms{BreakGlass: []string{creator, "arn:aws:iam::" + account + ":user/emergency"}, LockMode: types.ObjectLockRetentionModeGovernance, RetainDays: 1})
	adopted := w.cloud.Account(account).Region(region).AddBucket("adopted")
	w.must(evidencebucket.Terms{Bucket: "adopted", Adopt: true, KMSKey: w.cloud.Account(account).Region(region).Keys[0].ARN})
	exact("Bucket")
	w.cloud.Reset()
	w.good(adopted.Name)
	exact("BucketCheck")
	if done := w.writes(); len(done) > 0 {
		t.Errorf("check changed: %q", done)
	}
}

package ready_test

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
)

// Whose the evidence bucket is, as far as it can be known from each account.
func TestEvidenceAccount(t *testing.T) {
	for _, tt := range []struct {
		name  string
		do    func(*world, *ready.Auditor)
		want  []ready.State // of this account, and of the other
		says  string
		cause ready.Cause
	}{
		{"no bucket is named", func(_ *world, a *ready.Auditor) { a.Bucket = "" }, []ready.State{ready.NotApplicable}, "none was named: --bucket", ""},
		{"no forensic account is named", func(_ *world, a *ready.Auditor) { a.Forensic = "" }, []ready.State{ready.Pass}, "whose it is was not asked", ""},
		{"of the forensic account", func(*world, *ready.Auditor) {}, []ready.State{ready.Pass}, "it is of the forensic account", ""},
		{"seen from another region", func(_ *world, a *ready.Auditor) { a.Regions = []string{away} }, []ready.State{ready.Pass}, "it is of the forensic account", ""},
		{"the forensic account alone", func(_ *world, a *ready.Auditor) { a.Accounts = []string{other} }, []ready.State{ready.Pass}, "this is the forensic account", ""},
		{"both", func(_ *world, a *ready.Auditor) { a.Accounts = []string{own, other} }, []ready.State{ready.Pass, ready.Pass}, "", ""},
		{"a third one", func(w *world, a *ready.Auditor) {
			a.Accounts, w.cloud.Bucket(evidence).Account = []string{own, other}, "777788889999"
		},
			[]ready.State{ready.Fail, ready.Pass}, "it is not of the forensic account, which is this one", ""},
		{"a third one, seen from elsewhere", func(w *world, _ *ready.Auditor) { w.cloud.Bucket(evidence).Account = "777788889999" },
			[]ready.State{ready.Fail}, "it is not of the forensic account " + other + ", nor of this one", ""},
		{"both, and not to be listed from elsewhere", func(w *world, a *ready.Auditor) {
			a.Accounts, w.cloud.Bucket(evidence).Policy = []string{own, other}, ""
		}, []ready.State{ready.Pass, ready.Pass}, "", ""},
		{"this one", func(w *world, a *ready.Auditor) {
			a.Accounts, w.cloud.Bucket(evidence).Account = []string{own, other}, own
		}, []ready.State{ready.Fail, ready.Fail}, "it is of this account", ""},
		{"no such bucket", func(_ *world, a *ready.Auditor) { a.Bucket = "nobodys" }, []ready.State{ready.NotApplicable}, "there is no bucket of this name", ""},
		{"no such bucket, nor a forensic account", func(_ *world, a *ready.Auditor) { a.Bucket, a.Forensic = "nobodys", "" }, []ready.State{ready.NotApplicable}, "there is no bucket of this name", ""},
		{"not to be listed", func(w *world, _ *ready.Auditor) { w.cloud.Bucket(evidence).Policy = "" }, []ready.State{ready.Unknown}, "it is not of this account; whether it is of the forensic one: ", ready.Denied},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := w.auditor(w.check("evidence-account"))
			tt.do(w, a)
			r := w.run(a)
			if len(r.Results) != len(tt.want) || !strings.Contains(r.Results[0].Detail, tt.says) || r.Results[0].Cause != tt.cause {
				t.Fatalf("want %v, %q:\n%s", tt.want, tt.says, describe(r))
			}
			for n, x := range r.Results { // the worst first, else by account
				if x.State != tt.want[n] {
					t.Errorf("want %v:\n%s", tt.want, describe(r))
				}
			}
		})
	}
}

// The forensic account looks at the bucket if it is asked at all: S3 shows a bucket's policy to no other, and from there it is not known.
func TestWhoLooksAtTheBucket(t *testing.T) {
	w := newWorld(t)
	w.makeEvidence()
	a := w.auditor(w.check("evidence-bucket"), w.check("nitro"))
	a.Checks, a.Accounts = a.Checks[:1], []string{own, other}
	if r := w.run(a); len(of(r, ready.Unknown))+len(of(r, ready.Fail)) > 0 || len(of(r, ready.Pass)) < 10 || of(r, ready.Pass)[0].Place.Account != other {
		t.Error(describe(r))
	}
	a.Accounts = []string{own}
	r := w.run(a)
	list := of(r, ready.Unknown)
	if len(list) != 4 || !strings.Contains(list[0].Detail, "can be read from its own account alone") {
		t.Error(describe(r))
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const responderARN = "arn:aws:iam::111122223333:role/ir/responder"

// A cloudTest is an account with a user and a role, and this program as a responder in it.
type cloudTest struct {
	*testing.T
	cloud *awsfake.Cloud
	alice *awsfake.User
	key   *awsfake.Credential
	web   *awsfake.Role
	dir   string // of journals
	out   string // of evidence
	// manifest, if set, is what follow captures.
	manifest *acquire.Manifest
}

func newCloudTest(t *testing.T) *cloudTest {
	c := &cloudTest{T: t, cloud: awsfake.New(), dir: t.TempDir()}
	t.Cleanup(c.cloud.Close)
	a := c.cloud.Account("111122223333")
	c.alice = a.AddUser("/team/", "alice")
	c.key = c.alice.AddKey("Active")
	c.web = a.AddRole("/service/", "web")
	a.AddRole("/ir/", "responder")
	for _, kv := range c.cloud.Env(responderARN, "eu-west-1") {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	t.Setenv("SHOTGLASS_JOURNAL", c.dir)
	t.Setenv("SHOTGLASS_CASE", "case-42")
	t.Setenv("SHOTGLASS_CONTAIN_WATCH", "0s")
	return c
}

func (c *cloudTest) run(want int, args ...string) (stdout, stderr string) {
	c.Helper()
	var out, errs bytes.Buffer
	if code := run(c.Context(), append([]string{"shotglass"}, args...), strings.NewReader(""), &out, &errs); code != want {
		c.Errorf("%q: exit code %d, want %d\n%s%s", args, code, want, &out, &errs)
	}
	return out.String(), errs.String()
}

func (c *cloudTest) has(what, s string, want ...string) {
	c.Helper()
	for _, w := range want {
		if !strings.Contains(s, w) {
			c.Errorf("%s has no %q:\n%s", what, w, s)
		}
	}
}

// locked says whether alice and the role are denied everything.
func (c *cloudTest) locked() (alice, key, web bool) {
	c.cloud.Edit(func() {
		alice, web = len(c.alice.Attached) > 0, len(c.web.Attached) > 0
		key = c.key.Status == "Inactive"
	})
	return
}

func (c *cloudTest) want(alice, key, web bool) {
	c.Helper()
	if a, k, w := c.locked(); a != alice || k != key || w != web {
		c.Errorf("locked: alice %v, her key %v, the role %v; want %v, %v, %v", a, k, w, alice, key, web)
	}
}

func TestContainStatusRelease(t *testing.T) {
	c := newCloudTest(t)
	const user, role = "arn:aws:iam::111122223333:user/team/alice", "role/web"
	out, _ := c.run(exitOK, "contain", "--dry-run", "--mode", "deny", user, role)
	c.has("the plan", out, user, "lock", "as "+responderARN, "stays after release", "risk: ", "never tried on AWS")
	c.want(false, false, false)
	if files, _ := os.ReadDir(c.dir); len(files) > 0 {
		t.Errorf("a dry run left %v", files)
	}

	out, _ = c.run(exitOK, "contain", "--yes", "--mode", "deny", user, role)
	c.has("the result", out, user+"\theld\t", "role/service/web\theld\t")
	c.want(true, true, true)
	c.run(exitOK, "contain", "--yes", "--mode", "deny", user) // again: verifies
	out, _ = c.run(exitOK, "status")
	c.has("the status", out, user+"\theld\t", "role/service/web\theld\t")

	// Somebody opens the role again.
	c.cloud.Edit(func() { clear(c.web.Policies); c.web.Attached = nil })
	_, errs := c.run(exitContainment, "status", role)
	c.has("the status", errs, "undone", "NOT CONTAINED")
	c.run(exitOK, "contain", "--yes", "--resume", role)
	c.want(true, true, true)

	out, _ = c.run(exitOK, "release", user, role)
	c.has("the result", out, user+"\treleased\t")
	c.want(false, true, false)
	_, errs = c.run(exitFailed, "contain", "--resume", user) // refused before anything is asked
	c.has("the refusal", errs, "its last run is a release")
	if strings.Contains(errs, "terminal") || strings.Contains(errs, "lock ") {
		t.Errorf("a plan was shown, or asked about:\n%s", errs)
	}
	c.run(exitOK, "release", "--reactivate-keys", user)
	c.want(false, false, false)
	out, _ = c.run(exitOK, "status", user)
	c.has("the status", out, user+"\tfree\t")
}

// The JSON of each command is one object a line, the last a summary.
func TestContainJSON(t *testing.T) {
	c := newCloudTest(t)
	for _, args := range [][]string{{"contain", "--json", "--yes", "role/web"}, {"status", "--json"}, {"release", "--json", "role/web"}} {
		out, _ := c.run(exitOK, args...)
		var kinds []string
		for line := range strings.Lines(out) {
			var m struct {
				V       int    `json:"v"`
				Type    string `json:"message_type"`
				Name    string `json:"name"`
				Outcome string `json:"outcome"`
				Code    *int   `json:"code"`
			}
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.V != 1 {
				t.Fatalf("%q: %v", line, err)
			}
			kinds = append(kinds, m.Type)
			if m.Type == "containment" && (m.Name != "arn:aws:iam::111122223333:role/service/web" || m.Outcome == "") {
				t.Errorf("%s", line)
			}
		}
		if got := strings.Join(kinds, " "); got != map[string]string{"contain": "containment_plan containment summary", "status": "containment summary", "release": "containment summary"}[args[0]] {
			t.Errorf("%s: %s", args[0], got)
		}
	}
}

// What is refused, and what is asked for wrongly, changes nothing.
func TestContainRefuses(t *testing.T) {
	c := newCloudTest(t)
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{exitUsage, "no target", []string{"contain", "--yes"}},
		{exitUsage, "is no target", []string{"contain", "--yes", "web"}},
		{exitUsage, "named twice", []string{"contain", "--yes", "role/web", "role/web"}},
		{exitUsage, "want one of revoke, deny, strict", []string{"contain", "--yes", "--mode", "kill", "role/web"}},
		{exitUsage, "the stages are", []string{"contain", "--yes", "--without", "everything", "role/web"}},
		{exitUsage, "is for a role", []string{"contain", "--yes", "--aws-external-id", "x", "role/web"}},
		{exitFailed, "what you are calling as", []string{"contain", "--yes", responderARN}},
		{exitFailed, "break-glass", []string{"contain", "--yes", "--break-glass", "role/web", "role/web", "user/alice"}},
		{exitFailed, "role/none", []string{"contain", "--yes", "role/none", "user/alice"}},
		{exitFailed, "444455556666", []string{"contain", "--yes", "arn:aws:iam::444455556666:role/web"}},
		{exitFailed, "no journal", []string{"contain", "--yes", "--resume", "role/web"}},
		{exitUsage, "no journal", []string{"status"}},
		{exitUsage, "no target", []string{"release"}},
		{exitUsage, "has no journal", []string{"release", "role/web"}},
		{exitUsage, "without its folder", []string{"release", "a/b-containment.jsonl"}},
	} {
		_, errs := c.run(tt.code, tt.args...)
		c.has(strings.Join(tt.args, " "), errs, tt.want)
	}
	c.want(false, false, false)
}

// A permission that is missing is found before anything is changed; with --despite-denied what can be done is done.
func TestContainDenied(t *testing.T) {
	c := newCloudTest(t)
	if err := c.cloud.Restrict(responderARN, []byte(`{"Statement":[{"Effect":"Allow","Action":["iam:Get*","iam:List*","iam:Simulate*","sts:*","iam:PutUserPolicy","iam:AttachUserPolicy"],"Resource":"*"}]}`)); err != nil {
		t.Fatal(err)
	}
	_, errs := c.run(exitFailed, "contain", "--yes", "user/alice")
	c.has("the refusal", errs, "permission missing: iam:UpdateAccessKey", "--despite-denied")
	c.want(false, false, false)
	out, _ := c.run(exitContainment, "contain", "--yes", "--despite-denied", "user/alice")
	c.has("the result", out, "\tpartial\t")
	c.want(true, false, false)
}

// A temporary key is traced to whom it was issued to, in whichever region of the account it was used, and a quarantine tag to the policy that
// acts on it.
func TestContainTraces(t *testing.T) {
	c := newCloudTest(t)
	far := c.cloud.Account("111122223333").Region("ap-south-1")
	c.cloud.Edit(func() {
		far.Trail = []awsfake.TrailEvent{{AccessKey: "ASIAIOSFODNN7EXAMPLE", JSON: `{"eventName":"ListBuckets","userIdentity":{"type":"AssumedRole",
			"arn":"arn:aws:sts::111122223333:assumed-role/web/x","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/service/web"}}}}`}}
		c.cloud.Organization = &awsfake.Organization{Management: "111122223333"}
	})
	_, errs := c.run(exitFailed, "contain", "--yes", "ASIAIOSFODNN7EXAMPLE")
	c.has("the refusal", errs, "temporary key", "contain arn:aws:iam::111122223333:role/service/web")
	c.want(false, false, false)
	out, _ := c.run(exitOK, "contain", "--dry-run", "--quarantine-tag", "ms-ir-quarantine", "user/alice")
	c.has("the plan", out, "scp-none", "management account")
}

// A journal that was altered releases nothing.
func TestReleaseAltered(t *testing.T) {
	c := newCloudTest(t)
	c.run(exitOK, "contain", "--yes", "--mode", "deny", "role/web")
	files, err := filepath.Glob(c.dir + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(b, []byte(`"prior":null`), []byte(`"prior":true`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := c.run(exitFailed, "release", "role/web")
	c.has("the refusal", errs, "chain of digests is broken")
	c.want(false, false, true)
}

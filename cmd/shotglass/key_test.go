package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const keySession = "ASIAAAAAAAAAAAAAAAA7"

func init() { testOnlyPace = time.Millisecond }

// stolenKey has alice's key used by a thief, who takes the role web, and makes a user of its own.
func stolenKey(c *cloudTest) {
	a := c.cloud.Account("111122223333")
	us, far := a.Region("us-east-1"), a.Region("ap-south-1")
	backup := a.AddUser("/", "backup")
	event := func(id, at, name, service, region, by, rest string) awsfake.TrailEvent {
		return awsfake.TrailEvent{JSON: `{"eventID":"` + id + `","eventTime":"` + time.Now().UTC().AddDate(0, 0, -1).Format(time.DateOnly) + `T0` + at + `:00Z","eventName":"` + name + `","eventSource":"` + service + `.amazonaws.com","awsRegion":"` + region + `",
			"recipientAccountId":"111122223333","sourceIPAddress":"198.51.100.7","userAgent":"evil\u001b[2J","userIdentity":` + by + `,` + rest + `}`}
	}
	alice := `{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/alice","userName":"alice","accessKeyId":"` + c.key.ID + `"}`
	web := `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/web/x","accessKeyId":"` + keySession + `","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::111122223333:role/service/web"}}}`
	c.cloud.Edit(func() {
		c.alice.Attached, c.key.Used = []string{"arn:aws:iam::aws:policy/AdministratorAccess"}, awsfake.Start
		us.Trail = []awsfake.TrailEvent{
			event("3", "1:03", "CreateUser", "iam", "us-east-1", alice, `"requestParameters":{"userName":"backup"},"responseElements":{"user":{"arn":"`+backup.ARN+`"}}`),
			event("2", "1:02", "AssumeRole", "sts", "us-east-1", alice, `"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/service/web"},"responseElements":{"credentials":{"accessKeyId":"`+keySession+`"}}`),
			event("1", "1:01", "ListUsers", "iam", "us-east-1", alice, `"errorCode":"AccessDenied"`),
		}
		us.Trail[1].Resources = []string{keySession}
		far.Trail = []awsfake.TrailEvent{event("4", "1:04", "StopLogging", "cloudtrail", "ap-south-1", web, `"requestParameters":{"name":"<b>main</b>"}`)}
	})
}

// A key is shown with its owner, the worst first and what it made; hostile texts are quoted, and gaps make the exit code.
func TestKey(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	out, _ := c.run(exitOK, "key", c.key.ID)
	c.has("the result", out, c.key.ID+": access key of arn:aws:iam::111122223333:user/team/alice", "EVERYTHING: AdministratorAccess", "Active, made", "did 4 calls", "1 denied",
		"hides     cloudtrail:StopLogging", "persists  iam:CreateUser", "user/backup of 111122223333", "made by CreateUser of "+c.key.ID, keySession+" ", "iam:ListUsers AccessDenied", `"evil\x1b[2J"`, "management events only")
	if strings.Contains(out, "\x1b") || strings.Index(out, "StopLogging") > strings.Index(out, "iam:CreateUser") || strings.Contains(out, "iam:ListUsers  AccessDenied") {
		t.Error(out)
	}
	out, _ = c.run(exitPartial, "key", "--timeline", "--depth", "0", "user/alice") // those that were not followed are named
	c.has("the timeline", out, "EVERY EVENT", "iam:ListUsers")

	c.cloud.Edit(func() {
		c.cloud.Fault = func(call *awsfake.Call) awsfake.Fault {
			if call.Region == "ap-south-1" {
				return awsfake.Fault{Error: awsfake.Denied(call)}
			}
			return awsfake.Fault{}
		}
	})
	out, errs := c.run(exitPartial, "key", "--json", "--depth", "1", c.key.ID)
	c.has("the story", errs, "not looked at: events of "+c.key.ID+" in ap-south-1")
	var kinds []string
	for line := range strings.Lines(out) {
		var m struct {
			Type string `json:"message_type"`
			Code int    `json:"code"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if kinds = append(kinds, m.Type); m.Type == "summary" && m.Code != exitPartial {
			t.Error(line)
		}
	}
	if got := strings.Join(kinds, " "); got != "key key_event key_event key_event summary" {
		t.Error(got)
	}
	out, _ = c.run(exitFailed, "key", "ASIAZZZZZZZZZZZZZZZZ")
	c.has("the result", out, "WHAT IT DID IS NOT KNOWN") // nothing is called harmless that was not looked at
}

// The key's owner is contained, and what was made if that is asked for; a role by the session that was taken.
func TestKeyContain(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	c.run(exitPartial, "key", "--depth", "0", "--contain", "--dry-run", c.key.ID)
	for _, u := range c.cloud.Calls() {
		if u.Writes {
			t.Fatalf("a dry run called %s", u.Action)
		}
	}
	_, errs := c.run(exitUsage, "key", "--dry-run", c.key.ID)
	c.has("the refusal", errs, "--dry-run is for --contain")
	out, _ := c.run(exitPartial, "key", "--contain", "--yes", "--depth", "0", c.key.ID)
	c.has("the result", out, "user/team/alice\theld\t")
	c.want(true, true, false)
	out, _ = c.run(exitOK, "key", "--json", "--case", "made", "--contain", "--contain-made", "--yes", c.key.ID)
	c.has("the result", out, `"name":"arn:aws:iam::111122223333:user/backup"`, `"name":"arn:aws:iam::111122223333:role/service/web"`, `"message_type":"summary","code":0,"targets":3`)
	c.want(true, true, true)
	out, _ = c.run(exitOK, "key", "--depth", "0", "--case", "session", "--contain", "--yes", keySession)
	c.has("the result", out, "temporary key of arn:aws:iam::111122223333:role/service/web", "issued by", "role/service/web\theld\t")
	_, errs = c.run(exitContainment, "key", "--contain", "--yes", "ASIAZZZZZZZZZZZZZZZZ")
	c.has("the refusal", errs, "NOT CONTAINED")
}

// What nobody knows is not called harmless, and how far was looked is said with it.
func TestKeyNothing(t *testing.T) {
	c := newCloudTest(t)
	for _, name := range []string{"user/typo", "role/typo", "AKIATYPOTYPOTYPOTYPO"} {
		out, _ := c.run(exitFailed, "key", name)
		c.has("the result", out, "IAM HAS NO SUCH", "or never was", "eu-west-1")
	}
	c.cloud.Edit(func() {
		c.cloud.Fault = func(call *awsfake.Call) awsfake.Fault {
			if call.Operation == "LookupEvents" {
				return awsfake.Fault{Error: awsfake.Denied(call)}
			}
			return awsfake.Fault{}
		}
	})
	out, _ := c.run(exitFailed, "key", "AKIATYPOTYPOTYPOTYPO")
	c.has("the result", out, "IAM HAS NO SUCH KEY, and no call of it was found, though not all could be looked at")
	c.cloud.Edit(func() { c.cloud.Fault = nil })
	out, _ = c.run(exitOK, "key", "--trail-region", "eu-west-1", c.key.ID)
	c.has("the result", out, "did nothing that CloudTrail's management events have from ", " to ", " in eu-west-1")
	c.out = t.TempDir()
	out, errs := c.run(exitPartial, "key", "--since", "400d", "-o", c.out, "--unsigned", c.key.ID)
	c.has("the result", out, "NOT KNOWN: no event was found from "+time.Now().UTC().AddDate(0, 0, -90).Format(time.DateOnly))
	c.has("the story", errs, "the event history has 90 days")
	p := c.page(exitMismatch, c.out) // it is not signed
	c.has("the page", p, "none was found")
	if strings.Contains(p, "0001-01-01") {
		t.Error("the page has a time that is none")
	}
}

func TestKeyUsage(t *testing.T) {
	c := newCloudTest(t)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"want one key", []string{}},
		{"is no key, user or role", []string{"i-0123456789abcdef0"}},
		{"want a time such as", []string{"--since", "yesterday", c.key.ID}},
		{"is not after --since", []string{"--since", "1h", "--until", "2h", c.key.ID}},
		{"is no folder", []string{"--trail", "nowhere", c.key.ID}},
		{"--trail-region", []string{"--trail-region", "moon", c.key.ID}},
		{"--depth wants", []string{"--identities", "0", c.key.ID}},
		{"no key to sign", []string{"-o", t.TempDir(), c.key.ID}},
	} {
		_, errs := c.run(exitUsage, append([]string{"key"}, tt.args...)...)
		c.has(strings.Join(tt.args, " "), errs, tt.want)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"14d": 14 * 24 * time.Hour, "36h": 36 * time.Hour, "2026-11-21T00:00:00Z": 24 * time.Hour} {
		if got, err := parseMoment(text, now); err != nil || now.Sub(got) != want {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
}

// Log files in a folder are read beside the event history.
func TestKeyLogs(t *testing.T) {
	c := newCloudTest(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(`{"Records":[{"eventID":"9","eventTime":"`+time.Now().UTC().AddDate(0, 0, -2).Format(time.RFC3339)+`","eventName":"GetObject","eventSource":"s3.amazonaws.com","eventCategory":"Data",
		"userIdentity":{"accessKeyId":"`+c.key.ID+`","type":"IAMUser","arn":"arn:aws:iam::111122223333:user/team/alice"}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := c.run(exitOK, "key", "--timeline", "--trail", dir, c.key.ID)
	c.has("the timeline", out, "s3:GetObject")
}

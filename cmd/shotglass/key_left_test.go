package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// What was made in another account that nobody named is left, named with the command that contains it, on record, and makes the code 5. That command
// works as it stands; and so does naming the account from the start.
func TestKeyContainOtherAccount(t *testing.T) {
	const other = "444455556666"
	for name, tt := range map[string]struct {
		args []string
		left bool
		role string // that the command names in place of what it has
	}{
		"the role's name": {[]string{"--aws-role", "responder"}, true, ""},
		"no role":         {nil, true, "responder"},
		"the account":     {[]string{"--aws-role", "responder", "--account", other}, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloudTest(t)
			stolenKey(c)
			c.cloud.AddRole("arn:aws:iam::"+other+":role/responder", awsfake.Trust{Principals: []string{responderARN}})
			deploy := c.cloud.Account(other).AddRole("/", "deploy")
			c.keyDid("b", "AssumeRole", `{"roleArn":"`+deploy.ARN+`"}`, `{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAA3"}}`)
			dir := filepath.Join(c.dir, "it's here")
			want := exitOK
			if tt.left {
				want = exitContainment
			}
			out, errs := c.run(want, append(append([]string{"key", "--json", "-o", dir, "--unsigned", "--contain", "--contain-made", "--mode", "deny", "--yes"}, tt.args...), c.key.ID)...)
			c.want(true, true, true)
			record, err := filepath.Glob(filepath.Join(dir, "*-contained.keytrail"))
			if err != nil || len(record) != 1 {
				t.Fatalf("%q %v", record, err)
			}
			verified, _ := c.run(exitMismatch, "verify", "--json", record[0]) // nobody signed it
			page := filepath.Join(c.dir, "page.html")
			c.run(exitMismatch, "report", "-o", page, dir)
			if !tt.left {
				if len(deploy.Policies) != 1 || strings.Contains(out+verified, "not_contained") || strings.Contains(errs, "NOT CONTAINED") {
					t.Errorf("%v %s%s", deploy.Policies, out, errs)
				}
				return
			}
			if len(deploy.Policies) != 0 {
				t.Fatal("it was contained by a role that nobody gave for its account")
			}
			c.has("the result", out, `"message_type":"not_contained","target":"`+deploy.ARN+`","contained":false,"why":"`, `"command":"shotglass contain --mode deny `)
			c.has("the record", mustRead(t, record[0]), `"before": {`, `"target": "`+deploy.ARN+`"`, `"contained": false`, `"contained": true`)
			c.has("the page", mustRead(t, page), "not contained: "+deploy.ARN, "What was contained of "+c.key.ID)
			_, command, _ := strings.Cut(errs, "to contain it: ")
			command, _, _ = strings.Cut(command, "\n")
			words, err := exec.Command("sh", "-c", `shotglass() { printf '%s\0' "$@"; }; `+command).Output()
			if err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			args := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
			if tt.role != "" {
				for i := range args {
					args[i] = strings.ReplaceAll(args[i], "role/ROLE", "role/"+tt.role)
				}
			}
			c.run(exitOK, append([]string{args[0], "--yes"}, args[1:]...)...)
			if len(deploy.Policies) != 1 {
				t.Errorf("%s did not contain it", command)
			}
		})
	}
}

// A key that is contained whole has a record that says so; a dry run has none.
func TestKeyContainedRecord(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	dir := filepath.Join(c.dir, "out")
	c.run(exitOK, "key", "-o", dir, "--unsigned", "--contain", "--dry-run", c.key.ID)
	if found, _ := filepath.Glob(filepath.Join(dir, "*-contained.keytrail")); len(found) != 0 {
		t.Errorf("%q", found)
	}
	_, errs := c.run(exitOK, "key", "-o", filepath.Join(dir, "2"), "--unsigned", "--contain", "--yes", c.key.ID)
	c.has("the story", errs, "what was contained, and what was not: "+dir)
	if strings.Contains(errs, "to contain it") {
		t.Error(errs)
	}
}

// What went wrong half-way is gone on with by the command that the run names, as it stands, in another environment: by the journal, though the target
// has others, kept in the bucket too, and with the guard that was given.
func TestKeyContainResume(t *testing.T) {
	for name, bucket := range map[string]bool{"a folder": false, "a bucket, too": true} {
		t.Run(name, func(t *testing.T) {
			c := newCloudTest(t)
			stolenKey(c)
			c.run(exitOK, "contain", "--case", "old", "--yes", "user/team/alice")
			c.run(exitOK, "release", "--case", "old", "--reactivate-keys", "user/team/alice")
			t.Setenv("SHOTGLASS_CASE", "")
			args := []string{"key", "--contain", "--yes", "--require-verified", "--break-glass", "role/x", "--watch", "0s"}
			s := newShelf(t)
			for _, kv := range c.cloud.Env(responderARN, "eu-west-1") {
				k, v, _ := strings.Cut(kv, "=")
				t.Setenv(k, v)
			}
			if bucket {
				t.Setenv("SHOTGLASS_S3_ENDPOINT", s.url)
				t.Setenv("SHOTGLASS_S3_PATH_STYLE", "1")
				args = append(args, "--journal-to", "s3://evidence/it's/")
			}
			c.cloud.Edit(func() {
				c.cloud.Fault = func(call *awsfake.Call) awsfake.Fault {
					if call.Operation == "UpdateAccessKey" {
						return awsfake.Fault{Error: awsfake.Denied(call)}
					}
					return awsfake.Fault{}
				}
			})
			_, errs := c.run(exitContainment, append(args, c.key.ID)...)
			c.want(true, false, false)
			c.cloud.Edit(func() { c.cloud.Fault = nil })
			for _, kv := range os.Environ() {
				if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "SHOTGLASS_") {
					os.Unsetenv(name)
				}
			}
			_, command, _ := strings.Cut(errs, "to contain it: ")
			command, _, _ = strings.Cut(command, "\n")
			words, err := exec.Command("sh", "-c", `shotglass() { printf '%s\0' "$@"; }; `+command).Output()
			if err != nil {
				t.Fatalf("%s: %v", command, err)
			}
			again := strings.Split(strings.TrimSuffix(string(words), "\x00"), "\x00")
			c.has("the command", command, "contain --resume --watch 0s --require-verified ", " --break-glass role/x ")
			c.run(exitOK, append([]string{again[0], "--yes"}, again[1:]...)...)
			c.want(true, true, false)
			kept := 0
			for name := range s.objects {
				if strings.HasPrefix(name, "it's/") {
					kept++
				}
			}
			if (kept > 0) != bucket {
				t.Errorf("%d objects", kept)
			}
		})
	}
}

// What contain itself says goes by the journal, too.
func TestContainUndoHint(t *testing.T) {
	glass, err := containment.ParseTarget("role/x")
	if err != nil {
		t.Fatal(err)
	}
	o := &containRun{further: "--watch 5s ", access: awsAccess{bucket: "s3://b/", reach: "--s3-path-style "}, options: containment.Options{Case: "c"}}
	o.access.BreakGlass = []containment.Target{glass}
	got := o.undoHint(&containment.Result{Journal: "a b" + containment.JournalSuffix})
	want := "go on with shotglass contain --resume --watch 5s --case c --journal-to s3://b/ --s3-path-style --break-glass role/x 'a b-containment.jsonl', " +
		"or put it back with shotglass release --case c --journal-to s3://b/ --s3-path-style 'a b-containment.jsonl'"
	if !strings.HasSuffix(got, want) {
		t.Errorf("%s", got)
	}
	if got := o.undoHint(&containment.Result{}); got != "" {
		t.Error(got)
	}
}

// What nobody contains is on record, too, where the question is not answered.
func TestKeyContainDeclined(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	c.keyDid("e", "AssumeRoot", `{"targetPrincipal":"999988887777"}`, `{"credentials":{"accessKeyId":"ASIAAAAAAAAAAAAAAAA4"}}`)
	dir := filepath.Join(c.dir, "out")
	out, errs := c.run(exitUsage, "key", "--json", "-o", dir, "--unsigned", "--contain", "--contain-made", c.key.ID)
	c.want(true, false, false) // she had a policy before
	record, err := filepath.Glob(filepath.Join(dir, "*-contained.keytrail"))
	if err != nil || len(record) != 1 {
		t.Fatalf("%q %v %s", record, err, errs)
	}
	for what, text := range map[string]string{"the record": mustRead(t, record[0]), "the result": out} {
		c.has(what, text, "ASIAAAAAAAAAAAAAAAA4 of arn:aws:iam::999988887777:root", errUnnamed.Error(), "user/backup", "it was not come to")
	}
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

func mustRead(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

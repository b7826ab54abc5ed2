//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// runbook runs docs/runbook.sh on two guests, into a real S3 server, with an account that each of them
// is an instance of; a third host is dead. Then all is released.
func runbook(t *testing.T, a, b *rig) {
	srv := startS3(t)
	cloud := awsfake.New()
	t.Cleanup(cloud.Close)
	account := cloud.Account("111122223333")
	alice, ops := account.AddUser("/", "alice"), account.AddUser("/", "ops")
	aliceKey, opsKey := alice.AddKey("Active"), ops.AddKey("Active")
	region := account.Region("eu-west-1")
	var web, db *awsfake.Instance
	var group string
	cloud.Edit(func() {
		vpc := region.AddVPC(awsfake.VPC{})
		subnet := region.AddSubnet(vpc.ID, awsfake.Route{To: "0.0.0.0/0", Via: "igw-1"})
		group = region.AddGroup(vpc.ID, "web", awsfake.All(true)...).ID
		web = region.AddInstance(awsfake.Instance{}, subnet.ID, group)
		db = region.AddInstance(awsfake.Instance{}, subnet.ID, group)
	})
	const responder = "arn:aws:iam::111122223333:role/ir/responder"
	config := filepath.Join(a.home, "aws")
	var key string
	for _, kv := range cloud.Env(responder, "eu-west-1") {
		if v, ok := strings.CutPrefix(kv, "AWS_ACCESS_KEY_ID="); ok {
			key = v
		}
	}
	if err := os.WriteFile(config, fmt.Appendf(nil, "[profile ir]\nregion = eu-west-1\nendpoint_url = %s\naws_access_key_id = %s\naws_secret_access_key = secret\n", cloud.URL(), key), 0o600); err != nil {
		t.Fatal(err)
	}

	hosts := filepath.Join(a.home, "runbook.yml")
	text := fmt.Sprintf(`defaults:
  username: ops
  key: %s
  module: %s
  module_sha256: %s
  containment: {mode: deny, profile: ir, region: eu-west-1, untrack_wait: 2s}
hosts:
- {addr: 127.0.0.1, port: %s, name: web1, known_hosts: %s, containment: {targets: [%s, user/alice]}}
- {addr: 127.0.0.1, port: %s, name: db1, known_hosts: %s, containment: {targets: %s}}
- {addr: 127.0.0.1, port: 1, name: dead, known_hosts: %s, containment: {targets: user/ops}}
`, parts.Key, parts.Module, sha256File(t, parts.Module), a.guest.Port(), a.known(), web.ID, b.guest.Port(), b.known(), db.ID, a.known())
	if err := os.WriteFile(hosts, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../docs/runbook.sh")
	if err != nil {
		t.Fatal(err)
	}
	env := append(srv.Env(),
		"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "HOME="+a.home, "AWS_CONFIG_FILE="+config,
		"SHOTGLASS_S3_ENDPOINT="+srv.Endpoint, "SHOTGLASS_S3_PATH_STYLE=true", "SHOTGLASS_SIGN_KEY="+a.signKey(), "SHOTGLASS_SIGNERS="+a.signers(),
		"SHOTGLASS_SSH_CONFIG=none", "SHOTGLASS_NO_AGENT=true", "SHOTGLASS_PROGRESS=lines", "SHOTGLASS_CONNECT_ATTEMPTS=1", "SHOTGLASS_CONTAIN_WATCH=3s",
		"SHOTGLASS_AWS_PROFILE=ir", "SHOTGLASS_AWS_REGION=eu-west-1", "SHOTGLASS_CASE=case-42", "SHOTGLASS_JOURNAL="+filepath.Join(a.home, "journals"),
	)
	run := func(want int, name string, args ...string) (string, string) {
		t.Helper()
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = a.home, env, &out, &errs
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Fatalf("%s %q: %v, want exit code %d\n%s\n%s", name, args, err, want, &out, &errs)
		}
		return out.String(), errs.String()
	}
	state := func() (keys string, groups []string) {
		cloud.Edit(func() {
			keys = aliceKey.Status + " " + opsKey.Status
			for _, i := range region.Interfaces {
				for _, g := range i.Groups {
					groups = append(groups, region.Groups[g].Name)
				}
			}
		})
		return keys, groups
	}

	out, errs := run(3, script, "case-42", hosts, "s3://"+srv.Bucket+"/runbook/")
	if strings.Count(out, "\tcomplete\t") != 2 || !strings.Contains(errs, "NOT CONTAINED: dead: user/ops") || strings.Count(errs, "no TCP flow of the host itself was seen alive") < 2 {
		t.Errorf("stdout:\n%s\nstderr:\n%s", out, errs)
	}
	if strings.Contains(errs, "REMAIN LOCKED") {
		t.Errorf("credentials of a host that was not captured were locked:\n%s", errs)
	}
	if keys, groups := state(); keys != "Inactive Active" || strings.Count(strings.Join(groups, " "), "isolate") != 2 || len(groups) != 2 {
		t.Errorf("keys %s, groups %q", keys, groups)
	}
	page, err := os.ReadFile(filepath.Join(a.home, "case-42.html"))
	for _, part := range []string{"web1", "seen alive", "NOT CONTAINED: ", "shotglass release --case case-42", "shotglass-isolate"} {
		if err != nil || !strings.Contains(string(page), part) {
			t.Errorf("the page has no %q: %v", part, err)
		}
	}
	a.clean(30 * time.Second)
	b.clean(30 * time.Second)

	// The records are signed, and name the manifests.
	keys, err := srv.Keys(t.Context(), "runbook/")
	if err != nil {
		t.Fatal(err)
	}
	records := 0
	for _, k := range keys {
		if !strings.HasSuffix(k, ".containment") || strings.Contains(k, "/dead-") {
			continue
		}
		records++
		data, err := srv.Stored(t.Context(), k)
		if err != nil {
			t.Fatal(err)
		}
		var rec struct {
			Manifest struct{ SHA256 string }
			Place    string `json:"manifest_place"`
			Results  []containment.Result
		}
		if err := json.Unmarshal(data, &rec); err != nil || len(rec.Manifest.SHA256) != 64 || len(rec.Results) == 0 {
			t.Errorf("%s: %v\n%s", k, err, data)
		}
		sig, err := srv.Stored(t.Context(), k+".sig")
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(a.home, "record.sig")
		if err := os.WriteFile(file, sig, 0o600); err != nil {
			t.Fatal(err)
		}
		check := exec.Command("ssh-keygen", "-Y", "verify", "-f", a.signers(), "-I", "investigator", "-n", "containment@shotglass-ir", "-s", file)
		check.Stdin = bytes.NewReader(data)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: ssh-keygen: %v\n%s", k, err, out)
		}
	}
	if records != 2 {
		t.Errorf("%d records of %q", records, keys)
	}

	run(0, program, "status")
	run(0, program, "release", web.ID, db.ID, "user/alice")
	if keys, groups := state(); keys != "Inactive Active" || strings.Join(groups, " ") != "web web" {
		t.Errorf("released: keys %s, groups %q", keys, groups)
	}
	run(0, program, "release", "--reactivate-keys", "user/alice")
	if keys, _ := state(); keys != "Active Active" {
		t.Errorf("released: keys %s", keys)
	}
}

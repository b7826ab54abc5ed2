package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/transport"
)

// TestMargaritaFlags: a command line of Margarita Shotgun says the same here.
func TestMargaritaFlags(t *testing.T) {
	testApp(t)
	o := mustParse(t, "--server", "10.0.0.1", "--port", "2222", "--username", "ec2-user", "--key", "k", "--filename", "a.lime",
		"--workers", "3", "--bucket", "memory-dumps", "--jump-server", "10.0.0.9", "--jump-port", "2022", "--jump-username", "jump", "--jump-key", "jk",
		"--ssh-config", "none")
	if len(o.Jobs) != 1 {
		t.Fatalf("%d jobs", len(o.Jobs))
	}
	j := o.Jobs[0]
	want := transport.Target{Name: "10.0.0.1", User: "ec2-user", Port: 2222, Auth: transport.Auth{KeyFiles: []string{"k"}},
		Jumps: []transport.Target{{Name: "10.0.0.9", User: "jump", Port: 2022, Auth: transport.Auth{KeyFiles: []string{"jk"}}}}}
	j.Target.Auth.Passphrase, j.Target.Jumps[0].Auth.Passphrase = nil, nil
	if d := cmp.Diff(want, j.Target); d != "" {
		t.Error(d)
	}
	if j.Name != "a.lime" || o.Engine.Parallel != 3 || o.Engine.Sink.String() != "s3://memory-dumps/" {
		t.Errorf("name %q, parallel %d, to %s", j.Name, o.Engine.Parallel, o.Engine.Sink)
	}
	for name, value := range map[string]string{"user": "ec2-user", "to": "s3://memory-dumps/", "parallel": "3", "jump": "jump@10.0.0.9:2022"} {
		if s := settingOf(o, name); s.Value != value || s.Origin != "flag" {
			t.Errorf("%s is on record as %+v", name, s)
		}
	}
	dir := t.TempDir()
	o = mustParse(t, "--server", "web1", "--workers", "auto", "--output-dir", dir, "--jump-server", "fe80::1")
	if o.Engine.Parallel != 0 || o.Engine.Sink.String() != dir || o.Jobs[0].Target.Jumps[0].Name != "fe80::1" {
		t.Errorf("%+v", o.Engine)
	}
	for line, want := range map[string]string{
		"--server web1 --password hunter2":      "--password: every user",
		"--server web1 --jump-password hunter2": "--jump-password: every user",
		"--server web1 --workers many":          `--workers "many"`,
		"--server web1 --user a --username b":   "are the same",
		"--server web1 --bucket b --to s3://c/": "are the same",
		"--server web1 --bucket b --output d":   "exclude each other",
		"--server web1 --jump-key k":            "goes with --jump-server",
		"--server -x":                           "starts with a dash",
	} {
		_, err := parse(t, strings.Fields(line)...)
		if err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, want %q", line, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the message repeats the secret: %v", line, err)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func newEC2Test(t *testing.T) *awsfake.Cloud {
	cloud := awsfake.New()
	t.Cleanup(cloud.Close)
	fillCloud(cloud)
	for _, kv := range cloud.Env(responderARN, "eu-west-1") {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	return cloud
}

// An instance becomes a host that is called by its id, with its identity on record and the login of its AMI, unless another is given.
func TestEC2Jobs(t *testing.T) {
	newEC2Test(t)
	o := mustParse(t, "--unsigned", "i-00000001", "ops@i-00000002:2222", "web1")
	if len(o.Jobs) != 3 {
		t.Fatalf("%d jobs", len(o.Jobs))
	}
	by := map[string]acquire.Job{}
	for _, j := range o.Jobs {
		by[hostOf(j)] = j
	}
	one, two := by["i-00000001"], by["i-00000002"]
	if one.Target.Name != "203.0.113.1" || one.Target.User != "ec2-user" || two.Target.Name != "127.0.9.2" || two.Target.User != "ops" || two.Target.Port != 2222 || by["web1"].Target.Name != "web1" {
		t.Errorf("%+v\n%+v", one.Target, two.Target)
	}
	want := map[string]string{"ec2_instance": "i-00000001", "ec2_account": "111122223333", "ec2_region": "eu-west-1", "ec2_image": "ami-00000001"}
	if diff := cmp.Diff(want, one.Labels); diff != "" {
		t.Error(diff)
	}
	if len(by["web1"].Labels) > 0 {
		t.Errorf("%v", by["web1"].Labels)
	}
	if s := jobSetting(one, "user"); s[0] != "ec2-user" || s[1] != "ec2: the name of its AMI" {
		t.Errorf("%+v", s)
	}
	if s := jobSetting(one, "ec2-address"); s[0] != "203.0.113.1" || !strings.HasPrefix(s[1], "ec2: public") {
		t.Errorf("%+v", s)
	}
	if s := jobSetting(one, "compress"); s[0] != "zstd" {
		t.Errorf("the other options are lost: %+v", s)
	}
	if j := mustParse(t, "--unsigned", "--user", "root", "i-00000001").Jobs[0]; j.Target.User != "root" {
		t.Errorf("%+v", j.Target)
	}
	// A pin is of the id.
	if j := mustParse(t, "--unsigned", "--host-key", "i-00000001="+printA, "i-00000001").Jobs[0]; len(j.Target.HostKey.Fingerprints) != 1 {
		t.Errorf("%+v", j.Target.HostKey)
	}
}

func writeHosts(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "hosts.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// In a file each instance has the keys of its block, and containment is about the instance itself.
func TestEC2HostsFile(t *testing.T) {
	newEC2Test(t)
	o := mustParse(t, "--unsigned", "-c", writeHosts(t, `
hosts:
- addr: first
- ec2: tag:Case=42
  port: 2022
  labels: {team: shop}
  containment: {gate: always}
- ec2: i-00000021
  ec2_account: ["444455556666"]
  name: theirs
  username: root
  containment: {targets: [role/web], role_arn: "arn:aws:iam::444455556666:role/responder"}
- addr: last
`), "web9")
	var names, targets []string
	for _, j := range o.Jobs {
		names = append(names, hostOf(j))
	}
	if diff := cmp.Diff([]string{"first", "i-00000001", "i-00000002", "theirs", "last", "web9"}, names); diff != "" {
		t.Error(diff)
	}
	for _, f := range o.follow.hosts {
		for _, p := range f.targets {
			targets = append(targets, f.host+" "+p.target.String())
		}
	}
	if diff := cmp.Diff([]string{
		"i-00000001 arn:aws:ec2:eu-west-1:111122223333:instance/i-00000001", "i-00000002 arn:aws:ec2:eu-west-1:111122223333:instance/i-00000002",
		"theirs arn:aws:ec2:eu-west-1:444455556666:instance/i-00000021", "theirs role/web",
	}, targets); diff != "" {
		t.Error(diff)
	}
	one, theirs := o.Jobs[1], o.Jobs[3]
	if one.Target.Port != 2022 || one.Labels["team"] != "shop" || one.Labels["ec2_instance"] != "i-00000001" || theirs.Target.User != "root" || theirs.Labels["ec2_account"] != "444455556666" {
		t.Errorf("%+v\n%+v", one, theirs)
	}
	if s := jobSetting(theirs, "user"); s[0] != "root" || !strings.HasPrefix(s[1], "file ") {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]string{
		"hosts: [{ec2: 'tag:Case=42', filename: a.lime.zst}]":                                "filename is of one host",
		"hosts: [{ec2: 'tag:Case=42', containment: {targets: [role/web]}}]":                  "containment.targets is of one host",
		"hosts: [{ec2: 'tag:Case=42'}, {ec2: i-00000001}]":                                   "is named twice",
		"hosts: [{ec2: 'tag:Case=42'}, {ec2: 'tag:Env=none'}]":                               "names no instance; searched: eu-west-1",
		"hosts: [{ec2: i-00000021, ec2_account: ['444455556666'], ec2_region: [eu-west-1]}]": "give a role to assume",
	} {
		if _, err := parse(t, "--unsigned", "-c", writeHosts(t, text)); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// Two networks may use one address: from here only one of the two instances is there.
func TestEC2SameAddress(t *testing.T) {
	cloud := newEC2Test(t)
	r := cloud.Account("111122223333").Region("eu-west-1")
	cloud.Edit(func() {
		for _, e := range r.Interfaces {
			e.PrivateIP = "127.0.9.1"
		}
	})
	text := "hosts: [{ec2: 'tag:Case=42', ec2_address: private}]"
	if _, err := parse(t, "--unsigned", "-c", writeHosts(t, text)); err == nil || !strings.Contains(err.Error(), "have the same address, 127.0.9.1") {
		t.Errorf("%v", err)
	}
	if _, err := parse(t, "--unsigned", "--ec2-address", "private", "--ec2", "tag:Case=42"); err == nil || !strings.Contains(err.Error(), "given twice") {
		t.Errorf("%v", err)
	}
	text = "hosts: [{ec2: i-00000001, ec2_address: private, jump_host: {addr: a}}, {ec2: i-00000002, ec2_address: private, jump_host: {addr: b}}]"
	mustParse(t, "--unsigned", "-c", writeHosts(t, text))
}

// Who answers at an address says which instance it is; another than the one that was selected is not captured.
func TestEC2Identity(t *testing.T) {
	o := &captureOptions{ec2: map[string]*ec2Host{"a": {ID: "i-00000001", Address: "10.0.0.1"}, "b": {ID: "i-00000002"}, "c": {ID: "i-00000003"}}}
	step := func(host, says string) *acquire.Step {
		return &acquire.Step{Host: host, Facts: &acquire.Facts{InstanceID: says}}
	}
	steps := []*acquire.Step{step("a", "i-0000000f"), step("b", "i-00000002"), step("c", "Not Specified"), step("d", "i-0000000f")}
	o.checkIdentities(steps)
	if steps[0].Err == nil || !strings.Contains(steps[0].Err.Error(), "i-0000000f answers at 10.0.0.1, where i-00000001 was") {
		t.Errorf("%v", steps[0].Err)
	}
	for _, s := range steps[1:] {
		if s.Err != nil {
			t.Errorf("%s: %v", s.Host, s.Err)
		}
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
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
	if _, err := parse(t, "--unsigned", "--ec2-address", "private", "--ec2", "tag:Case=42"); err == nil || !strings.Contains(err.Error(), "i-00000001 and i-00000002 have the same address, 127.0.9.1") {
		t.Errorf("%v", err)
	}
	// One in the file, one beside it; an instance and a host that is named by its address; two ways that a flag makes one.
	file := "hosts: [{ec2: i-00000001, ec2_address: private}]"
	if _, err := parse(t, "--unsigned", "--ec2-address", "private", "-c", writeHosts(t, file), "ops@i-00000002:2222"); err == nil || !strings.Contains(err.Error(), "i-00000001 and i-00000002 have the same address, 127.0.9.1") {
		t.Errorf("%v", err)
	}
	for _, plain := range []string{"127.0.9.1", "root@[::ffff:127.0.9.1]:2222"} {
		if _, err := parse(t, "--unsigned", "-c", writeHosts(t, file), plain); err == nil || !strings.Contains(err.Error(), "and i-00000001 have the same address, 127.0.9.1: one machine would be captured twice") {
			t.Errorf("%s: %v", plain, err)
		}
	}
	text = "hosts: [{ec2: i-00000001, ec2_address: private, jump_host: {addr: a}}, {ec2: i-00000002, ec2_address: private, jump_host: {addr: b}}]"
	mustParse(t, "--unsigned", "-c", writeHosts(t, text))
	if _, err := parse(t, "--unsigned", "--jump", "c", "-c", writeHosts(t, text)); err == nil || !strings.Contains(err.Error(), "have the same address") {
		t.Errorf("%v", err)
	}
	mustParse(t, "--unsigned", "127.0.0.1:2201", "127.0.0.1:2202") // forwarded ports: nothing is known of these
}

// Who writes an address means one machine: if several have it, in networks with the same range, none is taken, and none is contained.
func TestEC2AmbiguousAddress(t *testing.T) {
	cloud := newEC2Test(t)
	us := cloud.Account("111122223333").Region("us-east-1")
	us.AddVPC(awsfake.VPC{ID: "vpc-00000002"})
	subnet := us.AddSubnet("vpc-00000002")
	us.AddInstance(awsfake.Instance{ID: "i-00000012", State: "stopped", Tags: map[string]string{"Name": "other"}}, subnet.ID)
	cloud.Edit(func() {
		for _, e := range us.Interfaces {
			if e.Instance == "i-00000012" {
				e.PrivateIP = "127.0.9.1"
			}
		}
	})
	both := `127.0.9.1 is of 2 instances: i-00000001 ("web-\u202e1") in eu-west-1 of account 111122223333, vpc-00000001; i-00000012 ("other") in us-east-1 of account 111122223333, vpc-00000002. Say which`
	contained := ", containment: {gate: always}}]"
	for _, args := range [][]string{
		{"--ec2", "127.0.9.1"},
		{"--ec2", "!tag:Case=7,127.0.9.1|127.0.9.2"},
		{"-c", writeHosts(t, "hosts: [{ec2: 127.0.9.1"+contained)},
	} {
		if _, err := parse(t, append([]string{"--unsigned", "--ec2-region", "all"}, args...)...); err == nil || !strings.Contains(err.Error(), both) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	for _, args := range [][]string{
		{"--ec2-region", "all", "--ec2", "127.0.9.1,vpc-00000001"},
		{"--ec2-region", "all", "--ec2", "127.0.9.1,!i-00000012"},
		{"--ec2-region", "all", "--ec2", "tag:Case=42,!127.0.9.2"},
		{"--ec2-region", "eu-west-1", "--ec2", "127.0.9.1"},
		{"-c", writeHosts(t, "hosts: [{ec2: 127.0.9.1, ec2_region: [eu-west-1]"+contained)},
	} {
		if o := mustParse(t, append([]string{"--unsigned"}, args...)...); len(o.Jobs) != 1 || hostOf(o.Jobs[0]) != "i-00000001" {
			t.Errorf("%q: %+v", args, o.Jobs)
		}
	}
	// Private DNS names are of the address, and as little of one machine.
	list := []*inventory.Instance{{ID: "i-00000001", PrivateDNS: "ip-10-0-0-7.ec2.internal"}, {ID: "i-00000002", PrivateDNS: "IP-10-0-0-7.ec2.internal"}, {ID: "i-00000003", PublicDNS: "a.example.com"}}
	for text, want := range map[string]bool{"ip-10-0-0-7.ec2.internal": true, "a.example.com": false} {
		sel, err := hostsfile.ParseSelector(text)
		if err != nil || (ambiguous(sel, list) != nil) != want {
			t.Errorf("%s: %v, %v", text, err, ambiguous(sel, list))
		}
	}
}

// A region that could not be searched may have selected instances: what was captured elsewhere is not all. One that is off has none.
func TestEC2NotSearched(t *testing.T) {
	cloud := newEC2Test(t)
	args := []string{"--unsigned", "--ec2", "tag:Case=42", "--ec2", "i-00000001", "--ec2-region", "all"}
	o := mustParse(t, args...)
	if n := len(o.NotSearched); n != 1 || len(o.unsearched()) != 0 {
		t.Errorf("%+v", o.NotSearched)
	}
	done := []acquire.Result{{State: acquire.StateComplete}}
	if code := captureCode(done, nil, o.unsearched()); code != exitOK || o.planCode(2, 0) != exitOK {
		t.Errorf("code %d, of the plan %d", code, o.planCode(2, 0))
	}
	cloud.Edit(func() {
		cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "DescribeInstances" && c.Region == "us-east-1" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	o = mustParse(t, args...)
	if places := o.unsearched(); len(places) != 1 || places[0].Region != "us-east-1" || len(o.NotSearched) != 2 {
		t.Errorf("%+v", o.NotSearched)
	}
	if code := captureCode(done, nil, o.unsearched()); code != exitPartial || o.planCode(2, 0) != exitPartial || o.planCode(2, 2) != exitFailed {
		t.Errorf("code %d, of the plan %d", code, o.planCode(2, 0))
	}
	if code := captureCode([]acquire.Result{{State: acquire.StateFailed}}, nil, o.unsearched()); code != exitFailed {
		t.Errorf("code %d", code)
	}
	// All or none: nobody knows what all is.
	if _, err := parse(t, append(args, "--require-all")...); err == nil || !strings.Contains(err.Error(), "look for instances in us-east-1: ") || exitCode(err) != exitUsage {
		t.Errorf("%v", err)
	}
}

// The plan of many says by which address and as whom each is reached, if there are instances.
func TestEC2PlanOfMany(t *testing.T) {
	newEC2Test(t)
	o := mustParse(t, "--unsigned", "i-00000001", "ops@i-00000002", "web1")
	var steps []*acquire.Step
	for _, j := range o.Jobs {
		steps = append(steps, &acquire.Step{Host: hostOf(j), Target: j.Target, Source: "kcore"})
	}
	var out strings.Builder
	printSteps(&out, steps, o.ec2)
	wantLines(t, out.String(), "HOST        ADDRESS      USER      MEMORY", "web1        web1         -         -", "i-00000001  203.0.113.1  ec2-user  -", "i-00000002  127.0.9.2    ops       -")
	if e := o.ec2["i-00000002"]; e.User != "ops" || e.UserWhy != "as given" {
		t.Errorf("%+v", e)
	}
}

// Who answers at an address says which instance it is; another than the one that was selected is not captured, and one that
// does not say so is warned of.
func TestEC2Identity(t *testing.T) {
	newEC2Test(t)
	j := mustParse(t, "--unsigned", "i-00000001").Jobs[0]
	for says, want := range map[string][2]string{
		"i-00000001": {},
		"i-0000000f": {"", "i-0000000f answers at 203.0.113.1, where i-00000001 was"},
		"":           {"nothing confirms that this is i-00000001", ""},
		"i-am-web1":  {"nothing confirms that this is i-00000001", ""},
	} {
		warning, err := j.Check(&acquire.Facts{InstanceID: says})
		if (warning == "") != (want[0] == "") || !strings.HasPrefix(warning, want[0]) || (err == nil) != (want[1] == "") || err != nil && !strings.HasPrefix(err.Error(), want[1]) {
			t.Errorf("%q: %q, %v", says, warning, err)
		}
	}
	if j := mustParse(t, "--unsigned", "web1").Jobs[0]; j.Check != nil {
		t.Error("a host that nobody looked up is checked")
	}
}

//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// newWaysTest is an AWS with an endpoint whose VPC has i-00000001 and i-00000002, both of which are one SSH server that takes pushed keys.
func newWaysTest(t *testing.T) (*awsfake.Cloud, *awsfake.Region, *transporttest.Server) {
	cloud := newEC2Test(t)
	r := cloud.Account("111122223333").Region("eu-west-1")
	sshd := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(m ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			for _, p := range r.Pushed("", "") {
				if p.User == m.User() && string(p.Key.Marshal()) == string(key.Marshal()) {
					return nil, nil
				}
			}
			return nil, errors.New("no such key")
		}
	}}).Start(t)
	cloud.Edit(func() {
		r.ConnectEndpoints = []awsfake.ConnectEndpoint{{ID: "eice-00000001", VPC: "vpc-00000001", State: "create-complete", Dial: func(context.Context, string, int) (net.Conn, error) {
			return net.Dial("tcp", sshd.Addr())
		}}}
		for _, i := range r.Instances {
			i.Console = awsfake.Console{At: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Posted: "-----BEGIN SSH HOST KEY KEYS-----\n" + string(ssh.MarshalAuthorizedKey(sshd.HostKeys[0].PublicKey())) + "-----END SSH HOST KEY KEYS-----\n"}
		}
	})
	t.Setenv("SSH_AUTH_SOCK", "")
	return cloud, r, sshd
}

// fakeCLI puts programs of AWS's names into an otherwise empty PATH.
func fakeCLI(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"aws", "session-manager-plugin"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nprintf '%s\\n' \"$@\" >&2\nexit 7\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// Each way ends up in the target and on record.
func TestEC2Ways(t *testing.T) {
	_, r, sshd := newWaysTest(t)
	one := func(args ...string) (acquire.Job, *captureOptions) {
		t.Helper()
		o := mustParse(t, append([]string{"--unsigned", "--ssh-config", "none"}, args...)...)
		return o.Jobs[0], o
	}
	j, o := one("i-00000001")
	if j.Target.Auth.Grant != nil || j.Target.Tunnel != nil || o.ec2["i-00000001"].Connect != "" || j.CheckPlan != nil {
		t.Errorf("%+v", j.Target)
	}

	// Through the endpoint and in, with the key and the pin of this run alone.
	_, o = one("--ec2-connect", "endpoint", "i-00000002")
	key := o.ec2["i-00000002"].fingerprint
	j, o = one("--ec2-connect", "endpoint", "--ec2-host-keys", "console", "--user", "ops", "i-00000002")
	if key == o.ec2["i-00000002"].fingerprint {
		t.Error("two runs have one key")
	}
	key = o.ec2["i-00000002"].fingerprint
	c, err := o.Engine.Dialer.Dial(t.Context(), j.Target)
	if err != nil {
		t.Fatal(err)
	}
	in := c.Info()
	c.Close()
	if in.User != "ops" || in.AuthKey != key || in.HostKeyTrust != "console output of 2026-11-01T00:00:00Z of i-00000002" || in.Tunnel != "tunnel through eice-00000001 to 127.0.9.2" || !strings.HasPrefix(in.Grant, "EC2 Instance Connect: request req-") {
		t.Errorf("%+v", in)
	}
	for name, want := range map[string]string{"ec2-connect": "endpoint", "ec2-connect-key": key, "ec2-host-keys": ssh.FingerprintSHA256(sshd.HostKeys[0].PublicKey()), "ec2-address": "127.0.9.2"} {
		if s := jobSetting(j, name); s[0] != want || s[1] == "" || s[1] == "flag" {
			t.Errorf("%s: %q", name, s)
		}
	}
	if p := r.Pushed("i-00000002", "ops"); len(p) != 1 || p[0].Zone != "eu-west-1a" {
		t.Errorf("%+v", p)
	}
	o.forget()
	if _, err := o.Engine.Dialer.Dial(t.Context(), j.Target); transport.MayPass(err) || !strings.Contains(fmt.Sprint(err), "the key of this run is forgotten") {
		t.Errorf("after the end: %v", err)
	}

	// known_hosts that has another key for the address is not overridden by what a console says, and no key is pushed to who answers.
	known := filepath.Join(t.TempDir(), "known_hosts")
	foreign, _ := transporttest.NewKey(t)
	if err := os.WriteFile(known, []byte("127.0.9.2 "+string(ssh.MarshalAuthorizedKey(foreign.PublicKey()))), 0o600); err != nil {
		t.Fatal(err)
	}
	j, o = one("--ec2-connect", "endpoint", "--ec2-host-keys", "console", "--known-hosts", known, "--user", "ops", "i-00000002")
	_, err = o.Engine.Dialer.Dial(t.Context(), j.Target)
	for _, want := range []string{"known_hosts and the console output of 2026-11-01T00:00:00Z of i-00000002 contradict each other about the host key of 127.0.9.2", ssh.FingerprintSHA256(foreign.PublicKey()) + " (" + known + ":1)", "the other has " + ssh.FingerprintSHA256(sshd.HostKeys[0].PublicKey())} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	if p := r.Pushed("i-00000002", "ops"); len(p) != 1 {
		t.Errorf("%d keys pushed", len(p))
	}

	if got := j.Target.HostKey.Types; !slices.Equal(got, []string{"ED25519"}) {
		t.Errorf("the console's types are %q", got)
	}

	// A pin that the user gave outweighs the console's.
	if j, _ = one("--ec2-host-keys", "console", "--host-key", "i-00000001="+printA, "i-00000001"); j.Target.HostKey.Trust != "" || !slices.Equal(j.Target.HostKey.Fingerprints, []string{printA}) || j.Target.Auth.Grant != nil {
		t.Errorf("%+v", j.Target)
	}

	// Session Manager's command is the AWS CLI's.
	fakeCLI(t)
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("[profile case]\nregion = eu-west-1\naws_access_key_id = "+os.Getenv("AWS_ACCESS_KEY_ID")+"\naws_secret_access_key = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", config)
	j, o = one("--ec2-connect", "ssm", "--aws-profile", "case", "i-00000001")
	if want := "aws ssm start-session --target i-00000001 --document-name AWS-StartSSHSession --parameters portNumber=%p --region eu-west-1 --profile case"; j.Target.ProxyCommand != want || j.Target.Name != "i-00000001" || jobSetting(j, "proxy-command")[0] != want || j.Target.Auth.Grant == nil {
		t.Errorf("%+v", j.Target)
	}
	j.Target.HostKey.Fingerprints = []string{printA}
	if _, err := o.Engine.Dialer.Dial(t.Context(), j.Target); err == nil || !strings.Contains(err.Error(), `portNumber=22\n--region\neu-west-1\n--profile\ncase`) {
		t.Errorf("%v", err)
	}
}

// auto takes what fits, and says why.
func TestEC2WaysAuto(t *testing.T) {
	cloud, r, _ := newWaysTest(t)
	chosen := func(want, why string, args ...string) {
		t.Helper()
		o := mustParse(t, append([]string{"--unsigned", "--ec2-connect", "auto"}, args...)...)
		for _, e := range o.ec2 {
			if e.Connect != want || !strings.Contains(e.ConnectWhy, why) {
				t.Errorf("%q: %s: %s", args, e.Connect, e.ConnectWhy)
			}
		}
	}
	chosen("push", "it has a public address", "i-00000001")
	chosen("endpoint", "no public address, its VPC has eice-00000001; whether its image has ec2-instance-connect is not known", "i-00000002")
	chosen("push", "through another host", "--jump", "bastion", "i-00000002")
	cloud.Edit(func() { r.ConnectEndpoints, r.Managed["i-00000002"] = nil, "Online" })
	chosen("push", "may have a route", "i-00000002") // the AWS CLI is not here
	fakeCLI(t)
	chosen("ssm", "Systems Manager manages it", "i-00000002")
	cloud.Edit(func() { r.Managed["i-00000002"] = "ConnectionLost" })
	chosen("push", "may have a route", "i-00000002")
}

// What cannot be is refused before anything is connected to.
func TestEC2WaysRefused(t *testing.T) {
	cloud, r, _ := newWaysTest(t)
	for _, tt := range []struct{ want, args string }{
		{`--ec2-connect "tunnel": want one of none, push`, "--ec2-connect tunnel i-00000001"},
		{`--ec2-host-keys "any": want one of known, console`, "--ec2-host-keys any i-00000001"},
		{"--ec2-tunnel-rate: ", "--ec2-tunnel-rate fast i-00000001"},
		{"the way endpoint and jump hosts or proxy commands exclude each other", "--ec2-connect endpoint --jump bastion i-00000001"},
		{`the way endpoint has no use for the address "public"`, "--ec2-connect endpoint --ec2-address public i-00000001"},
		{"aws is not installed here", "--ec2-connect ssm i-00000001"},
		{"does not assume --aws-role", "--ec2-connect ssm --aws-role responder --ec2-account 444455556666 i-00000021"},
	} {
		if strings.Contains(tt.want, "not installed") {
			t.Setenv("PATH", t.TempDir())
		}
		if _, err := parse(t, append([]string{"--unsigned"}, strings.Fields(tt.args)...)...); err == nil || !strings.Contains(err.Error(), tt.want) || exitCode(err) != exitUsage {
			t.Errorf("%s: %v", tt.args, err)
		}
	}
	fakeCLI(t)
	refused := func(want string, args ...string) {
		t.Helper()
		if _, err := parse(t, append([]string{"--unsigned"}, args...)...); err == nil || !strings.Contains(err.Error(), want) || exitCode(err) != exitUsage {
			t.Errorf("%q: %v", args, err)
		}
	}
	refused("Systems Manager does not manage it", "--ec2-connect", "ssm", "i-00000002")
	cloud.Edit(func() {
		for n := range 21 {
			r.AddInstance(awsfake.Instance{ID: fmt.Sprintf("i-000001%02d", n), Tags: map[string]string{"Crowd": "yes"}}, r.Instances["i-00000001"].Subnet)
		}
	})
	refused("more than 20 instances are reached through eice-00000001", "--ec2-connect", "endpoint", "--ec2", "tag:Crowd=yes")
	cloud.Edit(func() { r.ConnectEndpoints[0].State = "delete-in-progress" })
	refused("vpc-00000001 has no endpoint of EC2 Instance Connect that can be used", "--ec2-connect", "endpoint", "i-00000002")
	cloud.Edit(func() {
		cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "DescribeInstanceConnectEndpoints" || c.Operation == "GetConsoleOutput" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	refused("(not known: whether its VPC has an endpoint", "--ec2-connect", "endpoint", "i-00000002")
	// A console that may not be read pins nothing, and is warned of.
	o := mustParse(t, "--unsigned", "--ec2-host-keys", "console", "i-00000002")
	if p := o.Jobs[0].Target.HostKey; len(p.Fingerprints) > 0 || p.InsecureIgnore || !slices.ContainsFunc(o.Warnings, func(w string) bool {
		return strings.Contains(w, "host keys from the console of i-00000002: ") && strings.Contains(w, "known_hosts decides")
	}) {
		t.Errorf("%+v, %q", p, o.Warnings)
	}
}

// What does not fit into a tunnel's hour is refused, unless it can go on through another.
func TestEC2Lasts(t *testing.T) {
	endpoint := ec2Way{Connect: "endpoint", Endpoint: "eice-1", rate: 4e6, tunnel: &transport.Tunnel{Longest: ec2connect.TunnelLife}}
	shared := endpoint
	shared.share = 3e6
	session := ec2Way{Connect: "ssm", rate: ec2connect.SSMRate}
	const gib = 1 << 30
	for _, tt := range []struct {
		way           ec2Way
		step          acquire.Step
		warning, fail string
	}{
		{ec2Way{Connect: "push"}, acquire.Step{Expected: 500 * gib}, "", ""},
		{endpoint, acquire.Step{Expected: 13 * gib, Source: "lime"}, "", ""},
		{endpoint, acquire.Step{Expected: 14 * gib, Source: "lime"}, "", "a tunnel through eice-1 lasts 59m59s, and 14.0 GiB at 4.0 MB/s take about 1h03m"},
		{endpoint, acquire.Step{Expected: 13 * gib, Source: "lime", Swap: []acquire.PlannedSwap{{Swap: acquire.Swap{Bytes: gib}}}}, "with swap 14.0 GiB at 4.0 MB/s take about 1h03m", ""},
		{endpoint, acquire.Step{Expected: 14397e6, Source: "lime"}, "", "would be cut"}, // to the last second of the tunnel
		{shared, acquire.Step{Expected: 13 * gib, Source: "lime"}, "", ""},              // what the others have is not known here
		{shared, acquire.Step{Expected: 13 * gib, Source: "kcore"}, "read on through new tunnels", ""},
		{endpoint, acquire.Step{Expected: 14 * gib, Source: "kcore", Freeze: &freeze.Selection{}}, "thaws when the first of them ends", ""},
		{endpoint, acquire.Step{Expected: gib, Source: "avml", Estimate: 2 * time.Hour}, "", "take about 2h"},
		{endpoint, acquire.Step{Expected: 14 * gib, Source: "kcore"}, "read on through new tunnels", ""},
		{session, acquire.Step{Expected: 8 * gib, Source: "lime"}, "8.0 GiB at 0.7 MB/s take about 3h25m", ""},
	} {
		warning, err := tt.way.lasts(&tt.step)
		if !strings.Contains(warning, tt.warning) || (warning == "") != (tt.warning == "") || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s %+v: %q, %v", tt.way.Connect, tt.step, warning, err)
		}
		if err != nil && !strings.Contains(hints(err)[0], "--method kcore") {
			t.Errorf("hint %q", hints(err))
		}
	}
}

// What all hosts share is divided among those that are read at once.
func TestEC2SharedRate(t *testing.T) {
	newWaysTest(t)
	for _, tt := range []struct {
		want int64
		args []string
	}{{4e6, nil}, {8e6, []string{"--parallel", "1"}}, {4e6, []string{"--parallel", "9"}}} {
		o := mustParse(t, append(tt.args, "--unsigned", "--ssh-config", "none", "--ec2-connect", "endpoint", "--limit-total-rate", "8MB/s", "i-00000001", "i-00000002")...)
		if got := o.ec2["i-00000002"].share; got != tt.want {
			t.Errorf("%q: %d, want %d", tt.args, got, tt.want)
		}
		warning, err := o.Jobs[1].CheckPlan(&acquire.Step{Expected: 13 << 30})
		if err != nil || warning != "" {
			t.Errorf("%q: %q, %v", tt.args, warning, err)
		}
	}
	// Once it is known what each takes, those for which the hour is too short are refused.
	o := mustParse(t, "--unsigned", "--ssh-config", "none", "--ec2-connect", "endpoint", "--limit-total-rate", "4MB/s", "i-00000001", "i-00000002")
	check := o.Jobs[1].CheckShare
	if err := check(&acquire.Step{Expected: 13 << 30, Source: "lime", Shared: 58 * time.Minute}, nil); err != nil {
		t.Error(err)
	}
	if err := check(&acquire.Step{Expected: 13 << 30, Source: "kcore", Shared: 2 * time.Hour}, nil); err != nil {
		t.Error(err)
	}
	few := func(n int) func(time.Duration) int {
		return func(limit time.Duration) int {
			if limit != ec2connect.TunnelLife-time.Minute {
				t.Errorf("it fits into %s", limit)
			}
			return n
		}
	}
	err := check(&acquire.Step{Expected: 13 << 30, Source: "lime", Shared: 116 * time.Minute}, few(0))
	if err == nil || hints(err)[0] != "it fits at no number at once, but alone at --limit-total-rate 4MB/s; --method kcore goes on through new tunnels" {
		t.Errorf("%v %q", err, hints(err))
	}
	err = check(&acquire.Step{Expected: 13 << 30, Source: "lime", Shared: 116 * time.Minute}, few(3))
	if want := "a tunnel through eice-00000001 lasts 59m59s, and 13.0 GiB take about 1h56m in turns with the others, by --limit-total-rate: the image would be cut"; err == nil || err.Error() != want || !strings.Contains(hints(err)[0], "it fits with --parallel 3, or ") {
		t.Errorf("%v", err)
	}
	if o = mustParse(t, "--unsigned", "--ssh-config", "none", "--ec2-connect", "endpoint", "i-00000001"); o.Jobs[0].CheckShare != nil {
		t.Error("a share of no limit")
	}
}

// Instances that are named beside a hosts file are contained if a gate is given, as the file's defaults say; other hosts there are not.
func TestEC2ContainBeside(t *testing.T) {
	newEC2Test(t)
	file := writeHosts(t, "defaults: {containment: {mode: deny, untrack_wait: 2s}}\nhosts: [{addr: listed}]\n")
	args := []string{"--unsigned", "-c", file, "--ec2", "tag:Case=42", "web9"}
	if o := mustParse(t, args...); o.follow != nil {
		t.Errorf("%+v", o.follow.hosts)
	}
	o := mustParse(t, append([]string{"--contain", "always"}, args...)...)
	var got []string
	for _, f := range o.follow.hosts {
		for _, p := range f.targets {
			got = append(got, strings.Join([]string{f.host, p.target.String(), f.spec.Gate, f.spec.Mode, f.spec.UntrackWait}, " "))
		}
	}
	want := []string{"i-00000001 arn:aws:ec2:eu-west-1:111122223333:instance/i-00000001 always deny 2s", "i-00000002 arn:aws:ec2:eu-west-1:111122223333:instance/i-00000002 always deny 2s"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, j := range o.Jobs {
		if (j.After != nil) != strings.HasPrefix(hostOf(j), "i-") {
			t.Errorf("%s", hostOf(j))
		}
	}
	if o := mustParse(t, "--unsigned", "--contain", "complete", "i-00000001"); len(o.follow.hosts) != 1 {
		t.Errorf("%+v", o.follow)
	}
}

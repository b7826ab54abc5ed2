package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/transport"
)

const (
	printA = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	printB = "SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
)

// parse runs the flags of capture through the whole program.
func parse(t *testing.T, args ...string) (*captureOptions, error) {
	t.Helper()
	line := append([]string{"shotglass", "capture"}, args...)
	c := newConsole(strings.NewReader(""), new(strings.Builder), new(strings.Builder))
	app := newApp(c, line)
	var o *captureOptions
	cmd := captureCommand(c, line)
	cmd.Action = func(ctx *cli.Context) (err error) {
		o, err = readOptions(c, ctx, line)
		return err
	}
	app.Commands = []*cli.Command{command(c, cmd)}
	err := app.RunContext(context.Background(), line)
	return o, err
}

func mustParse(t *testing.T, args ...string) *captureOptions {
	t.Helper()
	o, err := parse(t, args...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o
}

func secretOf(t *testing.T, f transport.SecretFunc) string {
	t.Helper()
	if f == nil {
		return ""
	}
	s, err := f(context.Background(), "x")
	if err != nil {
		t.Fatal(err)
	}
	return string(s)
}

func settingOf(o *captureOptions, name string) acquire.Setting {
	for _, s := range o.Engine.Settings {
		if s.Name == name {
			return s
		}
	}
	return acquire.Setting{}
}

func targetsOf(o *captureOptions) (targets []transport.Target) {
	for _, j := range o.Jobs {
		targets = append(targets, j.Target)
	}
	return targets
}

var ignoreSecrets = cmpopts.IgnoreFields(transport.Auth{}, "Passphrase", "Password")

func TestOptionsDefaults(t *testing.T) {
	testApp(t) // clears the environment
	o := mustParse(t, "web1")
	e := o.Engine
	if e.Compression != "zstd" || e.Level != "fastest" || e.Threads != 0 || e.StallTimeout != 5*time.Minute || e.CleanupTimeout != 90*time.Second || e.Parallel != 0 ||
		e.Modules != nil || e.SudoPassword != nil || e.AllowUnverifiedModule || e.AllowLowSpace || e.LimeTimeout != 0 || e.Operator == "" {
		t.Errorf("defaults: %+v", e)
	}
	if d := e.Dialer.(*transport.SSH); d.DialTimeout != 20*time.Second || d.ConfigFiles != nil {
		t.Errorf("dialer: %+v", d)
	}
	want := []transport.Target{{Name: "web1"}}
	if d := cmp.Diff(want, targetsOf(o), ignoreSecrets, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if o.Jobs[0].Target.Auth.Password != nil {
		t.Error("a password comes from nowhere")
	}
	if s := settingOf(o, "compress"); s.Value != "zstd" || s.Origin != "default" {
		t.Errorf("setting: %+v", s)
	}
	if s := settingOf(o, "lime-timeout"); s.Name != "" {
		t.Errorf("hidden flag is recorded though unset: %+v", s)
	}
}

func TestOptionsMapping(t *testing.T) {
	testApp(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("hunter2\r\nsecond line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SHOTGLASS_SUDO_PASSWORD", "from env")
	t.Setenv("SHOTGLASS_CASE", "env case")
	t.Setenv("SHOTGLASS_STALL_TIMEOUT", "7m")
	o := mustParse(t, "-o", dir, "--case", "C-1,2", "--operator", "alice", "--user", "root", "-p", "2200",
		"-i", "a,b", "-i=c", "--no-agent", "--jump", "u@j1:2,j2", "--known-hosts", "kh", "--host-key", printA,
		"--host-key", "j2="+printB, "--ssh-config", "none", "--dial-timeout=5s", "--password-file", secret,
		"--module", dir, "--compress", "none", "--parallel", "3", "--lime-timeout", "1000", "--sign-key", "k",
		"web1", "bob@web2:22")
	e := o.Engine
	if e.Case != "C-1,2" || e.Operator != "alice" || e.Compression != "none" || e.Parallel != 3 || e.StallTimeout != 7*time.Minute ||
		e.LimeTimeout != 1000 || e.Modules == nil || o.SignKey != "k" {
		t.Errorf("options: %+v", o)
	}
	if e := mustParse(t, "--compress-level", "better", "--compress-threads", "2", "web1").Engine; e.Level != "better" || e.Threads != 2 {
		t.Errorf("options: %+v", e)
	}
	if len(o.Warnings) != 1 || !strings.Contains(o.Warnings[0], "ZEROS") {
		t.Errorf("warnings: %q", o.Warnings)
	}
	if d := e.Dialer.(*transport.SSH); d.DialTimeout != 5*time.Second || !cmp.Equal(d.ConfigFiles, []string{"none"}) {
		t.Errorf("dialer: %+v", d)
	}
	auth := transport.Auth{KeyFiles: []string{"a,b", "c"}, NoAgent: true}
	known := []string{"kh"}
	jumps := []transport.Target{
		{Name: "j1", User: "u", Port: 2, Auth: auth, HostKey: transport.HostKeyPolicy{KnownHosts: known}},
		{Name: "j2", Auth: auth, HostKey: transport.HostKeyPolicy{KnownHosts: known, Fingerprints: []string{printB}}},
	}
	policy := transport.HostKeyPolicy{KnownHosts: known, Fingerprints: []string{printA}}
	want := []transport.Target{
		{Name: "web1", User: "root", Port: 2200, Auth: auth, HostKey: policy, Jumps: jumps},
		{Name: "web2", User: "bob", Port: 22, Auth: auth, HostKey: policy, Jumps: jumps},
	}
	if d := cmp.Diff(want, targetsOf(o), ignoreSecrets, cmpopts.EquateEmpty()); d != "" {
		t.Error(d)
	}
	if s := secretOf(t, o.Jobs[0].Target.Auth.Password); s != "hunter2" {
		t.Errorf("password %q", s)
	}
	if s := secretOf(t, e.SudoPassword); s != "from env" {
		t.Errorf("sudo password %q", s)
	}
	if _, ok := os.LookupEnv("SHOTGLASS_SUDO_PASSWORD"); ok {
		t.Error("the sudo password stays in the environment, for every proxy command to see")
	}
	for _, j := range o.Jobs[0].Target.Jumps {
		if j.Auth.Password != nil {
			t.Errorf("jump host %s gets the target's password", j.Name)
		}
	}
	for name, want := range map[string][2]string{
		"case":            {"C-1,2", "flag"},
		"key":             {"a,b\nc", "flag"},
		"output":          {dir, "flag"},
		"port":            {"2200", "flag"},
		"no-agent":        {"true", "flag"},
		"stall-timeout":   {"7m0s", "env SHOTGLASS_STALL_TIMEOUT"},
		"connect-timeout": {"5s", "flag"},
		"lime-timeout":    {"1000", "flag"},
		"json":            {"false", "default"},
		"parallel":        {"3", "flag"},
		"sudo-password":   {"(secret, not recorded)", "env SHOTGLASS_SUDO_PASSWORD"},
		"password":        {"(secret, not recorded)", "file"},
	} {
		if s := settingOf(o, name); s.Value != want[0] || s.Origin != want[1] {
			t.Errorf("setting %s: %+v, want %q", name, s, want)
		}
	}
	for _, s := range o.Engine.Settings {
		if strings.Contains(s.Value, "hunter2") || strings.Contains(s.Value, "from env") {
			t.Errorf("setting %s holds a secret", s.Name)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	testApp(t)
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{},
		{""},
		{"web1", "--json"},
		{"--", "-oProxyCommand=id"},
		{"--nope", "web1"},
		{"--port", "x", "web1"},
		{"--port", "0", "web1"},
		{"--port", "65536", "web1"},
		{"--port", "-1", "web1"},
		{"--stall-timeout", "5", "web1"},
		{"--stall-timeout", "1ms", "web1"},
		{"--cleanup-timeout", "-1s", "web1"},
		{"--compress", "gzip", "web1"},
		{"--compress-level", "best", "web1"},
		{"--compress", "s2", "--compress-level", "better", "web1"},
		{"--compress-threads", "-1", "web1"},
		{"--progress", "loud", "web1"},
		{"--parallel", "-1", "web1"},
		{"--name", "x", "web1", "web2"},
		{"--name", "../x", "web1"},
		{"--name", "x.partial", "web1"},
		{"--name", "x.json", "web1"},
		{"--sign-key", "k", "--unsigned", "web1"},
		{"--module", "/does/not/exist", "web1"},
		{"--module-sha256", strings.Repeat("a", 63), "web1"},
		{"--module", ".", "--module-sha256", "abc", "web1"},
		{"--host-key", "MD5:aa", "web1"},
		{"--host-key", "SHA256:short", "web1"},
		{"--host-key", "web9=" + printA, "web1"},
		{"--host-key", printA, "--insecure-ignore-host-key", "web1"},
		{"--jump", "a,,b", "web1"},
		{"--jump", "$(id)", "web1"},
		{"--jump", "a", "--proxy-command", "x", "web1"},
		{"--user", "-x", "web1"},
		{"--password-file", "/does/not/exist", "web1"},
		{"--password-file", empty, "web1"},
		{"--password-file", empty, "--ask-password", "web1"},
		{"--lime-timeout", "-1", "web1"},
		{"--lime-port", "70000", "web1"},
		{"web1", "root@web1"},
		{"web1:22", "web1:2222"},
		{"-i", "a", "--key", "b", "web1"},
	} {
		_, err := parse(t, args...)
		if exitCode(err) != exitUsage {
			t.Errorf("%q: %v, want a usage error", args, err)
		} else if len(hints(err)) == 0 {
			t.Errorf("%q: %v comes without a hint", args, err)
		}
	}
}

func TestOneAddressWithSeveralPorts(t *testing.T) {
	testApp(t)
	o := mustParse(t, "127.0.0.1:2201", "127.0.0.1:2202", "[::1]:22", "[::1]:23")
	for i, want := range []string{"127.0.0.1:2201", "127.0.0.1:2202", "[::1]:22", "[::1]:23"} {
		if o.Jobs[i].Target.Name != want || o.Jobs[i].Target.Host == "" {
			t.Errorf("target %d: %+v", i, o.Jobs[i].Target)
		}
	}
}

func TestNoJump(t *testing.T) {
	testApp(t)
	if o := mustParse(t, "--jump", "none", "web1"); !o.Jobs[0].Target.NoJumps {
		t.Error("--jump none does not turn jumps off")
	}
}

func TestPrompterAsksOnceAndNotLate(t *testing.T) {
	p := newPrompter(nil)
	p.known["web1"] = []byte("x")
	p.close()
	if s, err := p.secret(context.Background(), "web1"); string(s) != "x" || err != nil {
		t.Errorf("known answer: %q, %v", s, err)
	}
	if _, err := p.secret(context.Background(), "web2"); err != transport.ErrNoSecret {
		t.Errorf("question after the start: %v", err)
	}
	p.asking <- struct{}{} // somebody else is being asked
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(&signalError{"SIGINT"})
	if _, err := p.secret(ctx, "web3"); exitCode(err) != exitInterrupted {
		t.Errorf("question that was interrupted: %v", err)
	}
}

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// captureOptions is what capture and plan were asked to do.
type captureOptions struct {
	Jobs   []acquire.Job
	Engine acquire.Options

	SignKey  string // path; empty for none
	Unsigned bool

	JSON     bool
	Quiet    bool
	Progress string // auto, bar, lines, none

	Warnings []string

	prompts    *prompter
	passphrase transport.SecretFunc
}

// readOptions turns flags, environment and arguments into options. It touches nothing
// but the files that it is told to read.
func readOptions(c *console, ctx *cli.Context, args []string) (*captureOptions, error) {
	o := &captureOptions{
		SignKey: ctx.String("sign-key"), Unsigned: ctx.Bool("unsigned"),
		JSON: ctx.Bool("json"), Quiet: ctx.Bool("quiet"), Progress: ctx.String("progress"),
		prompts: newPrompter(c),
	}
	e := &o.Engine
	e.Settings = settings(ctx, args)
	e.Tool = toolInfo()
	e.Case, e.Operator = ctx.String("case"), ctx.String("operator")
	name := ctx.String("name")
	if e.Operator == "" {
		e.Operator = operator()
	}
	for i := range e.Settings {
		if e.Settings[i].Name == "operator" {
			e.Settings[i].Value = e.Operator
		}
	}
	e.Compression = ctx.String("compress")
	e.AllowUnverifiedModule = ctx.Bool("insecure-unverified-module")
	e.AllowLowSpace = ctx.Bool("allow-low-space")
	e.StallTimeout, e.CleanupTimeout = ctx.Duration("stall-timeout"), ctx.Duration("cleanup-timeout")
	e.Parallel, e.LimePort, e.LimeTimeout = ctx.Int("parallel"), ctx.Int("lime-port"), ctx.Int("lime-timeout")

	switch {
	case ctx.NArg() == 0:
		return nil, usagef("no host")
	case name != "" && ctx.NArg() > 1:
		return nil, usagef("--name is for a single host, there are %d", ctx.NArg())
	case !slices.Contains(compressions, e.Compression):
		return nil, usagef("--compress %q: want %s", e.Compression, strings.Join(compressions, " or "))
	case !slices.Contains(progresses, o.Progress):
		return nil, usagef("--progress %q: want one of %s", o.Progress, strings.Join(progresses, ", "))
	case e.Parallel < 0:
		return nil, usagef("--parallel %d: want a number from 1, or 0 for all", e.Parallel)
	case e.LimePort != 0 && checkPort(e.LimePort) != nil:
		return nil, usagef("--lime-port %d is not from 1 to 65535", e.LimePort)
	case o.SignKey != "" && o.Unsigned:
		return nil, usagef("--sign-key and --unsigned exclude each other").fix("unset SHOTGLASS_SIGN_KEY or leave --unsigned out")
	}
	if name != "" {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"stall-timeout", "cleanup-timeout", "dial-timeout"} {
		if d := ctx.Duration(name); d < time.Second {
			return nil, usagef("--%s %s: want a second or more, such as 90s or 5m", name, d)
		}
	}
	if e.LimeTimeout < 0 {
		return nil, usagef("--lime-timeout %d is negative", e.LimeTimeout)
	} else if e.LimeTimeout > 0 {
		o.Warnings = append(o.Warnings, fmt.Sprintf("--lime-timeout %d: LiME WILL FILL MEMORY WITH ZEROS when it has to wait; this is for tests, never for evidence", e.LimeTimeout))
	}

	dialer := &transport.SSH{DialTimeout: ctx.Duration("dial-timeout"), Logger: c.log()}
	if f := ctx.String("ssh-config"); f != "" {
		dialer.ConfigFiles = []string{f}
	}
	e.Dialer, e.Log = dialer, c.log()
	var err error
	if e.Sink, err = readSink(ctx); err != nil {
		return nil, err
	}
	if e.Modules, err = readModules(ctx.StringSlice("module"), ctx.StringSlice("module-sha256")); err != nil {
		return nil, err
	}
	if err := o.readSecrets(ctx); err != nil {
		return nil, err
	}
	if name != "" {
		o.Jobs[0].Name = name
	}
	return o, nil
}

var (
	compressions = []string{"zstd", "none"}
	progresses   = []string{"auto", "bar", "lines", "none"}
)

func checkName(name string) error {
	if err := sink.ValidName(name); err != nil {
		return usagef("--name: %v", err)
	}
	if strings.HasSuffix(name, sink.PartialSuffix) || strings.HasSuffix(name, acquire.ManifestSuffix) {
		return usagef("--name %q: the suffixes %s and %s are taken", name, sink.PartialSuffix, acquire.ManifestSuffix)
	}
	return nil
}

// readSecrets opens the sources of secrets and makes the targets, which need them.
func (o *captureOptions) readSecrets(ctx *cli.Context) error {
	e := &o.Engine
	open := func(s secretSource) (f transport.SecretFunc, err error) {
		s.flag, s.file = s.what+"-file", ctx.String(s.what+"-file")
		if !s.always {
			s.ask = ctx.Bool("ask-" + s.what)
		}
		f, origin, err := s.open(o.prompts)
		e.Settings = append(e.Settings, acquire.Setting{Name: s.what, Value: "(secret, not recorded)", Origin: origin})
		return f, err
	}
	password, err := open(secretSource{what: "password", env: "SHOTGLASS_PASSWORD"})
	if err != nil {
		return err
	}
	if e.SudoPassword, err = open(secretSource{what: "sudo-password", env: "SHOTGLASS_SUDO_PASSWORD"}); err != nil {
		return err
	}
	if o.passphrase, err = open(secretSource{what: "key-passphrase", env: "SHOTGLASS_KEY_PASSPHRASE", always: true}); err != nil {
		return err
	}
	auth := transport.Auth{KeyFiles: ctx.StringSlice("key"), Passphrase: o.passphrase, Password: password, NoAgent: ctx.Bool("no-agent")}
	targets, err := readTargets(ctx, auth)
	o.Jobs = acquire.Jobs(targets...)
	return err
}

// readTargets makes a target of each HOST.
func readTargets(ctx *cli.Context, auth transport.Auth) ([]transport.Target, error) {
	user, port := ctx.String("user"), ctx.Int("port")
	if user != "" {
		if err := checkUser(user); err != nil {
			return nil, err
		}
	}
	if port != 0 || ctx.IsSet("port") {
		if err := checkPort(port); err != nil {
			return nil, err
		}
	}
	known, insecure := ctx.StringSlice("known-hosts"), ctx.Bool("insecure-ignore-host-key")
	pinned, err := parsePins(ctx.StringSlice("host-key"))
	if err != nil {
		return nil, err
	}
	if insecure && len(pinned) > 0 {
		return nil, usagef("--insecure-ignore-host-key and --host-key exclude each other")
	}
	jumps, noJumps, err := readJumps(ctx.String("jump"), auth)
	if err != nil {
		return nil, err
	}
	proxy := ctx.String("proxy-command")
	if proxy != "" && len(jumps) > 0 {
		return nil, usagef("--proxy-command and --jump exclude each other")
	}
	for i := range jumps {
		jumps[i].HostKey = pinned.policy(jumps[i].Name, true, known, insecure)
	}

	var targets []transport.Target
	for _, arg := range ctx.Args().Slice() {
		h, err := parseHost(arg)
		if err != nil {
			return nil, err
		}
		t := transport.Target{Name: h.Host, User: h.User, Port: h.Port, Auth: auth, Jumps: jumps, NoJumps: noJumps, ProxyCommand: proxy}
		t.HostKey = pinned.policy(h.Host, false, known, insecure)
		if t.User == "" {
			t.User = user
		}
		if t.Port == 0 {
			t.Port = port
		}
		targets = append(targets, t)
	}
	used := map[string]bool{}
	for _, t := range targets {
		used[t.Name] = true
	}
	for _, j := range jumps {
		used[j.Name] = true
	}
	for host := range pinned {
		if host != "" && !used[host] {
			return nil, usagef("--host-key pins a key of %q, which is neither a HOST nor a jump host here", host)
		}
	}
	return targets, distinct(targets)
}

// readJumps reads --jump. The hosts on the way get the keys, but no password:
// what is meant for the target is not shown to others.
func readJumps(spec string, auth transport.Auth) (jumps []transport.Target, none bool, err error) {
	if spec == "" || spec == "none" {
		return nil, spec == "none", nil
	}
	jumps, err = transport.ParseJumps(spec)
	if err != nil {
		return nil, false, usagef("--jump: %v", err)
	}
	for i := range jumps {
		if err := checkHost(spec, jumps[i].Name); err != nil {
			return nil, false, err
		}
		if jumps[i].User != "" {
			if err := checkUser(jumps[i].User); err != nil {
				return nil, false, err
			}
		}
		jumps[i].Auth = transport.Auth{KeyFiles: auth.KeyFiles, Passphrase: auth.Passphrase, NoAgent: auth.NoAgent}
	}
	return jumps, false, nil
}

// distinct makes sure that a name stands for one target, as everything is reported
// by name. Addresses that differ in their port get it into their name; for names that
// would hide their ssh_config entry.
func distinct(targets []transport.Target) error {
	count := map[string]int{}
	for _, t := range targets {
		count[t.Name]++
	}
	seen := map[string]bool{}
	for i := range targets {
		t := &targets[i]
		if count[t.Name] > 1 && t.Port != 0 && isAddress(t.Name) {
			t.Host = t.Name
			t.Name = joinHostPort(t.Host, t.Port)
		}
		if seen[t.Name] {
			return usagef("host %q is given twice", t.Name).fix("to reach two machines under one name, give each a Host entry in ssh_config and name that")
		}
		seen[t.Name] = true
	}
	return nil
}

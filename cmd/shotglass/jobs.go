package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/transport"
)

// A jobMaker turns hosts into jobs. What a flag or its variable says outweighs the
// hosts file, which outweighs the defaults.
type jobMaker struct {
	ctx  *cli.Context
	o    *captureOptions
	file *hostsfile.File // an empty one if there is none
	repo *repositories   // for all hosts

	auth  transport.Auth // of flags and variables
	sudo  transport.SecretFunc
	pins  pins
	jumps []transport.Target // of --jump
	used  map[string]bool    // hosts and jump hosts, to find pins that are nobody's

	stores  map[string]kernelmodules.Store
	sinks   map[string]sink.Sink
	secrets map[*hostsfile.Secret]transport.SecretFunc
	env     []string // variables that held secrets
	errs    []error
}

// makeJobs makes the jobs of the file's hosts and of those on the command line.
func makeJobs(ctx *cli.Context, o *captureOptions, file *hostsfile.File, repo *repositories, args []hostSpec, auth transport.Auth) ([]acquire.Job, error) {
	m := &jobMaker{
		ctx: ctx, o: o, file: file, repo: repo, auth: auth, sudo: o.Engine.SudoPassword, used: map[string]bool{},
		stores: map[string]kernelmodules.Store{}, sinks: map[string]sink.Sink{}, secrets: map[*hostsfile.Secret]transport.SecretFunc{},
	}
	if err := m.readFlags(); err != nil {
		return nil, err
	}
	var listed, given []acquire.Job
	names := file.Names()
	for i, h := range file.Merged() {
		j := m.job(names[i], h, hostSpec{})
		if names[i] != h.Addr {
			j.Host = names[i]
		}
		listed = append(listed, j)
	}
	for _, a := range args {
		j := m.job(cmp.Or(a.Name, a.Host), hostsfile.Host{Addr: a.Host}.Over(file), a)
		j.Host = a.Name
		given = append(given, j)
	}
	for _, name := range m.env {
		os.Unsetenv(name) // no proxy command inherits it
	}
	if len(m.errs) > 0 {
		return nil, usagef("%v", errors.Join(m.errs...)).fix("nothing was connected to; correct the hosts file or the flags")
	}
	for host := range m.pins {
		if host != "" && !m.used[host] {
			return nil, usagef("--host-key pins a key of %q, which is neither a HOST nor a jump host here", host)
		}
	}
	if err := o.distinctWays(slices.Concat(listed, given)); err != nil {
		return nil, err
	}
	if err := distinct(given); err != nil {
		return nil, err
	}
	jobs := append(listed, given...)
	seen := map[string]bool{}
	for _, j := range jobs {
		if name := strings.ToLower(hostOf(j)); seen[name] {
			return nil, usagef("host %q is given twice, in the hosts file and beside it", hostOf(j)).fix("leave one of them out")
		} else {
			seen[name] = true
		}
	}
	return jobs, nil
}

// readFlags reads what holds for all hosts.
func (m *jobMaker) readFlags() error {
	ctx := m.ctx
	if user := ctx.String("user"); user != "" {
		if err := checkUser(user); err != nil {
			return err
		}
	}
	if ctx.IsSet("port") {
		if err := checkPort(ctx.Int("port")); err != nil {
			return err
		}
	}
	var err error
	if m.pins, err = parsePins(ctx.StringSlice("host-key")); err != nil {
		return err
	}
	if ctx.Bool("insecure-ignore-host-key") && len(m.pins) > 0 {
		return usagef("--insecure-ignore-host-key and --host-key exclude each other")
	}
	if m.jumps, _, err = readJumps(ctx.String("jump"), m.auth); err != nil {
		return err
	}
	if key := ctx.String("jump-key"); key != "" {
		for i := range m.jumps {
			m.jumps[i].Auth.KeyFiles = []string{key}
		}
	}
	if ctx.String("proxy-command") != "" && len(m.jumps) > 0 {
		return usagef("--proxy-command and --jump exclude each other")
	}
	for i, j := range m.jumps {
		m.jumps[i].HostKey = m.policy(j.Name, true, nil, nil)
		m.used[j.Name] = true
	}
	return nil
}

// policy is the host key policy for a host that the file pins to fingerprints. A pin of
// the file stands against --insecure-ignore-host-key, which is for hosts without.
func (m *jobMaker) policy(host string, jump bool, fingerprints, known []string) transport.HostKeyPolicy {
	if m.ctx.IsSet("known-hosts") {
		known = m.ctx.StringSlice("known-hosts")
	}
	p := m.pins.policy(host, jump, known, m.ctx.Bool("insecure-ignore-host-key"))
	if len(p.Fingerprints) == 0 {
		p.Fingerprints = fingerprints
	}
	return p
}

// job makes the job of one host, called name; arg is what the command line says of it.
func (m *jobMaker) job(name string, h hostsfile.Host, arg hostSpec) (j acquire.Job) {
	ctx := m.ctx
	fail := func(what string, err error) { m.errs = append(m.errs, fmt.Errorf("host %q: %s: %w", name, what, err)) }
	given := map[string]string{} // what the file said and nobody outweighed, by flag
	fromFile := func(flag, value string) bool {
		if ctx.IsSet(flag) || value == "" {
			return false
		}
		given[flag] = value
		return true
	}
	list := func(s []string) string { return strings.Join(s, "\n") }

	t := transport.Target{Name: h.Addr, User: ctx.String("user"), Port: ctx.Int("port"), Auth: m.auth}
	if fromFile("user", h.Username) {
		t.User = h.Username
	}
	if h.Port != 0 && fromFile("port", strconv.Itoa(h.Port)) {
		t.Port = h.Port
	}
	if arg.User != "" {
		t.User = arg.User
	}
	if arg.Port != 0 {
		t.Port = arg.Port
	}
	if fromFile("key", list(h.Key)) {
		t.Auth.KeyFiles = h.Key
	}
	if m.auth.Password == nil && h.Password != nil {
		t.Auth.Password = m.secret(h.Password, func(err error) { fail("password", err) })
		given["password"] = secretValue
	}
	if !m.o.passphraseGiven && h.Passphrase != nil {
		t.Auth.Passphrase = m.secret(h.Passphrase, func(err error) { fail("passphrase", err) })
		given["key-passphrase"] = secretValue
	}
	j = acquire.Job{Name: h.Filename, Labels: h.Labels}
	if m.sudo == nil && h.SudoPassword != nil {
		j.SudoPassword = m.secret(h.SudoPassword, func(err error) { fail("sudo_password", err) })
		given["sudo-password"] = secretValue
	}

	t.HostKey = m.policy(h.Addr, false, h.HostKey, h.KnownHosts)
	if name != h.Addr && len(m.pins[name]) > 0 {
		t.HostKey.Fingerprints = m.pins[name]
	}
	m.used[h.Addr], m.used[name] = true, true
	fromFile("known-hosts", list(h.KnownHosts))
	fromFile("host-key", list(h.HostKey))

	switch {
	case ctx.IsSet("jump") || ctx.IsSet("proxy-command"):
		t.Jumps, t.NoJumps, t.ProxyCommand = m.jumps, ctx.String("jump") == "none", ctx.String("proxy-command")
	case fromFile("proxy-command", h.ProxyCommand):
		t.ProxyCommand = h.ProxyCommand
	default:
		var hops []string
		for i, hop := range h.Route() {
			t.Jumps = append(t.Jumps, m.jump(hop, h, func(what string, err error) { fail(fmt.Sprintf("jumps[%d].%s", i, what), err) }))
			hops = append(hops, hop.Addr)
		}
		fromFile("jump", strings.Join(hops, ","))
	}
	j.Target = t
	if fromFile("limit-rate", h.LimitRate) {
		j.LimitRate, _ = acquire.ParseRate(h.LimitRate) // checked by the hosts file
	}

	if h.Freeze != nil && fromFile("freeze", strconv.FormatBool(*h.Freeze)) {
		j.Freeze = h.Freeze
	}
	if fromFile("freeze-exempt", list(h.FreezeExempt)) {
		var err error
		if j.FreezeExempt, err = exemptions(h.FreezeExempt); err != nil {
			fail("freeze_exempt", err)
		}
	}

	if e := m.o.ec2[name]; e != nil {
		defer func() { e.complete(&j, m.o.Engine.Settings, j.Target.User != "") }()
	}
	if m.file.Path == "" {
		return j // all else stands in the options
	}
	modules, pins := ctx.StringSlice("module"), ctx.StringSlice("module-sha256")
	if fromFile("module", list(h.Module)) {
		modules = h.Module
	}
	if fromFile("module-sha256", list(h.ModuleSHA256)) {
		pins = h.ModuleSHA256
	}
	if fromFile("method", h.Method) {
		j.Method = h.Method
	}
	if n := int(h.Connections); h.Connections == hostsfile.Auto && fromFile("connections", "auto") {
		j.Connections = acquire.AutoConnections
	} else if n > 0 && fromFile("connections", strconv.Itoa(n)) {
		j.Connections = n
	}
	if fromFile("compress-on-target", h.CompressOnTarget) {
		j.CompressOnTarget = h.CompressOnTarget
	}
	if h.Swap != nil && fromFile("swap", strconv.FormatBool(*h.Swap)) {
		j.Swap = h.Swap
	}
	var err error
	if fromFile("collect", list(h.Collect)) {
		if j.Collect, err = live.Parse(h.Collect); err != nil {
			fail("collect", err)
		}
		j.Collect = append([]live.Kind{}, j.Collect...) // none is not nil
	}
	if h.Symbols != nil && fromFile("symbols", strconv.FormatBool(*h.Symbols)) {
		m.o.symbolsOf[name] = *h.Symbols
	}
	j.ModulePins = pins
	if j.Modules, err = m.store(modules, pins); err != nil {
		fail("module", err)
	}
	if !ctx.IsSet("to") && fromFile("output", h.Output) {
		if j.Sink, err = m.sink(h.Output); err != nil {
			fail("output", err)
		}
	}
	if !ctx.IsSet("recipient") && !ctx.IsSet("recipients-file") {
		fromFile("recipient", list(h.Recipients))
		fromFile("recipients-file", list(h.RecipientsFile))
		if j.Recipients, err = readRecipients(h.Recipients, h.RecipientsFile); err != nil {
			fail("recipients", err)
		}
	}
	if h.Filename != "" {
		given["name"] = h.Filename
	}
	j.Settings = slices.Clone(m.o.Engine.Settings)
	for _, flag := range slices.Sorted(maps.Keys(given)) {
		j.Settings = setSetting(j.Settings, flag, given[flag], "file "+m.file.Path)
	}
	if arg.User != "" {
		j.Settings = setSetting(j.Settings, "user", arg.User, "argument")
	}
	if arg.Port != 0 {
		j.Settings = setSetting(j.Settings, "port", strconv.Itoa(arg.Port), "argument")
	}
	return j
}

// jump makes a host on the way. It gets none of the target's credentials, but
// the keys of --key, which are for all.
func (m *jobMaker) jump(hop hostsfile.Jump, h hostsfile.Host, fail func(string, error)) transport.Target {
	m.used[hop.Addr] = true
	t := transport.Target{Name: hop.Addr, User: hop.Username, Port: hop.Port}
	t.Auth = transport.Auth{KeyFiles: m.auth.KeyFiles, Passphrase: m.auth.Passphrase, NoAgent: m.auth.NoAgent}
	if len(hop.Key) > 0 {
		t.Auth.KeyFiles = hop.Key
	}
	if hop.Password != nil {
		t.Auth.Password = m.secret(hop.Password, func(err error) { fail("password", err) })
	}
	if hop.Passphrase != nil {
		t.Auth.Passphrase = m.secret(hop.Passphrase, func(err error) { fail("passphrase", err) })
	}
	known := hop.KnownHosts
	if len(known) == 0 {
		known = h.KnownHosts
	}
	t.HostKey = m.policy(hop.Addr, true, hop.HostKey, known)
	return t
}

// secretValue is what the manifest says of a secret.
const secretValue = "(secret, not recorded)"

// secret opens a secret of the file, once however many hosts share it.
func (m *jobMaker) secret(s *hostsfile.Secret, fail func(error)) transport.SecretFunc {
	if f, known := m.secrets[s]; known {
		return f
	}
	f, err := s.Func(os.LookupEnv)
	if err != nil {
		fail(err)
	}
	if s.Env != "" {
		m.env = append(m.env, s.Env)
	}
	m.secrets[s] = f
	return f
}

// store opens modules, once however many hosts share them.
func (m *jobMaker) store(modules, pins []string) (kernelmodules.Store, error) {
	key := strings.Join(modules, "\x00") + "\x00\x00" + strings.Join(pins, "\x00")
	if s, known := m.stores[key]; known {
		return s, nil
	}
	s, err := readModules(modules, pins, m.repo)
	if err == nil {
		m.stores[key] = s
	}
	return s, err
}

// sink opens a folder, or a place in S3, once however many hosts share it.
func (m *jobMaker) sink(dir string) (sink.Sink, error) {
	if s, known := m.sinks[dir]; known {
		return s, nil
	}
	var s sink.Sink
	var err error
	if s3.IsURL(dir) {
		s, err = m.o.bucket(dir)
	} else {
		s, err = sink.NewDisk(dir)
	}
	if err != nil {
		return nil, err
	}
	m.sinks[dir] = s
	return s, nil
}

// distinct makes sure that a name stands for one target, as everything is reported
// by name. Addresses that differ in their port get it into their name; for names that
// would hide their ssh_config entry.
func distinct(jobs []acquire.Job) error {
	count := map[string]int{}
	for _, j := range jobs {
		count[j.Target.Name]++
	}
	seen := map[string]bool{}
	for i := range jobs {
		t := &jobs[i].Target
		if count[t.Name] > 1 && t.Port != 0 && isAddress(t.Name) {
			t.Host = t.Name
			t.Name = joinHostPort(t.Host, t.Port)
		}
		if seen[t.Name] {
			return usagef("host %q is given twice", t.Name).fix("to reach two machines under one name, give each a Host entry in ssh_config and name that, or a name in a hosts file")
		}
		seen[t.Name] = true
	}
	return nil
}

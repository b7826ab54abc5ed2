package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/freeze"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/shotglass/notify"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/transport"
)

// captureOptions is what capture and plan were asked to do.
type captureOptions struct {
	Jobs   []acquire.Job
	Engine acquire.Options

	SignKey  string // path; empty for none
	Unsigned bool
	Resume   bool
	All      bool   // or none
	Signers  string // path; whom --resume trusts too

	JSON     bool
	Quiet    bool
	Progress string // auto, bar, lines, none

	Symbols   bool            // make symbol files of what was collected
	symbolsOf map[string]bool // of hosts of which the hosts file says it, by name
	sealed    *sealedSymbols  // of images that are encrypted; nil: no symbol file is asked for

	Warnings    []string
	LeftOut     []leftOut       // instances that are not captured
	NotSearched []inventory.Gap // where selected instances may be that nobody could see
	Notify      []notify.Target
	LogDir      string
	LogPrefix   string

	ec2             map[string]*ec2Host                 // hosts that are EC2 instances, by name
	key             *ec2connect.Key                     // that is pushed to them; nil: there are none
	follow          *followUps                          // what is contained with the hosts; nil: nothing
	gather          *gatherings                         // what is gathered of instances beside; nil: nothing
	terms           s3.Options                          // of evidence in S3
	bucket          func(url string) (sink.Sink, error) // opens a place in S3; nil: none is asked for
	prompts         *prompter
	passphrase      transport.SecretFunc
	passphraseGiven bool // by a flag or a variable, not only asked for
}

// readOptions turns flags, environment and arguments into options. It touches nothing
// but the files that it is told to read, and asks AWS if hosts are named by what only that knows.
func readOptions(c *console, ctx *cli.Context, args []string) (*captureOptions, error) {
	theirs, err := readMargarita(ctx)
	if err != nil {
		return nil, err
	}
	o := &captureOptions{
		SignKey: ctx.String("sign-key"), Unsigned: ctx.Bool("unsigned"),
		Resume: ctx.Bool("resume"), All: ctx.Bool("require-all"), Signers: ctx.String("signers"),
		JSON: ctx.Bool("json"), Quiet: ctx.Bool("quiet"), Progress: ctx.String("progress"),
		prompts: newPrompter(c),
	}
	e := &o.Engine
	e.Settings = settings(ctx, args)
	for _, s := range theirs {
		e.Settings = setSetting(e.Settings, s.Name, s.Value, s.Origin)
	}
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
	e.Compression, e.Level, e.Threads = ctx.String("compress"), ctx.String("compress-level"), ctx.Int("compress-threads")
	e.AllowUnverifiedModule, e.AllowInstalledModule = ctx.Bool("insecure-unverified-module"), ctx.Bool("insecure-installed-module")
	e.AllowLowSpace = ctx.Bool("allow-low-space")
	e.StallTimeout, e.CleanupTimeout = ctx.Duration("stall-timeout"), ctx.Duration("cleanup-timeout")
	e.OpenFiles = openFiles()
	e.ConnectAttempts = ctx.Int("connect-attempts")
	e.Parallel, e.LimePort, e.LimeTimeout = ctx.Int("parallel"), ctx.Int("lime-port"), ctx.Int("lime-timeout")

	if err := errors.Join(readMethod(e, ctx), readFreeze(e, ctx)); err != nil {
		return nil, err
	}

	switch {
	case ctx.NArg() == 0 && ctx.String("config") == "" && ctx.String("server") == "" && len(ctx.StringSlice("ec2")) == 0:
		return nil, usagef("no host")
	case !slices.Contains(compressions, e.Compression):
		return nil, usagef("--compress %q: want one of %s", e.Compression, strings.Join(compressions, ", "))
	case !slices.Contains(frame.Levels, e.Level):
		return nil, usagef("--compress-level %q: want one of %s", e.Level, strings.Join(frame.Levels, ", "))
	case ctx.IsSet("compress-level") && e.Compression != frame.Zstd:
		return nil, usagef("--compress-level is zstd's, and --compress is %s", e.Compression)
	case e.Threads < 0:
		return nil, usagef("--compress-threads %d: want a number from 1, or 0 for all cores", e.Threads)
	case !slices.Contains(progresses, o.Progress):
		return nil, usagef("--progress %q: want one of %s", o.Progress, strings.Join(progresses, ", "))
	case e.ConnectAttempts < 1:
		return nil, usagef("--connect-attempts %d: want a number from 1", e.ConnectAttempts)
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
	for _, name := range []string{"stall-timeout", "cleanup-timeout", "connect-timeout"} {
		if d := ctx.Duration(name); d < time.Second {
			return nil, usagef("--%s %s: want a second or more, such as 90s or 5m", name, d)
		}
	}
	if e.LimeTimeout < 0 {
		return nil, usagef("--lime-timeout %d is negative", e.LimeTimeout)
	} else if e.LimeTimeout > 0 {
		o.Warnings = append(o.Warnings, fmt.Sprintf("--lime-timeout %d: LiME WILL FILL MEMORY WITH ZEROS when it has to wait; this is for tests, never for evidence", e.LimeTimeout))
	}

	dialer := &transport.SSH{DialTimeout: ctx.Duration("connect-timeout"), Logger: c.log()}
	if f := ctx.String("ssh-config"); f != "" {
		dialer.ConfigFiles = []string{f}
	}
	e.Dialer, e.Log = dialer, c.log()
	if e.Recipients, err = readRecipients(ctx.StringSlice("recipient"), ctx.StringSlice("recipients-file")); err != nil {
		return nil, usagef("%v", err).fix("%s", recipientHint)
	}
	o.Symbols, o.symbolsOf = ctx.Bool("symbols"), map[string]bool{}
	if err := o.readBudget(ctx); err != nil {
		return nil, err
	}
	if err := o.readLimits(ctx); err != nil {
		return nil, err
	}
	if err := o.readHosts(c, ctx, name); err != nil {
		return nil, err
	}
	return o, nil
}

var (
	compressions = frame.Compressions
	progresses   = []string{"auto", "bar", "lines", "none"}
)

// readMethod reads how memory is to be read.
func readMethod(e *acquire.Options, ctx *cli.Context) (err error) {
	e.Method, e.AcceptUnreadable = ctx.String("method"), ctx.Int64("accept-unreadable")
	e.Swap = ctx.Bool("swap")
	if e.Collect, err = live.Parse(strings.Split(ctx.String("collect"), ",")); err != nil {
		return usagef("--collect: %v", err)
	}
	if err := readAvml(e, ctx); err != nil {
		return err
	}
	if n := ctx.String("connections"); n != "auto" {
		if e.Connections, err = strconv.Atoi(n); err != nil || e.Connections < 1 || e.Connections > acquire.MaxConnections {
			return usagef("--connections %q: want auto, or a number from 1 to %d", n, acquire.MaxConnections)
		}
	}
	e.CompressOnTarget = ctx.String("compress-on-target")
	switch {
	case !slices.Contains(acquire.Zips, e.CompressOnTarget):
		return usagef("--compress-on-target %q: want one of %s", e.CompressOnTarget, strings.Join(acquire.Zips, ", "))
	case !slices.Contains(acquire.Methods, e.Method):
		return usagef("--method %q: want one of %s", e.Method, strings.Join(acquire.Methods, ", "))
	case e.AcceptUnreadable < 0:
		return usagef("--accept-unreadable %d is negative", e.AcceptUnreadable)
	}
	return nil
}

// readFreeze reads whether user processes are to be stopped, and which not.
func readFreeze(e *acquire.Options, ctx *cli.Context) (err error) {
	e.Freeze, e.FreezeLease = ctx.Bool("freeze"), ctx.Duration("freeze-lease")
	if e.FreezeLease < 10*time.Second || e.FreezeLease > time.Hour || e.FreezeLease%time.Second != 0 {
		return usagef("--freeze-lease %s: want whole seconds, from 10s to 1h", e.FreezeLease)
	}
	e.FreezeExempt, err = exemptions(ctx.StringSlice("freeze-exempt"))
	return err
}

func exemptions(names []string) (list []freeze.Exemption, err error) {
	for _, name := range names {
		x, err := freeze.ParseExemption(name)
		if err != nil {
			return nil, usagef("--freeze-exempt: %v", err)
		}
		list = append(list, x)
	}
	return list, nil
}

// readAvml reads AVML's program.
func readAvml(e *acquire.Options, ctx *cli.Context) (err error) {
	name, pins := ctx.String("avml"), ctx.StringSlice("avml-sha256")
	for _, p := range pins {
		if b, err := hex.DecodeString(strings.TrimPrefix(p, "sha256:")); err != nil || len(b) != sha256.Size {
			return usagef("--avml-sha256 %q: want 64 hexadecimal digits", p)
		}
	}
	if e.AvmlFolder = ctx.String("avml-folder"); e.AvmlFolder != "" && (!path.IsAbs(e.AvmlFolder) || path.Clean(e.AvmlFolder) != e.AvmlFolder) {
		return usagef("--avml-folder %q: want an absolute path without dots", e.AvmlFolder)
	}
	switch {
	case name == "" && ctx.String("method") == acquire.MethodAvml:
		return usagef("--method avml: which one? Name AVML's program").fix("--avml FILE --avml-sha256 HEX; releases are at https://github.com/microsoft/avml/releases")
	case name == "" && (len(pins) > 0 || e.AvmlFolder != ""):
		return usagef("--avml-sha256 and --avml-folder are about the program of --avml, which is missing")
	case name == "":
		return nil
	}
	if e.Avml, err = acquire.ReadAvml(name, pins); err != nil {
		return usagef("--avml: %v", err)
	}
	return nil
}

func checkName(name string) error {
	if err := acquire.ValidImageName(name); err != nil {
		return usagef("--name: %v", err)
	}
	return nil
}

// readBudget reads how much memory captures may take.
func (o *captureOptions) readBudget(ctx *cli.Context) (err error) {
	o.Engine.MemoryBudget = memoryBudget()
	if s := ctx.String("memory-budget"); s != "" {
		if o.Engine.MemoryBudget, err = parseSize(s); err != nil {
			return usagef("--memory-budget: %v", err)
		}
	}
	for i := range o.Engine.Settings {
		if s := &o.Engine.Settings[i]; s.Name == "memory-budget" && s.Value == "" {
			s.Value = strconv.FormatInt(o.Engine.MemoryBudget, 10)
		}
	}
	return nil
}

// readLimits reads how fast memory may be read.
func (o *captureOptions) readLimits(ctx *cli.Context) error {
	for flag, limit := range map[string]*int64{"limit-rate": &o.Engine.LimitRate, "limit-total-rate": &o.Engine.LimitTotalRate} {
		if s := ctx.String(flag); s != "" {
			var err error
			if *limit, err = acquire.ParseRate(s); err != nil {
				return usagef("--%s: %v", flag, err)
			}
		}
	}
	var err error
	if o.Engine.LeastRate, err = acquire.ParseLeastRate(ctx.String("min-rate")); err != nil {
		return usagef("--min-rate: %v", err)
	}
	return nil
}

// readHosts makes the jobs: of the hosts file, and of the hosts named beside it. name is
// that of the image.
func (o *captureOptions) readHosts(c *console, ctx *cli.Context, name string) (err error) {
	e := &o.Engine
	file := &hostsfile.File{}
	if path := ctx.String("config"); path != "" {
		if file, err = readHostsFile(path); err != nil {
			return err
		}
		for _, w := range file.Warnings {
			o.Warnings = append(o.Warnings, plainProblem(w))
		}
		if file.Case != "" && !ctx.IsSet("case") {
			e.Case = file.Case
			e.Settings = setSetting(e.Settings, "case", file.Case, "file "+path)
		}
		if r := file.LimitTotalRate; r != "" && !ctx.IsSet("limit-total-rate") {
			e.LimitTotalRate, _ = acquire.ParseRate(r) // checked by the hosts file
			e.Settings = setSetting(e.Settings, "limit-total-rate", r, "file "+path)
		}
		if file.Workers > 0 && !ctx.IsSet("parallel") {
			e.Parallel = int(file.Workers)
			e.Settings = setSetting(e.Settings, "parallel", strconv.Itoa(e.Parallel), "file "+path)
		}
	}
	repos, err := readRepositories(c, ctx, file, false)
	if err != nil {
		return err
	}
	o.Warnings = append(o.Warnings, repos.Warnings...)
	for _, s := range repos.Settings {
		e.Settings = setSetting(e.Settings, s.Name, s.Value, s.Origin)
	}
	e.ModulePins = ctx.StringSlice("module-sha256")
	if file.Path == "" {
		if e.Modules, err = readModules(ctx.StringSlice("module"), e.ModulePins, repos); err != nil {
			return err
		}
	}
	if e.Sink, err = o.readSink(c, ctx, file); err != nil {
		return err
	}
	given := ctx.Args().Slice()
	if s := ctx.String("server"); s != "" {
		given = append([]string{s}, given...)
	}
	args, err := readHosts(given, c.stdin)
	if err != nil {
		return err
	}
	if args, err = o.findInstances(c, ctx, file, args); err != nil {
		return err
	}
	auth, err := o.readSecrets(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(o.readNotify(ctx, file), o.readLogging(ctx, file)); err != nil {
		return err
	}
	if o.Jobs, err = makeJobs(ctx, o, file, repos, args, auth); err != nil {
		return err
	}
	o.shareRates()
	switch {
	case len(o.Jobs) == 0:
		return usagef("no host")
	case name != "" && len(o.Jobs) > 1:
		return usagef("--name is for a single host, there are %d", len(o.Jobs))
	case name != "":
		o.Jobs[0].Name = name
		if s := o.Jobs[0].Settings; s != nil {
			o.Jobs[0].Settings = setSetting(s, "name", name, "flag")
		}
	}
	if err := o.readFollowUps(c, ctx, file); err != nil {
		return err
	}
	if err := o.readGather(c, ctx); err != nil {
		return err
	}
	return o.readSymbols(c)
}

// readSecrets opens the sources of secrets that flags and variables name.
func (o *captureOptions) readSecrets(ctx *cli.Context) (transport.Auth, error) {
	e := &o.Engine
	open := func(s secretSource) (f transport.SecretFunc, origin string, err error) {
		s.flag, s.file = s.what+"-file", ctx.String(s.what+"-file")
		if !s.always {
			s.ask = ctx.Bool("ask-" + s.what)
		}
		f, origin, err = s.open(o.prompts)
		e.Settings = append(e.Settings, acquire.Setting{Name: s.what, Value: secretValue, Origin: origin})
		return f, origin, err
	}
	var auth transport.Auth
	password, _, err := open(secretSource{what: "password", env: "SHOTGLASS_PASSWORD"})
	if err != nil {
		return auth, err
	}
	if e.SudoPassword, _, err = open(secretSource{what: "sudo-password", env: "SHOTGLASS_SUDO_PASSWORD"}); err != nil {
		return auth, err
	}
	passphrase, origin, err := open(secretSource{what: "key-passphrase", env: "SHOTGLASS_KEY_PASSPHRASE", always: true})
	if err != nil {
		return auth, err
	}
	o.passphrase, o.passphraseGiven = passphrase, origin != "terminal"
	return transport.Auth{KeyFiles: ctx.StringSlice("key"), Passphrase: passphrase, Password: password, NoAgent: ctx.Bool("no-agent")}, nil
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

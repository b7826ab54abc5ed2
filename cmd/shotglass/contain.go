package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
)

const targetArgs = "TARGET..."

const containText = `Takes EC2 instances, IAM users and roles, access keys and Lambda functions out of an attacker's hands: by ARN, or as i-..., user/NAME,
role/NAME, function/NAME, AKIA.... It reads, prints what it would do, asks, does it, and reads it back. Each
change is written to a journal with the state before it, before it is made; shotglass release puts everything back by it.
Standard output gets one line per target, with tabs: target, outcome, journal. docs/containment.md says what is
done to which target, in which order, and what stays open.`

// A containRun is one run of the command contain.
type containRun struct {
	access  awsAccess
	options containment.Options
	apply   containment.ApplyOptions
	targets []containment.Target
	names   []string // with resume: journals that were named in place of targets
	further string   // flags that a journal does not have, for commands

	yes, dryRun, resume, denied, verified bool
	risks                                 []string // accepted

	doors doors
	// apart says that a target that cannot be planned does not keep the others from being contained.
	apart bool
	// became, if set, is told what became of each target: one after the other.
	became func(containedTarget)
}

// A containedTarget is what became of one target.
type containedTarget struct {
	Target  string              `json:"target"`
	Done    bool                `json:"contained"`
	Outcome containment.Outcome `json:"outcome,omitempty"` // empty: it was not begun
	Journal string              `json:"journal,omitempty"`
	Why     string              `json:"why,omitempty"`     // not
	Command string              `json:"command,omitempty"` // that does it

	target containment.Target
}

func (o *containRun) note(t containment.Target, r *containment.Result, done bool, err error) {
	if o.became == nil {
		return
	}
	one := containedTarget{Target: t.String(), Done: done, target: t}
	if r != nil {
		one.Outcome, one.Journal = r.Outcome, r.Journal
	}
	if err != nil {
		one.Why = err.Error()
	}
	o.became(one)
}

// containParallel bounds the targets under way at once: each waits more than a minute for flows.
const containParallel = 8

func containCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "contain", Usage: "isolate instances, lock credentials; with a journal to undo it", ArgsUsage: targetArgs, Description: containText,
		Flags: slices.Concat(containFlags(), journalFlags(), awsFlags(), []cli.Flag{jsonFlag()}, s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o, err := readContain(c, ctx)
			if err != nil {
				return err
			}
			return o.run(ctx.Context, c)
		},
	}
}

func containFlags() []cli.Flag {
	list := func(name, usage string, vars ...string) cli.Flag {
		return &cli.StringSliceFlag{Name: name, EnvVars: vars, Usage: usage, Category: groupContain}
	}
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Category: groupContain, DisableDefaultText: true}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "mode", EnvVars: env("CONTAIN_MODE"), Usage: "for roles: `revoke|deny`, sessions of before now, or all; for functions: strict, the sessions of their roles too", Category: groupContain},
		list("without", "leave out this `STAGE`: "+stageNames(), env("CONTAIN_WITHOUT")...),
		list("cut", "cut hard, too: `public-address|nacl-subnet|stop|trust-policy`", env("CONTAIN_CUT")...),
		list("deny-address", "deny this `ADDRESS` or prefix in the network ACL of the subnet", env("CONTAIN_DENY_ADDRESS")...),
		&cli.StringFlag{Name: "forensic", EnvVars: env("CONTAIN_FORENSIC"), Usage: "let this `SOURCE` in to an isolated instance: a prefix such as 192.0.2.7/32, or a security group", Category: groupContain},
		&cli.IntFlag{Name: "forensic-port", EnvVars: env("CONTAIN_FORENSIC_PORT"), Usage: "on this `PORT`", Value: 22, Category: groupContain},
		&cli.DurationFlag{Name: "untrack-wait", EnvVars: env("CONTAIN_UNTRACK_WAIT"), Usage: "let this `TIME` pass until the groups isolate, so that flows become untracked", Value: 75 * time.Second, Category: groupContain},
		&cli.DurationFlag{Name: "watch", EnvVars: env("CONTAIN_WATCH"), Usage: "see for this `TIME` whether someone undoes it, and do it again", Value: time.Minute, Category: groupContain},
		list("irreversible", "also do this `CHANGE`, which cannot be undone: durable-executions"),
		yes("key-only", "of an access key: leave its user as it is"),
		&cli.StringFlag{Name: "quarantine-tag", EnvVars: env("CONTAIN_QUARANTINE_TAG"), Usage: "tag users and roles with `KEY=VALUE`, which a service control policy of your organisation denies everything to", Category: groupContain},
		yes("dry-run", "say what would be done, and whether it is allowed; change nothing"),
		yes("yes", "do not ask"),
		list("accept-risk", "do not ask about this `RISK`"),
		yes("resume", "go on with what was interrupted, with the options of its journal, which may be named in place of the target"),
		yes("despite-denied", "begin although permissions seem to be missing"),
		yes("require-verified", "exit with 5 for an instance whose flows nobody looked at, too"),
	}
}

const groupContain = "Containment"

// applyFlags are about how a plan is carried out: its journal does not have them.
var applyFlags = []string{"watch", "accept-risk", "despite-denied", "require-verified"}

func stageNames() string {
	var names []string
	for _, s := range containment.Stages {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func readContain(c *console, ctx *cli.Context) (*containRun, error) {
	o, err := readContainOptions(c, ctx)
	if err != nil {
		return nil, err
	}
	if ctx.NArg() == 0 {
		return nil, usagef("no target").fix("name one: an ARN, i-..., user/NAME, role/NAME, function/NAME or AKIA...")
	}
	for _, a := range ctx.Args().Slice() {
		if o.resume && strings.HasSuffix(a, containment.JournalSuffix) {
			if err := checkJournal(a); err != nil {
				return nil, err
			}
			if slices.Contains(o.names, a) {
				return nil, usagef("%s is named twice", a)
			}
			o.names = append(o.names, a)
			continue
		}
		t, err := containment.ParseTarget(a)
		if err != nil {
			return nil, usagef("%v", err)
		}
		if slices.Contains(o.targets, t) {
			return nil, usagef("%s is named twice", t)
		}
		o.targets = append(o.targets, t)
	}
	return o, nil
}

// readContainOptions reads the flags of containFlags, journalFlags and awsFlags.
func readContainOptions(c *console, ctx *cli.Context) (*containRun, error) {
	o := &containRun{
		options: containment.Options{
			Mode: ctx.String("mode"), Cuts: ctx.StringSlice("cut"), Addresses: ctx.StringSlice("deny-address"), Forensic: ctx.String("forensic"),
			ForensicPort: ctx.Int("forensic-port"), Irreversible: ctx.StringSlice("irreversible"), KeyOnly: ctx.Bool("key-only"),
			QuarantineTag: ctx.String("quarantine-tag"), Case: ctx.String("case"),
		},
		apply: containment.ApplyOptions{Watch: ctx.Duration("watch")},
		yes:   ctx.Bool("yes"), dryRun: ctx.Bool("dry-run"), resume: ctx.Bool("resume"), denied: ctx.Bool("despite-denied"),
		verified: ctx.Bool("require-verified"), risks: ctx.StringSlice("accept-risk"),
	}
	if ctx.IsSet("untrack-wait") {
		w := ctx.Duration("untrack-wait")
		o.options.UntrackWait = &w
	}
	if m := o.options.Mode; m != "" && !slices.Contains(hostsfile.ContainModes, m) {
		return nil, usagef("--mode %q: want one of %s", m, strings.Join(hostsfile.ContainModes, ", "))
	}
	for _, s := range ctx.StringSlice("without") {
		if !slices.Contains(containment.Stages, containment.Stage(s)) {
			return nil, usagef("--without %q: the stages are %s", s, stageNames())
		}
		o.options.Without = append(o.options.Without, containment.Stage(s))
	}
	for _, cut := range o.options.Cuts {
		if !slices.Contains(hostsfile.Cuts, cut) {
			return nil, usagef("--cut %q: want one of %s", cut, strings.Join(hostsfile.Cuts, ", "))
		}
	}
	o.further = givenText(ctx, slices.DeleteFunc(containFlags(), func(f cli.Flag) bool { return !slices.Contains(applyFlags, f.Names()[0]) }))
	if o.dryRun && o.resume {
		return nil, usagef("--dry-run and --resume exclude each other").fix("shotglass status says what was done")
	}
	var err error
	o.access, err = readAWSAccess(c, ctx)
	return o, err
}

// planned is a target with what would be done to it.
type planned struct {
	target containment.Target
	engine *containment.Engine
	plan   *containment.Plan
	name   string // of the journal to resume
	err    error
}

func (o *containRun) run(ctx context.Context, c *console) error {
	sum, err := o.contain(ctx, c)
	if err != nil {
		return err
	}
	return endContain(c, sum.code, sum.good, sum.bad)
}

// A containSum is how it went with several targets.
type containSum struct{ code, good, bad int }

// contain does what the command does, but for its last words. The error is that it was broken off: what was said until then stands.
func (o *containRun) contain(ctx context.Context, c *console) (containSum, error) {
	sctx, stop := catchSignals(ctx, c.exit, func(name string) {
		c.line("shotglass: " + name + ": finishing the call under way; press Ctrl-C again to leave at once")
	}, func() {
		for _, l := range o.doors.lines(o.access.flagsText(o.options.Case)) {
			c.line(l)
		}
	})
	defer stop()
	all := o.plan(sctx, c)
	if sctx.Err() != nil {
		return containSum{}, context.Cause(sctx)
	}
	var ready []*planned
	var sum containSum
	for _, p := range all {
		if p.err != nil {
			c.fail("", o.leftOut(p))
			o.note(p.target, nil, false, p.err)
			continue
		}
		if err := tellContainmentPlan(c, p.plan, o.dryRun); err != nil {
			return sum, err
		}
		if len(p.plan.Missing) > 0 && !o.denied && !o.dryRun {
			c.fail("", &usageError{Msg: fmt.Sprintf("%s: not contained: permissions are missing, see the plan", p.target),
				Fix: "call as a role that has them (docs/containment.md has the policy), or begin all the same with --despite-denied"})
			o.note(p.target, nil, false, errors.New("permissions are missing"))
			continue
		}
		if len(p.plan.Missing) > 0 {
			sum.code = exitContainment
		}
		ready = append(ready, p)
	}
	// All or nothing, before the first change: a person who must decide sees the whole. But what an attacker chose must not save the rest.
	if sum.bad = len(all) - len(ready); sum.bad > 0 {
		sum.code = exitFailed
	}
	if o.dryRun || sum.bad > 0 && !o.apart || len(ready) == 0 {
		return sum, nil
	}
	if err := o.ask(sctx, c, ready); err != nil {
		return sum, err
	}
	return o.make(sctx, c, ready, sum)
}

// leftOut says why a target is not contained.
func (o *containRun) leftOut(p *planned) error {
	if !o.apart {
		return p.err
	}
	return fmt.Errorf("%s: NOT CONTAINED: %w", p.target, p.err)
}

// plan plans all targets at once.
func (o *containRun) plan(ctx context.Context, c *console) []*planned {
	var all []*planned
	for _, t := range o.targets {
		all = append(all, &planned{target: t})
	}
	for _, name := range o.names {
		all = append(all, &planned{name: name})
	}
	var g errgroup.Group
	g.SetLimit(containParallel)
	for _, p := range all {
		g.Go(func() error {
			if p.engine, p.err = o.access.Engine(ctx, o.options.Case); p.err != nil {
				return nil
			}
			p.engine.Observe = func(e containment.Event) {
				o.doors.note(e)
				tellContainment(c, e)
			}
			options := o.options
			if o.resume {
				var was *containment.Plan
				if p.name == "" {
					if p.name, p.err = oneJournal(ctx, p.engine, p.target, o.options.Case); p.err != nil {
						return nil
					}
				}
				if was, p.err = p.engine.Resumable(ctx, p.name); p.err != nil {
					return nil
				}
				options, p.target = was.Options, was.Target
			}
			p.plan, p.err = p.engine.Plan(ctx, p.target, options)
			return nil
		})
	}
	g.Wait()
	return all
}

// oneJournal finds the one journal of a target.
func oneJournal(ctx context.Context, e *containment.Engine, t containment.Target, caseID string) (string, error) {
	names, err := e.Find(ctx, t, caseID)
	switch {
	case err != nil:
		return "", err
	case len(names) == 0:
		return "", &usageError{Msg: fmt.Sprintf("%s has no journal in %s", t, e.Journals), Fix: "name the folder with --journal, or the case with --case", Err: containment.ErrNoJournal}
	case len(names) > 1:
		return "", &usageError{Msg: fmt.Sprintf("%s has several journals in %s: %s", t, e.Journals, strings.Join(names, ", ")), Fix: "name the case with --case, or the journal in place of the target"}
	}
	return names[0], nil
}

// make applies all plans, several at once, and adds how that went.
func (o *containRun) make(ctx context.Context, c *console, all []*planned, sum containSum) (containSum, error) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(containParallel)
	for _, p := range all {
		g.Go(func() error {
			var r *containment.Result
			var err error
			if o.resume {
				r, err = p.engine.Resume(ctx, p.name, o.apply)
			} else {
				r, err = p.engine.Apply(ctx, p.plan, o.apply)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if errors.Is(err, syscall.ENOSPC) {
					err = &hinted{err, "make room in the folder of the journals, which --journal names, and run it again"}
				}
				c.fail("", err)
				c.hint(o.undoHint(r))
			}
			one := containCode(r, err, o.verified)
			o.note(p.target, r, one == exitOK, err)
			if one == exitOK {
				sum.good++
			} else {
				sum.bad++
			}
			sum.code = worse(sum.code, one)
			return tellContained(c, r)
		})
	}
	return sum, g.Wait()
}

// containCode is the exit code of one target.
func containCode(r *containment.Result, err error, verified bool) int {
	var s *signalError
	switch {
	case errors.As(err, &s):
		return exitInterrupted
	case err != nil, !r.Outcome.Good(), verified && r.Outcome == containment.Unverified:
		return exitContainment
	}
	return exitOK
}

func (o *containRun) undoHint(r *containment.Result) string {
	if r == nil || r.Journal == "" {
		return ""
	}
	return fmt.Sprintf("the journal %s has what was done: go on with %s, or put it back with shotglass release %s%s", r.Journal, o.resumeCommand(o.access, r.Journal),
		o.access.flagsText(o.options.Case), transport.Quote(r.Journal))
}

// resumeCommand is what goes on with a journal: by its name, as a target may have others. Access is how its account is reached.
func (o *containRun) resumeCommand(access awsAccess, journal string) string {
	return "shotglass contain --resume " + o.further + access.flagsText(o.options.Case) + access.glassText() + transport.Quote(journal)
}

func endContain(c *console, code, good, bad int) error {
	if c.json {
		if err := c.message("summary", struct {
			Code    int `json:"code"`
			Targets int `json:"targets"`
			Failed  int `json:"failed"`
		}{code, good + bad, bad}); err != nil {
			return err
		}
	}
	return exitWith(code)
}

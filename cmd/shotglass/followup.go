package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/flows"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
)

// followUps are what is contained with the hosts of a capture.
type followUps struct {
	o      *captureOptions
	watch  time.Duration
	denied bool // go on although permissions are missing
	// verified has an instance whose flows nobody could look at count as not contained.
	verified bool
	hosts    []*followUp
	say      func(string)       // a line of the story; set by plan
	refused  map[string][]error // by host, why it could not be contained; set by plan
	doors    doors
}

// A followUp is what is contained with one host: its targets are locked and protected before its memory is
// read, if asked, and contained after it, if the gate lets them.
type followUp struct {
	all     *followUps
	host    string
	job     *acquire.Job
	spec    hostsfile.Containment
	access  awsAccess
	targets []*planned

	mu      sync.Mutex
	early   []*containment.Result // of what was done before the capture
	results []*containment.Result
	done    bool // after was called
	errs    []error
	why     string // withheld; empty: it was not
	place   string // of the record
	code    int
}

// gate is when to contain.
func (f *followUp) gate() string {
	if f.spec.Gate == "" {
		return "complete"
	}
	return f.spec.Gate
}

// hook hangs the containment of a host on its job. The job must not move afterwards.
func (all *followUps) hook(j *acquire.Job, spec hostsfile.Containment, access awsAccess) error {
	f := &followUp{all: all, host: hostOf(*j), job: j, spec: spec, access: access}
	for _, s := range spec.Targets {
		t, err := containment.ParseTarget(s)
		if err != nil {
			return fmt.Errorf("host %q: containment: %w", f.host, err)
		}
		f.targets = append(f.targets, &planned{target: t})
	}
	for _, s := range spec.BreakGlass {
		t, err := containment.ParseTarget(s)
		if err != nil {
			return fmt.Errorf("host %q: containment: break_glass: %w", f.host, err)
		}
		f.access.BreakGlass = append(slices.Clip(f.access.BreakGlass), t) // other hosts begin with the same list
	}
	all.hosts = append(all.hosts, f)
	j.Before, j.After = f.before, f.after
	return nil
}

// plan plans every target of every host, before the first byte of any. say gets the lines of the story from now on.
func (all *followUps) plan(ctx context.Context, say func(string), steps []*acquire.Step) error {
	if all == nil {
		return nil
	}
	all.say = func(line string) { say("shotglass: " + line) }
	var g errgroup.Group
	g.SetLimit(containParallel)
	for _, f := range all.hosts {
		options := containment.Options{
			Case: all.o.Engine.Case, Mode: f.spec.Mode, Cuts: f.spec.Cut, Addresses: f.spec.DenyAddress, Forensic: f.spec.Forensic,
			ForensicPort: sshPort(f.host, steps),
		}
		if w, err := time.ParseDuration(f.spec.UntrackWait); err == nil { // checked by the hosts file
			options.UntrackWait = &w
		}
		for _, p := range f.targets {
			g.Go(func() error {
				if p.engine, p.err = f.access.Engine(ctx, options.Case); p.err != nil {
					return nil
				}
				p.engine.Observe = func(e containment.Event) {
					all.doors.note(e)
					all.say(f.host + ": " + containmentLine(e))
				}
				p.plan, p.err = p.engine.Plan(ctx, p.target, options)
				return nil
			})
		}
	}
	g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var errs []error
	all.refused = map[string][]error{}
	for _, f := range all.hosts {
		had := len(errs)
		for _, p := range f.targets {
			switch {
			case p.err != nil:
				errs = append(errs, fmt.Errorf("host %q: %w", f.host, p.err))
			case len(p.plan.Missing) > 0 && !all.denied:
				var missing []string
				for _, m := range p.plan.Missing {
					missing = append(missing, m.Action+" on "+m.Resource)
				}
				errs = append(errs, fmt.Errorf("host %q: to contain %s permissions are missing: %s", f.host, p.target, strings.Join(missing, ", ")))
			}
		}
		if len(errs) > had {
			all.refused[f.host] = errs[had:]
		}
	}
	if len(errs) > 0 {
		return &usageError{Msg: errors.Join(errs...).Error(), Err: errors.Join(errs...),
			Fix: "no memory was read and nothing was contained; correct it, capture alone with --contain never, or go on without the permissions with --despite-denied"}
	}
	return nil
}

// sshPort is the port that a host's SSH was reached on, by whatever ssh_config says; 0 if it was not.
func sshPort(host string, steps []*acquire.Step) int {
	for _, s := range steps {
		if s.Host == host {
			_, port, _ := net.SplitHostPort(s.Info.Addr)
			n, _ := strconv.Atoi(port)
			return n
		}
	}
	return 0
}

// lockFirst and protectFirst say what is done before the first byte.
func (f *followUp) lockFirst() bool    { return f.spec.LockFirst != nil && *f.spec.LockFirst }
func (f *followUp) protectFirst() bool { return f.spec.ProtectFirst == nil || *f.spec.ProtectFirst }

// earlyStages are what is applied to a target before the first byte. Only of instances is anything but the lock: what
// Auto Scaling would end is the evidence.
func (f *followUp) earlyStages(p *planned) []containment.Stage {
	var stages []containment.Stage
	if f.protectFirst() && p.target.Kind == containment.Instance {
		stages = append(stages, containment.Protect, containment.Detach)
	}
	if f.lockFirst() {
		stages = append(stages, containment.Lock)
	}
	return slices.DeleteFunc(stages, func(s containment.Stage) bool {
		return !slices.ContainsFunc(p.plan.Changes, func(c containment.Change) bool { return c.Stage == s })
	})
}

// before protects and locks, as was asked, before the first byte. What fails is told, and tried again after the capture.
func (f *followUp) before(ctx context.Context) {
	if f.gate() == "never" {
		return
	}
	f.each(func(p *planned) {
		stages := f.earlyStages(p)
		if len(stages) == 0 {
			return
		}
		r, err := p.engine.Apply(ctx, p.plan, containment.ApplyOptions{Stages: stages})
		if err != nil {
			f.all.say(fmt.Sprintf("%s: error: before the capture: %v", f.host, err))
		}
		if r == nil {
			return
		}
		for _, c := range r.Changes {
			if !stands(c) {
				f.all.say(fmt.Sprintf("%s: error: before the capture: %s: %s: %s", f.host, c.Summary, c.Status, c.Error))
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.early = append(f.early, r)
	})
}

// stands reports whether a change is in force.
func stands(c containment.ItemResult) bool {
	return c.Status == "changed" || c.Status == "already" || c.Status == "holds"
}

// remains says what is in force of what was done before the capture: "credentials locked", "instances protected".
func (f *followUp) remains() (locked bool, what []string) { return remains(f.early) }

func remains(early []*containment.Result) (locked bool, what []string) {
	seen := map[containment.Stage]bool{}
	for _, r := range early {
		for _, c := range r.Changes {
			if c.Status == "changed" || c.Status == "holds" {
				seen[c.Stage] = true
			}
		}
	}
	if seen[containment.Lock] {
		what = append(what, "credentials REMAIN LOCKED")
	}
	if seen[containment.Protect] {
		what = append(what, "instances remain protected from termination")
	}
	if seen[containment.Detach] {
		what = append(what, "instances remain out of Auto Scaling and load balancers")
	}
	return seen[containment.Lock], what
}

// each does something with all targets at once.
func (f *followUp) each(do func(*planned)) {
	var wg sync.WaitGroup
	for _, p := range f.targets {
		wg.Go(func() { do(p) })
	}
	wg.Wait()
}

// after contains, if the gate lets it, and writes the record.
func (f *followUp) after(ctx context.Context, r *acquire.Result) {
	f.done = true
	switch gate := f.gate(); {
	case gate == "never":
		f.why = "the gate is never"
		return
	case ctx.Err() != nil:
		f.why = "the run was interrupted"
	case gate == "complete" && r.State != acquire.StateComplete:
		f.why = fmt.Sprintf("the image is %s, and the gate is complete", r.State)
	default:
		f.each(func(p *planned) { f.contain(ctx, p) })
	}
	if f.why != "" {
		f.code = exitContainment
	}
	if err := f.record(r); err != nil {
		f.errs = append(f.errs, fmt.Errorf("record of the containment: %w", err))
		f.code = exitContainment
	}
}

func (f *followUp) contain(ctx context.Context, p *planned) {
	o := containment.ApplyOptions{Watch: f.all.watch}
	if p.target.Kind == containment.Instance {
		o.Flows = f.flows
	}
	r, err := p.engine.Apply(ctx, p.plan, o)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.errs = append(f.errs, err)
	}
	if r != nil {
		f.results = append(f.results, r)
	}
	f.code = worse(f.code, containCode(r, err, f.all.verified))
}

// flows looks at the host's connections over a new SSH connection: the one of the capture may be among
// those that were cut.
func (f *followUp) flows(ctx context.Context) ([]containment.Residual, error) {
	dialer := f.all.o.Engine.Dialer
	if dialer == nil {
		dialer = &transport.SSH{}
	}
	dctx, cancel := context.WithTimeout(ctx, defaultConnectTimeout)
	conn, err := dialer.Dial(dctx, f.job.Target)
	cancel()
	if err != nil {
		return nil, fmt.Errorf("connect to see which flows still live: %w", err)
	}
	defer conn.Close()
	alive, err := flows.Look(ctx, conn, flows.Interval)
	if err != nil {
		return nil, err
	}
	var out []containment.Residual
	for _, a := range alive {
		out = append(out, containment.Residual{
			Path: "flow", What: fmt.Sprintf("tcp %q to %q moved %d bytes in %s", a.Local, a.Remote, a.Bytes, flows.Interval),
			Do: "deny the remote address in the subnet's network ACL: shotglass contain --deny-address",
		})
	}
	return out, nil
}

// leftOpen says what a program that leaves at once leaves open.
func (all *followUps) leftOpen(c *console) {
	if all == nil || len(all.hosts) == 0 {
		return
	}
	for _, l := range all.doors.lines(all.hosts[0].access.flagsText(all.o.Engine.Case)) { // hosts differ in their break-glass lists alone
		c.line(l)
	}
}

// tell says at the end of the run what became of each host's targets, and returns the exit code.
func (all *followUps) tell(c *console) (int, error) {
	code := exitOK
	if all == nil {
		return code, nil
	}
	for _, f := range all.hosts {
		if !f.done && f.gate() != "never" { // the plan, or --require-all, refused the run
			f.why, f.code = "the host was not captured", exitContainment
		}
		var names, quoted []string
		for _, p := range f.targets {
			names, quoted = append(names, p.target.String()), append(quoted, transport.Quote(p.target.String()))
		}
		for _, err := range f.errs {
			c.fail(f.host, err)
		}
		if len(f.errs) > 0 {
			c.hint("the journals have what was done: go on with shotglass contain --resume " + f.access.flagsText(all.o.Engine.Case) + f.access.glassText() + strings.Join(quoted, " "))
		}
		for _, r := range f.results {
			if err := tellContained(c, r); err != nil {
				return exitFailed, err
			}
		}
		if f.why != "" && f.gate() != "never" {
			c.line(fmt.Sprintf("shotglass: NOT CONTAINED: %s: %s: %s", f.host, strings.Join(names, ", "), f.why))
			c.hint("to contain: shotglass contain " + f.flagsText() + strings.Join(quoted, " "))
			if _, what := f.remains(); len(what) > 0 {
				c.line(fmt.Sprintf("shotglass: %s: from before the capture %s", f.host, strings.Join(what, ", ")))
				c.hint("to take that back: shotglass release " + f.access.flagsText(all.o.Engine.Case) + strings.Join(quoted, " "))
			}
		}
		if f.place != "" && !c.json {
			c.info("%s: record of the containment: %s", f.host, f.place)
		}
		code = worse(code, f.code)
	}
	return code, nil
}

// flagsText is what a command line needs to contain the host's targets as the hosts file says.
func (f *followUp) flagsText() string {
	words := []string{}
	add := func(name string, values ...string) {
		for _, v := range values {
			if v != "" && v != "0" {
				words = append(words, "--"+name+" "+transport.Quote(v))
			}
		}
	}
	add("mode", f.spec.Mode)
	add("cut", f.spec.Cut...)
	add("deny-address", f.spec.DenyAddress...)
	add("forensic", f.spec.Forensic)
	for _, p := range f.targets {
		if p.plan != nil && f.spec.Forensic != "" {
			add("forensic-port", strconv.Itoa(p.plan.Options.ForensicPort))
			break
		}
	}
	add("untrack-wait", f.spec.UntrackWait)
	add("break-glass", f.access.glass()...)
	text := f.access.flagsText(f.all.o.Engine.Case)
	if len(words) > 0 {
		text += strings.Join(words, " ") + " "
	}
	return text
}

// tellPlans prints what would be contained, for plan.
func (all *followUps) tellPlans(c *console) error {
	if all == nil {
		return nil
	}
	for _, f := range all.hosts {
		for _, p := range f.targets {
			if !c.json {
				fmt.Fprintf(c, "\nafter %s, by the gate %s:\n", printable(f.host), f.gate())
			}
			if err := tellContainmentPlan(c, p.plan, true); err != nil {
				return err
			}
		}
	}
	return nil
}

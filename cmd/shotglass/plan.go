package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
)

const planText = `Connects to each host, reads facts about it and says how its memory would be captured. Nothing is written there, and nothing is left
here: that the folder or bucket takes evidence is proven by a trial that is taken back. It takes the flags of capture; a signing key is needed only to say whose images --resume keeps.

With --gather it says what would be taken of each instance from AWS, of which volumes snapshots would be made, and which permissions are missing for it: by dry runs where EC2
has them.

Of several hosts it says what keeps which from being captured, the most first, each with what to do: a fire drill. For instances that nobody gets
into it asks EC2 and Systems Manager which other ways there are.`

func planCommand(c *console, args []string) *cli.Command {
	return &cli.Command{
		Name: "plan", Usage: "say how hosts would be captured; write nothing",
		ArgsUsage: hostArgs, Description: planText,
		Flags: append(captureFlagSet(), &cli.StringFlag{Name: "page", TakesFile: true, Usage: "write an HTML page of what keeps which hosts from being captured to this new `FILE`", Category: groupOutput}),
		Action: func(ctx *cli.Context) error {
			c.json, c.quiet = ctx.Bool("json"), ctx.Bool("quiet")
			o, err := readOptions(c, ctx, args)
			if err == nil {
				err = newPage(ctx.String("page"))
			}
			if err != nil {
				return err
			}
			defer o.forget()
			return o.logged(c, func() error { return planHosts(ctx.Context, c, o, ctx.String("page")) })
		},
	}
}

func planHosts(ctx context.Context, c *console, o *captureOptions, page string) error {
	for _, w := range o.Warnings {
		c.warn("%s", w)
	}
	if err := o.tellSelection(c); err != nil {
		return err
	}
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	if o.Resume {
		key, err := o.openKeys(sctx)
		if err != nil {
			return err
		}
		defer key.Close()
	}
	o.Engine.CheckSink = true
	m := newCounter(c, "hosts")
	if len(o.Jobs) > fewHosts && o.Progress != "none" && !o.Quiet {
		o.Engine.Looked = func(done, total int) { m.show(int64(done), int64(total)) }
	}
	plan, err := acquire.NewPlan(sctx, o.Jobs, o.Engine)
	m.close()
	if err != nil {
		return err
	}
	defer plan.Close()
	if err := o.lookForWays(sctx, plan.Steps); err != nil {
		return err
	}
	if err := tellResume(c, plan); err != nil {
		return err
	}
	if err := tellTotals(c, plan); err != nil {
		return err
	}
	gathers, err := o.gather.preview(sctx)
	if err != nil {
		return err
	}
	ferr := o.follow.plan(sctx, c.line, plan.Steps)
	d := drillOf(plan.Steps, o)
	if page != "" {
		ferr = cmp.Or(ferr, writeSheet(sctx, page, d.sheet(o, time.Now())))
	}
	err = printPlan(c, plan, o, d, gathers, ferr)
	if ferr != nil {
		return ferr
	}
	if ferr := o.follow.tellPlans(c); ferr != nil {
		return ferr
	}
	return err
}

// printPlan prints the plan, and returns its exit code as an error. ferr is what the program will end with all the same.
func printPlan(c *console, plan *acquire.Plan, o *captureOptions, d *drill, gathers []gatherPlan, ferr error) error {
	failed, steps := 0, plan.Steps
	for i, s := range steps {
		if s.Err != nil && s.Prior == nil {
			failed++
			c.fail(s.Host, s.Err)
		}
		if c.json {
			if err := c.message("plan", planMessageOf(s, o.ec2[s.Host])); err != nil {
				return err
			}
			continue
		}
		if len(steps) > fewHosts {
			continue
		}
		if i > 0 {
			fmt.Fprintln(c)
		}
		printStep(c, s, o.ec2[s.Host])
	}
	if !c.json && len(steps) > fewHosts {
		printSteps(c, steps, o.ec2)
	}
	if !c.json && (len(steps) > 1 || len(o.LeftOut) > 0) {
		d.print(c)
	}
	if !c.json && len(steps) > 1 {
		fmt.Fprintf(c, "\n%s\n", printable(totalsLine(plan.Totals())))
	}
	lacking, err := tellGathers(c, gathers)
	if err != nil {
		return err
	}
	code := worse(o.planCode(len(steps), failed), lacking)
	if c.json {
		for _, g := range d.groups {
			if err := c.message("plan_obstacle", g); err != nil {
				return err
			}
		}
		said := code
		if ferr != nil {
			said = exitCode(ferr)
		}
		c.message("summary", summaryMessage{Code: said, Hosts: len(steps), Failed: failed})
	}
	return exitWith(code)
}

// planCode is the exit code of a plan for hosts of which some cannot be captured.
func (o *captureOptions) planCode(hosts, failed int) int {
	switch {
	case failed == hosts, o.All && failed > 0:
		return exitFailed
	case failed > 0, len(o.unsearched()) > 0:
		return exitPartial
	}
	return exitOK
}

// printSteps prints a line for each of many hosts, those that cannot be captured last, where they
// stay on the screen. What the hosts said is quoted. If there are instances, it says by which address and as whom.
func printSteps(out io.Writer, steps []*acquire.Step, instances map[string]*ec2Host) {
	steps = slices.Clone(steps)
	slices.SortStableFunc(steps, func(a, b *acquire.Step) int {
		switch {
		case (a.Err == nil) == (b.Err == nil):
			return 0
		case a.Err == nil:
			return -1
		default:
			return 1
		}
	})
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	head, login := "HOST", func(*acquire.Step) string { return "" }
	if len(instances) > 0 {
		head += "\tADDRESS\tUSER"
		login = func(s *acquire.Step) string {
			addr, user := s.Target.Name, cmp.Or(s.Target.User, s.Info.User)
			if e := instances[s.Host]; e != nil {
				addr = e.Address
			}
			return "\t" + dash(addr) + "\t" + dash(user)
		}
	}
	fmt.Fprintln(w, head+"\tMEMORY\tSOURCE\tROUND TRIP\tWARNINGS\tKERNEL\tVERDICT")
	for _, s := range steps {
		memory, trip, kernel, verdict := "-", "-", "-", "can be captured"
		if s.Expected > 0 {
			memory = size(s.Expected)
		}
		if s.Info.RTT > 0 {
			trip = short(s.Info.RTT)
		}
		if s.Facts != nil {
			kernel = fmt.Sprintf("%q", s.Facts.Kernel)
		}
		if s.Err != nil {
			why, _, _ := strings.Cut(s.Err.Error(), "\n")
			verdict = "cannot be captured: " + why
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%d\t%s\t%s\n", printable(s.Host), login(s), memory, cmp.Or(s.Source, "-"), trip, len(stepWarnings(s)), kernel, cell(verdict))
	}
	w.Flush()
	fmt.Fprintf(out, "\nAll about a host: shotglass plan with that host alone, or --json.\n")
}

// cell keeps a text in its cell of a table.
func cell(s string) string { return strings.ReplaceAll(printable(s), "\t", " ") }

// printStep prints what is known of one host. What the host said is quoted.
func printStep(out io.Writer, s *acquire.Step, e *ec2Host) {
	fmt.Fprintln(out, printable(s.Host))
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	if e != nil {
		row("instance", "%s %q, %s of account %s, %s", e.ID, e.Name, e.Region, e.Account, e.Image)
		row("", "by %s", e.Selector)
		row("address", "%s: %s", e.Address, e.AddressWhy)
		row("user", "%s: %s", cmp.Or(e.User, "of ssh_config, or your own"), e.UserWhy)
		e.ec2Way.print(row)
	}
	if in := s.Info; in.Addr != "" {
		row("login", "%s@%s, %s", in.User, in.Addr, in.Auth)
		row("host key", "%s %s (%s)", in.HostKeyType, in.HostKey, in.HostKeyTrust)
		for _, j := range in.Jumps {
			row("through", "%s@%s, %s %s (%s)", j.User, j.Addr, j.HostKeyType, j.HostKey, j.HostKeyTrust)
		}
		if in.Grant != "" {
			row("", "with the key %s of %s", in.AuthKey, in.Grant)
		}
		if in.Tunnel != "" {
			row("through", "%s", in.Tunnel)
		}
		if in.ProxyCommand != "" {
			row("through", "%q", in.ProxyCommand)
		}
	}
	if f := s.Facts; f != nil {
		row("kernel", "%q (%q), %q", f.Kernel, f.Machine, f.OS)
		row("memory", "%s in %d ranges of System RAM", size(f.RAMBytes), len(f.RAM))
		row("clock", "%s from ours, give or take %s", short(f.ClockOffset), short(f.ClockError))
	}
	if s.Privilege != "" {
		row("privilege", "%s", s.Privilege)
	}
	for _, cand := range s.Candidates {
		verdict := "cannot be used"
		if cand.OK {
			verdict = "can be used"
		}
		row("source", "%s %s: %s", cand.Source, verdict, strings.ReplaceAll(cand.Reason, "\n", "; "))
	}
	if m := s.Module; m != nil {
		row("module", "%s, vermagic %q", m.Origin, m.Vermagic)
		row("", "sha256 %s, %s", m.SHA256, m.Signature)
		if r := m.Repository; r != nil && r.Key != "" {
			row("", "revision %d, signed on %s by %s", r.Revision, r.SignedAt.Format(time.DateOnly), r.Key)
		}
	}
	printFreeze(s.Freeze, row)
	if s.Expected > 0 {
		row("image", "%s, %d bytes before compression", s.Name, s.Expected)
	}
	if s.Zip != "" {
		row("on the wire", "compressed on the target by %s", s.Zip)
	}
	if s.Second != "" && s.Err == nil {
		row("", "should its content be rejected, a second one through kcore: %s", s.Second)
	}
	for _, a := range s.Swap {
		row("swap", "%q (%s), %s, %s used: into %s", a.Name, a.Type, size(a.Bytes), size(a.Used), a.File)
	}
	printCollect(s.Collect, row)
	if len(s.Recipients) > 0 {
		row("encrypted", "to %s", shortList(s.Recipients))
	}
	if s.Info.RTT > 0 {
		row("round trip", "%s: %s", short(s.Info.RTT), tripMeaning(s))
	}
	for _, warning := range stepWarnings(s) {
		row("warning", "%s", warning)
	}
	if s.Prior != nil {
		row("earlier", "%s", priorLine(s.Prior))
	}
	if s.Err != nil && s.Prior != nil {
		row("verdict", "keeps its image; a new one cannot be captured: %s", strings.ReplaceAll(s.Err.Error(), "\n", "; "))
	} else if s.Err != nil {
		row("verdict", "cannot be captured: %s", strings.ReplaceAll(s.Err.Error(), "\n", "; "))
	} else {
		row("verdict", "can be captured")
	}
}

// tripMeaning says what the round trip means for the time.
func tripMeaning(s *acquire.Step) string {
	if s.Estimate <= 0 {
		return "does not limit the rate"
	}
	what := "one SSH channel"
	if s.Connections > 1 {
		what = fmt.Sprintf("%d SSH connections", s.Connections)
	}
	return fmt.Sprintf("limits %s to %s, so the stream takes at least %s",
		what, rate(float64(s.Expected)/s.Estimate.Seconds()), short(s.Estimate))
}

// stepWarnings are the plan's warnings, and what an analyst should know.
func stepWarnings(s *acquire.Step) []string {
	list := s.Warnings
	if s.Facts != nil && s.Facts.LA57 {
		list = append(list[:len(list):len(list)], "the CPU uses five-level page tables (la57): Volatility 3 cannot walk them")
	}
	return list
}

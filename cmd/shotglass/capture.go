package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/sink"
)

// hostArgs is what capture and plan take.
const hostArgs = "HOST... | -"

const captureText = `HOST is [user@]host[:port] or an alias of ssh_config; IPv6 addresses stand in brackets. - reads hosts from standard
input, one a line. --config names a hosts file, which holds more hosts and more about each; see docs/hosts.md. Each host's memory becomes
HOST-TIME-mem.lime.zst in the folder of --output, or under the URL of --to, with a signed manifest beside it. Standard output gets one line
per host, with tabs: host, state, bytes of memory, bytes stored, SHA-256 of the memory image, place.

Flags stand before the hosts. A flag outweighs its environment variable, that outweighs the hosts file. The first Ctrl-C finishes the partial images
and cleans the targets; the second leaves at once and says what is left where.`

func captureCommand(c *console, args []string) *cli.Command {
	return &cli.Command{
		Name: "capture", Usage: "capture the memory of hosts, completely and provably",
		ArgsUsage: hostArgs, Description: captureText, Flags: captureFlagSet(),
		Action: func(ctx *cli.Context) error {
			c.json, c.quiet = ctx.Bool("json"), ctx.Bool("quiet")
			o, err := readOptions(c, ctx, args)
			if err != nil {
				return err
			}
			defer o.forget()
			return o.logged(c, func() error { return capture(ctx.Context, c, o) })
		},
	}
}

func capture(ctx context.Context, c *console, o *captureOptions) error {
	began := time.Now()
	for _, w := range o.Warnings {
		c.warn("%s", w)
	}
	if err := o.tellSelection(c); err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(acquire.MemoryLimit(o.Engine.MemoryBudget))
	}
	w := watch(c, targetNames(o), o.view(c))
	closed := false
	closeView := func() {
		if !closed {
			closed = true
			c.divertTo(nil)
			w.close()
		}
	}
	defer closeView()
	c.divertTo(w.say)
	var started atomic.Pointer[runLog]
	ctx, stop := catchSignals(ctx, c.exit, func(name string) {
		if l := started.Load(); l != nil {
			l.Add(audit.Entry{Event: "interrupted", Message: "interrupted by " + name})
		}
		w.say(goodbye(name, w.hosts))
	}, func() {
		leftBehind(c, w.hosts)
		o.follow.leftOpen(c)
	})
	defer stop()
	defer onStatusSignal(w.showStatus)()
	defer onStop(func() { stopping(c, w.hosts) }, func() { goingOn(c) })()

	key, err := o.openKeys(ctx)
	if err != nil {
		return err
	}
	defer key.Close()
	log := o.startLog(ctx, w.fail)
	started.Store(log)
	o.recordPushes(log)
	tell := o.startNotify(log, w.fail)
	o.Engine.Observer = func(e acquire.Event) {
		c.trace.Load().event(e)
		log.Observe(e)
		tell.observe(e)
		w.observe(e)
	}
	o.Engine.Previous = log.Head
	o.Engine.CheckSink = true
	plan, err := acquire.NewPlan(ctx, o.Jobs, o.Engine)
	if err == nil {
		defer plan.Close()
		o.prompts.close()
		err = errors.Join(tellResume(c, plan), tellTotals(c, plan))
		if err == nil {
			err = o.follow.plan(ctx, w.say, plan.Steps)
		}
	}
	if err != nil {
		nerr := tell.end(ctx, nil, exitCode(err))
		_, lerr := log.end(ctx, nil, exitCode(err))
		return errors.Join(err, nerr, lerr)
	}
	t := plan.Totals()
	if len(plan.Steps) > 1 && !o.Quiet && !o.JSON {
		w.say("shotglass: " + totalsLine(t))
	}
	if t, ok := o.Engine.Sink.(sink.Teller); ok && !o.Quiet {
		for _, text := range t.Tell() {
			w.say("shotglass: " + text)
		}
	}
	var results []acquire.Result
	var code int
	if o.All && t.Refused > 0 {
		results, code = refuseAll(c, plan, t), exitFailed
	} else {
		o.gather.start(ctx, w.say, log.Add)
		results = plan.Run(ctx)
		code = worse(captureCode(results, context.Cause(ctx), o.unsearched()), o.gather.finish())
	}
	code = worse(code, o.symbols(ctx, c, log, w.say, results))
	nerr := tell.end(ctx, results, code)
	if nerr != nil {
		code = worse(code, exitPartial)
	}
	saved, lerr := log.end(ctx, results, code)
	closeView()
	if nerr != nil {
		c.fail("", nerr)
	}
	if lerr != nil {
		c.fail("", lerr)
		code = worse(code, exitPartial)
	} else if !c.json {
		c.info("shotglass: audit log: %s", saved.Location)
	}
	if err := o.gather.tell(c); err != nil {
		return err
	}
	if err := printResults(c, results, saved, code, time.Since(began)); err != nil {
		return err
	}
	if !c.json {
		o.summary(c, results, time.Since(began)).print(c)
		if places := o.unsearched(); len(places) > 0 {
			c.warn("NOT SEARCHED for instances, so that some may be missing here: %s", placesText(places))
		}
	}
	contained, err := o.follow.tell(c)
	if err != nil {
		return err
	}
	return exitWith(worse(code, contained))
}

func targetNames(o *captureOptions) (names []string) {
	for _, j := range o.Jobs {
		names = append(names, hostOf(j))
	}
	return names
}

// hostOf is the name that the engine gives a job's target.
func hostOf(j acquire.Job) string {
	if j.Host != "" {
		return j.Host
	}
	return j.Target.Name
}

// view chooses how progress is shown.
func (o *captureOptions) view(c *console) view {
	switch {
	case o.JSON:
		v := newJSONView(c, o.Progress != "none")
		v.ec2 = o.ec2
		return v
	case o.Quiet, o.Progress == "none":
		return &plainView{c: c, problems: true}
	case o.Progress != "lines" && canDraw(c.stderr, os.Getenv("TERM")):
		return newTTYView(c, newScreen(c), len(o.Jobs))
	default:
		return &plainView{c: c}
	}
}

// summary is what the story ends with.
func (o *captureOptions) summary(c *console, results []acquire.Result, took time.Duration) summary {
	s := summary{results: results, took: took, signers: o.Signers, resumable: o.Engine.Signer != nil && !o.Resume}
	if canDraw(c.stderr, os.Getenv("TERM")) {
		width, height := newScreen(c).size()
		s.width, s.height = width-1, height
	}
	return s
}

// printResults prints one line per host, or the summary that ends the JSON.
func printResults(c *console, results []acquire.Result, log audit.Saved, code int, took time.Duration) error {
	if c.json {
		s := summaryMessage{Code: code, Hosts: len(results), Log: &log, Duration: took}
		s.Raw, s.Stored = sizes(results)
		for _, r := range results {
			if len(r.Left) > 0 {
				s.Left = append(s.Left, r.Host)
			}
			switch r.State {
			case acquire.StateComplete:
				s.Complete++
			case acquire.StatePartial:
				s.Partial++
			default:
				s.Failed++
			}
		}
		return c.message("summary", s)
	}
	for _, r := range results {
		if _, err := fmt.Fprintln(c, resultLine(r)); err != nil {
			return err
		}
	}
	return nil
}

// resultLine is a host's line on stdout. A digest never stands without its size
// and state.
func resultLine(r acquire.Result) string {
	raw, stored, sum, place := "-", "-", "-", "-"
	if r.State != acquire.StateFailed && r.Image.Raw.SHA256 != "" {
		raw, stored = strconv.FormatInt(r.Image.Raw.Bytes, 10), strconv.FormatInt(r.Image.Stored.Bytes, 10)
		sum = "sha256:" + r.Image.Raw.SHA256
	}
	if r.Image.Location != "" {
		place = printable(r.Image.Location)
	}
	return printable(r.Host) + "\t" + stateOf(r) + "\t" + raw + "\t" + stored + "\t" + sum + "\t" + place
}

// missesSwap reports whether swap was asked for and is not all there.
func missesSwap(r acquire.Result) bool {
	_, misses := errors.AsType[*acquire.SwapError](r.Err)
	return misses
}

// captureCode is the exit code of a capture. Complete images stand, even if a
// signal came after them. What is left on a host, or was not done as asked, is not success; nor is it
// if there are places in which selected instances may be that nobody could see.
func captureCode(results []acquire.Result, cause error, unsearched []inventory.Place) int {
	complete, partial, interrupted, flawed := 0, 0, false, len(unsearched) > 0
	for _, r := range results {
		flawed = flawed || len(r.Left) > 0 || r.Unfrozen != ""
		switch r.State {
		case acquire.StateComplete:
			if missesSwap(r) { // it was asked for, too
				partial++
				break
			}
			complete++
		case acquire.StatePartial:
			partial++
		}
		interrupted = interrupted || r.Interrupted
	}
	var s *signalError
	switch {
	case complete == len(results) && complete > 0 && !flawed:
		return exitOK
	case interrupted, errors.As(cause, &s):
		return exitInterrupted
	case complete+partial > 0:
		return exitPartial
	default:
		return exitFailed
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/audit"
	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

const gatherText = `Takes the evidence that AWS's control plane has of EC2 instances, without touching them: descriptions, attributes, user data, volumes,
network, tags, the role's policies, console output and picture, CloudTrail's events; with --items all,snapshots also snapshots of all
volumes, of one point in time, which are tagged with the case and waited for. SELECTOR is as for capture --ec2; stopped,
terminated and Windows instances are taken, too. capture --gather does the same before it reads memory.

For each instance an archive (.tar.zst) of each item, stored as soon as it is there, and a signed record of them (.gathered) go to --output or
--to: every item with its digest, or why it is not there. Of snapshots a second record (.snapshots) says what became of them. verify takes both. User data and
console output hold secrets: --recipient encrypts the archives. Never tried on AWS itself.

Standard output gets a line per instance, with tabs: instance, complete or partial, items, snapshots, place of the record. Exit code 0: all that was asked
for is there. 3: something is not. 1: nothing is.`

func gatherCommand(c *console, args []string) *cli.Command {
	return &cli.Command{
		Name: "gather", Usage: "take what AWS knows of EC2 instances, and snapshots of their volumes", ArgsUsage: "SELECTOR...", Description: gatherText,
		Flags: gatherCommandFlags(),
		Action: func(ctx *cli.Context) error {
			c.json, c.quiet = ctx.Bool("json"), ctx.Bool("quiet")
			r, err := readGatherRun(c, ctx, args)
			if err != nil {
				return err
			}
			return r.run(ctx.Context, c)
		},
	}
}

// gatherCommandFlags are those of capture that make sense here, too, and its own.
func gatherCommandFlags() []cli.Flag {
	own := []string{"to", "output", "case", "operator", "sign-key", "unsigned", "recipient", "recipients-file", "key-passphrase-file", "ec2-region", "ec2-account", "ec2-limit", "json", "quiet"}
	flags := slices.DeleteFunc(captureFlagSet(), func(f cli.Flag) bool { return !slices.Contains(own, f.Names()[0]) })
	return slices.Concat(gatherFlags("items", cloudevidence.All), flags, accountFlags(), s3AccessFlags(), withoutSpill(s3StoreFlags()))
}

// A gatherRun is one run of the command gather.
type gatherRun struct {
	o         *captureOptions
	options   gatherOptions
	access    awsaccess.Access
	selectors []hostsfile.Selector
	regions   []string
	accounts  []string
	limit     int
}

func readGatherRun(c *console, ctx *cli.Context, args []string) (*gatherRun, error) {
	o := &captureOptions{SignKey: ctx.String("sign-key"), Unsigned: ctx.Bool("unsigned"), JSON: ctx.Bool("json"), Quiet: ctx.Bool("quiet")}
	r := &gatherRun{o: o, regions: ctx.StringSlice("ec2-region"), accounts: ctx.StringSlice("ec2-account"), limit: ctx.Int("ec2-limit")}
	if ctx.NArg() == 0 {
		return nil, usagef("no instance").fix("shotglass gather i-0123456789abcdef0; docs/ec2.md explains selectors")
	}
	if o.SignKey != "" && o.Unsigned {
		return nil, usagef("--sign-key and --unsigned exclude each other").fix("unset SHOTGLASS_SIGN_KEY or leave --unsigned out")
	}
	var err error
	e := &o.Engine
	e.Tool, e.Case, e.Operator, e.Settings = toolInfo(), ctx.String("case"), ctx.String("operator"), settings(ctx, args)
	if e.Operator == "" {
		e.Operator = operator()
	}
	if r.options, err = readGatherOptions(ctx, gatherWords(ctx.String("items")), e.Case); err != nil {
		return nil, err
	}
	if !r.options.any() {
		return nil, usagef("--items none leaves nothing to do")
	}
	if err := checkSearch(ctx); err != nil {
		return nil, err
	}
	for _, a := range ctx.Args().Slice() {
		s, err := hostsfile.ParseSelector(a)
		if err != nil {
			return nil, usagef("%v", err)
		}
		r.selectors = append(r.selectors, s)
	}
	if r.access, err = readAccount(ctx); err != nil {
		return nil, err
	}
	if e.Recipients, err = readRecipients(ctx.StringSlice("recipient"), ctx.StringSlice("recipients-file")); err != nil {
		return nil, usagef("%v", err).fix("%s", recipientHint)
	}
	if o.passphrase, _, err = (secretSource{what: "key-passphrase", flag: "key-passphrase-file", file: ctx.String("key-passphrase-file"), env: "SHOTGLASS_KEY_PASSPHRASE", always: true}).open(newPrompter(c)); err != nil {
		return nil, err
	}
	e.Sink, err = o.readSink(c, ctx, &hostsfile.File{})
	return r, err
}

func (r *gatherRun) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	closer, err := r.o.openSigner(sctx)
	if err != nil {
		return err
	}
	defer closer.Close()
	found, code, err := r.find(sctx, c)
	if err != nil {
		return err
	}
	all := newGatherings(r.o)
	all.alone = true
	var names []string
	for _, i := range found.Instances {
		g := all.add(i.ID, cloudevidence.Instance{ID: i.ID, ARN: i.ARN, Account: i.Account, Region: i.Region, Name: i.Name, State: i.State, Windows: i.Windows}, r.access, r.options)
		g.place.Sink, g.place.Recipients = r.o.Engine.Sink, r.o.Engine.Recipients
		names = append(names, i.ID)
	}
	problem := func(err error) { c.fail("", err) }
	log := r.o.openLog(sctx, problem)
	tool := r.o.Engine.Tool
	log.Add(audit.Entry{
		Event: audit.EventStart, Operator: r.o.Engine.Operator, Tool: &tool, Options: r.o.Engine.Settings, Hosts: names, Location: log.dest.String(),
		Message: fmt.Sprintf("%s starts to gather what AWS has of %s into %s with %s %s", r.o.Engine.Operator, plural(len(names), "instance"), log.dest, tool.Name, tool.Version),
	})
	all.start(sctx, func(line string) {
		if !r.o.Quiet {
			c.line(line)
		}
	}, log.Add)
	code = worse(code, all.finish())
	if len(all.list) > 0 && !slices.ContainsFunc(all.list, func(g *gathering) bool { return g.record != nil }) {
		code = worse(code, exitFailed)
	}
	fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	saved, lerr := log.Close(fctx, log.dest, r.o.Engine.Signer, audit.Entry{Code: &code, Message: fmt.Sprintf("the run ends with exit code %d", code)})
	if lerr != nil {
		c.fail("", lerr)
		code = worse(code, exitPartial)
	} else if !c.json {
		c.info("shotglass: audit log: %s", saved.Location)
	}
	if err := all.tell(c); err != nil {
		return err
	}
	if c.json {
		if err := c.message("summary", struct {
			Code      int         `json:"code"`
			Instances int         `json:"instances"`
			Log       audit.Saved `json:"audit_log"`
		}{code, len(all.list), saved}); err != nil {
			return err
		}
	}
	return exitWith(code)
}

// find are the instances of the selectors, whatever their state: each selector must name one at least. The code is not 0 if a place could not be
// searched.
func (r *gatherRun) find(ctx context.Context, c *console) (*inventory.Found, int, error) {
	accounts, err := r.access.Accounts(ctx, r.o.Engine.Case)
	if err != nil {
		return nil, 0, err
	}
	f := &inventory.Finder{Config: accounts.Config, Accounts: r.accounts, Regions: r.regions}
	found, err := f.Find(ctx, r.selectors)
	if err != nil {
		return nil, 0, err
	}
	code := exitOK
	var errs []error
	for _, g := range found.Gaps {
		if g.Named && !g.Off {
			errs = append(errs, fmt.Errorf("look for instances in %s: %w", g.Place, g.Err))
			continue
		}
		c.warn("not searched: %s: %s", g.Place, g.Why)
		if !g.Off {
			code = exitPartial
		}
		if c.json {
			if err := c.message("not_searched", g); err != nil {
				return nil, 0, err
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, 0, &usageError{Msg: err.Error(), Err: err, Fix: searchHint}
	}
	for _, s := range r.selectors {
		if err := ambiguous(s, found.Instances); err != nil {
			errs = append(errs, err)
		} else if !slices.ContainsFunc(found.Instances, func(i *inventory.Instance) bool { return i.Is(s) }) {
			errs = append(errs, fmt.Errorf("%q names no instance; searched: %s", s.Text, placesText(found.Places)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, 0, &usageError{Msg: err.Error(), Err: err, Fix: ec2Hint(errs)}
	}
	if n := len(found.Instances); n > r.limit {
		return nil, 0, usagef("%d instances are selected, and the limit is %d", n, r.limit).fix("to take them all: --ec2-limit %d; shotglass inventory lists them", n)
	}
	for _, i := range found.Instances {
		switch {
		case i.State != "running":
			c.warn("%s: it is %s: what EC2 still tells of it is gathered", i.ID, i.State)
		case i.Windows:
			c.warn("%s: it runs Windows: AWS is asked all the same, and its memory cannot be captured", i.ID)
		}
	}
	return found, code, nil
}

// gatheredMessage is a "gathered" line.
type gatheredMessage struct {
	Host      string                     `json:"host"`
	Instance  cloudevidence.Instance     `json:"instance"`
	Code      int                        `json:"code"`
	Record    string                     `json:"record,omitempty"` // its place
	SHA256    string                     `json:"sha256,omitempty"` // of the record
	Items     []cloudevidence.Item       `json:"items,omitempty"`
	Snapshots *cloudevidence.SnapshotSet `json:"snapshots,omitempty"`      // as far as they are
	Left      []cloudevidence.Leftover   `json:"left_by_others,omitempty"` // without a signed record
	Reasons   []string                   `json:"reasons,omitempty"`
	Errors    []string                   `json:"errors,omitempty"`
}

// tell says what became of each instance.
func (all *gatherings) tell(c *console) error {
	if all == nil {
		return nil
	}
	for _, g := range all.list {
		if err := g.tell(c); err != nil {
			return err
		}
	}
	return nil
}

func (g *gathering) tell(c *console) error {
	m := gatheredMessage{Host: g.host, Instance: g.about.Instance, Code: g.code}
	state, items, snapshots := "failed", "-", "-"
	m.Snapshots = g.set
	if g.later != nil {
		m.Snapshots = g.later.Snapshots
	}
	if rec := g.record; rec != nil {
		m.Record, m.SHA256, m.Items, m.Left, m.Reasons = g.stored.Location, g.stored.SHA256, rec.Items, rec.Left, slices.Clone(rec.Reasons)
		state = "complete"
		switch {
		case g.later != nil:
			m.Reasons = append(cloudevidence.Missing(rec.Items), g.later.Reasons...)
		case g.set != nil && g.set.Error == "":
			m.Reasons = append(m.Reasons, "snapshots: nobody recorded that they were stored: "+g.set.Progress())
		}
		if len(m.Reasons) > 0 {
			state = "partial"
		}
		items = fmt.Sprintf("%d/%d", len(rec.Items)-len(cloudevidence.Missing(rec.Items)), len(rec.Items))
	}
	for _, err := range g.errs {
		m.Errors = append(m.Errors, err.Error())
		c.fail(g.host, err)
	}
	if m.Snapshots != nil {
		var ids []string
		for _, s := range m.Snapshots.Snapshots {
			ids = append(ids, s.ID+"="+s.State)
		}
		snapshots = strings.Join(ids, ",")
	}
	if c.json {
		return c.message("gathered", m)
	}
	for _, why := range m.Reasons {
		c.warn("%s: not gathered: %s", g.host, printable(why))
	}
	if s := m.Snapshots; s != nil {
		for _, line := range s.Needs() {
			c.warn("%s: %s", g.host, printable(line))
		}
	}
	if again := g.goOn(m.Snapshots); again != "" {
		c.hint("to go on: " + again)
		c.hint(g.whetherAgain(m.Snapshots))
	}
	if !g.all.alone {
		c.info("%s: what AWS has of it: %s, %s", g.host, state, m.Record)
		return nil
	}
	_, err := fmt.Fprintln(c, strings.Join([]string{cell(g.host), state, items, cell(dash(snapshots)), dash(m.Record)}, "\t"))
	return err
}

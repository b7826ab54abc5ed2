package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const readyText = `Says over regions and accounts what an investigator would miss if an incident began now: whether calls, traffic and access are recorded
and kept, whether evidence can be taken, and whether what is compromised can be contained. The worst comes first, each with why it matters and the
command that mends it. What could not be read is UNKNOWN, never a pass. It only reads; docs/ready.md has the checks and the policy that they need. Never tried on
AWS itself. Whether hosts could be captured is what plan says.

The exit code is 0 if all that applies passes, 3 if anything fails or is unknown, or a place could not be looked at.`

const groupReady = "Checks"

func readyCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "ready", Usage: "say whether an AWS account is ready for an incident", ArgsUsage: " ", Description: readyText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "check", Usage: "make this check alone: `ID`", Category: groupReady},
			&cli.StringSliceFlag{Name: "skip", Usage: "leave out this check: `ID`", Category: groupReady},
			&cli.StringFlag{Name: "min-severity", Usage: "make only checks that are as severe: `low|medium|high`", Category: groupReady, DefaultText: "low: all"},
			&cli.StringFlag{Name: "bucket", EnvVars: env("EVIDENCE_BUCKET"), Usage: "see whether this `NAME` is a good evidence bucket, from the first account", Category: groupReady},
			&cli.StringFlag{Name: "forensic-account", EnvVars: env("FORENSIC_ACCOUNT"), Usage: "see whether this account, that evidence goes to, may use the keys of volumes, and has the evidence bucket: its `NUMBER`", Category: groupReady},
			&cli.StringFlag{Name: "responder", EnvVars: env("RESPONDER"), Usage: "see whether this `ROLE` can be assumed, may do what shotglass needs, and is protected: a name, in each account, or an ARN", Category: groupReady},
			&cli.StringFlag{Name: "quarantine-tag", EnvVars: env("CONTAIN_QUARANTINE_TAG"), Usage: "see whether a service control policy acts on this tag, `KEY=VALUE`", Value: "ms-ir-quarantine", Category: groupReady},
			&cli.BoolFlag{Name: "allow-unknown", Usage: "exit with 0 also if something could not be read", Category: groupReady, DisableDefaultText: true},
			&cli.BoolFlag{Name: "all", Usage: "list what passes and what does not apply, too", Category: groupReady, DisableDefaultText: true},
			&cli.BoolFlag{Name: "list", Usage: "list the checks, and call nobody", Category: groupReady, DisableDefaultText: true},
			&cli.StringFlag{Name: "page", TakesFile: true, Usage: "write an HTML page to this new `FILE`", Category: groupReady},
		}, ec2SearchFlags(), accountFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() > 0 {
				return usagef("ready takes no arguments").fix("name checks with --check, regions with --ec2-region")
			}
			o, err := readReady(ctx)
			if err != nil {
				return err
			}
			if ctx.Bool("list") {
				return o.list(c)
			}
			return o.run(ctx.Context, c)
		},
	}
}

// A readyRun is one run of the command ready.
type readyRun struct {
	access       awsaccess.Access
	auditor      ready.Auditor
	allowUnknown bool
	all          bool
	page         string
}

func readReady(ctx *cli.Context) (*readyRun, error) {
	o := &readyRun{allowUnknown: ctx.Bool("allow-unknown"), all: ctx.Bool("all"), page: ctx.String("page")}
	if err := checkSearch(ctx); err != nil {
		return nil, err
	}
	if err := newPage(o.page); err != nil {
		return nil, err
	}
	var err error
	if o.auditor.Checks, err = pickChecks(ctx.StringSlice("check"), ctx.StringSlice("skip"), ctx.String("min-severity")); err != nil {
		return nil, err
	}
	o.auditor.Bucket = strings.Trim(strings.TrimPrefix(ctx.String("bucket"), "s3://"), "/")
	if o.auditor.Forensic = ctx.String("forensic-account"); o.auditor.Forensic != "" {
		if err := hostsfile.CheckAccount(o.auditor.Forensic); err != nil {
			return nil, usagef("--forensic-account: %v", err)
		}
	}
	o.auditor.Accounts, o.auditor.Regions = ctx.StringSlice("ec2-account"), ctx.StringSlice("ec2-region")
	if o.auditor.Responder.Role, err = readResponder(ctx.String("responder")); err != nil {
		return nil, err
	}
	o.auditor.QuarantineTag = ctx.String("quarantine-tag")
	o.access, err = readAccount(ctx)
	return o, err
}

// readResponder checks the name of a role, with its path, or its ARN.
func readResponder(role string) (string, error) {
	arn := role
	if !strings.HasPrefix(role, "arn:") {
		arn = "arn:aws:iam::000000000000:role/" + strings.TrimPrefix(role, "/")
	}
	if t, err := containment.ParseTarget(arn); role != "" && (err != nil || t.Kind != containment.Role) {
		return "", usagef("--responder %q is no role: want its name, or arn:aws:iam::ACCOUNT:role/NAME", role)
	}
	return role, nil
}

// assume assumes a role as whoever runs the audit, whatever role the audit itself has.
func (o *readyRun) assume(ctx context.Context, role string) error {
	access := o.access
	access.Role = role
	accounts, err := access.Accounts(ctx, "")
	if err != nil {
		return err
	}
	_, err = accounts.Config(ctx, containment.Target{})
	return err
}

// newPage refuses a page that is there already.
func newPage(name string) error {
	if name == "" {
		return nil
	}
	if _, err := os.Lstat(name); err == nil {
		return usagef("--page: %s is there already, and nothing is ever overwritten", name)
	}
	return nil
}

// writeSheet writes a page to a new file.
func writeSheet(ctx context.Context, name string, s report.Sheet) error {
	var page bytes.Buffer
	if err := s.Write(&page); err != nil {
		return err
	}
	if err := writeNew(ctx, name, page.Bytes()); err != nil {
		return fmt.Errorf("--page: %w", err)
	}
	return nil
}

// pickChecks are those that are asked for. An id that no check has is a mistake: what it was meant to look at would not be.
func pickChecks(only, skip []string, least string) (list []*ready.Check, err error) {
	if least != "" && !slices.Contains(ready.Severities, ready.Severity(least)) {
		return nil, usagef("--min-severity %q: want low, medium or high", least)
	}
	for _, id := range slices.Concat(only, skip) {
		if !slices.ContainsFunc(ready.Checks, func(c *ready.Check) bool { return c.ID == id }) {
			return nil, usagef("there is no check %q", id).fix("shotglass ready --list has them all")
		}
	}
	for _, c := range ready.Checks {
		if len(only) > 0 && !slices.Contains(only, c.ID) || slices.Contains(skip, c.ID) ||
			least != "" && slices.Index(ready.Severities, c.Severity) > slices.Index(ready.Severities, ready.Severity(least)) {
			continue
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, usagef("no check is left")
	}
	return list, nil
}

func (o *readyRun) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	accounts, err := o.access.Accounts(sctx, "")
	if err != nil {
		return err
	}
	o.auditor.Config, o.auditor.Responder.Assume, o.auditor.Organization = accounts.Config, o.assume, &iam.Organizations{Config: accounts.Base}
	m := newCounter(c, "checks")
	o.auditor.Progress = func(done, total int) { m.show(int64(done), int64(total)) }
	r, err := o.auditor.Run(sctx)
	m.close()
	if err != nil {
		return err
	}
	if o.page != "" {
		if err := writeSheet(sctx, o.page, readySheet(r)); err != nil {
			return err
		}
	}
	return o.tell(c, r)
}

// code is the exit code of a report.
func (o *readyRun) code(r *ready.Report) int {
	switch {
	case len(r.Places) == 0:
		return exitFailed
	case r.Count(ready.Fail) > 0, r.Count(ready.Unknown) > 0 && !o.allowUnknown, len(r.Blind()) > 0:
		return exitPartial
	}
	return exitOK
}

// readyCheck is what a "ready_check" line and --list say of a check.
type readyCheck struct {
	ID       string         `json:"check"`
	Title    string         `json:"title"`
	Severity ready.Severity `json:"severity"`
	Why      string         `json:"why"`
	Actions  []string       `json:"actions"`
	Prowler  string         `json:"prowler,omitempty"`
}

func aboutCheck(k *ready.Check) readyCheck {
	return readyCheck{k.ID, k.Title, k.Severity, k.Why, k.Actions, k.Prowler}
}

func (o *readyRun) list(c *console) error {
	if c.json {
		for _, k := range o.auditor.Checks {
			if err := c.message("ready_check", aboutCheck(k)); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"CHECK", "SEVERITY", "PASSES WHEN"}}
	for _, k := range o.auditor.Checks {
		rows = append(rows, []string{k.ID, string(k.Severity), k.Title})
	}
	printColumns(c, rows)
	return nil
}

// words joins what is not empty.
func words(list ...string) string {
	return strings.Join(slices.DeleteFunc(list, func(s string) bool { return s == "" }), " ")
}

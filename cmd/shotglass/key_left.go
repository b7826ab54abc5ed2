package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
)

// notReached adds those that it was not come to, since it was broken off.
func (o *keyRun) notReached(f *keytrail.Found) {
	owner, err := o.owner(f)
	if err != nil {
		o.became = append(o.became, containedTarget{Target: owner.String(), Why: err.Error()})
	}
	made, unnamed := o.others(f, owner)
	for _, what := range unnamed {
		o.became = append(o.became, containedTarget{Target: what, Why: errUnnamed.Error()})
	}
	if err == nil {
		made = append([]containment.Target{owner}, made...)
	}
	for _, t := range made {
		if !slices.ContainsFunc(o.became, func(b containedTarget) bool { return b.target == t }) {
			o.became = append(o.became, containedTarget{Target: t.String(), Why: "it was not come to", target: t})
		}
	}
	for i := range o.became {
		if b := &o.became[i]; !b.Done && b.target.Name != "" {
			b.Command = o.containCommand(f, b)
		}
	}
}

// containCommand is what contains a target that was not. In its account the role is assumed by the word of who runs the command, no matter who named it.
func (o *keyRun) containCommand(f *keytrail.Found, b *containedTarget) string {
	access, t, name := o.contain.access, b.target, b.target.String()
	_, role, isARN := strings.Cut(access.Role, ":role/")
	switch {
	case t.Account == "" || isARN && trail.AccountOf(access.Role) == t.Account:
	case t.Account == cmp.Or(o.caller, f.Account):
		if isARN {
			access.Role, access.ExternalID = "", ""
		}
	case isARN || access.Role == "": // ROLE: one there that the caller may assume, which nobody named
		access.Role = fmt.Sprintf("arn:%s:iam::%s:role/%s", cmp.Or(t.Partition, "aws"), t.Account, cmp.Or(role, "ROLE"))
	}
	if b.Journal != "" {
		return o.contain.resumeCommand(access, b.Journal)
	}
	return "shotglass contain " + o.flags + access.glassText() + access.flagsText(o.caseID) + transport.Quote(name)
}

// tellLeft names what was not contained, with the command that does it. The error is that of printing.
func (o *keyRun) tellLeft(c *console) error {
	for _, b := range o.became {
		if b.Done {
			continue
		}
		if b.Command != "" {
			c.hint(printable(b.Target) + " is not contained; to contain it: " + b.Command)
		}
		if c.json {
			if err := c.message("not_contained", b); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepContained writes what became of each identity, if the trace has a record.
func (o *keyRun) keepContained(c *console) error {
	if o.kept == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), recordTimeout)
	defer cancel()
	r, t := o.kept.record, o.kept.record.Trace
	r.Written, r.NotSeen, r.Worst, r.WorstOf = time.Now().UTC(), nil, nil, 0
	r.Trace = &keytrail.Found{Name: t.Name, Account: t.Account, Since: t.Since, Until: t.Until, Owner: keytrail.Owner{Kind: t.Owner.Kind, ARN: t.Owner.ARN}}
	r.Before, r.Contained = &o.kept.Named, o.became
	stored, err := records.Write(ctx, o.kept.where, o.kept.base+"-contained"+keySuffix, keyNamespace, o.signing.Engine.Signer, r)
	if err != nil {
		return fmt.Errorf("keep what was contained: %w", err)
	}
	c.info("what was contained, and what was not: %s", stored.Location)
	return nil
}

// containedInquiry puts the record of what became of identities into words.
func containedInquiry(q *report.Inquiry, rec *keyRecord) {
	q.Title, q.State, q.Class = "What was contained of "+rec.Trace.Name, "contained", "good"
	t := report.Table{Title: "Identities", Head: []string{"", "identity", "outcome", "journal", "why not", "command"}}
	for _, b := range rec.Contained {
		state := "contained"
		if !b.Done {
			state = "NOT CONTAINED"
			q.State, q.Class = "not all is contained", "bad"
			q.Alerts = append(q.Alerts, report.Notice{Class: "bad", Text: "not contained: " + b.Target})
		}
		t.Rows = append(t.Rows, []string{state, b.Target, string(b.Outcome), b.Journal, b.Why, b.Command})
	}
	q.Tables = []report.Table{t}
	fact(q, "After", rec.Before.Name+", sha256 "+rec.Before.SHA256)
}

// givenText is how flags were set, for a command line, but for those that are named.
func givenText(ctx *cli.Context, flags []cli.Flag, without ...string) string {
	var b strings.Builder
	for _, f := range flags {
		name := f.Names()[0]
		if !ctx.IsSet(name) || slices.Contains(without, name) {
			continue
		}
		switch value := valueOf(ctx, f); {
		case value == "false":
		case value == "true":
			b.WriteString("--" + name + " ")
		default:
			for v := range strings.SplitSeq(value, "\n") {
				fmt.Fprintf(&b, "--%s %s ", name, transport.Quote(v))
			}
		}
	}
	return b.String()
}

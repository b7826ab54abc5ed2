package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment"
)

// target is the instance, as AWS's configuration is asked for it.
func (g *gathering) target() containment.Target {
	i := g.about.Instance
	return containment.Target{Kind: containment.Instance, Partition: containment.PartitionOf(i.Region), Account: i.Account, Region: i.Region, Name: i.ID}
}

// A gatherPlan is a "gather_plan" line: what would be taken from AWS of one instance.
type gatherPlan struct {
	Host     string                 `json:"host"`
	Instance cloudevidence.Instance `json:"instance"`
	*cloudevidence.Preview

	options gatherOptions
}

// preview asks AWS what would be gathered of all instances, and what its caller may not do for it. Nothing is changed. The error is only that ctx ended.
func (all *gatherings) preview(ctx context.Context) ([]gatherPlan, error) {
	if all == nil {
		return nil, nil
	}
	plans := make([]gatherPlan, len(all.list))
	previewers := map[string]func() (*cloudevidence.Previewer, error){} // one for all who are called alike, so that each account is asked for its role once
	key := func(a awsaccess.Access) string {
		return fmt.Sprintf("%q", []string{a.Region, a.Profile, a.Endpoint, a.Role, a.ExternalID, a.SourceIdentity})
	}
	for _, g := range all.list {
		if previewers[key(g.access)] == nil {
			previewers[key(g.access)] = sync.OnceValues(func() (*cloudevidence.Previewer, error) {
				limited, cancel := context.WithTimeoutCause(ctx, configTime, fmt.Errorf("AWS's configuration took more than %s", configTime))
				defer cancel()
				accounts, err := g.access.Accounts(limited, g.about.Case)
				if err != nil {
					return nil, err
				}
				return &cloudevidence.Previewer{Gatherer: &cloudevidence.Gatherer{Config: cloudevidence.Impatient(accounts.Config)}}, nil
			})
		}
	}
	slots := make(chan struct{}, gatherParallel)
	var work sync.WaitGroup
	for n, g := range all.list {
		work.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			plans[n] = gatherPlan{Host: g.host, Instance: g.about.Instance, options: g.gatherOptions}
			p, err := previewers[key(g.access)]()
			if err != nil {
				plans[n].Preview = &cloudevidence.Preview{Error: err.Error()}
				return
			}
			var snapshots *cloudevidence.SnapshotOptions
			if g.snapshots {
				snapshots = &g.snap
			}
			plans[n].Preview = p.Preview(ctx, g.target(), g.kinds, snapshots)
		})
	}
	work.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return plans, nil
}

// lacking reports whether something that was asked for would not be there, or nothing is known.
func (p gatherPlan) lacking() bool {
	return p.Error != "" || len(p.Missing) > 0 || p.Snapshots != nil && (p.Snapshots.Error != "" || len(p.Snapshots.Problems) > 0)
}

// tellGathers tells what would be gathered, and the exit code that it adds to: what would be missing from a capture is missing from its plan.
func tellGathers(c *console, plans []gatherPlan) (code int, err error) {
	for _, p := range plans {
		if p.lacking() {
			code = exitPartial
		}
		if c.json {
			if err := c.message("gather_plan", p); err != nil {
				return code, err
			}
		}
	}
	if c.json || len(plans) == 0 {
		return code, nil
	}
	if len(plans) > fewHosts {
		printGathers(c, plans)
	} else {
		for _, p := range plans {
			p.print(c)
		}
	}
	return code, nil
}

// print prints all about one instance. What AWS tells is quoted.
func (p gatherPlan) print(out io.Writer) {
	fmt.Fprintf(out, "\n%s: from AWS, before its memory is read\n", printable(p.Host))
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	defer w.Flush()
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	if len(p.Items) > 0 {
		row("items", "%s", strings.Join(p.Items, ", "))
	}
	if s := p.Snapshots; s != nil {
		name := "snapshots"
		for _, v := range s.Volumes {
			how := "not encrypted"
			if v.Encrypted {
				how = "encrypted with " + v.Key
			}
			row(name, "of %s, %q, %d GiB, %s", v.ID, v.Device, v.GiB, how)
			name = ""
		}
		row(name, "%s", p.snapshotsText())
		for _, problem := range s.Problems {
			row("problem", "%s", problem)
		}
	}
	if p.Error != "" {
		row("not known", "%s", p.Error)
	}
	for _, m := range p.Missing {
		row("missing", "%s: your credentials do not have this permission", m)
	}
	for _, u := range p.Unchecked {
		row("unchecked", "%s", u)
	}
}

// snapshotsText says what would be made in all, and done with it.
func (p gatherPlan) snapshotsText() string {
	s := p.Snapshots
	if s.Error != "" {
		return s.Error
	}
	parts := []string{fmt.Sprintf("%s, %d GiB at most", plural(len(s.Volumes), "volume"), s.GiB)}
	if len(s.Earlier) > 0 {
		parts = append(parts, "no new ones: an earlier run of the case made "+strings.Join(s.Earlier, ", "))
	}
	for name, value := range map[string]string{"locked": s.Wanted.Lock, "copied with the key": s.Wanted.CopyKey, "shared with": strings.Join(s.Wanted.Share, ", ")} {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	slices.Sort(parts[1:])
	if p.options.wait > 0 {
		parts = append(parts, "waited for up to "+short(p.options.wait))
	}
	return strings.Join(parts, "; ")
}

// printGathers prints a line for each of many instances, and the sum.
func printGathers(out io.Writer, plans []gatherPlan) {
	fmt.Fprintln(out, "\nFrom AWS, before memory is read:")
	rows := [][]string{{"HOST", "ITEMS", "SNAPSHOTS", "GIB", "UNCHECKED", "MISSING"}}
	var gib int64
	lacking := 0
	for _, p := range plans {
		snapshots, size := "-", "-"
		if s := p.Snapshots; s != nil {
			snapshots, size = fmt.Sprint(len(s.Volumes)), fmt.Sprint(s.GiB)
			gib += int64(s.GiB)
			if len(s.Earlier) > 0 {
				snapshots += " there"
			}
		}
		why := p.Missing
		if s := p.Snapshots; s != nil {
			why = slices.Concat(why, s.Problems)
			if s.Error != "" {
				why = append(why, "snapshots: "+s.Error)
			}
		}
		if p.Error != "" {
			why = slices.Concat(why, []string{"nothing is known: " + p.Error})
		}
		if p.lacking() {
			lacking++
		}
		rows = append(rows, []string{p.Host, fmt.Sprint(len(p.Items)), snapshots, size, fmt.Sprint(len(p.Unchecked)), strings.Join(why, ", ")})
	}
	printColumns(out, rows)
	fmt.Fprintf(out, "%s, volumes of %d GiB; something is missing of %d\n", plural(len(plans), "instance"), gib, lacking)
}

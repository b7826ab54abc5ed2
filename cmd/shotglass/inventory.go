package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/cmd/internal/flowlogs"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

const selectorArgs = "[SELECTOR...]"

const inventoryText = `Lists EC2 instances over regions and accounts, all or those that a selector names, with what matters to who responds: AMI, age,
role, exposure, Auto Scaling, Nitro or Xen, how one could get in, and which kernel module would be needed, which is a guess. It only
reads. SELECTOR is as for capture --ec2: i-..., an ARN, an address, tag:KEY=VALUE, asg:NAME and more; docs/ec2.md has them all.
Regions that could not be searched are named, and make the exit code 3. Never tried on AWS itself.`

func inventoryCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "inventory", Usage: "list EC2 instances and what matters to a responder", ArgsUsage: selectorArgs, Description: inventoryText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "related", Usage: "list the instances that share an AMI, an instance profile, a security group or a key pair with the one that this `SELECTOR` names", Category: groupEC2},
			&cli.StringFlag{Name: "flows", Usage: "with --related: and those that talked to it since this `TIME`, by the flow logs of its VPC: 2006-01-02T15:04:05Z, or so long ago, as 24h or 7d", Category: groupEC2},
			&cli.StringFlag{Name: "flows-max", Usage: "with --flows: read at most this `SIZE` of them, as text (default: 1GiB); what they are is told first", Category: groupEC2},
			&cli.BoolFlag{Name: "wide", Usage: "say all about each instance, over several lines", Category: groupEC2, DisableDefaultText: true},
		}, ec2SearchFlags(), accountFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o, err := readInventory(ctx)
			if err != nil {
				return err
			}
			o.cost = func(cost flowlogs.Cost) { c.info("%s", printable(costText(cost))) }
			return o.run(ctx.Context, c)
		},
	}
}

// An inventoryRun is one run of the command inventory.
type inventoryRun struct {
	access    awsaccess.Access
	selectors []hostsfile.Selector
	related   *hostsfile.Selector
	regions   []string
	accounts  []string
	wide      bool
	flows     time.Time // since then flow logs are read; zero: they are not
	flowsMax  int64     // bytes of them; 0: as many as flowlogs says
	cost      func(flowlogs.Cost)
	talk      *flowlogs.Talk
	unmatched []string // selectors that name no instance
	peers     []peerMessage
}

func readInventory(ctx *cli.Context) (*inventoryRun, error) {
	o := &inventoryRun{regions: ctx.StringSlice("ec2-region"), accounts: ctx.StringSlice("ec2-account"), wide: ctx.Bool("wide")}
	if err := checkSearch(ctx); err != nil {
		return nil, err
	}
	for _, a := range ctx.Args().Slice() {
		s, err := hostsfile.ParseSelector(a)
		if err != nil {
			return nil, usagef("%v", err)
		}
		o.selectors = append(o.selectors, s)
	}
	if text := ctx.String("related"); text != "" {
		s, err := hostsfile.ParseSelector(text)
		if err != nil {
			return nil, usagef("--related: %v", err)
		}
		o.related = &s
	}
	if text := ctx.String("flows"); text != "" {
		var err error
		if o.flows, err = parseMoment(text, time.Now()); err != nil {
			return nil, usagef("--flows %v", err)
		}
		if o.related == nil {
			return nil, usagef("--flows is for --related")
		}
	}
	if text := ctx.String("flows-max"); text != "" {
		var err error
		if o.flowsMax, err = parseSize(text); err != nil {
			return nil, usagef("--flows-max %v", err)
		}
		if o.flows.IsZero() {
			return nil, usagef("--flows-max is for --flows")
		}
	}
	var err error
	o.access, err = readAccount(ctx)
	return o, err
}

func (o *inventoryRun) run(ctx context.Context, c *console) error {
	sctx, stop := catchSignals(ctx, c.exit, func(string) {}, func() {})
	defer stop()
	accounts, err := o.access.Accounts(sctx, "")
	if err != nil {
		return err
	}
	f := &inventory.Finder{Config: accounts.Config, Accounts: o.accounts, Regions: o.regions}
	found, err := f.Find(sctx, o.selectors)
	if err != nil {
		return err
	}
	for _, s := range o.selectors {
		if !slices.ContainsFunc(found.Instances, func(i *inventory.Instance) bool { return i.Is(s) }) {
			o.unmatched = append(o.unmatched, s.Text)
		}
	}
	var relations []inventory.Relation
	if o.related != nil {
		if relations, err = o.relate(sctx, f, found); err != nil {
			return err
		}
	}
	if err := f.Describe(sctx, found); err != nil {
		return err
	}
	return o.tell(c, found, relations)
}

// relate leaves of what was found what shares something with the target, which is looked for in the same places.
func (o *inventoryRun) relate(ctx context.Context, f *inventory.Finder, found *inventory.Found) ([]inventory.Relation, error) {
	targets, err := f.Find(ctx, []hostsfile.Selector{*o.related})
	if err != nil {
		return nil, err
	}
	switch n := len(targets.Instances); {
	case n == 0 && len(targets.Gaps) > 0:
		return nil, fmt.Errorf("--related %q: look in %s: %w", o.related.Text, targets.Gaps[0].Place, errors.New(targets.Gaps[0].Why))
	case n == 0:
		return nil, usagef("--related: %q names no instance; searched: %s", o.related.Text, placesText(targets.Places)).fix("--ec2-region all searches all regions")
	case n > 1:
		return nil, usagef("--related: %q names %d instances: %s, %s, ...", o.related.Text, n, targets.Instances[0].ID, targets.Instances[1].ID).fix("name one, by its id")
	}
	relations := inventory.Related(targets.Instances[0], found.Instances)
	if !o.flows.IsZero() {
		if relations, err = o.talked(ctx, f, targets.Instances[0], found.Instances, relations); err != nil {
			return nil, err
		}
	}
	found.Instances = nil
	for _, r := range relations {
		found.Instances = append(found.Instances, r.Instance)
	}
	return relations, nil
}

// instanceMessage is an "instance" line.
type instanceMessage struct {
	*inventory.Instance
	Age     time.Duration `json:"age_ns"` // since it was made, if that is known, or was started last
	Related string        `json:"related_to,omitempty"`
	Shares  []string      `json:"shares,omitempty"`
	LeftOut string        `json:"cannot_be_captured,omitempty"`
}

func (o *inventoryRun) tell(c *console, found *inventory.Found, relations []inventory.Relation) error {
	now, blind := time.Now(), 0
	for _, g := range found.Gaps {
		c.warn("not searched: %s: %s", g.Place, g.Why)
		if !g.Off {
			blind++
		}
		if c.json {
			if err := c.message("not_searched", g); err != nil {
				return err
			}
		}
	}
	for _, text := range o.unmatched {
		c.warn("%q names no instance; searched: %s", text, placesText(found.Places))
	}
	unknown := 0
	var rows []instanceMessage
	for n, i := range found.Instances {
		m := instanceMessage{Instance: i, Age: ageOf(i, now), LeftOut: i.Why("")}
		if relations != nil {
			m.Related, m.Shares = relations[n].Target, relations[n].Shares
		}
		if len(i.Unknown) > 0 {
			unknown++
		}
		rows = append(rows, m)
	}
	code := exitOK
	switch {
	case blind > 0 && len(found.Places) == 0:
		code = exitFailed
	case blind > 0 || unknown > 0 || o.talk != nil && len(o.talk.Missing) > 0:
		code = exitPartial
	}
	if c.json {
		for _, m := range rows {
			if err := c.message("instance", m); err != nil {
				return err
			}
		}
		if err := o.tellFlows(c); err != nil {
			return err
		}
		if err := c.message("summary", struct {
			Code        int `json:"code"`
			Instances   int `json:"instances"`
			Places      int `json:"places"`
			NotSearched int `json:"not_searched"`

			Unmatched []string `json:"unmatched,omitempty"`
		}{code, len(rows), len(found.Places), len(found.Gaps), o.unmatched}); err != nil {
			return err
		}
		return exitWith(code)
	}
	tellUnknown(c, found.Instances)
	if o.wide {
		for n, m := range rows {
			if n > 0 {
				fmt.Fprintln(c)
			}
			printInstance(c, m)
		}
	} else {
		printInstances(c, rows, o.related != nil)
	}
	if err := o.tellFlows(c); err != nil {
		return err
	}
	if len(rows) == 0 && len(o.unmatched) == 0 {
		c.info("shotglass: no instance; searched: %s", placesText(found.Places))
	}
	return exitWith(code)
}

// tellUnknown warns once of each thing that could not be read.
func tellUnknown(c *console, list []*inventory.Instance) {
	count := map[string]int{}
	var order []string
	for _, i := range list {
		for _, u := range i.Unknown {
			if count[u]++; count[u] == 1 {
				order = append(order, u)
			}
		}
	}
	for _, u := range order {
		c.warn("not known of %s: %s", plural(count[u], "instance"), u)
	}
}

// ageOf is how old an instance is: since it was made, if that is known, else since it was started last.
func ageOf(i *inventory.Instance, now time.Time) time.Duration {
	since := i.Created
	if since.IsZero() {
		since = i.Launched
	}
	if since.IsZero() || since.After(now) {
		return 0
	}
	return now.Sub(since).Round(time.Second)
}

// ageText is an age in the two digits that matter.
func ageText(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

// dash keeps an empty cell of a table visible.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return cell(s)
}

func exposure(i *inventory.Instance) string {
	var what []string
	if n := len(i.Public); n > 0 {
		what = append(what, i.Public[0])
	}
	if len(i.OpenSSH) > 0 {
		what = append(what, "SSH OPEN TO ALL")
	}
	return strings.Join(what, ", ")
}

func waysIn(i *inventory.Instance) string {
	var ways []string
	if i.Ways.Key != "" {
		ways = append(ways, "key "+i.Ways.Key)
	}
	if i.Ways.SSM != "" {
		ways = append(ways, "SSM "+i.Ways.SSM)
	}
	if i.Ways.Endpoint != "" {
		ways = append(ways, "EICE")
	}
	if i.Ways.Push != "" {
		ways = append(ways, "push?")
	}
	return strings.Join(ways, ", ")
}

// printInstances prints a line for each instance. Names are what somebody gave them: they are quoted.
func printInstances(c *console, rows []instanceMessage, related bool) {
	if len(rows) == 0 {
		return
	}
	w := tabwriter.NewWriter(c, 0, 8, 2, ' ', 0)
	head := "INSTANCE\tNAME\tPLACE\tSTATE\tAGE\tAMI\tROLE\tEXPOSURE\tAUTO SCALING\tRUNS ON\tIMDS\tWAYS IN\tMODULE"
	if related {
		head += "\tSHARES"
	}
	fmt.Fprintln(w, head)
	for _, m := range rows {
		i := m.Instance
		state, group, imds, name, role := i.State, "", "v1", "", ""
		if i.Windows {
			state += ", Windows"
		}
		if i.Scaling != nil {
			group = i.Scaling.Group
		}
		switch {
		case !i.IMDS.On:
			imds = "off"
		case i.IMDS.V2Only:
			imds = "v2"
		}
		if i.Name != "" {
			name = fmt.Sprintf("%q", i.Name)
		}
		if i.Profile != "" {
			role = inventory.NameOf(i.Profile)
		}
		cells := []string{i.ID, name, i.Region + "/" + i.Account, state, ageText(m.Age), i.Image.ID, role, exposure(i), group, runsOn(i), imds, waysIn(i), i.Module.Short()}
		if related {
			cells = append(cells, strings.Join(m.Shares, ", "))
		}
		for n := range cells {
			cells[n] = dash(cells[n])
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	w.Flush()
}

func runsOn(i *inventory.Instance) string {
	if i.BareMetal {
		return "metal"
	}
	return i.Hypervisor
}

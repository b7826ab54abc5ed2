package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
)

const groupGather = "Evidence of AWS around the image"

// complianceWord is what --irreversible says for a lock that nobody can take off.
const complianceWord = "snapshot-lock-compliance"

// defaultSnapshotWait is longer than a usual root volume takes.
const defaultSnapshotWait = time.Hour

// gatherFlags say what is gathered of instances, and what is done with snapshots. The first is called name, and is by default value.
func gatherFlags(name, value string) []cli.Flag {
	str := func(name, envName, usage string) *cli.StringFlag {
		f := &cli.StringFlag{Name: name, Usage: usage, Category: groupGather}
		if envName != "" {
			f.EnvVars = env(envName)
		}
		return f
	}
	items := str(name, "GATHER", "take this of each EC2 instance from AWS, before anything is changed there: `LIST` of names with commas, or all, which is everything that is read; snapshots of the volumes, which are made, by name: all,snapshots; or none. See docs/gather.md")
	items.Value = value
	return []cli.Flag{
		items,
		&cli.DurationFlag{Name: "snapshot-wait", EnvVars: env("SNAPSHOT_WAIT"), Usage: "wait for snapshots to be stored, in the end, for this `TIME`, or not at all: 0", Category: groupGather, Value: defaultSnapshotWait},
		&cli.BoolFlag{Name: "snapshot-again", Usage: "take snapshots although the case has some of all volumes of the instance", Category: groupGather, DisableDefaultText: true},
		str("snapshot-lock", "", "lock snapshots against deletion for this many `DAYS`, in governance mode, which who has the permission can end"),
		&cli.StringSliceFlag{Name: "snapshot-irreversible", Usage: "with --snapshot-lock: lock them so that nobody can end it, AWS included: `" + complianceWord + "`, in words", Category: groupGather},
		str("snapshot-copy-key", "", "copy snapshots once they are stored, encrypted with this KMS `KEY`: what is encrypted with EBS's own key cannot be shared"),
		&cli.StringSliceFlag{Name: "snapshot-share", Usage: "let this account make volumes of the snapshots, or of their copies: `NUMBER`", Category: groupGather},
		&cli.DurationFlag{Name: "trail-since", EnvVars: env("TRAIL_SINCE"), Usage: "ask CloudTrail for events of the last `TIME`", Category: groupGather, Value: cloudevidence.DefaultSince},
		&cli.IntFlag{Name: "trail-pages", EnvVars: env("TRAIL_PAGES"), Usage: "take at most `N` pages of 50 events for each question to CloudTrail, which answers two a second", Category: groupGather, Value: cloudevidence.DefaultPages},
	}
}

// snapshotFlags are those that only snapshots have.
var snapshotFlags = []string{"snapshot-again", "snapshot-lock", "snapshot-irreversible", "snapshot-copy-key", "snapshot-share"}

// gatherOptions is what is gathered of one instance.
type gatherOptions struct {
	kinds     []cloudevidence.Kind
	snapshots bool
	snap      cloudevidence.SnapshotOptions
	wait      time.Duration // for snapshots
	since     time.Duration
	pages     int
}

func (o gatherOptions) any() bool { return o.snapshots || len(o.kinds) > 0 }

// readGatherOptions reads the flags of gatherFlags, for words that name what is gathered.
func readGatherOptions(ctx *cli.Context, words []string, caseID string) (o gatherOptions, err error) {
	if o.kinds, o.snapshots, err = cloudevidence.Parse(words); err != nil {
		return o, usagef("%v", err)
	}
	if !o.any() {
		return o, nil
	}
	o.wait, o.since, o.pages = ctx.Duration("snapshot-wait"), ctx.Duration("trail-since"), ctx.Int("trail-pages")
	o.snap = cloudevidence.SnapshotOptions{Case: caseID, Again: ctx.Bool("snapshot-again"), CopyKey: ctx.String("snapshot-copy-key"), Share: ctx.StringSlice("snapshot-share")}
	switch {
	case o.wait < 0:
		return o, usagef("--snapshot-wait %s is negative", o.wait)
	case o.since <= 0 || o.since > 90*24*time.Hour:
		return o, usagef("--trail-since %s: want a time of 90 days (2160h) at most, which is what CloudTrail's event history has", o.since)
	case o.pages < 1 || o.pages > 200:
		return o, usagef("--trail-pages %d: want a number from 1 to 200", o.pages)
	}
	if s := ctx.String("snapshot-lock"); s != "" {
		days, err := strconv.Atoi(s)
		if err != nil || days < 1 || days > 36500 {
			return o, usagef("--snapshot-lock %q: want a number of days from 1 to 36500", s)
		}
		o.snap.LockDays = int32(days)
	}
	for _, word := range ctx.StringSlice("snapshot-irreversible") {
		if word != complianceWord {
			return o, usagef("--snapshot-irreversible %q: want %s", word, complianceWord)
		}
		o.snap.Compliance = true
	}
	var errs []error
	for _, a := range o.snap.Share {
		errs = append(errs, hostsfile.CheckAccount(a))
	}
	if err := errors.Join(errs...); err != nil {
		return o, usagef("--snapshot-share: %v", err)
	}
	given := cmp.Or(o.snap.Again, o.snap.LockDays > 0, o.snap.Compliance, o.snap.CopyKey != "", len(o.snap.Share) > 0)
	switch {
	case o.snapshots && strings.TrimSpace(caseID) == "":
		return o, usagef("snapshots want a case").fix("--case ID: they are tagged with it, and a second run for the case finds them by it, and makes no others")
	case o.snapshots && len(caseID) > 256:
		return o, usagef("--case is longer than the 256 characters that a tag can have")
	case given && !o.snapshots:
		return o, usagef("flags of snapshots are given, and none are to be made").fix("name them: all,%s", cloudevidence.Snapshots)
	case o.snap.Compliance && o.snap.LockDays == 0:
		return o, usagef("--snapshot-irreversible is for --snapshot-lock DAYS")
	case o.wait == 0 && (o.snap.CopyKey != "" || len(o.snap.Share) > 0):
		return o, usagef("snapshots are copied and shared once they are stored, and --snapshot-wait is 0")
	}
	return o, nil
}

// gatherWords takes a list of the flag apart.
func gatherWords(s string) []string {
	words := strings.Split(s, ",")
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return words
}

// readGather hangs the gathering of evidence on the jobs of EC2 instances, before all that the jobs do already. It comes after
// containment was hung on them.
func (o *captureOptions) readGather(c *console, ctx *cli.Context) error {
	all := newGatherings(o)
	own := map[int]*gathering{} // by its job
	for i := range o.Jobs {
		j := &o.Jobs[i]
		e := o.ec2[hostOf(*j)]
		if e == nil {
			continue
		}
		words := e.gather
		if ctx.IsSet("gather") || len(words) == 0 {
			words = gatherWords(ctx.String("gather"))
		}
		options, err := readGatherOptions(ctx, words, o.Engine.Case)
		if err != nil {
			return err
		}
		if !options.any() {
			continue
		}
		g := all.add(hostOf(*j), e.instance(), e.access.Access, options)
		g.place.Sink, g.place.Recipients = o.Engine.Sink, o.Engine.Recipients
		if j.Sink != nil {
			g.place.Sink = j.Sink
		}
		if j.Recipients != nil {
			g.place.Recipients = j.Recipients
		}
		own[i] = g
	}
	words := gatherWords(ctx.String("gather"))
	if len(all.list) == 0 && !slices.Equal(words, []string{cloudevidence.None}) {
		if _, err := readGatherOptions(ctx, words, o.Engine.Case); err != nil {
			return err
		}
		return usagef("--gather is about EC2 instances, and no host is named by what only EC2 knows").fix("name them by their ids or with --ec2; or run shotglass gather")
	}
	for _, name := range snapshotFlags {
		if ctx.IsSet(name) && !slices.ContainsFunc(all.list, func(g *gathering) bool { return g.snapshots }) {
			return usagef("--%s is given, and no snapshots are to be made", name).fix("name them: --gather all,%s", cloudevidence.Snapshots)
		}
	}
	if len(all.list) > 0 {
		o.gather = all
		for i := range o.Jobs {
			all.before(&o.Jobs[i], own[i])
		}
	}
	return nil
}

// instance is what the record says of it.
func (e *ec2Host) instance() cloudevidence.Instance {
	return cloudevidence.Instance{ID: e.ID, ARN: e.ARN, Account: e.Account, Region: e.Region, Name: e.Name}
}

// names are what is gathered, for people.
func (o gatherOptions) names() string {
	var names []string
	for _, k := range o.kinds {
		names = append(names, k.Name)
	}
	if len(o.kinds) == len(cloudevidence.Kinds()) {
		names = []string{cloudevidence.All}
	}
	if o.snapshots {
		names = append(names, cloudevidence.Snapshots)
	}
	return fmt.Sprint(strings.Join(names, ","))
}

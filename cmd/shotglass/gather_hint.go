package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// goOn is the command that goes on with what is not there yet, for a shell; empty: there is nothing to go on with.
func (g *gathering) goOn(set *cloudevidence.SnapshotSet) string {
	var items []string
	if g.code == exitInterrupted {
		for _, it := range g.missing() {
			items = append(items, it.Name)
		}
	}
	if set != nil && (set.Pending() || g.code == exitInterrupted && set.Error != "") {
		items = append(items, cloudevidence.Snapshots)
	}
	if len(items) == 0 {
		return ""
	}
	return "shotglass gather --items " + strings.Join(items, ",") + " " + g.flagsText(items, set) + transport.Quote(g.about.Instance.ARN)
}

// missing are the items that could not be read.
func (g *gathering) missing() (list []cloudevidence.Item) {
	if g.record == nil {
		return nil
	}
	for _, it := range g.record.Items {
		if it.Error != "" {
			list = append(list, it)
		}
	}
	return list
}

// whetherAgain says what decides if the command to go on wants --snapshot-again; empty: nobody need decide.
func (g *gathering) whetherAgain(set *cloudevidence.SnapshotSet) string {
	if set == nil || !g.snap.Again || !set.Unknown {
		return ""
	}
	return "look first whether snapshots have that tag: if none has, add --snapshot-again, as older ones of the case are taken otherwise; if some have, that would make others"
}

// flagsText is what a command line needs for the same case, account, place and signature, and to ask for these items, snapshots among them, as was asked
// for. It stands for itself, whatever the environment was, but for external ids that came from there: those are not shown.
func (g *gathering) flagsText(items []string, set *cloudevidence.SnapshotSet) string {
	var b strings.Builder
	add := func(name string, values ...string) {
		for _, v := range values {
			if v != "" {
				fmt.Fprintf(&b, "--%s %s ", name, transport.Quote(v))
			}
		}
	}
	yes := func(name string, is bool) {
		if is {
			b.WriteString("--" + name + " ")
		}
	}
	a := g.access
	if a.ExternalID = ""; !strings.HasPrefix(g.setting("aws-external-id").Origin, "env") {
		add("aws-external-id", g.access.ExternalID)
	}
	yes("no-instance-metadata", a.NoMetadata)
	add("to", g.place.Sink.String())
	if _, disk := g.place.Sink.(*sink.Disk); !disk {
		b.WriteString(g.bucketFlags())
	}
	o := g.all.o
	add("operator", o.Engine.Operator)
	add("recipient", agefile.Names(g.place.Recipients)...)
	yes("unsigned", o.Unsigned)
	add("sign-key", absolute(o.SignKey))
	add("key-passphrase-file", absolute(g.setting("key-passphrase-file").Value))
	if slices.Contains(items, "trail") {
		if g.since != cloudevidence.DefaultSince {
			add("trail-since", g.since.String())
		}
		if g.pages != cloudevidence.DefaultPages {
			add("trail-pages", fmt.Sprint(g.pages))
		}
	}
	if slices.Contains(items, cloudevidence.Snapshots) {
		yes("snapshot-again", g.snap.Again && set.Error != "" && !set.Unknown)
		if g.snap.LockDays > 0 {
			add("snapshot-lock", fmt.Sprint(g.snap.LockDays))
		}
		if g.snap.Compliance {
			add("snapshot-irreversible", complianceWord)
		}
		add("snapshot-copy-key", g.snap.CopyKey)
		add("snapshot-share", g.snap.Share...)
		if g.wait > 0 && g.wait != defaultSnapshotWait {
			add("snapshot-wait", g.wait.String())
		}
	}
	return awsAccess{Access: a}.flagsText(g.about.Case) + b.String()
}

// setting is how a flag was set; without a name: it was not.
func (g *gathering) setting(name string) acquire.Setting {
	for _, s := range g.all.o.Engine.Settings {
		if s.Name == name {
			return s
		}
	}
	return acquire.Setting{}
}

// bucketFlags are those by which the bucket was reached and written to.
func (g *gathering) bucketFlags() string {
	var b strings.Builder
	for _, f := range append(s3AccessFlags(), withoutSpill(s3StoreFlags())...) {
		s := g.setting(f.Names()[0])
		switch {
		case s.Origin == "" || s.Origin == "default" || s.Value == "" || s.Value == "false":
		case s.Name == "s3-external-id" && strings.HasPrefix(s.Origin, "env"):
		case s.Value == "true":
			b.WriteString("--" + s.Name + " ")
		default:
			for v := range strings.SplitSeq(s.Value, "\n") {
				fmt.Fprintf(&b, "--%s %s ", s.Name, transport.Quote(v))
			}
		}
	}
	return b.String()
}

// absolute is the file from wherever the command is run.
func absolute(file string) string {
	if abs, err := filepath.Abs(file); err == nil && file != "" {
		return abs
	}
	return file
}

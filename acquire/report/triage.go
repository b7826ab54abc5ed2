package report

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/sink"
)

// findTriage reads the last of what triages found of the image, if there is any. It is not signed, and what it holds comes
// from the image: one that cannot be read is trouble, no error.
func (x *Capture) findTriage(ctx context.Context, f File) error {
	for n := 1; n < 100; n++ {
		name := imageName(f.Name) + acquire.TriageSuffix
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		data, err := sink.ReadAll(ctx, f.Where, name, triage.MaxReport)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var r *triage.Report
		if err == nil {
			r, err = triage.ParseReport(data)
		}
		if err != nil {
			x.Trouble = append(x.Trouble, fmt.Sprintf("the triage %s cannot be read: %v", name, err))
			return nil
		}
		x.Triage, x.TriageFile = r, name
		if r.SHA256 != "" && r.SHA256 != x.Image.Raw.SHA256 {
			x.Trouble = append(x.Trouble, fmt.Sprintf("the triage %s is of another image, with SHA-256 %s", name, r.SHA256))
		}
	}
	return nil
}

// Lists of a triage are cut on the page.
const (
	maxTree    = 2000
	maxHistory = 1000
	maxSockets = 1000
	maxModules = 2000
)

// A triageView is what the page shows of a triage.
type triageView struct {
	Pairs       pairs
	Suspicious  []differenceView
	Explained   []differenceView
	Failed      []string
	NotCompared []string
	Tree        []treeLine
	Modules     string
	Sockets     []triage.Socket
	History     []historyLine
	Cut         []string
}

type differenceView struct{ Class, Kind, Name, PID, In, Detail string }

type treeLine struct {
	Indent    string
	PID       int
	Name      string
	Args      string
	When      string
	Marked    bool
	Scanned   bool
	ScanState string
}

type historyLine struct {
	When, Process, Command string
}

// triageView decides what the page shows; nil: there was no triage.
func (x *Capture) triageView() *triageView {
	r := x.Triage
	if r == nil {
		return nil
	}
	v := &triageView{NotCompared: r.NotCompared, Cut: slices.Clone(r.Cut)}
	v.Pairs.add("Found by", "Volatility %s, %s UTC; not signed, made of the image: %s", r.Volatility, clock(r.Created), x.TriageFile)
	v.Pairs.text("Symbols", r.Symbols)
	v.Pairs.text("Image", cmp.Or(r.Verified, "not verified before"))
	v.Pairs.text("Read by Volatility", r.Read)
	for _, what := range r.Unread {
		v.Failed = append(v.Failed, "could not be read of the image, and what plugins say may lack it: "+what)
	}
	v.Pairs.add("Memory shows", "%d processes, %d modules, %d sockets, %d commands of shells", len(r.Processes), len(r.Modules), len(r.Sockets), len(r.History))
	for _, p := range r.Plugins {
		if p.Error != "" {
			v.Failed = append(v.Failed, p.Name+": "+p.Error)
		} else if p.Without != "" {
			v.Failed = append(v.Failed, p.Name+" ran "+p.Without)
		}
	}
	marked := map[int]bool{}
	var unproved []differenceView
	if c := r.Comparison; c != nil {
		v.Pairs.add("The live tools agree", "on %d processes, %d modules, %d sockets", c.Both.Processes, c.Both.Modules, c.Both.Sockets)
		for _, d := range c.Differences {
			one := differenceView{string(d.Class), d.Kind, d.Name, "", d.In, d.Detail}
			if d.PID != 0 {
				one.PID = fmt.Sprint(d.PID)
			}
			switch {
			case d.Class.Suspicious():
				v.Suspicious = append(v.Suspicious, one)
				marked[d.PID] = d.PID != 0
			case d.Class.Named():
				unproved = append(unproved, one)
			default:
				v.Explained = append(v.Explained, one)
			}
		}
		v.Suspicious = append(v.Suspicious, unproved...)
	}
	v.Tree = tree(r.Processes, marked)
	var names []string
	for _, m := range r.Modules {
		names = append(names, m.Name)
	}
	names = names[:v.said(len(names), maxModules, "modules")]
	v.Modules = strings.Join(names, ", ")
	v.Sockets = r.Sockets
	for _, h := range r.History {
		when := ""
		if !h.Time.IsZero() {
			when = clock(h.Time)
		}
		v.History = append(v.History, historyLine{when, fmt.Sprintf("%s %d", h.Process, h.PID), h.Command})
	}
	v.cut()
	return v
}

// cut keeps the page readable: the files have everything.
func (v *triageView) cut() {
	v.Tree = v.Tree[:v.said(len(v.Tree), maxTree, "processes")]
	v.Sockets = v.Sockets[:v.said(len(v.Sockets), maxSockets, "sockets")]
	v.History = v.History[:v.said(len(v.History), maxHistory, "commands")]
	v.Suspicious = v.Suspicious[:v.said(len(v.Suspicious), maxTree, "differences that have no reason")]
	v.Explained = v.Explained[:v.said(len(v.Explained), maxTree, "explained differences")]
}

// said returns how many of n are shown, and says so if these are not all.
func (v *triageView) said(n, most int, what string) int {
	if n <= most {
		return n
	}
	v.Cut = append(v.Cut, fmt.Sprintf("the first %d of %d %s are shown", most, n, what))
	return most
}

// tree orders processes by descent. A parent that is not there, or that descends from its child, makes a
// process stand at the top: what memory says need not make sense.
func tree(list []triage.Process, marked map[int]bool) (lines []treeLine) {
	children, known := map[int][]triage.Process{}, map[int]bool{}
	for _, p := range list {
		known[p.PID] = true
	}
	for _, p := range list {
		parent := p.Parent
		if !known[parent] || parent == p.PID {
			parent = -1
		}
		children[parent] = append(children[parent], p)
	}
	done := map[int]bool{}
	type step struct {
		p     triage.Process
		depth int
	}
	// A list of what is to do, no recursion: a chain of parents is as long as an image wants.
	walk := func(p triage.Process) {
		for left := []step{{p, 0}}; len(left) > 0; {
			p, depth := left[len(left)-1].p, left[len(left)-1].depth
			left = left[:len(left)-1]
			if done[p.PID] {
				continue
			}
			done[p.PID] = true
			l := treeLine{Indent: strings.Repeat("  ", min(depth, 30)), PID: p.PID, Name: p.Name, Args: p.Args, Marked: marked[p.PID], Scanned: p.Scanned, ScanState: p.State}
			if !p.Created.IsZero() {
				l.When = clock(p.Created)
			}
			lines = append(lines, l)
			for _, c := range slices.Backward(children[p.PID]) {
				left = append(left, step{c, depth + 1})
			}
		}
	}
	for _, p := range children[-1] {
		walk(p)
	}
	for _, p := range list { // circles
		walk(p)
	}
	return lines
}

// triageAlerts are what needs a look.
func (x *Capture) triageAlerts(add func(class, text, fix string)) {
	if x.Triage == nil || x.Triage.Comparison == nil {
		return
	}
	list := x.Triage.Comparison.Suspicious()
	for _, d := range list[:min(len(list), 20)] {
		name := d.Name
		if d.PID != 0 {
			name = fmt.Sprintf("%d %s", d.PID, d.Name)
		}
		add("warn", fmt.Sprintf("%s: %s %s, only in %s: %s", d.Class, d.Kind, name, d.In, d.Detail), "")
	}
	if n := len(list) - 20; n > 0 {
		add("warn", fmt.Sprintf("and %d more differences between memory and the live tools", n), "")
	}
}

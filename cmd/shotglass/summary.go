package main

import (
	"cmp"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/transport"
)

// A summary is what the story ends with, on standard error. What needs action
// stands last, since the end is what stays on a screen.
type summary struct {
	results       []acquire.Result
	took          time.Duration
	signers       string // path; empty when it is not known
	resumable     bool
	width, height int // of the terminal; 0 when standard error is none
}

// print prints the table, the totals, the problems, what was left on targets, and what to do next. For
// a single host the story has said all but the last. --quiet leaves the problems.
func (s summary) print(c *console) {
	if len(s.results) > 1 {
		problems := s.problems()
		if !c.quiet {
			for _, l := range append(s.table(len(problems)), s.totals()) {
				c.line(l)
			}
		}
		for _, l := range problems {
			c.line(l)
		}
	}
	for _, l := range s.next() {
		c.info("%s", l)
	}
}

func sound(r acquire.Result) bool {
	return r.State == acquire.StateComplete && len(r.Left) == 0 && r.Err == nil && r.Other == nil && r.Unfrozen == ""
}

// table has a row for each host, the worst last. On a terminal that it would scroll away from, the
// sound ones become one line: standard output has all about each.
func (s summary) table(below int) []string {
	var sounds, others []acquire.Result
	for _, r := range s.results {
		if sound(r) {
			sounds = append(sounds, r)
		} else {
			others = append(others, r)
		}
	}
	rank := func(r acquire.Result) int {
		return slices.Index([]acquire.State{acquire.StateComplete, acquire.StatePartial, acquire.StateFailed}, r.State)
	}
	slices.SortStableFunc(others, func(a, b acquire.Result) int { return cmp.Compare(rank(a), rank(b)) })
	if s.height > 0 && len(s.results)+below+6 > s.height && len(sounds) > fewHosts {
		lines := []string{squeezeEnd(soundLine(sounds), s.width)}
		if len(others) > 0 {
			lines = append(s.rows(others), lines...)
		}
		return lines
	}
	return s.rows(append(sounds, others...))
}

func soundLine(sounds []acquire.Result) string {
	raw, stored := sizes(sounds)
	line := fmt.Sprintf("%d hosts are complete: %s of memory, %s stored", len(sounds), size(raw), size(stored))
	slowest := slices.MinFunc(sounds, func(a, b acquire.Result) int { return cmp.Compare(average(a), average(b)) })
	if v := average(slowest); v > 0 {
		line += fmt.Sprintf("; slowest %s at %s", printable(slowest.Host), rate(v))
	}
	return line
}

func sizes(results []acquire.Result) (raw, stored int64) {
	for _, r := range withOthers(results) {
		raw, stored = raw+r.Image.Raw.Bytes, stored+r.Image.Stored.Bytes
	}
	return raw, stored
}

func average(r acquire.Result) float64 {
	if r.Duration <= 0 {
		return 0
	}
	return float64(r.Image.Raw.Bytes) / r.Duration.Seconds()
}

// A tableColumn is one of the table's.
type tableColumn struct {
	title  string
	number bool // to the right
	worth  int  // where there is no room the least goes first
	cells  []string
}

func (t tableColumn) width() int {
	w := len(t.title)
	for _, c := range t.cells {
		w = max(w, runewidth.StringWidth(c))
	}
	return w
}

// rows lines results up. On a terminal, columns that do not fit are left out.
func (s summary) rows(results []acquire.Result) []string {
	cols := []tableColumn{{title: "HOST", worth: 9}, {title: "STATE", worth: 8}, {title: "MEMORY", number: true, worth: 7}, {title: "STORED", number: true, worth: 5},
		{title: "RATIO", number: true, worth: 2}, {title: "RATE", number: true, worth: 4}, {title: "TIME", number: true, worth: 3}, {title: "SHA256", worth: 6}, {title: "PLACE", worth: 1}}
	folder := s.folder()
	for _, r := range withOthers(results) {
		row := []string{printable(r.Host), string(r.State), "-", "-", "-", "-", "-", "-", "-"}
		if r.Image.Raw.SHA256 != "" && r.Image.Location != "" {
			row[2], row[3] = size(r.Image.Raw.Bytes), size(r.Image.Stored.Bytes)
			row[4] = ratio(r.Image.Raw.Bytes, r.Image.Stored.Bytes)
			row[7] = r.Image.Raw.SHA256[:min(12, len(r.Image.Raw.SHA256))]
			row[8] = printable(strings.TrimPrefix(r.Image.Location, folder))
			if r.Duration > 0 {
				row[5], row[6] = rate(average(r)), short(r.Duration)
			}
		}
		for i := range cols {
			cols[i].cells = append(cols[i].cells, cmp.Or(row[i], "-"))
		}
	}
	if s.width > 0 {
		for i, c := range cols[0].cells {
			cols[0].cells[i] = squeeze(c, max(8, s.width/3))
		}
	}
	all := func() (n int) {
		for _, c := range cols {
			n += c.width() + 2
		}
		return n - 2
	}
	for s.width > 0 && all() > s.width && len(cols) > 2 {
		least := slices.MinFunc(cols, func(a, b tableColumn) int { return cmp.Compare(a.worth, b.worth) })
		cols = slices.DeleteFunc(cols, func(c tableColumn) bool { return c.worth == least.worth })
	}
	lines := make([]string, len(cols[0].cells)+1)
	for _, c := range cols {
		w := c.width()
		for i, cell := range append([]string{c.title}, c.cells...) {
			if c.number {
				cell = padLeft(cell, w)
			}
			lines[i] += pad(cell, w) + "  "
		}
	}
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
		if s.width > 0 {
			lines[i] = squeezeEnd(lines[i], s.width)
		}
	}
	return lines
}

// withOthers lists the second image of a host after the first.
func withOthers(results []acquire.Result) (all []acquire.Result) {
	for _, r := range results {
		if all = append(all, r); r.Other != nil {
			all = append(all, *r.Other)
		}
	}
	return all
}

// totals is the line under the table.
func (s summary) totals() string {
	var looks []look
	for i := range s.results {
		looks = append(looks, look{hostState: hostState{Phase: phaseFinished, Result: &s.results[i]}})
	}
	raw, stored := sizes(s.results)
	line := fmt.Sprintf("%d hosts: %s; %s of memory, %s stored", len(s.results), counts(looks), size(raw), size(stored))
	if r := ratio(raw, stored); r != "" {
		line += " (" + r + ")"
	}
	line += ", in " + short(s.took)
	if f := s.folder(); f != "" {
		line += "; in " + f
	}
	return line
}

// folder is what all locations begin with, to the last slash; "" when they differ.
func (s summary) folder() string {
	folder := ""
	for _, r := range s.results {
		l := r.Image.Location
		if l == "" {
			continue
		}
		dir := l[:strings.LastIndexAny(l, `/\`)+1]
		if folder != "" && dir != folder {
			return ""
		}
		folder = dir
	}
	return folder
}

// problems tells which hosts are not as they should be, and why; those with one reason together.
func (s summary) problems() []string {
	type group struct {
		kind  string // why, without the host's own name
		why   string // of the first
		hosts []string
	}
	var groups []*group
	var left, advice []string
	for _, r := range s.results {
		for _, l := range r.Left {
			left = append(left, fmt.Sprintf("  %s: %s", r.Host, l))
		}
		if r.Fix != "" {
			left = append(left, "    "+r.Fix)
		}
		if sound(r) {
			continue
		}
		why := reasonWords(r)
		kind := regexp.MustCompile(`\b`+regexp.QuoteMeta(bareHost(r.Host))+`\b`).ReplaceAllLiteralString(why, "HOST")
		i := slices.IndexFunc(groups, func(g *group) bool { return g.kind == kind })
		if i < 0 {
			groups = append(groups, &group{kind: kind, why: why})
			i = len(groups) - 1
		}
		groups[i].hosts = append(groups[i].hosts, r.Host)
		for _, h := range hints(r.Err) {
			if !slices.Contains(advice, h) && h != r.Fix {
				advice = append(advice, h)
			}
		}
	}
	var lines []string
	for _, g := range groups {
		names, why := g.hosts, g.why
		if len(names) > 1 {
			why = g.kind
		}
		if len(names) > fewHosts {
			names = append(slices.Clone(names[:fewHosts-1]), fmt.Sprintf("and %d more", len(names)-fewHosts+1))
		}
		lines = append(lines, "  "+strings.Join(names, ", ")+": "+why)
	}
	if len(lines) > 0 {
		lines = append([]string{"Not as they should be:"}, lines...)
	}
	for _, h := range advice {
		lines = append(lines, "  hint: "+h)
	}
	if len(left) > 0 {
		lines = append(append(lines, "Left on the targets, with what removes it:"), left...)
	}
	return lines
}

// bareHost is a host's name or address, without the login and the port.
func bareHost(name string) string {
	_, host, ok := strings.Cut(name, "@")
	if !ok {
		host = name
	}
	if h, _, err := net.SplitHostPort(host); err == nil && h != "" {
		return h
	}
	return host
}

// reasonWords is why a result is not sound, in one line.
func reasonWords(r acquire.Result) string {
	words := string(r.State)
	if why := whyNot(&r); why != "" {
		words += ": " + strings.TrimPrefix(why, r.Host+": ")
	}
	if n := len(r.Reasons) - 1; n > 0 {
		words += fmt.Sprintf(" (and %d more reasons)", n)
	}
	if o := r.Other; o != nil && r.State == acquire.StateComplete {
		words += fmt.Sprintf(" (LiME's image was rejected, and is kept in %s: %s)", o.Image.Location, whyNot(o))
	}
	if r.State == acquire.StateComplete && len(r.Left) > 0 {
		words += ", but something was left on the target"
	}
	if r.Unfrozen != "" {
		words += "; " + r.Unfrozen
	}
	return words
}

// next are the commands that come next.
func (s summary) next() []string {
	var lines []string
	signers := "FILE"
	if s.signers != "" {
		signers = transport.Quote(s.signers)
	}
	verify := "shotglass verify --signers " + signers + " "
	var images []string
	for _, r := range s.results {
		if r.State == acquire.StateComplete && r.Image.Location != "" {
			images = append(images, r.Image.Location)
		}
	}
	ending := "-mem" + s.ending()
	switch folder := s.folder(); {
	case len(images) == 0:
	case len(images) <= 3:
		lines = append(lines, "verify: "+verify+transport.Quote(images...))
	case folder != "" && ending != "-mem" && !strings.Contains(folder, "://"):
		lines = append(lines, "verify: "+verify+transport.Quote(folder)+"*"+ending)
	default:
		lines = append(lines, "verify: give the sixth column of standard output to: "+verify+"IMAGE...")
	}
	if s.resumable && len(images) < len(s.results) && len(s.results) > 1 {
		lines = append(lines, "take the rest: the same command with --resume, which keeps the complete images")
	}
	return lines
}

// ending is what all names of complete images end with after -mem; "" when they differ.
func (s summary) ending() string {
	ending := ""
	for _, r := range s.results {
		if r.State != acquire.StateComplete {
			continue
		}
		_, e, ok := strings.Cut(r.Image.Name, "-mem")
		if !ok || ending != "" && e != ending || transport.Quote(e) != e {
			return ""
		}
		ending = e
	}
	return ending
}

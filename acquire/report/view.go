package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// A page is what the template shows: words and figures, decided here.
type page struct {
	Title     string
	Cases     string
	Made      string
	Tool      string
	Lead      string // the finding in a sentence or two
	Class     string // of the lead: good, warn, bad
	Tiles     []tile
	Alerts    []alert
	Rows      []row
	AxisFrom  string
	AxisTo    string
	Captures  []captureView
	Logs      []logView
	Sums      string
	ManySums  bool
	Namespace string
	LogSpace  string
	Signers   string
	ReRead    bool
	// Contained are records without a capture here; ContainSpace is the namespace of their signatures.
	Contained    []containmentView
	ContainSpace string
	Inquiries    []inquiryView
	Converted    []inquiryView
	// Endings are those of the records of inquiries, each with the namespace of its signatures.
	Endings []pair
}

type tile struct{ Label, Value, Note string }

type alert struct{ Class, Host, Text, Fix, Anchor string }

// A row is a line of the overview.
type row struct {
	Anchor, Host, State, Class string
	Notes                      string
	Raw, Stored, Rate, Time    string
	Track                      *track
	Trust                      string
}

type pair struct{ Name, Value string }

type captureView struct {
	Anchor, Host, State, Class, When string
	Open                             bool
	Summary                          string
	Trouble, Reasons, Anomalies      []string
	Left                             []string
	Fix                              string
	Image, Target, Method, Footprint []pair
	Custody, Options                 []pair
	Checks                           []acquire.Check
	Moments                          []moment
	Track                            *track
	Chart                            *chart
	Containments                     []containmentView
	Triage                           *triageView
	Commands                         string
}

type moment struct{ Clock, Since, Event string }

type logView struct {
	Name, Run, When, Verdict, Class, Head, Digest, Trust string
	Lines                                                int
	Notes                                                []string
	Events                                               []moment
	More                                                 int
}

func (c *Case) page() page {
	p := page{Made: clock(c.Made) + " UTC", Namespace: signature.Namespace, LogSpace: signature.LogNamespace, ReRead: c.ReRead}
	p.Tool = strings.TrimSpace(c.Tool.Name + " " + c.Tool.Version)
	p.Signers = "allowed_signers"
	if c.SignersName != "" {
		p.Signers = quote(c.SignersName)
	}
	p.Cases = strings.Join(c.ids(), ", ")
	p.Title = "Memory capture report"
	if p.Cases != "" {
		p.Title += ": case " + p.Cases
	}
	from, to := c.span()
	p.AxisFrom, p.AxisTo = clock(from), clock(to)
	for _, f := range c.hostsWithout() {
		p.Rows = append(p.Rows, row{Host: f.Host, State: "no image", Class: "bad", Notes: f.Error, Time: clock(f.Time)})
		p.Alerts = append(p.Alerts, alert{Class: "bad", Host: f.Host, Text: "no image: " + f.Error})
		if len(f.Left) > 0 {
			p.Alerts = append(p.Alerts, alert{Class: "warn", Host: f.Host, Text: "left on the host: " + strings.Join(f.Left, ", "), Fix: f.Fix})
		}
	}
	var sums strings.Builder
	for i, x := range c.Captures {
		anchor := fmt.Sprintf("c%d", i+1)
		v := c.view(x, anchor, from, to)
		v.Open = len(c.Captures) <= 3
		p.Captures = append(p.Captures, v)
		p.Rows = append(p.Rows, x.row(v))
		p.Alerts = append(p.Alerts, x.alerts(anchor)...)
		for _, g := range x.Image.Segments {
			fmt.Fprintf(&sums, "%s  %s\n", digest(g.SHA256), audit.Printable(g.Name))
		}
		if x.ImageFile != "" && len(x.Image.Segments) == 0 {
			fmt.Fprintf(&sums, "%s  %s\n", digest(x.Image.Stored.SHA256), audit.Printable(x.ImageFile))
		}
		fmt.Fprintf(&sums, "%s  %s\n", x.SHA256, x.File)
	}
	for _, l := range c.Logs {
		p.Logs = append(p.Logs, l.view())
		fmt.Fprintf(&sums, "%s  %s\n", l.SHA256, l.File)
		for _, b := range l.Problems {
			p.Alerts = append(p.Alerts, alert{Class: "bad", Host: l.File, Text: fmt.Sprintf("audit log, line %d: %s", b.Line, b.Detail), Anchor: "logs"})
		}
		if !l.Ended {
			p.Alerts = append(p.Alerts, alert{Class: "warn", Host: l.File, Text: fmt.Sprintf("the audit log has no end: the run was killed, or the log was cut after line %d", l.Lines), Anchor: "logs"})
		}
	}
	for _, u := range c.Unread {
		p.Alerts = append(p.Alerts, alert{Class: "bad", Text: "could not be used: " + u})
	}
	for _, r := range c.Containments {
		p.Contained = append(p.Contained, r.view())
		p.Alerts = append(p.Alerts, r.alerts("containment")...)
	}
	for _, r := range c.contained() {
		p.ContainSpace = r.Namespace
		fmt.Fprintf(&sums, "%s  %s\n", r.SHA256, r.File)
	}
	for _, q := range c.Inquiries {
		if q.Converted {
			p.Converted = append(p.Converted, q.view())
			p.Alerts = append(p.Alerts, q.alerts("converted")...)
		} else {
			p.Inquiries = append(p.Inquiries, q.view())
			p.Alerts = append(p.Alerts, q.alerts("inquiries")...)
		}
		fmt.Fprintf(&sums, "%s  %s\n", q.SHA256, q.File)
		for _, b := range q.Beside {
			fmt.Fprintf(&sums, "%s\n", audit.Printable(b))
		}
		if e := (pair{q.Ending, q.Namespace}); q.Ending != "" && !slices.Contains(p.Endings, e) {
			p.Endings = append(p.Endings, e)
		}
	}
	p.Sums = sums.String()
	p.Lead, p.Class = c.lead()
	p.Tiles = c.tiles(from, to)
	return p
}

func (c *Case) ids() (ids []string) {
	add := func(id string) {
		if id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	for _, x := range c.Captures {
		add(x.Manifest.Case)
	}
	for _, l := range c.Logs {
		add(l.Case)
	}
	slices.Sort(ids)
	return ids
}

// span is the time from the first capture's start to the last one's end.
func (c *Case) span() (from, to time.Time) {
	for _, x := range c.Captures {
		p := phasesOf(x.Manifest)
		if from.IsZero() || p.begin.Before(from) {
			from = p.begin
		}
		if p.end.After(to) {
			to = p.end
		}
	}
	return from, to
}

// counts are captures by what became of them.
type counts struct{ complete, partial, none, trouble, untrusted, left int }

func (c *Case) counts() (n counts) {
	for _, x := range c.Captures {
		switch {
		case len(x.Trouble) > 0:
			n.trouble++
		case x.empty():
			n.none++
		case x.Complete:
			n.complete++
		default:
			n.partial++
		}
		if !x.Signature.Trusted {
			n.untrusted++
		}
		if len(x.Footprint.Left) > 0 || !x.Footprint.Clean {
			n.left++
		}
	}
	for _, r := range c.contained() {
		if !r.Signature.Trusted {
			n.untrusted++
		}
	}
	for _, q := range c.Inquiries {
		if !q.Signature.Trusted {
			n.untrusted++
		}
	}
	n.none += len(c.hostsWithout())
	return n
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// lead says in words what was found, and how far it was looked.
func (c *Case) lead() (text, class string) {
	n := c.counts()
	total := n.complete + n.partial + n.none + n.trouble
	switch {
	case total == 0:
		text = "No capture is on record here."
	case n.complete == total && total == 1:
		text = "The image is recorded as complete."
	case n.complete == total:
		text = fmt.Sprintf("All %d images are recorded as complete.", total)
	default:
		var parts []string
		if n.complete > 0 {
			parts = append(parts, plural(n.complete, "image is recorded as complete", "images are recorded as complete"))
		}
		if n.trouble > 0 {
			parts = append(parts, plural(n.trouble, "does not agree with its record", "do not agree with their records"))
		}
		if n.partial > 0 {
			parts = append(parts, plural(n.partial, "is partial", "are partial"))
		}
		if n.none > 0 {
			parts = append(parts, plural(n.none, "host or attempt has no image", "hosts or attempts have no image"))
		}
		text = strings.Join(parts, ", ") + "."
	}
	class = "good"
	if n.partial+n.none+n.left > 0 {
		class = "warn"
	}
	switch {
	case n.trouble > 0 || len(c.Unread) > 0 || c.broken():
		class = "bad"
		text += " Something does not agree with the records: see below."
	case n.untrusted > 0 && c.SignersName == "":
		class = "warn"
		text += " No allowed signers were given, so it is not known who vouches for the records."
	case n.untrusted > 0:
		class = "bad"
		text += fmt.Sprintf(" %s not signed by an allowed signer.", plural(n.untrusted, "record is", "records are"))
	case len(c.Captures) > 0:
		text += " Every record is signed by an allowed signer."
	}
	switch {
	case c.ReRead && len(c.Unread) > 0:
		text += " Images were read again in full for this report, but not those of records that could not be used."
	case c.ReRead && n.trouble == 0:
		text += " Every image that is there was read again in full for this report, and agrees with its record."
	case c.ReRead:
		text += " Every image that is there was read again in full for this report."
	default:
		text += " Images were not read again for this report: only their presence and size were checked."
	}
	return text, class
}

// broken reports whether a log or a record that is no manifest does not agree with itself, or with what it names.
func (c *Case) broken() bool {
	return slices.ContainsFunc(c.Logs, func(l *Log) bool { return l.Verdict == acquire.VerdictMismatch }) ||
		slices.ContainsFunc(c.contained(), func(r *Containment) bool { return r.verdict() == acquire.VerdictMismatch }) ||
		slices.ContainsFunc(c.Inquiries, func(q *Inquiry) bool { return q.verdict() == acquire.VerdictMismatch })
}

func (c *Case) tiles(from, to time.Time) []tile {
	n := c.counts()
	var raw, stored int64
	hosts := map[string]bool{}
	for _, x := range c.Captures {
		raw += x.Image.Raw.Bytes
		stored += x.Image.Stored.Bytes
		hosts[x.host()] = true
	}
	for _, f := range c.hostsWithout() {
		hosts[f.Host] = true
	}
	t := []tile{
		{"Hosts", fmt.Sprint(len(hosts)), ""},
		{"Complete", fmt.Sprint(n.complete), ""},
		{"Partial", fmt.Sprint(n.partial), ""},
		{"No image", fmt.Sprint(n.none), ""},
		{"Mismatch", fmt.Sprint(n.trouble), ""},
		{"Memory", bytesText(raw), grouped(raw) + " bytes"},
		{"Stored", bytesText(stored), grouped(stored) + " bytes"},
	}
	if all := c.contained(); len(all) > 0 {
		good := 0
		for _, r := range all {
			if r.Class != "bad" {
				good++
			}
		}
		t = append(t, tile{"Contained", fmt.Sprintf("%d of %d", good, len(all)), "when it was recorded"})
	}
	if !from.IsZero() {
		t = append(t, tile{"Time", spanText(to.Sub(from)), "from " + clock(from) + " UTC"})
	}
	return t
}

func (x *Capture) state() (word, class string) {
	switch {
	case len(x.Trouble) > 0:
		return "mismatch", "bad"
	case x.empty():
		return "no image", "bad"
	case !x.Complete:
		return "partial", "warn"
	case len(x.swapReasons()) > 0:
		return "complete, not its swap", "warn"
	}
	return "complete", "good"
}

func (x *Capture) trust() string {
	s := x.Signature
	switch {
	case s.Trusted:
		return "trusted"
	case s.Valid:
		return "unknown signer"
	case s.Present:
		return "BAD"
	}
	return "none"
}

func (x *Capture) row(v captureView) row {
	r := row{Anchor: v.Anchor, Host: v.Host, State: v.State, Class: v.Class, Time: v.When, Track: v.Track, Trust: x.trust()}
	if !x.empty() {
		r.Raw, r.Stored = bytesText(x.Image.Raw.Bytes), bytesText(x.Image.Stored.Bytes)
		if d := phasesOf(x.Manifest).flow(); d > 0 {
			r.Rate = rateText(float64(x.Image.Raw.Bytes) / d.Seconds())
		}
	}
	var notes []string
	if len(x.Trouble) > 0 {
		notes = append(notes, x.Trouble[0])
	} else if len(x.Reasons) > 0 {
		notes = append(notes, x.Reasons[0])
	}
	if x.Other != nil {
		notes = append(notes, x.otherText())
	}
	if len(x.Footprint.Left) > 0 {
		notes = append(notes, "left on the host: "+strings.Join(x.Footprint.Left, ", "))
	} else if !x.Footprint.Clean {
		notes = append(notes, "whether the host is clean is not known")
	}
	for _, k := range x.Containments {
		if k.Class != "good" {
			notes = append(notes, "containment: "+k.State)
		}
	}
	if n := len(x.Anomalies); n > 0 {
		notes = append(notes, plural(n, "anomaly", "anomalies"))
	}
	r.Notes = strings.Join(notes, "; ")
	return r
}

func (x *Capture) alerts(anchor string) (out []alert) {
	add := func(class, text, fix string) {
		out = append(out, alert{class, x.host(), text, fix, anchor})
	}
	for _, t := range x.Trouble {
		add("bad", t, "")
	}
	if !x.Complete && len(x.Reasons) > 0 {
		word, class := x.state()
		add(class, word+": "+strings.Join(x.Reasons, "; "), "")
	}
	if x.Interim != "" {
		add("warn", "the last manifest is not there, nor what only it records: the run was killed, or somebody removed it; "+x.Interim, "")
	}
	if x.Rescued != nil {
		add("warn", x.Rescued.Text(), "")
	}
	if len(x.Footprint.Left) > 0 {
		add("warn", "left on the host: "+strings.Join(x.Footprint.Left, ", "), x.Footprint.Fix)
	} else if !x.Footprint.Clean {
		add("warn", "nobody checked whether the host is clean", x.Footprint.Fix)
	}
	if x.Target.Connection.HostKeyTrust == "insecure" {
		add("warn", "the host key was not checked: somebody in between could have forged the image", "")
	}
	x.triageAlerts(add)
	for _, r := range x.Containments {
		out = append(out, r.alerts(anchor)...)
	}
	return out
}

func (l *Log) view() logView {
	v := logView{Name: l.File, Run: l.Run, Verdict: l.Verdict, Head: l.Head, Digest: l.SHA256, Lines: l.Lines, Class: "good"}
	switch l.Verdict {
	case acquire.VerdictMismatch:
		v.Class = "bad"
	case acquire.VerdictPartial, acquire.VerdictUntrusted:
		v.Class = "warn"
	}
	v.When = clock(begin(l))
	v.Trust = (&Capture{Signature: l.Signature}).trust()
	found := map[string]int{}
	for _, m := range l.Manifests {
		found[m.Found]++
	}
	if n := len(l.Manifests); n > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("it names %s; as they were written: %d, altered: %d, missing: %d, in another place: %d", plural(n, "manifest", "manifests"),
			found[audit.FoundGood], found[audit.FoundAltered], found[audit.FoundMissing], found[audit.FoundElsewhere]))
	}
	if l.Anchored > 0 {
		v.Notes = append(v.Notes, fmt.Sprintf("lines 1 to %d are vouched for by signed manifests too", l.Anchored))
	}
	if l.Code != nil {
		v.Notes = append(v.Notes, fmt.Sprintf("the run ended with exit code %d", *l.Code))
	}
	const shown = 400
	for i, e := range l.Entries {
		if i == shown {
			v.More = len(l.Entries) - shown
			break
		}
		v.Events = append(v.Events, moment{clock(time.UnixMicro(e.Timestamp)), fmt.Sprint(e.Seq), e.Message})
	}
	return v
}

package report

import (
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// An Inquiry is a signed record that is no manifest, in words: of what was asked about an access key for instance, or of an image that was converted. What the record looks
// like is the matter of the program that wrote it: this package shows what it is given.
type Inquiry struct {
	Place, File, SHA256 string
	Bytes               int64
	Written             time.Time
	Signature           acquire.SignatureState
	Namespace           string // of signatures
	Ending              string // of the names of such records, with its dot; empty: that of manifests

	Title        string
	State, Class string // of the whole, in a word; and good, warn or bad
	Converted    bool   // it is of an image that was made of a captured one
	Incomplete   bool   // something that was asked for is missing: the alerts say what
	Alerts       []Notice
	About        []Fact
	Tables       []Table
	// Beside are the digests of files that it names, "SHA256  NAME"; Trouble says what does not agree with it.
	Beside, Trouble []string
}

// A Notice is what should be known first.
type Notice struct{ Class, Text string }

// A Fact is a name with its value.
type Fact struct{ Name, Value string }

// A Table is some lines of one kind.
type Table struct {
	Title string
	Head  []string
	Rows  [][]string
	More  int // lines that are left out
}

// shownRows bounds a table on the page.
const shownRows = 200

func (q *Inquiry) verdict() string {
	switch {
	case len(q.Trouble) > 0 || q.Signature.Present && !q.Signature.Valid:
		return acquire.VerdictMismatch
	case !q.Signature.Trusted:
		return acquire.VerdictUntrusted
	case q.Incomplete:
		return acquire.VerdictPartial
	}
	return acquire.VerdictOK
}

// An inquiryView is the part of the page about one.
type inquiryView struct {
	Title, State, Class string
	Alerts              []alert
	About               []pair
	Tables              []Table
}

func (q *Inquiry) view() inquiryView {
	v := inquiryView{Title: q.Title, State: q.State, Class: q.Class, Alerts: q.alerts("")}
	var p pairs
	for _, f := range q.About {
		p.text(f.Name, f.Value)
	}
	p.add("Record", "%s, %s bytes", q.File, grouped(q.Bytes))
	p.text("Record SHA-256", q.SHA256)
	p.add("Made", "%s UTC", clock(q.Written))
	p.text("Signature", signatureText(q.Signature))
	v.About = p
	for _, t := range q.Tables {
		if n := len(t.Rows) - shownRows; n > 0 {
			t.Rows, t.More = t.Rows[:shownRows:shownRows], t.More+n
		}
		v.Tables = append(v.Tables, t)
	}
	return v
}

// alerts are what the top of the page says of it.
func (q *Inquiry) alerts(anchor string) (out []alert) {
	add := func(class, format string, args ...any) {
		out = append(out, alert{Class: class, Host: q.Title, Text: fmt.Sprintf(format, args...), Anchor: anchor})
	}
	for _, t := range q.Trouble {
		add("bad", "%s", t)
	}
	if s := q.Signature; s.Present && !s.Valid {
		add("bad", "signature: %s: nothing of the record is vouched for", s.Detail)
	}
	for _, n := range q.Alerts {
		add(n.Class, "%s", n.Text)
	}
	return out
}

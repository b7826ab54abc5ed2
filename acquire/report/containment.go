package report

import (
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// A Containment is the record of what was contained with a host, in words. What the record looks like, and what its words mean, is the matter
// of the program that wrote it: this package imports nothing of containment, and shows what it is given.
type Containment struct {
	Place, File, SHA256 string
	Bytes               int64
	Host                string
	Image, Manifest     string // the name of the image, and the SHA-256 of the manifest that it names; empty: none
	Written             time.Time
	Signature           acquire.SignatureState
	Namespace           string // of signatures

	State, Class string   // of the whole, in a word; and good, warn or bad
	Withheld     string   // why nothing was contained
	Remain       []string // what of before the capture is in force though the rest was withheld
	Errors       []string
	Targets      []Contained
	// Release and Contain are commands that undo it, and that do what was withheld.
	Release, Contain string

	trouble []string
}

// Contained is what became of one target.
type Contained struct {
	Target, Outcome, Class string
	Journal, Head          string // its name, and the digest of its last line then
	Changes                []ContainedChange
	Open                   []string // ways that stay open, with what can be done
	Tampering              int
}

// A ContainedChange is one change, or what was not changed.
type ContainedChange struct {
	Status, Class string
	What, Note    string
}

// shownChanges bounds what the page has of one target.
const shownChanges = 200

// attach gives each record to the capture whose manifest it names.
func (c *Case) attach(list []*Containment) {
	for _, r := range list {
		var at *Capture
		for _, x := range c.Captures {
			switch {
			case x.Place != r.Place:
			case r.Manifest != "" && x.SHA256 == r.Manifest:
				at = x
			case at == nil && r.Image != "" && x.Image.Name == r.Image:
				at = x
			}
		}
		if at == nil {
			if r.Manifest != "" {
				r.trouble = append(r.trouble, "the manifest that it names is not here: sha256 "+digest(r.Manifest))
			}
			c.Containments = append(c.Containments, r)
			continue
		}
		switch r.Manifest {
		case at.SHA256:
		case "":
			r.trouble = append(r.trouble, "it names no manifest, though there is one")
		default:
			r.trouble = append(r.trouble, "it names another manifest, with sha256 "+digest(r.Manifest))
		}
		at.Containments = append(at.Containments, r)
	}
}

// contained are all records.
func (c *Case) contained() (all []*Containment) {
	for _, x := range c.Captures {
		all = append(all, x.Containments...)
	}
	return append(all, c.Containments...)
}

func (r *Containment) verdict() string {
	switch {
	case len(r.trouble) > 0 || r.Signature.Present && !r.Signature.Valid:
		return acquire.VerdictMismatch
	case !r.Signature.Trusted:
		return acquire.VerdictUntrusted
	}
	return acquire.VerdictOK
}

// A containmentView is the part of the page about one record.
type containmentView struct {
	State, Class, Host string
	Alerts             []alert
	About              []pair
	Targets            []Contained
	Release, Contain   string
}

func (r *Containment) view() containmentView {
	v := containmentView{State: r.State, Class: r.Class, Host: r.Host, Release: r.Release, Contain: r.Contain}
	add := func(class, text string) { v.Alerts = append(v.Alerts, alert{Class: class, Text: text}) }
	for _, t := range r.trouble {
		add("bad", t)
	}
	if s := r.Signature; s.Present && !s.Valid {
		add("bad", "signature: "+s.Detail+": nothing of what follows is vouched for")
	}
	if r.Withheld != "" {
		add("bad", "NOT CONTAINED: "+r.Withheld)
	}
	for _, t := range r.Remain {
		add("warn", t)
	}
	for _, t := range r.Errors {
		add("bad", t)
	}
	var p pairs
	p.add("Record", "%s, %s bytes", r.File, grouped(r.Bytes))
	p.text("Record SHA-256", r.SHA256)
	p.add("Made", "%s UTC", clock(r.Written))
	p.text("Signature", signatureText(r.Signature))
	v.About = p
	for _, t := range r.Targets {
		if n := len(t.Changes); n > shownChanges {
			t.Changes = append(t.Changes[:shownChanges:shownChanges], ContainedChange{What: fmt.Sprintf("%d more are in the record", n-shownChanges)})
		}
		if n := len(t.Open); n > shownChanges {
			t.Open = append(t.Open[:shownChanges:shownChanges], fmt.Sprintf("%d more are in the record", n-shownChanges))
		}
		v.Targets = append(v.Targets, t)
	}
	return v
}

// alerts are what the top of the page says of it.
func (r *Containment) alerts(anchor string) (out []alert) {
	add := func(class, format string, args ...any) {
		out = append(out, alert{Class: class, Host: r.Host, Text: fmt.Sprintf(format, args...), Anchor: anchor})
	}
	for _, t := range r.trouble {
		add("bad", "record of the containment: %s", t)
	}
	if s := r.Signature; s.Present && !s.Valid {
		add("bad", "record of the containment: signature: %s", s.Detail)
	}
	if r.Withheld != "" {
		add("bad", "NOT CONTAINED: %s", r.Withheld)
	}
	for _, t := range r.Remain {
		add("warn", "%s", t)
	}
	for _, t := range r.Targets {
		if t.Class == "bad" {
			add("bad", "%s: %s", t.Target, t.Outcome)
		}
	}
	for _, t := range r.Errors {
		add("bad", "containment: %s", t)
	}
	return out
}

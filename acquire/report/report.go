// Package report makes a page of a case: HTML that holds all it needs, for people who
// have to rely on the evidence and have no shotglass.
//
// [Load] reads manifests and audit logs, and checks their signatures and chains;
// images are read again only if it is told to. [Case.Write] renders the page. All that
// is read is taken for hostile.
package report

import (
	"context"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Case is what was found.
type Case struct {
	Captures []*Capture
	Logs     []*Log
	// Containments are records that belong to no capture here.
	Containments []*Containment
	// Inquiries are the records of what is no image.
	Inquiries []*Inquiry
	// Failed are hosts that the logs know and of which there is no image.
	Failed []Failure
	// Unread says which files could not be used, and why.
	Unread []string

	ReRead      bool   // images were read again
	SignersName string // the file of allowed signers; empty: nobody is trusted
	Made        time.Time
	Tool        acquire.Tool
}

// A Capture is one manifest and what can be said of it.
type Capture struct {
	*acquire.Manifest
	Place     string // where it lies
	File      string // of the manifest
	Bytes     int64  // of the manifest
	SHA256    string // of the manifest
	Signature acquire.SignatureState
	ImageFile string // the image's name as it lies there; empty when it is missing
	// Trouble says what does not agree with the manifest.
	Trouble []string
	// Verified is what reading the image again found; nil when it was not read.
	Verified *acquire.VerifyReport
	// Triage is the last first look at the image, in TriageFile; nil: there is none. It is not signed.
	Triage     *triage.Report
	TriageFile string
	// Containments are the records that name the manifest.
	Containments []*Containment
}

// A Log is one audit log.
type Log struct {
	*audit.Report
	Place, File string
}

// A Failure is an attempt that made no image.
type Failure struct {
	Host, Error string
	Time        time.Time
	Left        []string
	Fix         string
}

// A File is something to report on: a manifest or an audit log, by its name in a place.
type File struct {
	Where sink.Opener
	Place string // for people
	Name  string
}

// Options say whom to trust, as in acquire.VerifyOptions.
type Options struct {
	Signers     *signature.AllowedSigners
	SignersName string
	At          time.Time // zero: now
	// ReRead reads every image again in full.
	ReRead  bool
	Workers int
	// Progress is told which image is being read. May be nil.
	Progress func(name string) func(done, total int64)

	// Containments are the records of containments, read and checked by whoever knows them.
	Containments []*Containment
	// Inquiries are other records, read and checked in the same way.
	Inquiries []*Inquiry
	// Conversion puts the record of a converted image into words, which lies where a manifest does, and checks it. Nil: it is no manifest.
	Conversion func(ctx context.Context, f File, data []byte) (*Inquiry, error)

	Made time.Time
	Tool acquire.Tool
}

// Verdict is one word of package acquire for the whole: the worst of all.
func (c *Case) Verdict() string {
	worst := acquire.VerdictOK
	rank := []string{acquire.VerdictOK, acquire.VerdictPartial, acquire.VerdictUntrusted, acquire.VerdictMismatch}
	add := func(v string) {
		for i, r := range rank {
			if r == v && i > indexOf(rank, worst) {
				worst = v
			}
		}
	}
	for _, x := range c.Captures {
		add(x.verdict())
	}
	for _, l := range c.Logs {
		add(l.Verdict)
	}
	for _, r := range c.contained() {
		add(r.verdict())
	}
	for _, q := range c.Inquiries {
		add(q.verdict())
	}
	if len(c.Unread) > 0 {
		add(acquire.VerdictMismatch)
	}
	if len(c.hostsWithout()) > 0 {
		add(acquire.VerdictPartial)
	}
	return worst
}

func indexOf(list []string, s string) int {
	for i, e := range list {
		if e == s {
			return i
		}
	}
	return -1
}

// verdict is that of one capture.
func (c *Capture) verdict() string {
	switch {
	case len(c.Trouble) > 0 || c.Signature.Present && !c.Signature.Valid:
		return acquire.VerdictMismatch
	case !c.Signature.Trusted:
		return acquire.VerdictUntrusted
	case !c.Complete || len(c.swapReasons()) > 0:
		return acquire.VerdictPartial
	}
	return acquire.VerdictOK
}

// host is what to call the target.
func (c *Capture) host() string {
	if c.Target.Host != "" {
		return c.Target.Host
	}
	return c.Target.Connection.Target
}

// empty reports whether the manifest records a capture that got no byte.
func (c *Capture) empty() bool { return c.Image.Raw.SHA256 == "" }

// hostsWithout are the last failures of hosts of which there is no manifest.
func (c *Case) hostsWithout() []Failure {
	var out []Failure
	for i, f := range c.Failed {
		if i+1 < len(c.Failed) && c.Failed[i+1].Host == f.Host || c.has(f.Host) {
			continue
		}
		out = append(out, f)
	}
	return out
}

func (c *Case) has(host string) bool {
	for _, x := range c.Captures {
		if audit.Printable(x.host()) == host {
			return true
		}
	}
	return false
}

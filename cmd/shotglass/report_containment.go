package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/transport"
)

// readRecord reads the record of a containment for a report, and checks who signed it.
func readRecord(ctx context.Context, f report.File, o report.Options) (*report.Containment, error) {
	data, err := readSmall(ctx, f.Where, f.Name)
	if err != nil {
		return nil, err
	}
	rec, err := parseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("it is no record of a containment: %w", err)
	}
	r := recordView(rec)
	r.Place, r.File, r.Bytes, r.SHA256, r.Namespace = f.Place, f.Name, int64(len(data)), sumOf(data), containmentNamespace
	r.Signature = recordSignature(ctx, f, data, containmentNamespace, o)
	if !r.Signature.Trusted { // nobody is told to paste what nobody vouches for
		r.Release, r.Contain = "", ""
	}
	return r, nil
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// recordSignature is what can be said of the signature beside a record.
func recordSignature(ctx context.Context, f report.File, data []byte, namespace string, o report.Options) acquire.SignatureState {
	sig, err := readSmall(ctx, f.Where, f.Name+acquire.SignatureSuffix)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return acquire.SignatureState{Detail: "there is no " + f.Name + acquire.SignatureSuffix}
	case err != nil:
		return acquire.SignatureState{Present: true, Detail: err.Error()}
	}
	at := o.At
	if at.IsZero() {
		at = time.Now()
	}
	signers := o.Signers
	if signers == nil {
		signers = &signature.AllowedSigners{}
	}
	return acquire.CheckSignature(namespace, data, sig, signers, at)
}

// recordView puts a record into words.
func recordView(rec *containmentRecord) *report.Containment {
	r := &report.Containment{Host: rec.Host, Image: rec.Image, Manifest: rec.Manifest.SHA256, Written: rec.Written, Withheld: rec.Withheld, Errors: rec.Errors}
	keeps := map[containment.Item]string{}
	var names []string
	for _, p := range rec.Plans {
		names = append(names, transport.Quote(printable(p.Target.String())))
		for _, c := range p.Changes {
			keeps[c.Item] = c.Keep
			if c.Irreversible != "" {
				keeps[c.Item] = "cannot be undone: " + c.Irreversible
			}
		}
	}
	flags := func(list ...[2]string) string {
		text := " "
		for _, f := range list {
			if f[1] != "" && f[1] != "0" && !(f[0] == "journal" && f[1] == ".") {
				text += "--" + f[0] + " " + transport.Quote(printable(f[1])) + " "
			}
		}
		return text
	}
	where := append([][2]string{{"case", rec.Case}, {"journal", rec.Journals}, {"journal-to", rec.JournalsTo}}, rec.AWS.flags()...)
	shown := rec.Results
	if rec.Withheld != "" {
		shown = rec.Early
		if _, what := remains(rec.Early); len(what) > 0 {
			r.Remain = []string{"from before the capture " + strings.Join(what, ", ")}
		}
		if len(names) > 0 {
			o := rec.Plans[0].Options // those of a host are one
			as := append(where[:len(where):len(where)], [][2]string{{"mode", o.Mode}, {"forensic", o.Forensic}, {"forensic-port", strconv.Itoa(o.ForensicPort)}}...)
			for _, cut := range o.Cuts {
				as = append(as, [2]string{"cut", cut})
			}
			for _, a := range o.Addresses {
				as = append(as, [2]string{"deny-address", a})
			}
			if o.UntrackWait != nil {
				as = append(as, [2]string{"untrack-wait", o.UntrackWait.String()})
			}
			for _, b := range rec.AWS.BreakGlass {
				as = append(as, [2]string{"break-glass", b})
			}
			r.Contain = "shotglass contain" + flags(as...) + strings.Join(names, " ")
		}
	}
	if len(shown) > 0 {
		r.Release = "shotglass release" + flags(where...) + strings.Join(names, " ")
	}
	for _, x := range shown {
		r.Targets = append(r.Targets, targetView(x, keeps, rec.Withheld != ""))
	}
	r.State, r.Class = "contained", "good"
	switch {
	case rec.Withheld != "":
		r.State, r.Class = "not contained", "bad"
	case len(rec.Errors) > 0 || len(rec.Results) < len(rec.Plans):
		r.State, r.Class = "not all contained", "bad"
	default:
		for _, t := range r.Targets {
			switch {
			case t.Class == "bad":
				r.State, r.Class = "not all contained", "bad"
			case t.Class == "warn" && r.Class == "good":
				r.State, r.Class = "contained, flows not looked at", "warn"
			}
		}
	}
	return r
}

// targetView puts the result of one target into words. Early ones are of some stages alone, so that their outcome says nothing.
func targetView(x *containment.Result, keeps map[containment.Item]string, early bool) report.Contained {
	t := report.Contained{Target: x.Target.String(), Outcome: outcomeText(x.Outcome), Class: "bad", Journal: x.Journal, Head: x.Head, Tampering: x.Tampering}
	switch {
	case early:
		t.Outcome, t.Class = "done before the capture alone", "warn"
	case x.Outcome == containment.Unverified:
		t.Class = "warn"
	case x.Outcome.Good():
		t.Class = "good"
	}
	for _, c := range x.Changes {
		class, note := "good", []string{}
		if !stands(c) {
			class = "bad"
		}
		keep := keeps[c.Item]
		if keep != "" && !strings.HasPrefix(keep, "cannot") {
			keep = "stays after a release: " + keep
		}
		for _, s := range []string{c.Error, c.Note, string(c.Found), keep} {
			if s != "" {
				note = append(note, s)
			}
		}
		t.Changes = append(t.Changes, report.ContainedChange{Status: c.Status, Class: class, What: c.Summary, Note: strings.Join(note, "; ")})
	}
	for _, r := range x.Residuals {
		t.Open = append(t.Open, fmt.Sprintf("%s: %s. %s", r.Path, r.What, r.Do))
	}
	return t
}

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
)

// readKeyRecord reads the record of a key for a report, checks who signed it, and whether the events beside it are its own.
func readKeyRecord(ctx context.Context, f report.File, o report.Options) (*report.Inquiry, error) {
	data, err := readSmall(ctx, f.Where, f.Name)
	if err != nil {
		return nil, err
	}
	rec, err := parseKeyRecord(data)
	if err != nil {
		return nil, fmt.Errorf("it is no record of a key: %w", err)
	}
	q := keyInquiry(rec)
	q.Place, q.File, q.Bytes, q.SHA256 = f.Place, f.Name, int64(len(data)), sumOf(data)
	q.Signature = recordSignature(ctx, f, data, keyNamespace, o)
	state, err := beside(ctx, f.Where, rec.Events.Name, rec.Events.Bytes, rec.Events.SHA256)
	switch {
	case err != nil:
		q.Trouble = append(q.Trouble, err.Error())
	case state != asNamed:
		q.Trouble = append(q.Trouble, fmt.Sprintf("the file of its events, %s: %s", rec.Events.Name, state))
	}
	return q, nil
}

// keyInquiry puts a record of a key into words.
func keyInquiry(rec *keyRecord) *report.Inquiry {
	f := rec.Trace
	q := &report.Inquiry{Title: headline(f), Written: rec.Written, Namespace: keyNamespace, Ending: keySuffix, State: "followed", Class: "good"}
	add := func(name, format string, args ...any) {
		q.About = append(q.About, report.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	notice := func(class, format string, args ...any) {
		q.Alerts = append(q.Alerts, report.Notice{Class: class, Text: fmt.Sprintf(format, args...)})
	}
	if rec.Before != nil {
		containedInquiry(q, rec)
		return q
	}
	o, u := f.Owner, f.Use
	if n := f.Blindness(); n > 0 {
		q.State, q.Class = "not all could be looked at", "warn"
		notice("warn", "%d things could not be looked at: see below", n)
	}
	if o.Rights.Admin {
		notice("bad", "it may do everything: %s", o.Rights.AdminBy)
	}
	for _, class := range []trail.Class{trail.Hides, trail.Persists, trail.Destroys, trail.Takes} {
		if n := u.Classes[class]; n > 0 {
			notice("bad", "%s: %s", class.Meaning(), plural(n, "call"))
		}
	}
	if o.Key != nil {
		add("State", "%s", credentialText(*o.Key))
	}
	can, simulated := abilities(o.Rights)
	for _, p := range []report.Fact{{Name: "Known by", Value: o.How}, {Name: "May", Value: can}, {Name: "May, by IAM's simulation alone", Value: simulated}, {Name: "Denied everything by", Value: strings.Join(o.Rights.Denied, ", ")},
		{Name: "Permissions boundary", Value: o.Rights.Boundary}, {Name: "Policies", Value: strings.Join(o.Rights.Policies, ", ")}, {Name: "Trusts", Value: strings.Join(o.Trusts, ", ")}} {
		if p.Value != "" {
			q.About = append(q.About, p)
		}
	}
	add("Looked", "%s", f.Looked())
	if u.Events == 0 {
		add("Events", "none was found")
	} else {
		add("Events", "%d, %d denied, %d failed otherwise; the first at %s, the last at %s", u.Events, u.DeniedIn, u.FailedIn, clock(u.First), clock(u.Last))
	}
	if !f.Known() {
		q.State, q.Class = "nothing became known", "bad"
	}
	add("Looked by", "%s", rec.Caller)
	for _, t := range rec.NotSeen {
		add("Not seen", "%s", t)
	}
	q.Beside = []string{rec.Events.SHA256 + "  " + rec.Events.Name}
	q.Tables = keyTables(rec)
	return q
}

func keyTables(rec *keyRecord) (list []report.Table) {
	f := rec.Trace
	add := func(t report.Table) {
		if len(t.Rows) > 0 {
			list = append(list, t)
		}
	}
	acts := report.Table{Title: "What it did, the worst first", Head: []string{"UTC", "Kind", "Call", "Error", "About", "Region", "From", "As"}}
	if n := len(rec.Worst); rec.WorstOf > n {
		acts.Title += fmt.Sprintf(" (%d of %d; the file beside the record has all)", n, rec.WorstOf)
	}
	for _, a := range rec.Worst {
		acts.Rows = append(acts.Rows, []string{clock(a.Time), string(a.Class), a.Service + ":" + a.Call(), a.Error, strings.Join(a.About, " "), a.Region, a.Address, a.Of})
	}
	add(acts)
	made := report.Table{Title: "Identities that it made or took", Head: []string{"Identity", "Whose", "How", "Calls"}}
	for _, s := range f.Subjects {
		if s.Via != nil {
			made.Rows = append(made.Rows, []string{s.Label(), s.Owner, s.Via.Event + " of " + s.Via.Of + " at " + clock(s.Via.Time), fmt.Sprint(s.Use.Events)})
		}
	}
	add(made)
	others := report.Table{Title: "What else its owner can log in with", Head: []string{"Kind", "Id", "State"}}
	for _, k := range f.Owner.Credentials {
		others.Rows = append(others.Rows, []string{k.Kind, k.ID, credentialText(k)})
	}
	add(others)
	for _, c := range []struct {
		title string
		list  []keytrail.Count
	}{{"Denied", f.Use.Denied}, {"Addresses", f.Use.Addresses}, {"User agents", f.Use.Agents}} {
		t := report.Table{Title: c.title, Head: []string{"Times", "", "First", "Last"}}
		for _, n := range c.list {
			t.Rows = append(t.Rows, []string{fmt.Sprint(n.Times), n.Value, clock(n.First), clock(n.Last)})
		}
		add(t)
	}
	gaps := report.Table{Title: "Not looked at"}
	for _, g := range f.Gaps {
		gaps.Rows = append(gaps.Rows, []string{g.String()})
	}
	add(gaps)
	return list
}

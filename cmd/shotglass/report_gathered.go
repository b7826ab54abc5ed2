package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
)

// readGathered reads the record of what AWS has of an instance for a report, and that of its snapshots, and checks both. The archives are read with
// --verify alone.
func readGathered(ctx context.Context, f report.File, o report.Options) ([]*report.Inquiry, error) {
	v, err := cloudevidence.Verify(ctx, f.Where, cloudevidence.RecordOf(f.Name), cloudevidence.VerifyOptions{Signers: o.Signers, At: o.At, RecordsOnly: !o.ReRead})
	if err != nil {
		return nil, err
	}
	r := v.Record
	if r == nil && v.Snapshots != nil { // all that is left
		s := snapshotsInquiry(f, v)
		s.Trouble = v.Problems
		return []*report.Inquiry{s}, nil
	}
	if r == nil {
		return nil, fmt.Errorf("it is no record of what was gathered: %s", strings.Join(v.Problems, "; "))
	}
	q := gatheredInquiry(f, r.About, "What AWS had of ")
	q.File, q.SHA256, q.Bytes, q.Signature, q.Ending, q.Trouble = f.Name, v.SHA256, v.Bytes, v.Signature, cloudevidence.Suffix, v.Problems
	fact(q, "Asked", r.Begun.UTC().Format("2006-01-02T15:04:05Z"))
	archives, bytes, encryption := 0, int64(0), ""
	for _, it := range r.Items {
		if a := it.Archive; a != nil {
			archives, bytes, encryption = archives+1, bytes+a.Stored.Bytes, a.Encryption
			if a.Stored.SHA256 != "" { // of a run without a record, whose archives are not read
				q.Beside = append(q.Beside, a.Stored.SHA256+"  "+a.Name)
			}
		}
	}
	for _, l := range r.Left {
		fact(q, "Left by another run", leftFact(l))
	}
	if archives > 0 {
		fact(q, "Archives", fmt.Sprintf("%d, %d bytes, encryption: %s", archives, bytes, encryption))
		if !o.ReRead {
			fact(q, "Not checked", "the archives: they were not read")
		}
	}
	for _, text := range v.NotChecked {
		fact(q, "Not checked", text)
	}
	if len(r.Items) > 0 {
		t := report.Table{Title: "Items", Head: []string{"", "item", "bytes", "SHA-256", "read", "what", "calls"}}
		for _, it := range r.Items {
			t.Rows = append(t.Rows, itemRow(it))
		}
		q.Tables = append(q.Tables, t)
	}
	if v.Snapshots == nil {
		if r.Snapshots != nil {
			q.Tables = append(q.Tables, snapshotTable(r.Snapshots))
		}
		missing(q, v.Reasons)
		return []*report.Inquiry{q}, nil
	}
	missing(q, r.Reasons)
	return []*report.Inquiry{q, snapshotsInquiry(f, v)}, nil
}

// snapshotsInquiry is the record of the snapshots that lies beside a file, or is it.
func snapshotsInquiry(f report.File, v *cloudevidence.Verification) *report.Inquiry {
	later := v.Snapshots
	s := gatheredInquiry(f, later.About, "Snapshots of ")
	s.File, s.Signature, s.Ending = strings.TrimSuffix(cloudevidence.RecordOf(f.Name), cloudevidence.Suffix)+cloudevidence.SnapshotsSuffix, *v.Later, cloudevidence.SnapshotsSuffix
	s.SHA256, s.Bytes = v.LaterDigest.SHA256, v.LaterDigest.Bytes
	s.Tables = []report.Table{snapshotTable(later.Snapshots)}
	for _, line := range append(slices.Clone(later.Snapshots.Notes), later.Snapshots.Needs()...) {
		fact(s, "Note", line)
	}
	missing(s, later.Reasons)
	return s
}

// leftFact is what a record knows of what another run left: a file whose digest it does not have is not held against anything.
func leftFact(l cloudevidence.Leftover) string {
	if l.Name == "" {
		return l.Error
	}
	text, without := l.Name, 0
	if !l.Begun.IsZero() {
		text += ", begun " + clock(l.Begun)
	}
	if l.Set != "" {
		text += ", snapshots with the tag shotglass-set=" + l.Set
	}
	text += ", " + plural(len(l.Files), "file")
	for _, f := range l.Files {
		if f.SHA256 == "" {
			without++
		}
	}
	if without > 0 {
		text += fmt.Sprintf(", %d of them without a digest, which could not be read then and are not checked", without)
	}
	if l.Error != "" {
		text += "; " + l.Error
	}
	return text
}

// gatheredInquiry is what both records have in common.
func gatheredInquiry(f report.File, a cloudevidence.About, what string) *report.Inquiry {
	q := &report.Inquiry{Place: f.Place, Title: what + cmp.Or(a.Host, a.Instance.ID), Written: a.Written, Namespace: cloudevidence.Namespace, State: "complete", Class: "good"}
	i := a.Instance
	fact(q, "Instance", strings.Join([]string{i.ID, i.State, i.Region, i.Account}, ", "))
	if i.Name != "" {
		fact(q, "Called", fmt.Sprintf("%q", i.Name))
	}
	fact(q, "Asked as", cmp.Or(a.Caller, "not known"))
	return q
}

func fact(q *report.Inquiry, name, value string) {
	q.About = append(q.About, report.Fact{Name: name, Value: value})
}

// missing says what is not there of what was asked for.
func missing(q *report.Inquiry, why []string) {
	for _, text := range why {
		q.Alerts = append(q.Alerts, report.Notice{Class: "warn", Text: "missing: " + text})
		q.State, q.Class, q.Incomplete = string(acquire.StatePartial), "warn", true
	}
}

func itemRow(it cloudevidence.Item) []string {
	state, what, begun := "there", it.What, it.Begun.UTC().Format("15:04:05Z")
	switch {
	case it.Begun.IsZero() && it.Archive != nil:
		state, begun = "stored", ""
	case it.Error != "" && it.File != "":
		state, what = "in part", it.Error
	case it.Error != "":
		state, what = "missing", it.Error
	case it.Absent != "":
		state, what = "none", it.Absent
	}
	var calls []string
	for _, c := range it.Calls {
		calls = append(calls, c.Operation+" "+c.RequestID)
	}
	const shown = 4
	if n := len(calls) - shown; n > 0 {
		calls = append(calls[:shown], fmt.Sprintf("and %d more", n))
	}
	what = strings.Join(append([]string{what}, it.Notes...), "; ")
	return []string{state, it.Name, fmt.Sprint(it.Bytes), it.SHA256, begun, what, strings.Join(calls, ", ")}
}

func snapshotTable(set *cloudevidence.SnapshotSet) report.Table {
	t := report.Table{Title: "Snapshots", Head: []string{"state", "snapshot", "of", "moment", "key", "locked", "shared with", "what is wrong"}}
	add := func(x *cloudevidence.Snapshot, of string) {
		moment := ""
		if !x.Started.IsZero() {
			moment = x.Started.UTC().Format("2006-01-02T15:04:05Z")
		}
		wrong := x.Errors
		if x.Message != "" {
			wrong = append([]string{x.Message}, wrong...)
		}
		t.Rows = append(t.Rows, []string{strings.TrimSpace(x.State + " " + x.Progress), x.ID, of, moment, x.Key, x.Locked, strings.Join(x.Shared, ", "), strings.Join(wrong, "; ")})
	}
	for _, x := range set.Snapshots {
		add(x, x.Volume)
		if x.Copy != nil {
			add(x.Copy, x.ID)
		}
	}
	if set.Error != "" {
		t.Rows = append(t.Rows, []string{"none", "", "", "", "", "", "", set.Error})
	}
	return t
}

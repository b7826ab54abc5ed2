package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/lockdown"
	"github.com/shotglass-ir/shotglass/containment"
)

// carryOut does what a message asks for. The report has what came of it, also with an error.
func (f *function) carryOut(ctx context.Context, m message, req lockdown.Request, r *report) error {
	e, err := f.engine(ctx, req.Case, "SNS message "+m.ID)
	if err != nil {
		return err
	}
	e.Asked = m.Published
	e.Observe = func(ev containment.Event) { f.observe(m, ev) }
	r.Caller = e.Caller.ARN
	if err := f.allowed(req.Target, e.Caller.Account); err != nil {
		return err
	}
	switch req.Action {
	case lockdown.Contain:
		return f.contain(ctx, e, m, req, r)
	case lockdown.Release:
		return f.release(ctx, e, m, req, r)
	default:
		return f.status(ctx, e, req, r)
	}
}

func (f *function) observe(m message, ev containment.Event) {
	attrs := []any{"message_id", m.ID, "target", ev.Target.String(), "stage", ev.Stage, "event", ev.Kind, "item", ev.Item.String()}
	if ev.Err != nil {
		attrs = append(attrs, "error", ev.Err.Error())
	}
	if ev.Err != nil || ev.Kind == containment.EntryTamper {
		f.log.Warn(ev.Text, attrs...)
		return
	}
	f.log.Info(ev.Text, attrs...)
}

// contain goes on although permissions seem to be missing: nobody is there to be asked, the engine leaves no interface open
// for want of the next call, and what could not be made is a failure in the end.
func (f *function) contain(ctx context.Context, e *containment.Engine, m message, req lockdown.Request, r *report) error {
	o := f.options
	o.Case = req.Case
	p, err := e.Plan(ctx, req.Target, o)
	if err != nil {
		return err
	}
	r.plan(p)
	if err := f.allowed(p.Target, e.Caller.Account); err != nil { // an access key's account is known by now
		return err
	}
	if req.DryRun {
		if len(p.Missing) > 0 {
			return fail(denied, "permissions are missing for %d calls; nothing was changed", len(p.Missing))
		}
		return nil
	}
	if done, err := f.overtaken(ctx, containment.JournalName(req.Case, p.Target), m, containment.EntryBegin, r); done || err != nil {
		return err
	}
	res, err := e.Apply(ctx, p, containment.ApplyOptions{Watch: f.watch})
	r.result(res, f.journals)
	if err != nil {
		return err
	}
	if !res.Outcome.Good() {
		return fail(notContained, "the outcome is %s", res.Outcome)
	}
	return nil
}

func (f *function) release(ctx context.Context, e *containment.Engine, m message, req lockdown.Request, r *report) error {
	if req.DryRun {
		return f.status(ctx, e, req, r)
	}
	name, err := f.find(ctx, e, req)
	if errors.Is(err, containment.ErrNoJournal) && name != "" { // what it would release may only be late
		if err := e.ReleaseNothing(ctx, name); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if done, err := f.overtaken(ctx, name, m, containment.EntryRelease, r); done || err != nil {
		return err
	}
	res, err := e.Release(ctx, name, containment.ReleaseOptions{})
	r.result(res, f.journals)
	if err != nil {
		return err
	}
	if !res.Outcome.Good() {
		return fail(notContained, "the outcome is %s", res.Outcome)
	}
	return nil
}

// status is carried out when there is an answer, whatever it is.
func (f *function) status(ctx context.Context, e *containment.Engine, req lockdown.Request, r *report) error {
	name, err := f.find(ctx, e, req)
	if err != nil {
		return err
	}
	res, err := e.Status(ctx, name)
	r.result(res, f.journals)
	return err
}

// find returns the name of the target's journal: also, with an error wrapping ErrNoJournal, the one that it would have. An access key was contained with its user, whose journal it is: a plan tells who
// that is. Looking for a journal by what it says reads every one there is, and is left for what an ARN does not lead to.
func (f *function) find(ctx context.Context, e *containment.Engine, req lockdown.Request) (string, error) {
	t := req.Target
	if t.Kind == containment.AccessKey {
		o := f.options
		o.Case = req.Case
		p, err := e.Plan(ctx, t, o)
		if err != nil {
			return "", err
		}
		if err := f.allowed(p.Target, e.Caller.Account); err != nil {
			return "", err
		}
		t = p.Target
	}
	name := containment.JournalName(req.Case, t)
	_, err := e.Journaled(ctx, name)
	if !errors.Is(err, containment.ErrNoJournal) {
		return name, err
	}
	names, err := e.Find(ctx, t, req.Case)
	if err != nil {
		return "", err
	}
	if len(names) != 1 {
		if len(names) > 1 {
			name = ""
		}
		return name, fmt.Errorf("%s in case %q, in %s: %w", t, req.Case, f.journals, containment.ErrNoJournal)
	}
	return names[0], nil
}

// overtaken looks into the journal whether the last run is one of the other kind that was asked for after the message was published: of a run
// that no message asked for, that is when it began. SNS delivers at least once, in any order, and tries for weeks; what was asked for last is what
// holds. done says that this message was carried out before that; otherwise it is an error.
func (f *function) overtaken(ctx context.Context, name string, m message, want containment.EntryKind, r *report) (done bool, err error) {
	b, err := f.journals.Load(ctx, name)
	if errors.Is(err, containment.ErrNoJournal) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entries, err := containment.ParseJournal(b)
	if err != nil {
		return false, fmt.Errorf("journal %s: %w", name, err)
	}
	var last containment.Entry
	for _, en := range entries {
		switch en.Kind {
		case containment.EntryBegin, containment.EntryRelease:
			last = en
		case containment.EntryEnd:
			done = done || last.Kind == want && last.Request == "SNS message "+m.ID && en.Outcome.Good()
		}
	}
	since := last.Asked
	if since.IsZero() {
		since = last.Time
	}
	if last.Kind == "" || last.Kind == want || !since.After(m.Published) {
		return false, nil
	}
	by := last.Request
	if by == "" {
		by = last.Tool
	}
	if done {
		r.Note = fmt.Sprintf("Delivered again: it was carried out before, and %s asked for a %s after it, at %s. Nothing was changed.", by, runOf(last.Kind), since.Format(time.RFC3339))
		return true, nil
	}
	return false, fail(overtaken, "%s asked for a %s at %s, after this was asked for: nothing was changed; ask again if it is still wanted", by, runOf(last.Kind), since.Format(time.RFC3339))
}

func runOf(k containment.EntryKind) string {
	if k == containment.EntryRelease {
		return "release"
	}
	return "containment"
}

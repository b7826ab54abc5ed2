package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ReleaseOptions say what a release does.
type ReleaseOptions struct {
	// Also releases items of these kinds that are kept otherwise: "iam/access-key".
	Also []string
	// Force puts back the prior state of items in conflict too.
	Force bool
	// Stages to release; none: all.
	Stages []Stage
}

// Release puts everything back that the journal says was changed, in reverse order. It compares first: what is
// as we set it becomes what it was before, what is as before stays, the rest is a
// conflict and stays too. It can be run again: what is released already is not touched.
//
// The error is as Apply's.
func (e *Engine) Release(ctx context.Context, name string, o ReleaseOptions) (*Result, error) {
	if _, err := e.load(ctx, name); err != nil { // before Open would make it
		return nil, fmt.Errorf("release: %w", err)
	}
	r, err := e.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", name, err)
	}
	res, err := r.release(ctx, o)
	if err = errors.Join(err, r.journal.Close()); err != nil {
		err = fmt.Errorf("release %s: %w", r.target, err)
	}
	return res, err
}

// ReleaseNothing writes into the journal of a target that is not contained, which it makes if it is not there, that a release was asked
// for: a containment that was asked for before and is carried out later can then be told from one that is still wanted. Status and
// Release go on to say that there is no such journal. It returns an error wrapping ErrBusy if there is a plan by now.
func (e *Engine) ReleaseNothing(ctx context.Context, name string) error {
	r, err := e.open(ctx, name)
	if err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	switch {
	case r.rec.plan != nil:
		err = fmt.Errorf("release %s: it was contained meanwhile: %w", r.target, ErrBusy)
	case r.rec.release && !e.Asked.After(r.rec.asked): // it says so already
	default:
		err = r.write(ctx, Entry{Kind: EntryRelease, Caller: &e.Caller, Tool: e.Tool, Request: e.Request, Asked: e.Asked})
	}
	return errors.Join(err, r.journal.Close())
}

func (r *run) release(ctx context.Context, o ReleaseOptions) (*Result, error) {
	res := &Result{Target: r.target, Case: r.rec.plan.Case, Journal: r.name, Outcome: Released}
	if err := r.write(ctx, Entry{Kind: EntryRelease, Caller: &r.e.Caller, Tool: r.e.Tool, Request: r.e.Request, Asked: r.e.Asked, Stages: o.Stages}); err != nil {
		return res, err
	}
	items := r.rec.held()
	slices.SortStableFunc(items, func(a, b *history) int {
		if d := slices.Index(Stages, b.stage) - slices.Index(Stages, a.stage); d != 0 {
			return d
		}
		return b.first - a.first
	})
	var failed error
	for _, h := range items {
		if o.Stages != nil && !slices.Contains(o.Stages, h.stage) {
			continue
		}
		ir, err := r.undo(ctx, h, o)
		res.Changes = append(res.Changes, ir)
		r.e.observe(Event{Target: r.target, Kind: EntryRelease, Stage: h.stage, Item: h.item, Text: h.item.String() + ": " + ir.Status})
		switch {
		case ir.Status == "failed":
			res.Outcome = Partial
		case ir.Status == "conflict" && res.Outcome == Released:
			res.Outcome = Conflict
		}
		if err != nil {
			failed = err
			res.Outcome = Partial
			break
		}
	}
	if failed == nil && o.Stages == nil {
		failed = r.foundOpen(ctx, res)
	}
	return res, r.finish(ctx, res, failed)
}

// late reports whether what is read of an item may still be from before our last call for it.
func (r *run) late(h *history) bool {
	since := r.e.now().Sub(h.last)
	return since >= 0 && since < settleTime
}

// undo releases one item. Its error ends the release, as that of change.
func (r *run) undo(ctx context.Context, h *history, o ReleaseOptions) (ItemResult, error) {
	ir := ItemResult{Item: h.item, Stage: h.stage, Summary: "as before: " + h.call}
	if h.keep != "" && !slices.Contains(o.Also, h.item.Kind) {
		ir.Status, ir.Note = "kept", h.keep
		return ir, nil
	}
	s, err := r.e.driver(h.item)
	if err != nil {
		ir.Status, ir.Error = "failed", err.Error()
		return ir, nil
	}
	cur, err := s.Read(ctx, r.target, h.item)
	for err == nil && Same(cur, h.prior) && r.late(h) { // it may be set all the same
		if err = r.e.sleep(ctx, time.Second); err == nil {
			cur, err = s.Read(ctx, r.target, h.item)
		}
	}
	if ctx.Err() != nil {
		ir.Status, ir.Error = "failed", "interrupted"
		return ir, context.Cause(ctx)
	}
	var why string
	if err == nil {
		why, err = r.opens(ctx, h)
	}
	switch {
	case errors.Is(err, ErrGone):
		ir.Status, ir.Note = "gone", err.Error()
		return ir, r.note(ctx, Entry{Kind: EntryResult, Undo: true, Item: &h.item, Stage: h.stage, Reply: Reply{Note: err.Error()}})
	case err != nil:
		ir.Status, ir.Error = "failed", err.Error()
		return ir, nil
	case why != "" && o.Force && !h.set(cur) && !Same(cur, h.prior):
		ir.Status, ir.Note = "kept", "it is left as someone set it since: "+why
		return ir, r.note(ctx, Entry{Kind: EntryResult, Undo: true, Item: &h.item, Stage: h.stage, Reply: Reply{Note: ir.Note}})
	case why != "":
		ir.Status, ir.Found = "conflict", cur
		ir.Note = "it is not put back, also not by force: " + why
		return ir, r.note(ctx, Entry{Kind: EntryConflict, Item: &h.item, Stage: h.stage, Prior: h.prior, Found: cur})
	case Same(cur, h.prior):
		ir.Status = "as-before"
		return ir, r.note(ctx, Entry{Kind: EntryResult, Undo: true, Item: &h.item, Stage: h.stage})
	case !h.set(cur) && !o.Force && !r.isolated(ctx, h, cur):
		ir.Status, ir.Found = "conflict", cur
		ir.Note = fmt.Sprintf("it is neither as before nor as it was set: someone changed it; before it was %s", h.prior)
		return ir, r.note(ctx, Entry{Kind: EntryConflict, Item: &h.item, Stage: h.stage, Prior: h.prior, Found: cur})
	}
	if err := r.write(ctx, Entry{Kind: EntryIntent, Undo: true, Item: &h.item, Stage: h.stage, Prior: cur, Want: h.prior}); err != nil {
		ir.Status, ir.Error = "failed", err.Error()
		return ir, err
	}
	reply, failed := s.Set(ctx, r.target, h.item, cur, h.prior)
	en := Entry{Kind: EntryResult, Undo: true, Item: &h.item, Stage: h.stage, Changed: true, Reply: reply}
	ir.Status, ir.Note = "undone", reply.Note
	if failed != nil {
		ir.Status, ir.Error, en.Error = "failed", failed.Error(), failed.Error()
		// An error does not say that nothing happened.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
		found, err := s.Read(rctx, r.target, h.item)
		cancel()
		if err == nil && Same(found, h.prior) {
			ir.Status, ir.Error, en.Error, en.Found = "undone", "", "", found
			ir.Note = "the call failed, but it is as before: " + failed.Error()
			en.Note, failed = ir.Note, nil
		}
	}
	if err := r.note(ctx, en); err != nil {
		return ir, err
	}
	if failed != nil && ctx.Err() != nil {
		return ir, context.Cause(ctx)
	}
	return ir, nil
}

// Status reads every item that the journal says is changed, or was found as wanted, and says whether it still holds. It changes
// nothing, and writes nothing. Its outcome is never Verified: it looks at no flow.
func (e *Engine) Status(ctx context.Context, name string) (*Result, error) {
	rec, err := e.load(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	res := &Result{Target: rec.plan.Target, Case: rec.plan.Case, Journal: name, Residuals: slices.Clone(rec.plan.Residuals)}
	var broken bool
	kept := true // whether all that is held is what release keeps
	held := 0
	for _, h := range rec.items {
		if h.released || h.found && rec.release && h.stage != Untrack {
			continue
		}
		held++
		ir := e.holds(ctx, rec.plan.Target, h)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("status of %s: %w", rec.plan.Target, context.Cause(ctx))
		}
		if h.stage == Untrack && ir.Status == "holds" && isolated(rec.plan, h.item) {
			res.Residuals = append(res.Residuals, opened(h.item))
			broken = true
		}
		broken = broken || ir.Status != "holds" && ir.Status != "gone"
		kept = kept && (h.keep != "" || h.found && h.stage != Untrack)
		res.Changes = append(res.Changes, ir)
	}
	var left bool
	if !rec.release {
		res.Residuals = append(res.Residuals, rec.stillTracked(rec.plan.Changes)...)
		for _, c := range rec.unmade() {
			left = true
			res.Changes = append(res.Changes, ItemResult{Item: c.Item, Stage: c.Stage, Summary: c.Summary, Status: "skipped", Error: "it was not asked for yet"})
		}
	}
	switch {
	case held == 0 && (rec.release || !left):
		res.Outcome = Free
	case rec.release && kept:
		res.Outcome = Released
	case broken || left:
		res.Outcome = Partial
	case rec.end == nil || rec.release:
		res.Outcome = Partial // it was interrupted, or released in part
	case rec.end.Outcome == Verified:
		res.Outcome = Unverified
	default:
		res.Outcome = rec.end.Outcome
	}
	return res, nil
}

// holds reads an item, and says whether it is as it was left.
func (e *Engine) holds(ctx context.Context, t Target, h *history) ItemResult {
	ir := ItemResult{Item: h.item, Stage: h.stage, Summary: h.call, Status: "holds"}
	s, err := e.driver(h.item)
	var cur State
	if err == nil {
		cur, err = s.Read(ctx, t, h.item)
	}
	switch last := h.sets[len(h.sets)-1]; {
	case errors.Is(err, ErrGone):
		ir.Status = "gone"
	case err != nil:
		ir.Status, ir.Error = "failed", err.Error()
	case Same(cur, last):
	case h.found || Same(cur, h.prior):
		ir.Status, ir.Found = "undone", cur
	default:
		ir.Status, ir.Found = "conflict", cur
	}
	return ir
}

// Journaled returns the plan that a journal begins with last: what it is about.
func (e *Engine) Journaled(ctx context.Context, name string) (*Plan, error) {
	rec, err := e.load(ctx, name)
	if err != nil {
		return nil, err
	}
	return rec.plan, nil
}

// Find returns the names of the journals of a target, in a case if one is named. What t does not say, such as its
// region, may be anything. A journal that cannot be read is an error if its name may be that of the target's, or if no
// other was found: it may then be the one.
func (e *Engine) Find(ctx context.Context, t Target, caseID string) ([]string, error) {
	all, err := e.Journals.List(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	var unread []error
	for _, n := range all {
		rec, err := e.peek(ctx, n)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			if len(n) > 120 || strings.Contains(n, plain(t.Name)) { // long names are cut off
				return nil, err
			}
			unread = append(unread, err)
			continue
		}
		if rec.plan != nil && same(t, rec.plan.Target) && (caseID == "" || caseID == rec.plan.Case) {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, errors.Join(unread...)
	}
	return names, nil
}

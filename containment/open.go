package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The way of an interface from its own groups to the one that lets nothing pass leads through one that lets
// everything pass: what is left half-way there is worse than what was never touched.

// isolated reports whether a plan isolates an item in the end.
func isolated(p *Plan, i Item) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Item == i && c.Stage == Isolate })
}

// opened says that an item was left in the group of the stage Untrack.
func opened(i Item) Residual {
	return Residual{Path: "open", What: i.String() + " is in the group that lets everything pass",
		Do: "contain it again at once, or release it"}
}

// stillTracked are the items among changes that were isolated without their flows having become untracked.
func (r *record) stillTracked(changes []Change) []Residual {
	var all []Residual
	for _, c := range changes {
		if h := r.byItem[c.Item]; c.Stage == Isolate && r.tracked[c.Item] && h != nil && !h.released && h.stage == Isolate {
			all = append(all, tracked(c.Item.String()))
		}
	}
	return all
}

func tracked(what string) Residual {
	return Residual{Path: "tracked-flows", What: what + ": tracked flows were not converted, and may go on though it is isolated",
		Do: "deny their remote addresses in the network ACL of the subnet (--deny-address), or stop the instance (--cut stop)"}
}

// together refuses to leave out stages that others rely on.
func together(changes []Change, without []Stage) error {
	out := func(item Item, stage Stage) bool {
		return slices.Contains(without, stage) && slices.ContainsFunc(changes, func(c Change) bool { return c.Item == item && c.Stage == stage })
	}
	for _, c := range changes {
		if slices.Contains(without, c.Stage) {
			continue
		}
		if c.Stage == Untrack && out(c.Item, Isolate) {
			return fmt.Errorf("without the stage %s, %s would leave %s in the group that lets everything pass: leave out both or neither", Isolate, Untrack, c.Item)
		}
		for _, need := range c.Needs {
			for _, s := range Stages {
				if out(need, s) {
					return fmt.Errorf("without the stage %s, %s cannot be made for %s: leave out both or neither", s, c.Stage, c.Item)
				}
			}
		}
	}
	return nil
}

// leave takes the changes of stages out of a plan.
func (p *Plan) leave(without []Stage) {
	if p.Verification == ByFlows && slices.Contains(without, Untrack) && !slices.Contains(without, Isolate) &&
		slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Stage == Untrack }) {
		p.Residuals = append(p.Residuals, tracked("the stage "+string(Untrack)+" was left out"))
	}
	p.Changes = slices.DeleteFunc(p.Changes, func(c Change) bool { return slices.Contains(without, c.Stage) })
}

// shutFor bounds isolating what was opened, after an interruption.
const shutFor = 30 * time.Second

// shut isolates what stands in the group of Untrack when the run ends early.
func (a *applying) shut(ctx context.Context) error {
	if a.broken() { // nothing is changed without its entry; the result says what is open
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutFor)
	defer cancel()
	var now []Change
	for _, c := range a.isolating() {
		h := a.history(c.Item)
		if h == nil || h.released || h.stage != Untrack {
			continue
		}
		_, cur, _, err := a.look(ctx, c)
		for err == nil && Same(cur, h.prior) && a.late(h) { // its call may have its effect yet
			if err = a.e.sleep(ctx, time.Second); err == nil {
				_, cur, _, err = a.look(ctx, c)
			}
		}
		if err == nil && !h.set(cur) {
			continue // the call was never made
		}
		now = append(now, c)
		if a.waited {
			continue
		}
		if err := a.note(ctx, Entry{Kind: EntrySkip, Item: &c.Item, Stage: Untrack, Error: "interrupted: isolated before its flows had the time to become untracked"}); err != nil {
			return err
		}
	}
	if len(now) == 0 {
		return nil
	}
	a.e.observe(Event{Target: a.target, Stage: Isolate, Text: "interrupted: first isolating what is in the group that lets everything pass"})
	return errors.Join(a.at(ctx, now), a.back(ctx))
}

// isolating are the run's changes of the stage Isolate.
func (a *applying) isolating() []Change {
	var all []Change
	for _, c := range a.changes {
		if c.Stage == Isolate {
			all = append(all, c)
		}
	}
	return all
}

// back puts back what was opened and could not be isolated: its own groups let through less, or no more. What
// cannot be put back is a residual (see leftOpen).
func (a *applying) back(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutFor)
	defer cancel()
	for _, c := range a.isolating() {
		h, r := a.history(c.Item), a.done[c.Item]
		if h == nil || h.released || h.found || h.stage != Untrack || r == nil || r.Status != "failed" && r.Status != "skipped" {
			continue
		}
		ir, err := a.undo(ctx, h, ReleaseOptions{Also: []string{h.item.Kind}})
		if ir.Status == "undone" || ir.Status == "as-before" {
			r.Note = "put back as it was before, since it could not be isolated"
		}
		a.e.observe(Event{Target: a.target, Stage: Isolate, Item: c.Item, Text: c.Item.String() + " could not be isolated; back as it was: " + ir.Status})
		if err != nil {
			return err
		}
	}
	return nil
}

// leftOpen are the items that stand in the group of Untrack at the end.
func (a *applying) leftOpen() []Residual {
	var all []Residual
	for _, c := range a.isolating() {
		if h := a.history(c.Item); h != nil && !h.released && h.stage == Untrack {
			all = append(all, opened(c.Item))
		}
	}
	return all
}

// broken reports whether the journal failed.
func (r *run) broken() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed != nil
}

// met takes in that someone else, another containment say, isolated what this journal opened: it is not open any more, and a release
// of this journal may put it back.
func (a *applying) met(ctx context.Context, c Change, h *history, cur State) error {
	if h.open {
		if err := a.note(ctx, Entry{Kind: EntryResult, Item: &c.Item, Stage: h.stage, Changed: true}); err != nil {
			return err
		}
	}
	return a.note(ctx, Entry{Kind: EntryResult, Item: &c.Item, Stage: c.Stage, Call: c.Call, Want: cur, Reply: Reply{Note: "someone else isolated it"}})
}

// opens says why what an item was before must not come back: empty if it may.
func (r *run) opens(ctx context.Context, h *history) (string, error) {
	s, err := r.e.driver(h.item)
	if err != nil {
		return "", err
	}
	if o, ok := s.(Opener); ok {
		return o.Opens(ctx, r.target, h.item, h.prior)
	}
	return "", nil
}

// isolated reports whether an item that this journal opened is where its plan would have brought it, though by someone else.
func (r *run) isolated(ctx context.Context, h *history, cur State) bool {
	if h.stage != Untrack {
		return false
	}
	s, err := r.e.driver(h.item)
	if err != nil {
		return false
	}
	for _, c := range r.rec.plan.Changes {
		if c.Item != h.item || c.Stage != Isolate {
			continue
		}
		want := c.Want
		if rs, ok := s.(Resolver); ok {
			if want, err = rs.Resolve(ctx, r.target, c.Item, c.Want); err != nil {
				return false
			}
		}
		return Same(cur, want)
	}
	return false
}

// foundOpen looks, at the end of a release, at what this journal found in the group that lets everything pass, and did not get to
// isolate. It is none of ours to put back; that it is released must not be said.
func (r *run) foundOpen(ctx context.Context, res *Result) error {
	for _, h := range slices.Clone(r.rec.items) {
		if !h.found || h.released || h.stage != Untrack {
			continue
		}
		s, err := r.e.driver(h.item)
		if err != nil {
			return err
		}
		cur, err := s.Read(ctx, r.target, h.item)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, ErrGone) || err == nil && !h.set(cur) {
			if err := r.note(ctx, Entry{Kind: EntryResult, Undo: true, Item: &h.item, Stage: h.stage}); err != nil {
				return err
			}
			continue
		}
		ir := ItemResult{Item: h.item, Stage: h.stage, Summary: "not ours: " + h.call, Status: "conflict", Found: cur}
		if err != nil {
			ir.Status, ir.Error = "failed", err.Error()
			res.Outcome = Partial
		} else {
			ir.Note = "another containment put it there: " + opened(h.item).What + "; resume or release that one"
			if res.Outcome == Released {
				res.Outcome = Conflict
			}
			if err := r.note(ctx, Entry{Kind: EntryConflict, Item: &h.item, Stage: h.stage, Found: cur}); err != nil {
				return err
			}
		}
		res.Changes = append(res.Changes, ir)
	}
	return nil
}

package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// rounds bounds how often a target is planned again for what appeared meanwhile.
const rounds = 3

// appeared plans again and makes the changes that were not in the plan: for an interface that was
// attached, or a key that was made, while the others were dealt with. The flows of such an interface get their time, too.
func (a *applying) appeared(ctx context.Context) error {
	s, err := a.e.planner(a.target.Kind)
	if err != nil {
		return err
	}
	for range rounds {
		p, err := s.Plan(ctx, a.target, a.plan.Options)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			a.residual(Residual{Path: "not-checked", What: "what appeared during the containment could not be listed: " + err.Error(), Do: "run contain again"})
			return nil
		}
		p.leave(a.plan.Options.Without)
		a.mu.Lock()
		a.plan.Residuals = p.Residuals
		a.mu.Unlock()
		fresh := a.adopt(p.Changes)
		if len(fresh) == 0 {
			return nil
		}
		for _, c := range fresh {
			a.e.observe(Event{Target: a.target, Kind: EntryTamper, Stage: c.Stage, Item: c.Item, Text: "appeared during the containment: " + c.Summary})
		}
		if err := a.make(ctx, fresh); err != nil {
			return err
		}
	}
	a.residual(Residual{Path: "still-appearing", What: fmt.Sprintf("new items were found each of the %d times that it was looked for them", rounds),
		Do: "someone is adding them: use a service control policy, or stop the instance"})
	return nil
}

func (a *applying) residual(r Residual) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.residuals = append(a.residuals, r)
}

// watch reads the watched items until its time is over, and makes again what was undone.
func (a *applying) watch(ctx context.Context) error {
	if a.opts.Watch <= 0 {
		return nil
	}
	every := a.opts.Every
	if every <= 0 {
		every = time.Second
	}
	var watched []Change
	for _, i := range a.order {
		// What could not be made is not undone by anyone.
		if c := a.final[i]; c.Watch && a.done[i].Status != "skipped" && a.done[i].Status != "failed" {
			watched = append(watched, c)
		}
	}
	if len(watched) == 0 {
		return nil
	}
	for end := a.e.now().Add(a.opts.Watch); a.e.now().Before(end); {
		if err := a.e.sleep(ctx, every); err != nil {
			return fmt.Errorf("interrupted while watching: %w", err)
		}
		for _, c := range watched {
			if err := a.again(ctx, c); err != nil {
				return err
			}
		}
	}
	if !a.tampered.IsZero() && a.e.now().Sub(a.tampered) < settleTime {
		a.residual(Residual{Path: "still-undone", What: "someone undid it until the watch was over, and may do so again now",
			Do: "look in CloudTrail for who does it and contain them; use a quarantine tag with a service control policy; watch longer"})
	}
	return a.appeared(ctx)
}

// again makes a change again that was undone.
func (a *applying) again(ctx context.Context, c Change) error {
	s, cur, want, err := a.look(ctx, c)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil || Same(cur, want) {
		return nil // an error shows in the end, when all is read once more
	}
	a.mu.Lock()
	first, ours := a.first[c.Item]
	a.mu.Unlock()
	if !ours || a.e.now().Sub(first) > settleTime {
		a.mu.Lock()
		a.tampering++
		a.tampered = a.e.now()
		a.mu.Unlock()
		if err := a.note(ctx, Entry{Kind: EntryTamper, Item: &c.Item, Stage: c.Stage, Want: want, Found: cur}); err != nil {
			return err
		}
		a.e.observe(Event{Target: a.target, Kind: EntryTamper, Stage: c.Stage, Item: c.Item, Text: "undone by someone: " + c.Summary})
	}
	prior := cur
	if !ours { // it was as wanted before anything was done: that is what it goes back to
		prior = want
	}
	return a.set(ctx, s, c, prior, cur, want)
}

// flows has the flows looked at, if the last stage of the plan was applied.
func (a *applying) flows(ctx context.Context) error {
	if a.opts.Flows == nil || a.opts.Stages != nil && !slices.Contains(a.opts.Stages, Isolate) {
		return nil
	}
	found, err := a.opts.Flows(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.e.observe(Event{Target: a.target, Stage: Isolate, Text: "flows could not be looked at", Err: err})
		return nil
	}
	a.flowsSeen = true
	for _, f := range found {
		a.residual(f)
	}
	return nil
}

// result reads every item once more and says what the containment came to. It is called once nothing
// changes any more, also after an interruption, so it has a time of its own. ended says that the run did not come to
// its end: items are then looked at once, and those that it did not reach are said.
func (a *applying) result(ended bool) *Result {
	ctx, cancel := context.WithTimeout(context.Background(), verifyTimeout)
	defer cancel()
	res := &Result{Target: a.target, Case: a.plan.Case, Journal: a.name, Tampering: a.tampering}
	held := map[string]bool{} // sets of alternatives of which one holds
	var changed bool
	for _, i := range a.order {
		r, c := a.done[i], a.final[i]
		if r.Status != "skipped" && r.Status != "failed" {
			if ended && r.Stage != c.Stage {
				changed = true
				r.Status, r.Error = "skipped", fmt.Sprintf("the run ended before its change of the stage %s", c.Stage)
			} else if err := a.confirm(ctx, c, ended); err != nil {
				r.Status, r.Error = "undone", err.Error()
			} else if c.OneOf != "" {
				held[c.OneOf] = true
			}
		}
		changed = changed || r.Status == "changed" || r.Status == "holds" || r.Status == "already"
	}
	whole := true
	for _, c := range a.final {
		r := a.done[c.Item]
		good := r != nil && (r.Status == "changed" || r.Status == "holds" || r.Status == "already")
		if !good && !c.Optional && !held[c.OneOf] {
			whole = false
		}
	}
	for _, i := range a.order {
		res.Changes = append(res.Changes, *a.done[i])
	}
	for _, c := range a.changes {
		if ended && a.done[c.Item] == nil && a.final[c.Item].Stage == c.Stage {
			res.Changes = append(res.Changes, ItemResult{Item: c.Item, Stage: c.Stage, Summary: c.Summary, Status: "skipped", Error: "the run ended before it"})
		}
	}
	res.Residuals = slices.Concat(a.plan.Residuals, a.residuals, a.leftOpen(), a.rec.stillTracked(a.changes))
	open := slices.ContainsFunc(res.Residuals, func(r Residual) bool { return !r.Known })
	switch {
	case !whole && !changed:
		res.Outcome = Failed
	case !whole:
		res.Outcome = Partial
	case a.tampering > 0:
		res.Outcome = Tampered
	case open:
		res.Outcome = Remaining
	case a.plan.Verification == ByFlows && a.flowsSeen:
		res.Outcome = Verified
	case a.plan.Verification == ByFlows:
		res.Outcome = Unverified
	default:
		res.Outcome = Held
	}
	return res
}

// verifyTimeout bounds reading back at the end; confirmFor is how long one item may show an old state.
const (
	verifyTimeout = 2 * time.Minute
	confirmFor    = 20 * time.Second
)

// confirm reads an item until it is as wanted, or once. Its error says what it is instead.
func (a *applying) confirm(ctx context.Context, c Change, once bool) error {
	for end := a.e.now().Add(confirmFor); ; {
		_, cur, want, err := a.look(ctx, c)
		if err == nil && Same(cur, want) {
			return nil
		}
		if once || errors.Is(err, ErrGone) || !a.e.now().Before(end) || a.e.sleep(ctx, time.Second) != nil {
			if err == nil {
				err = fmt.Errorf("it reads %s, not %s", cur, want)
			}
			return err
		}
	}
}

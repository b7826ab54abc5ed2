package containment

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// ApplyOptions say how a plan is applied.
type ApplyOptions struct {
	// Stages to apply; none: all. A later Apply takes the rest.
	Stages []Stage
	// Watch is how long the changes marked so are read again every Every (default 1 s) and made again when
	// someone undid them. What appeared meanwhile, such as another interface, is found by planning again.
	Watch time.Duration
	Every time.Duration
	// Flows looks at the target's flows from elsewhere than the API, after the last stage, and returns
	// those that still live. Nil: nobody looks, so that a plan verified ByFlows ends Unverified.
	Flows func(ctx context.Context) ([]Residual, error)
}

// parallel bounds the changes of one stage under way at once: AWS throttles an account's
// calls, and a target has some ten items in a stage.
const parallel = 8

// settleTime is how long AWS may show an old state after a change; OFFENSAI measured 3 to 4 s
// for IAM. Within it an old state is not called tampering; the change is made again all the same.
const settleTime = 10 * time.Second

// Apply makes the changes of a plan, stage by stage, and verifies them. A change that fails does not stop
// the others, but those that need it. An item that is as wanted already is left alone, so
// that Apply can be run again: after an interruption, or to verify.
//
// The error is nil whenever the result tells the story. It is not if the journal
// cannot be opened or written (ErrBusy, a full disk), or ctx ended: the result then says what
// was done so far, the journal has all of it, and Resume or Release goes on from there.
//
// An interruption does not leave an interface in the group that lets everything pass: what is there already
// is isolated first, without the wait, for which half a minute is given.
func (e *Engine) Apply(ctx context.Context, p *Plan, o ApplyOptions) (*Result, error) {
	if o.Stages != nil && slices.Contains(o.Stages, Untrack) && !slices.Contains(o.Stages, Isolate) {
		if err := together(p.Changes, []Stage{Isolate}); err != nil {
			return nil, fmt.Errorf("contain %s: %w", p.Target, err)
		}
	}
	r, err := e.open(ctx, JournalName(p.Case, p.Target))
	if err != nil {
		return nil, fmt.Errorf("contain %s: %w", p.Target, err)
	}
	res, err := r.apply(ctx, p, o)
	if err = errors.Join(err, r.journal.Close()); err != nil {
		err = fmt.Errorf("contain %s: %w", p.Target, err)
	}
	return res, err
}

// Resume goes on with a containment that was interrupted: it plans again with the options in the journal, and
// applies all stages, unless o names some, also when the run before was asked for some alone. After
// a release there is nothing to go on with: that is an error.
func (e *Engine) Resume(ctx context.Context, name string, o ApplyOptions) (*Result, error) {
	was, err := e.Resumable(ctx, name)
	if err != nil {
		return nil, err
	}
	p, err := e.Plan(ctx, was.Target, was.Options)
	if err != nil {
		return nil, err
	}
	return e.Apply(ctx, p, o)
}

// Resumable returns the plan that a journal began last, if Resume could go on with it: an error says why not. It calls nobody.
func (e *Engine) Resumable(ctx context.Context, name string) (*Plan, error) {
	rec, err := e.load(ctx, name)
	if err != nil {
		return nil, err
	}
	if rec.release {
		return nil, fmt.Errorf("resume %s: its last run is a release: contain it anew", rec.plan.Target)
	}
	return rec.plan, nil
}

// peek reads a journal.
func (e *Engine) peek(ctx context.Context, name string) (*record, error) {
	b, err := e.Journals.Load(ctx, name)
	if err != nil {
		return nil, err
	}
	entries, err := ParseJournal(b)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", name, err)
	}
	return fold(entries), nil
}

// load reads a journal that has at least a plan.
func (e *Engine) load(ctx context.Context, name string) (*record, error) {
	rec, err := e.peek(ctx, name)
	if err != nil {
		return nil, err
	}
	if rec.plan == nil {
		return nil, unplanned(name)
	}
	return rec, nil
}

// unplanned is the error about a journal without a plan: it is as if it were not there.
type unplanned string

func (u unplanned) Error() string {
	return "journal " + string(u) + " has no plan: nothing was changed yet"
}

func (u unplanned) Is(err error) bool { return err == ErrNoJournal }

func (r *run) apply(ctx context.Context, p *Plan, o ApplyOptions) (*Result, error) {
	r.target = p.Target
	a := &applying{run: r, plan: p, opts: o, wants: map[Item]Change{}, final: map[Item]Change{}, done: map[Item]*ItemResult{}, first: map[Item]time.Time{}}
	a.adopt(p.Changes)
	if err := r.write(ctx, Entry{Kind: EntryBegin, Plan: p, Caller: &r.e.Caller, Tool: r.e.Tool, Request: r.e.Request, Asked: r.e.Asked, Stages: o.Stages}); err != nil {
		res := a.result(true)
		if r.rec.plan == nil {
			res.Journal = ""
		}
		return res, err
	}
	err := a.stages(ctx)
	if err == nil {
		err = a.appeared(ctx)
	}
	if err == nil {
		err = a.watch(ctx)
	}
	if err == nil {
		err = a.flows(ctx)
	}
	res := a.result(err != nil)
	return res, r.finish(ctx, res, err)
}

// applying is one Apply.
type applying struct {
	*run
	plan    *Plan
	opts    ApplyOptions
	changes []Change
	wants   map[Item]Change // the last change of each item in the plan, also of stages that were not asked for
	final   map[Item]Change // the last change of each item: what it shall be in the end

	mu        sync.Mutex
	order     []Item
	done      map[Item]*ItemResult
	first     map[Item]time.Time // of the first call for it
	residuals []Residual
	flowsSeen bool
	waited    bool // the wait before Isolate is over
	tampering int
	tampered  time.Time // last
}

// adopt takes changes into the run that are new to it, and returns them.
func (a *applying) adopt(changes []Change) []Change {
	var fresh []Change
	for _, c := range changes {
		a.wants[c.Item] = c
		known := slices.ContainsFunc(a.changes, func(k Change) bool { return k.Item == c.Item && k.Stage == c.Stage })
		if known || a.opts.Stages != nil && !slices.Contains(a.opts.Stages, c.Stage) {
			continue
		}
		a.changes = append(a.changes, c)
		a.final[c.Item] = c
		fresh = append(fresh, c)
	}
	return fresh
}

func (a *applying) stages(ctx context.Context) error {
	return a.make(ctx, a.changes)
}

// make makes changes, stage by stage.
func (a *applying) make(ctx context.Context, changes []Change) error {
	for _, stage := range Stages {
		var now []Change
		for _, c := range changes {
			if c.Stage == stage {
				now = append(now, c)
			}
		}
		if len(now) == 0 {
			continue
		}
		a.waited = false
		err := a.wait(ctx, stage, now)
		if err == nil {
			a.waited = stage == Isolate
			err = a.at(ctx, now)
		}
		if err != nil {
			return errors.Join(err, a.shut(ctx))
		}
		if stage == Isolate {
			if err := a.back(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// at makes changes at once.
func (a *applying) at(ctx context.Context, changes []Change) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for _, c := range changes {
		g.Go(func() error { return a.change(gctx, c) })
	}
	return g.Wait()
}

// wait lets the time before a stage pass, unless there is nothing to do in it.
func (a *applying) wait(ctx context.Context, stage Stage, changes []Change) error {
	for _, w := range a.plan.Waits {
		if w.Before != stage || w.For <= 0 {
			continue
		}
		idle := true
		for _, c := range changes {
			if _, cur, want, err := a.look(ctx, c); err != nil || !Same(cur, want) {
				idle = false
			}
		}
		if idle {
			continue
		}
		a.e.observe(Event{Target: a.target, Stage: stage, Text: fmt.Sprintf("waiting %s: %s", w.For, w.Why)})
		if err := a.e.sleep(ctx, w.For); err != nil {
			return fmt.Errorf("interrupted while waiting before %s: %w", stage, err)
		}
	}
	return nil
}

// look reads the item of a change, and makes what is wanted concrete.
func (a *applying) look(ctx context.Context, c Change) (s Service, cur, want State, err error) {
	if s, err = a.e.driver(c.Item); err != nil {
		return nil, nil, nil, err
	}
	want = c.Want
	if rs, ok := s.(Resolver); ok {
		if want, err = rs.Resolve(ctx, a.target, c.Item, c.Want); err != nil {
			return nil, nil, nil, err
		}
	}
	cur, err = s.Read(ctx, a.target, c.Item)
	return s, cur, want, err
}

// change makes one change. Its error ends the run: the journal failed, or ctx ended. What the
// service says is in the item's result.
func (a *applying) change(ctx context.Context, c Change) error {
	if why := a.blocked(ctx, c); ctx.Err() != nil {
		return context.Cause(ctx)
	} else if why != "" {
		a.settle(c, "skipped", errors.New(why), "")
		return a.note(ctx, Entry{Kind: EntrySkip, Item: &c.Item, Stage: c.Stage, Call: c.Call, Error: why})
	}
	s, cur, want, err := a.look(ctx, c)
	h := a.history(c.Item)
	for err == nil && Same(cur, want) && h != nil && h.released && a.late(h) { // a release just undid it
		if err = a.e.sleep(ctx, time.Second); err == nil {
			s, cur, want, err = a.look(ctx, c)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		a.settle(c, "failed", err, "")
		return a.note(ctx, Entry{Kind: EntrySkip, Item: &c.Item, Stage: c.Stage, Call: c.Call, Error: err.Error()})
	}
	if last := a.final[c.Item]; last.Stage != c.Stage {
		// Already where a later stage will bring it: going through this one would open it again.
		if _, _, end, err := a.look(ctx, last); err == nil && Same(cur, end) {
			return nil
		}
	}
	if Same(cur, want) {
		status := "already"
		if h != nil && !h.released && !h.found && h.set(cur) {
			status = "holds" // a run before this one made it
			if h.open {
				if err := a.note(ctx, Entry{Kind: EntryResult, Item: &c.Item, Stage: c.Stage, Changed: true}); err != nil {
					return err
				}
			}
		} else if h != nil && !h.released && !h.found && h.stage == Untrack && c.Stage == Isolate {
			if err := a.met(ctx, c, h, cur); err != nil {
				return err
			}
			status = "holds"
		}
		if status == "already" && (h == nil || h.released || h.found && !h.set(cur)) { // for Status to look at
			if err := a.note(ctx, Entry{Kind: EntryResult, Item: &c.Item, Stage: c.Stage, Call: c.Call, Want: cur}); err != nil {
				return err
			}
		}
		a.settle(c, status, nil, "")
		return nil
	}
	return a.set(ctx, s, c, cur, cur, want)
}

// set makes the call of a change, between its two entries. prior is the state to go back to some day: cur, unless someone
// else brought the item there.
func (a *applying) set(ctx context.Context, s Service, c Change, prior, cur, want State) error {
	keep := c.Keep
	if c.Irreversible != "" {
		keep = c.Irreversible
	}
	if err := a.write(ctx, Entry{Kind: EntryIntent, Item: &c.Item, Stage: c.Stage, Call: c.Call, Prior: prior, Want: want, Keep: keep}); err != nil {
		return err
	}
	a.mu.Lock()
	if _, ok := a.first[c.Item]; !ok {
		a.first[c.Item] = a.e.now()
	}
	a.mu.Unlock()
	reply, failed := s.Set(ctx, a.target, c.Item, cur, want)
	en := Entry{Kind: EntryResult, Item: &c.Item, Stage: c.Stage, Call: c.Call, Changed: true, Reply: reply}
	status := "changed"
	if failed != nil {
		status, en.Error = "failed", failed.Error()
		// An error does not say that nothing happened.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
		found, err := s.Read(rctx, a.target, c.Item)
		cancel()
		if err == nil {
			en.Found, en.Changed = found, !Same(found, cur) || unanswered(ctx, failed)
			if Same(found, want) {
				status = "changed"
				reply.Note = "the call failed, but it is as wanted: " + en.Error
			}
		}
	}
	if err := a.note(ctx, en); err != nil {
		return err
	}
	if status == "changed" {
		failed = nil
	}
	a.settle(c, status, failed, reply.Note)
	if failed != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// unanswered reports whether a call that failed may have its effect yet, after what is read now: it was sent perhaps, and nobody said
// what became of it, since ctx ended or the connection was lost (smithy-go's RequestSendError). What the service refused is settled.
func unanswered(ctx context.Context, failed error) bool {
	var refused interface{ ErrorCode() string } // as smithy-go's APIError
	if errors.As(failed, &refused) && refused.ErrorCode() != "" || errors.Is(failed, ErrDenied) {
		return false
	}
	var lost interface{ ConnectionError() bool }
	return ctx.Err() != nil || errors.As(failed, &lost) && lost.ConnectionError()
}

// blocked says which item that c needs is not as wanted.
func (a *applying) blocked(ctx context.Context, c Change) string {
	for _, need := range c.Needs {
		a.mu.Lock()
		r := a.done[need]
		a.mu.Unlock()
		switch {
		case r != nil && (r.Status == "failed" || r.Status == "skipped"):
			return fmt.Sprintf("needs %s, which failed", need)
		case r == nil: // of a stage that this run leaves out
			_, cur, want, err := a.look(ctx, a.wants[need])
			if err != nil {
				return fmt.Sprintf("needs %s, which this run does not make: %v", need, err)
			}
			if !Same(cur, want) {
				return fmt.Sprintf("needs %s, which this run does not make, and which is not as wanted", need)
			}
		}
	}
	return ""
}

// settle records what became of an item. An earlier failure of an item that succeeds later is forgotten.
func (a *applying) settle(c Change, status string, err error, note string) {
	a.mu.Lock()
	r := a.done[c.Item]
	if r == nil {
		r = &ItemResult{Item: c.Item}
		a.done[c.Item] = r
		a.order = append(a.order, c.Item)
	}
	if !(r.Status == "changed" && (status == "already" || status == "holds")) {
		r.Status = status
	}
	r.Stage, r.Summary, r.Error = c.Stage, c.Summary, ""
	if err != nil {
		r.Error = err.Error()
	}
	if note != "" {
		r.Note = note
	}
	a.mu.Unlock()
	a.e.observe(Event{Target: a.target, Kind: EntryResult, Stage: c.Stage, Item: c.Item, Text: c.Summary + ": " + status, Err: err})
}

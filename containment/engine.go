package containment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// PlanVersion is the version of a plan's JSON form.
const PlanVersion = 1

// An Engine plans, applies, verifies and releases. Its fields are set before the first call; it is
// then safe for concurrent use, for different targets.
type Engine struct {
	Services []Service
	Journals Journals
	Guard    Guard
	// Caller is who calls, for guard rails, plans and journals.
	Caller Identity
	Tool   string // name and version, for the journal
	// Request, if set, is what asked for it, for the journal: the id of a message, say.
	Request string
	// Asked, if set, is when.
	Asked time.Time

	// Observe, if set, is told what happens. It must not block.
	Observe func(Event)

	// Now and Sleep are the clock; nil: time.Now, and a timer that ends with its context.
	Now   func() time.Time
	Sleep func(ctx context.Context, d time.Duration) error
}

// An Event is something that happens while a plan is applied or released.
type Event struct {
	Time   time.Time
	Target Target
	Kind   EntryKind
	Stage  Stage
	Item   Item
	Text   string // for a person
	Err    error
}

// An Outcome is what a containment came to.
type Outcome string

const (
	// Held: all changes read back as wanted, and that is the proof of it (ByState).
	Held Outcome = "held"
	// Unverified: all changes read back as wanted, but packets may still flow: nobody looked.
	Unverified Outcome = "unverified"
	// Verified: as Unverified, and no flow was seen alive (see Engine.Flows).
	Verified Outcome = "verified"
	// Remaining: all changes hold, but a way or a flow that they do not close was found.
	Remaining Outcome = "residual"
	// Tampered: someone undid a change while it was watched. It was made again each time.
	Tampered Outcome = "tampered"
	// Partial: some changes hold, some failed.
	Partial Outcome = "partial"
	// Failed: nothing was changed.
	Failed Outcome = "failed"
	// Released: everything is as it was, but for what was to be kept.
	Released Outcome = "released"
	// Conflict: a release left something that was neither as before nor as we set it.
	Conflict Outcome = "conflict"
	// Free: not contained, by the journal.
	Free Outcome = "free"
)

// Good reports whether the outcome is what was asked for.
func (o Outcome) Good() bool {
	return o == Held || o == Unverified || o == Verified || o == Released
}

// A Result is what Apply, Verify or Release did and found.
type Result struct {
	Target    Target       `json:"target"`
	Case      string       `json:"case,omitempty"`
	Outcome   Outcome      `json:"outcome"`
	Changes   []ItemResult `json:"changes"`
	Residuals []Residual   `json:"residuals,omitempty"`
	// Tampering counts how often someone undid a change.
	Tampering int    `json:"tampering,omitempty"`
	Journal   string `json:"journal"` // its name; empty if it has no plan that could be gone on with or put back
	// Head is the digest of the journal's last line at the end, for a signed record.
	Head string `json:"journal_head,omitempty"`
}

// An ItemResult is what became of one item.
type ItemResult struct {
	Item
	Stage   Stage  `json:"stage"`
	Summary string `json:"summary"`
	// Status is "changed", "already" (it was so before), "failed", "skipped", "holds", "undone",
	// "as-before", "kept", "conflict" or "gone".
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
	Note   string `json:"note,omitempty"`
	Found  State  `json:"found,omitempty"` // of a conflict
}

func (e *Engine) now() time.Time {
	if e.Now != nil {
		return e.Now().UTC()
	}
	return time.Now().UTC()
}

func (e *Engine) sleep(ctx context.Context, d time.Duration) error {
	if e.Sleep != nil {
		return e.Sleep(ctx, d)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (e *Engine) observe(ev Event) {
	if e.Observe != nil {
		ev.Time = e.now()
		e.Observe(ev)
	}
}

func (e *Engine) planner(k Kind) (Service, error) {
	for _, s := range e.Services {
		if slices.Contains(s.Targets(), k) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("nothing here contains targets of the kind %q", k)
}

// driver returns the service that has an item: the part of its kind before the slash is its name.
func (e *Engine) driver(i Item) (Service, error) {
	for _, s := range e.Services {
		if n := len(s.Name()); len(i.Kind) > n && i.Kind[n] == '/' && i.Kind[:n] == s.Name() {
			return s, nil
		}
	}
	return nil, fmt.Errorf("nothing here knows items of the kind %q", i.Kind)
}

// Plan says what would be done to a target. It reads alone, and leaves nothing behind. Its
// error wraps ErrRefused for a target that the guard rails or the service refuse. Stages that others
// rely on cannot be left out alone: that is an error, too.
func (e *Engine) Plan(ctx context.Context, t Target, o Options) (*Plan, error) {
	if err := e.Guard.Check(t, e.Caller); err != nil {
		return nil, err
	}
	s, err := e.planner(t.Kind)
	if err != nil {
		return nil, err
	}
	p, err := s.Plan(ctx, t, o)
	if err != nil {
		return nil, fmt.Errorf("plan containment of %s: %w", t, err)
	}
	// What the target turned out to be may be refused too: the user behind a key, say.
	for _, bears := range append([]Target{p.Target}, p.Touches...) {
		if err := e.Guard.Check(bears, e.Caller); err != nil {
			return nil, err
		}
	}
	p.Version, p.Case, p.Options, p.Caller, p.Made = PlanVersion, o.Case, o, e.Caller, e.now()
	if err := together(p.Changes, o.Without); err != nil {
		return nil, fmt.Errorf("plan containment of %s: %w", t, err)
	}
	p.leave(o.Without)
	p.Waits = slices.DeleteFunc(p.Waits, func(w Wait) bool { return slices.Contains(o.Without, w.Before) })
	if p.Verification == "" {
		p.Verification = ByState
	}
	slices.SortStableFunc(p.Changes, func(a, b Change) int {
		return slices.Index(Stages, a.Stage) - slices.Index(Stages, b.Stage)
	})
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("plan containment of %s: %w", t, err)
	}
	if err := e.simulate(ctx, p); err != nil {
		return nil, err
	}
	return p, nil
}

// check finds plans that could not be applied or released: mistakes of a service.
func (p *Plan) check() error {
	type at struct {
		Item
		Stage
	}
	seen := map[at]bool{}
	for _, c := range p.Changes {
		if !slices.Contains(Stages, c.Stage) {
			return fmt.Errorf("%s: no such stage: %q", c.Item, c.Stage)
		}
		if seen[at{c.Item, c.Stage}] {
			return fmt.Errorf("%s is changed twice in the stage %s", c.Item, c.Stage)
		}
		seen[at{c.Item, c.Stage}] = true
		for _, s := range []State{c.Prior, c.Want} {
			if _, err := canonical(s); err != nil {
				return fmt.Errorf("%s: %w", c.Item, err)
			}
		}
	}
	return nil
}

func (e *Engine) simulate(ctx context.Context, p *Plan) error {
	for _, s := range e.Services {
		sim, ok := s.(Simulator)
		if !ok {
			continue
		}
		denied, unchecked, err := sim.Simulate(ctx, p)
		if err != nil {
			return fmt.Errorf("check permissions for the containment of %s: %w", p.Target, err)
		}
		p.Missing = append(p.Missing, denied...)
		p.Unchecked = append(p.Unchecked, unchecked...)
	}
	return nil
}

// A run is one Apply or Release, with the journal open.
type run struct {
	e       *Engine
	target  Target
	name    string
	journal Journal

	mu     sync.Mutex
	seq    int
	prev   string
	rec    *record // with what this run wrote
	failed error   // of the journal: nothing is appended after it
}

// open opens a target's journal, whole or new.
func (e *Engine) open(ctx context.Context, name string) (*run, error) {
	j, err := e.Journals.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	b, err := j.Load(ctx)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	entries, err := ParseJournal(b)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("journal %s: %w", name, err), j.Close())
	}
	r := &run{e: e, name: name, journal: j, seq: len(entries), rec: fold(entries)}
	if n := len(entries); n > 0 {
		r.prev = digest(lastLine(b))
	}
	if r.rec.plan != nil {
		r.target = r.rec.plan.Target
	}
	return r, nil
}

// write adds an entry, unless ctx has ended. It is durable when write returns nil. A line that is begun is not
// interrupted. A run whose journal failed appends nothing any more, and so makes no change: whether the line
// is there is seen when the journal is opened again.
func (r *run) write(ctx context.Context, en Entry) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	en.Version, en.Seq, en.Time, en.Prev = JournalVersion, r.seq, r.e.now(), r.prev
	line, err := json.Marshal(en)
	if err != nil {
		return fmt.Errorf("encode journal entry: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err := r.journal.Append(ctx, r.seq, append(line, '\n')); err != nil {
		r.failed = fmt.Errorf("%w: nothing is changed without its entry", err)
		return r.failed
	}
	r.seq, r.prev = r.seq+1, digest(line)
	r.rec.add(&en)
	return nil
}

// note is write for what has happened already: it must be told even when ctx has ended.
func (r *run) note(ctx context.Context, en Entry) error {
	return r.write(context.WithoutCancel(ctx), en)
}

// finish writes the end of a run, and returns err with what that came to.
func (r *run) finish(ctx context.Context, res *Result, err error) error {
	end := r.note(ctx, Entry{Kind: EntryEnd, Outcome: res.Outcome})
	res.Head = r.prev
	if errors.Is(err, end) { // the journal's, which is told once
		return err
	}
	return errors.Join(err, end)
}

// history is what the journal tells of an item by now, nil if nothing. It is a copy.
func (r *run) history(i Item) *history {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.rec.byItem[i]
	if h == nil {
		return nil
	}
	c := *h
	c.sets = slices.Clone(h.sets)
	return &c
}

// noteTimeout bounds an entry, and a look at what a call came to after an interruption.
const noteTimeout = 15 * time.Second

func lastLine(b []byte) []byte {
	b = b[:len(b)-1]
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			return b[i+1:]
		}
	}
	return b
}

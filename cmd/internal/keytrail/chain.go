package keytrail

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
)

// A run is one Trace.
type run struct {
	*Tracer
	found   *Found
	part    string // the partition
	history *trail.History

	mu     sync.Mutex
	seen   map[string]*Subject // by key
	known  map[string]bool     // events, by their key
	bytes  int64               // of the events that are kept
	full   bool                // not all events are kept
	places map[string][]inventory.Place
	// pending are those that are still to be followed, again those whose events are to be looked for once more.
	pending, again []*Subject
}

func (r *run) tell(format string, v ...any) {
	if r.Tell != nil {
		r.Tell(fmt.Sprintf(format, v...))
	}
}

// gap notes what could not be looked at.
func (r *run) gap(p inventory.Place, what, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := Gap{Place: p, What: what, Why: why}
	if !slices.Contains(r.found.Gaps, g) {
		r.found.Gaps = append(r.found.Gaps, g)
	}
}

// enter says why calls are not made in an account. The role that is assumed, with its external id, may be asked for by whoever has an
// account, and which accounts there are, the events of an attacker say.
func (r *run) enter(account string) error {
	if account == "" || account == r.found.Account || slices.Contains(r.Accounts, account) {
		return nil
	}
	return NotEntered(account)
}

// NotEntered is the error about an account that only events name.
func NotEntered(account string) error {
	return fmt.Errorf("account %s is not entered, since only the events name it: if it is yours, --account %s", account, account)
}

// where are the places of an account to search; each account is asked once. If it cannot be reached, the caller's own is searched,
// which has what was done there.
func (r *run) where(ctx context.Context, account string) []inventory.Place {
	if list, asked := r.places[account]; asked {
		return list
	}
	f := &inventory.Finder{Config: r.Config, Regions: r.Regions}
	if len(f.Regions) == 0 {
		f.Regions = []string{"all"}
	}
	var list []inventory.Place
	if r.enter(account) == nil { // look names those whose events are missed
		var gaps []inventory.Gap
		list, gaps = f.Where(ctx, account)
		for _, g := range gaps {
			r.found.Gaps = append(r.found.Gaps, Gap{Place: g.Place, What: "events", Why: g.Why, Off: g.Off})
		}
	}
	if len(list) == 0 && account != "" {
		list = r.where(ctx, "")
	}
	r.places[account] = list
	for _, p := range list {
		if !slices.Contains(r.found.Places, p) {
			r.found.Places = append(r.found.Places, p)
		}
	}
	return list
}

// chain follows the subjects: what one round made is among those of the next.
func (r *run) chain(ctx context.Context) {
	for level := r.found.Subjects; len(level) > 0 && ctx.Err() == nil; level = r.take(ctx) {
		for _, s := range level {
			s.looks++
		}
		r.look(ctx, level)
		r.logs(ctx, level)
		r.gather(level)
	}
	r.leave()
	r.untold()
	if r.full {
		r.found.Gaps = append(r.found.Gaps, Gap{What: "events", Why: fmt.Sprintf("there are more than %d, or %d MiB of them, and not all were kept", r.events(), r.room()>>20)})
	}
}

func (r *run) most() int   { return cmp.Or(r.Most, defaultMost) }
func (r *run) events() int { return cmp.Or(r.Events, defaultEvents) }
func (r *run) room() int64 { return cmp.Or(r.Bytes, defaultBytes) }

// look asks the event history for a level of subjects, in all their places at once.
func (r *run) look(ctx context.Context, level []*Subject) {
	type task struct {
		s *Subject
		p inventory.Place
		q question
	}
	var tasks []task
	for _, s := range level {
		if err := r.enter(s.Account); err != nil {
			r.gap(inventory.Place{Account: s.Account}, "events of "+s.Label(), err.Error())
		}
		for _, p := range r.where(ctx, s.Account) {
			for _, q := range s.questions() {
				tasks = append(tasks, task{s, p, q})
			}
		}
	}
	r.tell("what %s did: %d questions to CloudTrail", people(level), len(tasks))
	var g errgroup.Group
	g.SetLimit(parallel)
	for _, t := range tasks {
		g.Go(func() error {
			since := r.Since
			if t.s.since.After(since) {
				since = t.s.since
			}
			a, err := r.history.Look(ctx, t.p, trail.Query{By: t.q.by, Value: t.q.value, Since: since, Until: r.Until, Pages: cmp.Or(r.Pages, defaultPages),
				Take: func(events []trail.Event) { r.keep(t.s, events) }})
			what := "events of " + t.s.Label()
			if err != nil {
				r.gap(t.p, what, err.Error())
			}
			if a.More {
				r.gap(t.p, what, fmt.Sprintf("there are more than %d pages; what was before %s was not read", a.Pages, cmp.Or(a.Oldest, r.found.Until).Format(time.RFC3339)))
			}
			if a.Bad > 0 {
				r.gap(t.p, what, fmt.Sprintf("%d could not be read: %v", a.Bad, a.Why))
			}
			return nil
		})
	}
	g.Wait() //nolint:errcheck // none is returned
}

func people(level []*Subject) string {
	if len(level) == 1 {
		return level[0].Label()
	}
	return fmt.Sprintf("%s and %d more", level[0].Label(), len(level)-1)
}

// logs reads the log files for a level of subjects.
func (r *run) logs(ctx context.Context, level []*Subject) {
	if r.Logs == nil || ctx.Err() != nil {
		return
	}
	r.tell("what %s did: reading %s", people(level), r.LogsName)
	var words []string
	for _, s := range level {
		for _, q := range s.questions() {
			words = append(words, q.value)
		}
	}
	read, err := trail.Files(ctx, r.Logs, words, func(e trail.Event) {
		if e.Time.Before(r.Since) || !r.Until.IsZero() && e.Time.After(r.Until) {
			return
		}
		for _, s := range level {
			if !e.Time.Before(s.since) {
				r.keep(s, []trail.Event{e})
			}
		}
	})
	if err != nil && ctx.Err() == nil {
		r.found.Gaps = append(r.found.Gaps, Gap{What: "log files", Why: err.Error()})
	}
	if r.found.Logs != nil { // each level reads all of them
		return
	}
	r.found.Logs = &read
	if read.Files == 0 {
		r.found.Gaps = append(r.found.Gaps, Gap{What: "log files", Why: "there is none in " + r.LogsName})
	}
	for _, b := range read.Bad {
		r.found.Gaps = append(r.found.Gaps, Gap{What: "log files", Why: b})
	}
}

// keep takes events that are a subject's, each once. Where memory ends, those that gave an identity have as much again: a flood of others
// does not hide them.
func (r *run) keep(s *Subject, events []trail.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if s.Kind == trail.GainFunction && len(s.roles) == 0 && s.named(&e) {
			s.others[e.By.Issuer] = true
		}
		if !s.is(&e) || r.known[e.Key()] {
			continue
		}
		most, room := r.events(), r.room()
		if len(e.Gains) > 0 {
			most, room = 2*most, 2*room
		}
		if len(r.found.Events) >= most || r.bytes+int64(len(e.Raw)) > room {
			r.full = true
			continue
		}
		r.bytes += int64(len(e.Raw))
		r.known[e.Key()] = true
		r.found.Events = append(r.found.Events, Act{e, s.Label()})
	}
}

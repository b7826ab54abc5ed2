package keytrail

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
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
	history *trail.History

	mu     sync.Mutex
	seen   map[string]bool // subjects, by label
	known  map[string]bool // events, by their key
	full   bool            // no more events are kept
	places map[string][]inventory.Place
	left   []string // labels of those that were not followed any more
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
	list, gaps := f.Where(ctx, account)
	for _, g := range gaps {
		r.found.Gaps = append(r.found.Gaps, Gap{Place: g.Place, What: "events", Why: g.Why, Off: g.Off})
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

// chain follows the subjects, level by level: what one level made is the next.
func (r *run) chain(ctx context.Context) {
	level := r.found.Subjects
	for depth := 0; len(level) > 0 && ctx.Err() == nil; depth++ {
		r.look(ctx, level)
		r.logs(ctx, level)
		next := r.next(level, depth)
		if depth >= max(r.Depth, 0) {
			for _, s := range next {
				r.left = append(r.left, s.Label())
			}
			break
		}
		r.found.Subjects = append(r.found.Subjects, next...)
		level = next
	}
	for _, s := range r.left {
		r.found.Gaps = append(r.found.Gaps, Gap{What: s, Why: fmt.Sprintf("not followed: %d steps and %d identities are the bounds", max(r.Depth, 0), r.most())})
	}
	if r.full {
		r.found.Gaps = append(r.found.Gaps, Gap{What: "events", Why: fmt.Sprintf("there are more than %d, and the others were not kept", r.events())})
	}
}

func (r *run) most() int   { return cmp.Or(r.Most, defaultMost) }
func (r *run) events() int { return cmp.Or(r.Events, defaultEvents) }

// look asks the event history for a level of subjects, in all their places at once.
func (r *run) look(ctx context.Context, level []*Subject) {
	type task struct {
		s *Subject
		p inventory.Place
		q question
	}
	var tasks []task
	for _, s := range level {
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
			a, err := r.history.Look(ctx, t.p, trail.Query{By: t.q.by, Value: t.q.value, Since: since, Until: r.Until, Pages: cmp.Or(r.Pages, defaultPages)})
			what := "events of " + t.s.Label()
			if err != nil {
				r.gap(t.p, what, err.Error())
			}
			if a.More {
				r.gap(t.p, what, fmt.Sprintf("there are more than %d pages; what was before %s was not read", a.Pages, oldest(a.Events)))
			}
			if a.Bad > 0 {
				r.gap(t.p, what, fmt.Sprintf("%d could not be read: %v", a.Bad, a.Why))
			}
			r.keep(t.s, a.Events)
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

func oldest(events []trail.Event) string {
	if len(events) == 0 {
		return "then"
	}
	return events[len(events)-1].Time.Format(time.RFC3339)
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

// keep takes events that are a subject's, each once.
func (r *run) keep(s *Subject, events []trail.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range events {
		if !s.is(&e) || r.known[e.Key()] {
			continue
		}
		if len(r.found.Events) >= r.events() {
			r.full = true
			return
		}
		r.known[e.Key()] = true
		r.found.Events = append(r.found.Events, Act{e, s.Label()})
	}
}

// next are the identities that a level made or took, those that are known left out: who assumes in a circle is followed once.
func (r *run) next(level []*Subject, depth int) (list []*Subject) {
	of := map[string]bool{}
	for _, s := range level {
		of[s.Label()] = true
	}
	slices.SortStableFunc(r.found.Events, func(a, b Act) int { return a.Time.Compare(b.Time) })
	for i := range r.found.Events {
		e := &r.found.Events[i]
		if !of[e.Of] {
			continue
		}
		for _, g := range e.Gains {
			s := &Subject{Kind: g.Kind, ID: g.ID, Account: g.Account, Owner: g.Owner, Made: g.Made, Depth: depth + 1, since: e.Time,
				Via: &Step{Of: e.Of, Event: e.Call(), EventID: e.ID, Time: e.Time}}
			if g.Kind == trail.GainInstance || g.Kind == trail.GainFunction {
				s.Region = e.Region
			}
			if r.seen[strings.ToLower(s.Label())] {
				continue
			}
			r.seen[strings.ToLower(s.Label())] = true
			if len(r.found.Subjects)+len(list) >= r.most() {
				r.left = append(r.left, s.Label())
				continue
			}
			list = append(list, s)
		}
	}
	return list
}

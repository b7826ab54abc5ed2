package keytrail

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/cmd/internal/trail"
)

const (
	// maxLooks bounds how often one subject's events are looked for: more than once, if it turns out that it was taken earlier.
	maxLooks = 4
	// maxLeft bounds the gaps about those of one kind that were not followed.
	maxLeft = 20
)

// gather notes whom a level made or took. Who is known is followed once, but again from where it began, if that was earlier than was known.
func (r *run) gather(level []*Subject) {
	of := map[string]*Subject{}
	for _, s := range level {
		of[s.Label()] = s
	}
	slices.SortStableFunc(r.found.Events, func(a, b Act) int { return a.Time.Compare(b.Time) })
	for i := range r.found.Events {
		e := &r.found.Events[i]
		parent := of[e.Of]
		if parent == nil {
			continue
		}
		for _, g := range e.Gains {
			s := &Subject{Kind: g.Kind, ID: g.ID, Account: g.Account, Owner: g.Owner, Made: g.Made, Depth: parent.Depth + 1, since: e.Time, noPath: g.NoPath,
				Via: &Step{Of: e.Of, Event: e.Call(), EventID: e.ID, Time: e.Time}}
			if g.Kind == trail.GainInstance || g.Kind == trail.GainFunction {
				s.Region = e.Region
			}
			if g.Kind == trail.GainFunction {
				s.others = map[string]bool{}
				if strings.HasPrefix(g.Owner, "arn:") {
					s.roles = []string{g.Owner}
				}
			}
			if old := r.seen[s.key()]; old == nil {
				r.seen[s.key()] = s
				r.pending = append(r.pending, s)
			} else if old.widen(s) && old.looks > 0 && !slices.Contains(r.again, old) {
				r.again = append(r.again, old)
			}
		}
	}
}

// widen takes over what another way to the same subject adds to it, and reports whether that is anything.
func (s *Subject) widen(other *Subject) (wider bool) {
	if other.since.Before(s.since) {
		s.since, s.Via, wider = other.since, other.Via, true
	}
	for _, role := range other.roles {
		if !slices.Contains(s.roles, role) {
			s.roles, wider = append(s.roles, role), true
			s.Owner = cmp.Or(s.Owner, role)
		}
	}
	return wider
}

// rank orders those that are to be followed: what lasts comes first.
func (s *Subject) rank() int {
	if s.temporary() {
		return 9
	}
	return slices.Index([]string{trail.GainUser, trail.GainKey, trail.GainRole, trail.GainFunction, trail.GainInstance}, s.Kind)
}

// take takes the next level from those that are pending. Of temporary keys, of which a caller can have any number, there is room for half of what is left,
// so that what the first of them made comes before the rest of them.
func (r *run) take(ctx context.Context) (level []*Subject) {
	slices.SortStableFunc(r.pending, func(a, b *Subject) int { return cmp.Or(a.rank()-b.rank(), a.since.Compare(b.since)) })
	room := r.most() - len(r.found.Subjects)
	half := -1
	var rest []*Subject
	for _, s := range r.pending {
		if s.temporary() && half < 0 {
			half = (room - len(level) + 1) / 2
		}
		if s.Depth > max(r.Depth, 0) || len(level) >= room || s.temporary() && half == 0 {
			rest = append(rest, s)
			continue
		}
		if s.temporary() {
			half--
		}
		if s.noPath {
			s.Owner = r.roleARN(ctx, s.Account, s.ID, s.Owner)
		}
		level = append(level, s)
	}
	r.pending = rest
	r.found.Subjects = append(r.found.Subjects, level...)
	for _, s := range r.again {
		if s.looks < maxLooks {
			level = append(level, s)
		} else {
			r.gap(inventory.Place{}, "events of "+s.Label(), "it was taken earlier than was thought, more than once: what it did from "+s.since.Format(time.RFC3339)+" was not read")
		}
	}
	r.again = nil
	return level
}

// leave names those that were not followed: temporary keys by whose they are, and not too many of the others.
func (r *run) leave() {
	by := map[string]*Subject{}
	for _, s := range r.pending {
		if first := by[s.Owner]; s.temporary() && first != nil {
			first.More++
			continue
		} else if s.temporary() {
			by[s.Owner] = s
		}
		r.found.Left = append(r.found.Left, s)
	}
	named := map[string]int{}
	why := fmt.Sprintf("not followed: %d steps and %d identities are the bounds", max(r.Depth, 0), r.most())
	for _, s := range r.found.Left {
		if named[s.Kind]++; named[s.Kind] <= maxLeft {
			r.found.Gaps = append(r.found.Gaps, Gap{What: s.words(), Why: why})
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(named)) {
		if n := named[kind] - maxLeft; n > 0 {
			r.found.Gaps = append(r.found.Gaps, Gap{What: fmt.Sprintf("%d more of the kind %s", n, kind), Why: why})
		}
	}
}

// words say which subject it is, and whose.
func (s *Subject) words() string {
	switch {
	case s.More > 0:
		return fmt.Sprintf("%d temporary keys of %s", s.More+1, cmp.Or(s.Owner, "an owner that is not known"))
	case s.Kind == trail.GainKey && strings.HasSuffix(s.Owner, ":root"):
		return s.Label() + " of " + s.Owner
	}
	return s.Label()
}

// untold names the calls that gave what the events do not tell, and functions whose doings cannot be told from others'.
func (r *run) untold() {
	type call struct{ of, name, why string }
	calls := map[call]int{}
	var order []call
	for i := range r.found.Events {
		e := &r.found.Events[i]
		c := call{e.Of, e.Service + ":" + e.Call(), e.Untold}
		if c.why == "" {
			continue
		}
		if calls[c]++; calls[c] == 1 {
			order = append(order, c)
		}
	}
	for _, c := range order {
		r.found.Gaps = append(r.found.Gaps, Gap{What: fmt.Sprintf("what %s of %s gave", c.name, c.of), Why: fmt.Sprintf("%s (%d times)", c.why, calls[c])})
	}
	for _, s := range r.found.Subjects {
		if s.Kind == trail.GainFunction && len(s.roles) == 0 {
			why := "the event does not tell its role"
			if roles := slices.Sorted(maps.Keys(s.others)); len(roles) > 0 {
				why += ", and sessions of its name, which may be anyone's, are of " + strings.Join(roles[:min(len(roles), maxLeft)], ", ")
			}
			r.found.Gaps = append(r.found.Gaps, Gap{What: "what " + s.Label() + " did", Why: why})
		}
	}
}

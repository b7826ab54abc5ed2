package stripe

import (
	"fmt"
	"time"
)

// growth decides how many lanes there are.
type growth struct {
	on      bool      // more may help
	replace int       // lanes to make in place of lost ones
	fails   int       // calls of Open that failed in a row
	after   time.Time // not to try again before

	begin time.Time // of the time that is measured
	bytes int64     // at begin
	lanes int       // at begin
	last  float64   // rate before lanes were added; 0: none yet
	had   int       // lanes then
}

const (
	look = time.Second
	// An interval that is judged has at least so many round trips: TCP's slow start takes
	// about ten to reach a window of 2 MiB.
	judgedTrips = 20
	judgedLeast = 3 * time.Second
	// worth is the part of its share that an added lane must bring, or no more are added.
	worth = 0.3
	// dials is how many lanes are made at once: sshd turns connections away while ten
	// are not logged in yet (MaxStartups 10:30:100).
	dials = 4
)

// monitor adds, replaces and relieves lanes until the reader ends.
func (r *Reader) monitor() {
	t := time.NewTicker(look)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		}
		r.mu.Lock()
		if r.err == nil && r.head < r.o.Pieces {
			now := time.Now()
			r.makeUp(now)
			r.watch(now)
			r.grow(now)
		}
		r.mu.Unlock()
	}
}

// makeUp replaces lost lanes. r.mu is held.
func (r *Reader) makeUp(now time.Time) {
	g := &r.growth
	none := len(r.lanes)+r.opening == 0
	if now.Before(g.after) {
		return
	}
	if g.fails > 2 && !none { // those that are left do the rest
		g.replace = 0
	}
	once := dials
	if g.fails > 0 { // a door that turned some away may let one in
		once = 1
	}
	for (g.replace > 0 || none) && r.opening < once {
		g.replace = max(0, g.replace-1)
		none = false
		if len(r.lanes)+r.opening >= r.o.Most {
			g.replace = 0
			return
		}
		r.open(false)
	}
}

// watch looks for lanes that owe bytes and bring none. While others bring some, the link is
// alive, and what the quiet lane owes goes to them. Else a new lane is tried, and takes
// over if it comes up: a link that is down kills no lane. r.mu is held.
func (r *Reader) watch(now time.Time) {
	quiet, alive := false, false
	for l := range r.lanes {
		quiet = quiet || r.isQuiet(l, now)
		alive = alive || now.Sub(l.Last()) < r.o.Quiet/3
	}
	switch {
	case !quiet:
	case alive:
		r.relieve()
	case r.opening == 0 && !now.Before(r.growth.after):
		r.growth.after = now.Add(r.o.Quiet)
		r.open(true)
	}
}

func (r *Reader) isQuiet(l *lane, now time.Time) bool {
	return l.owes && !l.shut && now.Sub(l.Last()) >= r.o.Quiet
}

// relieve ends the quiet lanes. r.mu is held.
func (r *Reader) relieve() {
	now := time.Now()
	for l := range r.lanes {
		if r.isQuiet(l, now) {
			l.shut = true
			r.o.Event(fmt.Sprintf("a connection brought nothing for %s, what it owed is read again", now.Sub(l.Last()).Round(time.Second)))
			l.Close()
		}
	}
}

// grow adds lanes while that makes the reader faster, and only while it waits for them:
// when it is the slower side, more of them would be idle. r.mu is held.
func (r *Reader) grow(now time.Time) {
	g := &r.growth
	if !g.on || r.opening > 0 {
		g.begin = time.Time{}
		return
	}
	n := len(r.lanes)
	if g.begin.IsZero() || n != g.lanes {
		g.begin, g.bytes, g.lanes = now, r.received(), n
		return
	}
	span := now.Sub(g.begin)
	if n == 0 || span < max(judgedLeast, judgedTrips*r.o.RoundTrip) {
		return
	}
	got := r.received()
	rate := float64(got-g.bytes) / span.Seconds()
	g.begin = time.Time{}
	switch {
	case len(r.ready) > buffers(n)/2 || r.next == r.o.Pieces:
		return // who reads is slower, or the end is near
	case g.last > 0 && rate < g.last*(1+worth*float64(n-g.had)/float64(g.had)):
		g.on = false
		r.o.Event(fmt.Sprintf("%d connections are enough: %.1f MB/s, %.1f with %d", n, rate/1e6, g.last/1e6, g.had))
		return
	case n >= r.o.Most:
		g.on = false
		return
	}
	g.last, g.had = rate, n
	add := min(max(1, n/2), r.o.Most-n, dials)
	r.o.Event(fmt.Sprintf("%d connections bring %.1f MB/s, adding %d", n, rate/1e6, add))
	for range add {
		r.open(false)
	}
}

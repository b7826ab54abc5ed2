package main

import (
	"slices"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// A phase is where a host is.
type phase int

const (
	phaseWaiting phase = iota
	phaseConnecting
	phasePlanning // facts are read
	phasePlanned
	phaseRereading // an image of an earlier run
	phaseQueued    // it waits: What says for what
	phasePreparing // from here on the target may hold something of ours
	phaseStreaming
	phaseCleaning
	phaseFinished
)

var phaseNames = [...]string{"waiting", "connecting", "planning", "planned", "reading again", "waiting", "preparing", "streaming", "cleaning", "finished"}

func (p phase) String() string { return phaseNames[p] }

// A hostState is what is known of one host.
type hostState struct {
	Name      string
	Phase     phase
	What      string // of phaseQueued and phasePreparing
	Stalled   bool
	Expected  int64
	Agentless bool          // nothing is loaded or written there
	Freezes   time.Duration // see acquire.Preparing
	Progress  *pipeline.Progress
	Result    *acquire.Result

	since      time.Time // when Phase began
	stallTold  time.Time
	stallBegan time.Time
	GivesUp    time.Duration // after stallBegan

	began   time.Time
	samples []sample // of the last rateWindow
}

// rateWindow is how far back a rate looks: long enough to be calm, short enough to
// show that a link got slower.
const rateWindow = 15 * time.Second

type sample struct {
	at  time.Time
	raw int64
}

// A reading is what a sample of the counters says.
type reading struct {
	Raw      int64         `json:"raw_bytes"`
	Stored   int64         `json:"stored_bytes"`
	Expected int64         `json:"expected_bytes,omitempty"`
	Rate     float64       `json:"bytes_per_second"`
	Left     time.Duration `json:"left_ns,omitempty"` // 0 when not known
}

// read samples the counters at now.
func (h *hostState) read(now time.Time) reading {
	r := reading{Expected: h.Expected}
	if h.Progress == nil {
		return r
	}
	r.Raw, r.Stored = h.Progress.RawBytes.Load(), h.Progress.StoredBytes.Load()
	if len(h.samples) == 0 {
		h.samples = append(h.samples, sample{h.began, 0})
	}
	h.samples = append(h.samples, sample{now, r.Raw})
	for len(h.samples) > 2 && now.Sub(h.samples[1].at) >= rateWindow {
		h.samples = h.samples[1:]
	}
	first := h.samples[0]
	if d := now.Sub(first.at); d > 0 {
		r.Rate = float64(r.Raw-first.raw) / d.Seconds()
	}
	if r.Rate > 0 && r.Expected > r.Raw {
		r.Left = time.Duration(float64(r.Expected-r.Raw) / r.Rate * float64(time.Second))
	}
	return r
}

// hosts are the states of all hosts. It is safe for concurrent use.
type hosts struct {
	mu    sync.Mutex
	order []string
	state map[string]*hostState
}

func newHosts(names []string) *hosts {
	h := &hosts{order: slices.Clone(names), state: map[string]*hostState{}}
	for _, n := range names {
		h.state[n] = &hostState{Name: n}
	}
	return h
}

// apply records an event, and reports whether it is news. It never waits for anything
// but the lock.
func (h *hosts) apply(name string, e acquire.Event, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.state[name]
	if s == nil {
		s = &hostState{Name: name}
		h.state[name] = s
		h.order = append(h.order, name)
	}
	enter := func(p phase, what string) {
		if s.Phase != p || s.What != what {
			s.since = now
		}
		s.Phase, s.What = p, what
	}
	switch e := e.(type) {
	case acquire.Connecting:
		enter(phaseConnecting, "")
	case acquire.Connected:
		enter(phasePlanning, "")
	case acquire.Planned:
		enter(phasePlanned, "")
		if e.Step != nil {
			s.Expected = e.Step.Expected
		}
	case acquire.Rereading:
		enter(phaseRereading, "")
	case acquire.Waiting:
		enter(phaseQueued, e.Why)
	case acquire.Preparing:
		enter(phasePreparing, e.What)
		s.Agentless, s.Freezes = e.Agentless, max(s.Freezes, e.Freezes)
	case acquire.Streaming:
		enter(phaseStreaming, e.What)
		s.Expected, s.Progress, s.began, s.samples = e.Expected, e.Progress, now, nil
	case acquire.Stalled: // comes every second
		news := !s.Stalled || now.Sub(s.stallTold) >= heartbeat
		s.Stalled, s.stallBegan, s.GivesUp = true, now.Add(-e.For), e.GivesUp
		if news {
			s.stallTold = now
		}
		return news
	case acquire.Resumed:
		s.Stalled = false
	case acquire.Cleaning:
		enter(phaseCleaning, "")
		s.Stalled = false
	case acquire.Finished:
		enter(phaseFinished, "")
		s.Result, s.Stalled = e.Result, false
	}
	return true
}

// A look is the state of a host at one moment.
type look struct {
	hostState
	reading
}

// look returns the states of all hosts in order, and samples their counters. The lock
// is not held while somebody prints them.
func (h *hosts) look(now time.Time) []look {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []look
	for _, n := range h.order {
		s := h.state[n]
		r := s.read(now)
		out = append(out, look{*s, r})
	}
	return out
}

// A view shows what happens. Its methods are called from one goroutine.
type view interface {
	// event shows a change of state.
	event(host string, e acquire.Event, at time.Time)
	// tick shows where every host stands; full asks for all of it, as SIGUSR1 does.
	tick(h *hosts, now time.Time, full bool)
	// interval is the time between ticks.
	interval() time.Duration
	close()
}

// A watcher takes events from the engine and gives them to a view from a goroutine
// of its own, so that a slow terminal or a full pipe never holds up a capture.
type watcher struct {
	console *console
	hosts   *hosts
	view    view

	mu     sync.Mutex
	queue  []queued
	wake   chan struct{}
	end    chan struct{}
	ended  chan struct{}
	status chan struct{}
}

// A queued thing is an event, or a line of the story when e is nil.
type queued struct {
	host string
	e    acquire.Event
	at   time.Time
	line string
}

// watch starts a watcher; close ends it.
func watch(c *console, names []string, v view) *watcher {
	w := &watcher{
		console: c, hosts: newHosts(names), view: v,
		wake: make(chan struct{}, 1), end: make(chan struct{}), ended: make(chan struct{}), status: make(chan struct{}, 1),
	}
	go w.run()
	return w
}

// observe is the acquire.Observer.
func (w *watcher) observe(e acquire.Event) { w.observeAs(e.Host(), e) }

func (w *watcher) observeAs(host string, e acquire.Event) {
	now := time.Now()
	if w.hosts.apply(host, e, now) {
		w.add(queued{host: host, e: e, at: now})
	}
}

// fail queues an error that is about no host.
func (w *watcher) fail(err error) {
	w.say("shotglass: error: " + err.Error())
	for _, h := range hints(err) {
		w.say("shotglass: hint: " + h)
	}
}

// say queues a line of the story.
func (w *watcher) say(line string) { w.add(queued{line: line}) }

func (w *watcher) add(q queued) {
	w.mu.Lock()
	w.queue = append(w.queue, q)
	w.mu.Unlock()
	poke(w.wake)
}

// showStatus makes the view show where everything stands, soon.
func (w *watcher) showStatus() { poke(w.status) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// close shows what is queued and ends the view.
func (w *watcher) close() {
	close(w.end)
	<-w.ended
}

func (w *watcher) run() {
	defer close(w.ended)
	defer w.view.close()
	t := time.NewTicker(w.view.interval())
	defer t.Stop()
	for {
		select {
		case <-w.wake:
			w.drain()
		case now := <-t.C:
			w.view.tick(w.hosts, now, false)
		case <-w.status:
			w.view.tick(w.hosts, time.Now(), true)
		case <-w.end:
			w.drain()
			return
		}
	}
}

func (w *watcher) drain() {
	w.mu.Lock()
	q := w.queue
	w.queue = nil
	w.mu.Unlock()
	for _, e := range q {
		if e.e == nil {
			w.console.line(e.line)
			continue
		}
		w.view.event(e.host, e.e, e.at)
	}
}

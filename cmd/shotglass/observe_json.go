package main

import (
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
)

// jsonView prints events and progress as JSON Lines on stdout. What went wrong is told
// on stderr too.
type jsonView struct {
	c     *console
	plain plainView
	every bool // progress too
	ec2   map[string]*ec2Host
}

var _ view = (*jsonView)(nil)

func newJSONView(c *console, progress bool) *jsonView {
	return &jsonView{c: c, plain: plainView{c: c, problems: true}, every: progress}
}

func (v *jsonView) interval() time.Duration { return 2 * time.Second }
func (v *jsonView) close()                  {}

// stateMessage is a "state" line: one change of state of one host.
type stateMessage struct {
	Time     time.Time     `json:"time"`
	Host     string        `json:"host"`
	State    string        `json:"state"`
	What     string        `json:"what,omitempty"`
	Expected int64         `json:"expected_bytes,omitempty"`
	RTT      time.Duration `json:"rtt_ns,omitempty"`
	MaxRate  float64       `json:"max_bytes_per_second,omitempty"`
	For      time.Duration `json:"for_ns,omitempty"`
	GivesUp  time.Duration `json:"gives_up_ns,omitempty"`
	Reasons  []string      `json:"reasons,omitempty"`
	Error    string        `json:"error,omitempty"`
	Hints    []string      `json:"hints,omitempty"`
}

func (v *jsonView) event(host string, e acquire.Event, at time.Time) {
	v.plain.event(host, e, at)
	m := stateMessage{Time: at.UTC(), Host: host}
	switch e := e.(type) {
	case acquire.Connecting:
		m.State = "connecting"
	case acquire.Connected:
		m.State, m.RTT, m.MaxRate = "connected", e.RTT, e.MaxRate
	case acquire.Planned:
		v.c.message("plan", planMessageOf(e.Step, v.ec2[e.Step.Host]))
		return
	case acquire.Waiting:
		m.State, m.What = "waiting", e.Why
	case acquire.Rereading:
		m.State, m.What = "reading again", e.Prior.Location
	case acquire.Preparing:
		m.State, m.What = "preparing", e.What
	case acquire.Streaming:
		m.State, m.Expected, m.What = "streaming", e.Expected, e.What
	case acquire.Stalled:
		m.State, m.For, m.GivesUp = "stalled", e.For, e.GivesUp
	case acquire.Resumed:
		m.State, m.For = "resumed", e.After
	case acquire.Cleaning:
		m.State = "cleaning"
	case acquire.Problem:
		m.State, m.Error, m.Hints = "problem", e.Err.Error(), hints(e.Err)
	case acquire.Rejected:
		m.State, m.What, m.Reasons = "rejected", e.Second, e.Result.Reasons
	case acquire.Finished:
		v.c.message("result", resultMessageOf(e.Result))
		return
	default:
		return
	}
	v.c.message("state", m)
}

// progressMessage is a "progress" line.
type progressMessage struct {
	Time    time.Time `json:"time"`
	Host    string    `json:"host"`
	Stalled bool      `json:"stalled,omitempty"`
	reading
}

func (v *jsonView) tick(h *hosts, now time.Time, full bool) {
	if !v.every && !full {
		return
	}
	for _, l := range h.look(now) {
		if l.Phase == phaseStreaming {
			v.c.message("progress", progressMessage{now.UTC(), l.Name, l.Stalled, l.reading})
		}
	}
}

// planMessage is a "plan" line: what would be, or will be, done to one host.
type planMessage struct {
	*acquire.Step
	EC2   *ec2Host `json:"ec2,omitempty"`
	OK    bool     `json:"ok"`
	Error string   `json:"error,omitempty"`
	Hints []string `json:"hints,omitempty"`
}

func planMessageOf(s *acquire.Step, e *ec2Host) planMessage {
	m := planMessage{Step: s, EC2: e, OK: s.Err == nil}
	if s.Err != nil {
		m.Error, m.Hints = s.Err.Error(), hints(s.Err)
	}
	return m
}

// resultMessage is a "result" line: how one host ended.
type resultMessage struct {
	*acquire.Result
	Error string   `json:"error,omitempty"`
	Hints []string `json:"hints,omitempty"`
}

func resultMessageOf(r *acquire.Result) resultMessage {
	m := resultMessage{Result: r}
	if r.Err != nil {
		m.Error, m.Hints = r.Err.Error(), hints(r.Err)
	}
	return m
}

// summaryMessage is the last line.
type summaryMessage struct {
	Code     int `json:"code"`
	Hosts    int `json:"hosts"`
	Complete int `json:"complete"`
	Partial  int `json:"partial"`
	Failed   int `json:"failed"`

	Raw      int64         `json:"raw_bytes,omitempty"`
	Stored   int64         `json:"stored_bytes,omitempty"`
	Duration time.Duration `json:"duration_ns,omitempty"` // of the whole run
	Left     []string      `json:"left,omitempty"`        // hosts on which something was left

	Log *audit.Saved `json:"audit_log,omitempty"`
}

package acquire

import (
	"errors"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/transport"
)

// Totals sum a plan up.
type Totals struct {
	Hosts int `json:"hosts"`
	Take  int `json:"take"` // can be captured
	Keep  int `json:"keep"` // have an image of an earlier run, to be read again
	// Refused hosts can be neither, by Reason.
	Refused int            `json:"refused"`
	Reasons map[string]int `json:"reasons,omitempty"`

	Bytes int64 `json:"expected_bytes"` // of memory to take, before compression
	// Least is the least time for all of it: of the slowest host by its round trip and limit, and of all
	// by the total limit. 0 when nothing limits it but the machines.
	Least time.Duration `json:"least_ns,omitempty"`
	Space []Space       `json:"space,omitempty"`
}

// Space is what one volume needs and has.
type Space struct {
	Place string `json:"place"`         // the first that lies on it
	Need  int64  `json:"need_bytes"`    // if nothing compresses
	Free  int64  `json:"free_bytes"`    // now
	Short int    `json:"refused_hosts"` // for want of it
}

// Totals sums the plan up.
func (p *Plan) Totals() Totals {
	t := Totals{Hosts: len(p.Steps), Reasons: map[string]int{}, Space: p.space}
	for _, s := range p.Steps {
		switch {
		case s.Prior != nil:
			t.Keep++
		case s.Err != nil:
			t.Refused++
			t.Reasons[s.Reason()]++
		default:
			t.Take++
			t.Bytes += s.Expected
			t.Least = max(t.Least, s.Estimate)
		}
	}
	t.Least = max(t.Least, slowest(t.Bytes, float64(p.opts.LimitTotalRate)))
	return t
}

// Refuse ends the plan in place of Run: no target is touched. The result of a host that could
// have been captured has the error why.
func (p *Plan) Refuse(why error) []Result {
	results := make([]Result, len(p.Steps))
	for i, s := range p.Steps {
		err := why
		if s.Err != nil && s.Prior == nil {
			err = s.Err
		}
		results[i] = Result{Host: s.Host, State: StateFailed, Err: err, Notes: s.Notes}
		p.opts.Observer(Finished{host(s.Host), &results[i]})
	}
	return results
}

// Reasons for which a host cannot be captured, in a word or two.
const (
	ReasonAway    = "not reached"
	ReasonLogin   = "login refused"
	ReasonHostKey = "host key"
	ReasonRoot    = "no root"
	ReasonModule  = "no module"
	ReasonSpace   = "no space"
	ReasonRefused = "cannot be read" // everything that the host's own state forbids
)

// Reason sorts why the host cannot be captured; empty if it can.
func (s *Step) Reason() string {
	var sudo *errSudo
	var space *spaceError
	_, key := errors.AsType[*transport.HostKeyError](s.Err)
	switch {
	case s.Err == nil:
		return ""
	case key:
		return ReasonHostKey
	case errors.Is(s.Err, transport.ErrAuth):
		return ReasonLogin
	case s.Info.Addr == "":
		return ReasonAway
	case errors.As(s.Err, &sudo):
		return ReasonRoot
	case errors.As(s.Err, &space):
		return ReasonSpace
	case errors.Is(s.Err, kernelmodules.ErrNoModule), s.Facts != nil && s.Module == nil && s.opts.Modules == nil:
		return ReasonModule
	}
	return ReasonRefused
}

// A spaceError refuses a host whose image might not fit.
type spaceError struct{ error }

func (e *spaceError) Unwrap() error { return e.error }

// Hint says what helps.
func (e *spaceError) Hint() string {
	return "write to another place (--output), or accept that the disk may fill up with --allow-low-space"
}

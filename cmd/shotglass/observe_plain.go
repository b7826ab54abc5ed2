package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// heartbeat is the time between lines about a stream that goes on.
const heartbeat = 30 * time.Second

// plainView prints one line for each change of state and a heartbeat. Its words are those of
// the terminal view too.
type plainView struct {
	c *console
	// problems only: neither changes of state nor heartbeats
	problems bool
}

var _ view = (*plainView)(nil)

func (v *plainView) interval() time.Duration { return heartbeat }
func (v *plainView) close()                  {}

func (v *plainView) event(host string, e acquire.Event, _ time.Time) {
	if p, ok := e.(acquire.Problem); ok {
		v.c.fail(host, p.Err)
		return
	}
	if r, ok := e.(acquire.Rejected); ok {
		v.c.fail(host, rejectedError(r.Result, "taking a second one through /proc/kcore"))
		return
	}
	if f, ok := e.(acquire.Finished); ok {
		sayFinished(v.c, host, f.Result, v.problems)
		return
	}
	if !v.problems {
		for _, l := range eventLines(e) {
			v.c.info("%s: %s", host, l)
		}
	}
}

// tick tells where everything stands. With many hosts a heartbeat is a line about all, and lines about
// those that stall or are slow; who asks (full) gets a line for each host that is under way or
// in trouble.
func (v *plainView) tick(h *hosts, now time.Time, full bool) {
	if v.problems && !full {
		return
	}
	looks := h.look(now)
	streams, slow := 0, slowRate(looks)
	for _, l := range looks {
		if l.Phase == phaseStreaming {
			streams++
		}
	}
	told := 0
	for _, l := range looks {
		streaming := l.Phase == phaseStreaming
		switch {
		case len(looks) > fewHosts && full && (l.class() == 4 || l.class() == 5): // counted below
		case full && !streaming:
			v.c.info("%s: %s", l.Name, strings.TrimSpace(l.words(now)))
		case streaming && (full || streams <= fewHosts || l.Stalled || l.Rate < slow):
			if told++; full || told <= fewHosts {
				v.c.info("%s: %s", l.Name, streamLine(l))
			}
		}
	}
	if more := told - fewHosts; more > 0 && !full {
		v.c.info("and %d more that stall or are slow", more)
	}
	if len(looks) > 1 && (full || streams > 0) {
		v.c.info("all %d hosts: %s; %s", len(looks), counts(looks), streamLine(look{reading: total(looks)}))
	}
}

// slowRate is the rate below which a stream is worth a line among many: a quarter of the median.
func slowRate(looks []look) float64 {
	var rates []float64
	for _, l := range looks {
		if l.Phase == phaseStreaming {
			rates = append(rates, l.Rate)
		}
	}
	if len(rates) == 0 {
		return 0
	}
	slices.Sort(rates)
	return rates[len(rates)/2] / 4
}

// streamLine says how far a stream is.
func streamLine(l look) string {
	r := l.reading
	line := fmt.Sprintf("%s of %s (%s), %s stored, %s", size(r.Raw), size(r.Expected), percent(r.Raw, r.Expected), size(r.Stored), rate(r.Rate))
	switch {
	case l.Stalled:
		line += ", stalled"
	case r.Left > 0:
		line += ", " + short(r.Left) + " left"
	}
	return line
}

// eventLines says in words what changed.
func eventLines(e acquire.Event) []string {
	switch e := e.(type) {
	case acquire.Connecting:
		return []string{"connecting"}
	case acquire.Connected:
		line := "connected, round trip " + short(e.RTT)
		if e.MaxRate > 0 {
			line += fmt.Sprintf(": one SSH channel carries at most %s", rate(e.MaxRate))
		}
		return []string{line}
	case acquire.Planned:
		return plannedLines(e.Step)
	case acquire.Waiting:
		return []string{e.Why}
	case acquire.Rereading:
		return []string{fmt.Sprintf("reading again the image of %s, %s stored, %s", utc(e.Prior.Created), size(e.Prior.Bytes), e.Prior.Location)}
	case acquire.Preparing:
		return []string{e.What}
	case acquire.Streaming:
		return []string{"streaming" + after(" ", e.What) + ", " + size(e.Expected) + " expected"}
	case acquire.Stalled:
		return []string{fmt.Sprintf("no byte came for %s; giving up after %s", short(e.For), short(e.GivesUp))}
	case acquire.Resumed:
		return []string{fmt.Sprintf("bytes flow again after %s", short(e.After))}
	case acquire.Cleaning:
		return []string{"stream ended, cleaning the target"}
	default:
		return nil
	}
}

// after is what with sep before it, or nothing.
func after(sep, what string) string {
	if what == "" {
		return ""
	}
	return sep + what
}

func plannedLines(s *acquire.Step) []string {
	if s == nil {
		return nil
	}
	line := fmt.Sprintf("%s of memory through %s", size(s.Expected), s.Source)
	if s.Facts != nil {
		line += fmt.Sprintf(", kernel %q", s.Facts.Kernel)
	}
	if s.Privilege != "" {
		line += ", " + s.Privilege
	}
	if s.Estimate > 0 {
		line += fmt.Sprintf(", at least %s at this round trip", short(s.Estimate))
	}
	lines := []string{line}
	if len(s.Swap) > 0 {
		total := int64(0)
		for _, a := range s.Swap {
			total += a.Bytes
		}
		lines = append(lines, fmt.Sprintf("then %s of swap in %s", size(total), plural(len(s.Swap), "area")))
	}
	if n := len(s.Collect); n > 0 && s.Prior == nil {
		bytes, _ := collectCost(s.Collect)
		lines = append(lines, fmt.Sprintf("with it %s from the host, about %s", plural(n, "item"), size(bytes)))
	}
	if s.Prior != nil {
		lines = append(lines, priorLine(s.Prior))
	}
	for _, w := range stepWarnings(s) {
		lines = append(lines, "warning: "+w)
	}
	return lines
}

// sayFinished tells how a host ended. Errors are told in every mode.
func sayFinished(c *console, host string, r *acquire.Result, problems bool) {
	if r == nil {
		return
	}
	if !r.KeptFrom.IsZero() && !problems {
		c.info("%s: complete, kept from %s: %s", host, utc(r.KeptFrom), r.Image.Location)
	} else if r.State == acquire.StateComplete && !problems {
		c.info("%s: complete, %s in %s%s", host, size(r.Image.Raw.Bytes), short(r.Duration), averageOf(r))
	}
	if o := r.Other; o != nil && o.State == acquire.StatePartial && r.State == acquire.StateComplete && !problems {
		c.info("%s: the image that was rejected is kept in %s", host, o.Image.Location)
	}
	if r.State == acquire.StatePartial {
		c.fail(host, &partialError{r})
	} else if r.Err != nil {
		c.fail(host, r.Err)
	}
	if r.Unfrozen != "" {
		c.warn("%s: %s", host, r.Unfrozen)
	}
	for _, l := range r.Left {
		c.warn("%s: left on the target: %s", host, l)
	}
	if r.Fix != "" {
		c.hint(r.Fix)
	}
}

// rejectedError tells of an image that is kept beside a second one.
func rejectedError(r *acquire.Result, then string) error {
	return fmt.Errorf("the content of LiME's image is rejected, %s; it is kept in %s\n%s", then, r.Image.Location, strings.Join(r.Reasons, "\n"))
}

// partialError tells why an image is partial, and that it was kept.
type partialError struct{ r *acquire.Result }

func (e *partialError) Error() string {
	msg := fmt.Sprintf("the image is partial (%s); it is kept in %s", size(e.r.Image.Raw.Bytes), e.r.Image.Location)
	var pending *acquire.PendingError
	if errors.As(e.r.Err, &pending) {
		msg = fmt.Sprintf("the image is in pieces (%s)", size(e.r.Image.Raw.Bytes))
	} else if len(e.r.Reasons) == 0 {
		msg = fmt.Sprintf("the image is whole (%s, %s), but its record is not: it proves nothing", size(e.r.Image.Raw.Bytes), e.r.Image.Location)
	}
	for _, reason := range e.r.Reasons {
		msg += "\n" + reason
	}
	for _, err := range leaves(e.r.Err) {
		if _, known := err.(*acquire.PartialError); !known && !strings.Contains(msg, err.Error()) {
			msg += "\n" + err.Error()
		}
	}
	return msg
}

func (e *partialError) Unwrap() error { return e.r.Err }

// leaves takes joined errors apart.
func leaves(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func averageOf(r *acquire.Result) string {
	if r.Duration <= 0 {
		return ""
	}
	return " (" + rate(float64(r.Image.Raw.Bytes)/r.Duration.Seconds()) + ")"
}

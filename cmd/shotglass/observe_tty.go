package main

import (
	"os"
	"time"

	"golang.org/x/term"

	"github.com/shotglass-ir/shotglass/acquire"
)

// ttyView keeps a line for each host, or for those that matter most, and one for all of them at the
// lower end of the terminal. Above them pass the problems; with a single host, the whole
// story. Nothing is said by colour.
type ttyView struct {
	c     *console
	plain plainView
	hosts int
	began time.Time
}

var _ view = (*ttyView)(nil)

// fewHosts is up to how many hosts warnings of the plan are told one by one.
const fewHosts = 8

// canDraw reports whether a terminal can be drawn on: not the 0×0 ones of some CI
// systems and serial lines, on which bars would be invisible.
func canDraw(stderr any, termName string) bool {
	fd, ok := terminal(stderr)
	if !ok || termName == "dumb" {
		return false
	}
	w, h, err := term.GetSize(fd)
	return err == nil && w > 0 && h > 0 && understandsEscapes(fd)
}

// newScreen makes the screen of standard error, which is a terminal.
func newScreen(c *console) *screen {
	fd, _ := terminal(c.stderr)
	return &screen{
		out:     c.stderr,
		reflows: reflowing(os.Getenv),
		ours:    func() bool { return inForeground(fd) },
		size: func() (int, int) {
			w, h, err := term.GetSize(fd)
			if err != nil {
				return 0, 0
			}
			return w, h
		},
	}
}

func newTTYView(c *console, s *screen, hosts int) *ttyView {
	c.draw(s)
	return &ttyView{c: c, plain: plainView{c: c}, hosts: hosts}
}

func (v *ttyView) interval() time.Duration { return 500 * time.Millisecond }

func (v *ttyView) event(host string, e acquire.Event, at time.Time) {
	if v.began.IsZero() {
		v.began = at
	}
	switch e := e.(type) {
	case acquire.Problem, acquire.Rejected, acquire.Stalled, acquire.Resumed:
	case acquire.Planned:
		if v.hosts > 1 {
			v.warnings(host, e.Step)
			return
		}
	case acquire.Finished:
		if v.hosts > 1 {
			sayFinished(v.c, host, e.Result, true)
			return
		}
	default:
		if v.hosts > 1 {
			return // its line says so
		}
	}
	v.plain.event(host, e, at)
}

func (v *ttyView) warnings(host string, s *acquire.Step) {
	if s == nil || v.hosts > fewHosts {
		return // the plan and the manifests have them
	}
	for _, w := range stepWarnings(s) {
		v.c.warn("%s: %s", host, w)
	}
}

func (v *ttyView) tick(h *hosts, now time.Time, full bool) {
	if full {
		v.plain.tick(h, now, true)
	}
	if v.began.IsZero() {
		return // nothing has happened yet
	}
	s := v.c.drawing()
	width, height := s.size()
	s.draw(layout(h.look(now), now, now.Sub(v.began), width-1, height))
}

func (v *ttyView) close() { v.c.drawing().close() }

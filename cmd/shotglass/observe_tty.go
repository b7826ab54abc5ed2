package main

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/shotglass-ir/shotglass/acquire"
)

// ttyView draws a bar for each host that streams, and one for all of them; lines go
// above. It uses no colour. Nothing is drawn before the first host is touched, so
// that questions about passwords have the terminal to themselves.
type ttyView struct {
	c     *console
	plain plainView
	out   io.Writer
	many  bool
	opts  []mpb.ContainerOption // for tests

	progress *mpb.Progress
	bars     map[string]*hostBar
	total    *hostBar
}

var _ view = (*ttyView)(nil)

// A hostBar is a bar and the words beside it.
type hostBar struct {
	bar   *mpb.Bar
	words atomic.Pointer[string]
}

// canDraw reports whether bars can be drawn: not on the 0×0 terminals of some CI
// systems and serial lines, on which they would be invisible.
func canDraw(stderr any, termName string) bool {
	fd, ok := terminal(stderr)
	if !ok || termName == "dumb" {
		return false
	}
	w, h, err := term.GetSize(fd)
	return err == nil && w > 0 && h > 0
}

func newTTYView(c *console, hosts int) *ttyView {
	return &ttyView{c: c, plain: plainView{c: c}, out: c.stderr, many: hosts > 1, bars: map[string]*hostBar{}}
}

func (v *ttyView) interval() time.Duration { return 500 * time.Millisecond }

func (v *ttyView) start() {
	if v.progress != nil {
		return
	}
	v.progress = mpb.New(append(v.opts, mpb.WithOutput(v.out), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))...)
	v.c.setAbove(v.progress)
	if v.many {
		v.total = v.add("all hosts", 1<<20)
	}
}

func (v *ttyView) add(name string, priority int) *hostBar {
	b := &hostBar{}
	b.say("")
	b.bar = v.progress.New(0, mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]"),
		mpb.BarPriority(priority),
		mpb.PrependDecorators(decor.Name(printable(name)+" ", decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return " " + *b.words.Load() })))
	return b
}

func (b *hostBar) say(words string) {
	words = printable(words)
	b.words.Store(&words)
}

func (v *ttyView) event(host string, e acquire.Event, at time.Time) {
	v.plain.event(host, e, at)
	switch e := e.(type) {
	case acquire.Preparing:
		v.start()
		if v.bars[host] == nil {
			v.bars[host] = v.add(host, len(v.bars))
		}
		v.bars[host].say(e.What)
	case acquire.Streaming:
		if b := v.bars[host]; b != nil {
			b.bar.SetTotal(e.Expected+1, false) // never complete by count: the verdict comes later
			b.say("streaming")
		}
	case acquire.Cleaning:
		if b := v.bars[host]; b != nil {
			b.say("cleaning the target")
		}
	case acquire.Finished:
		if b := v.bars[host]; b != nil {
			b.bar.Abort(true)
			delete(v.bars, host)
		}
	}
}

func (v *ttyView) tick(h *hosts, now time.Time, full bool) {
	if full {
		v.plain.tick(h, now, true)
	}
	if v.progress == nil {
		return
	}
	var all reading
	for _, l := range h.look(now) {
		all.Raw, all.Expected = all.Raw+l.Raw, all.Expected+l.reading.Expected
		if l.Phase != phaseStreaming {
			continue
		}
		all.Rate += l.Rate
		if b := v.bars[l.Name]; b != nil {
			b.bar.SetCurrent(l.Raw)
			b.say(barWords(l.reading, l.Stalled))
		}
	}
	if v.total != nil {
		v.total.bar.SetTotal(all.Expected+1, false)
		v.total.bar.SetCurrent(all.Raw)
		if all.Rate > 0 && all.Expected > all.Raw {
			all.Left = time.Duration(float64(all.Expected-all.Raw) / all.Rate * float64(time.Second))
		}
		v.total.say(barWords(all, false))
	}
}

func barWords(r reading, stalled bool) string {
	words := []string{percent(r.Raw, r.Expected), size(r.Raw) + " of " + size(r.Expected), rate(r.Rate)}
	switch {
	case stalled:
		words = append(words, "stalled")
	case r.Left > 0:
		words = append(words, fmt.Sprintf("%s left", short(r.Left)))
	}
	return strings.Join(words, "  ")
}

func (v *ttyView) close() {
	if v.progress == nil {
		return
	}
	for _, b := range v.bars {
		b.bar.Abort(true)
	}
	if v.total != nil {
		v.total.bar.Abort(true)
	}
	v.c.setAbove(nil)
	v.progress.Wait()
}

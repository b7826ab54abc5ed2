package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/transport"
)

// catchSignals returns a context that the first of SIGINT, SIGTERM and SIGHUP cancels,
// with a *signalError as its cause; first is then called. The second ends the program
// at once with 130, after last had a moment to print. SIGHUP stays ignored when it was
// at the start: that is what nohup asks for.
func catchSignals(ctx context.Context, exit func(int), first func(name string), last func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	ch := make(chan os.Signal, 2)
	for _, s := range endingSignals {
		if s != syscall.SIGHUP || !signal.Ignored(s) {
			signal.Notify(ch, s)
		}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case s := <-ch:
			first(signalName(s))
			cancel(&signalError{signalName(s)})
		case <-stop:
			return
		}
		select {
		case <-ch:
			// Printing may wait for a terminal that takes nothing; leaving does not.
			printed := make(chan struct{})
			go func() { defer close(printed); last() }()
			select {
			case <-printed:
			case <-time.After(2 * time.Second):
			}
			exit(exitInterrupted)
		case <-stop:
		}
	})
	return ctx, func() {
		signal.Stop(ch)
		close(stop)
		wg.Wait()
		cancel(nil)
	}
}

// outliveReader keeps SIGPIPE from ending the program when nobody reads its output any more, until stop is called: who has a mount or a copy
// of memory to remove does that.
func outliveReader() (stop func()) { return onStatusSignal(func() {}) }

func signalName(s os.Signal) string {
	switch s {
	case os.Interrupt:
		return "SIGINT"
	case syscall.SIGTERM:
		return "SIGTERM"
	case syscall.SIGHUP:
		return "SIGHUP"
	default:
		return s.String()
	}
}

// goodbye is what the first signal is answered with.
func goodbye(name string, h *hosts) string {
	for _, l := range h.look(time.Now()) {
		if l.Phase >= phasePreparing && l.Phase < phaseFinished {
			return "shotglass: " + name + ": finishing the partial image and cleaning the target; press Ctrl-C again to leave at once"
		}
	}
	return "shotglass: " + name + ": stopping; press Ctrl-C again to leave at once"
}

// stopping leaves the terminal to the shell, and says what standing still means.
func stopping(c *console, h *hosts) {
	if s := c.drawing(); s != nil {
		s.pause()
	}
	for _, l := range h.look(time.Now()) {
		if l.Phase >= phasePreparing && l.Phase < phaseFinished {
			c.line("shotglass: stopped: nothing is read from the targets until fg or bg; targets that wait too long clean themselves, and their images are partial")
			return
		}
	}
}

// goingOn takes the terminal again.
func goingOn(c *console) {
	if s := c.drawing(); s != nil {
		s.resume()
	}
}

// leftBehind says what a program that leaves now leaves where.
func leftBehind(c *console, h *hosts) {
	if s := c.drawing(); s != nil {
		s.close()
	}
	for _, l := range leftLines(h) {
		c.line(l)
	}
}

// leftLines come in the order of what the reader can do without: the last lines are those
// that stay on a screen.
func leftLines(h *hosts) []string {
	lines := []string{"shotglass: leaving at once; this is where everything stands:"}
	var complete, ended, touched, frozen []string
	untouched := map[phase][]string{}
	for _, s := range h.look(time.Now()) {
		switch {
		case s.Phase < phasePreparing:
			untouched[s.Phase] = append(untouched[s.Phase], s.Name)
		case s.Phase < phaseFinished:
			if s.Freezes > 0 {
				frozen = append(frozen, fmt.Sprintf("%s: its user processes may be frozen; they go on once this connection is gone, or within %s when the link is dead", s.Name, s.Freezes))
			}
			if s.Agentless {
				ended = append(ended, s.Name+": "+s.Phase.String()+", nothing was loaded or written there; the image so far has the suffix .partial and no manifest")
				break
			}
			touched = append(touched, s.Name+": "+s.Phase.String()+", LiME may still be loaded; the image so far has the suffix .partial and no manifest",
				"shotglass: hint: if LiME is still there after 30 s: ssh "+transport.Quote(s.Name)+" 'sudo rmmod lime'")
		case s.Result != nil && s.Result.State == acquire.StateComplete && len(s.Result.Left) == 0:
			complete = append(complete, s.Name+": finished, "+resultWords(s.Result))
		default:
			ended = append(ended, s.Name+": finished, "+resultWords(s.Result))
		}
	}
	lines = append(lines, complete...)
	for p := phaseWaiting; p < phasePreparing; p++ {
		if names := untouched[p]; len(names) > fewHosts {
			lines = append(lines, fmt.Sprintf("%d hosts: %s, nothing was done to them", len(names), p))
		} else {
			for _, n := range names {
				lines = append(lines, n+": "+p.String()+", nothing was done to it")
			}
		}
	}
	lines = append(append(append(lines, ended...), frozen...), touched...)
	if len(touched) > 0 {
		lines = append(lines, "The agent on each target unloads LiME and removes its files by itself once this connection is gone: within 30 s, or, when the link is dead, some minutes after the stall timeout.")
	}
	return lines
}

func resultWords(r *acquire.Result) string {
	if r == nil {
		return "state unknown"
	}
	words := string(r.State)
	if r.Image.Location != "" {
		words += ", " + r.Image.Location
	}
	if len(r.Left) > 0 {
		words += "; left on the target: " + strings.Join(r.Left, ", ")
	}
	return words
}

// exitOnSignal ends the program with 130 at the first signal, for commands that
// leave nothing behind. Without it, Go would exit with 2.
func exitOnSignal(c *console) (stop func()) {
	_, stop = catchSignals(context.Background(), c.exit, func(string) { c.exit(exitInterrupted) }, func() {})
	return stop
}

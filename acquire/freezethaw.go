package acquire

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/transport"
)

// thawLimit bounds a thaw on the target: it takes two seconds.
const thawLimit = 15 * time.Second

// EarlyThaw is a freeze that was ended from here, so that a destination that hangs, or takes next to nothing, does not
// hold up the target. The capture went on.
type EarlyThaw struct {
	// Byte is where in the stream that was: all before it was read while processes stood still.
	Byte int64 `json:"byte"`
	// Waited is for how long no byte had been taken from the target, or no more than Rate tells. Time in which
	// the destination was not waited for does not count.
	Waited time.Duration `json:"waited_ns"`
	Rate   float64       `json:"bytes_per_second,omitempty"` // of memory; below MinRate
}

// patience is how long a destination may take nothing until processes are let go on.
func (o *Options) patience() time.Duration {
	if o.testOnlyPatience > 0 {
		return o.testOnlyPatience
	}
	return o.FreezeLease
}

// A lastByte calls end once its reader gives no more.
type lastByte struct {
	r   io.Reader
	end func()
}

func (l lastByte) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if err != nil {
		l.end()
	}
	return n, err
}

// thawAtEnd returns r, whose end lets go on what was frozen, though the destination may still be
// far from it.
func (c *capture) thawAtEnd(r io.Reader) io.Reader {
	if c.freezer == nil {
		return r
	}
	return lastByte{r, func() { c.startThaw(nil) }}
}

// startThaw lets go on what was frozen, unless that was begun before, and does not wait for it: thaw
// does, and must follow. early says why it is before the end of the stream, if it is.
func (c *capture) startThaw(early *EarlyThaw) {
	if f := c.freezer; f != nil && f.begin(early) {
		f.thawing.Go(func() { f.end(context.Background()) })
	}
}

// begin reports whether thawing was not begun before. Now it is.
func (f *freezer) begin(early *EarlyThaw) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun {
		return false
	}
	f.begun, f.ending, f.use.Thawing = true, true, f.h.clock.now()
	if early != nil {
		f.use.Early = early
		if f.use.Lost == "" {
			took := "no byte"
			if early.Rate > 0 {
				took = fmt.Sprintf("only %.1f kB/s", early.Rate/1e3)
			}
			f.use.Lost = fmt.Sprintf("the destination took %s for %s, so that they were let go on after %d bytes of the stream", took, early.Waited.Round(time.Second), early.Byte)
		}
	}
	return true
}

// thaw lets go on what was frozen, and waits until it has. Without an answer checkThaw looks again. It may be
// called more than once.
func (c *capture) thaw() {
	if c.freezer != nil {
		c.startThaw(nil)
		c.freezer.thawing.Wait()
	}
}

// end tells freeze.sh to thaw, and waits for its end, for thawLimit at most.
func (f *freezer) end(ctx context.Context) {
	close(f.a.beats)
	go func() { // ends with the pipe: the agent's end or cancel below close it
		f.a.order("end")
		f.a.in.Close()
	}()
	ctx, cancel := context.WithTimeout(ctx, thawLimit)
	defer cancel()
	select {
	case <-f.seen:
	case <-ctx.Done():
	}
	for ctx.Err() == nil { // its exit follows at once
		if _, err := f.a.next(ctx); err != nil {
			break
		}
	}
	f.a.cancel()
	<-f.seen
	for range f.a.reports {
	}
	f.a.wg.Wait()
	if !f.ended && !f.use.Frozen.IsZero() && f.use.Lost == "" {
		f.use.Lost = fmt.Sprintf("the watchdog did not answer at the end; it may have thawed up to %s earlier", f.use.Lease)
	}
	if !f.use.Thawed.IsZero() {
		f.h.mark("thawed, after %s", f.use.Thawed.Sub(f.use.Begun).Round(time.Millisecond))
	}
}

// checkThaw looks whether all that was frozen is thawed, where that is not known yet, over a new
// connection if need be, and thaws what is not. What is left is in the cleanup.
func (c *capture) checkThaw(ctx context.Context) {
	f := c.freezer
	if f == nil || !f.use.Thawed.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.CleanupTimeout)
	defer cancel()
	err := f.thawAgain(ctx)
	if c.clean == nil {
		c.clean = &Cleanup{Clean: true, Taint: c.h.facts.Tainted}
	}
	switch {
	case err != nil:
		f.use.Left = f.held()
		c.clean.Left = append(c.clean.Left, fmt.Sprintf("not checked (%v): processes of %d cgroups may be frozen; the watchdog on the target thaws them by itself when its channel closes, or within %s of the last sign of life",
			err, len(f.use.Left), f.use.Lease))
	case len(f.use.Left) > 0:
		c.clean.Left = append(c.clean.Left, fmt.Sprintf("frozen processes in %d cgroups: %q", len(f.use.Left), f.use.Left))
	default:
		c.h.mark("thawed: looked at again")
		return
	}
	c.clean.Clean = false
	fix := sshCommand(c.h.conn.Info(), thawCommand(f.sel, f.use.Left))
	if c.clean.Fix != "" {
		fix = c.clean.Fix + "; " + fix
	}
	c.clean.Fix = fix
	c.h.mark("left on the target: %q", c.clean.Left)
}

// held are the cgroups that were frozen, or may have been.
func (f *freezer) held() (paths []string) {
	for _, g := range f.use.Cgroups {
		if slices.Contains([]string{stateFrozen, stateSlow, stateAsked, stateWarm}, g.State) {
			paths = append(paths, g.Path)
		}
	}
	return paths
}

// thawAgain runs freeze.sh once more, for its end alone. What another user froze stays so.
func (f *freezer) thawAgain(ctx context.Context) error {
	h := f.h
	held := f.held()
	f.use.Left = nil
	if len(held) == 0 || f.use.Begun.IsZero() { // the order to freeze was never given
		f.use.Thawed = h.clock.now()
		return nil
	}
	if err := h.alive(ctx); err != nil {
		return err
	}
	again := &freezer{h: h, sel: f.sel, index: f.index, use: FreezeUse{Cgroups: slices.Clone(f.use.Cgroups)}}
	again.a = h.attend(ctx, freezeScript, nil, h.opts.FreezeLease/5, len(held)+64,
		strconv.Itoa(f.sel.Version), f.sel.Root, strconv.Itoa(int(h.opts.FreezeLease.Seconds())))
	defer func() {
		close(again.a.beats)
		again.a.cancel()
		for range again.a.reports {
		}
		again.a.wg.Wait()
	}()
	r, err := again.a.next(ctx)
	if err != nil {
		return err
	}
	if r.word == "ready" && r.rest != h.facts.BootID {
		h.mark("the target has rebooted since it was frozen")
		f.use.Thawed = h.clock.now()
		return nil
	}
	go again.a.order("take " + strings.Join(held, "\ntake ") + "\nend")
	if err := again.await(ctx, "thawed"); err != nil {
		return err
	}
	f.use.Left, f.use.Thawed = again.use.Left, again.use.Thawed
	return nil
}

// thawCommand is what thaws cgroups by hand.
func thawCommand(sel *freeze.Selection, paths []string) string {
	file, word := "cgroup.freeze", "0"
	if sel.Version == 1 {
		file, word = "freezer.state", "THAWED"
	}
	var files []string
	for _, p := range paths {
		files = append(files, transport.Quote(sel.Root+p+"/"+file))
	}
	return fmt.Sprintf("echo %s | sudo tee %s", word, strings.Join(files, " "))
}

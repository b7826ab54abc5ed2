package acquire

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/freeze"
	"github.com/shotglass-ir/shotglass/transport"
)

//go:embed freezelook.sh
var freezeLookScript string

//go:embed freeze.sh
var freezeScript string

// FreezeUse is what was stopped while memory was read, with Options.Freeze. Times are the
// examiner's, as those of Manifest.Reads.
type FreezeUse struct {
	Hierarchy string        `json:"hierarchy"`
	Lease     time.Duration `json:"lease_ns"`
	Begun     time.Time     `json:"begun"`           // the first cgroup is being frozen
	Frozen    time.Time     `json:"frozen,omitzero"` // all that could be were, or ten seconds had passed
	// Thawing is when thawing was asked for: what was frozen stood still at least until then, unless
	// Lost says otherwise. Thawed is when all was seen to be thawed; zero: see Left.
	Thawing time.Time       `json:"thawing,omitzero"`
	Thawed  time.Time       `json:"thawed,omitzero"`
	Cgroups []FrozenCgroup  `json:"cgroups"`
	Kept    []freeze.Cgroup `json:"kept"` // and why
	// Lost says why processes may have gone on before the stream had ended. Who has root there can
	// let them go on for a moment without this being seen, see docs/freeze.md.
	Lost string   `json:"lost,omitempty"`
	Left []string `json:"left,omitempty"` // may be frozen still
}

// A FrozenCgroup is one, and what became of it.
type FrozenCgroup struct {
	freeze.Cgroup
	State string `json:"state"`
}

// States of a FrozenCgroup.
const (
	stateFrozen  = "frozen"
	stateSlow    = "in part: some of its processes did not stop within 10 s"
	stateGone    = "gone: it ended meanwhile"
	stateRefused = "refused: the kernel did not take the order"
	stateWarm    = "thawed by somebody else before the end"
	stateAlready = "already frozen by somebody else, and left so"
	stateAsked   = "not known: the target did not tell"
)

// A freezer is freeze.sh at work.
type freezer struct {
	h *remote
	a *agent

	mu     sync.Mutex
	use    FreezeUse
	sel    *freeze.Selection
	index  map[string]int // of use.Cgroups, by path
	ending bool           // thawing was asked for
	ended  bool           // freeze.sh has said that it is at its end
	seen   chan struct{}  // closed when nobody reads reports any more
}

// Limits of the steps on the target.
const (
	armLimit  = time.Minute      // a login shell, sudo, a shell
	coldLimit = time.Minute      // freeze.sh takes ten seconds and a little
	thawLimit = 15 * time.Second // it takes two
)

// chooseFreeze looks at the target and decides what is frozen.
func (h *remote) chooseFreeze(ctx context.Context) (*freeze.Selection, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("the target did not tell its processes within 2m"))
	defer cancel()
	nonce := newNonce()
	out, err := h.root(ctx, freezeLookScript, nonce)
	if err != nil {
		return nil, fmt.Errorf("look at the target's processes: %w", err)
	}
	sec, err := sections(out, nonce)
	if err != nil {
		return nil, errors.New("look at the target's processes: the answer ended early")
	}
	v, err := freeze.Parse(sec)
	if err != nil {
		return nil, fmt.Errorf("look at the target's processes: %w", err)
	}
	return v.Choose(h.opts.FreezeExempt)
}

// freeze stops user processes, if that was asked for. Whatever the error, thaw has to follow.
func (c *capture) freeze(ctx context.Context) error {
	if !c.opts.Freeze {
		return nil
	}
	h := c.h
	c.opts.Observer(Preparing{host: host(c.step.Host), What: "freezing user processes", Freezes: h.opts.FreezeLease})
	sel, err := h.chooseFreeze(ctx)
	if err != nil {
		return err
	}
	f := &freezer{h: h, sel: sel, index: map[string]int{}, seen: make(chan struct{})}
	f.use = FreezeUse{Hierarchy: sel.Hierarchy, Lease: h.opts.FreezeLease, Kept: sel.Kept}
	for i, g := range sel.Cgroups {
		f.use.Cgroups = append(f.use.Cgroups, FrozenCgroup{g, stateAsked})
		f.index[g.Path] = i
	}
	f.a = h.attend(ctx, freezeScript, nil, h.opts.FreezeLease/5, len(sel.Cgroups)+64,
		strconv.Itoa(sel.Version), sel.Root, strconv.Itoa(int(h.opts.FreezeLease.Seconds())))
	c.freezer = f
	err = f.cool(ctx)
	f.ending = err != nil
	stood, processes := f.use.Stood()
	go f.listen(func(err error) { c.opts.Observer(Problem{host(c.step.Host), err}) })
	if err != nil {
		return err
	}
	h.mark("froze %d of %d cgroups with %d processes in %s; the watchdog on the target thaws them if it hears nothing for %s",
		stood, len(f.use.Cgroups), processes, f.use.Frozen.Sub(f.use.Begun).Round(time.Millisecond), f.use.Lease)
	return nil
}

// cool starts the watchdog, waits until it says that it is there, and freezes.
func (f *freezer) cool(ctx context.Context) error {
	arm, cancel := context.WithTimeoutCause(ctx, armLimit, fmt.Errorf("the watchdog on the target did not start within %s", armLimit))
	defer cancel()
	if err := f.await(arm, "ready"); err != nil {
		return fmt.Errorf("freeze: start the watchdog: %w", err)
	}
	orders := make(chan error, 1)
	go func() { // a stalled link blocks it, until the agent is stopped
		var b strings.Builder
		for _, g := range f.sel.Cgroups {
			b.WriteString("add " + g.Path + "\n")
		}
		orders <- f.a.order(b.String() + "arm")
	}()
	if err := f.await(arm, "armed"); err != nil {
		return fmt.Errorf("freeze: start the watchdog: %w", err)
	}
	if err := <-orders; err != nil {
		return fmt.Errorf("freeze: start the watchdog: %w", err)
	}
	cold, cancel := context.WithTimeoutCause(ctx, coldLimit, fmt.Errorf("the target did not say within %s what is frozen", coldLimit))
	defer cancel()
	f.use.Begun = f.h.clock.now()
	if err := f.a.order("freeze"); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	if err := f.await(cold, "frozen"); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	f.use.Frozen = f.h.clock.now()
	if f.count(stateFrozen)+f.count(stateSlow) == 0 {
		return &refusal{"freeze: no cgroup could be frozen: " + f.use.Cgroups[0].State, "leave --freeze out"}
	}
	return nil
}

// await reads reports up to one.
func (f *freezer) await(ctx context.Context, word string) error {
	for {
		r, err := f.a.next(ctx)
		if err != nil {
			return err
		}
		f.note(r)
		if r.word == word {
			return nil
		}
		if f.use.Lost != "" {
			return errors.New(f.use.Lost)
		}
	}
}

// note takes what a report says.
func (f *freezer) note(r report) {
	f.mu.Lock()
	defer f.mu.Unlock()
	state := map[string]string{"cold": stateFrozen, "slow": stateSlow, "gone": stateGone, "refused": stateRefused, "already": stateAlready}[r.word]
	i, ours := f.index[r.rest]
	switch {
	case state != "" && ours:
		f.use.Cgroups[i].State = state
	case r.word == "warm" && ours:
		f.use.Cgroups[i].State = stateWarm
		if f.use.Lost == "" {
			f.use.Lost = fmt.Sprintf("somebody else on the target thawed %q", r.rest)
		}
	case r.word == "left" && ours:
		f.use.Left = append(f.use.Left, r.rest)
	case r.word == "thawed":
		f.ended = true
		if len(f.use.Left) == 0 {
			f.use.Thawed = f.h.clock.now()
		}
	case r.word == "expired": // what it thawed may have been taken for somebody else's doing
		f.use.Lost = fmt.Sprintf("the watchdog on the target thawed before the end (%s)", strings.Join(strings.Fields(printableWords(r.rest)), " "))
	case r.word == "unguarded":
		f.h.mark("the guard of the watchdog on the target was gone, another was started")
	}
}

// printableWords keeps letters and spaces of what a target said.
func printableWords(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r == ' ' {
			return r
		}
		return -1
	}, s)
}

// count counts cgroups in a state.
func (f *freezer) count(state string) (n int) {
	for _, g := range f.use.Cgroups {
		if g.State == state {
			n++
		}
	}
	return n
}

// listen reads reports until the watchdog has ended, and tells at once if that was before its time.
func (f *freezer) listen(tell func(error)) {
	defer close(f.seen)
	told := false
	for {
		r, err := f.a.next(context.Background())
		if err == nil {
			f.note(r)
		}
		f.mu.Lock()
		if err != nil && !f.ending && f.use.Lost == "" {
			f.use.Lost = fmt.Sprintf("the watchdog on the target ended: %v", err)
		}
		lost := f.use.Lost
		f.mu.Unlock()
		if lost != "" && !told {
			told = true
			f.h.mark("processes of the target are frozen no more: %s", lost)
			tell(errors.New("processes of the target are frozen no more: " + lost))
		}
		if err != nil || r.word == "thawed" {
			return
		}
	}
}

// thaw lets go on what was frozen, as soon as memory has been read. Without an answer checkThaw
// looks again.
func (c *capture) thaw(ctx context.Context) {
	f := c.freezer
	if f == nil {
		return
	}
	f.mu.Lock()
	f.ending, f.use.Thawing = true, c.h.clock.now()
	f.mu.Unlock()
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
		c.h.mark("thawed, after %s", f.use.Thawed.Sub(f.use.Begun).Round(time.Millisecond))
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

// record writes what was frozen into the manifest.
func (f *freezer) record(m *Manifest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	use := f.use
	m.Freeze = &use
	if why := f.unfrozen(); why != "" {
		m.Anomalies = append(m.Anomalies, why)
	}
}

// unfrozen says why not all that was to be frozen was, throughout the stream, or nothing.
func (f *freezer) unfrozen() string {
	var why []string
	if f.use.Lost != "" {
		why = append(why, "user processes were not frozen to the end: "+f.use.Lost)
	}
	for _, s := range []struct{ state, what string }{{stateSlow, "stopped in part only"}, {stateRefused, "could not be stopped"}, {stateAsked, "may not have stopped, the target did not tell"}} {
		if n := f.count(s.state); n > 0 && !f.use.Begun.IsZero() {
			why = append(why, fmt.Sprintf("%d of %d cgroups %s, see freeze in the manifest", n, len(f.use.Cgroups), s.what))
		}
	}
	return strings.Join(why, "; ")
}

// Stood counts what was frozen, as asked and in whole, and the processes in it.
func (u *FreezeUse) Stood() (cgroups, processes int) {
	for _, g := range u.Cgroups {
		if g.State == stateFrozen {
			cgroups++
			processes += g.Processes
		}
	}
	return cgroups, processes
}

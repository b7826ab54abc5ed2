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
	// Early is set if they were let go on from here before the stream had ended.
	Early *EarlyThaw `json:"early,omitempty"`
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
	begun  bool           // thawing was, see begin
	ending bool           // nothing that ends the watchdog is a loss any more
	ended  bool           // freeze.sh has said that it is at its end
	seen   chan struct{}  // closed when nobody reads reports any more

	thawing sync.WaitGroup // end
}

// Limits of the steps on the target.
const (
	armLimit  = time.Minute // a login shell, sudo, a shell
	coldLimit = time.Minute // freeze.sh takes ten seconds and a little
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
	case r.word == "expired" && f.use.Early == nil: // what it thawed may have been taken for somebody else's doing
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

// record writes what was frozen into the manifest. What is reported later changes it no more.
func (f *freezer) record(m *Manifest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	use := f.use
	use.Cgroups, use.Left = slices.Clone(use.Cgroups), slices.Clone(use.Left)
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

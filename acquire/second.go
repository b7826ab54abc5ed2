package acquire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/shotglass-ir/shotglass/sink"
)

// With MethodAuto a host whose LiME image came whole over the wire, and is not its memory, is
// read again through /proc/kcore. Both images are kept, and name each other.

// contents are the checks that fail when what came is not the memory, though all of it came.
// Whatever else fails, a lost link or a full disk, another source would not mend.
var contents = []string{checkRecords, checkRanges, checkBanner, checkZeroFill, checkParameter, checkInsmod}

// rejects names the checks for which an image that came to its end is not to be used.
func rejects(checks []Check) (names []string) {
	unknown := 0
	for _, c := range checks {
		switch {
		case slices.Contains([]string{checkStream, checkStored, checkPeer}, c.Name) && c.Result != Pass:
			return nil
		case slices.Contains(contents, c.Name) && c.Result == Fail:
			names = append(names, c.Name)
		case (c.Name == checkZeroFill || c.Name == checkParameter) && c.Result == Unknown:
			unknown++
		}
	}
	if unknown == 2 { // nothing excludes LiME's zero fill; /proc/kcore has none
		names = append(names, checkZeroFill)
	}
	return names
}

// Values of OtherImage.Order.
const (
	orderBefore = "before"
	orderAfter  = "after"
)

// OtherImage is the other image of a host that has two.
type OtherImage struct {
	Name string `json:"name"`
	// Order is before or after, from the image of this manifest. One after it was to be taken:
	// its own manifest says what became of it.
	Order  string `json:"order"`
	Source string `json:"source"`
	// Rejected are the checks that the first image failed.
	Rejected []string `json:"rejected"`
	// Manifest is that of the image before, as it was written.
	Manifest *Reference `json:"manifest,omitempty"`
}

// spare reports whether another source can follow if the image of the first is rejected.
func (s *Step) spare() bool {
	return s.Err == nil && len(s.others) > 0 && s.Source == MethodLime && s.opts.Method == MethodAuto
}

// nameSeconds names the second images of steps whose method allows one; inUse says which
// names are taken, and take takes one.
func (p *Plan) nameSeconds(inUse func(*Step, string) bool, take func(*Step, string)) {
	for _, s := range p.Steps {
		if s.opts.Method != MethodAuto {
			continue
		}
		base, ext, ours := strings.Cut(s.Name, "-mem.lime")
		if ours {
			ext = "-mem.lime" + ext
		} else if i := strings.IndexByte(s.Name, '.'); i > 0 {
			base, ext = s.Name[:i], s.Name[i:]
		}
		base += "-" + MethodKcore
		name := base + ext
		for n := 2; inUse(s, name); n++ {
			name = fmt.Sprintf("%s-%d%s", base, n, ext)
		}
		if validImageName(s.opts.Sink, name) != nil {
			continue // too long: prepareSecond says so
		}
		take(s, name)
		s.Second = name
	}
}

// A ledger knows how many bytes the captures of a plan may still write to each volume. It is
// safe for concurrent use.
type ledger struct {
	mu    sync.Mutex
	needs map[string]int64
}

func (l *ledger) add(volume string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.needs == nil {
		l.needs = map[string]int64{}
	}
	l.needs[volume] += n
}

// needed is the most that an image of the step takes, with what lies beside it.
func (s *Step) needed() int64 {
	swap, _ := s.swapRoom()
	return s.Expected + swap + (s.Expected+swap)>>8 + s.collectRoom() + overhead
}

// settle gives back the room that the plan kept for the step.
func (s *Step) settle() {
	if s.volume != "" {
		s.room.add(s.volume, -s.needed())
		s.volume = ""
	}
}

// roomForSecond refuses a second image for which there is no room beside what the other
// captures may still write. The first one's room is used up.
func (s *Step) roomForSecond(ctx context.Context) error {
	sc, ok := s.opts.Sink.(sink.SpaceChecker)
	if !ok || s.volume == "" || s.opts.AllowLowSpace {
		return nil
	}
	free, err := sc.Free(ctx)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", s.opts.Sink, err)
	}
	s.room.mu.Lock()
	others := s.room.needs[s.volume] - s.needed()
	s.room.mu.Unlock()
	if left := free - others; left < s.needed() {
		return &spaceError{fmt.Errorf("%s has %d MiB left beside what other captures may need, a second image may need %d MiB", s.opts.Sink, max(left, 0)>>20, s.needed()>>20)}
	}
	return nil
}

// prepareSecond decides whether a second image follows the one that m records, and says so in
// m. It changes nothing on the target.
func (c *capture) prepareSecond(ctx context.Context, m *Manifest) {
	s := c.step
	why := rejects(m.Checks)
	if m.Complete || len(why) == 0 || !s.spare() || ctx.Err() != nil {
		return
	}
	err := c.readyForSecond(ctx)
	if err != nil {
		err = fmt.Errorf("the content of LiME's image is rejected (%s), and no second one is taken: %w", strings.Join(why, ", "), err)
		c.h.mark("%v", err)
		c.opts.Observer(Problem{host(s.Host), err})
		return
	}
	m.Other = &OtherImage{Name: s.Second, Order: orderAfter, Source: s.others[0].Name(), Rejected: why}
	c.h.mark("the content of this image is rejected (%s), taking a second one through %s as %s", strings.Join(why, ", "), m.Other.Source, s.Second)
	c.rejected = why
}

// readyForSecond says why no second image can be taken.
func (c *capture) readyForSecond(ctx context.Context) error {
	if c.step.Second == "" {
		return fmt.Errorf("no name for it can be made of %s", c.step.Name)
	}
	if !c.clean.Clean {
		return errors.New("the target is not clean")
	}
	if err := c.step.roomForSecond(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.CleanupTimeout)
	defer cancel()
	if err := c.h.alive(ctx); err != nil {
		return err
	}
	return c.step.others[0].Probe(ctx, c.h)
}

// second takes the second image, and returns the result of the host: that of the second image if
// it is complete, else of the first. It has the other one's.
func (c *capture) second(ctx context.Context, first Result) Result {
	c.opts.Observer(Rejected{host(c.step.Host), &first, c.step.Second})
	s := *c.step // the first is the plan's, which others may be reading
	s.Candidates = slices.Clone(s.Candidates)
	for i := range s.Candidates {
		if s.Candidates[i].Source == s.Source {
			s.Candidates[i].OK, s.Candidates[i].Reason = false, "the content of its image was rejected: "+strings.Join(first.Reasons, "; ")
		}
	}
	before := &OtherImage{Name: s.Name, Order: orderBefore, Source: s.Source, Rejected: c.rejected}
	if sum := first.ManifestDigest.SHA256; sum != "" {
		before.Manifest = &Reference{Name: manifestName(c.opts.Sink, s.Name, false), SHA256: sum}
	}
	next := s.others[0]
	s.others = s.others[1:]
	s.Name, s.Second = s.Second, ""
	s.take(next)
	// What LiME did to the target stays on record in both.
	d := &capture{step: &s, h: c.h, opts: c.opts, failed: append(c.failed, c.src), other: before}
	res := d.run(ctx)
	follow := s.opts.Swap && len(d.h.facts.Swap) > 0 || len(s.opts.Collect) > 0
	if follow && res.State == StateFailed && res.Manifest == "" {
		// Swap was to follow this image: that it is missing is on record though nothing was begun. What is collected
		// can still be.
		d.recordEmpty(ctx, res.Err, &res)
	}
	if res.State != StateComplete {
		first.Other = &res
		first.Left, first.Fix, first.Interrupted = res.Left, res.Fix, res.Interrupted
		first.Err = errors.Join(first.Err, fmt.Errorf("second image: %w", res.Err))
		return first
	}
	res.Other = &first
	return res
}

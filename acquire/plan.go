package acquire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// channelWindow is the window of one channel of x/crypto/ssh, in bytes: no
// more can be under way, so a channel carries at most this per round trip.
const channelWindow = 2 << 20

// slowRTT is the round trip from which the window, not the machines, limits the
// rate: 2 MiB in 10 ms are 210 MB/s.
const slowRTT = 10 * time.Millisecond

// NewPlan connects to the targets of jobs and plans a step for each. It reads only:
// nothing is written on the targets or here. What stops one target is in its Step.Err;
// the error is about all of them (bad options, ctx ended).
func NewPlan(ctx context.Context, jobs []Job, opts Options) (*Plan, error) {
	opts = opts.withDefaults()
	opts.totalRate = newLimit(opts.LimitTotalRate)
	p := &Plan{opts: opts}
	for _, j := range jobs {
		s := &Step{Target: j.Target, Host: j.Host, Name: j.Name, Labels: j.Labels, check: j.Check, last: j.CheckPlan, share: j.CheckShare, before: j.Before, after: j.After, opts: j.options(opts)}
		s.Recipients = agefile.Names(s.opts.Recipients)
		if s.Host == "" {
			s.Host = j.Target.Name
		}
		p.Steps = append(p.Steps, s)
	}
	if err := p.look(ctx); err != nil {
		return nil, err
	}
	if err := p.nameImages(); err != nil {
		return nil, err
	}
	var g errgroup.Group
	p.files = newFileBudget(opts.OpenFiles)
	slots := make(slots, p.files.connecting)
	var held, done atomic.Int64
	for _, s := range p.Steps {
		g.Go(func() error {
			s.Err = s.plan(ctx, s.opts, slots)
			switch {
			case s.Err != nil, s.Prior != nil:
				s.park() // not needed now, or perhaps never
			case p.files.held > 0 && held.Add(1) > int64(p.files.held):
				s.park() // connected to again when its turn comes
			}
			if s.Err == nil {
				opts.Observer(Planned{host(s.Host), s})
			}
			if n := int(done.Add(1)); opts.Looked != nil {
				opts.Looked(n, len(p.Steps))
			}
			return nil
		})
	}
	g.Wait()
	if ctx.Err() != nil {
		p.Close()
		return nil, context.Cause(ctx)
	}
	p.checkShares()
	p.checkSpace(ctx)
	if t := p.Totals(); p.files.warn(opts.OpenFiles, t.Take+t.Keep) != "" {
		p.Warnings = append(p.Warnings, p.files.warn(opts.OpenFiles, t.Take+t.Keep))
	}
	return p, nil
}

// besides returns the suffixes of the files that may lie beside an image in s.
func besides(s sink.Sink) []string {
	suffixes := []string{FramesSuffix, ManifestSuffix, ManifestSuffix + SignatureSuffix, InterimSuffix, InterimSuffix + SignatureSuffix, LiveSuffix, LiveSuffix + agefile.Suffix}
	if sink.IsNeutral(s) {
		suffixes = append(suffixes, PartialManifestSuffix, PartialManifestSuffix+SignatureSuffix)
	}
	return suffixes
}

// nameImages gives each step a name that no other in the same place has.
func (p *Plan) nameImages() error {
	type file struct{ place, name string }
	taken := map[file]bool{}
	at := func(s *Step, name string) file {
		return file{fmt.Sprint(s.opts.Sink), strings.ToLower(name)} // some file systems fold case
	}
	for _, s := range p.Steps {
		if s.Name == "" {
			continue
		}
		if err := validImageName(s.opts.Sink, s.Name); err != nil {
			return err
		}
		if s.opts.Swap { // the names of its swap areas, too
			f := at(s, swapStem(s.Name)+"-swap")
			if taken[f] {
				return fmt.Errorf("one name cannot serve several targets and their swap areas: %s", s.Name)
			}
			taken[f] = true
		}
		if f := at(s, s.Name); taken[f] {
			return fmt.Errorf("one name cannot serve several targets: %s", s.Name)
		} else {
			taken[f] = true
		}
	}
	inUse := func(s *Step, name string) bool { return taken[at(s, name)] || p.inUse(s, name) }
	for _, s := range p.Steps {
		if s.Name == "" || !p.inUse(s, s.Name) {
			continue
		}
		// A capture never appends and never replaces: what is taken anew gets another name.
		base, ext, _ := strings.Cut(s.Name, ".")
		for n := 2; inUse(s, s.Name); n++ {
			s.Name = fmt.Sprintf("%s-%d.%s", base, n, ext)
		}
		taken[at(s, s.Name)] = true
	}
	stamp := p.opts.Now().UTC().Format("20060102T150405Z")
	for _, s := range p.Steps {
		if s.Name != "" {
			continue
		}
		name := imageName(s.Host, stamp, p.opts.Compression)
		if len(s.opts.Recipients) > 0 {
			name += agefile.Suffix
		}
		base, ext, _ := strings.Cut(name, "-mem.lime")
		for n := 2; inUse(s, name); n++ {
			name = fmt.Sprintf("%s-%d-mem.lime%s", base, n, ext)
		}
		taken[at(s, name)] = true
		s.Name = name
	}
	p.nameSeconds(inUse, func(s *Step, name string) { taken[at(s, name)] = true })
	return nil
}

// ValidImageName refuses names that could not carry the files beside the image, or
// could be taken for one of them.
func ValidImageName(name string) error { return validImageName(nil, name) }

// validImageName does so for a name in a sink.
func validImageName(s sink.Sink, name string) error {
	for _, suffix := range besides(s) {
		if err := sink.ValidName(name + suffix); err != nil {
			return err
		}
	}
	for _, suffix := range []string{FramesSuffix, ManifestSuffix, InterimSuffix, SignatureSuffix, sink.PartialSuffix} {
		if strings.HasSuffix(name, suffix) {
			return fmt.Errorf("name %q: must not end in %s, which the files beside an image do", name, suffix)
		}
	}
	if _, ok := liveOwner(name); ok {
		return fmt.Errorf("name %q: must not be that of what is collected beside an image", name)
	}
	if is, _ := IsSwap(name); is {
		return fmt.Errorf("name %q: must not be that of a swap area beside an image", name)
	}
	if _, segment := sink.SegmentOf(name); segment {
		return fmt.Errorf("name %q: must not end as the segments of a large image do", name)
	}
	return sink.ValidName(name)
}

// imageName is <host>-<UTC time>-mem.lime[.zst|.s2], in safe characters.
func imageName(name, stamp, compression string) string {
	if _, h, ok := strings.Cut(name, "@"); ok {
		name = h
	}
	safe := []byte(name)
	for i, c := range safe {
		if sink.ValidName("a"+string(c)+"a") != nil {
			safe[i] = '_'
		}
	}
	base := strings.TrimLeft(string(safe), ".-")
	base = base[:min(len(base), 100)]
	if base == "" {
		base = "host"
	}
	return base + "-" + stamp + "-mem.lime" + frame.Suffix(compression)
}

// plan fills the step for one target.
func (s *Step) plan(ctx context.Context, opts *Options, slots slots) error {
	h := &remote{name: s.Host, target: s.Target, opts: opts}
	s.host = h
	if err := slots.enter(ctx); err != nil {
		return err
	}
	defer slots.leave()
	opts.Observer(Connecting{host(s.Host)})
	if err := h.dial(ctx, slots); err != nil {
		return s.stop(dialObstacle(err), s.unreached(err))
	}
	s.Info = h.conn.Info()
	h.mark("connected as %s to %s", s.Info.User, s.Info.Addr)
	up := Connected{host: host(s.Host), RTT: s.Info.RTT}
	if s.Info.RTT >= slowRTT {
		up.MaxRate = channelWindow / s.Info.RTT.Seconds()
	}
	opts.Observer(up)

	if err := h.learn(ctx); err != nil {
		return s.stop(factsObstacle(err), s.unreached(err))
	}
	if opts.Resume != nil {
		s.Facts = h.facts
		s.compare()
		if err := s.awaitUnload(ctx); err != nil {
			return s.stop(ObstacleFacts, err)
		}
	}
	s.planned = time.Now()
	s.Facts, s.Privilege = h.facts, h.priv.kind
	s.Expected = lime.Total(h.facts.RAM)
	if s.check != nil {
		if err := s.judged(s.check(s.Facts)); err != nil {
			return s.stop(ObstacleFacts, err)
		}
	}
	if err := s.findZip(ctx); err != nil {
		return s.stop(factsObstacle(err), err)
	}
	err := s.stop(ObstacleSource, s.chooseSource(ctx))
	if !s.spare() {
		s.Second = ""
	}
	s.planSwap()
	s.planCollect()
	if opts.Freeze {
		var ferr error
		s.Freeze, ferr = h.chooseFreeze(ctx)
		if err == nil {
			s.stop(ObstacleFreeze, ferr) //nolint:errcheck // joined below
		}
		err = errors.Join(err, ferr)
	}
	s.warn()
	if err != nil {
		return err
	}
	if s.last != nil {
		if err := s.judged(s.last(s)); err != nil {
			return s.stop(ObstacleTime, err)
		}
	}
	if c, ok := opts.Sink.(sink.Checker); ok && opts.CheckSink {
		names := []string{s.Name}
		for _, suffix := range besides(opts.Sink) {
			names = append(names, s.Name+suffix)
		}
		for _, a := range s.Swap {
			names = append(names, a.File, a.File+FramesSuffix)
		}
		for _, name := range names {
			if err := c.Check(ctx, name); err != nil {
				return s.stop(ObstacleDestination, fmt.Errorf("cannot write to %s: %w", opts.Sink, err))
			}
		}
		if t, ok := opts.Sink.(sink.Teller); ok {
			for _, text := range t.Tell() {
				h.mark("destination: %s", text)
			}
		}
	}
	s.warnSpill(ctx, opts)
	return nil
}

// judged takes what a check of the job says.
func (s *Step) judged(warning string, err error) error {
	if err == nil && warning != "" {
		s.Warnings = append(s.Warnings, warning)
	}
	return err
}

// warn lists what the user should know before the capture.
func (s *Step) warn() {
	f := s.Facts
	for _, sw := range f.Swap {
		if s.opts.Swap {
			break
		}
		s.Warnings = append(s.Warnings, fmt.Sprintf("swap %q (%s, %d MiB, %d MiB used) is not captured: --swap reads it, too", sw.Name, sw.Type, sw.Bytes>>20, sw.Used>>20))
	}
	if f.ClockOffset.Abs() > f.ClockError+2*time.Second {
		s.Warnings = append(s.Warnings, fmt.Sprintf("the target's clock is off by %s", f.ClockOffset.Round(time.Millisecond)))
	}
	if dir, fstype := f.ramFolder(); fstype != "tmpfs" && fstype != "ramfs" && s.Source == MethodLime {
		s.Warnings = append(s.Warnings, fmt.Sprintf("no folder in RAM was found: the module is pushed to %s, which may be on a disk", dir))
	}
	if !f.Kcore {
		s.Warnings = append(s.Warnings, "/proc/kcore is not readable: zero fill can be excluded by LiME's parameters only")
	}
	if f := s.Freeze; f != nil {
		for _, e := range f.Unused {
			s.Warnings = append(s.Warnings, fmt.Sprintf("no process is exempted from freezing by %q", e))
		}
	}
	if s.Source == MethodAvml {
		s.Warnings = append(s.Warnings, "AVML leaves out pieces of memory that are all zeros, and the last byte of each range: the image is partial unless --accept-unreadable accepts so many pages")
	}
	if s.Info.HostKeyTrust == "insecure" {
		s.Warnings = append(s.Warnings, "the host key was not checked")
	}
}

// warnSpill says when the folder of a sink that spills has no room for the whole image: it is needed
// from when the bucket fails.
func (s *Step) warnSpill(ctx context.Context, opts *Options) {
	sp, ok := opts.Sink.(sink.Spiller)
	if !ok || sp.Spill() == nil {
		return
	}
	free, err := sp.Spill().Free(ctx)
	need := s.needed()
	switch {
	case err != nil:
		s.Warnings = append(s.Warnings, fmt.Sprintf("the spill folder: free space is not known: %v", err))
	case free < need:
		s.Warnings = append(s.Warnings, fmt.Sprintf("the spill folder has %d MiB left, which all hosts share; should the bucket fail at once, this image may need %d MiB", free>>20, need>>20))
	}
}

// checkSpace refuses the steps for which their sink has no room, in the worst case
// that nothing compresses. Sinks on one volume share its room.
func (p *Plan) checkSpace(ctx context.Context) {
	volumes, left := map[string]int{}, map[string]int64{}
	for _, s := range p.Steps {
		sc, ok := s.opts.Sink.(sink.SpaceChecker)
		if !ok || s.Err != nil || s.Prior != nil {
			continue
		}
		volume := sc.Volume()
		if _, known := volumes[volume]; !known {
			free, err := sc.Free(ctx)
			if err != nil {
				s.Err = s.stop(ObstacleDestination, fmt.Errorf("free space of %s: %w", s.opts.Sink, err))
				continue
			}
			volumes[volume], left[volume] = len(p.space), free
			p.space = append(p.space, Space{Place: fmt.Sprint(s.opts.Sink), Free: free})
		}
		v := &p.space[volumes[volume]]
		need := s.needed()
		v.Need += need
		if left[volume] < need && !p.opts.AllowLowSpace {
			v.Short++
			s.Obstacle = ObstacleRoom
			s.Err = &spaceError{fmt.Errorf("%s has %d MiB left, the image may need %d MiB", s.opts.Sink, max(left[volume], 0)>>20, need>>20)}
			s.park()
			continue
		}
		left[volume] -= need
		s.room, s.volume = &p.room, volume
		p.room.add(volume, need)
	}
	short := 0
	for _, s := range p.Steps {
		if s.Err == nil && s.Second != "" && s.volume != "" && left[s.volume] < s.needed() && !p.opts.AllowLowSpace {
			short++
		}
	}
	if short > 0 {
		p.Warnings = append(p.Warnings, fmt.Sprintf("should an image of LiME be rejected, there may be no room for a second one through /proc/kcore (%d hosts)", short))
	}
}

// overhead is room for the manifest, the signature and the frame index, which
// has at most 262144 lines of some 120 bytes.
const overhead = 32 << 20

// park closes the connection of a step until it is needed, see refresh.
func (s *Step) park() {
	if s.host.conn != nil {
		s.parked = true
		s.host.conn.Close()
	}
}

// Close ends all connections of the plan.
func (p *Plan) Close() error {
	for _, s := range p.Steps {
		if s.host != nil && s.host.conn != nil {
			s.host.conn.Close()
		}
	}
	return nil
}

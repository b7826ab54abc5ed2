package acquire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// Methods of reading memory, as Options.Method names them.
const (
	// MethodAuto takes LiME where a module fits and may be loaded, else /proc/kcore. A module for which only the
	// target vouches comes after /proc/kcore. It changes from the one to the other only before the first byte.
	// AVML, which leaves out some of memory, comes last of all, and only if the user brought it.
	MethodAuto  = "auto"
	MethodLime  = "lime"
	MethodKcore = "kcore"
	MethodAvml  = "avml"
)

// Methods are all of them.
var Methods = []string{MethodAuto, MethodLime, MethodKcore, MethodAvml}

// sources are those that the options allow, the preferred one first.
func sources(o *Options) []Source {
	switch o.Method {
	case MethodAvml:
		return []Source{&avmlSource{}}
	case MethodLime:
		return []Source{limeSource{}}
	case MethodKcore:
		return []Source{&kcoreSource{}}
	}
	all := []Source{limeSource{}, &kcoreSource{}}
	if o.Avml != nil {
		all = append(all, &avmlSource{})
	}
	return all
}

// chooseSource probes the sources that the method allows, and takes the first that can be used.
func (s *Step) chooseSource(ctx context.Context) error {
	if !slices.Contains(Methods, s.opts.Method) {
		return fmt.Errorf("unknown method %q", s.opts.Method)
	}
	var errs []error
	for _, m := range Methods[1:] {
		if m == MethodAvml && s.opts.Method != m && s.opts.Avml == nil {
			continue // nobody thought of it
		}
		if s.opts.Method != MethodAuto && s.opts.Method != m {
			s.Candidates = append(s.Candidates, Candidate{m, false, "not asked for: the method is " + s.opts.Method})
		}
	}
	for _, src := range sources(s.opts) {
		err := src.Probe(ctx, s.host)
		c := Candidate{Source: src.Name(), OK: err == nil, Reason: "fits"}
		if k, ok := src.(*kcoreSource); ok {
			c.Reason = fmt.Sprintf("readable; nothing is loaded into the kernel; %d to %d connections", k.first, k.most)
		}
		if a, ok := src.(*avmlSource); ok {
			c.Reason = fmt.Sprintf("can be run from %s (%s); it reads %s", a.dir, a.on, a.from)
		}
		if err != nil {
			c.Reason = err.Error()
			errs = append(errs, fmt.Errorf("%s: %w", src.Name(), err))
		}
		s.Candidates = append(s.Candidates, c)
		switch {
		case err != nil:
		case s.src == nil:
			s.take(src)
		default:
			s.others = append(s.others, src)
		}
	}
	if s.src == nil {
		return errors.Join(errs...)
	}
	s.preferProvable()
	if len(errs) > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("memory is read through %s, since %s", s.Source, strings.ReplaceAll(errors.Join(errs...).Error(), "\n", "; ")))
	}
	return nil
}

// preferProvable puts a LiME module for which only the target vouches behind /proc/kcore: that is
// read by the kernel's own code.
func (s *Step) preferProvable() {
	m := s.host.module
	if s.Source != MethodLime || len(s.others) == 0 || m.Signature != kernelmodules.UnverifiedInstalled {
		return
	}
	for i := range s.Candidates {
		if s.Candidates[i].Source == MethodLime {
			s.Candidates[i].Reason = fmt.Sprintf("fits, but only the target vouches for %s, so /proc/kcore comes first; --method lime takes it", m.Origin)
		}
	}
	first := s.src
	s.take(s.others[0])
	s.others = append(s.others[1:], first)
}

// take makes src the step's source.
func (s *Step) take(src Source) {
	s.src, s.Source, s.Module, s.Connections = src, src.Name(), nil, 0
	switch src := src.(type) {
	case limeSource:
		s.Module = s.host.module
	case *kcoreSource:
		s.Connections = src.most
	}
	s.Zip = s.host.zip.tool
	if src.Name() == MethodLime && s.host.zip.way == "" && s.Zip != "" {
		s.Zip = ""
		s.Warnings = append(s.Warnings, fmt.Sprintf("nothing on the target can read LiME's port there (%s): its stream comes as it is, not compressed", strings.Join(portReaders, ", ")))
	}
	var rate float64
	if rtt := s.Info.RTT; rtt >= slowRTT && s.Zip == "" {
		rate = channelWindow / rtt.Seconds() * float64(max(1, s.Connections))
	}
	s.Estimate = slowest(s.Expected, rate, float64(s.opts.LimitRate), float64(s.opts.LimitTotalRate))
}

// memory is what the step's sources take beside the pipeline, in bytes.
func (s *Step) memory() (n int64) {
	for _, src := range append(slices.Clip(s.others), s.src) {
		if k, ok := src.(*kcoreSource); ok {
			n = max(n, k.memory())
		}
	}
	if s.swapSource != nil {
		n = max(n, s.swapSource.memory())
	}
	return n
}

// open makes the stream. Before the first byte, and only then, it goes on to the next source
// that can be used, if the one before left the target clean.
func (c *capture) open(ctx context.Context) error {
	for {
		next := Preparing{host: host(c.step.Host), What: "loading LiME"}
		switch c.step.Source {
		case MethodKcore:
			next.What, next.Agentless = "starting to read /proc/kcore", true
		case MethodAvml:
			next.What = "starting AVML"
		}
		c.opts.Observer(next)
		st, clean, err := c.step.src.Open(ctx, c.h)
		if st != nil { // else what another source touched before stays on record
			c.src = st
		}
		if err == nil {
			return nil
		}
		if clean != nil {
			c.clean = clean
		}
		_, disclosed := errors.AsType[*errDisclosed](err)
		if len(c.step.others) == 0 || ctx.Err() != nil || disclosed || clean != nil && !clean.Clean {
			return err
		}
		if err := c.fallBack(ctx, err); err != nil {
			return err
		}
		if st != nil {
			c.failed = append(c.failed, st)
		}
	}
}

// fallBack makes the next source that of the step.
func (c *capture) fallBack(ctx context.Context, cause error) error {
	s := c.step
	next := s.others[0]
	s.others = s.others[1:]
	for i := range s.Candidates {
		if s.Candidates[i].Source == s.Source {
			s.Candidates[i].OK, s.Candidates[i].Reason = false, cause.Error()
		}
	}
	err := next.Probe(ctx, c.h)
	if err != nil {
		return errors.Join(cause, fmt.Errorf("%s: %w", next.Name(), err))
	}
	c.h.mark("%s failed before the first byte, going on with %s: %v", s.Source, next.Name(), cause)
	c.opts.Observer(Problem{host(s.Host), fmt.Errorf("%s cannot be used, going on with %s: %w", s.Source, next.Name(), cause)})
	s.take(next)
	return nil
}

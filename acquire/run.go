package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
)

// Run captures every target that the plan allows, and returns one result for each
// step, in order. When ctx ends, streams end, what came is kept as partial, targets
// are cleaned and manifests written before Run returns: cleaning has its own
// deadline, Options.CleanupTimeout. Run may be called once.
func (p *Plan) Run(ctx context.Context) []Result {
	opts := &p.opts
	if opts.Pool == nil {
		opts.Pool = frame.NewPool(frame.PoolOptions{Workers: opts.Threads, Level: opts.Level})
		defer opts.Pool.Close()
	}
	results := make([]Result, len(p.Steps))
	var g errgroup.Group
	gate, gateErr := p.newGate(opts.Pool)
	for i, s := range p.Steps {
		s.opts.Pool = opts.Pool
		g.Go(func() error {
			res := &results[i]
			*res = s.admit(ctx, gate, gateErr)
			res.Notes = s.Notes
			s.settle()
			s.park() // hundreds of others may still run
			opts.Observer(Finished{host(s.Host), res})
			if s.after != nil {
				s.after(ctx, res)
			}
			return nil
		})
	}
	g.Wait()
	return results
}

// fail is the result of a step that has no image.
func (s *Step) fail(ctx context.Context, err error) Result {
	return Result{Host: s.Host, State: StateFailed, Err: err, Interrupted: ctx.Err() != nil}
}

// run captures one target.
func (s *Step) run(ctx context.Context) Result {
	if err := s.refresh(ctx); err != nil {
		return s.fail(ctx, err)
	}
	if s.before != nil {
		s.before(ctx)
	}
	c := &capture{step: s, h: s.host, opts: s.opts}
	res := c.run(ctx)
	if c.rejected != nil {
		return c.second(ctx, res)
	}
	return res
}

// run takes the image and seals it.
func (c *capture) run(ctx context.Context) Result {
	s, opts := c.step, c.opts
	// The object comes first: what cannot be stored must not be asked for.
	obj, err := sink.CreateSized(ctx, opts.Sink, s.Name, s.Expected)
	if err != nil {
		return s.fail(ctx, fmt.Errorf("create %s: %w", s.Name, err))
	}
	c.obj = obj
	release, err := c.reserve(ctx, s.Expected)
	if err != nil {
		return s.fail(ctx, errors.Join(err, obj.Abort(context.WithoutCancel(ctx))))
	}
	defer release()
	c.release = release
	c.stream(ctx)
	return c.seal(ctx, ctx.Err() != nil)
}

// stale is the age from which a plan is looked at again before its capture.
const stale = time.Minute

// refresh makes sure that what the plan rests on still holds, when a target has waited
// for its turn.
func (s *Step) refresh(ctx context.Context) error {
	h := s.host
	if time.Since(h.since) >= stale && h.target.Tunnel != nil && h.target.Tunnel.Longest > 0 && !closed(h.conn.Done()) {
		h.mark("the tunnel of the plan is %s old and lasts %s at most: a new one has all of its time", time.Since(h.since).Round(time.Second), h.target.Tunnel.Longest)
		s.park()
	}
	if time.Since(s.planned) < stale && !closed(h.conn.Done()) {
		return nil
	}
	nonce := newNonce()
	var out []byte
	err := h.conn.Err()
	if err == nil {
		out, err = h.root(ctx, factsScript, nonce)
	}
	_, hangs := errors.AsType[*errNoAnswer](err)
	if err != nil && !errorIsExit(err) && !hangs && ctx.Err() == nil {
		if s.parked {
			h.mark("connecting again: the connection of the plan was closed to wait for this turn")
		} else {
			h.mark("the connection of the plan was lost, connecting again: %v", err)
		}
		if derr := h.dial(ctx, nil); derr != nil {
			return fmt.Errorf("connect again: %w", derr)
		}
		// Where host keys are not checked nothing else would see it.
		if key := h.conn.Info().HostKey; key != s.Info.HostKey {
			return &refusal{fmt.Sprintf("the machine that answers now has another host key than at the plan, %s", key), "find out which one it is, then plan again"}
		}
		s.Info = h.conn.Info()
		out, err = h.root(ctx, factsScript, nonce)
	}
	if err != nil {
		return fmt.Errorf("read facts again: %w", err)
	}
	f, err := parseFacts(out, nonce)
	if err != nil {
		return fmt.Errorf("read facts again: %w", err)
	}
	switch was := h.facts; {
	case f.BootID != was.BootID || f.MachineID != was.MachineID || f.Kernel != was.Kernel || !slices.Equal(f.RAM, was.RAM):
		return &refusal{"the target has changed since the plan: it was rebooted, or its memory was", "plan again"}
	case f.LimeLoaded && s.Source == MethodLime:
		return &refusal{"LiME was loaded by somebody else since the plan", "wait for that capture to end, then try again"}
	}
	f.Clock, f.ClockOffset, f.ClockError = h.facts.Clock, h.facts.ClockOffset, h.facts.ClockError
	h.facts, s.Facts = f, f
	if s.Source == MethodKcore {
		return s.src.Probe(ctx, h)
	}
	return nil
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A capture is one image being taken.
type capture struct {
	step *Step
	h    *remote
	opts *Options
	obj  sink.Object

	out      pipeline.Result
	rep      *lime.Report
	walkErr  error
	openErr  error
	srcErr   error
	sinkErr  error
	samples  *samples
	doubtful []uint64
	stalls   []time.Duration
	duration time.Duration
	clockSet time.Duration // by how much the examiner's clock was set meanwhile
	clean    *Cleanup
	freezer  *freezer // nil: nothing was frozen
	src      Stream   // nil: the target was not touched
	failed   []Stream // of sources that were tried before src and gave no byte
	release  func()   // gives back the room for the files beside the image; nil when there is none

	live        *live.Collection // nil: nothing was collected, or it is stored
	collectLeft []string         // marks of scripts that did not come to their end

	rejected []string    // checks for which a second image follows
	other    *OtherImage // that was taken before
}

// reserve keeps room for the manifest and the index of so many raw bytes on a sink that can
// fill up.
func (c *capture) reserve(ctx context.Context, raw int64) (release func(), err error) {
	r, ok := c.opts.Sink.(sink.Reserver)
	if sp, spills := c.opts.Sink.(sink.Spiller); spills && !ok {
		r, ok = sp.Spill().(sink.Reserver)
	}
	if !ok {
		return func() {}, nil
	}
	frames := raw/int64(frame.PlanFrameSize(raw)) + 2
	return r.Reserve(ctx, c.step.Name, 1<<20+frames*128)
}

// free gives back what reserve kept.
func (c *capture) free() {
	if c.release != nil {
		c.release()
	}
}

// stream takes the image, and cleans the target, on every path.
func (c *capture) stream(ctx context.Context) {
	h, name := c.h, host(c.step.Host)
	h.clock = newSteadyClock(c.opts.Now)
	h.pace = newPacer(newLimit(c.opts.LimitRate), c.opts.totalRate)
	// Before anything else is done there: it should show the host as it was found.
	c.collect(ctx, live.Before)
	c.sampleBefore(ctx)
	err := c.freeze(ctx)
	if err == nil {
		err = c.open(ctx)
	}
	if err != nil {
		c.openErr = err
		h.mark("no stream: %v", err)
		c.thaw()
		c.checkThaw(context.WithoutCancel(ctx))
		return
	}
	st := c.src
	c.note(c.obj, c.noteOfImage())

	walk := lime.WalkerOptions{Needles: needles(h.facts)}
	if c.samples != nil {
		for p := range c.samples.before {
			walk.Samples = append(walk.Samples, p)
		}
	}
	walker := lime.NewWalker(walk)
	h.mark("streaming, %d bytes expected", c.step.Expected)
	c.flow(ctx, c.thawAtEnd(st), st, c.step.Expected, walker, "")
	c.rep, c.walkErr = walker.Finish()
	c.clockSet = h.clock.set()
	h.mark("stream ended after %d bytes", c.out.Received)

	after := context.WithoutCancel(ctx)
	c.thaw()
	c.opts.Observer(Cleaning{name})
	if c.samples != nil && c.srcErr == nil && c.sinkErr == nil {
		c.sampleAfter(after)
	}
	c.clean = st.Cleanup(after)
	c.checkThaw(after)
	if c.clean.Clean {
		h.mark("the target is clean")
	} else {
		h.mark("left on the target: %q", c.clean.Left)
	}
}

// flow takes what r reads from st through the pipeline into the object, in the given limits, and
// sets out, srcErr, sinkErr, stalls and duration. walker may be nil. what is empty for
// memory, else what is read.
func (c *capture) flow(ctx context.Context, r io.Reader, st interruptible, expected int64, walker *lime.Walker, what string) {
	progress := &pipeline.Progress{}
	c.opts.Observer(Streaming{host(c.step.Host), expected, progress, what})
	if h, ok := c.obj.(sink.Hastener); ok {
		defer context.AfterFunc(ctx, func() { h.Hasten(haste) })()
	}
	streamCtx, cancel := context.WithCancelCause(ctx)
	from := r
	if _, paced := st.(interface{ Paced() }); !paced {
		from = limited(streamCtx, r, c.h.pace)
	}
	stopInterrupt := context.AfterFunc(streamCtx, st.Interrupt)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		c.watch(streamCtx, cancel, progress, st)
	}()
	begin := time.Now()
	var err error
	c.out, err = pipeline.Run(streamCtx, from, c.obj, pipeline.Options{
		Pool: c.opts.Pool, Compression: c.opts.Compression, Expected: expected,
		FrameSize: c.opts.testOnlyFrameSize, Walker: walker, Progress: progress, Recipients: c.opts.Recipients, Now: c.h.clock.now,
	})
	c.duration = time.Since(begin)
	cancel(nil)
	<-watched
	stopInterrupt()

	var src *pipeline.SourceError
	var dst *pipeline.SinkError
	if errors.As(err, &dst) {
		c.sinkErr = dst
	}
	if errors.As(err, &src) {
		c.srcErr = src
	}
	if err != nil && src == nil && dst == nil {
		c.sinkErr = err
	}
}

// interruptible is what can be read until it is interrupted, see Stream.
type interruptible interface{ Interrupt() }

// sampleBefore looks at live memory, to compare the image with.
func (c *capture) sampleBefore(ctx context.Context) {
	if c.h.facts.kcore == nil || summer(c.h.facts) == "" {
		return
	}
	c.opts.Observer(Preparing{host: host(c.step.Host), What: "sampling memory"})
	zero, sums, err := takeSamples(ctx, c.h, samplePages(c.h.facts.RAM))
	if err != nil {
		c.h.mark("no samples of live memory: %v", err)
		return
	}
	c.samples = &samples{zero: zero, before: sums}
}

// sampleAfter looks again at the pages that the image shows as zero and before did not.
func (c *capture) sampleAfter(ctx context.Context) {
	c.doubtful = c.samples.doubtful(c.rep)
	if len(c.doubtful) == 0 {
		return
	}
	if closed(c.h.conn.Done()) { // the lanes of /proc/kcore have connections of their own
		again, cancel := context.WithTimeout(ctx, c.opts.CleanupTimeout)
		defer cancel()
		if c.samples.err = c.h.alive(again); c.samples.err != nil {
			return
		}
	}
	_, c.samples.after, c.samples.err = takeSamples(ctx, c.h, c.doubtful)
}

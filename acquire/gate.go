package acquire

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
)

// A gate admits captures by the memory that they take. A capture waits for bytes of the
// network most of its time, so memory bounds how many can be under way, not CPUs.
type gate struct {
	turns   slots               // of --parallel
	sem     *semaphore.Weighted // nil: no limit
	budget  int64
	rereads slots
}

// newGate divides what the shared pool, and the images that are read again, leave of a budget.
func (p *Plan) newGate(pool *frame.Pool) (*gate, error) {
	g := &gate{rereads: make(slots, rereaders())}
	turns := p.opts.Parallel
	if n := p.files.captures; n > 0 && (turns <= 0 || n < turns) {
		turns = n
	}
	if turns > 0 {
		g.turns = make(slots, turns)
	}
	budget := p.opts.MemoryBudget
	if budget <= 0 {
		return g, nil
	}
	shared, err := pool.Memory(frame.Options{})
	if err != nil {
		return nil, err
	}
	for _, s := range p.Steps {
		if s.Prior != nil {
			shared += int64(rereaders()) * rereadMemory
			break
		}
	}
	g.budget = max(budget-shared, 1)
	g.sem = semaphore.NewWeighted(g.budget)
	return g, nil
}

// MemoryLimit is what a process that captures within a budget should tell the garbage collector
// to stay within (debug.SetMemoryLimit): the budget, a quarter of it for garbage, and what the
// program and 500 idle connections take; never less than one capture wants.
func MemoryLimit(budget int64) int64 { return max(budget+budget/4+64<<20, 256<<20) }

// enter waits for a turn and for n bytes, first come, first served, and tells wait why it has
// to. A capture that would not fit the budget by itself gets all of it.
func (g *gate) enter(ctx context.Context, n int64, wait func(why string)) (leave func(), err error) {
	if !g.turns.try() {
		wait("waiting for its turn")
		if err := g.turns.enter(ctx); err != nil {
			return nil, err
		}
	}
	if g.sem == nil {
		return g.turns.leave, nil
	}
	n = min(n, g.budget)
	if !g.sem.TryAcquire(n) {
		wait("waiting for memory")
		if err := g.sem.Acquire(ctx, n); err != nil {
			g.turns.leave()
			return nil, err
		}
	}
	return func() { g.sem.Release(n); g.turns.leave() }, nil
}

// admit keeps the image of an earlier run, or captures the target when there is room for it.
func (s *Step) admit(ctx context.Context, g *gate, gateErr error) Result {
	if gateErr != nil {
		return s.fail(ctx, gateErr)
	}
	if s.Prior != nil {
		if err := g.rereads.enter(ctx); err != nil {
			return s.fail(ctx, err)
		}
		res, done := s.keep(ctx)
		g.rereads.leave()
		if done {
			return res
		}
	}
	if s.Err != nil {
		return s.fail(ctx, s.Err)
	}
	if ctx.Err() != nil {
		return s.fail(ctx, context.Cause(ctx))
	}
	swap, largest := s.swapRoom() // comes after memory, whose index is still held then
	weight, err := pipeline.MemoryPerHost(pipeline.Options{
		Pool: s.opts.Pool, Compression: s.opts.Compression, Expected: s.Expected + swap, Recipients: s.opts.Recipients,
	})
	if err != nil {
		return s.fail(ctx, err)
	}
	weight += s.memory()
	if len(s.opts.Collect) > 0 {
		// Of most of it memory's stream has ended, and has given its blocks back.
		weight = max(weight+live.MaxBefore, live.Memory)
	}
	if w, ok := s.opts.Sink.(sink.Weigher); ok {
		weight += w.Memory(max(s.Expected, largest))
	}
	leave, err := g.enter(ctx, weight, func(why string) { s.opts.Observer(Waiting{host(s.Host), why}) })
	if err != nil {
		return s.fail(ctx, context.Cause(ctx))
	}
	defer leave()
	return s.run(ctx)
}

// slots bound how many do something at once; nil is no limit.
type slots chan struct{}

// enter waits for a slot. The error is why ctx ended.
func (s slots) enter(ctx context.Context) error {
	if s == nil {
		return nil
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// try takes a slot if one is free.
func (s slots) try() bool {
	if s == nil {
		return true
	}
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) leave() {
	if s != nil {
		<-s
	}
}

// reenter takes a slot whatever becomes of ctx: who holds one will leave.
func (s slots) reenter() {
	if s != nil {
		s <- struct{}{}
	}
}

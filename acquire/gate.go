package acquire

import (
	"context"

	"golang.org/x/sync/semaphore"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// A gate admits captures by the memory that they take. A capture waits for bytes of the
// network most of its time, so memory bounds how many can be under way, not CPUs.
type gate struct {
	sem    *semaphore.Weighted // nil: no limit
	budget int64
}

// newGate divides what the shared pool leaves of a budget. 0 is no limit.
func newGate(budget int64, pool *frame.Pool) (*gate, error) {
	if budget <= 0 {
		return &gate{}, nil
	}
	shared, err := pool.Memory(frame.Options{})
	if err != nil {
		return nil, err
	}
	budget = max(budget-shared, 1)
	return &gate{sem: semaphore.NewWeighted(budget), budget: budget}, nil
}

// enter waits for n bytes, first come, first served. A capture that would not fit the
// budget by itself gets all of it.
func (g *gate) enter(ctx context.Context, n int64) (leave func(), err error) {
	if g.sem == nil {
		return func() {}, nil
	}
	n = min(n, g.budget)
	if err := g.sem.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { g.sem.Release(n) }, nil
}

// admit captures one target when there is room for it.
func (s *Step) admit(ctx context.Context, g *gate, gateErr error) Result {
	if s.Err != nil {
		return s.fail(ctx, s.Err)
	}
	if gateErr != nil {
		return s.fail(ctx, gateErr)
	}
	if ctx.Err() != nil {
		return s.fail(ctx, context.Cause(ctx))
	}
	weight, err := pipeline.MemoryPerHost(pipeline.Options{
		Pool: s.opts.Pool, Compression: s.opts.Compression, Expected: s.Expected,
	})
	if err != nil {
		return s.fail(ctx, err)
	}
	leave, err := g.enter(ctx, weight)
	if err != nil {
		return s.fail(ctx, context.Cause(ctx))
	}
	defer leave()
	return s.run(ctx)
}

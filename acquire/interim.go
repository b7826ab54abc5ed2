package acquire

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// interimDelay is how long a stored image may have no manifest while the kernel's symbols are read and stored, which
// mostly takes less. Only what takes longer leaves an interim manifest beside the last one.
const interimDelay = 5 * time.Second

// collectBesideInterim is collectAfter, and sees to it that a manifest speaks for the image while more is to come:
// when collecting takes long, and otherwise before swap is read. There is one, since nothing is ever replaced: one that had
// to come early does not know of what was collected. The last manifest is written all the same when that fails.
func (c *capture) collectBesideInterim(ctx context.Context, m *Manifest) {
	if ctx.Err() != nil {
		c.collectAfter(ctx, m)
		return
	}
	write := func(now *Manifest) error {
		return c.putManifest(ctx, now, m.Image.Name+InterimSuffix, new(Result))
	}
	swaps := c.opts.Swap && c.rejected == nil && len(c.h.facts.Swap) > 0
	if len(c.opts.Collect) > 0 {
		now, done := c.interim(m, swaps), make(chan error, 1)
		late := time.AfterFunc(cmp.Or(c.opts.testOnlyInterimDelay, interimDelay), func() { done <- write(now) })
		c.collectAfter(ctx, m)
		if !late.Stop() {
			c.interimFailed(<-done)
			return
		}
	}
	if swaps && ctx.Err() == nil {
		c.interimFailed(write(c.interim(m, swaps)))
	}
}

func (c *capture) interimFailed(err error) {
	if err != nil {
		c.problem(fmt.Errorf("while the rest is read: %w; the last manifest is written all the same", err))
	}
}

// interim is what is known now. It shares with m what does not change any more.
func (c *capture) interim(m *Manifest, swaps bool) *Manifest {
	const unknown = "not known: this manifest was written before it was stored"
	now := *m
	now.Interim = fmt.Sprintf("written while the capture went on: %s was to follow and to stand in its place", manifestName(c.opts.Sink, m.Image.Name, m.Complete))
	if swaps {
		for _, s := range c.h.facts.Swap {
			now.SwapImages = append(now.SwapImages, SwapImage{Swap: s, Reasons: []string{unknown}})
		}
	}
	if len(c.opts.Collect) > 0 && m.Live == nil {
		now.Live = &Live{Reasons: []string{unknown}}
	}
	f := &now.Footprint
	f.Left = slices.Clone(f.Left)
	now.Timeline = c.h.moments()
	return &now
}

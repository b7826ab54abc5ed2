package journals

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/shotglass-ir/shotglass/containment"
)

// Both keeps each journal in two places: a line is durable in both before the call that it is about is made. It
// reads the first. A place that is behind, since the other was out of reach or a crash came between the
// two, is brought up to it when the journal is opened; two that tell different stories are
// an error.
type Both struct{ First, Second containment.Journals }

var _ containment.Journals = Both{}

func (b Both) String() string { return b.First.String() + " and " + b.Second.String() }

// List implements containment.Journals.
func (b Both) List(ctx context.Context) ([]string, error) {
	one, err := b.First.List(ctx)
	if err != nil {
		return nil, err
	}
	two, err := b.Second.List(ctx)
	if err != nil {
		return nil, err
	}
	all := append(one, two...)
	slices.Sort(all)
	return slices.Compact(all), nil
}

// Load implements containment.Journals: it returns the longer of the two.
func (b Both) Load(ctx context.Context, name string) ([]byte, error) {
	one, err := b.First.Load(ctx, name)
	if err != nil && !errors.Is(err, containment.ErrNoJournal) {
		return nil, err
	}
	two, err2 := b.Second.Load(ctx, name)
	if err2 != nil && !errors.Is(err2, containment.ErrNoJournal) {
		return nil, err2
	}
	if err != nil && err2 != nil {
		return nil, err
	}
	return longer(name, one, two)
}

func longer(name string, one, two []byte) ([]byte, error) {
	if len(two) > len(one) {
		one, two = two, one
	}
	if !bytes.HasPrefix(one, two) {
		return nil, fmt.Errorf("the two copies of %s differ: %w", name, containment.ErrChain)
	}
	return one, nil
}

// Open implements containment.Journals.
func (b Both) Open(ctx context.Context, name string) (containment.Journal, error) {
	one, err := b.First.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	two, err := b.Second.Open(ctx, name)
	if err != nil {
		return nil, errors.Join(err, one.Close())
	}
	j := &both{one: one, two: two}
	if err := j.level(ctx, name); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

type both struct {
	one, two containment.Journal

	mu     sync.Mutex
	failed error
}

// level brings the shorter copy up to the longer.
func (j *both) level(ctx context.Context, name string) error {
	one, err := j.one.Load(ctx)
	if err != nil {
		return err
	}
	two, err := j.two.Load(ctx)
	if err != nil {
		return err
	}
	all, err := longer(name, one, two)
	if err != nil {
		return err
	}
	for _, c := range []struct {
		j    containment.Journal
		have []byte
	}{{j.one, one}, {j.two, two}} {
		seq := bytes.Count(c.have, []byte("\n"))
		for line := range bytes.Lines(all[len(c.have):]) {
			if err := c.j.Append(ctx, seq, line); err != nil {
				return err
			}
			seq++
		}
	}
	return nil
}

func (j *both) Load(ctx context.Context) ([]byte, error) { return j.one.Load(ctx) }

// Append implements containment.Journal. When the second place fails, the first is one line ahead, which level mends; a
// further line would make two stories of it.
func (j *both) Append(ctx context.Context, seq int, line []byte) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed == nil {
		j.failed = j.one.Append(ctx, seq, line)
	}
	if j.failed == nil {
		j.failed = j.two.Append(ctx, seq, line)
	}
	return j.failed
}

func (j *both) Close() error { return errors.Join(j.one.Close(), j.two.Close()) }

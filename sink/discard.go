package sink

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// Discard is a sink that counts and stores nothing: for dry runs and
// benchmarks. It remembers names, so that it refuses what a real sink refuses.
// Its zero value is ready.
type Discard struct {
	bytes atomic.Int64

	mu    sync.Mutex
	names map[string]bool
}

var _ Sink = (*Discard)(nil)

// String returns "discard".
func (d *Discard) String() string { return "discard" }

// Bytes returns how many bytes were written to all objects.
func (d *Discard) Bytes() int64 { return d.bytes.Load() }

// Create starts an object whose bytes go nowhere.
func (d *Discard) Create(ctx context.Context, name string) (Object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := ValidNew(name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[name] {
		return nil, fmt.Errorf("create %s: %w", name, ErrExists)
	}
	if d.names == nil {
		d.names = make(map[string]bool)
	}
	d.names[name] = true
	return &discardObject{sink: d, name: name}, nil
}

type discardObject struct {
	sink *Discard
	name string

	mu    sync.Mutex
	size  int64
	ended bool
}

var _ Object = (*discardObject)(nil)

func (o *discardObject) Location() string { return "discard:" + o.name }

func (o *discardObject) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return 0, ErrEnded
	}
	o.size += int64(len(p))
	o.sink.bytes.Add(int64(len(p)))
	return len(p), nil
}

func (o *discardObject) Commit(ctx context.Context) (Receipt, error) {
	if err := ctx.Err(); err != nil {
		return Receipt{}, fmt.Errorf("commit %s: %w", o.name, err)
	}
	return o.end(false)
}

func (o *discardObject) Keep(context.Context) (Receipt, error) { return o.end(true) }

func (o *discardObject) Abort(context.Context) error {
	if _, err := o.end(false); err != nil {
		return err
	}
	o.sink.mu.Lock()
	defer o.sink.mu.Unlock()
	delete(o.sink.names, o.name)
	return nil
}

func (o *discardObject) end(partial bool) (Receipt, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return Receipt{}, ErrEnded
	}
	o.ended = true
	r := Receipt{Name: o.name, Location: o.Location(), Size: o.size, Partial: partial}
	if partial {
		r.Name += PartialSuffix
	}
	return r, nil
}

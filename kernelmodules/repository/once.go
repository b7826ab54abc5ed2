package repository

import (
	"context"
	"sync"
	"time"
)

// failureHolds is how long a failure is remembered.
const failureHolds = 30 * time.Second

// A once makes a value for all who ask at the same time and later. Who gives up waiting
// spoils nothing for the others: one of them takes over.
type once[T any] struct {
	mu     sync.Mutex
	sem    chan struct{} // holds a token while somebody makes the value
	done   bool
	value  T
	err    error
	failed time.Time
}

func (o *once[T]) do(ctx context.Context, now func() time.Time, produce func(context.Context) (T, error)) (T, error) {
	o.mu.Lock()
	if o.sem == nil {
		o.sem = make(chan struct{}, 1)
	}
	o.mu.Unlock()
	select {
	case o.sem <- struct{}{}:
		defer func() { <-o.sem }()
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	if o.done && (o.err == nil || now().Sub(o.failed) < failureHolds) {
		return o.value, o.err
	}
	value, err := produce(ctx)
	if err != nil && ctx.Err() != nil {
		return value, err // it says nothing about the repository
	}
	o.done, o.value, o.err, o.failed = true, value, err, now()
	return value, err
}

// onces are by a key.
type onces[T any] struct {
	mu  sync.Mutex
	all map[string]*once[T]
}

func (o *onces[T]) of(key string) *once[T] {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all == nil {
		o.all = map[string]*once[T]{}
	}
	if o.all[key] == nil {
		o.all[key] = &once[T]{}
	}
	return o.all[key]
}

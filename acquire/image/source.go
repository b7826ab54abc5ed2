package image

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
)

// direct reads what is not compressed, and has no digests of its own: there is nothing to keep.
type direct struct {
	r io.ReaderAt

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

// ReadContext returns when ctx ends, even if the read below does not: that goes on, into a buffer of its own.
func (d *direct) ReadContext(ctx context.Context, p []byte, off int64) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return 0, fs.ErrClosed
	}
	d.wg.Go(func() {
		buf := make([]byte, len(p))
		n, err := d.r.ReadAt(buf, off)
		done <- result{buf[:n], err}
	})
	d.mu.Unlock()
	select {
	case r := <-done:
		return copy(p, r.data), r.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Close waits for reads that are under way.
func (d *direct) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.wg.Wait()
	return nil
}

// bound is a reader for those who know no context.
type bound struct {
	ctx context.Context
	r   reader
}

func (b bound) ReadAt(p []byte, off int64) (int, error) { return b.r.ReadContext(b.ctx, p, off) }

// withoutManifest is a place where no manifest is found.
type withoutManifest struct{ where sink.Opener }

func (w withoutManifest) Open(ctx context.Context, name string) (sink.Reader, error) {
	if strings.HasSuffix(name, acquire.ManifestSuffix) {
		return nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return w.where.Open(ctx, name)
}

func (w withoutManifest) String() string {
	if s, ok := w.where.(fmt.Stringer); ok {
		return s.String()
	}
	return ""
}

func largest(x *frame.Index) (n int64) {
	for _, e := range x.Entries {
		n = max(n, e.StoredSize)
	}
	return n
}

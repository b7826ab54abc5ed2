package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is wrapped by the error of ReadAll about an object that cannot be what
// its name says.
var ErrTooLarge = errors.New("file is too large")

// ReadAll returns the content of a small object of at most limit bytes. The error wraps
// fs.ErrNotExist when there is none.
func ReadAll(ctx context.Context, where Opener, name string, limit int64) ([]byte, error) {
	r, err := where.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, more than %d", ErrTooLarge, name, r.Size(), limit)
	}
	return io.ReadAll(io.LimitReader(r, limit))
}

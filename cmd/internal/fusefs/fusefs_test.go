package fusefs

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"
)

// source is what a test says.
type source struct {
	Bytes
	read func(ctx context.Context, p []byte, off int64) (int, error)
}

func (s source) ReadContext(ctx context.Context, p []byte, off int64) (int, error) {
	return s.read(ctx, p, off)
}

// A read gives all that there is, or an error: the kernel takes less for the end of the file.
func TestReadIsWhole(t *testing.T) {
	data := Bytes("0123456789")
	gone := errors.New("gone")
	for _, c := range []struct {
		name string
		off  int64
		read func(ctx context.Context, p []byte, off int64) (int, error)
		want string
		err  error
	}{
		{"all", 2, data.ReadContext, "2345", nil},
		{"the end", 8, data.ReadContext, "89", nil},
		{"after the end", 10, data.ReadContext, "", nil},
		{"half, then failure", 2, func(_ context.Context, p []byte, _ int64) (int, error) { return copy(p, "23"), gone }, "23", gone},
		{"half, and no error", 2, func(_ context.Context, p []byte, _ int64) (int, error) { return copy(p, "23"), nil }, "23", errors.New("short read")},
		{"for ever", 2, func(ctx context.Context, _ []byte, _ int64) (int, error) { <-ctx.Done(); return 0, context.Cause(ctx) }, "", ErrSlow},
	} {
		p := make([]byte, 4)
		n, err := read(t.Context(), File{Source: source{data, c.read}}, p, c.off, 20*time.Millisecond)
		if !bytes.Equal(p[:n], []byte(c.want)) || (err == nil) != (c.err == nil) || err != nil && err.Error() != c.err.Error() {
			t.Errorf("%s: %q, %v", c.name, p[:n], err)
		}
	}
}

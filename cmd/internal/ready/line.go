package ready

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// A line is the way of many questions to one service. Before a call fails for good it was tried again for about a minute, for three where the service is silent: once one has, those that are
// under way end with its reason, and no more are made. It is safe for concurrent use; its zero value is ready but for a name.
type line struct {
	to string // "IAM's simulation"

	mu    sync.Mutex
	out   error                           // why nobody calls any more
	calls map[int]context.CancelCauseFunc // under way
	last  int
}

// over makes a call over a line. An answer counts, a refusal among them, whatever becomes of the line.
func over[T any](ctx context.Context, l *line, call func(context.Context) (T, error)) (T, error) {
	var none T
	ctx, n, err := l.begin(ctx)
	if err != nil {
		return none, err
	}
	v, err := call(ctx)
	if err = l.end(ctx, n, err); err != nil {
		return none, err
	}
	return v, nil
}

func (l *line) begin(ctx context.Context) (context.Context, int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		return nil, 0, l.out
	}
	if l.calls == nil {
		l.calls = map[int]context.CancelCauseFunc{}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	l.last++
	l.calls[l.last] = cancel
	return ctx, l.last, nil
}

// end is what came of a call: its own error, or that of the call that ended it.
func (l *line) end(ctx context.Context, n int, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	cut := l.out != nil && errors.Is(context.Cause(ctx), l.out)
	l.calls[n](nil)
	delete(l.calls, n)
	switch {
	case err == nil:
		return nil
	case l.out != nil && (cut && errors.Is(err, context.Canceled) || errors.Is(err, l.out) || outage(err)):
		return l.out
	case outage(err):
		l.out = fmt.Errorf("%s failed, and was not asked again: %w", l.to, err)
		for _, cancel := range l.calls {
			cancel(l.out)
		}
		return l.out
	}
	return err
}

// outage reports whether an error is of a service that does not answer, or only that it cannot: it was asked until patience ended.
func outage(err error) bool {
	var attempts *retry.MaxAttemptsError
	var quota ratelimit.QuotaExceededError
	var slow interface{ Timeout() bool } // of a server that is silent, or of the time for a check that ended
	return errors.As(err, &attempts) || errors.As(err, &quota) || errors.As(err, &slow) && slow.Timeout()
}

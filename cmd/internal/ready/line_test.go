package ready

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// One call that fails for good ends those that are under way, with its reason, and no other is made; what was answered before stays answered.
func TestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := &line{to: "the service"}, time.Now()
		gone := &retry.MaxAttemptsError{Attempt: 8, Err: errors.New("503")}
		var wg sync.WaitGroup
		for n := range 50 {
			wg.Go(func() {
				v, err := over(t.Context(), l, func(ctx context.Context) (int, error) {
					wait := time.Duration(n) * time.Minute
					if n < 2 {
						wait = 0
					}
					select {
					case <-ctx.Done():
						return 0, ctx.Err()
					case <-time.After(wait):
					}
					switch n {
					case 0:
						return 42, nil
					case 1:
						return 0, errors.New("no such role")
					}
					return 0, gone
				})
				switch {
				case n == 0 && (v != 42 || err != nil), n == 1 && err.Error() != "no such role":
					t.Errorf("%d: %d, %v", n, v, err)
				case n > 1 && (!errors.Is(err, gone) || err.Error() != "the service failed, and was not asked again: "+gone.Error()):
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(start); d != 2*time.Minute {
			t.Errorf("it took %s", d)
		}
		if _, err := over(t.Context(), l, func(context.Context) (int, error) { t.Error("it was called"); return 0, nil }); !errors.Is(err, gone) {
			t.Error(err)
		}
	})
}

// A server that is silent, whose calls are tried again three times and not eight, is out as well.
func TestLineOfSilence(t *testing.T) {
	l := &line{to: "the service"}
	if _, err := over(t.Context(), l, func(context.Context) (int, error) { return 0, &net.DNSError{IsTimeout: true} }); err == nil {
		t.Error("no error")
	}
	if _, err := over(t.Context(), l, func(context.Context) (int, error) { return 1, nil }); err == nil {
		t.Error("it was asked again")
	}
}

// A call that its caller ends says nothing of the service.
func TestLineOfOneWhoLeaves(t *testing.T) {
	l := &line{to: "the service"}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := over(ctx, l, func(ctx context.Context) (int, error) { return 0, ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if v, err := over(t.Context(), l, func(ctx context.Context) (int, error) { return 1, ctx.Err() }); v != 1 || err != nil {
		t.Error(v, err)
	}
	// That time for an answer ended does.
	late, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if _, err := over(late, l, func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() }); causeOf(err) != TooSlow {
		t.Error(err)
	}
	if _, err := over(t.Context(), l, func(context.Context) (int, error) { return 1, nil }); causeOf(err) != TooSlow {
		t.Error(err)
	}
}

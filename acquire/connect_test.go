package acquire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// A flakyDialer fails as fails says, then gives a connection.
type flakyDialer struct {
	fails []error
	tries []time.Time
}

func (d *flakyDialer) Dial(ctx context.Context, _ transport.Target) (transport.Conn, error) {
	d.tries = append(d.tries, time.Now())
	if n := len(d.tries); n <= len(d.fails) {
		return nil, d.fails[n-1]
	}
	return fakeConn{}, ctx.Err()
}

type fakeConn struct{ transport.Conn }

// passing is an error that may pass, as a real dial gives it.
func passing(t *testing.T) error {
	t.Helper()
	d := &transport.SSH{ConfigFiles: []string{"none"}, Home: t.TempDir()}
	_, err := d.Dial(t.Context(), transport.Target{Name: "127.0.0.1", Port: 1, NoJumps: true,
		HostKey: transport.HostKeyPolicy{InsecureIgnore: true}, Auth: transport.Auth{NoAgent: true}})
	if !transport.MayPass(err) {
		t.Fatalf("port 1 is open here: %v", err)
	}
	return err
}

func TestDialAgain(t *testing.T) {
	refused, never := passing(t), errors.New("permission denied")
	for name, tt := range map[string]struct {
		fails    []error
		attempts int
		tries    int
		err      string
	}{
		"at once":    {nil, 3, 1, ""},
		"second":     {[]error{refused}, 3, 2, ""},
		"last":       {[]error{refused, refused}, 3, 3, ""},
		"too often":  {[]error{refused, refused, refused, refused}, 3, 3, "(attempt 3 of 3)"},
		"one only":   {[]error{refused}, 1, 1, "refused"},
		"login":      {[]error{never}, 3, 1, "permission denied"},
		"then login": {[]error{refused, fmt.Errorf("x: %w", never)}, 3, 2, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &flakyDialer{fails: tt.fails}
				waits := 0
				o := Options{Dialer: d, ConnectAttempts: tt.attempts, Observer: func(e Event) { waits++ }}.withDefaults()
				h := &remote{name: "a", opts: &o}
				slots := make(slots, 1)
				slots.enter(t.Context())
				err := h.dial(t.Context(), slots)
				if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %q", err, tt.err)
				}
				if len(d.tries) != tt.tries || waits != tt.tries-1 || len(h.timeline) != tt.tries-1 {
					t.Errorf("%d tries, %d waits, timeline %v", len(d.tries), waits, h.timeline)
				}
				for i := 1; i < len(d.tries); i++ {
					base := firstPause << (i - 1)
					if p := d.tries[i].Sub(d.tries[i-1]); p < base/2 || p > base {
						t.Errorf("pause %d is %s", i, p)
					}
				}
				if len(slots) != 1 {
					t.Error("the slot is gone")
				}
			})
		})
	}
}

// TestDialPauseIsFree: while one host pauses, another connects; and a pause ends with ctx.
func TestDialPauseIsFree(t *testing.T) {
	refused := passing(t)
	synctest.Test(t, func(t *testing.T) {
		slots := make(slots, 1)
		ctx, cancel := context.WithCancel(t.Context())
		d := &flakyDialer{fails: []error{refused, refused, refused, refused}}
		o := Options{Dialer: d, ConnectAttempts: 4}.withDefaults()
		slots.enter(ctx)
		done := make(chan error)
		go func() { done <- (&remote{name: "a", opts: &o}).dial(ctx, slots) }()
		synctest.Wait() // it pauses
		if err := slots.enter(ctx); err != nil {
			t.Error(err)
		}
		slots.leave()
		began := time.Now()
		cancel()
		if err := <-done; err == nil || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		if len(slots) != 1 {
			t.Error("the slot is gone")
		}
	})
}

func TestPause(t *testing.T) {
	for n := 1; n < 100; n++ {
		if p := pause(n); p <= 0 || p > longestPause {
			t.Errorf("pause %d is %s", n, p)
		}
	}
}

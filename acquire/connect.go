package acquire

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// connecting is how many targets are connected to and probed at once. Most of that is waiting:
// with a dial timeout of 20 s, 500 dead hosts are known to be dead in three minutes.
const connecting = 64

// Pauses between attempts to connect double from the first to the longest. Of each, up to half is
// left to chance, so that hosts which were dropped together do not come back together.
const (
	firstPause   = time.Second
	longestPause = 15 * time.Second
)

func pause(attempt int) time.Duration {
	d := min(firstPause<<min(attempt-1, 10), longestPause)
	return d/2 + rand.N(d/2)
}

// dial connects, again where the failure may pass. A login that was refused, or a host key, is
// never tried twice. It holds one of slots, if there are any, but not while it pauses. The
// connection that the remote had is closed.
func (h *remote) dial(ctx context.Context, slots slots) error {
	for attempt := 1; ; attempt++ {
		conn, err := h.opts.Dialer.Dial(ctx, h.target)
		if err == nil {
			if h.conn != nil {
				h.conn.Close()
			}
			h.conn, h.since = conn, time.Now()
			h.logins.Add(1)
			return nil
		}
		if ctx.Err() != nil || !transport.MayPass(err) {
			return err
		}
		if attempt >= h.opts.ConnectAttempts {
			if attempt > 1 {
				err = fmt.Errorf("%w (attempt %d of %d)", err, attempt, attempt)
			}
			return err
		}
		d := pause(attempt)
		h.mark("attempt %d of %d to connect failed: %v", attempt, h.opts.ConnectAttempts, err)
		h.opts.Observer(Waiting{host(h.name), fmt.Sprintf("%v; attempt %d of %d in %s", err, attempt+1, h.opts.ConnectAttempts, d.Round(100*time.Millisecond))})
		slots.leave()
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
		slots.reenter()
	}
}

// final says that a connection that was there cannot be made again, however often it is tried.
func final(err error) bool {
	_, key := errors.AsType[*transport.HostKeyError](err)
	grant, ok := errors.AsType[*transport.GrantError](err)
	return key || errors.Is(err, transport.ErrAuth) || ok && !grant.MayPass()
}

// How long to wait for the agent of an interrupted run, which cleans within seconds when its
// connection ends, and how often to look.
const (
	unloadPatience = 30 * time.Second
	unloadLook     = 2 * time.Second
)

// awaitUnload gives what a killed run left on the target the time to clean up after itself. If
// LiME stays loaded the probe refuses the target.
func (s *Step) awaitUnload(ctx context.Context) error {
	h := s.host
	if !h.facts.LimeLoaded || len(s.priors) > 0 || s.opts.Method == MethodKcore {
		return nil
	}
	h.mark("LiME is loaded, waiting for the agent of an interrupted run to unload it")
	s.opts.Observer(Waiting{host(s.Host), fmt.Sprintf("LiME is loaded; what an interrupted run left cleans up by itself: waiting up to %s for it", unloadPatience)})
	for end := time.Now().Add(unloadPatience); h.facts.LimeLoaded && time.Now().Before(end); {
		select {
		case <-time.After(unloadLook):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		nonce := newNonce()
		out, err := h.root(ctx, factsScript, nonce)
		if err != nil {
			return fmt.Errorf("read facts again: %w", err)
		}
		f, err := parseFacts(out, nonce)
		if err != nil {
			return fmt.Errorf("read facts again: %w", err)
		}
		f.Clock, f.ClockOffset, f.ClockError = h.facts.Clock, h.facts.ClockOffset, h.facts.ClockError
		h.facts = f
	}
	if !h.facts.LimeLoaded {
		h.mark("LiME is gone")
	}
	return nil
}

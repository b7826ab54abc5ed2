package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
	"github.com/shotglass-ir/shotglass/transport"
)

// A kcoreLane is kcore.sh at work over one connection. What it brings is counted, never
// searched: memory may hold any text, that of our own marks too.
type kcoreLane struct {
	st     *kcoreStream
	conn   transport.Conn
	own    bool // the connection is for this lane alone
	in     *io.PipeWriter
	stderr tail
	cancel context.CancelFunc
	ready  chan struct{} // closed when the script said so, or the lane has ended

	seq   int64     // of orders; the calling goroutine's
	asked []*answer // by Ask, not awaited yet; the calling goroutine's

	received atomic.Int64
	last     atomic.Int64 // Unix nanoseconds

	mu   sync.Mutex
	err  error     // why it has ended
	boot string    // the target's boot id, once ready
	line []byte    // of what comes before the first answer
	owed []*answer // orders without an answer, in order
}

// An answer is what an order brings.
type answer struct {
	buf   []byte
	got   int    // of buf
	tail  []byte // of the line after it
	seq   int64
	begun time.Time

	done chan struct{} // closed when whole, or the lane has ended
	ok   bool          // buf was read
	err  error         // the lane's
}

// Faults of a lane. None is the network's: they are the target's doing, or our own.
var (
	errLaneNoise  = errors.New("the target sent bytes that nobody asked for")
	errLaneStep   = errors.New("the target sent more or less than was asked for")
	errLaneClosed = errors.New("the connection was given up")
)

// startLane runs kcore.sh over conn and waits until it is ready, for at most laneLimit.
func startLane(ctx context.Context, st *kcoreStream, conn transport.Conn, own bool) (*kcoreLane, error) {
	l := &kcoreLane{st: st, conn: conn, own: own, ready: make(chan struct{})}
	l.last.Store(time.Now().UnixNano())
	pr, pw := io.Pipe()
	l.in = pw
	cmd := st.h.rootCmd(st.mark, kcoreScript, pr, st.mark, st.src.path)
	cmd.Stdout, cmd.Stderr = l, &l.stderr
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.cancel = cancel
	st.runs.Go(func() {
		err := conn.Run(runCtx, cmd)
		pr.CloseWithError(io.ErrClosedPipe) // unblocks Ask
		l.end(l.explain(err))
	})
	wait, stop := context.WithTimeoutCause(ctx, laneLimit, fmt.Errorf("the target did not begin within %s", laneLimit))
	defer stop()
	select {
	case <-l.ready:
	case <-wait.Done():
		l.end(context.Cause(wait))
	}
	l.mu.Lock()
	err, boot := l.err, l.boot
	l.mu.Unlock()
	if err == nil && boot != st.h.facts.BootID {
		err = fmt.Errorf("%w: the machine that answers was started at another time (boot id %q, not %q): it was rebooted, or is another one",
			stripe.ErrFatal, boot, st.h.facts.BootID)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// laneLimit bounds the start of a lane: a login shell, sudo, a shell.
const laneLimit = time.Minute

// explain adds what the target said.
func (l *kcoreLane) explain(err error) error {
	said := l.stderr.String()
	if err == nil {
		err = errors.New("the reading on the target ended")
	}
	if said != "" {
		err = fmt.Errorf("%w: %q", err, said)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if errorIsExit(err) && l.boot == "" {
		return fmt.Errorf("%w: %w", stripe.ErrFatal, err) // refused by sudo, or no shell: the next try would be, too
	}
	return err
}

// Write takes what the script sends.
func (l *kcoreLane) Write(p []byte) (int, error) {
	l.received.Add(int64(len(p)))
	l.last.Store(time.Now().UnixNano())
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	if l.err != nil {
		return 0, l.err
	}
	if l.boot == "" {
		var err error
		if p, err = l.begin(p); err != nil {
			l.finish(err)
			return 0, err
		}
	}
	for len(p) > 0 {
		if len(l.owed) == 0 {
			l.finish(errLaneNoise)
			return 0, l.err
		}
		a := l.owed[0]
		m := copy(a.buf[a.got:], p)
		a.got += m
		p = p[m:]
		ok, no := l.trailer(a, "ok"), l.trailer(a, "no")
		m = min(len(p), len(ok)-len(a.tail))
		a.tail = append(a.tail, p[:m]...)
		p = p[m:]
		if len(a.tail) < len(ok) {
			continue
		}
		a.ok = string(a.tail) == ok
		if !a.ok && string(a.tail) != no {
			l.finish(errLaneStep)
			return 0, l.err
		}
		l.owed = l.owed[1:]
		close(a.done)
	}
	return n, nil
}

// trailer is the line that ends an answer. Both kinds are equally long.
func (l *kcoreLane) trailer(a *answer, word string) string {
	return fmt.Sprintf("\n@%s %d %s\n", l.st.mark, a.seq, word)
}

// maxNoise bounds what login scripts may print before ours begins.
const maxNoise = 64 << 10

// begin looks for the script's first line; what login scripts print stands before it.
func (l *kcoreLane) begin(p []byte) (rest []byte, err error) {
	for i, c := range p {
		if l.line = append(l.line, c); c != '\n' {
			continue
		}
		line, ours := strings.CutPrefix(string(l.line), "@"+l.st.mark+" ready ")
		l.line = l.line[:0]
		if ours {
			l.boot = strings.TrimSpace(line)
			if l.boot == "" {
				return nil, errors.New("the target did not tell its boot id")
			}
			close(l.ready)
			return p[i+1:], nil
		}
	}
	if l.received.Load() > maxNoise {
		return nil, fmt.Errorf("the target sent %d bytes before it began", l.received.Load())
	}
	return nil, nil
}

// finish ends the lane; the first reason counts. l.mu is held.
func (l *kcoreLane) finish(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	if l.boot == "" {
		close(l.ready)
	}
	for _, a := range l.owed {
		a.err = err
		close(a.done)
	}
	l.owed = nil
}

func (l *kcoreLane) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finish(err)
}

// order sends one order.
func (l *kcoreLane) order(offset uint64, buf []byte) (*answer, error) {
	a := &answer{buf: buf, seq: l.seq, begun: time.Now(), done: make(chan struct{})}
	l.seq++
	l.mu.Lock()
	if l.err != nil {
		defer l.mu.Unlock()
		return nil, l.err
	}
	l.owed = append(l.owed, a)
	if len(l.owed) == 1 { // idle until now
		l.last.Store(a.begun.UnixNano())
	}
	l.mu.Unlock()
	if _, err := fmt.Fprintf(l.in, "%d %d %d\n", a.seq, offset, len(buf)); err != nil {
		l.end(fmt.Errorf("order: %w", err)) // unless it has ended already
		l.mu.Lock()
		defer l.mu.Unlock()
		return nil, l.err
	}
	return a, nil
}

// wait waits for an answer.
func (a *answer) wait() (ok bool, err error) {
	<-a.done
	return a.ok, a.err
}

// Ask implements stripe.Lane.
func (l *kcoreLane) Ask(i int64, buf []byte) error {
	_, offset, _ := l.st.layout.at(i)
	a, err := l.order(offset, buf)
	l.asked = append(l.asked, a)
	return err
}

// Await implements stripe.Lane.
func (l *kcoreLane) Await(i int64) error {
	a := l.asked[0]
	l.asked = l.asked[1:]
	ok, err := a.wait()
	if err != nil {
		return err
	}
	phys, offset, _ := l.st.layout.at(i)
	var bad []lime.Range
	if !ok {
		if bad, err = l.careful(phys, offset, a.buf); err != nil {
			return err
		}
	}
	l.st.whole(i, phys, a.begun, time.Now(), bad)
	return nil
}

// chunk is what is tried when a piece could not be read, before single pages.
const chunk = 64 << 10

// careful reads in small parts what could not be read at once. Pages that cannot be read,
// twice, are zeros and are returned.
func (l *kcoreLane) careful(phys, offset uint64, buf []byte) (bad []lime.Range, err error) {
	failed := []int{0} // offsets in buf
	size := len(buf)
	for _, step := range []int{chunk, page, page} {
		var parts, still []int
		for _, at := range failed {
			for o := at; o < min(at+size, len(buf)); o += step {
				parts = append(parts, o)
			}
		}
		size = step
		answers := make([]*answer, len(parts))
		for n, o := range parts {
			if answers[n], err = l.order(offset+uint64(o), buf[o:min(o+step, len(buf))]); err != nil {
				return nil, err
			}
		}
		for n, a := range answers {
			ok, err := a.wait()
			if err != nil {
				return nil, err
			}
			if !ok {
				still = append(still, parts[n])
			}
		}
		failed = still
	}
	for _, o := range failed {
		clear(buf[o : o+page])
		first := phys + uint64(o)
		if n := len(bad) - 1; n >= 0 && bad[n].End+1 == first {
			bad[n].End += page
		} else {
			bad = append(bad, lime.Range{Start: first, End: first + page - 1})
		}
	}
	return bad, nil
}

// Last implements stripe.Lane.
func (l *kcoreLane) Last() time.Time { return time.Unix(0, l.last.Load()) }

// Received implements stripe.Lane.
func (l *kcoreLane) Received() int64 { return l.received.Load() }

// Close implements stripe.Lane. The script sees its standard input end, or its output
// refused, and ends; Cleanup looks whether it did.
func (l *kcoreLane) Close() {
	l.end(errLaneClosed)
	l.cancel()
	l.in.CloseWithError(io.ErrClosedPipe)
	if l.own {
		l.conn.Close()
	}
}

var (
	_ stripe.Lane = (*kcoreLane)(nil)
	_ io.Writer   = (*kcoreLane)(nil)
)

package acquire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
	"github.com/shotglass-ir/shotglass/acquire/wire"
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
	ctx    context.Context // of what the script is asked for
	cancel context.CancelFunc
	ready  chan struct{}  // closed when the script said so, or the lane has ended
	from   *io.PipeReader // what the script sends
	read   chan struct{}  // closed when nobody writes into buffers any more

	seq   int64     // of orders; the calling goroutine's
	asked []*answer // by Ask, not awaited yet; the calling goroutine's

	received atomic.Int64 // bytes of memory, of whole pieces if they come compressed
	wire     atomic.Int64 // bytes that came
	since    atomic.Int64 // of wire, before the compressed piece under way
	last     atomic.Int64 // Unix nanoseconds
	paying   atomic.Bool  // an order waits for the rate limit

	mu   sync.Mutex
	err  error     // why it has ended
	boot string    // the target's boot id, once ready
	owed []*answer // orders without an answer, in order
}

// An answer is what an order brings.
type answer struct {
	buf   []byte
	seq   int64
	how   string
	begun time.Time

	done chan struct{} // closed when whole, or the lane has ended
	ok   bool          // all of buf was read
	bad  []int         // pages that were not, in order; of readPages
	lost int           // how many were not; bad names them, unless dd does not tell
	err  error         // the lane's
}

// How an order is read.
const (
	readAll   = "all"   // at once
	readPages = "pages" // page by page
)

// Faults of a lane. None is the network's: they are the target's doing, or our own.
var (
	errLaneNoise  = errors.New("the target sent bytes that nobody asked for")
	errLaneStep   = errors.New("the target sent more or less than was asked for")
	errLaneClosed = errors.New("the connection was given up")
)

// startLane runs kcore.sh over conn and waits until it is ready, for at most laneLimit.
func startLane(ctx context.Context, st *kcoreStream, conn transport.Conn, own bool) (*kcoreLane, error) {
	l := &kcoreLane{st: st, conn: conn, own: own, ready: make(chan struct{}), read: make(chan struct{})}
	l.last.Store(time.Now().UnixNano())
	pr, pw := io.Pipe()
	l.in = pw
	from, to := io.Pipe()
	l.from = from
	zip := ""
	var unpack *wire.Unpacker
	if st.zip != "" {
		var err error
		if unpack, err = wire.NewUnpacker(st.zip); err != nil {
			return nil, fmt.Errorf("%w: %w", stripe.ErrFatal, err)
		}
		zip = wire.Command(st.zip)
	}
	cmd := st.h.rootCmd(st.mark, kcoreScript, pr, st.mark, st.src.path, zip, st.src.direct)
	cmd.Stdout, cmd.Stderr = &laneInput{l, to}, &l.stderr
	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l.ctx, l.cancel = runCtx, cancel
	st.runs.Go(func() {
		defer close(l.read)
		err := l.take(bufio.NewReaderSize(from, maxNoise), unpack)
		if err != errLaneEnded { // of the script, which says why
			l.end(err)
		}
		from.CloseWithError(err)
		if unpack != nil {
			unpack.Close()
		}
	})
	st.runs.Go(func() {
		err := conn.Run(runCtx, cmd)
		pr.CloseWithError(io.ErrClosedPipe) // unblocks Ask
		to.Close()
		<-l.read // what came before counts
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

// laneInput takes what the script sends.
type laneInput struct {
	l  *kcoreLane
	to *io.PipeWriter
}

func (in *laneInput) Write(p []byte) (int, error) {
	l := in.l
	l.wire.Add(int64(len(p)))
	l.last.Store(time.Now().UnixNano())
	return in.to.Write(p)
}

// errLaneEnded: the script's output has ended, in the middle of an answer perhaps.
var errLaneEnded = errors.New("the output has ended")

// maxNoise bounds what login scripts may print before ours begins, and the line after an
// answer: of the largest piece every page is named.
const maxNoise = 64 << 10

// take reads what the script sends, answer by answer, until the lane ends.
func (l *kcoreLane) take(r *bufio.Reader, unpack *wire.Unpacker) error {
	if err := l.begin(r); err != nil {
		return err
	}
	for {
		if _, err := r.Peek(1); err != nil {
			return errLaneEnded
		}
		l.mu.Lock()
		if l.err != nil || len(l.owed) == 0 {
			defer l.mu.Unlock()
			if l.err == nil {
				return errLaneNoise
			}
			return l.err
		}
		a := l.owed[0]
		l.mu.Unlock()
		if err := l.answer(r, unpack, a); err != nil {
			return err
		}
		l.mu.Lock()
		if l.err != nil {
			defer l.mu.Unlock()
			return l.err
		}
		l.owed = l.owed[1:]
		close(a.done)
		l.mu.Unlock()
	}
}

// begin looks for the script's first line; what login scripts print stands before it.
func (l *kcoreLane) begin(r *bufio.Reader) error {
	for noise := 0; noise < maxNoise; {
		b, err := r.ReadSlice('\n')
		if noise += len(b); err == bufio.ErrBufferFull {
			break
		} else if err != nil {
			return errLaneEnded
		}
		line, ours := strings.CutPrefix(string(b), "@"+l.st.mark+" ready ")
		if !ours {
			continue
		}
		boot := strings.TrimSpace(line)
		if boot == "" {
			return errors.New("the target did not tell its boot id")
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.err != nil {
			return l.err
		}
		l.boot = boot
		close(l.ready)
		return nil
	}
	return fmt.Errorf("the target sent %d bytes before it began", l.wire.Load())
}

// answer reads one answer: the bytes that were asked for, or a compressed piece, and a line.
func (l *kcoreLane) answer(r *bufio.Reader, unpack *wire.Unpacker, a *answer) error {
	n := len(a.buf)
	if unpack == nil {
		for at := 0; at < n; {
			k, err := r.Read(a.buf[at:])
			l.received.Add(int64(k))
			if at += k; err != nil {
				return errLaneEnded
			}
		}
	} else {
		var err error
		if n, err = unpack.Piece(r, a.buf); errors.Is(err, io.ErrUnexpectedEOF) {
			return errLaneEnded
		} else if err != nil {
			return err
		}
		l.received.Add(int64(n))
		l.since.Store(l.wire.Load())
	}
	if c, err := r.ReadByte(); err != nil {
		return errLaneEnded
	} else if c != '\n' {
		return errLaneStep
	}
	line, err := r.ReadSlice('\n')
	switch {
	case err == bufio.ErrBufferFull:
		return errLaneStep
	case err != nil:
		return errLaneEnded
	}
	return l.outcome(a, n, strings.Split(strings.TrimSuffix(string(line), "\n"), " "))
}

// outcome reads the line that ends an answer of n bytes.
func (l *kcoreLane) outcome(a *answer, n int, words []string) error {
	if len(words) < 3 || words[0] != "@"+l.st.mark || words[1] != strconv.FormatInt(a.seq, 10) {
		return errLaneStep
	}
	words = words[2:]
	if l.st.zip != "" {
		ticks, err := strconv.ParseInt(words[0], 10, 64)
		if err != nil || ticks < 0 || len(words) < 2 {
			return errLaneStep
		}
		l.st.spent(l, ticks)
		words = words[1:]
	}
	switch {
	case a.how == readAll && len(words) == 1 && words[0] == "ok" && n == len(a.buf):
		a.ok = true
		return nil
	case a.how == readAll && len(words) == 1 && words[0] == "no" && (n == len(a.buf) || l.st.zip != "" && n == 0):
		return nil
	case a.how == readPages && len(words) >= 2 && words[0] == "pages" && n == len(a.buf):
		return a.pages(words[1], words[2:])
	}
	return errLaneStep
}

// pages reads how many pages could be read and could not, and which.
func (a *answer) pages(count string, bad []string) error {
	good, lost, ok := strings.Cut(count, "+")
	n, err := strconv.Atoi(good)
	m, merr := strconv.Atoi(lost)
	if !ok || err != nil || merr != nil || n < 0 || m < 0 || n+m != len(a.buf)/page {
		return errLaneStep
	}
	a.lost, a.ok = m, m == 0
	if len(bad) == 0 { // dd of busybox only counts them
		return nil
	}
	last := -1
	for _, w := range bad {
		k, err := strconv.Atoi(w)
		if err != nil || k <= last || k >= len(a.buf)/page {
			return errLaneStep
		}
		a.bad, last = append(a.bad, k), k
	}
	if len(a.bad) != m {
		return errLaneStep
	}
	return nil
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

// order sends one order, once the rate limit lets it.
func (l *kcoreLane) order(offset uint64, buf []byte, how string) (*answer, error) {
	l.paying.Store(true)
	err := l.st.h.pace.pay(l.ctx, len(buf))
	l.paying.Store(false)
	if err != nil {
		return nil, err
	}
	a := &answer{buf: buf, seq: l.seq, how: how, begun: time.Now(), done: make(chan struct{})}
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
	if _, err := fmt.Fprintf(l.in, "%d %d %d %s\n", a.seq, offset, len(buf), how); err != nil {
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
	if a.err != nil { // the reading goroutine may still be at it
		return false, a.err
	}
	return a.ok, nil
}

// Ask implements stripe.Lane.
func (l *kcoreLane) Ask(i int64, buf []byte) error {
	_, offset, _ := l.st.layout.at(i)
	a, err := l.order(offset, buf, readAll)
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
	return l.st.whole(i, phys, a.begun, time.Now(), bad)
}

// Last implements stripe.Lane. While it is we who wait, the target is not quiet.
func (l *kcoreLane) Last() time.Time {
	if l.paying.Load() {
		return time.Now()
	}
	return time.Unix(0, l.last.Load())
}

// Received implements stripe.Lane: bytes of memory, and of a compressed piece that is under way
// those that came, up to what an honest one has: what brings no memory is no progress.
func (l *kcoreLane) Received() int64 {
	n := l.received.Load()
	if l.st.zip != "" {
		const buffered = 256 << 10 // of what follows it
		n += min(max(0, l.wire.Load()-l.since.Load()), int64(wire.Most(l.st.src.piece))+buffered)
	}
	return n
}

// Close implements stripe.Lane. The script sees its standard input end, or its output
// refused, and ends; Cleanup looks whether it did.
func (l *kcoreLane) Close() {
	l.end(errLaneClosed)
	l.cancel()
	l.in.CloseWithError(io.ErrClosedPipe)
	l.from.CloseWithError(errLaneClosed)
	if l.own {
		l.conn.Close()
	}
	<-l.read
}

var (
	_ stripe.Lane = (*kcoreLane)(nil)
	_ io.Writer   = (*laneInput)(nil)
)

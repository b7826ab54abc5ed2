package acquire

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

//go:embed agent.sh
var agentScript string

// An agent is a script of ours that lives on the target as long as it hears from us, and cleans up
// after itself in any case: agent.sh, which loads LiME and is sure to unload it, or freeze.sh.
type agent struct {
	nonce string
	dir   string // agent.sh: its folder on the target
	port  int    // agent.sh: LiME's, on the target's loopback

	in     *io.PipeWriter
	stderr tail
	cancel context.CancelFunc

	reports chan report   // from the target; closed when the agent has ended
	err     error         // why it ended; valid once reports is closed
	beats   chan struct{} // closed to stop the heartbeat
	wg      sync.WaitGroup
}

// A report is one line of the agent: a word, its arguments, and these as they came.
type report struct {
	word string
	args []string
	rest string
}

// beatInterval is how often the agent hears that we are alive.
const beatInterval = 10 * time.Second

// lease is how long the agent waits for a beat before it cleans by itself: longer
// than a stalled link may come back. It looks four times a lease, so that up to a
// quarter more may pass.
func (o *Options) lease() time.Duration { return o.StallTimeout + time.Minute }

// startAgent runs agent.sh.
func startAgent(ctx context.Context, h *remote, dir string, port int) *agent {
	a := h.attend(ctx, agentScript, h.module.Data, beatInterval, 64, dir,
		strconv.FormatInt(h.module.Size, 10), h.module.SHA256,
		strconv.Itoa(port), fmt.Sprintf("%04X", port),
		strconv.Itoa(int(h.opts.lease().Seconds())), strconv.Itoa(h.opts.LimeTimeout))
	a.dir, a.port = dir, port
	return a
}

// attend runs a script as root, with a nonce and args, first on its standard input and then
// orders, a beat among them every so often. It lives until stop, or until the connection or
// our process dies; it does not depend on ctx's end. Of reports that nobody reads it keeps room.
func (h *remote) attend(ctx context.Context, script string, first []byte, beat time.Duration, room int, args ...string) *agent {
	a := &agent{
		nonce:   newNonce(),
		reports: make(chan report, room),
		beats:   make(chan struct{}),
	}
	pr, pw := io.Pipe()
	a.in = pw
	cmd := h.rootCmd(a.nonce, script, io.MultiReader(bytes.NewReader(first), pr), append([]string{a.nonce}, args...)...)
	cmd.Stderr = &a.stderr
	outr, outw := io.Pipe()
	cmd.Stdout = outw

	runCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	conn := h.conn
	ended := make(chan error, 1)
	a.wg.Go(func() {
		err := conn.Run(runCtx, cmd)
		outw.CloseWithError(io.EOF)
		pr.CloseWithError(io.ErrClosedPipe) // unblocks beats
		ended <- err
	})
	a.wg.Go(func() {
		defer close(a.reports)
		a.read(outr)
		a.err = <-ended
	})
	a.wg.Go(func() {
		t := time.NewTicker(beat)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				if a.order("beat") != nil {
					return
				}
			case <-a.beats:
				return
			}
		}
	})
	return a
}

// read passes the agent's lines on; other lines are noise of login scripts.
// When nobody reads the reports it drops them: the stream must never wait.
func (a *agent) read(r io.Reader) {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 4096), 64<<10)
	for sc.Scan() {
		rest, ok := strings.CutPrefix(sc.Text(), "@"+a.nonce+" ")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		_, args, _ := strings.Cut(rest, " ")
		rep := report{f[0], f[1:], args}
		select {
		case a.reports <- rep:
		default:
			select { // make room: the oldest goes
			case <-a.reports:
			default:
			}
			select {
			case a.reports <- rep:
			default:
			}
		}
	}
	io.Copy(io.Discard, r)
}

// abandon ends the agent without a word: it cleans when its standard input ends.
// It is for the time in which the module is still on its way, and orders would
// wait behind it.
func (a *agent) abandon() { a.cancel() }

// order sends one line. It blocks while the link is stalled, and fails once
// the agent has ended.
func (a *agent) order(word string) error {
	_, err := io.WriteString(a.in, word+"\n")
	return err
}

// next waits for a report. The error is ctx's, or says that and why the agent
// has ended.
func (a *agent) next(ctx context.Context) (report, error) {
	select {
	case r, ok := <-a.reports:
		if !ok {
			return report{}, a.ended()
		}
		return r, nil
	case <-ctx.Done():
		return report{}, context.Cause(ctx)
	}
}

func (a *agent) ended() error {
	err := a.err
	if err == nil {
		err = errors.New("it ended by itself")
	}
	var exit *transport.ExitError
	if msg := a.stderr.String(); msg != "" && (errors.As(err, &exit) || a.err == nil) {
		return fmt.Errorf("%w: %q", err, msg)
	}
	return err
}

// stop tells the agent to unload and leave, and waits until it has, or until ctx
// ends. It returns the agent's last word; ok says that there was one. Goroutines
// have ended when it returns.
func (a *agent) stop(ctx context.Context) (last report, ok bool) {
	close(a.beats)
	go func() { // ends with the pipe: the agent's end or cancel below close it
		a.order("end")
		a.in.Close()
	}()
	for {
		r, err := a.next(ctx)
		if err != nil {
			break
		}
		if r.word == "done" {
			last, ok = r, true
			break
		}
	}
	if ok { // its exit follows at once
		wait, cancel := context.WithTimeout(ctx, 5*time.Second)
		for {
			if _, err := a.next(wait); err != nil {
				break
			}
		}
		cancel()
	}
	a.cancel()
	for range a.reports {
	}
	a.wg.Wait()
	return last, ok
}

// values reads "key=value" arguments.
func (r report) values() map[string]string {
	m := map[string]string{}
	for _, s := range r.args {
		k, v, _ := strings.Cut(s, "=")
		m[k] = v
	}
	return m
}

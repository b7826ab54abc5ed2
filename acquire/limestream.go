package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// A limeStream is a capture under way.
type limeStream struct {
	h     *remote
	agent *agent
	conn  io.ReadCloser
	pipe  *limePipe // conn, if the stream comes compressed
	dir   string
	// pipeLeft are the processes of pipe that would not end.
	pipeLeft string
	fstype   string
	params   []string
	peer     Peer

	touched bool  // the folder was made
	pushed  int64 // bytes of the module

	ended atomic.Bool // Read has returned its last error
	once  sync.Once
	kill  *time.Timer // closes the connection if closing the channel does not help
}

func (st *limeStream) Read(p []byte) (int, error) {
	n, err := st.conn.Read(p)
	if err != nil {
		st.ended.Store(true)
	}
	if err == io.EOF {
		err = st.ending()
	}
	return n, err
}

// ending tells the end of the stream from that of the connection, which x/crypto/ssh shows as
// io.EOF too.
func (st *limeStream) ending() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := st.h.conn.Ping(ctx); err != nil {
		select { // the connection knows a moment after whoever used it
		case <-st.h.conn.Done():
		case <-ctx.Done():
		}
	}
	if err := st.h.conn.Err(); err != nil {
		return err
	}
	return io.EOF
}

// unblock is how long a closed channel may take to end its reads. The end needs
// the server's answer (RFC 4254 section 5.3), which a dead link does not bring.
const unblock = 3 * time.Second

// Interrupt closes the channel, and the whole connection if that does not end
// the reads. The agent cleans the target in both cases.
func (st *limeStream) Interrupt() {
	st.once.Do(func() {
		conn := st.h.conn
		st.kill = time.AfterFunc(unblock, func() {
			if !st.ended.Load() {
				conn.Close()
			}
		})
		if st.conn != nil {
			go st.conn.Close() // on a stalled link it may block until conn is closed
		}
	})
}

// A Cleanup says what a capture left on the target.
type Cleanup struct {
	Clean  bool     // checked: nothing is left
	Left   []string // what is or may be left
	Fix    string   // the command that removes it
	Taint  string   // /proc/sys/kernel/tainted afterwards
	Insmod string   // insmod's exit status; empty when not known
}

// Cleanup unloads LiME and removes what was pushed, through the agent, or over a
// new connection when the old one is dead.
func (st *limeStream) Cleanup(ctx context.Context) *Cleanup {
	st.Interrupt()
	st.kill.Stop()
	ctx, cancel := context.WithTimeout(ctx, st.h.opts.CleanupTimeout)
	defer cancel()

	// The agent needs some seconds; a stalled link gets half of the time.
	patience, stopWait := context.WithTimeout(ctx, st.h.opts.CleanupTimeout/2)
	last, ok := st.agent.stop(patience)
	stopWait()
	if st.pipe != nil {
		st.pipe.wait()
	}
	var c *Cleanup
	switch {
	case ok:
		c = st.account(last.values())
	case !st.touched && errorIsExit(st.agent.err):
		c = &Cleanup{Clean: true, Taint: st.h.facts.Tainted} // the agent said no before it wrote anything
	default:
		c = st.reclean(ctx)
	}
	if st.pipe != nil {
		st.lookAtPipe(ctx, c)
	}
	return c
}

// lookAtPipe adds to c what is left of the processes that compressed the stream.
func (st *limeStream) lookAtPipe(ctx context.Context, c *Cleanup) {
	pids, err := st.pipe.look(ctx, st.h)
	switch {
	case err != nil:
		c.Left = append(c.Left, fmt.Sprintf("not checked (%v): a shell, %s and %s, which read LiME's port, may wait for the connection to end; they write nothing",
			err, st.pipe.zip.way, st.pipe.zip.tool))
	case pids != "":
		st.pipeLeft = pids
		c.Left = append(c.Left, fmt.Sprintf("processes %q, which read LiME's port or compressed", pids))
	default:
		return
	}
	c.Clean = false
	c.fix(st)
}

// account reads the last word of agent.sh or clean.sh, which is foreign.
func (st *limeStream) account(v map[string]string) *Cleanup {
	c := &Cleanup{Taint: digits(v["tainted"]), Insmod: digits(v["insmod"])}
	if v["module"] != "gone" {
		c.Left = append(c.Left, "kernel module lime is loaded")
	}
	if v["dir"] != "gone" {
		c.Left = append(c.Left, "folder "+st.dir)
	}
	if v["pids"] != "" {
		c.Left = append(c.Left, fmt.Sprintf("processes %q", v["pids"]))
	}
	c.Clean = len(c.Left) == 0
	c.fix(st)
	return c
}

// digits keeps numbers and drops everything else.
func digits(s string) string {
	if strings.Trim(s, "0123456789") != "" {
		return ""
	}
	return s
}

func errorIsExit(err error) bool {
	_, ok := errors.AsType[*transport.ExitError](err)
	return ok
}

// reclean finishes what the agent may have left, over a new connection unless the old
// one still answers. The agent cleans by itself once its channel is closed.
func (st *limeStream) reclean(ctx context.Context) *Cleanup {
	h := st.h
	unknown := func(err error) *Cleanup {
		c := &Cleanup{Left: []string{
			fmt.Sprintf("not checked (%v): kernel module lime may be loaded, folder %s may exist; the agent on the target removes both by itself when its channel closes, or within %s of the last sign of life",
				err, st.dir, h.opts.lease()*5/4)}}
		c.fix(st)
		return c
	}
	if err := h.alive(ctx); err != nil {
		return unknown(err)
	}
	nonce := newNonce()
	out, err := h.rootSoon(ctx, cleanScript, nonce, st.agent.nonce, st.dir, strconv.Itoa(st.agent.port), "20")
	if err != nil {
		return unknown(err)
	}
	_, rest, ok := strings.Cut(string(out), "@"+nonce+" done ")
	if !ok {
		return unknown(errors.New("the check printed no result"))
	}
	v := report{args: strings.Fields(firstLine(rest))}.values()
	if v["machine"] != h.facts.MachineID {
		return unknown(fmt.Errorf("another machine answers now, its id is %q", v["machine"]))
	}
	if v["boot"] != h.facts.BootID {
		h.mark("the target has rebooted since the capture began")
	}
	return st.account(v)
}

// fix sets the command that removes what is left.
func (c *Cleanup) fix(st *limeStream) {
	if c.Clean {
		return
	}
	fixPipe := ""
	if strings.Trim(st.pipeLeft, "0123456789 ") == "" && st.pipeLeft != "" {
		fixPipe = "; sudo kill -KILL " + st.pipeLeft
	}
	c.Fix = sshCommand(st.h.conn.Info(), "sudo pkill -x insmod; sudo rmmod lime; sudo rm -rf "+st.dir+fixPipe)
}

// Record writes the method into the manifest.
func (st *limeStream) Record(m *Manifest) {
	m.Method.Parameters = st.params
	m.Method.Port = st.agent.port
	m.Method.Buffered = channelWindow + st.h.facts.tcpBuffers + page
	if st.pipe != nil {
		m.Method.Buffered = st.pipe.buffered() + st.h.facts.tcpBuffers + page
	}
	peer := st.peer
	m.Method.Peer = &peer
	if st.pipe != nil {
		m.Method.Wire = st.pipe.use()
	}
	m.Module = &ModuleUse{Module: *st.h.module, Path: path.Join(st.dir, "lime.ko")}
	m.Footprint.BytesPushed = st.pushed
	m.Footprint.PushedTo = st.dir + " on " + st.fstype
}

var (
	_ Source    = limeSource{}
	_ Stream    = (*limeStream)(nil)
	_ io.Reader = (*limeStream)(nil)
)

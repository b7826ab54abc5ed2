package acquire

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/transport"
)

//go:embed clean.sh
var cleanScript string

// limeSource captures with the LiME kernel module
// (https://github.com/504ensicsLabs/LiME), over TCP on the target's loopback.
type limeSource struct{}

func (limeSource) Name() string { return "lime" }

// Probe refuses for every reason at once, before anything is written.
func (limeSource) Probe(ctx context.Context, h *remote) error {
	f := h.facts
	var errs []error
	refuse := func(hint, format string, args ...any) {
		errs = append(errs, &refusal{fmt.Sprintf(format, args...), hint})
	}
	if f.LimeLoaded {
		refuse("another capture may be running, or one was interrupted less than 30 s ago: wait and try again; if nobody uses it, unload it with 'rmmod lime'",
			"LiME is already loaded on the target")
	}
	if f.ModulesDisabled {
		refuse("the kernel takes no modules until it is rebooted", "kernel.modules_disabled is 1")
	}
	if f.Lockdown == "integrity" || f.Lockdown == "confidentiality" {
		refuse("load a module signed for this kernel, or take a snapshot of the machine", "the kernel is locked down (%s): unsigned modules are refused", f.Lockdown)
	} else if f.SigEnforce && (h.module == nil || !h.module.Signed) {
		refuse("sign the module with a key that the target trusts", "the kernel takes only signed modules (module.sig_enforce)")
	}
	for _, t := range []string{"insmod", "rmmod", "sha256sum", "dd", "grep", "mkdir", "sleep"} {
		if !f.tools[t] {
			refuse("", "the target has no %s", t)
		}
	}
	if f.Container != "" {
		refuse("connect to the host of the container", "the login is inside a container (%s)", f.Container)
	}
	if p := h.opts.LimePort; p != 0 && f.ports[p] {
		refuse("choose another, or let shotglass choose", "port %d is taken on the target", p)
	}
	if err := chooseModule(ctx, h); err != nil {
		errs = append(errs, err)
	}
	// A refused connection shows that the server forwards; a denied one, that it does not.
	dialCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := h.conn.DialTCP(dialCtx, net.JoinHostPort("127.0.0.1", fmt.Sprint(freePort(h))))
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, transport.ErrForwardingDenied):
		refuse("allow it for this login: AllowTcpForwarding local in sshd_config, or log in as another user", "the SSH server forwards no TCP connections: %v", err)
	case !errors.Is(err, transport.ErrConnRefused):
		errs = append(errs, fmt.Errorf("forward a TCP connection: %w", err))
	}
	return errors.Join(errs...)
}

// A refusal is a reason with what to do about it.
type refusal struct{ what, hint string }

func (e *refusal) Error() string { return e.what }
func (e *refusal) Hint() string  { return e.hint }

// chooseModule finds a module that fits and may be loaded.
func chooseModule(ctx context.Context, h *remote) error {
	f := h.facts
	k := kernelmodules.Kernel{Release: f.Kernel, Machine: f.Machine}
	if h.opts.Modules == nil {
		return &refusal{fmt.Sprintf("no LiME module was given for kernel %q (%s)", k.Release, k.Machine),
			"name a module or a folder of modules with --module"}
	}
	m, err := h.opts.Modules.Find(ctx, k)
	if err != nil {
		return err
	}
	if !m.Verified() && !h.opts.AllowUnverifiedModule {
		return &refusal{fmt.Sprintf("module %s is not verified: nobody pinned its digest", m.Origin),
			fmt.Sprintf("compare its digest with the record of its build, then pass --module-sha256 %s; or accept it on record with --insecure-unverified-module", m.SHA256)}
	}
	h.module = m
	return nil
}

// freePort picks a port on which nothing listens, outside the range from which the
// kernel takes ports for outgoing connections.
func freePort(h *remote) int {
	if p := h.opts.LimePort; p != 0 {
		return p
	}
	for {
		p := 10000 + rand.IntN(55000)
		if !h.facts.ports[p] && (p < h.facts.ephemeral[0] || p > h.facts.ephemeral[1]) {
			return p
		}
	}
}

// tries is how often LiME is started when another program takes the port
// between the choice and the bind.
const tries = 3

// Open loads LiME and connects to it. No byte of memory has been read for us yet
// when it fails, but a stranger may have got some: see errDisclosed.
func (s limeSource) Open(ctx context.Context, h *remote) (Stream, *Cleanup, error) {
	var clean *Cleanup
	for i := range tries {
		st, err := s.open(ctx, h)
		if err == nil {
			return st, nil, nil
		}
		clean = st.Cleanup(context.WithoutCancel(ctx))
		err = st.explain(err)
		if !errors.Is(err, errPortTaken) || h.opts.LimePort != 0 || i == tries-1 || !clean.Clean || ctx.Err() != nil {
			return nil, clean, err
		}
		h.mark("port %d was taken on the target, trying another", st.agent.port)
		h.facts.ports[st.agent.port] = true
	}
	panic("unreachable")
}

// errPortTaken: insmod failed with EADDRINUSE.
var errPortTaken = errors.New("the port is taken on the target")

func (limeSource) open(ctx context.Context, h *remote) (*limeStream, error) {
	base, fstype := h.facts.ramFolder()
	st := &limeStream{h: h, fstype: fstype, dir: path.Join(base, ".sg-"+newNonce())}
	st.agent = startAgent(ctx, h, st.dir, freePort(h))
	h.mark("loading LiME from %s (%s), port %d on the target's loopback", st.dir, fstype, st.agent.port)

	ctx, cancel := context.WithTimeoutCause(ctx, 3*time.Minute, errors.New("LiME did not start to listen within 3 minutes"))
	defer cancel()
	if err := st.awaitListening(ctx); err != nil {
		return st, err
	}
	h.mark("LiME listens, its file is unlinked")
	conn, err := h.conn.DialTCP(ctx, net.JoinHostPort("127.0.0.1", fmt.Sprint(st.agent.port)))
	if err != nil {
		return st, fmt.Errorf("connect to LiME: %w", err)
	}
	st.conn = conn
	if err := st.checkPeer(ctx); err != nil {
		return st, err
	}
	h.mark("LiME's client is our own SSH server: %s", st.peer.Detail)
	return st, nil
}

// awaitListening follows the agent until LiME listens.
func (st *limeStream) awaitListening(ctx context.Context) error {
	for {
		r, err := st.agent.next(ctx)
		if err != nil {
			return fmt.Errorf("load LiME: %w", err)
		}
		switch r.word {
		case "dir":
			st.touched = true
		case "pushed":
			st.pushed = st.h.module.Size
		case "param":
			st.params = append(st.params, strings.Join(r.args, " "))
		case "listening":
			return nil
		case "failed":
			return fmt.Errorf("load LiME: %s failed on the target: %q", strings.Join(r.args, " "), st.agent.stderr.String())
		case "insmod": // it ended without having listened
			return &errInsmod{strings.Join(r.args, " ")}
		}
	}
}

// errInsmod: insmod ended before LiME listened. What it said is complete only
// once the agent has ended: see explain.
type errInsmod struct{ code string }

func (e *errInsmod) Error() string { return "load LiME: insmod exited " + e.code }

// explain adds what insmod said, and what that means. The agent has ended.
func (st *limeStream) explain(err error) error {
	e, ok := errors.AsType[*errInsmod](err)
	if !ok {
		return err
	}
	msg := st.agent.stderr.String()
	says := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(msg, s) })
	}
	switch err = fmt.Errorf("%w: %q", e, msg); {
	case says("Address already in use"):
		return fmt.Errorf("%w: %w", errPortTaken, err)
	case says("Invalid module format", "Unknown symbol"):
		return &hinted{fmt.Errorf("the kernel refuses the module: %w", err),
			"build the module for exactly this kernel; the target's kernel log says what does not fit"}
	case says("Key was rejected", "Operation not permitted", "Required key not available"):
		return &hinted{fmt.Errorf("the kernel refuses the module: %w", err),
			"the kernel wants a module that is signed with a key it trusts"}
	}
	return err
}

// hinted adds what to do to an error.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }
func (e *hinted) Hint() string  { return e.hint }

// errDisclosed: LiME served somebody else.
type errDisclosed struct{ detail string }

func (e *errDisclosed) Error() string {
	return "LiME's client is not our SSH server: " + e.detail + "; memory of the target may have been disclosed to another of its users; LiME was stopped"
}

func (e *errDisclosed) Hint() string {
	return "treat the target's memory as known to that user; look for the process on the target before you try again"
}

// checkPeer makes sure that the client which LiME serves is the socket of our own
// SSH server: loopback is shared with all users of the target, and LiME serves
// whoever comes first. It asks until LiME has accepted somebody.
func (st *limeStream) checkPeer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("LiME accepted no client within a minute"))
	defer cancel()
	for {
		if err := st.agent.order("check"); err != nil {
			return fmt.Errorf("check LiME's client: %w", st.agent.ended())
		}
		var rows []socket
		owners := map[string]string{}
		for {
			r, err := st.agent.next(ctx)
			if err != nil {
				return fmt.Errorf("check LiME's client: %w", err)
			}
			if r.word == "row" {
				if s, ok := parseSocket(strings.Join(r.args, " ")); ok {
					rows = append(rows, s)
				}
			}
			if r.word == "socket" && len(r.args) >= 2 {
				owners[r.args[1]] = strings.Join(append([]string{r.args[0]}, r.args[2:]...), " ")
			}
			if r.word == "insmod" {
				return fmt.Errorf("check LiME's client: insmod ended (%s) before the capture began", strings.Join(r.args, " "))
			}
			if r.word == "checked" {
				break
			}
		}
		peer, decided := judgePeer(rows, owners, st.agent.port)
		if decided {
			st.peer = peer
			if !peer.Verified {
				return &errDisclosed{peer.Detail}
			}
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("check LiME's client: %w", context.Cause(ctx))
		}
	}
}

// judgePeer decides from the target's sockets whom LiME serves. owners maps
// "socket:[inode]" to the process among our ancestors that holds it. It is
// undecided while LiME has accepted nobody.
func judgePeer(rows []socket, owners map[string]string, port int) (p Peer, decided bool) {
	for _, s := range rows {
		if s.localPort != port || s.state == tcpListen || s.inode == 0 {
			continue // not LiME's side, or still in the accept queue
		}
		i := slices.IndexFunc(rows, func(c socket) bool {
			return c.localPort == s.remotePort && c.local == s.remote && c.remotePort == port
		})
		if i < 0 {
			return Peer{Detail: fmt.Sprintf("a client on port %d that has gone", s.remotePort)}, true
		}
		c := rows[i]
		key := fmt.Sprintf("socket:[%d]", c.inode)
		if who, ok := owners[key]; ok {
			return Peer{Verified: true, Detail: fmt.Sprintf("port %d, inode %d, process %q", c.localPort, c.inode, who)}, true
		}
		return Peer{Detail: fmt.Sprintf("a process of uid %d on port %d, inode %d", c.uid, c.localPort, c.inode)}, true
	}
	return Peer{}, false
}

// A limeStream is a capture under way.
type limeStream struct {
	h      *remote
	agent  *agent
	conn   net.Conn
	dir    string
	fstype string
	params []string
	peer   Peer

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
	return n, err
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
	Clean bool     // checked: nothing is left
	Left  []string // what is or may be left
	Fix   string   // the command that removes it
	Taint string   // /proc/sys/kernel/tainted afterwards
}

// Cleanup unloads LiME and removes what was pushed, through the agent, or over a
// new connection when the old one is dead.
func (st *limeStream) Cleanup(ctx context.Context) *Cleanup {
	st.Interrupt()
	st.kill.Stop()
	ctx, cancel := context.WithTimeout(ctx, st.h.opts.CleanupTimeout)
	defer cancel()

	// The agent needs at most 10 s; a stalled link gets a third of the time.
	patience, stopWait := context.WithTimeout(ctx, st.h.opts.CleanupTimeout/3)
	last, ok := st.agent.stop(patience)
	stopWait()
	if ok {
		v := last.values()
		c := &Cleanup{Taint: v["tainted"]}
		if v["module"] != "gone" {
			c.Left = append(c.Left, "kernel module lime is loaded")
		}
		if v["dir"] != "gone" {
			c.Left = append(c.Left, "folder "+st.dir)
		}
		c.Clean = len(c.Left) == 0
		c.fix(st)
		return c
	}
	if !st.touched && errorIsExit(st.agent.err) {
		return &Cleanup{Clean: true, Taint: st.h.facts.Tainted} // the agent said no before it wrote anything
	}
	return st.reclean(ctx)
}

func errorIsExit(err error) bool {
	var exit *transport.ExitError
	return errors.As(err, &exit)
}

// reclean connects anew and finishes what the agent may have left. The agent
// cleans by itself once its channel is closed.
func (st *limeStream) reclean(ctx context.Context) *Cleanup {
	h := st.h
	h.mark("connection lost before the target said that it is clean, connecting again")
	h.conn.Close()
	unknown := func(err error) *Cleanup {
		c := &Cleanup{Left: []string{
			fmt.Sprintf("not checked (%v): kernel module lime may be loaded, folder %s may exist; the agent on the target removes both by itself when its channel closes or after %s without a sign of life",
				err, st.dir, h.opts.StallTimeout+time.Minute)}}
		c.fix(st)
		return c
	}
	var conn transport.Conn
	var err error
	for {
		conn, err = h.opts.Dialer.Dial(ctx, h.target)
		if err == nil {
			break
		}
		var key *transport.HostKeyError
		if errors.As(err, &key) || errors.Is(err, transport.ErrAuth) {
			return unknown(err)
		}
		select {
		case <-ctx.Done():
			return unknown(fmt.Errorf("could not connect again: %w", err))
		case <-time.After(2 * time.Second):
		}
	}
	h.conn = conn
	nonce := newNonce()
	out, err := h.root(ctx, cleanScript, nonce, st.agent.nonce, st.dir, fmt.Sprint(st.agent.port), "20")
	if err != nil {
		return unknown(err)
	}
	_, rest, ok := strings.Cut(string(out), "@"+nonce+" done ")
	if !ok {
		return unknown(errors.New("the check printed no result"))
	}
	v := report{args: strings.Fields(firstLine(rest))}.values()
	c := &Cleanup{Taint: v["tainted"]}
	if v["boot"] != h.facts.BootID {
		h.mark("the target has rebooted since the capture began")
	}
	if v["module"] != "gone" {
		c.Left = append(c.Left, "kernel module lime is loaded")
	}
	if v["dir"] != "gone" {
		c.Left = append(c.Left, "folder "+st.dir)
	}
	if v["pids"] != "" {
		c.Left = append(c.Left, "processes "+v["pids"])
	}
	c.Clean = len(c.Left) == 0
	c.fix(st)
	return c
}

// fix sets the command that removes what is left.
func (c *Cleanup) fix(st *limeStream) {
	if c.Clean {
		return
	}
	info := st.h.conn.Info()
	host, port, err := net.SplitHostPort(info.Addr)
	if err != nil {
		host, port = info.Addr, "22"
	}
	c.Fix = fmt.Sprintf("ssh -p %s %s@%s 'sudo rmmod lime; sudo rm -rf %s'", port, info.User, host, st.dir)
}

// Record writes the method into the manifest.
func (st *limeStream) Record(m *Manifest) {
	m.Method.Parameters = st.params
	m.Method.Port = st.agent.port
	peer := st.peer
	m.Method.Peer = &peer
	m.Module = &ModuleUse{Module: *st.h.module, Path: path.Join(st.dir, "lime.ko")}
	m.Footprint.BytesPushed = st.pushed
	m.Footprint.PushedTo = st.dir + " on " + st.fstype
}

var (
	_ Source    = limeSource{}
	_ Stream    = (*limeStream)(nil)
	_ io.Reader = (*limeStream)(nil)
)

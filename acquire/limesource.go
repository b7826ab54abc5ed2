package acquire

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/wire"
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
	moduleErr := chooseModule(ctx, h)
	if f.LimeLoaded {
		refuse("another capture may be running, or one was interrupted less than 30 s ago: wait and try again; if nobody uses it, unload it with 'rmmod lime'",
			"LiME is already loaded on the target")
	}
	if f.ModulesDisabled {
		refuse("the kernel takes no modules until it is rebooted", "kernel.modules_disabled is 1")
	}
	if f.wantsSigned() && (h.module == nil || !h.module.Signed) {
		refuse("give a module that is signed with a key which the target trusts, or take a snapshot of the machine",
			"the kernel takes only signed modules (lockdown %q, module.sig_enforce %t)", f.Lockdown, f.SigEnforce)
	}
	for _, t := range []string{"insmod", "rmmod", "sha256sum", "dd", "grep", "mkdir", "sleep"} {
		if !f.tools[t] {
			refuse("", "the target has no %s", t)
		}
	}
	if f.Container != "" {
		refuse("connect to the host of the container", "the login is inside a container (%q)", f.Container)
	}
	if p := h.opts.LimePort; p != 0 && f.ports[p] {
		refuse("choose another, or let shotglass choose", "port %d is taken on the target", p)
	}
	if moduleErr != nil {
		errs = append(errs, moduleErr)
	}
	port, err := freePort(h)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	// A refused connection shows that the server forwards; a denied one, that it does not.
	dialCtx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := h.conn.DialTCP(dialCtx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
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

// chooseModule finds a module that fits and may be loaded: of those that the user named, or else one
// that is installed on the target.
func chooseModule(ctx context.Context, h *remote) error {
	h.module = nil
	k := kernelmodules.Kernel{Release: h.facts.Kernel, Machine: h.facts.Machine}
	ours, err := storedModule(ctx, h, k)
	if err == nil && (ours.Signed || !h.facts.wantsSigned()) {
		h.module = ours
		return nil
	}
	theirs, terr := installedModule(ctx, h, k)
	switch {
	case theirs != nil:
		h.module = theirs
		return nil
	case err == nil:
		h.module = ours // Probe says that it is not signed
		return terr
	}
	return errors.Join(err, terr)
}

// storedModule finds a module among those that the user named.
func storedModule(ctx context.Context, h *remote, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	if h.opts.Modules == nil {
		return nil, &refusal{fmt.Sprintf("no LiME module was given for kernel %q (%s)", k.Release, k.Machine),
			"name a module or a folder of modules with --module, or a signed repository with --repository"}
	}
	m, err := h.opts.Modules.Find(ctx, k)
	if err != nil {
		return nil, err
	}
	if !m.Verified() && !h.opts.AllowUnverifiedModule {
		why, pin := "nobody pinned its digest", ""
		if m.Signature == kernelmodules.UnsignedRepo {
			why, pin = "the signature of its repository was not checked", "pin the key of the repository with --repository-key; or "
		}
		return nil, &refusal{fmt.Sprintf("module %s is not verified: %s", m.Origin, why),
			pin + fmt.Sprintf("compare its digest with the record of its build, then pass --module-sha256 %s; or accept it on record with --insecure-unverified-module", m.SHA256)}
	}
	return m, nil
}

// freePort picks a port on which nothing listens, outside the range from which the
// kernel takes ports for outgoing connections, if that leaves any.
func freePort(h *remote) (int, error) {
	if p := h.opts.LimePort; p != 0 {
		return p, nil
	}
	for i := range 2000 {
		p := 10000 + rand.IntN(55000)
		outgoing := p >= h.facts.ephemeral[0] && p <= h.facts.ephemeral[1]
		if !h.facts.ports[p] && (!outgoing || i >= 1000) {
			return p, nil
		}
	}
	return 0, &refusal{"no TCP port is free on the target", "name one with --lime-port"}
}

// tries is how often LiME is started when another program takes the port
// between the choice and the bind.
const tries = 3

// Open loads LiME and connects to it. No byte of memory has been read for us yet
// when it fails, but a stranger may have got some: see errDisclosed.
func (s limeSource) Open(ctx context.Context, h *remote) (Stream, *Cleanup, error) {
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		st, err := s.open(ctx, h)
		if err == nil {
			return st, nil, nil
		}
		if st == nil {
			return nil, nil, err
		}
		clean := st.Cleanup(context.WithoutCancel(ctx))
		err = st.explain(err)
		if !errors.Is(err, errPortTaken) || h.opts.LimePort != 0 || try == tries || !clean.Clean {
			return st, clean, err
		}
		h.mark("port %d was taken on the target, trying another", st.agent.port)
		h.facts.ports[st.agent.port] = true
	}
}

// errPortTaken: insmod failed with EADDRINUSE.
var errPortTaken = errors.New("the port is taken on the target")

// Limits of the steps before the stream. Pushing 27 KB takes a second; a module
// that is not stripped has 2 MB, and dd reads it byte by byte.
const (
	pushLimit   = 10 * time.Minute
	listenLimit = 3 * time.Minute
)

// open returns the stream with an error too, so that it can be cleaned.
func (limeSource) open(ctx context.Context, h *remote) (*limeStream, error) {
	base, fstype := h.facts.ramFolder()
	port, err := freePort(h)
	if err != nil {
		return nil, err
	}
	st := &limeStream{h: h, fstype: fstype, dir: path.Join(base, ".sg-"+newNonce())}
	st.agent = startAgent(ctx, h, st.dir, port)
	h.mark("loading LiME from %s (%s), port %d on the target's loopback", st.dir, fstype, port)

	pushCtx, cancel := context.WithTimeoutCause(ctx, pushLimit, fmt.Errorf("the module was not pushed within %s", pushLimit))
	defer cancel()
	if err := st.awaitPush(pushCtx); err != nil {
		return st, err
	}
	ctx, cancel = context.WithTimeoutCause(ctx, listenLimit, fmt.Errorf("LiME did not start to serve within %s", listenLimit))
	defer cancel()
	if err := st.awaitListening(ctx); err != nil {
		return st, err
	}
	h.mark("LiME listens, its file is unlinked")
	if h.zip.tool != "" && h.zip.way != "" {
		st.pipe = startPipe(ctx, h, st.agent.nonce, port)
		st.conn = st.pipe
		h.mark("LiME's stream comes through %s and %q on the target", h.zip.way, wire.Command(h.zip.tool))
	} else {
		conn, err := h.conn.DialTCP(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return st, fmt.Errorf("connect to LiME: %w", err)
		}
		st.conn = conn
	}
	if err := st.checkPeer(ctx); err != nil {
		if _, ok := errors.AsType[*errDisclosed](err); ok {
			st.agent.order("kill") // at once: somebody is reading
		}
		return st, err
	}
	if st.pipe != nil {
		go st.pipe.start() // ends with Close; a stalled link may hold it up
	}
	h.mark("LiME's client is our own: %s", st.peer.Detail)
	return st, nil
}

// awaitPush follows the agent until the module lies on the target and is whole.
func (st *limeStream) awaitPush(ctx context.Context) error {
	for {
		r, err := st.agent.next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				st.agent.abandon()
			}
			return fmt.Errorf("push the module: %w", err)
		}
		switch r.word {
		case "dir":
			st.touched = true
		case "pushed":
			st.pushed = st.h.module.Size
			return nil
		case "failed":
			return st.agentFailed(r)
		}
	}
}

// agentFailed explains why the agent gave up.
func (st *limeStream) agentFailed(r report) error {
	what := strings.Join(r.args, " ")
	switch {
	case what == "loaded":
		return &refusal{"LiME was loaded by somebody else meanwhile", "wait for that capture to end, then try again"}
	case strings.HasPrefix(what, "digest"):
		return fmt.Errorf("push the module: it arrived altered: %q", what)
	}
	return fmt.Errorf("load LiME: %q failed on the target: %q", what, st.agent.stderr.String())
}

// awaitListening follows the agent until LiME listens.
func (st *limeStream) awaitListening(ctx context.Context) error {
	for {
		r, err := st.agent.next(ctx)
		if err != nil {
			return fmt.Errorf("load LiME: %w", err)
		}
		switch r.word {
		case "param":
			st.params = append(st.params, strings.Join(r.args, " "))
		case "listening":
			return nil
		case "failed":
			return st.agentFailed(r)
		case "insmod": // it ended without having been seen to listen
			return insmodEnded(r)
		}
	}
}

// insmodEnded is why insmod ended before the stream began. LiME ends with 0 only
// after it has served a client, and that was not us.
func insmodEnded(r report) error {
	code := strings.Join(r.args, " ")
	if code == "0" {
		return &errDisclosed{"a client that came before us has been served"}
	}
	return &errInsmod{code}
}

// errInsmod: insmod ended before LiME listened. What it said is complete only
// once the agent has ended: see explain.
type errInsmod struct{ code string }

func (e *errInsmod) Error() string { return fmt.Sprintf("load LiME: insmod exited %q", e.code) }

// explain adds what insmod said, and what that means. The agent has ended.
func (st *limeStream) explain(err error) error {
	e, ok := errors.AsType[*errInsmod](err)
	if !ok {
		return err
	}
	msg := st.agent.stderr.String()
	says := func(texts ...string) bool { // kmod's words and busybox's differ in case
		return slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(msg), s) })
	}
	switch err = fmt.Errorf("%w: %q", e, msg); {
	case says("address already in use"):
		return fmt.Errorf("%w: %w", errPortTaken, err)
	// Symbols of another version are EINVAL, but for the first (kernel/module/version.c).
	case says("invalid module format", "unknown symbol", "wrong symbol version", "invalid parameters", "invalid argument"):
		return &hinted{fmt.Errorf("the kernel refuses the module: %w", err),
			"build the module for exactly this kernel; the target's kernel log says what does not fit"}
	case says("key was rejected", "operation not permitted", "required key not available"):
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

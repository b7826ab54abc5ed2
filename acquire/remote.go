package acquire

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/transport"
)

// A remote is one target during one capture: its connection, how to be root on it,
// and the account of what was done there.
type remote struct {
	name   string
	target transport.Target
	opts   *Options

	conn  transport.Conn
	since time.Time // from when conn is
	again bool      // conn is not the first
	priv  privilege
	facts *Facts

	module *kernelmodules.Module
	pace   *pacer // of the capture under way
	zip    zip    // how bytes may come compressed

	commands, sudo, logins atomic.Int64

	clock steadyClock // set when a capture begins

	mu       sync.Mutex
	timeline []Moment
}

// privilege is how commands become root.
type privilege struct {
	kind     string // root, sudo, sudo with password
	password []byte
}

const (
	privRoot     = "root"
	privSudo     = "sudo"
	privSudoPass = "sudo with password"
)

// alive makes sure that there is a connection that answers, a new one if need be, to the
// machine with the same host key. It tries until ctx ends, or it cannot get better.
func (h *remote) alive(ctx context.Context) error {
	was := h.conn.Info().HostKey
	ping, cancel := context.WithTimeout(ctx, 5*time.Second)
	_, err := h.conn.Ping(ping)
	cancel()
	if err == nil {
		return nil
	}
	h.mark("connection lost before the target said that it is clean, connecting again")
	h.conn.Close()
	for {
		conn, err := h.opts.Dialer.Dial(ctx, h.target)
		if err == nil {
			h.conn, h.since, h.again = conn, time.Now(), true
			h.logins.Add(1)
			break
		}
		if final(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("could not connect again: %w", err)
		case <-time.After(2 * time.Second):
		}
	}
	if key := h.conn.Info().HostKey; key != was {
		return fmt.Errorf("the machine that answers now has another host key, %s", key)
	}
	return nil
}

// mark adds a moment to the timeline.
func (h *remote) mark(format string, args ...any) {
	m := Moment{h.opts.Now().UTC(), fmt.Sprintf(format, args...)}
	h.mu.Lock()
	h.timeline = append(h.timeline, m)
	h.mu.Unlock()
	h.opts.Log.Info(m.Event, "host", h.name)
}

// moments returns the timeline so far. Others may go on to mark.
func (h *remote) moments() []Moment {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.timeline)
}

// commandLimit bounds a command whose output is read whole: the longest, a search of all processes
// or sums of sampled pages, takes a minute on a slow target.
const commandLimit = 5 * time.Minute

// errNoAnswer ends a command that takes longer: the target hangs, or wants to hold us up.
type errNoAnswer struct{ after time.Duration }

func (e *errNoAnswer) Error() string {
	return fmt.Sprintf("the command did not end on the target within %s", e.after)
}

func (e *errNoAnswer) Hint() string {
	return "log in by hand and look what hangs there, sudo or a program that the command runs (ps -ef --forest), or leave this host out"
}

// inTime bounds a command by commandLimit, or by what is nearer in ctx. Without it one host could
// stop all of a plan.
func (h *remote) inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := commandLimit
	if h.opts.testOnlyCommandLimit > 0 {
		limit = h.opts.testOnlyCommandLimit
	}
	return context.WithTimeoutCause(ctx, limit, &errNoAnswer{limit})
}

// plain runs a script as the login user.
func (h *remote) plain(ctx context.Context, script string, args ...string) ([]byte, error) {
	ctx, cancel := h.inTime(ctx)
	defer cancel()
	h.commands.Add(1)
	var out limitedBuffer
	err := h.conn.Run(ctx, &transport.Cmd{
		Argv:   append([]string{"/bin/sh", "-c", script, "shotglass"}, args...),
		Stdout: &out,
	})
	return out.Bytes(), err
}

// root runs a script as root and returns its output.
func (h *remote) root(ctx context.Context, script string, args ...string) ([]byte, error) {
	ctx, cancel := h.inTime(ctx)
	defer cancel()
	var out limitedBuffer
	cmd := h.rootCmd(newNonce(), script, nil, args...)
	cmd.Stdout = &out
	err := h.conn.Run(ctx, cmd)
	return out.Bytes(), err
}

// A target that has just been booted lets in before it lets anybody be root.
const (
	rootLimit = time.Minute
	rootPause = 2 * time.Second
)

// rootSoon is root over a connection that alive may have made anew: what the target refuses is tried again
// until the connection is rootLimit old.
func (h *remote) rootSoon(ctx context.Context, script string, args ...string) ([]byte, error) {
	for {
		out, err := h.root(ctx, script, args...)
		if err == nil || !errorIsExit(err) || !h.again || time.Since(h.since) > rootLimit {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, err
		case <-time.After(rootPause):
		}
	}
}

// boot reads a script from standard input and runs it, so that neither the
// process list nor sudo's log shows it. What comes before the nonce is a password
// that sudo did not need. dd reads byte by byte, since what follows the
// script is the script's own input.
const boot = `while IFS= read -r l; do [ "$l" = "$1" ] && break; done; [ "$l" = "$1" ] || exit 97; eval "$(dd bs=1 count="$2" 2>/dev/null)"`

// rootCmd is the command that runs a script as root, with args as its positional
// parameters and then stdin, if any, as its standard input. nonce is in the
// command line, so that the processes can be found by it.
func (h *remote) rootCmd(nonce, script string, stdin io.Reader, args ...string) *transport.Cmd {
	h.commands.Add(1)
	var in bytes.Buffer
	if h.priv.kind == privSudoPass {
		in.Write(h.priv.password)
		in.WriteByte('\n')
	}
	in.WriteString(nonce + "\n")
	script = "BOOT='" + nonce + "'\n" + withArgs(script, args)
	in.WriteString(script)
	argv := []string{"/bin/sh", "-c", boot, "shotglass", nonce, strconv.Itoa(len(script))}
	switch h.priv.kind {
	case privSudo:
		h.sudo.Add(1)
		argv = append([]string{"sudo", "-k", "-n", "--"}, argv...)
	case privSudoPass:
		h.sudo.Add(1)
		argv = append([]string{"sudo", "-k", "-S", "-p", "", "--"}, argv...)
	}
	cmd := &transport.Cmd{Argv: argv, Stdin: &in}
	if stdin != nil {
		cmd.Stdin = io.MultiReader(&in, stdin)
	}
	return cmd
}

// withArgs sets a script's positional parameters, and takes its comments away.
func withArgs(script string, args []string) string {
	var b strings.Builder
	b.WriteString("set --")
	for _, a := range args {
		b.WriteString(" '" + strings.ReplaceAll(a, "'", `'\''`) + "'")
	}
	b.WriteByte('\n')
	for line := range strings.Lines(script) {
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// errSudo explains why commands cannot become root.
type errSudo struct {
	user   string
	asked  bool // a password was given
	reason error
}

func (e *errSudo) Error() string {
	if e.asked {
		return fmt.Sprintf("login %q cannot become root: sudo refused the password: %v", e.user, e.reason)
	}
	return fmt.Sprintf("login %q cannot become root: sudo wants a password or refuses: %v", e.user, e.reason)
}

func (e *errSudo) Unwrap() error { return e.reason }

// Hint says what to do.
func (e *errSudo) Hint() string {
	if e.asked {
		return "check the sudo password, or log in as root or as a user whom sudo lets run /bin/sh"
	}
	return "give the sudo password (--ask-sudo-password, --sudo-password-file), or log in as root or as a user whom sudo lets run /bin/sh"
}

// hello tells who we are and the target's time, marked against the noise of login scripts.
const hello = `printf '\n@%s %s %s\n' "$1" "$(id -u)" "$(date -u +%s.%N)"`

// learn finds out how to be root and reads the facts.
func (h *remote) learn(ctx context.Context) error {
	nonce := newNonce()
	before := h.opts.Now()
	out, err := h.plain(ctx, hello, nonce)
	after := h.opts.Now()
	if err != nil {
		return fmt.Errorf("run a command: %w", err)
	}
	_, said, ok := strings.Cut(string(out), "\n@"+nonce+" ")
	words := strings.Fields(firstLine(said))
	if !ok || len(words) == 0 {
		return fmt.Errorf("run a command: the target answered %q; is the login shell restricted?", out[:min(len(out), 200)])
	}

	var facts []byte
	if words[0] == "0" {
		h.priv = privilege{kind: privRoot}
		facts, err = h.root(ctx, factsScript, nonce)
	} else {
		h.priv = privilege{kind: privSudo}
		facts, err = h.root(ctx, factsScript, nonce)
		if refusedBySudo(err, facts, nonce) {
			if err := h.sudoPassword(ctx, err); err != nil {
				return err
			}
			facts, err = h.root(ctx, factsScript, nonce)
		}
	}
	if err != nil {
		return fmt.Errorf("read facts: %w", err)
	}
	f, err := parseFacts(facts, nonce)
	if err != nil {
		return err
	}
	if len(words) > 1 {
		f.Clock, f.ClockOffset, f.ClockError = clock(words[1], before, after)
	}
	h.facts = f
	return nil
}

// sudoPassword asks for sudo's password and tries it once, alone: sudo takes what
// follows a wrong password for the next try, and targets lock a login after three.
func (h *remote) sudoPassword(ctx context.Context, refused error) error {
	user := h.conn.Info().User
	if h.opts.SudoPassword == nil {
		return &errSudo{user: user, reason: refused}
	}
	password, err := h.opts.SudoPassword(ctx, fmt.Sprintf("sudo password of %s on %s", user, h.name))
	if errors.Is(err, transport.ErrNoSecret) {
		return &errSudo{user: user, reason: refused}
	} else if err != nil {
		return fmt.Errorf("sudo password: %w", err)
	}
	h.commands.Add(1)
	h.sudo.Add(1)
	ctx, cancel := h.inTime(ctx)
	defer cancel()
	err = h.conn.Run(ctx, &transport.Cmd{
		Argv:  []string{"sudo", "-k", "-S", "-p", "", "--", "true"},
		Stdin: io.MultiReader(bytes.NewReader(password), strings.NewReader("\n")),
	})
	if errorIsExit(err) {
		return &errSudo{user: user, asked: true, reason: err}
	} else if err != nil {
		return fmt.Errorf("try sudo's password: %w", err)
	}
	h.priv = privilege{kind: privSudoPass, password: password}
	return nil
}

// refusedBySudo says that the script never ran: sudo failed, not the script.
func refusedBySudo(err error, out []byte, nonce string) bool {
	var exit *transport.ExitError
	return errors.As(err, &exit) && !bytes.Contains(out, []byte("@@"+nonce))
}

// clock reads "seconds.nanoseconds"; a date without %N leaves the seconds.
func clock(s string, before, after time.Time) (at time.Time, offset, uncertain time.Duration) {
	sec, frac, _ := strings.Cut(s, ".")
	secs, err := strconv.ParseInt(sec, 10, 64)
	if err != nil {
		return time.Time{}, 0, 0
	}
	nanos, err := strconv.ParseInt(frac, 10, 64)
	uncertain = after.Sub(before) / 2
	if err != nil || nanos < 0 || nanos >= 1e9 {
		nanos = 5e8 // the middle of the second
		uncertain += time.Second / 2
	}
	at = time.Unix(secs, nanos).UTC()
	return at, at.Sub(before.Add(after.Sub(before) / 2)), uncertain
}

// newNonce returns 16 random hex digits.
func newNonce() string {
	var b [8]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}

// maxOutput bounds what one command of a hostile target may print.
const maxOutput = 8 << 20

// A limitedBuffer keeps the first maxOutput bytes; more are an error.
type limitedBuffer struct{ bytes.Buffer }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	n, _ := b.Buffer.Write(p[:min(len(p), maxOutput-b.Len())])
	if n < len(p) {
		return n, fmt.Errorf("the target printed more than %d bytes", maxOutput)
	}
	return n, nil
}

// A tail keeps the last bytes written to it; it locks.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - tailSize; n > 0 {
		t.b = append(t.b[:0], t.b[n:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}

var _ io.Writer = (*tail)(nil)

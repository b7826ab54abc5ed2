// Package transport reaches the target: it dials over SSH, runs commands there
// and opens TCP connections from there.
//
// The rest of shotglass sees two small interfaces. A [Dialer] turns a [Target]
// into a [Conn]; a Conn runs commands and forwards TCP connections. Everything
// SSH knows (keys, agents, host keys, ssh_config, jump chains, ProxyCommand) is
// settled before Dial returns. Package transporttest holds the conformance
// suite that every implementation passes.
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"time"
)

// A Dialer connects to targets. It is safe for concurrent use.
type Dialer interface {
	// Dial connects and authenticates. It returns a *HostKeyError when the
	// host key is unknown, changed or revoked, an error wrapping ErrAuth when
	// no credential was accepted, a *GrantError when a service granted no key, and any other error when the target cannot
	// be reached. A cancelled ctx leaves no connection behind. The dial
	// deadline bounds Dial alone; it does not bound the life of the Conn.
	Dial(ctx context.Context, t Target) (Conn, error)
}

// A Conn is one authenticated connection to one target. It is safe for
// concurrent use; commands and forwarded connections share its bandwidth.
type Conn interface {
	// Run starts cmd and waits for it. The error is nil when the command
	// exited 0, an *ExitError when it exited otherwise, ErrNoExitStatus
	// (wrapped) when the connection or the channel ended without an exit status
	// (the fate of the command is then unknown), and ctx.Err (wrapped) when ctx
	// ended first. Cancellation closes the channel, so that the command sees
	// end of file on its standard input; it does not wait for the command to die.
	// A Stdin that fails, and a Stdout or Stderr that refuses a write, end Run in
	// the same way, with that error. No writer is used after Run returned.
	Run(ctx context.Context, cmd *Cmd) error

	// DialTCP opens a TCP connection from the target to addr ("127.0.0.1:4444")
	// through this connection. Nothing listens on our side. The address is an
	// IP address, never a name: the target would resolve it. The error wraps
	// ErrForwardingDenied or ErrConnRefused where the target said so.
	// Closing ctx after DialTCP returned does not affect the connection.
	// The returned connection does not support deadlines.
	DialTCP(ctx context.Context, addr string) (net.Conn, error)

	// Info describes the connection; it does no I/O.
	Info() Info

	// Ping measures one round trip with a keepalive request. An error means
	// that no answer came before ctx ended, or that the connection is dead.
	Ping(ctx context.Context) (time.Duration, error)

	// Done is closed once the connection is dead; Err then says why.
	Done() <-chan struct{}
	Err() error

	// Close ends the connection and everything that runs over it, jump hosts
	// included. It may be called more than once.
	Close() error
}

// A Cmd is a command for the target. It must not be used again after Run.
type Cmd struct {
	// Argv is the program and its arguments. Each argument is quoted for a
	// POSIX shell, so that it arrives as it stands here. It must hold no
	// secret: every user of the target can read it.
	Argv []string
	// Stdin is copied to the command, then closed. Nil means no input. Run
	// does not wait for a blocked read of Stdin once the command has ended.
	Stdin io.Reader
	// Stdout and Stderr receive the output. Nil discards. Both are always
	// drained: an undrained stderr would stall stdout, since they share one
	// SSH window (RFC 4254 section 5.2). They are written from different
	// goroutines, so they must not be the same writer unless it locks.
	Stdout, Stderr io.Writer
}

// Info says how a connection was made; the manifest records it.
type Info struct {
	Target        string        `json:"target"`                   // what the user named
	Addr          string        `json:"addr"`                     // host:port dialled, after ssh_config
	User          string        `json:"user"`                     // login
	RemoteAddr    string        `json:"remote_addr,omitempty"`    // IP address and port, where known
	HostKey       string        `json:"host_key"`                 // SHA256:... fingerprint seen
	HostKeyType   string        `json:"host_key_type"`            // e.g. ssh-ed25519
	HostKeyTrust  string        `json:"host_key_trust"`           // known_hosts, pinned, cert-authority, insecure, or HostKeyPolicy.Trust
	Auth          string        `json:"auth,omitempty"`           // method that was accepted: publickey, password...
	AuthKey       string        `json:"auth_key,omitempty"`       // SHA256:... fingerprint of the accepted key
	Cipher        string        `json:"cipher,omitempty"`         // from target to us
	ServerVersion string        `json:"server_version,omitempty"` // untrusted text
	Jumps         []Info        `json:"jumps,omitempty"`          // first hop first
	ProxyCommand  string        `json:"proxy_command,omitempty"`
	Tunnel        string        `json:"tunnel,omitempty"` // Tunnel.Name
	Grant         string        `json:"grant,omitempty"`  // how the accepted key was granted, if it was
	RTT           time.Duration `json:"rtt_ns,omitempty"` // round trip at connection time
}

// A Target says where to connect and how.
type Target struct {
	// Name is what the user wrote: a host name, an address, or an alias of
	// ssh_config. It names the target in messages and files.
	Name string
	// User, Host and Port override ssh_config when they are set.
	User string
	Host string
	Port int

	Auth    Auth
	HostKey HostKeyPolicy

	// Jumps is the chain of hosts to go through, first hop first; each with
	// its own credentials and host key. It overrides ssh_config's ProxyJump.
	Jumps []Target
	// NoJumps turns off ProxyJump and ProxyCommand of ssh_config.
	NoJumps bool
	// ProxyCommand is run by the local shell, its standard input and output
	// are the transport; %h, %p, %r, %n and %% are expanded. It overrides
	// ssh_config. It excludes Jumps.
	ProxyCommand string
	// Tunnel, if set, is what SSH runs over, in place of a TCP connection. It excludes
	// Jumps and ProxyCommand; those of ssh_config are not used.
	Tunnel *Tunnel
}

// Auth lists credentials. The zero value tries ssh-agent and ssh_config's
// identities, as ssh does.
type Auth struct {
	// KeyFiles are private keys (OpenSSH, PEM); a NAME-cert.pub beside a key is
	// used too. When set, they are tried before the agent's keys.
	KeyFiles []string
	// Passphrase is asked for an encrypted key, once the server has accepted
	// that key; the prompt holds the key's path.
	Passphrase SecretFunc
	// Password answers password and keyboard-interactive prompts. It is never
	// passed on to jump hosts that ssh_config names.
	Password SecretFunc
	// NoAgent ignores SSH_AUTH_SOCK and ssh_config's IdentityAgent.
	NoAgent bool
	// Grant, if set, is offered first. Beside it only KeyFiles and Password are: neither the agent's
	// keys nor ssh_config's.
	Grant *Grant
}

// A SecretFunc returns a secret for what prompt names. ErrNoSecret means that
// there is none; any other error ends authentication. It must return when ctx
// ends. The dial deadline does not run meanwhile.
type SecretFunc func(ctx context.Context, prompt string) ([]byte, error)

// ErrNoSecret is returned by a SecretFunc that has nothing to offer.
var ErrNoSecret = errors.New("no secret available")

// HostKeyPolicy says which host keys are accepted. The zero value reads the
// known_hosts files of ssh_config, or ~/.ssh/known_hosts and
// /etc/ssh/ssh_known_hosts.
type HostKeyPolicy struct {
	// KnownHosts replaces the known_hosts files.
	KnownHosts []string
	// Fingerprints ("SHA256:...") pin the key: only these are accepted, and
	// no known_hosts file is read, unless HoldKnownHosts.
	Fingerprints []string
	// Types are those of the keys behind Fingerprints, as TypeName has them; empty: not known. They decide
	// nothing, but let a refusal by HoldKnownHosts say whether the two speak against each other.
	Types []string
	// Trust says whence Fingerprints are, for Info.HostKeyTrust and messages; empty: pinned.
	Trust string
	// HoldKnownHosts says that Fingerprints are not the user's own word: where known_hosts has keys for
	// the host, the one that it presents must be among them too, or Dial refuses it as a contradiction.
	HoldKnownHosts bool
	// InsecureIgnore accepts any key. The manifest records it.
	InsecureIgnore bool
}

// ErrAuth is wrapped by errors of Dial when no credential was accepted.
var ErrAuth = errors.New("authentication failed")

// ErrNoExitStatus is wrapped by errors of Run when the channel ended without
// an exit status: the connection died, or the server killed the session.
var ErrNoExitStatus = errors.New("connection ended without an exit status")

// ErrForwardingDenied is wrapped by errors of DialTCP when the server's policy
// forbids the forwarding (AllowTcpForwarding no, PermitOpen). Asking again is
// pointless.
var ErrForwardingDenied = errors.New("server forbids TCP forwarding")

// ErrConnRefused is wrapped by errors of DialTCP when the target tried to open
// the connection and failed, as when nothing listens there (yet).
var ErrConnRefused = errors.New("target could not open the connection")

// A Hinter is an error that knows what to do about it. Find it with errors.As.
type Hinter interface {
	error
	Hint() string
}

// An ExitError is a command's own failure.
type ExitError struct {
	Code   int    // exit status, or 128+n for signal n where known
	Signal string // e.g. "KILL", empty when the command exited by itself
	Stderr string // the end of stderr, at most 4 KiB, when Cmd.Stderr was nil; untrusted
}

func (e *ExitError) Error() string {
	msg := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		msg = "killed by signal " + e.Signal
	}
	if s := strings.TrimSpace(e.Stderr); s != "" {
		msg += fmt.Sprintf(": %q", s)
	}
	return msg
}

// HostKeyError says why a host key was refused.
type HostKeyError struct {
	Host    string   // as looked up, e.g. "[127.0.0.1]:2222"
	KeyType string   // of the key that the host presented
	Got     string   // SHA256:... of the key that the host presented
	Want    []string // SHA256:... of the keys on record, empty when the host is unknown
	Revoked bool
	Where   []string // "file:line" of the keys on record, or the known_hosts files read

	// Told are the keys that Source has for the host, where that and the record do not agree on the one that it presents.
	Told   []string
	Source string
	alone  alone
}

// alone says which of the record and Source alone has the key that the host presents, of a type that the other has none of, while they
// agree on another key.
type alone int

const (
	neitherAlone alone = iota
	sourceAlone
	recordAlone
)

func (e *HostKeyError) Error() string {
	switch {
	case e.Revoked:
		return fmt.Sprintf("host key of %s is revoked: %s %s (%s)", e.Host, e.KeyType, e.Got, strings.Join(e.Where, ", "))
	case e.alone == recordAlone:
		return fmt.Sprintf("host key of %s is not confirmed: it presents %s %s, which known_hosts alone has (%s); the %s has none of that type (it has %s)",
			e.Host, e.KeyType, e.Got, e.Where[slices.Index(e.Want, e.Got)], e.Source, strings.Join(e.Told, " or "))
	case e.alone == sourceAlone:
		return fmt.Sprintf("host key of %s is not confirmed: it presents %s %s, which the %s alone has; known_hosts has none of that type (%s has %s)",
			e.Host, e.KeyType, e.Got, e.Source, strings.Join(e.Where, ", "), strings.Join(e.Want, " or "))
	case e.Source != "":
		return fmt.Sprintf("known_hosts and the %s contradict each other about the host key of %s: on record is %s (%s), the other has %s; it presents %s %s",
			e.Source, e.Host, strings.Join(e.Want, " or "), strings.Join(e.Where, ", "), strings.Join(e.Told, " or "), e.KeyType, e.Got)
	case len(e.Want) > 0:
		return fmt.Sprintf("host key of %s changed: it presents %s %s, on record is %s (%s)",
			e.Host, e.KeyType, e.Got, strings.Join(e.Want, " or "), strings.Join(e.Where, ", "))
	default:
		return fmt.Sprintf("host key of %s is unknown: it presents %s %s (looked in %s)",
			e.Host, e.KeyType, e.Got, strings.Join(e.Where, ", "))
	}
}

// Hint says how to go on safely.
func (e *HostKeyError) Hint() string {
	const look = "ssh-keygen -lf on the host's /etc/ssh/ssh_host_*_key.pub, over a console that you trust"
	switch {
	case e.Revoked:
		return "do not connect: the key was revoked, so whoever holds it may not be the host"
	case e.Source != "":
		return "who is root on the host could make it say what he likes, and an address may have been another machine's: compare with " + look +
			"; only if the record is wrong, correct it, or pass --host-key HOST=" + e.Got
	case len(e.Want) > 0:
		return "somebody may be in the middle, or the host was reinstalled: compare with " + look +
			"; only if it agrees, correct the record that is named, or pass --host-key " + e.Got
	default:
		return "compare the fingerprint with " + look +
			"; if it agrees, pass --host-key " + e.Got + " or add the key to known_hosts"
	}
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
)

const (
	defaultDialTimeout = 20 * time.Second
	// Firewalls forget idle connections after a few minutes at the earliest.
	defaultKeepAlive = 30 * time.Second
	// pings at connection time; the least counts, the first warms up.
	pings = 2
)

var errNotExist = fs.ErrNotExist

// SSH dials targets over SSH. The zero value is ready; it must not be changed
// once in use.
//
// Of ssh_config it honours Host, Match (all, host, originalhost, user,
// localuser, final, canonical), Include, HostName, User, Port, HostKeyAlias,
// IdentityFile, CertificateFile, IdentitiesOnly, IdentityAgent,
// UserKnownHostsFile, GlobalKnownHostsFile, ProxyJump and ProxyCommand. Match
// exec is an error, never run. StrictHostKeyChecking is not honoured: an
// unknown host key is refused whatever it says. Everything else is ignored.
type SSH struct {
	// ConfigFiles are ssh_config files, the first one first. Nil means
	// ~/.ssh/config and /etc/ssh/ssh_config, "none" alone means no file.
	ConfigFiles []string
	// Home replaces the user's home folder, for ~ and for default files.
	Home string
	// DialTimeout bounds each hop's connection, handshake and authentication,
	// save for the time in which a SecretFunc waits for a human. Zero means 20 s.
	DialTimeout time.Duration
	// KeepAlive is the interval of keepalive requests. Zero means 30 s,
	// negative none. A missing answer does not end a connection.
	KeepAlive time.Duration
	// InsecureAlgorithms allows what rests on SHA-1 and other broken
	// algorithms, for hosts too old for anything else.
	InsecureAlgorithms bool
	// Logger hears of keepalives and ignored settings; nil discards.
	Logger *slog.Logger

	startups startups
}

var _ Dialer = (*SSH)(nil)

func (d *SSH) log() *slog.Logger {
	if d.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Logger
}

func (d *SSH) home() (string, error) {
	if d.Home != "" {
		return d.Home, nil
	}
	return os.UserHomeDir()
}

func (d *SSH) configFiles(home string) (files []string, must bool) {
	if d.ConfigFiles == nil {
		return []string{filepath.Join(home, ".ssh", "config"), "/etc/ssh/ssh_config"}, false
	}
	return slices.DeleteFunc(slices.Clone(d.ConfigFiles), func(f string) bool { return f == "none" }), true
}

// Dial implements Dialer.
func (d *SSH) Dial(ctx context.Context, t Target) (Conn, error) {
	hops, err := d.chain(t)
	if err != nil {
		return nil, err
	}
	home, err := d.home()
	if err != nil {
		return nil, err
	}
	// Everything local is checked before the first packet.
	c := newConn(d.log())
	attempts := make([]*attempt, len(hops))
	for i, h := range hops {
		a := &attempt{dialer: d, hop: h, conn: c}
		if a.auth, err = newAuthenticator(h, home, d.InsecureAlgorithms, d.log()); err == nil {
			a.hostKey, err = newHostKeyChecker(h, d.InsecureAlgorithms)
		}
		if err != nil {
			return nil, a.on(i < len(hops)-1, err)
		}
		attempts[i] = a
	}
	var infos []Info
	for i, a := range attempts {
		info, err := a.connect(ctx)
		if err != nil {
			c.hangUp()
			c.Close()
			return nil, a.on(i < len(hops)-1, err)
		}
		infos = append(infos, info)
	}
	c.info = infos[len(infos)-1]
	c.info.Jumps = infos[:len(infos)-1]
	c.info.Target = firstOf(t.Name, t.Host)
	keepAlive := d.KeepAlive
	if keepAlive == 0 {
		keepAlive = defaultKeepAlive
	}
	c.watch(keepAlive)
	return c, nil
}

// An attempt connects one hop, over the hops that conn already has.
type attempt struct {
	dialer  *SSH
	hop     *hop
	conn    *conn
	auth    *authenticator
	hostKey *hostKeyChecker
	proxy   *proxy // of the last try
}

// on names the host for errors of jump hosts; the caller names the target.
func (a *attempt) on(jump bool, err error) error {
	if jump {
		return fmt.Errorf("jump host %q: %w", a.hop.name, err)
	}
	return err
}

// connect adds the hop to the connection and describes it.
func (a *attempt) connect(parent context.Context) (Info, error) {
	timeout := a.dialer.DialTimeout
	if timeout == 0 {
		timeout = defaultDialTimeout
	}
	leave, err := a.dialer.startups.enter(parent, a.hop.addr())
	if err != nil {
		return Info{}, fmt.Errorf("connect to %s: %w", a.hop.addr(), err)
	}
	defer leave()
	ctx, clock := newDialClock(parent, timeout)
	defer clock.stop()
	defer a.auth.close()

	var refused *HostKeyError
	for {
		l, err := a.handshake(ctx, clock)
		if err == nil {
			if !a.conn.add(l) {
				return Info{}, net.ErrClosed
			}
			info := a.describe(l)
			clock.enter("measuring the round trip")
			stop := context.AfterFunc(ctx, a.conn.hangUp)
			info.RTT, err = a.measure(ctx)
			if stop(); err != nil || ctx.Err() != nil {
				return Info{}, a.explain(parent, ctx, clock, timeout, err)
			}
			return info, nil
		}
		err = a.explain(parent, ctx, clock, timeout, err)
		if e, ok := errors.AsType[*HostKeyError](err); ok {
			if refused == nil {
				refused = e
			}
			if a.hostKey.another(e) {
				continue
			}
		}
		if refused != nil && ctx.Err() == nil {
			return Info{}, refused
		}
		return Info{}, a.mark(parent, err)
	}
}

// handshake opens a transport and makes an SSH connection of it.
func (a *attempt) handshake(ctx context.Context, clock *dialClock) (*link, error) {
	clock.enter("connecting")
	l := new(link)
	nc, err := a.open(ctx)
	if err != nil {
		return nil, err
	}
	l.proxy, _ = nc.(*proxy)
	a.proxy = l.proxy
	l.raw = newRawConn(nc)
	hangUp := func() {
		// Closing a channel of a jump host can block on a link that stalls.
		a.conn.hangUp()
		l.raw.Close()
	}
	config := &ssh.ClientConfig{
		Config: ssh.Config{
			// AES-GCM has assembly on every server CPU; chacha20 has none here.
			Ciphers: []string{
				ssh.CipherAES128GCM, ssh.CipherAES256GCM, ssh.CipherChaCha20Poly1305,
				ssh.CipherAES128CTR, ssh.CipherAES192CTR, ssh.CipherAES256CTR,
			},
			KeyExchanges: ssh.SupportedAlgorithms().KeyExchanges,
			MACs:         ssh.SupportedAlgorithms().MACs,
		},
		HostKeyCallback:   a.hostKey.check,
		HostKeyAlgorithms: a.hostKey.algorithms(),
	}
	if a.dialer.InsecureAlgorithms {
		insecure := ssh.InsecureAlgorithms()
		config.Ciphers = append(config.Ciphers, insecure.Ciphers...)
		config.KeyExchanges = append(config.KeyExchanges, insecure.KeyExchanges...)
		config.MACs = append(config.MACs, insecure.MACs...)
	}
	a.auth.config(ctx, clock, l.raw.readErr, config)
	clock.enter("in the SSH handshake")
	stop := context.AfterFunc(ctx, hangUp)
	sc, chans, reqs, err := ssh.NewClientConn(l.raw, a.hop.addr(), config)
	if !stop() && err == nil {
		// The context ended as the handshake did; hangUp is on its way.
		sc.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		if l.proxy != nil && ctx.Err() == nil && !a.auth.started && a.hostKey.key == nil {
			err = l.proxy.describe(a.hop.proxyCommand, err)
		}
		l.raw.Close()
		if a.auth.started && ctx.Err() == nil {
			err = a.auth.failure(err)
		}
		return nil, err
	}
	l.client = ssh.NewClient(sc, chans, reqs)
	return l, nil
}

// open connects to the hop: through the hop before, a ProxyCommand, or directly.
func (a *attempt) open(ctx context.Context) (net.Conn, error) {
	switch {
	case a.conn.last() != nil:
		nc, err := a.conn.openTCP(ctx, a.hop.host, a.hop.port)
		if err != nil {
			return nil, fmt.Errorf("through the jump host before it: %w", err)
		}
		return nc, nil
	case a.hop.proxyCommand != "":
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return startProxy(a.hop.proxyCommand)
	case a.hop.tunnel != nil:
		nc, err := a.hop.tunnel.Dial(ctx, a.hop.port)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.hop.tunnel.Name, err)
		}
		return nc, nil
	}
	// Only a connection that is dead for five minutes is given up by the kernel.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 30 * time.Second, Count: 10,
	}}
	return dialer.DialContext(ctx, "tcp", a.hop.addr())
}

func (a *attempt) describe(l *link) Info {
	plain := a.hostKey.key
	if cert, ok := plain.(*ssh.Certificate); ok {
		plain = cert.Key
	}
	info := Info{
		Target:        a.hop.name,
		Addr:          a.hop.addr(),
		User:          a.hop.user,
		HostKey:       ssh.FingerprintSHA256(plain),
		HostKeyType:   a.hostKey.key.Type(),
		HostKeyTrust:  a.hostKey.trust,
		Auth:          strings.Join(a.auth.methods, ","),
		ServerVersion: string(l.client.ServerVersion()),
		ProxyCommand:  a.hop.proxyCommand,
	}
	if info.Auth == "" {
		info.Auth = "none"
	}
	if slices.Contains(a.auth.methods, "publickey") {
		info.AuthKey = a.auth.key
		if info.AuthKey == a.auth.granted.key {
			info.Grant = a.auth.granted.note
		}
	}
	if a.hop.tunnel != nil {
		info.Tunnel = a.hop.tunnel.Name
	}
	if tcp, ok := l.raw.Conn.(*net.TCPConn); ok {
		info.RemoteAddr = tcp.RemoteAddr().String()
	}
	if m, ok := l.client.Conn.(ssh.AlgorithmsConnMetadata); ok {
		info.Cipher = m.Algorithms().Read.Cipher
	}
	return info
}

// measure returns the least of a few round trips.
func (a *attempt) measure(ctx context.Context) (time.Duration, error) {
	var least time.Duration
	for i := range pings {
		rtt, err := a.conn.Ping(ctx)
		if err != nil {
			return 0, err
		}
		if i == 0 || rtt < least {
			least = rtt
		}
	}
	return least, nil
}

// explain makes of a failed handshake the error that the contract of Dial names.
func (a *attempt) explain(parent, ctx context.Context, clock *dialClock, timeout time.Duration, err error) error {
	switch {
	case parent.Err() != nil:
		return fmt.Errorf("connect to %s: %w", a.hop.addr(), ctxError(parent))
	case ctx.Err() != nil:
		err := fmt.Errorf("connect to %s: no answer within %s, %s: %w", a.hop.addr(), timeout, clock.where(), os.ErrDeadlineExceeded)
		if a.proxy != nil && a.proxy.stderr.String() != "" {
			err = fmt.Errorf("%w (proxy command said %q)", err, a.proxy.stderr.String())
		}
		return err
	}
	if e, ok := errors.AsType[*HostKeyError](err); ok {
		return e
	}
	if _, ok := errors.AsType[*GrantError](err); ok || errors.Is(err, ErrAuth) {
		return err
	}
	err = printable(err)
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("connect: %w", err) // which names the address
	}
	if _, ok := errors.AsType[*ssh.AlgorithmNegotiationError](err); ok {
		return &hinted{fmt.Errorf("connect to %s: %w", a.hop.addr(), err),
			"the host is too old for the algorithms that are safe; if it must be, allow insecure algorithms"}
	}
	return fmt.Errorf("connect to %s: %w", a.hop.addr(), err)
}

// A hinted error has a hint of its own.
type hinted struct {
	error
	hint string
}

func (e *hinted) Unwrap() error { return e.error }

// Hint implements Hinter.
func (e *hinted) Hint() string { return e.hint }

// printable keeps what a server put into an error from acting on a terminal.
func printable(err error) error {
	odd := func(r rune) bool { return !unicode.IsPrint(r) }
	if err == nil || !strings.ContainsFunc(err.Error(), odd) {
		return err
	}
	return &quoted{err}
}

type quoted struct{ err error }

func (e *quoted) Error() string { return strconv.Quote(e.err.Error()) }
func (e *quoted) Unwrap() error { return e.err }

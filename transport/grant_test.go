//go:build unix

package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// A granted key is asked for once per login, for the login name of ssh_config, after the host key is accepted; nothing of the
// user's own is offered beside it but the files that were named.
func TestGrant(t *testing.T) {
	pushed, other := newSigner(t, edKey(t)), newSigner(t, edKey(t))
	key := edKey(t)
	named := newSigner(t, key)
	var offered []string
	accepts := pushed
	s := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			offered = append(offered, ssh.FingerprintSHA256(k))
			if string(k.Marshal()) == string(accepts.PublicKey().Marshal()) {
				return nil, nil
			}
			return nil, errors.New("no")
		}
	}}).Start(t)
	var users []string
	var fails error
	grant := &transport.Grant{Name: "the service", Hint: "look there", Key: func(_ context.Context, user string) (ssh.Signer, string, error) {
		users = append(users, user)
		return pushed, "request 7", fails
	}}
	d := transporttest.Dialer(t)
	file := filepath.Join(d.Home, "config")
	identity := transporttest.WriteKey(t, new(edKey(t)), "")
	if err := os.WriteFile(file, []byte("User alice\nIdentityFile "+identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ConfigFiles = []string{file}
	t.Setenv("SSH_AUTH_SOCK", startAgent(t, 3, key))
	target := s.Target()
	target.User, target.Auth = "", transport.Auth{Grant: grant}
	in := dial(t, d, target).Info()
	if in.User != "alice" || in.AuthKey != ssh.FingerprintSHA256(pushed.PublicKey()) || in.Grant != "the service: request 7" || strings.Join(users, " ") != "alice" {
		t.Errorf("%+v, asked for %q", in, users)
	}

	// Refused: what to look at, and that nothing else was tried.
	accepts, offered = other, nil
	_, err := d.Dial(t.Context(), target)
	var h transport.Hinter
	if !errors.Is(err, transport.ErrAuth) || !errors.As(err, &h) || h.Hint() != "look there" || !strings.Contains(err.Error(), "(granted by the service)") || len(offered) != 1 {
		t.Errorf("%v, offered %q", err, offered)
	}
	// A file that was named comes after it, and in its place if nothing is granted.
	accepts, offered = named, nil
	target.Auth.KeyFiles = []string{transporttest.WriteKey(t, &key, "")}
	if in := dial(t, d, target).Info(); in.AuthKey != ssh.FingerprintSHA256(named.PublicKey()) || in.Grant != "" || offered[0] != ssh.FingerprintSHA256(pushed.PublicKey()) {
		t.Errorf("%+v, offered %q", in, offered)
	}
	fails, offered = errors.New("not allowed"), nil
	dial(t, d, target)
	if offered[0] != ssh.FingerprintSHA256(named.PublicKey()) {
		t.Errorf("offered %q", offered)
	}
	target.Auth.KeyFiles, offered = nil, nil
	_, err = d.Dial(t.Context(), target)
	if g, ok := errors.AsType[*transport.GrantError](err); !ok || g.User != "alice" || errors.Is(err, transport.ErrAuth) || !errors.Is(err, fails) || !transport.MayPass(err) || len(offered) > 0 {
		t.Errorf("%v, offered %q", err, offered)
	}
	fails = lastingError{}
	if _, err := d.Dial(t.Context(), target); !errors.Is(err, fails) || transport.MayPass(err) {
		t.Errorf("%v", err)
	}

	// A host that is not the one that is meant costs no key.
	users, fails = nil, nil
	target.HostKey.Fingerprints = []string{ssh.FingerprintSHA256(other.PublicKey())}
	if _, err := d.Dial(t.Context(), target); len(users) > 0 || err == nil {
		t.Errorf("%v, asked for %q", err, users)
	}
}

type lastingError struct{}

func (lastingError) Error() string { return "never" }
func (lastingError) MayPass() bool { return false }

// A service that does not answer in time may another time.
func TestGrantSlow(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	target.Auth = transport.Auth{Grant: &transport.Grant{Name: "the service", Key: func(ctx context.Context, _ string) (ssh.Signer, string, error) {
		<-ctx.Done()
		return nil, "", ctx.Err()
	}}}
	d := transporttest.Dialer(t)
	d.DialTimeout = time.Second
	if _, err := d.Dial(t.Context(), target); !errors.Is(err, os.ErrDeadlineExceeded) || !transport.MayPass(err) || !strings.Contains(err.Error(), "waiting for the service to grant a key") {
		t.Errorf("%v", err)
	}
}

// A grant that hangs is bounded by the dial.
func TestGrantHangs(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	ctx, cancel := context.WithCancel(t.Context())
	target.Auth = transport.Auth{Grant: &transport.Grant{Name: "the service", Key: func(ctx context.Context, _ string) (ssh.Signer, string, error) {
		cancel()
		<-ctx.Done()
		return nil, "", ctx.Err()
	}}}
	if _, err := transporttest.Dialer(t).Dial(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Pins say whence they are, accepted or not.
func TestPinsOrigin(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	target.HostKey.Trust = "console output"
	if in := dial(t, transporttest.Dialer(t), target).Info(); in.HostKeyTrust != "console output" {
		t.Errorf("%+v", in)
	}
	target.HostKey.Fingerprints = []string{ssh.FingerprintSHA256(newSigner(t, edKey(t)).PublicKey())}
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), "(console output)") {
		t.Errorf("%v", err)
	}
}

// What ends a tunnel is what the connection is lost with; ssh_config's own ways are not used beside it.
func TestTunnel(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	var port int
	var conn *brokenConn
	target.Tunnel = &transport.Tunnel{Name: "a tunnel", Dial: func(ctx context.Context, p int) (net.Conn, error) {
		port = p
		c, err := net.Dial("tcp", s.Addr())
		conn = &brokenConn{Conn: c}
		return conn, err
	}}
	d := transporttest.Dialer(t)
	file := filepath.Join(d.Home, "config")
	if err := os.WriteFile(file, []byte("ProxyJump nobody.invalid\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.ConfigFiles = []string{file}
	target.Host, target.Port = "192.0.2.1", 2222
	c := dial(t, d, target)
	if in := c.Info(); in.Tunnel != "a tunnel" || port != 2222 || in.Addr != "192.0.2.1:2222" {
		t.Errorf("%+v, port %d", in, port)
	}
	conn.Conn.Close()
	<-c.Done()
	if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"true"}}); !errors.Is(err, errTunnelOver) || !errors.Is(c.Err(), errTunnelOver) {
		t.Errorf("%v, %v", err, c.Err())
	}
	target.ProxyCommand = "false"
	if _, err := d.Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), "excludes") {
		t.Errorf("%v", err)
	}
	target.ProxyCommand, target.Tunnel.Dial = "", func(context.Context, int) (net.Conn, error) { return nil, io.ErrUnexpectedEOF }
	if _, err := d.Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), "a tunnel: unexpected EOF") || !transport.MayPass(err) {
		t.Errorf("%v", err)
	}
}

var errTunnelOver = errors.New("the tunnel is over")

type brokenConn struct{ net.Conn }

func (c *brokenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		err = errTunnelOver
	}
	return n, err
}

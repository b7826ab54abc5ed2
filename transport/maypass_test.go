//go:build unix

package transport_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// hangUps serves connections with f, and closes them.
func hangUps(t *testing.T, f func(net.Conn)) (port int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f(c)
			c.Close()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// TestMayPass: what is worth another try, and what must never get one.
func TestMayPass(t *testing.T) {
	good := (&transporttest.Server{}).Start(t)
	dialer := transporttest.Dialer(t)
	dialer.DialTimeout = 2 * time.Second
	base := good.Target()
	closed := base
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	var logins atomic.Int64
	picky := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = nil
		c.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) {
			logins.Add(1)
			return nil, errors.New("no")
		}
	}}).Start(t)

	for name, tt := range map[string]struct {
		target func() transport.Target
		want   bool
	}{
		"refused": {func() transport.Target { return closed }, true},
		"full": {func() transport.Target { // as sshd does over MaxStartups
			x := base
			x.Port = hangUps(t, func(c net.Conn) { c.Write([]byte("Exceeded MaxStartups\r\n")) })
			return x
		}, true},
		"reset in the key exchange": {func() transport.Target {
			x := base
			x.Port = hangUps(t, func(c net.Conn) {
				c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
				c.Read(make([]byte, 64))
				c.(*net.TCPConn).SetLinger(0)
			})
			return x
		}, true},
		"silent": {func() transport.Target {
			x := base
			x.Port = hangUps(t, func(c net.Conn) { c.Read(make([]byte, 64)); c.Read(make([]byte, 1<<20)); c.Read(make([]byte, 1)) })
			return x
		}, true},
		"behind a jump host": {func() transport.Target {
			x := closed
			x.NoJumps, x.Jumps = false, []transport.Target{base}
			return x
		}, true},
		"host key": {func() transport.Target {
			x := base
			x.HostKey.Fingerprints = []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
			return x
		}, false},
		"password": {func() transport.Target {
			x := picky.Target()
			x.Auth = transport.Auth{NoAgent: true, Password: func(context.Context, string) ([]byte, error) { return []byte("wrong"), nil }}
			return x
		}, false},
		"proxy command": {func() transport.Target {
			x := base
			x.NoJumps, x.ProxyCommand = false, "exit 1"
			return x
		}, false},
		"no such name": {func() transport.Target {
			x := base
			x.Host = "no-such-host.invalid"
			return x
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := dialer.Dial(t.Context(), tt.target())
			if err == nil {
				c.Close()
				t.Fatal("it connected")
			}
			if got := transport.MayPass(err); got != tt.want && !(name == "no such name" && temporaryDNS(err)) {
				t.Errorf("MayPass is %t: %v", got, err)
			}
		})
	}
	if logins.Load() != 1 {
		t.Errorf("%d tries of a wrong password", logins.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dialer.Dial(ctx, closed); err == nil || transport.MayPass(err) {
		t.Errorf("what the user stopped may pass: %v", err)
	}
}

// temporaryDNS: a machine without a name server cannot know that a name is not there.
func temporaryDNS(err error) bool {
	e, ok := errors.AsType[*net.DNSError](err)
	return ok && !e.IsNotFound
}

// TestStartups: no more than eight log in at one address at once, and all get in.
func TestStartups(t *testing.T) {
	const clients = 24
	var now, most atomic.Int64
	all := make(chan struct{})
	server := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		check := c.PublicKeyCallback
		c.PublicKeyCallback = func(m ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			if n == 8 {
				select {
				case <-all:
				default:
					close(all)
				}
			}
			<-all // until eight are here
			return check(m, k)
		}
	}}).Start(t)
	dialer := transporttest.Dialer(t)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			c, err := dialer.Dial(t.Context(), server.Target())
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	if most.Load() != 8 {
		t.Errorf("%d logins at once, want 8", most.Load())
	}
}

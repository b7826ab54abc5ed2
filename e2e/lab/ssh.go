package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// KnownHosts writes the guest's host keys to a new file in the known_hosts format.
func (g *Guest) KnownHosts(path string) error {
	var b bytes.Buffer
	for _, key := range g.Lab.HostKeys {
		fmt.Fprintln(&b, knownhosts.Line([]string{g.addr}, key))
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// HostKeyLine is the guest's ed25519 host key as a line of known_hosts.
func (g *Guest) HostKeyLine() string {
	for _, key := range g.Lab.HostKeys {
		if key.Type() == ssh.KeyAlgoED25519 {
			return knownhosts.Line([]string{g.addr}, key)
		}
	}
	return ""
}

// Dial logs in to the guest with the lab's key, for what a test itself does and
// checks there. The connection does not end with ctx.
func (g *Guest) Dial(ctx context.Context, user string) (*ssh.Client, error) {
	pem, err := os.ReadFile(g.Lab.Key)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", g.Lab.Key, err)
	}
	return g.DialWith(ctx, user, ssh.PublicKeys(signer))
}

// DialWith is Dial with other means of authentication.
func (g *Guest) DialWith(ctx context.Context, user string, auth ...ssh.AuthMethod) (*ssh.Client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", g.addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	c, chans, reqs, err := ssh.NewClientConn(conn, g.addr, &ssh.ClientConfig{
		User:            user,
		Auth:            auth,
		HostKeyCallback: g.checkHostKey,
	})
	if !stop() && err == nil {
		c.Close()
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in as %s: %w", user, err)
	}
	return ssh.NewClient(c, chans, reqs), nil
}

func (g *Guest) checkHostKey(_ string, _ net.Addr, key ssh.PublicKey) error {
	for _, known := range g.Lab.HostKeys {
		if bytes.Equal(known.Marshal(), key.Marshal()) {
			return nil
		}
	}
	return errors.New("not the guest's host key")
}

// SSH runs a shell script in the guest and returns its standard output. The error
// wraps an *ssh.ExitError if the script failed, and has its standard error.
func (g *Guest) SSH(ctx context.Context, user, script string) (string, error) {
	c, err := g.Dial(ctx, user)
	if err != nil {
		return "", err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	s, err := c.NewSession()
	if err != nil {
		return "", err
	}
	defer s.Close()
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	if err := s.Run(script); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return stdout.String(), fmt.Errorf("run %q as %s: %w: %s", script, user, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// Ready returns when the guest has let root log in, which Boot has waited for
// already and Reset has not.
func (g *Guest) Ready(ctx context.Context) error {
	// QEMU accepts connections from its start. While the guest boots they are reset,
	// or get no answer, even later: so what waits for an answer is given up soon, and
	// only a key exchange, slow on a busy machine, gets the time that it needs.
	var last error
	for wait := time.Second; ; wait = min(wait*3/2, 5*time.Second) {
		if last = g.greeted(ctx, wait); last == nil {
			tryCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
			var c *ssh.Client
			c, last = g.Dial(tryCtx, Root)
			cancel()
			if last == nil {
				return c.Close()
			}
		}
		select {
		case <-g.machine.done:
			return g.machine.exited()
		case <-ctx.Done():
			return fmt.Errorf("wait for sshd: %w: last try: %w", ctx.Err(), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// greeted tells whether sshd sent its version within the time.
func (g *Guest) greeted(ctx context.Context, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", g.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_, err = io.ReadFull(conn, make([]byte, len("SSH-")))
	return err
}

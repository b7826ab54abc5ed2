package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// A conn is a chain of SSH connections, each through the one before it; the
// last one reaches the target.
type conn struct {
	log  *slog.Logger
	info Info

	pinging chan struct{} // holds a token while a ping is under way
	done    chan struct{}
	err     error // valid once done is closed

	mu     sync.Mutex
	links  []*link
	closed bool
	wg     sync.WaitGroup
	quit   chan struct{} // closed by Close
}

// A link is one hop of the chain.
type link struct {
	raw    *rawConn
	client *ssh.Client
	proxy  *proxy // nil unless a ProxyCommand is the transport
}

var _ Conn = (*conn)(nil)

func newConn(log *slog.Logger) *conn {
	return &conn{
		log:     log,
		pinging: make(chan struct{}, 1),
		done:    make(chan struct{}),
		quit:    make(chan struct{}),
	}
}

// start runs f unless the connection is closed; Close waits for it.
func (c *conn) start(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.wg.Go(f)
	return true
}

// add appends a hop; it closes the hop and returns false when c is closed.
func (c *conn) add(l *link) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		l.raw.Close()
		return false
	}
	c.links = append(c.links, l)
	return true
}

func (c *conn) last() *link {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) == 0 {
		return nil
	}
	return c.links[len(c.links)-1]
}

func (c *conn) client() *ssh.Client { return c.last().client }
func (c *conn) raw() *rawConn       { return c.last().raw }

// watch starts what runs for the life of the connection.
func (c *conn) watch(keepAlive time.Duration) {
	client := c.client()
	ctx, dead := context.WithCancel(context.Background())
	c.start(func() {
		defer dead()
		err := client.Wait()
		select {
		case <-c.quit:
			c.err = fmt.Errorf("connection closed: %w", net.ErrClosed)
		default:
			c.err = fmt.Errorf("connection lost: %w", err)
		}
		close(c.done)
	})
	if keepAlive > 0 {
		c.start(func() { c.keepAlive(ctx, keepAlive) })
	}
}

// keepAlive keeps firewalls and NAT from forgetting the connection. A missing
// answer is only logged: a link that stalls for a minute and goes on must
// survive, and what is too long a stall is for the stream to decide.
func (c *conn) keepAlive(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ctx, cancel := context.WithTimeout(ctx, every)
		if _, err := c.Ping(ctx); err != nil {
			c.log.Debug("keepalive not answered", "target", c.info.Target, "error", err)
		}
		cancel()
	}
}

// Ping implements Conn.
func (c *conn) Ping(ctx context.Context) (time.Duration, error) {
	// One request at a time: x/crypto/ssh answers them in order, so that one
	// without an answer holds up all others until the connection dies.
	select {
	case c.pinging <- struct{}{}:
	case <-c.done:
		return 0, fmt.Errorf("ping: %w", c.err)
	case <-ctx.Done():
		return 0, fmt.Errorf("ping: the one before is still unanswered: %w", ctxError(ctx))
	}
	client, began := c.client(), time.Now()
	answer := make(chan error, 1)
	if !c.start(func() {
		_, _, err := client.SendRequest("keepalive@openssh.com", true, nil)
		<-c.pinging
		answer <- err
	}) {
		<-c.pinging
		return 0, fmt.Errorf("ping: %w", net.ErrClosed)
	}
	select {
	case err := <-answer:
		if err != nil {
			return 0, fmt.Errorf("ping: %w", c.because(err))
		}
		return time.Since(began), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("ping: no answer: %w", ctxError(ctx))
	}
}

// Info implements Conn.
func (c *conn) Info() Info { return c.info }

// Done implements Conn.
func (c *conn) Done() <-chan struct{} { return c.done }

// Err implements Conn.
func (c *conn) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// because prefers the reason for which the connection died to err, which is
// mostly a bare EOF.
func (c *conn) because(err error) error {
	if _, ok := errors.AsType[*ssh.OpenChannelError](err); ok {
		return err
	}
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	if closed {
		return fmt.Errorf("connection closed: %w", net.ErrClosed)
	}
	if rerr := c.raw().readErr(); rerr != nil {
		return fmt.Errorf("connection lost: %w", rerr)
	}
	if err == nil {
		err = errors.New("connection lost")
	}
	return err
}

// hangUp cuts the transport of the first hop, and with it everything above.
// It never blocks, unlike closing a channel on a link that stalls.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) > 0 {
		c.links[0].raw.Close()
	}
}

// Close implements Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	links := c.links
	c.mu.Unlock()
	if first {
		close(c.quit)
	}
	for _, l := range links {
		l.raw.Close()
	}
	for _, l := range links {
		l.client.Wait()
	}
	c.wg.Wait()
	return nil
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"
)

// DialTCP implements Conn.
func (c *conn) DialTCP(ctx context.Context, addr string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		// A name would be resolved by the target, whose resolver and hosts
		// file are not to be trusted.
		return nil, fmt.Errorf("dial %q from the target: need an IP address and a port, as 127.0.0.1:4444", addr)
	}
	nc, err := c.openTCP(ctx, ap.Addr().String(), int(ap.Port()))
	if err != nil {
		return nil, fmt.Errorf("dial %s from the target: %w", ap, err)
	}
	nc.remote = net.TCPAddrFromAddrPort(ap)
	return nc, nil
}

// openTCP opens a direct-tcpip channel (RFC 4254 section 7.2) over the last hop.
func (c *conn) openTCP(ctx context.Context, host string, port int) (*channelConn, error) {
	if ctx.Err() != nil {
		return nil, ctxError(ctx)
	}
	client := c.client()
	msg := ssh.Marshal(struct {
		Host     string
		Port     uint32
		FromHost string
		FromPort uint32
	}{host, uint32(port), "127.0.0.1", 0})
	type opened struct {
		conn *channelConn
		err  error
	}
	result := make(chan opened, 1)
	if !c.start(func() {
		ch, reqs, err := client.OpenChannel("direct-tcpip", msg)
		if err != nil {
			result <- opened{err: c.forwardError(err)}
			return
		}
		go ssh.DiscardRequests(reqs)
		go io.Copy(io.Discard, ch.Stderr())
		result <- opened{conn: &channelConn{Channel: ch, remote: &net.TCPAddr{}}}
	}) {
		return nil, net.ErrClosed
	}
	select {
	case r := <-result:
		return r.conn, r.err
	case <-ctx.Done():
		c.start(func() {
			if r := <-result; r.conn != nil {
				r.conn.Close()
			}
		})
		return nil, ctxError(ctx)
	}
}

func (c *conn) forwardError(err error) error {
	refused, ok := errors.AsType[*ssh.OpenChannelError](err)
	if !ok {
		return c.because(err)
	}
	switch refused.Reason {
	case ssh.Prohibited, ssh.UnknownChannelType:
		return fmt.Errorf("%w: %q", ErrForwardingDenied, refused.Message)
	case ssh.ConnectionFailed:
		return fmt.Errorf("%w: %q", ErrConnRefused, refused.Message)
	}
	return err
}

// A channelConn makes a net.Conn of a channel.
type channelConn struct {
	ssh.Channel
	remote net.Addr
}

var errNoDeadline = fmt.Errorf("deadlines on a forwarded connection: %w", errors.ErrUnsupported)

func (c *channelConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *channelConn) RemoteAddr() net.Addr             { return c.remote }
func (c *channelConn) SetDeadline(time.Time) error      { return errNoDeadline }
func (c *channelConn) SetReadDeadline(time.Time) error  { return errNoDeadline }
func (c *channelConn) SetWriteDeadline(time.Time) error { return errNoDeadline }

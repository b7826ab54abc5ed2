package eice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// maxFrame is how much is sent as one message: AWS's own client sends no more.
const maxFrame = 65000

// A conn is the bytes of a tunnel's binary messages, whose bounds mean nothing. It has no deadlines: the library closes the whole
// connection for a read that took too long. It cannot be closed for writing alone. What the other side sends is taken
// only as fast as it is read, pings are answered while somebody reads.
type conn struct {
	ws       *websocket.Conn
	raw      net.Conn
	endpoint *Endpoint
	opened   time.Time
	closed   atomic.Bool

	mu  sync.Mutex // of reading
	msg io.Reader  // the message under way
	err error      // that ended reading

	writing sync.Mutex
}

var _ net.Conn = (*conn)(nil)

func (c *conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.err == nil {
		if c.msg == nil {
			kind, r, err := c.ws.Reader(context.Background())
			switch {
			case err != nil:
				c.err = c.ended(err)
				continue
			case kind != websocket.MessageBinary:
				c.err = c.ended(errors.New("the endpoint sends text, which no tunnel has"))
				c.hangUp()
				continue
			}
			c.msg = r
		}
		n, err := c.msg.Read(p)
		if err == io.EOF {
			c.msg, err = nil, nil
		}
		if err != nil {
			c.err = c.ended(err)
		}
		if n > 0 || len(p) == 0 {
			return n, nil // the error comes with the next read
		}
	}
	return 0, c.err
}

func (c *conn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for len(p) > 0 {
		frame := p[:min(len(p), maxFrame)]
		if err := c.ws.Write(context.Background(), websocket.MessageBinary, frame); err != nil {
			return n, c.ended(err)
		}
		n, p = n+len(frame), p[len(frame):]
	}
	return n, nil
}

// Close ends the tunnel at once, and blocked reads and writes with it.
func (c *conn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	c.hangUp()
	return nil
}

func (c *conn) hangUp() {
	if c.raw != nil {
		c.raw.Close()
	}
	c.ws.CloseNow() //nolint:errcheck // the connection is closed
}

// The addresses are nobody's: the far end is the endpoint's, which does not tell it.
func (c *conn) LocalAddr() net.Addr  { return &net.TCPAddr{} }
func (c *conn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func (c *conn) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (c *conn) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (c *conn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// An EndedError says how a tunnel ended that we did not close. It wraps io.ErrUnexpectedEOF: SSH says goodbye inside the tunnel.
type EndedError struct {
	Name    string
	After   time.Duration
	Longest time.Duration // that was asked for
	Reason  string        // of the service; untrusted
	Code    int           // of RFC 6455; 0: the connection broke
	Err     error
}

func (e *EndedError) Error() string {
	var text string
	after := e.After.Round(time.Second)
	switch {
	case e.Code == 0:
		text = fmt.Sprintf("the tunnel through %s broke after %s: %v", e.Name, after, e.Err)
	case e.Reason == "":
		text = fmt.Sprintf("%s ended the tunnel after %s (code %d)", e.Name, after, e.Code)
	default:
		text = fmt.Sprintf("%s ended the tunnel after %s (code %d): %q", e.Name, after, e.Code, e.Reason)
	}
	if e.Longest > 0 && e.After > e.Longest-lateness {
		text += fmt.Sprintf("; a tunnel lasts %s at most", e.Longest)
	}
	return text
}

// lateness is how much before its time a tunnel may end of age, by our clock.
const lateness = 2 * time.Second

// Unwrap makes errors.Is find io.ErrUnexpectedEOF and the cause.
func (e *EndedError) Unwrap() []error { return []error{io.ErrUnexpectedEOF, e.Err} }

// ended explains err.
func (c *conn) ended(err error) error {
	if c.closed.Load() {
		return net.ErrClosed
	}
	e := &EndedError{Name: c.endpoint.Name, After: time.Since(c.opened), Longest: c.endpoint.Longest, Err: err}
	if ce, ok := errors.AsType[websocket.CloseError](err); ok {
		e.Code, e.Reason = int(ce.Code), ce.Reason
	}
	return e
}

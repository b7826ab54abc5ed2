package transport

import (
	"bufio"
	"net"
	"sync"
)

// A rawConn is the transport below SSH. Reads go through a large buffer:
// x/crypto/ssh would otherwise make two read calls for each packet of 32 KiB,
// which costs up to 40 % of the throughput. It remembers why reading
// ended, since a channel's end of file looks alike whether the command closed
// it or the connection died.
type rawConn struct {
	net.Conn
	r *bufio.Reader

	mu  sync.Mutex
	err error
}

const readBuffer = 256 << 10

func newRawConn(c net.Conn) *rawConn {
	return &rawConn{Conn: c, r: bufio.NewReaderSize(c, readBuffer)}
}

func (c *rawConn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil {
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	return n, err
}

// readErr is the error that ended reading; nil while the connection lives.
func (c *rawConn) readErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

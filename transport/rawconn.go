package transport

import (
	"net"
	"sync"
)

// A rawConn is the transport below SSH. Reads of a stream go through a large buffer:
// x/crypto/ssh would otherwise make two read calls for each packet of 32 KiB,
// which costs up to 40 % of the throughput. It remembers why reading
// ended, since a channel's end of file looks alike whether the command closed
// it or the connection died.
//
// Of hundreds of connections most idle. One has its buffer only while a stream comes: a read that
// fills what it was given lets it have one, a read that leaves most of the buffer empty takes
// it away once it is drained. Read is called by one goroutine at a time.
type rawConn struct {
	net.Conn
	buf  *[readBuffer]byte // nil while idle
	r, w int               // what lies in buf
	busy bool              // the last read of the connection was full

	mu  sync.Mutex
	err error
}

const readBuffer = 256 << 10

// calm is how much of the buffer a read leaves empty when no stream comes.
const calm = readBuffer - 16<<10

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

func newRawConn(c net.Conn) *rawConn { return &rawConn{Conn: c} }

func (c *rawConn) Read(p []byte) (int, error) {
	if c.r == c.w && len(p) > 0 {
		if !c.busy || len(p) >= readBuffer {
			c.drop()
			n, err := c.Conn.Read(p)
			c.busy = n == len(p)
			return n, c.note(err)
		}
		if c.buf == nil {
			c.buf = readBuffers.Get().(*[readBuffer]byte)
		}
		n, err := c.Conn.Read(c.buf[:])
		c.r, c.w, c.busy = 0, n, len(c.buf)-n < calm
		if n == 0 {
			c.drop()
			return 0, c.note(err)
		}
		c.note(err) // comes again with the next read
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	if c.r == c.w && !c.busy {
		c.drop()
	}
	return n, nil
}

// drop gives the buffer back.
func (c *rawConn) drop() {
	if c.buf != nil {
		readBuffers.Put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
}

// note remembers the first error.
func (c *rawConn) note(err error) error {
	if err != nil {
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	return err
}

// readErr is the error that ended reading; nil while the connection lives.
func (c *rawConn) readErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

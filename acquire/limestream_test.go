package acquire

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// lateConn is a connection that is lost, and knows it a moment later.
type lateConn struct {
	transport.Conn
	lost error
	done chan struct{}
}

func (c *lateConn) Ping(context.Context) (time.Duration, error) {
	if c.lost != nil {
		time.AfterFunc(50*time.Millisecond, func() { close(c.done) })
	}
	return 0, c.lost
}
func (c *lateConn) Done() <-chan struct{} { return c.done }
func (c *lateConn) Err() error {
	if closed(c.done) {
		return c.lost
	}
	return nil
}

// TestLimeEnding: the end of a connection is not taken for that of the stream.
func TestLimeEnding(t *testing.T) {
	for _, lost := range []error{nil, errors.New("connection lost")} {
		st := &limeStream{h: &remote{conn: &lateConn{lost: lost, done: make(chan struct{})}}}
		want := lost
		if lost == nil {
			want = io.EOF
		}
		if err := st.ending(); !errors.Is(err, want) {
			t.Errorf("%v: %v", lost, err)
		}
	}
}

package transport

import (
	"context"
	"net"
	"time"
)

// A Tunnel reaches a target's port by other means than TCP from here. It is safe for concurrent use.
type Tunnel struct {
	// Name says what it is, for messages and Info.
	Name string
	// Longest is how long one connection lasts at most; 0: as long as it is used.
	Longest time.Duration
	// Dial opens a connection to a port of the target. The dial deadline of SSH ends ctx, which
	// does not affect the connection afterwards. Close must not block and must end blocked reads and
	// writes. Why the other side ended it should be the error of Read: that is what the
	// connection is reported lost with. Deadlines are not used.
	Dial func(ctx context.Context, port int) (net.Conn, error)
}

package acquire

import "fmt"

// Open files. Of Options.OpenFiles a part is for the program itself: its standard streams, the
// poller, modules, keys, name lookups, connections to S3 that idle. Half of the rest is for
// connections, half for captures.
const (
	filesForUs = 64
	// filesPerConn covers a ProxyCommand, which has three pipes; a socket is one.
	filesPerConn = 4
	// filesPerCapture covers the image, the room kept beside it, its index and manifest; in S3 its
	// parts under way; and a connection that is made again.
	filesPerCapture = 8
)

// A fileBudget divides the open files that the system allows. Its zero value has no limit.
type fileBudget struct {
	connecting int // targets connected to at once
	held       int // connections that may idle until their captures
	captures   int // at once
}

func newFileBudget(limit int) fileBudget {
	if limit <= 0 {
		return fileBudget{connecting: connecting}
	}
	half := max(limit-filesForUs, 0) / 2
	conns := max(half/filesPerConn, 2)
	b := fileBudget{connecting: min(connecting, max(conns/2, 1)), captures: max(half/filesPerCapture, 1)}
	b.held = max(conns-b.connecting, 1)
	return b
}

// warn says that the limit holds captures up.
func (b fileBudget) warn(limit, hosts int) string {
	if b.captures == 0 || b.captures >= hosts {
		return ""
	}
	return fmt.Sprintf("this process may have %d files open, which is enough for %d captures at once; the others wait (ulimit -n %d is enough for all)",
		limit, b.captures, filesForUs+2*hosts*filesPerCapture)
}

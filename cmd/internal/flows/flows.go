// Package flows looks at the TCP connections of a host twice, and tells which of them still live: whose counters
// of bytes have moved in between.
//
// It is how a network containment is proven: the API can say that a security group was
// replaced, but not that the packets of a tracked connection have stopped.
package flows

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// Interval is the time between the two looks. A connection that sends more seldom is not told from a dead one;
// the idle timeout that containment sets, 60 s, ends it.
const Interval = 30 * time.Second

// maxOutput bounds what a hostile host can make us read: some 100,000 sockets.
const maxOutput = 32 << 20

// A Flow is one established TCP connection, as the host itself tells of it.
type Flow struct {
	Local  string `json:"local"`
	Remote string `json:"remote"`
	Bytes  uint64 `json:"bytes"` // acknowledged and received, together
}

// Look samples the connections of a host twice, after apart, and returns those that moved bytes
// meanwhile, without the SSH connection that it looks through and without those of the loopback. It runs ss, of iproute2, without
// privileges, and changes nothing. It sees TCP of the host's own network namespace: neither UDP nor
// containers. Its error says why nothing was learned. What it returns is what the host says of itself: a hostile one can
// leave out what it likes.
func Look(ctx context.Context, conn transport.Conn, after time.Duration) ([]Flow, error) {
	before, err := sample(ctx, conn)
	if err != nil {
		return nil, err
	}
	t := time.NewTimer(after)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	now, err := sample(ctx, conn)
	if err != nil {
		return nil, err
	}
	return moved(before, now), nil
}

// script prints our own connection first, in the form of sshd: address, port, address, port.
const script = `echo "own $SSH_CONNECTION" && LC_ALL=C ss -tinH state established && echo end`

func sample(ctx context.Context, conn transport.Conn) (map[string]Flow, error) {
	var out, errs bytes.Buffer
	err := conn.Run(ctx, &transport.Cmd{
		Argv: []string{"sh", "-c", script}, Stdout: &limited{w: &out, left: maxOutput}, Stderr: &limited{w: &errs, left: 4096},
	})
	if err != nil {
		if msg := strings.TrimSpace(errs.String()); msg != "" {
			err = fmt.Errorf("%w: %q", err, msg)
		}
		return nil, fmt.Errorf("list connections with ss: %w", err)
	}
	return parse(&out)
}

// parse reads what script prints. Older versions of ss break a line before its details,
// which then start with blanks.
func parse(r io.Reader) (map[string]Flow, error) {
	flows := map[string]Flow{}
	var own, last string
	ended := false
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := s.Text()
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
			continue
		case own == "" && f[0] == "own":
			if len(f) == 5 {
				own = key(hostPort(f[3], f[4]), hostPort(f[1], f[2])) // of the client first
			} else {
				own = "none"
			}
		case len(f) == 1 && f[0] == "end":
			ended = true
		case line[0] != ' ' && line[0] != '\t':
			if len(f) < 4 {
				return nil, fmt.Errorf("ss printed %.100q, which is no connection", line)
			}
			local, remote := clean(f[2]), clean(f[3])
			last = key(local, remote)
			flows[last] = Flow{Local: local, Remote: remote, Bytes: counters(f[4:])}
		case last == "":
			return nil, fmt.Errorf("ss printed %.100q before any connection", line)
		default:
			fl := flows[last]
			fl.Bytes += counters(f)
			flows[last] = fl
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read what ss printed: %w", err)
	}
	if !ended {
		return nil, errors.New("what ss printed was cut off")
	}
	delete(flows, own)
	return flows, nil
}

func key(local, remote string) string { return local + " " + remote }

func hostPort(host, port string) string { return clean(host + ":" + port) }

// clean brings addresses to one form: without brackets, zones and the prefix of mapped ones.
func clean(s string) string {
	s = strings.NewReplacer("[", "", "]", "").Replace(s)
	s = strings.TrimPrefix(s, "::ffff:")
	if i := strings.IndexByte(s, '%'); i >= 0 {
		if j := strings.LastIndexByte(s, ':'); j > i {
			s = s[:i] + s[j:]
		}
	}
	return s
}

// counters adds up what was moved either way.
func counters(fields []string) uint64 {
	var sum uint64
	for _, f := range fields {
		for _, name := range []string{"bytes_acked:", "bytes_received:"} {
			if v, ok := strings.CutPrefix(f, name); ok {
				n, _ := strconv.ParseUint(v, 10, 64)
				sum += n
			}
		}
	}
	return sum
}

// moved are the flows of now that moved bytes since before, or are new: with the bytes that they moved.
func moved(before, now map[string]Flow) []Flow {
	var alive []Flow
	for k, f := range now {
		if loopback(f.Local) && loopback(f.Remote) {
			continue // leaves the host nowhere
		}
		was := before[k]         // a new one: zero
		if f.Bytes < was.Bytes { // another one on the same ports
			was.Bytes = 0
		}
		if f.Bytes != was.Bytes {
			f.Bytes -= was.Bytes
			alive = append(alive, f)
		}
	}
	slices.SortFunc(alive, func(a, b Flow) int { return strings.Compare(key(a.Local, a.Remote), key(b.Local, b.Remote)) })
	return alive
}

// loopback reports whether an address and port are the host's own.
func loopback(s string) bool {
	i := strings.LastIndexByte(s, ':')
	a, err := netip.ParseAddr(s[:max(i, 0)])
	return err == nil && a.IsLoopback()
}

type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errors.New("the host printed too much")
	}
	l.left -= len(p)
	return l.w.Write(p)
}

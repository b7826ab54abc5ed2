package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// errDisclosed: LiME served somebody else.
type errDisclosed struct{ detail string }

func (e *errDisclosed) Error() string {
	return "LiME's client is not our SSH server: " + e.detail + "; memory of the target may have been disclosed to another of its users; LiME was stopped"
}

func (e *errDisclosed) Hint() string {
	return "treat the target's memory as known to that user; look for the process on the target before you try again"
}

// checkPeer makes sure that the client which LiME serves is the socket of our own
// SSH server: loopback is shared with all users of the target, and LiME serves
// whoever comes first. It asks until LiME has accepted somebody.
func (st *limeStream) checkPeer(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("LiME accepted no client within a minute"))
	defer cancel()
	for {
		st.agent.order("check") // it fails only when the agent has ended: next says why
		var rows []socket
		owners := map[string]string{}
		for {
			r, err := st.agent.next(ctx)
			if err != nil {
				return fmt.Errorf("check LiME's client: %w", err)
			}
			if r.word == "row" {
				if s, ok := parseSocket(strings.Join(r.args, " ")); ok {
					rows = append(rows, s)
				}
			}
			if r.word == "socket" && len(r.args) >= 2 {
				owners[r.args[1]] = strings.Join(append([]string{r.args[0]}, r.args[2:]...), " ")
			}
			if r.word == "insmod" {
				return insmodEnded(r)
			}
			if r.word == "checked" {
				break
			}
		}
		if st.pipe != nil {
			if closed(st.pipe.ended) {
				return fmt.Errorf("connect to LiME: %w", st.pipe.explain(io.EOF))
			}
			owners = st.pipe.owners() // nobody else is to read it
			if len(owners) == 0 {
				rows = nil // it is not known yet whose socket is ours
			}
		}
		peer, decided := judgePeer(rows, owners, st.agent.port)
		if decided {
			st.peer = peer
			if !peer.Verified {
				return &errDisclosed{peer.Detail}
			}
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("check LiME's client: %w", context.Cause(ctx))
		}
	}
}

// judgePeer decides from the target's sockets whom LiME serves. owners maps
// "socket:[inode]" to the process among our ancestors that holds it. It is
// undecided while LiME has accepted nobody.
func judgePeer(rows []socket, owners map[string]string, port int) (p Peer, decided bool) {
	loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for _, s := range rows {
		if s.localPort != port {
			continue
		}
		// LiME's sockets are the kernel's: they belong to root.
		if s.uid != 0 || s.local != loopback {
			return Peer{Detail: fmt.Sprintf("port %d at %s belongs to uid %d, not to the kernel", port, s.local, s.uid)}, true
		}
		if s.state == tcpListen || s.inode == 0 {
			continue // the listener, or still in the accept queue
		}
		i := slices.IndexFunc(rows, func(c socket) bool {
			return c.localPort == s.remotePort && c.local == s.remote && c.remotePort == port
		})
		if i < 0 {
			return Peer{Detail: fmt.Sprintf("a client on port %d that has gone", s.remotePort)}, true
		}
		c := rows[i]
		key := fmt.Sprintf("socket:[%d]", c.inode)
		if who, ok := owners[key]; ok {
			return Peer{Verified: true, Detail: fmt.Sprintf("port %d, inode %d, process %q", c.localPort, c.inode, who)}, true
		}
		return Peer{Detail: fmt.Sprintf("a process of uid %d on port %d, inode %d", c.uid, c.localPort, c.inode)}, true
	}
	return Peer{}, false
}

package triage

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// key names a socket in the same way on both sides: the protocol without its version, and addresses in
// which IPv4 is IPv4.
func key(proto, local, remote string) string {
	proto = strings.TrimSuffix(strings.ToLower(proto), "6")
	return proto + " " + plainAddr(local) + " " + plainAddr(remote)
}

// unixKey names a Unix socket: its path may have been taken over by another.
func unixKey(inode uint64) string { return fmt.Sprintf("unix %d", inode) }

// plainAddr writes an address as netip does, IPv4 in IPv6 as IPv4; what it cannot read stays.
func plainAddr(s string) string {
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return s
	}
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()).String()
}

// nobody reports whether an end is no address: of a listener, or of a socket that is not bound.
func nobody(s string) bool { return s == "" || strings.HasSuffix(s, ":0") }

// compareSockets does so for sockets of TCP, UDP and raw ones, and for Unix sockets that have a name.
func (r *Report) compareSockets(b, a side) {
	c := r.Comparison
	created, initNS := map[int]Process{}, int64(-1)
	for _, p := range r.Processes {
		created[p.PID] = p
	}
	for _, s := range r.Sockets {
		if s.PID == 1 && initNS < 0 {
			initNS = s.NetNS
		}
	}
	x := &processComparison{report: r, before: b, after: a, memory: created}
	x.ownSession()
	seen := map[string]bool{}
	for _, s := range r.Sockets {
		k := key(s.Proto, s.Local, s.Remote)
		unix := s.Proto == protoUnix
		if unix {
			k = unixKey(s.Inode)
		}
		if !unix && nobody(s.Local) || seen[k] || s.State == "CLOSE" {
			continue // not bound: /proc/net does not list it, either
		}
		seen[k] = true
		d := Difference{Kind: kindSocket, Name: socketName(s.Proto, s.Local, s.Remote, s.State), PID: s.PID, In: inMemory}
		owner := fmt.Sprintf("process %d, %q, holds it", s.PID, s.Name)
		_, before := b.sockets[k]
		_, after := a.sockets[k]
		p := created[s.PID]
		switch {
		case before:
			c.Both.Sockets++
			continue
		case initNS >= 0 && s.NetNS != initNS:
			d.Class, d.Detail = Elsewhere, fmt.Sprintf("it is in network namespace %d; %s", s.NetNS, owner)
		case x.ours(p) && p.PID != 0:
			d.Class, d.Detail = Ours, "it belongs to the capture's own SSH session: "+owner
		case x.began(p):
			d.Class, d.Detail = Started, "its process began after the live tools looked: "+owner
		case after:
			d.Class, d.Detail = Started, "it was opened after the live tools looked: "+owner
		case !nobody(s.Remote):
			d.Class, d.Detail = Transitory, "a connection, which may have begun and ended in between: "+owner
		case !a.has["sockets"]:
			d.Class, d.Detail = Hidden, "/proc/net did not list it before memory was read; whether it did afterwards is not known; "+owner
		default:
			d.Class, d.Detail = Hidden, "/proc/net listed it neither before nor after memory was read; "+owner
		}
		c.add(d)
	}
	for k := range sorted(b.sockets) {
		s := b.sockets[k]
		if seen[k] || s.Proto == protoUnix && (s.Path == "" || s.State != "LISTEN") {
			continue // what has no name, or waits for nobody, is not looked for in memory either
		}
		c.add(liveSocket(s, a, k))
	}
}

func liveSocket(s live.Socket, a side, k string) Difference {
	d := Difference{Kind: kindSocket, Name: socketName(s.Proto, s.Local.String(), s.Remote.String(), s.State), In: inLive}
	unix := s.Proto == protoUnix
	if unix {
		d.Name = socketName(s.Proto, s.Path, "", s.State)
	}
	later, after := a.sockets[k]
	switch {
	case s.Inode == 0 || s.State == "TIME_WAIT":
		d.Class, d.Detail = Unowned, "no process holds it"
	case after && later.Inode == s.Inode:
		d.Class, d.Detail = Lost, "it was open before and after memory was read, and no process of memory's list holds it: a process is hidden in memory, or the kernel itself holds it"
	case unix || nobody(s.Remote.String()):
		d.Class, d.Detail = Ended, "it was closed when the live tools looked again"
	default:
		d.Class, d.Detail = Transitory, "a connection, which may have ended in between"
	}
	return d
}

func socketName(proto, local, remote, state string) string {
	name := strings.TrimSuffix(strings.ToLower(proto), "6") + " " + plainAddr(local)
	if !nobody(remote) {
		name += " to " + plainAddr(remote)
	}
	if state != "" {
		name += " " + state
	}
	return name
}

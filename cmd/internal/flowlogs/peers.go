package flowlogs

import (
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// A Peer is an address that talked to the instance.
type Peer struct {
	Address netip.Addr `json:"address"`
	Own     []string   `json:"own_addresses"` // of the instance
	First   time.Time  `json:"first,omitzero"`
	Last    time.Time  `json:"last,omitzero"`
	Flows   int        `json:"flows"`
	In      int64      `json:"in_bytes"`
	Out     int64      `json:"out_bytes"`
	// Ports are "tcp/443 of it", "tcp/22 of the instance": the lower one of each flow, which is mostly that of the service.
	Ports []string `json:"ports,omitempty"`
}

// maxPorts bounds the ports of a peer, maxPeers the peers: a scan has thousands.
const (
	maxPorts = 20
	maxPeers = 20000
)

// peers sums flows up.
type peers struct {
	own []netip.Addr
	by  map[netip.Addr]*Peer
	cut bool
}

// add adds a flow, if it was let through. It reports whether an end of it is the instance's.
func (p *peers) add(x flow) (known bool) {
	if x.action != "" && x.action != "ACCEPT" {
		return true
	}
	out, ok := p.side(x.from, x.to)
	if !ok { // the instance passed packets of others on, as one that does NAT, or has containers with addresses that AWS does not tell
		if out, ok = p.side(x.atFrom, x.atTo); !ok {
			return slices.Contains(p.own, x.atFrom) || slices.Contains(p.own, x.from) // it talked to itself
		}
		x.from, x.to = x.atFrom, x.atTo
	}
	own, other, ownPort, otherPort := x.to, x.from, x.toPort, x.fromPort
	if out {
		own, other, ownPort, otherPort = x.from, x.to, x.fromPort, x.toPort
	}
	n := p.of(other)
	if n == nil {
		return true
	}
	n.Flows++
	if out {
		n.Out += x.bytes
	} else {
		n.In += x.bytes
	}
	port := ""
	switch name := protocol(x.proto); {
	case ownPort == 0 && otherPort == 0:
		port = name
	case otherPort == 0 || ownPort != 0 && ownPort <= otherPort:
		port = name + "/" + strconv.Itoa(int(ownPort)) + " of the instance"
	default:
		port = name + "/" + strconv.Itoa(int(otherPort)) + " of it"
	}
	n.widen(Peer{First: x.start, Last: x.end, Own: []string{own.String()}, Ports: []string{port}})
	return true
}

// side reports whether a flow goes out of the instance, and whether just one of its ends is the instance's.
func (p *peers) side(from, to netip.Addr) (out, ok bool) {
	out = slices.Contains(p.own, from)
	return out, out != slices.Contains(p.own, to)
}

// of is a peer, made if need be; nil if there are too many.
func (p *peers) of(a netip.Addr) *Peer {
	n := p.by[a]
	if n == nil {
		if len(p.by) >= maxPeers {
			p.cut = true
			return nil
		}
		n = &Peer{Address: a}
		p.by[a] = n
	}
	return n
}

// widen adds the times, addresses and ports of another to a peer's.
func (n *Peer) widen(m Peer) {
	if !m.First.IsZero() && (n.First.IsZero() || m.First.Before(n.First)) {
		n.First = m.First
	}
	if m.Last.After(n.Last) {
		n.Last = m.Last
	}
	for _, s := range m.Own {
		if !slices.Contains(n.Own, s) {
			n.Own = append(n.Own, s)
		}
	}
	for _, s := range m.Ports {
		if s != "" && len(n.Ports) < maxPorts && !slices.Contains(n.Ports, s) {
			n.Ports = append(n.Ports, s)
		}
	}
}

// join adds what another sum has. What both were told of the same flows is not counted twice: for each peer the larger count stands.
// Of different flows, apart, the counts are added.
func (p *peers) join(other *peers, apart bool) {
	p.cut = p.cut || other.cut
	for a, m := range other.by {
		n := p.of(a)
		if n == nil {
			continue
		}
		if apart {
			n.Flows, n.In, n.Out = n.Flows+m.Flows, n.In+m.In, n.Out+m.Out
		} else {
			n.Flows, n.In, n.Out = max(n.Flows, m.Flows), max(n.In, m.In), max(n.Out, m.Out)
		}
		n.widen(*m)
	}
}

func protocol(n uint8) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "icmp"
	case 6:
		return "tcp"
	case 17:
		return "udp"
	case 58:
		return "icmpv6"
	}
	return "protocol " + strconv.Itoa(int(n))
}

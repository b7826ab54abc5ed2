// Package flowlogs reads the flow logs of VPCs: which addresses talked to an instance, as far as its VPC, subnet or interfaces record it. It
// only reads.
//
// A flow log has what its format says, of the traffic that it records, minutes late, and DNS to the VPC's resolver, metadata and a few more never.
package flowlogs

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DefaultFormat is that of a flow log without one of its own.
const DefaultFormat = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} ${packets} ${bytes} ${start} ${end} ${action} ${log-status}"

// A format is where the fields are in a line.
type format map[string]int

var field = regexp.MustCompile(`^\$\{([a-z0-9-]+)\}$`)

// parseFormat reads a flow log's LogFormat; nil if it does not tell who talked to whom.
func parseFormat(text string) format {
	if text == "" {
		text = DefaultFormat
	}
	f := format{}
	for i, word := range strings.Fields(text) {
		if m := field.FindStringSubmatch(word); m != nil {
			f[m[1]] = i
		}
	}
	_, src := f["srcaddr"]
	_, dst := f["dstaddr"]
	_, psrc := f["pkt-srcaddr"]
	_, pdst := f["pkt-dstaddr"]
	if !(src && dst) && !(psrc && pdst) {
		return nil
	}
	return f
}

// A flow is one line.
type flow struct {
	from, to         netip.Addr
	fromPort, toPort uint16
	proto            uint8
	bytes            int64
	start, end       time.Time
	action           string
}

// maxLine bounds a line. The longest format has some 40 fields.
const maxLine = 4096

// maxBytes bounds the bytes of a flow, more than any minute's: sums of whoever's lines do not overflow.
const maxBytes = 1 << 40

// parse reads a line; ok is false for one without a flow: NODATA, SKIPDATA, a head, or what is none. Where the packet's own addresses are recorded,
// which a NAT gateway or a load balancer on the way changes, they count.
func (f format) parse(line string) (x flow, ok bool) {
	if len(line) > maxLine {
		return x, false
	}
	words := strings.Fields(line)
	get := func(name string) string {
		i, there := f[name]
		if !there || i >= len(words) || words[i] == "-" {
			return ""
		}
		return words[i]
	}
	address := func(names ...string) netip.Addr {
		for _, n := range names {
			if a, err := netip.ParseAddr(get(n)); err == nil {
				return a.Unmap().WithZone("")
			}
		}
		return netip.Addr{}
	}
	x.from, x.to = address("pkt-srcaddr", "srcaddr"), address("pkt-dstaddr", "dstaddr")
	if !x.from.IsValid() || !x.to.IsValid() {
		return x, false
	}
	port := func(name string) uint16 {
		n, _ := strconv.ParseUint(get(name), 10, 16)
		return uint16(n)
	}
	second := func(name string) time.Time {
		n, err := strconv.ParseInt(get(name), 10, 64)
		if err != nil || n <= 0 || n > 1<<40 {
			return time.Time{}
		}
		return time.Unix(n, 0).UTC()
	}
	proto, _ := strconv.ParseUint(get("protocol"), 10, 8)
	x.proto = uint8(proto)
	if n, err := strconv.ParseInt(get("bytes"), 10, 64); err == nil && n > 0 {
		x.bytes = min(n, maxBytes)
	}
	x.fromPort, x.toPort, x.start, x.end, x.action = port("srcport"), port("dstport"), second("start"), second("end"), get("action")
	return x, true
}

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
	own  []netip.Addr
	by   map[netip.Addr]*Peer
	cut  bool
	seen int // flows
}

func (p *peers) add(x flow) {
	out := slices.Contains(p.own, x.from)
	if !out && !slices.Contains(p.own, x.to) || out && slices.Contains(p.own, x.to) || x.action != "" && x.action != "ACCEPT" {
		return
	}
	p.seen++
	own, other, ownPort, otherPort := x.to, x.from, x.toPort, x.fromPort
	if out {
		own, other, ownPort, otherPort = x.from, x.to, x.fromPort, x.toPort
	}
	n := p.by[other]
	if n == nil {
		if len(p.by) >= maxPeers {
			p.cut = true
			return
		}
		n = &Peer{Address: other, First: x.start}
		p.by[other] = n
	}
	n.Flows++
	if out {
		n.Out += x.bytes
	} else {
		n.In += x.bytes
	}
	if !x.start.IsZero() && (n.First.IsZero() || x.start.Before(n.First)) {
		n.First = x.start
	}
	if x.end.After(n.Last) {
		n.Last = x.end
	}
	if s := own.String(); !slices.Contains(n.Own, s) {
		n.Own = append(n.Own, s)
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
	if port != "" && len(n.Ports) < maxPorts && !slices.Contains(n.Ports, port) {
		n.Ports = append(n.Ports, port)
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

package flowlogs

import (
	"net/netip"
	"testing"
)

// FuzzLine: no format and no line makes a flow that was not there, or a sum that is wrong.
func FuzzLine(f *testing.F) {
	f.Add(DefaultFormat, "2 1 eni-x 198.51.100.7 10.0.0.1 5 22 6 1 10 1 2 ACCEPT OK")
	f.Add("${pkt-srcaddr} ${pkt-dstaddr}", "fe80::1%eth0 10.0.0.1")
	f.Fuzz(func(t *testing.T, text, line string) {
		form := parseFormat(text)
		if form == nil {
			return
		}
		p := &peers{own: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, by: map[netip.Addr]*Peer{}}
		for range 3 {
			if x, k := form.parse(line); k == aFlow {
				p.add(x)
			}
		}
		for _, n := range p.by {
			if n.Flows != 3 || n.In < 0 || n.Out < 0 || n.Address == p.own[0] || len(n.Ports) > maxPorts {
				t.Fatalf("%+v", n)
			}
		}
	})
}

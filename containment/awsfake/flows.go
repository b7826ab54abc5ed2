package awsfake

import (
	"net/netip"
	"slices"
	"time"
)

// A Conversion says when a tracked connection becomes untracked, once groups are open both ways.
// AWS's own documents disagree; see docs/containment.md.
type Conversion int

const (
	NeedsTraffic Conversion = iota // at its next packet
	Always                         // at once
	Never
)

// A Flow is a connection that an attacker, or someone else, holds.
type Flow struct {
	Interface string
	Remote    netip.Addr
	Protocol  string // "tcp" (default), "udp", "icmp"
	Port      int    // of the remote end; of the interface if Inbound
	Inbound   bool
	// Via is what it goes through: "igw", "nat", "eigw", "tgw", "gwlb", "firewall", "privatelink", "nlb"; empty: the VPC alone.
	Via string
	// Every is how often it sends a packet; 0: never.
	Every time.Duration

	Alive, Tracked bool
	Last           time.Time // when a packet passed
}

// automatic are the ways on which connections are tracked whatever the groups say.
var automatic = []string{"nat", "eigw", "tgw", "gwlb", "firewall", "privatelink", "nlb"}

// AddFlow opens a connection, if the groups let it.
func (r *Region) AddFlow(f Flow) *Flow {
	if f.Protocol == "" {
		f.Protocol = "tcp"
	}
	i := r.Interfaces[f.Interface]
	f.Last, f.Alive, f.Tracked = r.cloud.now, r.permits(i, &f), !r.untracks(i, &f)
	r.Flows = append(r.Flows, &f)
	return &f
}

// AliveFlows are the flows that still live.
func (r *Region) AliveFlows() []*Flow {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.Flows), func(f *Flow) bool { return !f.Alive })
}

// permits reports whether the interface's groups would let the flow begin.
func (r *Region) permits(i *Interface, f *Flow) bool {
	return r.any(i, f.Inbound, func(rule *Rule) bool { return rule.covers(f) })
}

// untracks reports whether the groups leave the flow untracked: a rule for all addresses lets it begin, and
// another lets every answer pass.
func (r *Region) untracks(i *Interface, f *Flow) bool {
	if slices.Contains(automatic, f.Via) || f.Protocol != "tcp" && f.Protocol != "udp" {
		return false
	}
	return r.any(i, f.Inbound, func(rule *Rule) bool { return rule.anyone(f) && rule.covers(f) }) &&
		r.any(i, !f.Inbound, func(rule *Rule) bool {
			return rule.anyone(f) && (rule.Protocol == "-1" || rule.Protocol == f.Protocol && rule.From == 0 && rule.To == 65535)
		})
}

func (r *Region) any(i *Interface, ingress bool, ok func(*Rule) bool) bool {
	for _, id := range i.Groups {
		if g := r.Groups[id]; g != nil && slices.ContainsFunc(g.Rules, func(rule *Rule) bool { return rule.Egress != ingress && ok(rule) }) {
			return true
		}
	}
	return false
}

func (rule *Rule) covers(f *Flow) bool {
	if rule.Protocol != "-1" && (rule.Protocol != f.Protocol || f.Port < rule.From || f.Port > rule.To) {
		return false
	}
	return inside(rule.CIDR, f.Remote) || inside(rule.CIDR6, f.Remote)
}

func (rule *Rule) anyone(f *Flow) bool {
	return rule.CIDR == "0.0.0.0/0" && f.Remote.Is4() || rule.CIDR6 == "::/0" && f.Remote.Is6()
}

func inside(cidr string, a netip.Addr) bool {
	p, err := netip.ParsePrefix(cidr)
	return err == nil && p.Contains(a)
}

// judge looks at the flows of an interface after its groups, or their rules, have changed: untracked ones that are not let
// through die at once, tracked ones live on.
func (r *Region) judge(i *Interface) {
	for _, f := range r.Flows {
		if !f.Alive || f.Interface != i.ID {
			continue
		}
		if !f.Tracked && !r.permits(i, f) {
			f.Alive = false
		}
		if f.Tracked && r.Convert == Always && r.untracks(i, f) {
			f.Tracked = false
		}
	}
}

func (r *Region) judgeAll() {
	for _, i := range r.Interfaces {
		r.judge(i)
	}
}

// pass lets one step of time go by: packets, idle timeouts, network ACLs, what is stopped, health checks.
func (r *Region) pass() {
	for _, i := range r.Instances {
		if i.State == "stopping" {
			i.State = "stopped"
		}
	}
	for _, f := range r.Flows {
		if i := r.Interfaces[f.Interface]; f.Alive && i != nil {
			r.passFlow(i, f)
		}
	}
	for _, g := range r.Scaling {
		g.check(r)
	}
}

func (r *Region) passFlow(i *Interface, f *Flow) {
	if in := r.Instances[i.Instance]; in != nil && in.State != "running" || r.aclDenies(i, f.Remote) {
		f.Alive = false
		return
	}
	if ip, _ := r.publicIP(i); f.Via == "igw" && f.Remote.Is4() && ip == "" {
		f.Alive = false
		return
	}
	now := r.cloud.now
	if f.Tracked && now.Sub(f.Last) > r.timeout(i, f) {
		// Forgotten: its next packet counts as the first of another connection.
		f.Alive, f.Tracked = r.permits(i, f), !r.untracks(i, f)
	}
	if f.Every > 0 && now.Sub(f.Last) >= f.Every {
		f.Last = now
		if r.Convert == NeedsTraffic && r.untracks(i, f) {
			f.Tracked = false
		}
	}
}

func (r *Region) timeout(i *Interface, f *Flow) time.Duration {
	switch {
	case f.Protocol == "tcp":
		return time.Duration(r.tcpTimeout(i)) * time.Second
	case f.Protocol == "udp" && i.Timeouts != nil:
		return time.Duration(i.Timeouts.UDPStream) * time.Second
	case f.Protocol == "udp":
		return 180 * time.Second
	}
	return 600 * time.Second
}

// aclDenies reports whether the subnet's network ACL drops packets of a flow in either direction: they are stateless.
func (r *Region) aclDenies(i *Interface, remote netip.Addr) bool {
	s := r.Subnets[i.Subnet]
	if s == nil || r.ACLs[s.ACL] == nil {
		return false
	}
	for _, egress := range []bool{false, true} {
		best, allow := 1<<30, false
		for _, e := range r.ACLs[s.ACL].Entries {
			if e.Egress == egress && e.Number < best && (inside(e.CIDR, remote) || inside(e.CIDR6, remote)) {
				best, allow = e.Number, e.Allow
			}
		}
		if !allow {
			return true
		}
	}
	return false
}

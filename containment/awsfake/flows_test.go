package awsfake_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// TestConnectionTracking is what EC2's guide says of connections when an interface's groups change.
func TestConnectionTracking(t *testing.T) {
	for name, tt := range map[string]struct {
		convert     awsfake.Conversion
		via         string
		every       time.Duration
		timeout     int // of the interface, set before; 0: none
		open        time.Duration
		tracked     bool // before
		wide        bool // the first group lets all pass
		alive, late bool // after the isolation, and an hour later
	}{
		"untracked, cut at once":             {wide: true, every: time.Second},
		"tracked, no untracking":             {tracked: true, every: time.Second, alive: true, late: true},
		"tracked and idle, five days":        {tracked: true, alive: true, late: true},
		"tracked and idle, 60 s":             {tracked: true, timeout: 60, alive: true},
		"active, untracked by traffic":       {tracked: true, every: 5 * time.Second, open: 10 * time.Second},
		"active, untracked too shortly":      {tracked: true, every: 5 * time.Second, open: 2 * time.Second, alive: true, late: true},
		"active, never converted":            {tracked: true, convert: awsfake.Never, every: 5 * time.Second, timeout: 60, open: 75 * time.Second, alive: true, late: true},
		"idle, never converted, forgotten":   {tracked: true, convert: awsfake.Never, timeout: 60, open: 75 * time.Second},
		"idle, converted at once":            {tracked: true, convert: awsfake.Always, open: time.Second},
		"through a NAT gateway, active":      {tracked: true, convert: awsfake.Always, via: "nat", every: 30 * time.Second, timeout: 60, open: 75 * time.Second, alive: true, late: true},
		"through a NAT gateway, idle":        {tracked: true, convert: awsfake.Always, via: "nat", timeout: 60, open: 10 * time.Second, alive: true},
		"through a NAT gateway, groups open": {tracked: true, wide: true, via: "nat", every: time.Second, alive: true, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			r := c.Account(home).Region("eu-west-1")
			var f *awsfake.Flow
			var e *awsfake.Interface
			c.Edit(func() {
				r.Convert = tt.convert
				vpc := r.AddVPC(awsfake.VPC{})
				s := r.AddSubnet(vpc.ID)
				first := r.AddGroup(vpc.ID, "first", awsfake.TCP(true, 443, "0.0.0.0/0"))
				if tt.wide {
					first = r.AddGroup(vpc.ID, "wide", append(awsfake.All(false), awsfake.All(true)...)...)
				}
				r.AddInstance(awsfake.Instance{}, s.ID, first.ID)
				for _, e = range r.Interfaces {
				}
				f = r.AddFlow(awsfake.Flow{Interface: e.ID, Remote: netip.MustParseAddr("203.0.113.9"), Port: 443, Via: tt.via, Every: tt.every})
				if tt.timeout > 0 {
					e.Timeouts = &awsfake.Timeouts{TCP: tt.timeout, UDPStream: 60, UDP: 30}
				}
				if f.Tracked != tt.tracked || !f.Alive {
					t.Fatalf("before: %+v", f)
				}
				if tt.open > 0 {
					regroup(t, r, e, r.AddGroup(vpc.ID, "open", append(awsfake.All(false), awsfake.All(true)...)...))
				}
			})
			if err := c.Sleep(t.Context(), tt.open); err != nil {
				t.Fatal(err)
			}
			c.Edit(func() { regroup(t, r, e, r.AddGroup(e.VPC, "closed")) })
			if f.Alive != tt.alive {
				t.Errorf("after the isolation: alive %v", f.Alive)
			}
			if err := c.Sleep(t.Context(), time.Hour); err != nil {
				t.Fatal(err)
			}
			if f.Alive != tt.late {
				t.Errorf("an hour later: alive %v", f.Alive)
			}
		})
	}
}

func regroup(t *testing.T, r *awsfake.Region, e *awsfake.Interface, g *awsfake.Group) {
	t.Helper()
	if err := r.Regroup(e, g.ID); err != nil {
		t.Fatal(err)
	}
}

package ec2_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// TestResiduals finds each way that stays open, by reading.
func TestResiduals(t *testing.T) {
	for name, tt := range map[string]struct {
		make func(*world)
		path string // of the residual; empty: none but the known ones
	}{
		"an internet gateway": {func(*world) {}, ""},
		"NAT":                 {func(w *world) { w.route("10.9.0.0/16", "nat-1", false) }, "nat-gateway"},
		"NAT in the main table": {func(w *world) {
			for _, t := range w.region.RouteTables {
				t.Subnets = nil
				if t.Main {
					t.Routes = append(t.Routes, awsfake.Route{To: "0.0.0.0/0", Via: "nat-2"})
				}
			}
		}, "nat-gateway"},
		"NAT that is gone":            {func(w *world) { w.route("10.9.0.0/16", "nat-1", true) }, ""},
		"IPv6 through an egress-only": {func(w *world) { w.route("::/0", "eigw-1", false) }, "egress-only-internet-gateway"},
		"a transit gateway":           {func(w *world) { w.route("10.0.0.0/8", "tgw-1", false) }, "transit-gateway"},
		"a firewall or Gateway LB":    {func(w *world) { w.route("0.0.0.0/0", "vpce-1", false) }, "gateway-endpoint"},
		"PrivateLink":                 {func(w *world) { w.endpoint("Interface", "com.amazonaws.eu-west-1.s3") }, "privatelink"},
		"DynamoDB's gateway endpoint": {func(w *world) { w.endpoint("Gateway", "com.amazonaws.eu-west-1.dynamodb") }, "privatelink"},
		"S3's gateway endpoint":       {func(w *world) { w.endpoint("Gateway", "com.amazonaws.eu-west-1.s3") }, ""},
		"a Network Load Balancer": {func(w *world) {
			w.region.AddTargetGroup("tcp", w.vpc.ID, "TCP", awsfake.Registered{ID: w.host.ID, Port: 22})
		}, "network-load-balancer"},
		"a secondary interface":      {func(w *world) { w.attach(awsfake.Interface{Secondary: true}) }, "secondary-interface"},
		"an interface for EFA alone": {func(w *world) { w.attach(awsfake.Interface{Type: "efa-only", Groups: []string{w.web.ID}}) }, "efa-only"},
		"Xen":                        {func(w *world) { w.host.Type = "m4.large" }, "xen"},
		"a warm pool":                {func(w *world) { w.region.Scaling["web-asg"].States[w.host.ID] = "Warmed:Running" }, "auto-scaling"},
		"a profile that was deleted": {func(w *world) { w.role.Profiles = nil }, "credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.Edit(func() { tt.make(w) })
			res := w.contain(containment.Options{UntrackWait: short}, containment.ApplyOptions{})
			var found []string
			for _, r := range res.Residuals {
				if !r.Known {
					found = append(found, r.Path)
				}
			}
			var want []string
			outcome := containment.Unverified
			if tt.path != "" {
				want, outcome = []string{tt.path}, containment.Remaining
			}
			if diff := cmp.Diff(want, found); diff != "" || res.Outcome != outcome {
				t.Errorf("%s\n%s", diff, status(res))
			}
			if !slices.ContainsFunc(res.Residuals, func(r containment.Residual) bool { return r.Path == "dns" && r.Known }) {
				t.Error("DNS is open always, and is not said to be")
			}
		})
	}
}

func (w *world) route(to, via string, blackhole bool) {
	for _, t := range w.region.RouteTables {
		if slices.Contains(t.Subnets, w.subnet.ID) {
			t.Routes = append(t.Routes, awsfake.Route{To: to, Via: via, Blackhole: blackhole})
		}
	}
}

func (w *world) endpoint(kind, service string) {
	w.region.Endpoints = append(w.region.Endpoints, &awsfake.Endpoint{ID: "vpce-1", VPC: w.vpc.ID, Type: kind, Service: service})
}

func (w *world) attach(i awsfake.Interface) *awsfake.Interface {
	i.Instance, i.Subnet = w.host.ID, w.subnet.ID
	return w.region.AddInterface(i)
}

// TestNATKeepsFlows shows that the residual is true: the flow lives, and an address denied in the network ACL ends it.
func TestNATKeepsFlows(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() { w.route("0.0.0.0/0", "nat-1", false) })
	f := w.flow(awsfake.Flow{Remote: home, Via: "nat", Every: 30 * time.Second})
	alive := func() bool { return f.Alive }
	if res := w.contain(containment.Options{}, containment.ApplyOptions{}); res.Outcome != containment.Remaining || !alive() {
		t.Fatalf("alive %v: %s", alive(), status(res))
	}
	w.contain(containment.Options{Addresses: []string{home.String()}}, containment.ApplyOptions{})
	w.cloud.Sleep(t.Context(), time.Second) //nolint:errcheck // virtual
	if alive() {
		t.Error("it lives on, denied")
	}
}

// TestEveryInterface isolates all there are: several, hidden ones of services, branches of trunks, in other VPCs too.
func TestEveryInterface(t *testing.T) {
	w := newWorld(t)
	w.cloud.Edit(func() {
		w.attach(awsfake.Interface{Groups: []string{w.web.ID}, Timeouts: &awsfake.Timeouts{TCP: 900, UDPStream: 120, UDP: 30}})
		w.attach(awsfake.Interface{Groups: []string{w.web.ID}, Managed: true, Hidden: true})
		w.attach(awsfake.Interface{Type: "efa", Groups: []string{w.web.ID}})
		trunk := w.attach(awsfake.Interface{Type: "trunk", Groups: []string{w.web.ID}})
		w.region.AddInterface(awsfake.Interface{Type: "branch", Trunk: trunk.ID, Subnet: w.subnet.ID, Groups: []string{w.web.ID}})
		two := w.region.AddVPC(awsfake.VPC{})
		s := w.region.AddSubnet(two.ID)
		g := w.region.AddGroup(two.ID, "management", awsfake.All(true)...)
		w.region.AddInterface(awsfake.Interface{Instance: w.host.ID, Subnet: s.ID, Groups: []string{g.ID}})
	})
	before := w.snapshot()
	res := w.contain(containment.Options{UntrackWait: short}, containment.ApplyOptions{})
	if res.Outcome != containment.Unverified {
		t.Fatal(status(res))
	}
	for _, i := range w.region.Interfaces {
		if g := w.region.Groups[i.Groups[0]]; len(i.Groups) != 1 || g.Name != "shotglass-isolate" || g.VPC != i.VPC {
			t.Errorf("%s (%s) is in %s", i.ID, i.Type, g.Name)
		}
		if i.Timeouts == nil || i.Timeouts.TCP != 60 {
			t.Errorf("%s has the timeouts %+v", i.ID, i.Timeouts)
		}
	}
	rel := w.release(res.Journal, containment.ReleaseOptions{})
	if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
		t.Errorf("%s\n%s", status(rel), diff)
	}
}

func TestSpotAndInstanceStore(t *testing.T) {
	for _, i := range []awsfake.Instance{{Spot: true}, {InstanceStore: true}} {
		w := newWorld(t)
		w.cloud.Edit(func() { w.host = w.region.AddInstance(i, w.subnet.ID, w.web.ID) })
		w.target.Name = w.host.ID
		res := w.contain(containment.Options{}, containment.ApplyOptions{})
		p := w.plan(containment.Options{})
		if res.Outcome != containment.Unverified || !strings.Contains(strings.Join(p.Warnings, "\n"), "takes no protection") {
			t.Errorf("%+v: %q %s", i, p.Warnings, status(res))
		}
	}
}

// A command to paste has the group's name as one word, whatever stands in it: who makes a group chooses its name.
func TestCommandIsOneWord(t *testing.T) {
	w := newWorld(t)
	const name = "x';touch pwned;echo '$(id)"
	w.cloud.Edit(func() {
		g := w.region.Scaling["web-asg"]
		delete(w.region.Scaling, "web-asg")
		g.Name = name
		g.States[w.host.ID] = "Warmed:Running"
		w.region.Scaling[name] = g
	})
	p := w.plan(containment.Options{})
	n := slices.IndexFunc(p.Residuals, func(r containment.Residual) bool { return r.Path == "auto-scaling" })
	if n < 0 {
		t.Fatalf("%+v", p.Residuals)
	}
	command, _, _ := strings.Cut(p.Residuals[n].Do, ", and ")
	out, err := exec.Command("sh", "-c", "aws() { printf '%s\\n' \"$4\"; }; "+command).Output()
	if err != nil || string(out) != name+"\n" {
		t.Errorf("%v: the shell read %q from %s", err, out, command)
	}
}

package ec2_test

import (
	"os"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
)

// everything makes each call that containing an instance can make, and releases all of it.
func everything(t *testing.T, w *world) {
	w.cloud.Edit(func() {
		trunk := w.attach(awsfake.Interface{Type: "trunk", Groups: []string{w.web.ID}, AutoPublicIP: "203.0.113.11"})
		w.region.AddInterface(awsfake.Interface{Type: "branch", Trunk: trunk.ID, Subnet: w.subnet.ID, Groups: []string{w.web.ID}})
		four := w.region.AddVPC(awsfake.VPC{}) // where a new group lets nothing out over IPv6
		w.region.AddInterface(awsfake.Interface{Instance: w.host.ID, Subnet: w.region.AddSubnet(four.ID).ID, Groups: []string{w.region.AddGroup(four.ID, "other").ID}})
	})
	o := w.all()
	o.Cuts = append(o.Cuts, ec2.CutStop)
	o.UntrackWait = short
	res := w.contain(o, containment.ApplyOptions{})
	if res.Outcome != containment.Unverified {
		t.Fatalf("contain: %s", status(res))
	}
	w.cloud.Edit(func() { // somebody opens our group, so that a rule in has to go
		for _, g := range w.region.Groups {
			if strings.HasPrefix(g.Name, "shotglass-isolate") {
				w.region.AddRule(g, *awsfake.TCP(false, 22, "198.51.100.0/24"))
			}
		}
	})
	if res := w.contain(o, containment.ApplyOptions{}); res.Outcome != containment.Unverified {
		t.Fatalf("contain again: %s", status(res))
	}
	rel := w.release(res.Journal, containment.ReleaseOptions{
		Also: []string{"ec2/security-group", "ec2/network-acl", "ec2/power", "ec2/assigned-public-address"},
	})
	if rel.Outcome != containment.Released {
		t.Fatalf("release: %s", status(rel))
	}
	for _, g := range w.region.Groups {
		if strings.HasPrefix(g.Name, "shotglass") {
			t.Errorf("%s is left", g.Name)
		}
	}
}

// TestPolicy runs everything with docs/containment-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	const file = "../../docs/containment-policy.json"
	w := newWorld(t)
	exact := w.cloud.RestrictTo(t, file, responder)
	everything(t, w)
	for _, c := range w.cloud.Calls() {
		if strings.Contains(c.Error, "not authorized") {
			t.Errorf("%s on %v: %s", c.Action, c.Resources, c.Error)
		}
	}
	exact("Instances")
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// What a managed policy may have, white space left out.
	if n := len(strings.Join(strings.Fields(string(doc)), "")); n > 6144 {
		t.Errorf("the policy has %d characters", n)
	}
}

// TestPermissions says that plans name what their changes need.
func TestPermissions(t *testing.T) {
	w := newWorld(t)
	everything(t, w)
	named := map[string]bool{}
	o := w.all()
	o.Cuts = append(o.Cuts, ec2.CutStop)
	for _, c := range w.plan(o).Changes {
		for _, p := range c.Permissions {
			named[p.Action] = true
		}
	}
	for _, c := range w.cloud.Calls() {
		if c.Writes && !named[c.Action] {
			t.Errorf("no change says that it needs %s", c.Action)
		}
	}
}

package ec2_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
)

// of is the same world with another instance as the target.
func (w *world) of(id string) *world {
	o := *w
	o.target.Name = id
	return &o
}

// neighbour adds an instance to the subnet.
func (w *world) neighbour() *world {
	var id string
	w.cloud.Edit(func() { id = w.region.AddInstance(awsfake.Instance{}, w.subnet.ID, w.web.ID).ID })
	return w.of(id)
}

// TestReleaseOpensNothing: what was read of the shared groups before was open, by an attacker or since another made them just then. Release
// deletes them, or leaves them as they are while another instance is in them.
func TestReleaseOpensNothing(t *testing.T) {
	for _, o := range []containment.Options{{}, {Forensic: "192.0.2.9"}, {Forensic: "2001:db8::9", ForensicPort: 2222}} {
		for _, inUse := range []bool{false, true} {
			for _, ours := range []bool{true, false} {
				w := newWorld(t)
				o.UntrackWait = short
				name := "shotglass-isolate"
				for _, c := range w.plan(o).Changes {
					if i := strings.Index(c.ID, "shotglass-isolate"); c.Kind == "ec2/security-group" && i >= 0 {
						name = c.ID[i:]
					}
				}
				var group *awsfake.Group
				w.cloud.Edit(func() {
					group = w.region.AddGroup(w.vpc.ID, name, awsfake.All(true)...)
					if ours {
						group.Tags["shotglass"] = "containment"
					}
				})
				res := w.contain(o, containment.ApplyOptions{})
				n := len(group.Rules)
				if inUse {
					if res := w.neighbour().contain(o, containment.ApplyOptions{}); res.Outcome != containment.Unverified {
						t.Fatal(status(res))
					}
				}
				rel := w.release(res.Journal, containment.ReleaseOptions{Also: []string{"ec2/security-group"}, Force: true})
				if rel.Outcome != containment.Released {
					t.Error(status(rel))
				}
				left := w.region.Groups[group.ID]
				if (left == nil) != (ours && !inUse) {
					t.Errorf("in use %v, ours %v: the group is %+v", inUse, ours, left)
				}
				if left != nil && (len(left.Rules) != n || slices.ContainsFunc(left.Rules, func(r *awsfake.Rule) bool { return r.Egress })) {
					t.Errorf("the release opened %s: %d rules", name, len(left.Rules))
				}
				if left != nil && !strings.Contains(status(rel), "left as it is") {
					t.Errorf("not told: %s", status(rel))
				}
			}
		}
	}
}

// TestReleaseOfSharedACL: the network ACL that lets nothing pass stays while a subnet has it.
func TestReleaseOfSharedACL(t *testing.T) {
	w := newWorld(t)
	o := containment.Options{Cuts: []string{ec2.CutSubnet}, UntrackWait: short}
	res := w.contain(o, containment.ApplyOptions{})
	w.cloud.Edit(func() { w.region.AddSubnet(w.vpc.ID).ACL = w.subnet.ACL })
	rel := w.release(res.Journal, containment.ReleaseOptions{Also: []string{"ec2/network-acl"}})
	if rel.Outcome != containment.Released || !strings.Contains(status(rel), "still that of a subnet") || len(w.region.ACLs) != 2 {
		t.Errorf("%d network ACLs: %s", len(w.region.ACLs), status(rel))
	}
}

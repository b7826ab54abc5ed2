package ec2_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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
				if !ours { // a stranger's: it is not used
					for _, g := range w.region.Groups {
						if g.Name == name+" (2)" {
							group = g
						}
					}
				}
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
				if (left == nil) != !inUse {
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

// TestSharedCuts: the second instance finds the cuts of the first made. They stay until both are released, in either order.
func TestSharedCuts(t *testing.T) {
	for name, o := range map[string]containment.Options{
		"subnet":    {Cuts: []string{ec2.CutSubnet}},
		"addresses": {Addresses: []string{home.String(), "2001:db8:bad::/48"}},
	} {
		for _, firstFirst := range []bool{true, false} {
			w := newWorld(t)
			other := w.neighbour()
			before := w.snapshot()
			o.UntrackWait = short
			journals := []string{w.contain(o, containment.ApplyOptions{}).Journal, other.contain(o, containment.ApplyOptions{}).Journal}
			acl := w.region.ACLs[w.subnet.ACL]
			entries := len(acl.Entries)
			if firstFirst {
				rel := w.release(journals[0], containment.ReleaseOptions{})
				if rel.Outcome != containment.Partial || !strings.Contains(status(rel), other.target.Name+" is contained there too") {
					t.Errorf("%s: %s", name, status(rel))
				}
				if w.region.ACLs[w.subnet.ACL] != acl || len(acl.Entries) != entries {
					t.Errorf("%s: the other's cut is gone: %s", name, status(rel))
				}
			}
			if rel := other.release(journals[1], containment.ReleaseOptions{}); rel.Outcome != containment.Released {
				t.Errorf("%s: the other: %s", name, status(rel))
			}
			rel := w.release(journals[0], containment.ReleaseOptions{})
			if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
				t.Errorf("%s: %s\n%s", name, status(rel), diff)
			}
		}
	}
}

// TestEntriesOfOthers: an administrator denies the same address, before or after. Release leaves that entry alone, and if it hides ours, ours
// too.
func TestEntriesOfOthers(t *testing.T) {
	for name, tt := range map[string]struct {
		before  int // the number of their entry; 0: none
		after   int
		blocked bool // the number that ours would have is taken until then
		outcome containment.Outcome
		left    int // of us and them
	}{
		"before":        {before: 50, outcome: containment.Released, left: 1},
		"after, lower":  {after: 98, outcome: containment.Released, left: 1},
		"after, higher": {after: 99, blocked: true, outcome: containment.Conflict, left: 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			acl := w.region.ACLs[w.subnet.ACL]
			var denies []awsfake.ACLEntry
			w.cloud.Edit(func() {
				if tt.before > 0 {
					acl.Entries = append(acl.Entries, awsfake.ACLEntry{Number: tt.before, CIDR: home.String() + "/32", Protocol: "-1"})
				}
				if tt.blocked {
					acl.Entries = append(acl.Entries, awsfake.ACLEntry{Number: 99, CIDR: "192.0.2.0/24", Protocol: "-1"})
				}
			})
			res := w.contain(containment.Options{Addresses: []string{home.String()}, UntrackWait: short}, containment.ApplyOptions{})
			w.cloud.Edit(func() {
				acl.Entries = slices.DeleteFunc(acl.Entries, func(e awsfake.ACLEntry) bool { return e.CIDR == "192.0.2.0/24" })
				if tt.after > 0 {
					acl.Entries = append(acl.Entries, awsfake.ACLEntry{Number: tt.after, CIDR: home.String() + "/32", Protocol: "-1"})
				}
			})
			rel := w.release(res.Journal, containment.ReleaseOptions{})
			theirs := max(tt.before, tt.after)
			for _, e := range acl.Entries {
				if !e.Allow {
					denies = append(denies, e)
				}
			}
			has := slices.ContainsFunc(denies, func(e awsfake.ACLEntry) bool { return e.Number == theirs })
			if rel.Outcome != tt.outcome || len(denies) != tt.left || !has {
				t.Errorf("%+v after %s", denies, status(rel))
			}
		})
	}
}

// TestNumberTaken: someone takes the number of a planned entry meanwhile.
func TestNumberTaken(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	p := w.plan(containment.Options{Addresses: []string{home.String(), "203.0.113.99"}, UntrackWait: short})
	acl := w.region.ACLs[w.subnet.ACL]
	theirs := []awsfake.ACLEntry{{Number: 99, CIDR: "192.0.2.0/24", Protocol: "-1"}, {Number: 98, Egress: true, CIDR: "192.0.2.0/24", Protocol: "-1"}}
	w.cloud.Edit(func() { acl.Entries = append(acl.Entries, theirs...) })
	res, err := w.engine().Apply(t.Context(), p, containment.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(acl.Entries) != 4+2+4 || res.Outcome != containment.Unverified {
		t.Fatalf("%+v: %s", acl.Entries, status(res))
	}
	w.release(res.Journal, containment.ReleaseOptions{})
	w.cloud.Edit(func() {
		acl.Entries = slices.DeleteFunc(acl.Entries, func(e awsfake.ACLEntry) bool { return slices.Contains(theirs, e) })
	})
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Error(diff)
	}
}

// TestOwnSubnet: who calls from the subnet does not cut it off.
func TestOwnSubnet(t *testing.T) {
	w := newWorld(t)
	o := containment.Options{Cuts: []string{ec2.CutSubnet}}
	here := w.neighbour().target.Name
	w.caller.ARN = "arn:aws:sts::111122223333:assumed-role/responder/" + here
	if _, err := w.engine().Plan(t.Context(), w.target, o); !errors.Is(err, containment.ErrRefused) || !strings.Contains(err.Error(), here) {
		t.Errorf("from the subnet: %v", err)
	}
	w.cloud.Edit(func() { w.region.Interfaces[w.interfaceOf(here)].Subnet = w.region.AddSubnet(w.vpc.ID).ID })
	w.plan(o)
	w.caller = containment.Identity{}
	if p := w.plan(o); !strings.Contains(strings.Join(p.Warnings, "\n"), "is not known") {
		t.Errorf("warnings %q", p.Warnings)
	}
}

func (w *world) interfaceOf(instance string) string {
	for id, i := range w.region.Interfaces {
		if i.Instance == instance {
			return id
		}
	}
	panic("no interface")
}

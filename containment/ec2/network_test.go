package ec2_test

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
)

// tracked has the web server's groups track everything.
func (w *world) tracked() {
	w.web.Rules = nil
	w.region.AddRule(w.web, *awsfake.TCP(true, 443, "0.0.0.0/0"))
	w.region.AddRule(w.web, *awsfake.TCP(false, 443, "0.0.0.0/0"))
}

// TestConversion runs the same containment against each of the three things that AWS's documents say of tracked connections.
func TestConversion(t *testing.T) {
	for _, tt := range []struct {
		convert awsfake.Conversion
		every   time.Duration
		alive   bool
	}{
		{awsfake.Always, time.Second, false}, {awsfake.Always, 0, false},
		{awsfake.NeedsTraffic, time.Second, false}, {awsfake.NeedsTraffic, 50 * time.Second, false}, {awsfake.NeedsTraffic, 0, false},
		{awsfake.Never, 0, false},
		{awsfake.Never, time.Second, true}, // nothing but a hard cut ends it
	} {
		w := newWorld(t)
		w.cloud.Edit(func() { w.region.Convert = tt.convert; w.tracked() })
		f := w.flow(awsfake.Flow{Remote: home, Via: "igw", Every: tt.every})
		if !f.Tracked {
			t.Fatal("the flow is not tracked before: what is tested?")
		}
		res := w.contain(containment.Options{}, containment.ApplyOptions{})
		if res.Outcome != containment.Unverified || f.Alive != tt.alive {
			t.Errorf("%+v: %s, alive %v", tt, res.Outcome, f.Alive)
		}
	}
}

// TestHardCuts ends what the groups leave.
func TestHardCuts(t *testing.T) {
	for name, o := range map[string]containment.Options{
		"public address": {Cuts: []string{ec2.CutPublicAddress}},
		"its address":    {Addresses: []string{home.String()}},
		"the subnet":     {Cuts: []string{ec2.CutSubnet}},
		"stop":           {Cuts: []string{ec2.CutStop}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.cloud.Edit(func() { w.region.Convert = awsfake.Never; w.tracked(); w.host.StopProtection = name == "stop" })
			f := w.flow(awsfake.Flow{Remote: home, Via: "igw", Every: time.Second})
			before := w.snapshot()
			res := w.contain(o, containment.ApplyOptions{})
			w.cloud.Sleep(t.Context(), 2*time.Second) //nolint:errcheck // virtual
			if res.Outcome != containment.Unverified || f.Alive {
				t.Fatalf("alive %v after %s", f.Alive, status(res))
			}
			rel := w.release(res.Journal, containment.ReleaseOptions{})
			if name == "stop" {
				if w.host.State != "stopped" {
					t.Error("released, it was started")
				}
				w.host.State = "running"
			}
			if diff := cmp.Diff(before, w.snapshot()); diff != "" || rel.Outcome != containment.Released {
				t.Errorf("%s\n%s", status(rel), diff)
			}
		})
	}
}

func TestForensicIngress(t *testing.T) {
	w := newWorld(t)
	if res := w.contain(containment.Options{Forensic: "192.0.2.9"}, containment.ApplyOptions{}); res.Outcome != containment.Unverified {
		t.Fatal(status(res))
	}
	ssh := awsfake.Flow{Interface: w.eni().ID, Remote: netip.MustParseAddr("192.0.2.9"), Inbound: true, Port: 22}
	other := ssh
	other.Remote = netip.MustParseAddr("192.0.2.10")
	out := awsfake.Flow{Interface: w.eni().ID, Remote: ssh.Remote, Port: 443}
	w.cloud.Edit(func() {
		if !w.region.AddFlow(ssh).Alive || w.region.AddFlow(other).Alive || w.region.AddFlow(out).Alive {
			t.Error("not the forensic host alone, or not inwards alone")
		}
	})
	for _, bad := range []string{"0.0.0.0/0", "::/0", "nobody"} {
		if _, err := w.engine().Plan(t.Context(), w.target, containment.Options{Forensic: bad}); err == nil {
			t.Errorf("forensic source %q was taken", bad)
		}
	}
}

// TestGroupsAreNotTrusted contains where an attacker has made a group of our name, and opened it, and where EC2
// shows late and in pages of one.
func TestGroupsAreNotTrusted(t *testing.T) {
	w := newWorld(t)
	var stranger *awsfake.Group
	w.cloud.Edit(func() {
		stranger = w.region.AddGroup(w.vpc.ID, "shotglass-isolate", append(awsfake.All(true), awsfake.TCP(false, 22, "198.51.100.0/24"))...)
		w.vpc.Default = true // revoking what is not there is no error
		w.region.Lag = 3
		w.cloud.PageSize = 1
	})
	f := w.flow(awsfake.Flow{Remote: home, Via: "igw", Every: time.Second})
	p := w.plan(containment.Options{})
	if !slices.ContainsFunc(p.Warnings, func(s string) bool { return strings.Contains(s, "was not made by shotglass") }) {
		t.Errorf("no warning of a stranger's group: %q", p.Warnings)
	}
	if res := w.contain(containment.Options{}, containment.ApplyOptions{}); res.Outcome != containment.Unverified || f.Alive {
		t.Errorf("alive %v: %s", f.Alive, status(res))
	}
	if g := w.region.Groups[w.eni().Groups[0]]; g.Name != "shotglass-isolate (2)" || len(g.Rules) > 0 {
		t.Errorf("%+v", g)
	}
	// Another plan names the same, also when the stranger's is gone.
	w.cloud.Edit(func() { delete(w.region.Groups, stranger.ID) })
	if res := w.contain(containment.Options{}, containment.ApplyOptions{}); !strings.Contains(status(res), "shotglass-isolate (2) already") && !strings.Contains(status(res), "shotglass-isolate (2) holds") {
		t.Errorf("contained again: %s", status(res))
	}
	rel := w.release(containment.JournalName(caseID, p.Target), containment.ReleaseOptions{Also: []string{"ec2/security-group"}})
	if rel.Outcome != containment.Released || slices.ContainsFunc(slices.Collect(maps.Values(w.region.Groups)), func(g *awsfake.Group) bool { return strings.HasPrefix(g.Name, "shotglass") }) {
		t.Errorf("groups are left: %s", status(rel))
	}
}

// A group of our name that nobody may touch does not keep an instance from being isolated: the policy lets the caller revoke
// rules of groups with our tag alone.
func TestForeignGroup(t *testing.T) {
	doc, err := os.ReadFile("../../docs/containment-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, tags := range []map[string]string{nil, {"shotglass": "else"}} {
		for _, name := range []string{"shotglass-isolate", "Shotglass-Isolate", "shotglass-untrack", "shotglass-isolate tcp 22 from 192.0.2.9/32"} {
			w := newWorld(t)
			if err := w.cloud.Restrict(responder, doc); err != nil {
				t.Fatal(err)
			}
			w.cloud.Edit(func() {
				w.region.AddGroup(w.vpc.ID, name, awsfake.TCP(false, 22, "198.51.100.0/24")).Tags = tags
			})
			o := containment.Options{UntrackWait: short}
			if strings.Contains(name, "tcp") {
				o.Forensic = "192.0.2.9"
			}
			f := w.flow(awsfake.Flow{Remote: home, Via: "igw", Every: time.Second})
			if res := w.contain(o, containment.ApplyOptions{}); res.Outcome != containment.Unverified || f.Alive {
				t.Errorf("%s, %v: alive %v: %s", name, tags, f.Alive, status(res))
			}
		}
	}
}

// TestAttacker undoes each thing while the engine watches.
func TestAttacker(t *testing.T) {
	for name, undo := range map[string]func(*world){
		"groups of the interface": func(w *world) {
			if err := w.region.Regroup(w.eni(), w.web.ID); err != nil {
				t.Error(err)
			}
		},
		"a rule in our group": func(w *world) {
			for _, g := range w.region.Groups {
				if g.Name == "shotglass-isolate" && len(g.Rules) == 0 {
					w.region.AddRule(g, *awsfake.TCP(true, 443, "0.0.0.0/0"))
				}
			}
		},
		"the credentials' policy": func(w *world) { clear(w.role.Policies) },
		"another interface":       nil,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			done := 0
			w.cloud.Edit(func() {
				w.cloud.Attacker = func() {
					if w.region.Groups[w.eni().Groups[0]].Name != "shotglass-isolate" {
						return
					}
					if done++; done < 15 || done > 40 || done%8 != 0 { // later than EC2's own delay
						return
					}
					if undo != nil {
						undo(w)
					} else if done == 16 {
						w.attach(awsfake.Interface{Groups: []string{w.web.ID}})
					}
				}
			})
			res := w.contain(containment.Options{}, containment.ApplyOptions{Watch: time.Minute})
			if done < 40 {
				t.Fatalf("the attacker had %d steps", done)
			}
			if undo != nil && (res.Outcome != containment.Tampered || res.Tampering == 0) {
				t.Errorf("not reported: %s", status(res))
			}
			for _, i := range w.region.Interfaces {
				if g := w.region.Groups[i.Groups[0]]; len(i.Groups) != 1 || g.Name != "shotglass-isolate" || len(g.Rules) > 0 {
					t.Errorf("%s is left in %s: %s", i.ID, g.Name, status(res))
				}
			}
			if len(w.role.Policies) == 0 {
				t.Error("the credentials are left alone")
			}
		})
	}
}

// TestAttachedMeanwhile has an interface with a connection attached while the others wait: its flow gets its time to become untracked, too.
func TestAttachedMeanwhile(t *testing.T) {
	w := newWorld(t)
	var f *awsfake.Flow
	w.cloud.Edit(func() {
		w.cloud.Attacker = func() {
			if f == nil && w.region.Groups[w.eni().Groups[0]].Name == "shotglass-untrack" {
				late := w.attach(awsfake.Interface{Groups: []string{w.web.ID}})
				f = w.region.AddFlow(awsfake.Flow{Interface: late.ID, Remote: home, Port: 443, Every: 20 * time.Second})
			}
		}
	})
	res := w.contain(containment.Options{}, containment.ApplyOptions{})
	if res.Outcome != containment.Unverified || f == nil || f.Alive {
		t.Errorf("%+v: %s", f, status(res))
	}
}

// TestTwoInstances contains two in one VPC at once: they make the groups for each other.
func TestTwoInstances(t *testing.T) {
	w := newWorld(t)
	var other *awsfake.Instance
	w.cloud.Edit(func() {
		w.region.Lag = 2
		other = w.region.AddInstance(awsfake.Instance{}, w.subnet.ID, w.web.ID)
	})
	var wg sync.WaitGroup
	for _, id := range []string{w.host.ID, other.ID} {
		wg.Go(func() {
			target := w.target
			target.Name = id
			p, err := w.engine().Plan(t.Context(), target, containment.Options{Case: caseID})
			if err != nil {
				t.Error(err)
				return
			}
			if res, err := w.engine().Apply(t.Context(), p, containment.ApplyOptions{}); err != nil || res.Outcome != containment.Unverified {
				t.Errorf("%s: %v\n%s", id, err, status(res))
			}
		})
	}
	wg.Wait()
	names := map[string]int{}
	for _, g := range w.region.Groups {
		names[g.Name]++
	}
	if names["shotglass-isolate"] != 1 || names["shotglass-untrack"] != 1 {
		t.Errorf("groups: %v", names)
	}
}

// TestTwoContains of one instance, in one case: one of them does it, the other is told so or finds it done.
func TestTwoContains(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	p := w.plan(containment.Options{})
	errs := make([]error, 2)
	var wg sync.WaitGroup
	for n := range errs {
		wg.Go(func() { _, errs[n] = w.engine().Apply(t.Context(), p, containment.ApplyOptions{}) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, containment.ErrBusy) {
			t.Error(err)
		}
	}
	name := containment.JournalName(caseID, p.Target)
	w.whole(name)
	if res := w.release(name, containment.ReleaseOptions{}); res.Outcome != containment.Released {
		t.Error(status(res))
	}
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Error(diff)
	}
}

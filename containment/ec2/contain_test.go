package ec2_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func TestContainAndRelease(t *testing.T) {
	w := newWorld(t)
	before := w.snapshot()
	c2 := w.flow(awsfake.Flow{Remote: home, Via: "igw", Every: 10 * time.Second})
	idle := w.flow(awsfake.Flow{Remote: home, Via: "igw"})
	six := w.flow(awsfake.Flow{Remote: home6, Via: "igw", Every: 20 * time.Second})
	in := w.flow(awsfake.Flow{Remote: customer, Via: "igw", Inbound: true, Every: time.Second})

	res := w.contain(containment.Options{}, containment.ApplyOptions{})
	if res.Outcome != containment.Unverified {
		t.Fatalf("no packet was looked for: %s", status(res))
	}
	for _, f := range []*awsfake.Flow{c2, idle, six, in} {
		if f.Alive {
			t.Errorf("still alive: %+v", f)
		}
	}
	w.cloud.Edit(func() {
		g := w.region.Groups[w.eni().Groups[0]]
		if len(w.eni().Groups) != 1 || g.Name != "shotglass-isolate" || len(g.Rules) != 0 {
			t.Errorf("the interface is in %v, the last with %d rules", w.eni().Groups, len(g.Rules))
		}
		h := w.host
		if !h.TerminationProtection || !h.StopProtection || h.ShutdownBehavior != "stop" || h.Devices[0].DeleteOnTermination || h.Tags["shotglass-case"] != caseID {
			t.Errorf("not protected: %+v", h)
		}
		if h.State != "running" || w.region.Scaling["web-asg"].States[h.ID] != "Standby" {
			t.Errorf("Auto Scaling has ended it: %s, %v", h.State, w.region.Scaling["web-asg"].States)
		}
	})

	again := w.contain(containment.Options{}, containment.ApplyOptions{})
	if again.Outcome != containment.Unverified {
		t.Errorf("a second time: %s", status(again))
	}
	for _, c := range again.Changes {
		if c.Status != "holds" {
			t.Errorf("a second time: %s: %s", c.Item, c.Status)
		}
	}
	rel := w.release(res.Journal, containment.ReleaseOptions{})
	if rel.Outcome != containment.Released {
		t.Fatalf("release: %s", status(rel))
	}
	if diff := cmp.Diff(before, w.snapshot()); diff != "" {
		t.Errorf("not as before:\n%s", diff)
	}
	i := slices.IndexFunc(rel.Changes, func(c containment.ItemResult) bool { return c.Kind == "ec2/interface-timeouts" })
	if i < 0 || !strings.Contains(rel.Changes[i].Note, "cannot unset") {
		t.Errorf("a default that was written as a value: %s", status(rel))
	}
}

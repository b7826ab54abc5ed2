package iam_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// everything makes each call that containing principals can make, and releases all of it.
func everything(w *world) {
	w.cloud.Edit(func() {
		w.cloud.Organization = &awsfake.Organization{Management: "999900001111", Delegates: []string{home}, Parents: map[string]string{home: "r-ab12"},
			Policies: []awsfake.SCP{{ID: "p-a", Name: "quarantine", Document: scp(quarantined, protected), On: []string{"r-ab12"}}}}
	})
	service := w.engine.Services[0].(*iam.Service)
	service.Trail = &iam.CloudTrail{Config: service.Config, Regions: ec2.Regions}
	service.Organization = &iam.Organizations{Config: w.cloud.Config(responder, "eu-west-1")}
	if _, err := w.engine.Plan(w.Context(), w.target(stolen), containment.Options{}); !errors.Is(err, containment.ErrRefused) {
		w.Error(err)
	}
	tag := containment.Options{QuarantineTag: "ms-ir-quarantine", Cuts: []string{iam.CutTrust}}
	for _, quotas := range []bool{false, true} {
		if quotas {
			full := `{"Id":"` + strings.Repeat("x", 10200) + `"}`
			w.cloud.Edit(func() {
				for _, e := range []*awsfake.Entity{&w.alice.Entity, &w.web.Entity} {
					e.Policies = map[string]string{"full": full}
					for len(e.Attached) < 10 {
						e.Attached = append(e.Attached, "arn:aws:iam::aws:policy/other")
					}
				}
			})
		}
		for _, target := range []string{w.key.ID, "role/web"} {
			r := w.contain(target, tag, containment.ApplyOptions{})
			w.outcome(r, containment.Held)
			w.outcome(w.release(r.Journal, allKinds...), containment.Released)
		}
	}
}

// TestPolicy runs everything with the part for principals of docs/containment-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	exact := w.cloud.RestrictTo(t, "../../docs/containment-policy.json", responder)
	everything(w)
	exact("Principals")
}

// Plans name what each change needs, for simulation.
func TestPermissions(t *testing.T) {
	w := newWorld(t)
	everything(w)
	var named []string
	for _, target := range []string{"user/alice+ops", "role/web"} {
		for _, c := range w.plan(target, containment.Options{QuarantineTag: "ms-ir-quarantine", Cuts: []string{iam.CutTrust}}).Changes {
			for _, n := range c.Permissions {
				named = append(named, n.Action)
			}
		}
	}
	for _, c := range w.cloud.Calls() {
		if c.Writes && !slices.Contains(named, c.Action) {
			t.Errorf("no change says that it needs %s", c.Action)
		}
	}
}

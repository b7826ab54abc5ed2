package lambda_test

import (
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/lambda"
)

var whole = containment.Options{Mode: lambda.ModeStrict, Irreversible: []string{lambda.Executions}}

// everything makes each call that containing a function can make, of either sort, and releases all of it.
func everything(w *world) {
	for _, managed := range []bool{false, true} {
		w.cloud.Edit(func() {
			w.thumbs.Versions[1].Durable = true
			w.thumbs.Executions = []*awsfake.Execution{{Name: "a", Status: "RUNNING"}}
			w.thumbs.Reserved = aws.Int(40)
			if managed {
				w.thumbs.Reserved = nil
				w.thumbs.Provisioned = map[string]int{}
				for _, v := range w.thumbs.Versions {
					v.Managed = true
				}
			}
		})
		r := w.contain(whole, containment.ApplyOptions{})
		w.outcome(r, containment.Held)
		w.outcome(w.release(r.Journal), containment.Released)
	}
	w.cloud.Edit(func() { // nothing was reserved before
		for _, v := range w.thumbs.Versions {
			v.Managed = false
		}
	})
	w.outcome(w.release(w.contain(whole, containment.ApplyOptions{}).Journal), containment.Released)
}

// TestPolicy runs everything with docs/containment-policy.json alone, and finds nothing in its part for functions that is not needed.
func TestPolicy(t *testing.T) {
	w := newWorld(t)
	exact := w.cloud.RestrictTo(t, "../../docs/containment-policy.json", responder)
	everything(w)
	exact("Functions")
}

// Plans name what each change needs, for simulation.
func TestPermissions(t *testing.T) {
	w := newWorld(t)
	var named []string
	for _, managed := range []bool{true, false} {
		w.cloud.Edit(func() {
			for _, v := range w.thumbs.Versions {
				v.Managed, v.Durable = managed, true
			}
			w.thumbs.Executions = []*awsfake.Execution{{Name: "a", Status: "RUNNING"}}
		})
		for _, c := range w.plan(whole).Changes {
			for _, n := range c.Permissions {
				named = append(named, n.Action)
			}
		}
	}
	everything(w)
	for _, c := range w.cloud.Calls() {
		if c.Writes && !slices.Contains(named, c.Action) {
			t.Errorf("no change says that it needs %s", c.Action)
		}
	}
}

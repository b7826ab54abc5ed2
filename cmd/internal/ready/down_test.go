package ready_test

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/ready"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// A service that does not answer costs one call's patience, not one for each question: all that needed it is unknown, and says why.
func TestServiceDown(t *testing.T) {
	const attempts, atOnce = 3, 4 // of the fake's calls; of a check's questions
	for _, tt := range []struct {
		operation string
		checks    []string
		calls     int // at most, attempts counted
		says      string
	}{
		{"SimulatePrincipalPolicy", []string{"responder-contain", "responder-gather", "responder-find", "responder-connect", "responder-key", "responder-workstation"}, attempts * atOnce, "IAM's simulation failed, and was not asked again: "},
		{"ListParents", []string{"responder-shield", "quarantine-policy"}, attempts, "AWS Organizations failed, and was not asked again: "},
	} {
		for name, bad := range map[string]*awsfake.Error{"unavailable": awsfake.Unavailable, "throttled": awsfake.Throttled} {
			t.Run(tt.operation+"/"+name, func(t *testing.T) {
				w := newWorld(t)
				var checks []*ready.Check
				for _, id := range tt.checks {
					checks = append(checks, w.check(id))
				}
				w.cloud.AddRole(theirRole, awsfake.Trust{Principals: []string{responder}})
				a := w.auditor(checks...)
				a.Regions = []string{home}
				if tt.operation == "ListParents" {
					a.Accounts = []string{own, other} // the same service for both
				}
				a.Parallel = 1 // so that the bound is sharp
				calls := 0     // written by the cloud, where a call that was cut off may arrive late
				w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
					if c.Operation != tt.operation {
						return awsfake.Fault{}
					}
					calls++
					return awsfake.Fault{Error: bad}
				}
				r := w.run(a)
				w.cloud.Edit(func() {
					if calls == 0 || calls > tt.calls {
						t.Errorf("%d calls, want %d at most", calls, tt.calls)
					}
				})
				if n := len(checks) * max(1, len(a.Accounts)); len(of(r, ready.Unknown)) != n || len(r.Results) != n {
					t.Errorf("want %d unknown:\n%s", n, describe(r))
				}
				for _, x := range r.Results {
					if !strings.HasPrefix(x.Detail, tt.says) || !strings.Contains(x.Detail, bad.Code) || strings.Count(x.Detail, tt.says) > 1 {
						t.Errorf("%s: %s", x.Check.ID, x.Detail)
					}
				}
				a.Parallel = 16 // all at once, for the race detector
				if r := w.run(a); r.Count(ready.Unknown) != len(r.Results) {
					t.Errorf("%s", describe(r))
				}
			})
		}
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/awsaccess"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// While an instance stands in the group that lets everything pass, and only then, a program that leaves at once says so.
func TestDoors(t *testing.T) {
	c := newCloudTest(t)
	region := c.cloud.Account("111122223333").Region("eu-west-1")
	var host *awsfake.Instance
	var d doors
	open, shut := 0, 0
	c.cloud.Edit(func() {
		vpc := region.AddVPC(awsfake.VPC{})
		subnet := region.AddSubnet(vpc.ID)
		web := region.AddGroup(vpc.ID, "web", awsfake.All(true)...)
		host = region.AddInstance(awsfake.Instance{}, subnet.ID, web.ID)
		c.cloud.Attacker = func() {
			lines := strings.Join(d.lines("--case c "), "\n")
			for _, i := range region.Interfaces {
				inside := region.Groups[i.Groups[0]].Name == "shotglass-untrack"
				if inside != strings.Contains(lines, "LEFT OPEN: "+"arn:aws:ec2:eu-west-1:111122223333:instance/"+host.ID) || inside != strings.Contains(lines, "--resume --yes --case c arn:") {
					t.Errorf("in the group: %v; said: %q", inside, lines)
				}
				if inside {
					open++
				} else {
					shut++
				}
			}
		}
	})
	e, err := awsaccess.Access{Region: "eu-west-1", NoMetadata: true, Journals: containment.Dir(c.dir)}.Engine(t.Context(), "case-42")
	if err != nil {
		t.Fatal(err)
	}
	e.Now, e.Sleep, e.Observe = c.cloud.Now, c.cloud.Sleep, d.note
	target := containment.Target{Kind: containment.Instance, Account: "111122223333", Region: "eu-west-1", Name: host.ID}
	p, err := e.Plan(t.Context(), target, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := e.Apply(t.Context(), p, containment.ApplyOptions{Watch: 5e9}); err != nil || !r.Outcome.Good() {
		t.Fatalf("%+v, %v", r, err)
	}
	if open < 60 || shut == 0 {
		t.Errorf("open for %d steps, shut for %d", open, shut)
	}
}

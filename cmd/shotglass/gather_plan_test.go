package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// What is missing is found by the plan of a hosts file, with the code 3, and nothing is changed to know it.
func TestGatherPlan(t *testing.T) {
	g := newGatherTest(t)
	file := writeHosts(t, `
hosts:
- {ec2: i-00000001, ec2_gather: [all, snapshots]}
- {ec2: i-00000002, ec2_gather: none}
`)
	plans := func() []gatherPlan {
		t.Helper()
		list, err := mustParse(t, "-c", file).gather.preview(t.Context())
		if err != nil || len(list) != 1 || list[0].Host != "i-00000001" {
			t.Fatalf("%v %+v", err, list)
		}
		return list
	}
	tell := func(list []gatherPlan) (int, string) {
		t.Helper()
		var out strings.Builder
		code, err := tellGathers(newConsole(strings.NewReader(""), &out, &out), list)
		if err != nil {
			t.Fatal(err)
		}
		return code, out.String()
	}
	if code, text := tell(plans()); code != exitOK || strings.Contains(text, "missing") || !strings.Contains(text, "1 volume, 8 GiB at most") {
		t.Errorf("code %d:\n%s", code, text)
	}
	for _, c := range g.cloud.Calls() {
		if c.Writes && !c.DryRun {
			t.Errorf("%s is no dry run", c.Operation)
		}
	}
	g.cloud.Edit(func() {
		g.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == "CreateSnapshots" || c.Operation == "GetRolePolicy" {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
	})
	list := plans()
	if code, text := tell(list); code != exitPartial || !strings.Contains(text, "ec2:CreateSnapshots: your credentials do not have") {
		t.Errorf("code %d:\n%s", code, text)
	}
	// Who is answered nothing knows nothing, which is no plan that all is there.
	silent := []gatherPlan{{Host: "h", Preview: &cloudevidence.Preview{Items: []string{"tags"}, Error: "AWS answered no question"}}}
	if code, text := tell(silent); code != exitPartial || !strings.Contains(text, "not known") || !strings.Contains(text, "AWS answered no question") {
		t.Errorf("code %d:\n%s", code, text)
	}
	// A key with which nothing can be shared is one, too.
	shared := []gatherPlan{{Host: "h", Preview: &cloudevidence.Preview{Snapshots: &cloudevidence.SnapshotsPreview{Problems: []string{"vol-1 cannot be shared"}}}}}
	if code, text := tell(shared); code != exitPartial || !strings.Contains(text, "problem") || !strings.Contains(text, "vol-1 cannot be shared") {
		t.Errorf("code %d:\n%s", code, text)
	}
	// Of a fleet there is a line each, and the sum.
	many := []gatherPlan{list[0]}
	for n := range fewHosts {
		p := gatherPlan{Host: fmt.Sprint("h\t", n), Preview: &cloudevidence.Preview{Items: []string{"tags"}}}
		if n == 0 {
			p.Snapshots = &cloudevidence.SnapshotsPreview{Error: "the instance has no volumes"}
		}
		if n == 1 {
			p.Snapshots = &cloudevidence.SnapshotsPreview{Volumes: make([]cloudevidence.Volume, 2), GiB: 300, Earlier: []string{"snap-1", "snap-2"}}
		}
		if n == 2 {
			p.Error, p.Unchecked = "AWS answered no question", []string{"a", "b"}
		}
		if n == 3 {
			p.Preview = shared[0].Preview
		}
		many = append(many, p)
	}
	code, text := tell(many)
	g.has("the table", text, "HOST", "UNCHECKED", "nothing is known: AWS answered no question", "2 there", "300", "snapshots: the instance has no volumes", fmt.Sprintf("%d instances, volumes of 308 GiB; something is missing of 4", fewHosts+1), "vol-1 cannot be shared")
	if code != exitPartial || strings.Count(text, "\n") != fewHosts+5 {
		t.Errorf("code %d:\n%s", code, text)
	}
}

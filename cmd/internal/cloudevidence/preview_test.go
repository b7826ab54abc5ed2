package cloudevidence_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func (w *world) preview(o *cloudevidence.SnapshotOptions, words ...string) *cloudevidence.Preview {
	w.Helper()
	return (&cloudevidence.Previewer{Gatherer: w.gatherer}).Preview(w.Context(), w.target, w.kinds(words...), o)
}

// A preview asks about every call that gathering makes, and changes nothing.
func TestPreviewAsksAll(t *testing.T) {
	called := func(w *world) (names []string) {
		for _, c := range w.cloud.Calls() {
			if c.Writes && !c.DryRun {
				names = append(names, "changes by ")
			}
			names = append(names, c.Action)
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	for _, k := range cloudevidence.Kinds() {
		w := newWorld(t)
		w.read(k.Name)
		want := called(w)
		w.cloud.Reset()
		if p := w.preview(nil, k.Name); len(p.Missing)+len(p.Unchecked) > 0 || !slices.Equal(p.Items, []string{k.Name}) {
			t.Errorf("%s: %+v", k.Name, p)
		}
		asked := called(w)
		for _, action := range want {
			if !slices.Contains(asked, action) && action != "sts:GetCallerIdentity" { // which needs no permission
				t.Errorf("%s: nobody asks about %s, only %q", k.Name, action, asked)
			}
		}
	}
}

// What the caller may not do is missing by its name, each in turn; what AWS does not answer is unchecked.
func TestPreviewMissing(t *testing.T) {
	actions := strings.Fields(`ec2:DescribeInstances ec2:DescribeInstanceAttribute ec2:DescribeVolumes ec2:DescribeNetworkInterfaces ec2:DescribeSecurityGroups ec2:DescribeSecurityGroupRules
		ec2:DescribeSubnets ec2:DescribeRouteTables ec2:DescribeNetworkAcls ec2:DescribeTags ec2:GetConsoleOutput ec2:GetConsoleScreenshot iam:GetInstanceProfile iam:GetRolePolicy
		cloudtrail:LookupEvents ec2:CreateSnapshots ec2:DescribeSnapshots`)
	for _, action := range actions {
		for _, broken := range []bool{false, true} {
			w := newWorld(t)
			w.cloud.Edit(func() {
				w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
					switch {
					case c.Action != action:
						return awsfake.Fault{}
					case broken:
						return awsfake.Fault{Error: &awsfake.Error{Code: "Broken", Message: "no"}}
					}
					return awsfake.Fault{Error: awsfake.Denied(c)}
				}
			})
			p := w.preview(&cloudevidence.SnapshotOptions{Case: "42"}, cloudevidence.All)
			if !broken && !slices.Contains(p.Missing, action) || broken && (len(p.Missing) > 0 || len(p.Unchecked) == 0) {
				t.Errorf("%s, broken: %v: %+v", action, broken, p)
			}
		}
	}
}

// Snapshots are told with the volumes that they would be of, those of an earlier run in their place, and with what cannot be asked yet.
func TestPreviewSnapshots(t *testing.T) {
	w := newWorld(t)
	w.cloud.PageSize = 1
	w.region.Posture.VolumeKeys = map[string]string{"vol-00000002": w.keyFor("", forensic+":root").ARN}
	o := &cloudevidence.SnapshotOptions{Case: "42", LockDays: 7, Share: []string{"444455556666"}}
	p := w.preview(o)
	s := p.Snapshots
	var volumes []string
	for _, v := range s.Volumes {
		volumes = append(volumes, fmt.Sprint(v.Device, " ", v.ID, " ", v.GiB, " ", v.Encrypted))
	}
	slices.Sort(volumes)
	if diff := cmp.Diff([]string{"/dev/sdb vol-00000002 8 true", "/dev/xvda vol-00000001 8 false"}, volumes); diff != "" || s.GiB != 16 || s.Wanted.Lock != "governance, 7 days" || len(s.Earlier) > 0 || s.Error != "" {
		t.Errorf("%s %+v", diff, s)
	}
	if len(p.Missing)+len(p.Unchecked) > 0 {
		t.Errorf("%+v", p)
	}
	if n := w.count("CreateSnapshots"); n != 1 || len(w.region.Snapshots) > 0 {
		t.Errorf("%d calls, %d snapshots", n, len(w.region.Snapshots))
	}
	made := w.gatherer.Start(w.Context(), w.target, *o)
	if s = w.preview(o).Snapshots; len(s.Earlier) != len(made.Snapshots) || len(s.Earlier) != 2 {
		t.Errorf("%+v", s)
	}
	w.cloud.Edit(func() { w.instance.State = "terminated" })
	if s = w.preview(o).Snapshots; !strings.Contains(s.Error, "no volumes") {
		t.Errorf("%+v", s)
	}
	w.gatherer.Config = nobody
	if p := w.preview(o, cloudevidence.All); !strings.Contains(p.Error, "nobody calls") || p.Snapshots.Error == "" {
		t.Errorf("%+v", p)
	}
}

// A preview that AWS answers nothing of says so, whatever was asked; one that is refused is answered.
func TestPreviewUnanswered(t *testing.T) {
	kinds := []string{cloudevidence.All}
	for _, k := range cloudevidence.Kinds() {
		kinds = append(kinds, k.Name)
	}
	for _, k := range kinds {
		for code, known := range map[string]bool{"AuthFailure": false, "denied": true, "": true} {
			w := newWorld(t)
			w.cloud.Edit(func() {
				w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
					switch {
					case code == "" || c.Operation == "GetCallerIdentity":
						return awsfake.Fault{}
					case known:
						return awsfake.Fault{Error: awsfake.Denied(c)}
					}
					return awsfake.Fault{Error: &awsfake.Error{Code: code, Message: "no", Status: 401}}
				}
			})
			if p := w.preview(nil, k); (p.Error == "") != known {
				t.Errorf("%s, %q: %+v", k, code, p)
			}
		}
	}
}

// CloudTrail takes two questions a second: it gets one for all instances of a place.
func TestPreviewTrailOnce(t *testing.T) {
	w := newWorld(t)
	p := &cloudevidence.Previewer{Gatherer: w.gatherer}
	for range 5 {
		p.Preview(w.Context(), w.target, w.kinds("trail"), nil)
	}
	if n := w.count("LookupEvents"); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func nobody(context.Context, containment.Target) (aws.Config, error) {
	return aws.Config{}, errors.New("nobody calls")
}

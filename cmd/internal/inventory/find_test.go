package inventory_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

func TestSelectors(t *testing.T) {
	w := newWorld(t)
	here := w.finder(nil, nil) // the configuration's own region
	for selector, want := range map[string][]string{
		"i-00000001": {"web-1"},
		"arn:aws:ec2:eu-west-1:111122223333:instance/i-00000002":                                                        {"web-2"},
		"arn:aws:ec2:eu-west-1:444455556666:instance/i-00000021":                                                        {"them"}, // in another account, by its role
		"arn:aws:ec2:us-east-1:111122223333:instance/i-00000011":                                                        {"us"},
		"arn:aws:ec2:us-east-1:111122223333:instance/i-00000011|arn:aws:ec2:eu-west-1:444455556666:instance/i-00000021": {"us", "them"},
		"10.0.0.1":     {"web-1"},
		"10.9.0.1":     {"web-1"}, // of its second interface
		"198.51.100.1": {"web-1"}, // an Elastic IP there
		"203.0.113.2":  {"web-2"},
		"2001:DB8::2":  {"web-2"},
		"IP-10-0-0-1.eu-west-1.compute.internal.":         {"web-1"},
		"ec2-203-0-113-2.eu-west-1.compute.amazonaws.com": {"web-2"},
		"tag:Env=prod":                          {"web-1", "old", "dc"},
		"tag:Env=prod|stage":                    {"web-1", "web-2", "old", "dc"},
		"tag:Env=st*":                           {"web-2"},
		"tag:Name=web-?":                        {"web-1", "web-2"},
		"tag:Env":                               {"web-1", "web-2", "old", "dc"},
		`tag:Odd=a\,b\|c\*d`:                    {"web-1"},
		`tag:Odd=a\*`:                           nil,
		"tag:Env=prod,!i-00000003,!tag:Name=dc": {"web-1"},
		"asg:web-asg":                           {"web-1"},
		"vpc-00000001,tag:Env=stage":            {"web-2"},
		"subnet-00000001,tag:Env=stage":         {"web-2"},
		"ami-00000002":                          {"web-2"},
		"profile:web":                           {"web-1"},
		"arn:aws:iam::111122223333:instance-profile/team/web": {"web-1"},
		"arn:aws:iam::111122223333:instance-profile/web":      nil,
		"i-00000099": nil,
	} {
		w.want(here, selector, want...)
	}
	group := w.find(here, "i-00000002").Instances[0].Groups
	w.want(here, group[len(group)-1].ID, "web-1", "web-2") // of the first its second interface has it
}

func TestPlaces(t *testing.T) {
	w := newWorld(t)
	w.cloud.Account(own).Region("me-south-1").Off = true
	w.want(w.finder(nil, []string{"us-east-1"}), "tag:Env=prod", "us")
	w.want(w.finder([]string{own, other}, []string{"eu-west-1"}), "tag:Env=prod,!tag:Name", "them")

	found := w.find(w.finder(nil, []string{hosts.AllRegions}), "tag:Env=prod,!tag:Name")
	if got := w.called(found); fmt.Sprint(got) != "[us]" {
		t.Errorf("%v", got)
	}
	if len(found.Places) != 2 || len(found.Gaps) != 1 || !found.Gaps[0].Off || found.Gaps[0].Region != "me-south-1" {
		t.Errorf("searched %v, gaps %v", found.Places, found.Gaps)
	}
	// Named, a region that is off is asked, and refuses.
	found = w.find(w.finder(nil, []string{"me-south-1"}), "tag:Env=prod")
	if len(found.Gaps) != 1 || !strings.Contains(found.Gaps[0].Why, "has not enabled it") {
		t.Errorf("gaps %v", found.Gaps)
	}
	// A denied one does not hide what others have; an account without the role has all of its places missing.
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Region == "us-east-1" && c.Operation == "DescribeInstances" {
			return awsfake.Fault{Error: awsfake.Denied(c)}
		}
		return awsfake.Fault{}
	}
	found = w.find(w.finder([]string{own, "777788889999"}, []string{"eu-west-1", "us-east-1"}), "tag:Env=prod")
	if got := w.called(found); fmt.Sprint(got) != "[dc old web-1]" {
		t.Errorf("%v", got)
	}
	var gaps []string
	for _, g := range found.Gaps {
		gaps = append(gaps, g.Place.String())
	}
	if fmt.Sprint(gaps) != "[us-east-1 of account 111122223333 eu-west-1 of account 777788889999 us-east-1 of account 777788889999]" {
		t.Errorf("gaps %v", gaps)
	}
}

// Thousands of instances come over pages, each once, while EC2 throttles.
func TestManyPages(t *testing.T) {
	w := newWorld(t)
	r := w.cloud.Account(own).Region("eu-west-1")
	const many = 3500
	for n := range many {
		i := awsfake.Instance{ID: fmt.Sprintf("i-%08x", 0x1000+n), Tags: map[string]string{"Fleet": fmt.Sprint(n % 2)}}
		r.Instances[i.ID] = &i
	}
	throttled := 0
	w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
		if c.Operation == "DescribeInstances" && c.Attempt < 3 {
			throttled++
			return awsfake.Fault{Error: awsfake.Throttled}
		}
		return awsfake.Fault{}
	}
	f := w.finder(nil, nil)
	if n := len(w.find(f, "tag:Fleet=1").Instances); n != many/2 {
		t.Errorf("%d instances", n)
	}
	if n := len(w.find(f).Instances); n != many+5 {
		t.Errorf("%d instances of all", n)
	}
	if throttled < 8 { // two of the first list, and of each of four pages
		t.Errorf("throttled %d times", throttled)
	}
	// As many ids as a filter does not take.
	var ids []string
	for n := range 450 {
		ids = append(ids, fmt.Sprintf("i-%08x", 0x1000+n))
	}
	w.cloud.Reset()
	if n := len(w.find(f, ids...).Instances); n != len(ids) {
		t.Errorf("%d instances of %d", n, len(ids))
	}
	for _, c := range w.cloud.Calls() {
		if n := c.Form.Get("Filter.1.Value.201"); n != "" {
			t.Errorf("a filter of more than 200 values")
		}
	}
}

func TestDescribe(t *testing.T) {
	w := newWorld(t)
	// Of several endpoints of a VPC the one of the subnet, of those that work.
	r := w.cloud.Account(own).Region("eu-west-1")
	r.ConnectEndpoints = append(r.ConnectEndpoints, awsfake.ConnectEndpoint{ID: "eice-2", VPC: "vpc-00000001", Subnet: "subnet-00000001", State: "update-complete"},
		awsfake.ConnectEndpoint{ID: "eice-3", VPC: "vpc-00000001", Subnet: "subnet-00000001", State: "delete-in-progress"}, awsfake.ConnectEndpoint{ID: "eice-4", VPC: "vpc-00000001", State: "create-complete"})
	f := w.finder(nil, nil)
	found := w.find(f, "tag:Env")
	if err := f.Describe(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	by := map[string]*inventory.Instance{}
	for _, i := range found.Instances {
		by[i.Name] = i
	}
	one, two := by["web-1"], by["web-2"]
	if one.Hypervisor != "nitro" || two.Hypervisor != "xen" || !one.IMDS.V2Only || two.IMDS.V2Only {
		t.Errorf("%+v\n%+v", one, two)
	}
	dns, push := strings.TrimPrefix(w.cloud.URL(), "http://"), "likely, by the name of its AMI"
	if one.Ways != (inventory.Ways{Key: "ops", SSM: "Online", Agent: "3.3.1.0", Endpoint: "eice-2", EndpointDNS: dns, Push: push}) || two.Ways != (inventory.Ways{Endpoint: "eice-2", EndpointDNS: dns, Push: push}) || by["old"].Ways.Push != "" {
		t.Errorf("%+v\n%+v", one.Ways, two.Ways)
	}
	if one.Scaling == nil || *one.Scaling != (inventory.Scaling{Group: "web-asg", State: "InService"}) || two.Scaling != nil {
		t.Errorf("%+v", one.Scaling)
	}
	if len(one.OpenSSH) != 2 || one.OpenSSH[0].From+one.OpenSSH[1].From != "0.0.0.0/0::/0" && one.OpenSSH[0].From+one.OpenSSH[1].From != "::/00.0.0.0/0" {
		t.Errorf("%+v", one.OpenSSH)
	}
	if len(by["old"].OpenSSH) != 0 || by["old"].Why("") == "" || by["dc"].Why("") == "" || one.Why("") != "" || one.Why(one.ID) == "" {
		t.Error("who can be captured")
	}
	if one.Login.User != "ec2-user" || two.Login.User != "ubuntu" || by["old"].Login.User != "" {
		t.Errorf("%+v %+v", one.Login, two.Login)
	}
	if s := one.Module.String(); s != "for Amazon Linux 2023 6.12 amzn2023 x86_64, a guess by the name of its AMI; uname -r there decides" {
		t.Error(s)
	}
	if s := two.Module.Short(); s != "Ubuntu 24.04 aws x86_64?" {
		t.Error(s)
	}
	if want := one.Launched.Add(-3600e9); !one.Created.Equal(want) {
		t.Errorf("created %v, want %v", one.Created, want)
	}
}

// What may not be read is said of each instance that it is missing from; the rest is there.
func TestDescribeDenied(t *testing.T) {
	for _, op := range []string{"DescribeImages", "DescribeInstanceTypes", "DescribeSecurityGroupRules", "DescribeInstanceConnectEndpoints", "DescribeAutoScalingInstances", "DescribeInstanceInformation"} {
		w := newWorld(t)
		f := w.finder(nil, nil)
		found := w.find(f, "i-00000001")
		w.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			if c.Operation == op {
				return awsfake.Fault{Error: awsfake.Denied(c)}
			}
			return awsfake.Fault{}
		}
		if err := f.Describe(t.Context(), found); err != nil {
			t.Fatal(err)
		}
		if u := found.Instances[0].Unknown; len(u) != 1 || !strings.Contains(u[0], op) {
			t.Errorf("%s: %q", op, u)
		}
	}
}

func TestRelated(t *testing.T) {
	w := newWorld(t)
	f := w.finder([]string{own, other}, []string{hosts.AllRegions})
	target := w.find(f, "i-00000001").Instances[0]
	shares := map[string]string{}
	for _, r := range inventory.Related(target, w.find(f).Instances) {
		shares[w.names[r.ID]] = strings.Join(r.Shares, "; ")
	}
	want := map[string]string{"old": "key pair ops", "us": "a key pair called ops, as in another region or account"}
	two := w.find(f, "i-00000002").Instances[0]
	want["web-2"] = "security group " + two.Groups[0].ID + "; security group " + two.Groups[1].ID
	if diff := cmp.Diff(want, shares); diff != "" {
		t.Error(diff)
	}
}

// TestPolicy does everything with docs/inventory-policy.json alone, and finds nothing in it that is not needed.
func TestPolicy(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/inventory-policy.json")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	for _, arn := range []string{responder, theirRole} {
		if err := w.cloud.Restrict(arn, doc); err != nil {
			t.Fatal(err)
		}
	}
	f := w.finder([]string{own, other}, []string{hosts.AllRegions})
	found := w.find(f)
	if err := f.Describe(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	for _, i := range found.Instances {
		if len(i.Unknown) > 0 {
			t.Errorf("%s: %q", i.ID, i.Unknown)
		}
	}
	if len(found.Gaps) > 0 {
		t.Errorf("gaps %v", found.Gaps)
	}
	var used []string
	for _, c := range w.cloud.Calls() {
		if c.Action != "sts:GetCallerIdentity" { // which needs no permission
			used = append(used, c.Action)
		}
		if c.Writes {
			t.Errorf("%s writes", c.Action)
		}
	}
	slices.Sort(used)
	var p awsfake.Policy
	if err := json.Unmarshal(doc, &p); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, s := range p.Statement {
		allowed = append(allowed, s.Action...)
	}
	slices.Sort(allowed)
	if diff := cmp.Diff(slices.Compact(used), slices.Compact(allowed)); diff != "" {
		t.Errorf("used (-) and allowed (+):\n%s", diff)
	}
}

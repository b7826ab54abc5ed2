package inventory_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	own       = "111122223333"
	other     = "444455556666"
	responder = "arn:aws:iam::" + own + ":role/responder"
	theirRole = "arn:aws:iam::" + other + ":role/responder"
)

// A world is two accounts with two regions each.
type world struct {
	*testing.T
	cloud *awsfake.Cloud
	names map[string]string // ids by what the tests call them
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, cloud: awsfake.New(), names: map[string]string{}}
	t.Cleanup(w.cloud.Close)
	w.cloud.AddRole(theirRole, awsfake.Trust{Principals: []string{responder}})
	r := w.cloud.Account(own).Region("eu-west-1")
	r.AddVPC(awsfake.VPC{ID: "vpc-00000001"})
	subnet := r.AddSubnet("vpc-00000001")
	subnet.ID = "subnet-00000001"
	r.Subnets[subnet.ID] = subnet
	web := r.AddGroup("vpc-00000001", "web", awsfake.TCP(false, 443, "0.0.0.0/0"), awsfake.TCP(false, 22, "10.0.0.0/8"))
	open := r.AddGroup("vpc-00000001", "open", &awsfake.Rule{Protocol: "tcp", From: 20, To: 25, CIDR6: "::/0"}, awsfake.TCP(false, 22, "0.0.0.0/0"))
	r.Images["ami-00000001"] = awsfake.Image{Name: "al2023-ami-2023.9.20251014.0-kernel-6.12-x86_64", Owner: "amazon"}
	r.Images["ami-00000002"] = awsfake.Image{Name: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251015", Owner: "amazon"}
	add := func(name string, i awsfake.Instance, groups ...string) *awsfake.Instance {
		if i.Tags == nil {
			i.Tags = map[string]string{}
		}
		i.Tags["Name"] = name
		in := r.AddInstance(i, subnet.ID, groups...)
		w.names[in.ID] = name
		return in
	}
	one := add("web-1", awsfake.Instance{ID: "i-00000001", Image: "ami-00000001", Key: "ops", Profile: "arn:aws:iam::" + own + ":instance-profile/team/web",
		Tags: map[string]string{"Env": "prod", "Odd": "a,b|c*d"}}, web.ID)
	two := add("web-2", awsfake.Instance{ID: "i-00000002", Image: "ami-00000002", Type: "m4.large", IMDSv1: true, Tags: map[string]string{"Env": "stage"}}, web.ID, open.ID)
	add("old", awsfake.Instance{ID: "i-00000003", State: "stopped", Key: "ops", Tags: map[string]string{"Env": "prod"}})
	add("dc", awsfake.Instance{ID: "i-00000004", Platform: "Windows", Tags: map[string]string{"Env": "prod"}})
	add("gone", awsfake.Instance{ID: "i-00000005", State: "terminated"})
	for _, i := range r.Interfaces {
		switch i.Instance {
		case one.ID:
			i.PrivateIP = "10.0.0.1"
		case two.ID:
			i.PrivateIP, i.AutoPublicIP, i.IPv6 = "10.0.0.2", "203.0.113.2", []string{"2001:db8:0:0:0:0:0:2"}
		}
	}
	second := r.AddInterface(awsfake.Interface{Instance: one.ID, Subnet: subnet.ID, PrivateIP: "10.9.0.1", Groups: []string{open.ID}})
	r.AddAddress("198.51.100.1", second.ID)
	r.AddScaling(awsfake.ScalingGroup{Name: "web-asg", Max: 3}, one.ID)
	r.ConnectEndpoints = []awsfake.ConnectEndpoint{{ID: "eice-1", VPC: "vpc-00000001", State: "create-complete"}}
	r.Managed[one.ID] = "Online"

	us := w.cloud.Account(own).Region("us-east-1")
	us.AddInstance(awsfake.Instance{ID: "i-00000011", Tags: map[string]string{"Env": "prod"}, Key: "ops"}, "subnet-us")
	w.names["i-00000011"] = "us"
	them := w.cloud.Account(other).Region("eu-west-1")
	them.AddInstance(awsfake.Instance{ID: "i-00000021", Tags: map[string]string{"Env": "prod"}, Profile: "arn:aws:iam::" + other + ":instance-profile/web"}, "subnet-them")
	w.names["i-00000021"] = "them"
	return w
}

func (w *world) finder(accounts, regions []string) *inventory.Finder {
	a := &awsconfig.Accounts{Base: w.cloud.Config(responder, "eu-west-1"), Role: "responder", NoIMDS: true}
	return &inventory.Finder{Config: a.Config, Accounts: accounts, Regions: regions}
}

func parse(t *testing.T, texts ...string) (list []hosts.Selector) {
	t.Helper()
	for _, s := range texts {
		sel, err := hosts.ParseSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, sel)
	}
	return list
}

func (w *world) find(f *inventory.Finder, selectors ...string) *inventory.Found {
	w.Helper()
	found, err := f.Find(w.Context(), parse(w.T, selectors...))
	if err != nil {
		w.Fatal(err)
	}
	return found
}

// called are what the tests call the instances.
func (w *world) called(found *inventory.Found) (names []string) {
	for _, i := range found.Instances {
		names = append(names, w.names[i.ID])
	}
	slices.Sort(names)
	return names
}

func (w *world) want(f *inventory.Finder, selector string, want ...string) {
	w.Helper()
	slices.Sort(want)
	if got := w.called(w.find(f, selector)); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("%s: %v, want %v", selector, got, want)
	}
}

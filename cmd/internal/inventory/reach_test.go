package inventory_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

func TestAddress(t *testing.T) {
	full := &inventory.Instance{ID: "i-00000001", VPC: "vpc-1", Private: []string{"10.0.0.1", "10.0.0.2"}, Public: []string{"203.0.113.1"}, IPv6: []string{"2001:db8::1"}, PrivateDNS: "a.internal", PublicDNS: "a.example"}
	private := &inventory.Instance{ID: "i-00000002", VPC: "vpc-1", Private: []string{"10.0.0.3"}, PrivateDNS: "b.internal"}
	six := &inventory.Instance{ID: "i-00000003", VPC: "vpc-1", IPv6: []string{"2001:db8::3"}}
	away, near := inventory.Here{}, inventory.Here{Instance: "i-00000009", VPC: "vpc-1"}
	for _, c := range []struct {
		i      *inventory.Instance
		rule   string
		here   inventory.Here
		routed bool
		want   string
	}{
		{full, "", away, false, "203.0.113.1"}, {full, "auto", near, false, "10.0.0.1"}, {full, "", away, true, "10.0.0.1"}, {full, "", inventory.Here{VPC: "vpc-2"}, false, "203.0.113.1"},
		{private, "", away, false, "10.0.0.3"}, {six, "", away, true, "2001:db8::3"}, {six, "", near, false, "2001:db8::3"},
		{full, "private", away, false, "10.0.0.1"}, {full, "public", near, true, "203.0.113.1"}, {full, "ipv6", near, false, "2001:db8::1"},
		{full, "dns", away, false, "a.example"}, {private, "dns", away, false, "b.internal"}, {full, "id", away, false, "i-00000001"},
		{private, "public", away, false, ""}, {private, "ipv6", away, false, ""}, {six, "private", away, false, ""}, {six, "dns", away, false, ""}, {&inventory.Instance{ID: "i-00000004"}, "", away, false, ""},
	} {
		got, why, err := c.i.Address(c.rule, c.here, c.routed)
		if got != c.want || (err == nil) != (c.want != "") || (why == "") != (c.want == "") {
			t.Errorf("%s by %q: %q, %q, %v; want %q", c.i.ID, c.rule, got, why, err, c.want)
		}
	}
}

func TestLogin(t *testing.T) {
	for name, want := range map[string]string{
		"al2023-ami-2023.9.20251014.0-kernel-6.12-x86_64":                        "ec2-user Amazon Linux 2023 6.12 amzn2023",
		"al2023-ami-ecs-hvm-2023.0.20251015-kernel-6.1-x86_64":                   "ec2-user Amazon Linux 2023 6.1 amzn2023",
		"amzn2-ami-kernel-5.10-hvm-2.0.20251014.0-x86_64-gp2":                    "ec2-user Amazon Linux 2 5.10 amzn2",
		"amzn2-ami-hvm-2.0.20240816.0-arm64-gp2":                                 "ec2-user Amazon Linux 2 amzn2",
		"amzn-ami-hvm-2018.03.0.20240131.0-x86_64-gp2":                           "ec2-user Amazon Linux 1 amzn1",
		"amazon-eks-node-1.30-v20250715":                                         "ec2-user Amazon Linux 2 amzn2",
		"amazon-eks-node-al2023-x86_64-standard-1.33-v20251016":                  "ec2-user Amazon Linux 2023 amzn2023",
		"ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20251015":     "ubuntu Ubuntu 24.04 aws",
		"ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-arm64-server-20240801":         "ubuntu Ubuntu 22.04 aws",
		"ubuntu-pro-server/images/hvm-ssd/ubuntu-focal-20.04-amd64-pro-server-1": "ubuntu Ubuntu 20.04 aws",
		"debian-12-amd64-20251006-2257":                                          "admin Debian 12 cloud",
		"RHEL-9.6.0_HVM-20251014-x86_64-0-Hourly2-GP3":                           "ec2-user Red Hat Enterprise Linux 9.6",
		"Rocky-9-EC2-Base-9.6-20250531.0.x86_64":                                 "rocky Rocky Linux 9",
		"AlmaLinux OS 9.6.20250522 x86_64":                                       "ec2-user AlmaLinux 9",
		"CentOS Stream 9 x86_64 20251013":                                        "ec2-user CentOS Stream 9",
		"CentOS Linux 7 x86_64 HVM EBS ENA 2002_01":                              "centos CentOS 7",
		"OL9.6-x86_64-HVM-2025-05-23":                                            "ec2-user Oracle Linux 9 uek",
		"suse-sles-15-sp6-v20250930-hvm-ssd-x86_64":                              "ec2-user SUSE Linux Enterprise Server 15-sp6 default",
		"Fedora-Cloud-Base-AmazonEC2.x86_64-42-1.1":                              "fedora Fedora 42",
		"fedora-coreos-42.20250929.3.0-x86_64":                                   "core Fedora CoreOS 42",
		"Flatcar-stable-4230.2.3-hvm":                                            "core Flatcar",
		"golden-web-17":                                                          "",
	} {
		i := &inventory.Instance{Image: inventory.Image{ID: "ami-00000001", Name: name}}
		l, g := i.LoginBy(nil), inventory.GuessOf(i)
		got := strings.TrimSuffix(strings.TrimSpace(l.User+" "+g.Short()), "?")
		if got != want || l.Why == "" || g.Why == "" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	i := &inventory.Instance{Image: inventory.Image{ID: "ami-00000001", Name: "debian-12"}}
	rules := []hosts.UserRule{{Image: "ami-00000002", User: "a"}, {Image: "deb*", User: "b"}, {User: "c"}}
	if l := i.LoginBy(rules); l.User != "b" {
		t.Errorf("%+v", l)
	}
	if l := i.LoginBy(rules[2:]); l.User != "c" {
		t.Errorf("%+v", l)
	}
	if l := (&inventory.Instance{Platform: "Red Hat Enterprise Linux"}).LoginBy(nil); l.User != "ec2-user" {
		t.Errorf("%+v", l)
	}
}

// Where this runs, as the metadata service tells it; without one it is nowhere.
func TestLocate(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := map[string]string{
			"/latest/api/token": "token", "/latest/meta-data/instance-id": "i-00000009", "/latest/meta-data/mac": "0a:00",
			"/latest/meta-data/network/interfaces/macs/0a:00/vpc-id": "vpc-1",
		}[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
		fmt.Fprint(w, answer)
	}))
	defer s.Close()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "false")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", s.URL)
	if h := inventory.Locate(t.Context(), aws.Config{}); h != (inventory.Here{Instance: "i-00000009", VPC: "vpc-1"}) {
		t.Errorf("%+v", h)
	}
	s.Close()
	if h := inventory.Locate(t.Context(), aws.Config{}); h != (inventory.Here{}) {
		t.Errorf("%+v", h)
	}
}

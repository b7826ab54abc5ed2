package hosts

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// AddressRules say by which address an instance is reached; id is its id, for a ProxyCommand such as that of Session
// Manager.
var AddressRules = []string{"auto", "private", "public", "ipv6", "dns", "id"}

// GatherWords are what can be taken of an instance from AWS: snapshots are made, all the others are read, and all of them is all.
var GatherWords = []string{
	"all", "none", "instance", "attributes", "user-data", "volumes", "interfaces", "security-groups", "routes", "network-acls", "tags", "profile",
	"console", "console-latest", "screenshot", "trail", "snapshots",
}

// ConnectRules say what leads into an instance: nothing of AWS, a key that EC2 Instance Connect pushes, that and a tunnel through its
// endpoint, that and a session of Session Manager, or what fits.
var ConnectRules = []string{"none", "push", "endpoint", "ssm", "auto"}

// HostKeyRules say whence an instance's host key is known: as any host's is, or from what it wrote on its console.
var HostKeyRules = []string{"known", "console"}

// AllRegions stands for every region that an account has.
const AllRegions = "all"

var regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)

// CheckRegion wants the name of a region, or all.
func CheckRegion(s string) error {
	if s != AllRegions && !regionName.MatchString(s) {
		return fmt.Errorf("%q is not the name of a region, such as eu-west-1, nor all", s)
	}
	return nil
}

// CheckAccount wants the number of an account.
func CheckAccount(s string) error { return checkAccount(s) }

// A UserRule is the login name of instances whose AMI has an id or a name like a pattern.
type UserRule struct {
	Image string // a pattern; empty: any
	User  string
}

// ParseUserRule reads AMI=NAME, or NAME for all.
func ParseUserRule(s string) (UserRule, error) {
	r := UserRule{User: s}
	if i := strings.LastIndexByte(s, '='); i >= 0 {
		if r.Image, r.User = strings.TrimSpace(s[:i]), s[i+1:]; r.Image == "" {
			return r, fmt.Errorf("%q: want AMI=NAME, or NAME for all", s)
		}
	}
	return r, ValidUser(r.User)
}

// For reports whether the rule is about an image.
func (r UserRule) For(id, name string) bool {
	return r.Image == "" || like(r.Image, id) || name != "" && like(r.Image, name)
}

func checkUserRule(s string) error {
	_, err := ParseUserRule(s)
	return err
}

// Selectors are those of a host that stands for EC2 instances.
func (h Host) Selectors() (list []Selector, err error) {
	var errs []error
	for _, s := range h.EC2 {
		sel, err := ParseSelector(s)
		list, errs = append(list, sel), append(errs, err)
	}
	return list, errors.Join(errs...)
}

// checkEC2 looks at what keys of hosts that stand for EC2 instances mean together.
func (d *decoder) checkEC2(f *File) {
	first := map[string]int{}
	for i, h := range f.Hosts {
		path := fmt.Sprintf("hosts[%d]", i)
		if len(h.EC2) == 0 {
			if _, there := d.places[path+".ec2"]; there && h.Addr == "" && len(d.problems) == 0 {
				d.failKey(path+".ec2", "%s.ec2 selects nothing: want %s", path, SelectorForms)
			}
			continue
		}
		for k, s := range h.EC2 {
			at := fmt.Sprintf("%s.ec2[%d]", path, k)
			if _, listed := d.places[at]; !listed {
				at = path + ".ec2"
			}
			key := s + "\x00" + strings.Join(h.Over(f).EC2Region, ",") + "\x00" + strings.Join(h.Over(f).EC2Account, ",")
			if j, dup := first[key]; dup {
				d.failKey(at, "%q is there twice, first in hosts[%d] in line %d", s, j, d.places[fmt.Sprintf("hosts[%d]", j)].line)
				continue
			}
			first[key] = i
		}
	}
}

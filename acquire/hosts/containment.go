package hosts

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Containment says what is contained after the capture of a host, or of each host.
type Containment struct {
	// There says that the block is in the file: for a host of ec2 that is to contain its instance.
	There bool `yaml:"-"`

	Targets      Strings `yaml:"targets" is:"contained" doc:"What to contain: ARNs, or i-..., user/NAME, role/NAME, function/NAME, AKIA...."`
	Gate         string  `yaml:"gate" is:"gate" doc:"When: complete, only after a complete image, the default; always; never, which plans alone."`
	LockFirst    *bool   `yaml:"lock_first" doc:"Lock credentials before the first byte of memory. If the capture then fails they stay locked."`
	ProtectFirst *bool   `yaml:"protect_first" doc:"Protect instances from termination, and from Auto Scaling, before the first byte of memory; true unless said otherwise."`
	Mode         string  `yaml:"mode" is:"contain_mode" doc:"For roles: revoke, sessions of before now, or deny, all. For functions: strict, the sessions of their roles too."`
	Cut          Strings `yaml:"cut" is:"cut" doc:"Cut hard, too: public-address, nacl-subnet, stop, trust-policy."`
	DenyAddress  Strings `yaml:"deny_address" doc:"Addresses or prefixes to deny in the network ACL of the subnet."`
	Forensic     string  `yaml:"forensic" doc:"What an isolated instance lets in on its SSH port: a prefix such as 192.0.2.7/32, or a security group."`
	UntrackWait  string  `yaml:"untrack_wait" is:"wait" doc:"How long flows have to become untracked before instances are isolated: 75s unless said otherwise."`
	Region       string  `yaml:"region" doc:"The region of instances and functions that are not named by ARN."`
	Profile      string  `yaml:"profile" doc:"The profile in ~/.aws."`
	RoleARN      string  `yaml:"role_arn" is:"arn" doc:"The role to assume."`
	ExternalID   string  `yaml:"external_id" doc:"The external ID for that role."`
	BreakGlass   Strings `yaml:"break_glass" is:"contained" doc:"What must never be contained, beside who calls and the machine that this runs on."`
}

// Gates are when containment follows a capture, and ContainModes the ways of a role.
var (
	Gates        = []string{"complete", "always", "never"}
	ContainModes = []string{"revoke", "deny", "strict"}
	Cuts         = []string{"public-address", "nacl-subnet", "stop", "trust-policy"}
)

func oneOf(values []string) func(string) error {
	return func(s string) error {
		if !slices.Contains(values, s) {
			return fmt.Errorf("%q: want one of %s", s, strings.Join(values, ", "))
		}
		return nil
	}
}

// contained is what a target begins with; the whole of it is read where it is used.
var contained = regexp.MustCompile(`^(arn:|i-[0-9a-f]|(user|role|function)/.|AKIA|ASIA)`)

func checkWait(s string) error {
	if d, err := time.ParseDuration(s); err != nil || d < 0 || d > time.Hour {
		return fmt.Errorf("%q: want a time from 0s to 1h, such as 75s", s)
	}
	return nil
}

func checkContained(s string) error {
	if !contained.MatchString(s) {
		return fmt.Errorf("%q is nothing that can be contained: want an ARN, i-..., user/NAME, role/NAME, function/NAME or AKIA", s)
	}
	return nil
}

// over returns c, with what it leaves out taken from below, but for the targets: those are of one host
// each. Break-glass lists add up.
func (c Containment) over(below Containment) Containment {
	glass, there := append(slices.Clone(below.BreakGlass), c.BreakGlass...), c.There
	v, b := reflect.ValueOf(&c).Elem(), reflect.ValueOf(below)
	for i := range v.NumField() {
		if v.Field(i).IsZero() {
			v.Field(i).Set(b.Field(i))
		}
	}
	c.BreakGlass, c.There = glass, there
	return c
}

// checkContainment: a target belongs to one host, and where there is a block there is something to contain.
func (d *decoder) checkContainment(f *File) {
	if len(f.Defaults.Containment.Targets) > 0 {
		d.failKey("defaults.containment.targets", "defaults.containment.targets: targets belong to a host each")
	}
	first := map[string]int{}
	for i, h := range f.Hosts {
		key := fmt.Sprintf("hosts[%d].containment", i)
		if _, there := d.places[key]; there && len(h.Containment.Targets) == 0 && len(h.EC2) == 0 && h.Containment.Gate != "never" {
			d.failKey(key, "%s has no targets: name the instance, or what else is to be contained with it", key)
		}
		for k, t := range h.Containment.Targets {
			if j, dup := first[t]; dup {
				at := fmt.Sprintf("%s.targets[%d]", key, k)
				if _, listed := d.places[at]; !listed {
					at = key + ".targets"
				}
				d.failKey(at, "%q is contained with hosts[%d] already", t, j)
				continue
			}
			first[t] = i
		}
	}
}

// Package inventory finds EC2 instances, over accounts and regions at once, and says of each what matters to who
// responds to an incident: how it can be reached, as whom, what it runs, and how exposed it is. It only reads.
//
//	f := &inventory.Finder{Config: accounts.Config, Regions: []string{"eu-west-1"}}
//	found, err := f.Find(ctx, selectors)
//	f.Describe(ctx, found)
//
// What could not be read is never left out in silence: a region that cannot be searched is a Gap, a property that cannot be read
// stands among an instance's Unknown.
package inventory

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// An Instance is an EC2 instance as AWS describes it. Names and tags are whatever somebody called them: quote them.
type Instance struct {
	ID      string `json:"id"`
	ARN     string `json:"arn"`
	Account string `json:"account"`
	Region  string `json:"region"`
	Zone    string `json:"zone,omitempty"`
	Name    string `json:"name,omitempty"` // the tag
	State   string `json:"state"`
	Type    string `json:"type,omitempty"`
	Spot    bool   `json:"spot,omitempty"`
	// Launched is when it was started last; Created when its first interface was attached, which is when it was made.
	Launched time.Time `json:"launched,omitzero"`
	Created  time.Time `json:"created,omitzero"`

	Architecture string `json:"architecture,omitempty"`
	Platform     string `json:"platform,omitempty"` // "Linux/UNIX", "Windows with SQL Server Standard"
	Windows      bool   `json:"windows,omitempty"`
	Hypervisor   string `json:"hypervisor,omitempty"` // "nitro", "xen", or empty: not known
	BareMetal    bool   `json:"bare_metal,omitempty"`
	Image        Image  `json:"image"`

	VPC        string   `json:"vpc,omitempty"`
	Subnets    []string `json:"subnets,omitempty"` // of its interfaces, the primary one's first
	Interfaces []string `json:"interfaces,omitempty"`
	Private    []string `json:"private_addresses,omitempty"`
	Public     []string `json:"public_addresses,omitempty"`
	IPv6       []string `json:"ipv6_addresses,omitempty"`
	PrivateDNS string   `json:"private_dns,omitempty"`
	PublicDNS  string   `json:"public_dns,omitempty"`
	Groups     []Group  `json:"security_groups,omitempty"` // of all its interfaces

	Profile string            `json:"instance_profile,omitempty"` // ARN
	Key     string            `json:"key_pair,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	Scaling *Scaling          `json:"auto_scaling,omitempty"`
	IMDS    IMDS              `json:"imds"`

	// Of Describe:
	OpenSSH []OpenRule `json:"ssh_open_to,omitempty"` // rules that let everybody in on port 22
	Ways    Ways       `json:"ways_in"`
	Login   Login      `json:"login"`
	Module  Guess      `json:"module"`
	// Unknown is what could not be read, and why.
	Unknown []string `json:"unknown,omitempty"`
}

// An Image is what an instance was made from. Its name is empty if nobody may see it, or it is gone.
type Image struct {
	ID    string `json:"id"`
	Name  string `json:"name,omitempty"`
	Owner string `json:"owner,omitempty"` // "amazon", or an account
	About string `json:"description,omitempty"`
}

// A Group is a security group.
type Group struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// Scaling is an instance's place in an Auto Scaling group.
type Scaling struct {
	Group     string `json:"group"`
	State     string `json:"state,omitempty"` // "InService"; empty: not known
	Protected bool   `json:"protected_from_scale_in,omitempty"`
}

// IMDS says how the instance's metadata service answers.
type IMDS struct {
	On bool `json:"on"`
	// V2Only says that it wants a token, which requests forged through a web server do not have.
	V2Only bool `json:"v2_only"`
}

// An OpenRule is a rule of a group that lets all addresses in.
type OpenRule struct {
	Group string `json:"group"`
	From  string `json:"from"`
	Ports string `json:"ports"`
}

// Ways are how one could get in.
type Ways struct {
	Key      string `json:"key_pair,omitempty"` // at its making; authorized_keys may have changed since
	SSM      string `json:"ssm,omitempty"`      // the agent's ping: "Online", "ConnectionLost"; empty: not managed
	Agent    string `json:"ssm_agent,omitempty"`
	Endpoint string `json:"connect_endpoint,omitempty"` // of EC2 Instance Connect, in the VPC
	// EndpointDNS is its name, the one for FIPS if the configuration wants that.
	EndpointDNS string `json:"connect_endpoint_dns,omitempty"`
	// Push says that the image likely takes keys that EC2 Instance Connect pushes; a guess by its name.
	Push string `json:"connect_push,omitempty"`
}

// A Place is one region of one account.
type Place struct {
	Account string `json:"account,omitempty"`
	Region  string `json:"region"`
}

func (p Place) String() string {
	if p.Account == "" {
		return p.Region
	}
	return p.Region + " of account " + p.Account
}

// EveryRegion is the region of a gap that is about an account whose regions are not known.
const EveryRegion = "all regions"

// A Gap is a place that could not be searched, or an account whose regions are not known.
type Gap struct {
	Place
	Why string `json:"why"`
	// Off says that the account has not enabled the region; what it once had there would still run.
	Off bool `json:"not_enabled,omitempty"`
	// Named says that it was asked for by name, or by an ARN, not as one of all regions.
	Named bool  `json:"-"`
	Err   error `json:"-"`
}

// Found is what a search brought.
type Found struct {
	Instances []*Instance // by account, region and id
	Places    []Place     // that were searched
	Gaps      []Gap
}

// NameOf is what is after the last slash of an ARN.
func NameOf(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

func (f *Found) sort() {
	slices.SortFunc(f.Instances, func(a, b *Instance) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.ID, b.ID))
	})
	places := func(a, b Place) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region))
	}
	slices.SortFunc(f.Places, places)
	slices.SortStableFunc(f.Gaps, func(a, b Gap) int { return places(a.Place, b.Place) })
}

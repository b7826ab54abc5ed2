package awsfake

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Region is a region of an account, with what EC2, Auto Scaling and the load balancers have there. It is
// filled by the Add functions and by hand, before the first call or inside Edit.
type Region struct {
	Name string
	// Off says that the account has not opted in to the region.
	Off bool `json:"-"`
	// Lag is how many calls do not see yet what was made or changed before them.
	Lag int `json:"-"`
	// Convert says when tracked connections become untracked.
	Convert Conversion `json:"-"`
	// Quotas are those that can be met: of groups on an interface, and of entries of a network ACL in one direction.
	GroupsPerInterface, EntriesPerACL int `json:"-"`

	VPCs        map[string]*VPC
	Subnets     map[string]*Subnet
	Instances   map[string]*Instance
	Interfaces  map[string]*Interface
	Groups      map[string]*Group
	RouteTables []*RouteTable
	ACLs        map[string]*ACL
	Addresses   map[string]*Address
	Endpoints   []*Endpoint
	Scaling     map[string]*ScalingGroup
	Targets     map[string]*TargetGroup
	// Types are the types of instances; others are Nitro ones whose idle connections live five days.
	Types map[string]InstanceType `json:"-"`
	Flows []*Flow                 `json:"-"`
	// Images are the AMIs whose names can be seen, by id; ConnectEndpoints those of EC2 Instance Connect; Managed what Systems Manager
	// says of an instance, by id: "Online".
	Images           map[string]Image  `json:"-"`
	ConnectEndpoints []ConnectEndpoint `json:"-"`
	Managed          map[string]string `json:"-"`

	Posture   Posture              `json:"-"`
	Snapshots map[string]*Snapshot `json:"-"`
	// SnapshotLooks is how often DescribeSnapshots finds a snapshot pending before it is stored.
	SnapshotLooks int `json:"-"`

	Logs map[string][]LogLine `json:"-"` // of CloudWatch Logs, by group, the earliest first
	// Transit are the attachments of VPCs to transit gateways.
	Transit []TransitAttachment
	// LogGroups are settings of those groups.
	LogGroups map[string]LogGroup `json:"-"`
	Trail     []TrailEvent        `json:"-"` // what CloudTrail knows, the latest first
	Keys      []*Key              `json:"-"` // of KMS
	// Stacks are those of CloudFormation, StackParts what the next will be made of.
	Stacks     []*Stack    `json:"-"`
	StackParts []StackPart `json:"-"`

	functions map[string]*Function // of Lambda, by name
	pushed    []PushedKey          // of EC2 Instance Connect, those that are not valid any more too

	account *Account
	cloud   *Cloud
}

// Region returns a region of the account, and makes it if need be.
func (a *Account) Region(name string) *Region {
	a.cloud.mu.Lock()
	defer a.cloud.mu.Unlock()
	return a.region(name)
}

func (a *Account) region(name string) *Region {
	r := a.regions[name]
	if r == nil {
		r = &Region{
			Name: name, account: a, cloud: a.cloud, GroupsPerInterface: 5, EntriesPerACL: 20,
			VPCs: map[string]*VPC{}, Subnets: map[string]*Subnet{}, Instances: map[string]*Instance{}, Interfaces: map[string]*Interface{},
			Groups: map[string]*Group{}, ACLs: map[string]*ACL{}, Addresses: map[string]*Address{}, Scaling: map[string]*ScalingGroup{},
			Targets: map[string]*TargetGroup{}, Types: map[string]InstanceType{"m4.large": {Xen: true}, "m8g.large": {TCP: 350}},
			Images: map[string]Image{}, Managed: map[string]string{}, Snapshots: map[string]*Snapshot{},
		}
		a.regions[name] = r
	}
	return r
}

// Snapshot is everything that the region is configured as, but not its flows: equal before and after if
// everything was undone.
func (r *Region) Snapshot() string {
	r.cloud.mu.Lock()
	defer r.cloud.mu.Unlock()
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		panic(err) // plain data
	}
	return string(b)
}

func (r *Region) id(prefix string) string { return r.cloud.id(prefix, 17) }

// arn is the ARN of something of EC2's in the region.
func (r *Region) arn(kind, id string) string {
	return fmt.Sprintf("arn:aws:ec2:%s:%s:%s/%s", r.Name, r.account.ID, kind, id)
}

func (c *Cloud) ec2Service() *service {
	ops := map[string]operation{}
	for _, part := range []map[string]operation{instanceOps, interfaceOps, groupOps, networkOps, postureOps, consoleOps, snapshotOps, evidenceOps, transitOps} {
		for name, op := range part {
			ops[name] = op
		}
	}
	return &service{prefix: "ec2", proto: ec2Query, ops: ops}
}

// on names the resource whose id is in a parameter, or are in those that begin so.
func on(kind, param string) func(*Request) []string {
	return func(r *Request) []string {
		var arns []string
		for _, id := range r.values(param) {
			arns = append(arns, r.Region.arn(kind, id))
		}
		return arns
	}
}

// values are the values of a parameter: of itself, or of its list.
func (r *Request) values(name string) []string {
	if r.Form.Has(name) {
		return []string{r.Form.Get(name)}
	}
	var all []string
	for n := 1; r.Form.Has(name + "." + strconv.Itoa(n)); n++ {
		all = append(all, r.Form.Get(name+"."+strconv.Itoa(n)))
	}
	return all
}

// tags are those of a TagSpecification, or of CreateTags.
func (r *Request) tags(prefix string) map[string]string {
	tags := map[string]string{}
	for n := 1; r.Form.Has(fmt.Sprintf("%s.%d.Key", prefix, n)); n++ {
		tags[r.Form.Get(fmt.Sprintf("%s.%d.Key", prefix, n))] = r.Form.Get(fmt.Sprintf("%s.%d.Value", prefix, n))
	}
	return tags
}

// attributes are what a call may filter by.
type attributes map[string][]string

func (a attributes) tags(tags map[string]string) attributes {
	a["tag-key"] = nil // what has no tags may be asked for all the same
	for k, v := range tags {
		a["tag:"+k] = []string{v}
		a["tag-key"] = append(a["tag-key"], k)
	}
	return a
}

// matches reports whether something passes the call's filters. Any tag may be asked for; other names must be known.
func (r *Request) matches(a attributes) (bool, error) {
	for n := 1; r.Form.Has(fmt.Sprintf("Filter.%d.Name", n)); n++ {
		name := r.Form.Get(fmt.Sprintf("Filter.%d.Name", n))
		have, ok := a[name]
		if !ok && !strings.HasPrefix(name, "tag:") {
			return false, fail("InvalidParameterValue", "The filter '%s' is invalid", name)
		}
		wanted := r.values(fmt.Sprintf("Filter.%d.Value", n))
		if !slices.ContainsFunc(have, func(h string) bool {
			return slices.ContainsFunc(wanted, func(w string) bool { return filterLike(w, h) })
		}) {
			return false, nil
		}
	}
	return true, nil
}

// filterLike matches as filters do: * stands for any characters, ? for one or none, \ before either for itself.
func filterLike(pattern, s string) bool {
	if !strings.ContainsAny(pattern, `*?\`) {
		return pattern == s
	}
	q := strings.NewReplacer(`\\\\`, `\\`, `\\\*`, `\*`, `\\\?`, `\?`, `\*`, ".*", `\?`, ".?").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("(?s)^" + q + "$").MatchString(s)
}

// pages answers with the part of a list that the call asks for.
func (r *Request) pages(name string, items [][]X) ([]X, error) {
	size := r.Cloud.PageSize
	if n, err := strconv.Atoi(r.Form.Get("MaxResults")); err == nil && (size == 0 || n < size) {
		size = n
	}
	from := 0
	if token := r.Form.Get("NextToken"); token != "" {
		var err error
		if from, err = strconv.Atoi(token); err != nil || from > len(items) {
			return nil, fail("InvalidNextToken", "The token '%s' is invalid", token)
		}
	}
	items = items[from:]
	if size > 0 && size < len(items) {
		return []X{list(name, items[:size]...), el("nextToken", from+size)}, nil
	}
	return []X{list(name, items...)}, nil
}

// pick returns those of some ids, all if none, and those that pass the filters.
func pick[T any](r *Request, all map[string]T, param, notFound string, of func(T) attributes) ([]T, error) {
	var found []T
	ids := r.values(param)
	for _, id := range ids {
		if _, ok := all[id]; !ok {
			return nil, fail(notFound, "The ID '%s' does not exist", id)
		}
	}
	for _, id := range sorted(all) {
		if len(ids) > 0 && !slices.Contains(ids, id) {
			continue
		}
		ok, err := r.matches(of(all[id]))
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, all[id])
		}
	}
	return found, nil
}

func sorted[T any](m map[string]T) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func tagSet(tags map[string]string) X {
	var items [][]X
	for _, k := range sorted(tags) {
		items = append(items, []X{el("key", k), el("value", tags[k])})
	}
	return list("tagSet", items...)
}

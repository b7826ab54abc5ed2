package awsfake

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// An Instance is an EC2 instance.
type Instance struct {
	ID, Type, State, Subnet string
	// Profile is the ARN of its instance profile; empty: none.
	Profile string
	Spot    bool
	// InstanceStore says that its root is no volume: it cannot stop.
	InstanceStore bool
	Tags          map[string]string
	Devices       []*Device

	// Image, Key and Platform are its AMI, its key pair, and what it is billed as; empty: a usual image, none, Linux.
	Image, Key, Platform string
	Architecture         string // default "x86_64"
	IMDSv1               bool   // its metadata service answers without a token
	Launched             time.Time

	TerminationProtection, StopProtection bool
	ShutdownBehavior                      string // default "stop"

	UserData   string
	Console    Console `json:"-"`
	Screenshot []byte  `json:"-"` // of the console; none: EC2 gives an empty one
}

// A Device is a volume that an instance has.
type Device struct {
	Name, Volume        string
	DeleteOnTermination bool
	Managed             bool // by a service: cannot be modified
	// KMSKey is what the volume is encrypted with; empty: it is not. DefaultKey is EBS's own.
	KMSKey string
	// SnapshotFails, if set, is why its snapshots end in error.
	SnapshotFails string
}

// An InstanceType says what a type of instances is like.
type InstanceType struct {
	Xen bool // no idle timeouts
	TCP int  // the default timeout of established connections; 0: 432000
}

// AddInstance runs an instance with one interface, in the groups given, on a subnet. What is empty becomes usual.
func (r *Region) AddInstance(i Instance, subnet string, groups ...string) *Instance {
	if i.ID == "" {
		i.ID = r.id("i-")
	}
	if i.Type == "" {
		i.Type = "m5.large"
	}
	if i.State == "" {
		i.State = "running"
	}
	if i.ShutdownBehavior == "" {
		i.ShutdownBehavior = "stop"
	}
	if i.Tags == nil {
		i.Tags = map[string]string{}
	}
	if i.Architecture == "" {
		i.Architecture = "x86_64"
	}
	if i.Image == "" {
		i.Image = "ami-0123456789abcdef0"
	}
	if i.Platform == "" {
		i.Platform = "Linux/UNIX"
	}
	if i.Launched.IsZero() {
		i.Launched = Start
	}
	i.Subnet = subnet
	if i.Devices == nil && !i.InstanceStore {
		i.Devices = []*Device{{Name: "/dev/xvda", Volume: r.id("vol-"), DeleteOnTermination: true}}
	}
	r.Instances[i.ID] = &i
	r.AddInterface(Interface{Instance: i.ID, Subnet: subnet, Groups: groups})
	return &i
}

var instanceOps = map[string]operation{
	"DescribeInstances":                      {do: describeInstances},
	"DescribeInstanceTypes":                  {do: describeInstanceTypes},
	"DescribeInstanceAttribute":              {do: describeInstanceAttribute, on: on("instance", "InstanceId")},
	"ModifyInstanceAttribute":                {do: modifyInstanceAttribute, on: on("instance", "InstanceId"), writes: true},
	"StopInstances":                          {do: stopInstances, on: on("instance", "InstanceId"), writes: true},
	"TerminateInstances":                     {do: terminateInstances, on: on("instance", "InstanceId"), writes: true},
	"StartInstances":                         {do: startInstances, on: on("instance", "InstanceId"), writes: true},
	"DescribeIamInstanceProfileAssociations": {do: describeProfiles},
	"DescribeRegions":                        {do: describeRegions},
	"DescribeImages":                         {do: describeImages},
	"DescribeInstanceConnectEndpoints":       {do: describeConnectEndpoints},
	"CreateTags":                             {do: createTags, on: tagged, writes: true},
	"DeleteTags":                             {do: deleteTags, on: tagged, writes: true},
}

// instance finds the one that a call is about.
func (r *Request) instance(id string) (*Instance, error) {
	i := r.Region.Instances[id]
	if i == nil {
		return nil, fail("InvalidInstanceID.NotFound", "The instance ID '%s' does not exist", id)
	}
	return i, nil
}

func describeInstances(r *Request) (any, error) {
	found, err := pick(r, r.Region.Instances, "InstanceId", "InvalidInstanceID.NotFound", func(i *Instance) attributes {
		return attributes{"instance-id": {i.ID}, "instance-state-name": {i.State}, "vpc-id": {r.Region.vpcOf(i)}, "image-id": {i.Image}}.tags(r.Region.tagsOfInstance(i))
	})
	if err != nil {
		return nil, err
	}
	attached := map[string][]*Interface{} // found once: there may be thousands
	for _, id := range sorted(r.Region.Interfaces) {
		if e := r.Region.Interfaces[id]; !e.Secondary {
			attached[e.Instance] = append(attached[e.Instance], e)
		}
	}
	var items [][]X
	for _, i := range found {
		items = append(items, []X{el("reservationId", "r-"+i.ID[2:]), el("ownerId", r.Account.ID), list("instancesSet", r.Region.describe(i, attached[i.ID]))})
		if i.State == "shutting-down" { // and at the next look
			i.State = "terminated"
		}
	}
	return r.pages("reservationSet", items)
}

func (r *Region) vpcOf(i *Instance) string {
	if s := r.Subnets[i.Subnet]; s != nil {
		return s.VPC
	}
	return ""
}

func (r *Region) describe(i *Instance, attached []*Interface) []X {
	root, hypervisor := "ebs", "xen" // EC2 says xen of every instance, Nitro or not: only the type tells
	if i.InstanceStore {
		root = "instance-store"
	}
	codes := map[string]int{"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}
	x := []X{
		el("instanceId", i.ID), el("instanceType", i.Type), el("instanceState", []X{el("code", codes[i.State]), el("name", i.State)}),
		el("rootDeviceType", root), el("hypervisor", hypervisor), tagSet(r.tagsOfInstance(i)), el("architecture", i.Architecture), el("imageId", i.Image),
		el("platformDetails", i.Platform), el("launchTime", i.Launched.Format(time.RFC3339)), el("placement", []X{el("availabilityZone", r.Name+"a")}),
		el("metadataOptions", []X{el("httpEndpoint", "enabled"), el("httpTokens", map[bool]string{true: "optional", false: "required"}[i.IMDSv1])}),
	}
	if strings.HasPrefix(i.Platform, "Windows") {
		x = append(x, el("platform", "windows"))
	}
	if i.Key != "" {
		x = append(x, el("keyName", i.Key))
	}
	if i.Spot {
		x = append(x, el("instanceLifecycle", "spot"))
	}
	if i.State == "terminated" {
		return x // what it had is gone
	}
	x = append(x, el("subnetId", i.Subnet), el("vpcId", r.vpcOf(i)))
	x = append(x, r.describeNetwork(i, attached)...)
	if i.Profile != "" {
		x = append(x, el("iamInstanceProfile", []X{el("arn", i.Profile), el("id", "AIPA"+i.ID[2:])}))
	}
	var devices [][]X
	for _, d := range i.Devices {
		ebs := []X{el("volumeId", d.Volume), el("status", "attached"), el("deleteOnTermination", d.DeleteOnTermination)}
		if d.Managed {
			ebs = append(ebs, el("operator", []X{el("managed", true)}))
		}
		devices = append(devices, []X{el("deviceName", d.Name), el("ebs", ebs)})
	}
	return append(x, list("blockDeviceMapping", devices...))
}

func describeInstanceTypes(r *Request) (any, error) {
	var items [][]X
	for _, name := range r.values("InstanceType") {
		t := r.Region.Types[name]
		if t.Xen {
			items = append(items, []X{el("instanceType", name), el("hypervisor", "xen"), el("networkInfo", []X{el("ipv6Supported", true)})})
			continue
		}
		items = append(items, []X{el("instanceType", name), el("hypervisor", "nitro"), el("networkInfo", []X{
			el("connectionTrackingConfiguration", []X{
				el("defaultTcpEstablishedTimeout", r.Region.defaultTCP(name)), el("defaultUdpStreamTimeout", 180), el("defaultUdpTimeout", 30)}),
		})})
	}
	return r.pages("instanceTypeSet", items)
}

func (r *Region) defaultTCP(instanceType string) int {
	if t := r.Types[instanceType]; t.TCP > 0 {
		return t.TCP
	}
	return 432000
}

func describeInstanceAttribute(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	name := r.Form.Get("Attribute")
	values := map[string]any{
		"disableApiTermination": i.TerminationProtection, "disableApiStop": i.StopProtection, "instanceInitiatedShutdownBehavior": i.ShutdownBehavior,
	}
	if name == "userData" {
		if i.UserData == "" {
			return []X{el("instanceId", i.ID), el("userData", []X{})}, nil
		}
		values[name] = base64.StdEncoding.EncodeToString([]byte(i.UserData))
	}
	v, ok := values[name]
	if !ok {
		return nil, fail("InvalidParameterValue", "Value (%s) for parameter attribute is invalid.", name)
	}
	return []X{el("instanceId", i.ID), el(name, el("value", v))}, nil
}

func modifyInstanceAttribute(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId"))
	if err != nil {
		return nil, err
	}
	if i.State == "terminated" || i.State == "shutting-down" {
		return nil, fail("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be modified: %s", i.ID, i.State)
	}
	what := map[string]bool{}
	for k := range r.Form {
		first, _, _ := strings.Cut(k, ".")
		switch first {
		case "Action", "Version", "InstanceId", "DryRun":
		default:
			what[first] = true
		}
	}
	if len(what) != 1 {
		return nil, fail("InvalidParameterCombination", "Fields for multiple attribute types specified")
	}
	value := func(name string) (string, bool) {
		v := r.Form.Get(name + ".Value")
		return v, what[name]
	}
	if v, ok := value("DisableApiTermination"); ok {
		if i.Spot {
			return nil, fail("UnsupportedOperation", "You can't enable termination protection for Spot Instances.")
		}
		i.TerminationProtection = v == "true"
	} else if v, ok := value("DisableApiStop"); ok {
		if i.Spot || i.InstanceStore {
			return nil, fail("UnsupportedOperation", "You can't enable stop protection for this instance.")
		}
		i.StopProtection = v == "true"
	} else if v, ok := value("InstanceInitiatedShutdownBehavior"); ok {
		if i.Spot || i.InstanceStore {
			return nil, fail("UnsupportedOperation", "Modifying 'instanceInitiatedShutdownBehavior' is not supported for this instance.")
		}
		i.ShutdownBehavior = v
	} else if what["BlockDeviceMapping"] {
		name := r.Form.Get("BlockDeviceMapping.1.DeviceName")
		n := slices.IndexFunc(i.Devices, func(d *Device) bool { return d.Name == name })
		if n < 0 {
			return nil, fail("InvalidInstanceAttributeValue", "No device is currently mapped at %s", name)
		}
		if i.Devices[n].Managed {
			return nil, fail("OperationNotPermitted", "The volume is managed by a service.")
		}
		i.Devices[n].DeleteOnTermination = r.Form.Get("BlockDeviceMapping.1.Ebs.DeleteOnTermination") == "true"
	} else if what["GroupId"] {
		mine := r.Region.interfacesOf(i.ID)
		if len(mine) > 1 {
			return nil, fail("InvalidInstanceID", "There are multiple interfaces attached to instance '%s'. Please specify an interface ID for the operation instead.", i.ID)
		}
		return nil, r.Region.regroup(mine[0], r.values("GroupId"))
	} else {
		return nil, fail("InvalidParameterValue", "awsfake: no such attribute: %v", slices.Collect(maps.Keys(what)))
	}
	return nil, nil
}

func stopInstances(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId.1"))
	if err != nil {
		return nil, err
	}
	switch {
	case i.StopProtection:
		return nil, fail("OperationNotPermitted", "The instance '%s' may not be stopped. Modify its 'disableApiStop' instance attribute and try again.", i.ID)
	case i.InstanceStore:
		return nil, fail("UnsupportedOperation", "The instance '%s' does not have an 'ebs' root device type and cannot be stopped.", i.ID)
	case i.State != "running" && i.State != "stopped":
		return nil, fail("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be stopped.", i.ID)
	}
	if i.State == "running" {
		i.State = "stopping" // until time passes
	}
	return nil, nil
}

func terminateInstances(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId.1"))
	if err != nil {
		return nil, err
	}
	if i.TerminationProtection {
		return nil, fail("OperationNotPermitted", "The instance '%s' may not be terminated. Modify its 'disableApiTermination' instance attribute and try again.", i.ID)
	}
	if i.State != "terminated" {
		i.State = "shutting-down"
	}
	return nil, nil
}

func startInstances(r *Request) (any, error) {
	i, err := r.instance(r.Form.Get("InstanceId.1"))
	if err != nil {
		return nil, err
	}
	if i.State != "stopped" && i.State != "running" {
		return nil, fail("IncorrectInstanceState", "The instance '%s' is not in a state from which it can be started.", i.ID)
	}
	i.State = "running"
	return nil, nil
}

func describeProfiles(r *Request) (any, error) {
	all := map[string]*Instance{}
	for id, i := range r.Region.Instances {
		if i.Profile != "" && i.State != "terminated" {
			all[id] = i
		}
	}
	found, err := pick(r, all, "AssociationId", "InvalidAssociationID.NotFound", func(i *Instance) attributes {
		return attributes{"instance-id": {i.ID}, "state": {"associated"}}
	})
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, i := range found {
		items = append(items, []X{el("associationId", "iip-assoc-"+i.ID[2:]), el("instanceId", i.ID), el("state", "associated"),
			el("iamInstanceProfile", []X{el("arn", i.Profile), el("id", "AIPA"+i.ID[2:])})})
	}
	return r.pages("iamInstanceProfileAssociationSet", items)
}

// tagged are the resources of CreateTags and DeleteTags, by the beginning of their ids.
func tagged(r *Request) []string {
	kinds := map[string]string{"i": "instance", "sg": "security-group", "acl": "network-acl", "eni": "network-interface", "snap": "snapshot"}
	var arns []string
	for _, id := range r.values("ResourceId") {
		prefix, _, _ := strings.Cut(id, "-")
		arns = append(arns, r.Region.arn(kinds[prefix], id))
	}
	return arns
}

// tagsPerResource is EC2's quota.
const tagsPerResource = 50

func createTags(r *Request) (any, error) {
	for _, id := range r.values("ResourceId") {
		have, err := r.tagsOf(id)
		if err != nil {
			return nil, err
		}
		for k, v := range r.tags("Tag") {
			if _, ok := have[k]; !ok && len(have) >= tagsPerResource {
				return nil, fail("TagLimitExceeded", "The maximum number of Tags for the resource has been reached: %d", tagsPerResource)
			}
			have[k] = v
		}
	}
	return nil, nil
}

func deleteTags(r *Request) (any, error) {
	for _, id := range r.values("ResourceId") {
		have, err := r.tagsOf(id)
		if err != nil {
			return nil, err
		}
		for n := 1; r.Form.Has("Tag." + strconv.Itoa(n) + ".Key"); n++ {
			key := r.Form.Get("Tag." + strconv.Itoa(n) + ".Key")
			// With a value, only a tag that has it.
			if v := "Tag." + strconv.Itoa(n) + ".Value"; !r.Form.Has(v) || r.Form.Get(v) == have[key] {
				delete(have, key)
			}
		}
	}
	return nil, nil
}

func (r *Request) tagsOf(id string) (map[string]string, error) {
	if i := r.Region.Instances[id]; i != nil {
		return i.Tags, nil
	}
	if g := r.Region.Groups[id]; g != nil {
		return g.Tags, nil
	}
	if a := r.Region.ACLs[id]; a != nil {
		return a.Tags, nil
	}
	return nil, &Error{Code: "InvalidID", Message: "The ID '" + id + "' is not valid", Status: http.StatusBadRequest}
}

package inventory

import (
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/hosts"
)

// Is reports whether a selector names the instance.
func (i *Instance) Is(s hosts.Selector) bool {
	return !slices.ContainsFunc(s.Terms, func(t hosts.Term) bool { return i.holds(t) == t.Not })
}

// holds reports whether one of a term's values is the instance's.
func (i *Instance) holds(t hosts.Term) bool {
	any := func(have ...string) bool {
		return slices.ContainsFunc(have, func(h string) bool { return slices.Contains(t.Values, h) })
	}
	switch t.Kind {
	case hosts.ByInstance:
		return any(i.ID)
	case hosts.ByARN:
		return any(i.ARN)
	case hosts.ByAddress:
		return any(i.Private...) || any(i.Public...) || any(i.IPv6...)
	case hosts.ByDNS:
		return any(strings.ToLower(i.PrivateDNS), strings.ToLower(i.PublicDNS))
	case hosts.ByVPC:
		return any(i.VPC)
	case hosts.BySubnet:
		return any(i.Subnets...)
	case hosts.ByImage:
		return any(i.Image.ID)
	case hosts.ByGroup:
		return slices.ContainsFunc(i.Groups, func(g Group) bool { return any(g.ID) })
	case hosts.ByScaling:
		return i.Scaling != nil && t.Like(i.Scaling.Group)
	case hosts.ByProfile:
		return i.Profile != "" && (any(i.Profile) || t.Like(NameOf(i.Profile)))
	case hosts.ByTag:
		v, there := i.Tags[t.Key]
		return there && (len(t.Values) == 0 || t.Like(v))
	}
	return false
}

// Why says why the memory of an instance cannot be captured; empty if it might. self is the id of the instance that this runs on, if any.
func (i *Instance) Why(self string) string {
	switch {
	case i.ID == self && self != "":
		return "this program runs on it: a machine does not capture itself"
	case i.Windows:
		return "it runs Windows, and shotglass reads Linux"
	case i.State == "terminated" || i.State == "shutting-down":
		return "it is " + i.State + ": its memory is gone"
	case i.State == "stopped" || i.State == "stopping":
		return "it is " + i.State + ": its memory is gone, its volumes are not"
	case i.State != "running":
		return "it is " + i.State + ", not running"
	}
	return ""
}

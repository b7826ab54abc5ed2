package ec2connect

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

// Ways in, as hosts.ConnectRules has them.
const (
	WayNone     = "none"
	WayPush     = "push"
	WayEndpoint = "endpoint"
	WaySSM      = "ssm"
	WayAuto     = "auto"
)

// A Place is where this program runs, and what a user said beside the rule.
type Place struct {
	Here inventory.Here
	// Address is the rule for addresses; empty or "auto": the way decides.
	Address string
	// Routed says that the way leads through another host or program.
	Routed bool
	// NoSSM says why Session Manager cannot be used from here; nil: it can.
	NoSSM error
}

// Choose is the way into an instance by a rule, and why that one. An error says why it cannot be.
func Choose(rule string, i *inventory.Instance, p Place) (way, why string, err error) {
	private := p.Address == "" || p.Address == "auto" || p.Address == "private" || p.Address == "ipv6"
	switch rule {
	case "", WayNone:
		return WayNone, "", nil
	case WayPush:
		return WayPush, "as asked" + likely(i), nil
	case WayEndpoint, WaySSM:
		if p.Routed {
			return "", "", fmt.Errorf("%s: the way %s and jump hosts or proxy commands exclude each other", i.ID, rule)
		}
	}
	switch {
	case rule == WayEndpoint && !private, rule == WaySSM && p.Address != "" && p.Address != "auto" && p.Address != "id":
		return "", "", fmt.Errorf("%s: the way %s has no use for the address %q", i.ID, rule, p.Address)
	case rule == WayEndpoint && i.Ways.Endpoint == "":
		return "", "", fmt.Errorf("%s: %s has no endpoint of EC2 Instance Connect that can be used%s", i.ID, i.VPC, unknown(i, "endpoint"))
	case rule == WayEndpoint:
		return WayEndpoint, "as asked: " + i.Ways.Endpoint + likely(i), nil
	case rule == WaySSM && p.NoSSM != nil:
		return "", "", fmt.Errorf("%s: the way ssm: %w", i.ID, p.NoSSM)
	case rule == WaySSM && i.Ways.SSM == "" && unknown(i, "Systems Manager") == "":
		return "", "", fmt.Errorf("%s: Systems Manager does not manage it", i.ID)
	case rule == WaySSM:
		return WaySSM, "as asked; its agent: " + cmp.Or(i.Ways.SSM, "not known"), nil
	}
	switch {
	case p.Routed:
		return WayPush, "auto: the way leads through another host" + likely(i), nil
	case p.Address == "public" || p.Address == "dns" || p.Address == "id":
		return WayPush, "auto: by the address that you asked for" + likely(i), nil
	case p.Here.VPC != "" && p.Here.VPC == i.VPC:
		return WayPush, "auto: this machine is in the same VPC" + likely(i), nil
	case len(i.Public) > 0 && p.Address != "private":
		return WayPush, "auto: it has a public address" + likely(i), nil
	case i.Ways.Endpoint != "":
		return WayEndpoint, "auto: it has no public address, its VPC has " + i.Ways.Endpoint + likely(i), nil
	case i.Ways.SSM == "Online" && p.NoSSM == nil:
		return WaySSM, "auto: it has neither a public address nor an endpoint in its VPC, and Systems Manager manages it", nil
	}
	return WayPush, "auto: it has no public address, no endpoint and no agent that could be used; this machine may have a route" + unknown(i, "endpoint") + likely(i), nil
}

// likely says whether the image takes pushed keys.
func likely(i *inventory.Instance) string {
	if i.Ways.Push == "" {
		return "; whether its image has ec2-instance-connect is not known"
	}
	return ""
}

// unknown is what could not be read about a way.
func unknown(i *inventory.Instance, about string) string {
	for _, u := range i.Unknown {
		if strings.Contains(u, about) {
			return " (not known: " + u + ")"
		}
	}
	return ""
}

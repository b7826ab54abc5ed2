package ec2

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// What to do about connections that stay tracked.
const hardCut = "look whether connections live on; cut by --deny-address, --cut nacl-subnet or --cut stop"

// residuals are the ways that the two groups leave open, as far as they can be read. EC2's guide lists those
// on which connections are tracked whatever the groups say ("Automatically tracked connections").
func (f *facts) residuals(t containment.Target, o containment.Options) []containment.Residual {
	all := slices.Clone(f.unread)
	add := func(path, what, do string) {
		all = append(all, containment.Residual{Path: path, What: what, Do: do})
	}
	for _, subnet := range sorted(keys(f.routes)) {
		for _, r := range f.routes[subnet] {
			if r.State == types.RouteStateBlackhole {
				continue
			}
			if path, via := tracks(r); path != "" {
				to := aws.ToString(r.DestinationCidrBlock) + aws.ToString(r.DestinationIpv6CidrBlock) + aws.ToString(r.DestinationPrefixListId)
				add(path, fmt.Sprintf("%s sends %s through %s: connections there are always tracked, and live on while they send a packet each 60 s", subnet, to, via), hardCut)
			}
		}
	}
	for _, e := range f.endpoints {
		kind := string(e.VpcEndpointType)
		if strings.EqualFold(kind, "Interface") || strings.EqualFold(kind, "Gateway") && strings.HasSuffix(aws.ToString(e.ServiceName), ".dynamodb") {
			add("privatelink", fmt.Sprintf("%s has the endpoint %s of %s: connections to it are always tracked", aws.ToString(e.VpcId), aws.ToString(e.VpcEndpointId), aws.ToString(e.ServiceName)), hardCut)
		}
	}
	for _, target := range f.targets {
		if target.network {
			add("network-load-balancer", fmt.Sprintf("%s:%d is behind a Network Load Balancer: connections through it are always tracked", target.id, target.port), hardCut)
		}
	}
	for _, s := range f.secondary {
		add("secondary-interface", fmt.Sprintf("%s is a secondary interface, which has no security groups", aws.ToString(s.SecondaryInterfaceId)), "cut by --cut stop, or detach it")
	}
	for _, e := range f.interfaces {
		if e.InterfaceType == types.NetworkInterfaceTypeEfaOnly {
			add("efa-only", fmt.Sprintf("%s is an interface for EFA alone, whose groups are left as they are", aws.ToString(e.NetworkInterfaceId)), "cut by --cut stop")
		}
	}
	if d := f.scaling; d != nil {
		if now := lifecycle(d); now != inService && now != inStandby { // of a warm pool, on its way out, or detaching
			group := aws.ToString(d.AutoScalingGroupName)
			add("auto-scaling", fmt.Sprintf("%s is in the state %s of the Auto Scaling group %s, which cannot be changed to standby: the group may end it, whatever protects it from the API", t.Name, now, group),
				"aws autoscaling suspend-processes --auto-scaling-group-name "+word(group)+" --scaling-processes Terminate ReplaceUnhealthy, and resume-processes after the release")
		}
	}
	if f.kind.xen {
		add("xen", fmt.Sprintf("the type %s is no Nitro one: idle timeouts cannot be set, and an idle connection may live for five days", f.instance.InstanceType), hardCut)
	}
	if len(f.lost) > 0 {
		add("credentials", "the instance profile "+strings.Join(f.lost, ", ")+" was deleted: credentials of its role are not denied", "find the role in CloudTrail, and contain it")
	}
	all = append(all, containment.Residual{Path: "dns", Known: true,
		What: "queries to the Route 53 Resolver, and the metadata service, pass every security group and network ACL: a tunnel through DNS stays open",
		Do:   "block with a Resolver DNS Firewall rule group on the VPC, or --cut stop"})
	if len(f.roles) > 0 && !slices.Contains(o.Without, containment.Lock) {
		all = append(all, containment.Residual{Path: "assumed-roles", Known: true,
			What: "sessions of other roles that were assumed with the instance's credentials, and keys on its disk, are not denied",
			Do:   "look for AssumeRole by " + t.Name + " in CloudTrail, and contain those roles and users"})
	}
	return all
}

// word is a word for a POSIX shell. Who may make an Auto Scaling group chooses what stands in its name.
func word(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// tracks names the gateways on whose way connections are always tracked. Older copies of the guide name
// transit gateways and Gateway Load Balancers too; to report one too many is the better mistake.
func tracks(r types.Route) (path, via string) {
	switch {
	case r.NatGatewayId != nil:
		return "nat-gateway", *r.NatGatewayId
	case r.EgressOnlyInternetGatewayId != nil:
		return "egress-only-internet-gateway", *r.EgressOnlyInternetGatewayId
	case r.TransitGatewayId != nil:
		return "transit-gateway", *r.TransitGatewayId
	case strings.HasPrefix(aws.ToString(r.GatewayId), "vpce-") && r.DestinationPrefixListId == nil:
		return "gateway-endpoint", *r.GatewayId // of a Gateway Load Balancer, or of Network Firewall
	}
	return "", ""
}

func keys[T any](m map[string]T) map[string]bool {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}

// evidence is the target as EC2 describes it, before any change. What is empty is left out.
func (f *facts) evidence() (json.RawMessage, error) {
	b, err := json.Marshal(map[string]any{"instance": f.instance, "interfaces": f.interfaces, "rules": f.rules, "routes": f.routes, "secondary_interfaces": f.secondary})
	if err != nil {
		return nil, fmt.Errorf("encode what EC2 tells of the instance: %w", err)
	}
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	return json.Marshal(prune(v))
}

// prune drops what is null, empty or an empty string, which is most of what EC2's types hold.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = prune(x); x == nil || x == "" {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		if len(v) == 0 {
			return nil
		}
		for n := range v {
			v[n] = prune(v[n])
		}
	}
	return v
}

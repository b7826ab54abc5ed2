package awsfake

// classicVersion is that of the API of Classic Load Balancers, whose service has the same name as that of the others.
const classicVersion = "2012-06-01"

// classicOr is an operation that both APIs of the service know.
func classicOr(classic, other operation) operation {
	pick := func(r *Request) operation {
		if r.Form.Get("Version") == classicVersion {
			return classic
		}
		return other
	}
	return operation{
		do: func(r *Request) (any, error) { return pick(r).do(r) },
		on: func(r *Request) []string {
			if on := pick(r).on; on != nil {
				return on(r)
			}
			return []string{"*"}
		},
	}
}

// classicOps are the calls about Classic Load Balancers, which are Posture.Classic.
var classicOps = map[string]operation{
	"DescribeLoadBalancers": {do: func(r *Request) (any, error) {
		var items [][]X
		for _, name := range sorted(r.Region.Posture.Classic) {
			items = append(items, []X{el("LoadBalancerName", name), el("Scheme", "internet-facing")})
		}
		return queryPage(r, "LoadBalancerDescriptions", "member", "Marker", "NextMarker", items), nil
	}},
	"DescribeLoadBalancerAttributes": {on: func(r *Request) []string {
		return []string{"arn:" + r.Account.partition() + ":elasticloadbalancing:" + r.Region.Name + ":" + r.Account.ID + ":loadbalancer/" + r.Form.Get("LoadBalancerName")}
	}, do: func(r *Request) (any, error) {
		logged, ok := r.Region.Posture.Classic[r.Form.Get("LoadBalancerName")]
		if !ok {
			return nil, fail("LoadBalancerNotFound", "There is no ACTIVE Load Balancer named '%s'", r.Form.Get("LoadBalancerName"))
		}
		return []X{el("LoadBalancerAttributes", []X{el("AccessLog", []X{el("Enabled", logged)}), el("CrossZoneLoadBalancing", []X{el("Enabled", false)})})}, nil
	}},
}

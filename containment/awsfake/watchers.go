package awsfake

import (
	"encoding/json"
	"strings"
)

// recorderService is AWS Config.
func recorderService() *service {
	return &service{prefix: "config", proto: targetJSON, ops: map[string]operation{"DescribeConfigurationRecorderStatus": {do: func(r *Request) (any, error) {
		list := []map[string]any{}
		for _, c := range r.Region.Posture.Recorders {
			list = append(list, map[string]any{"name": c.Name, "recording": c.Recording, "lastStatus": c.Status})
		}
		return map[string]any{"ConfigurationRecordersStatus": list}, nil
	}}}}
}

// detectorService is GuardDuty.
func detectorService() *service {
	return &service{prefix: "guardduty", proto: restJSON, ops: map[string]operation{
		"ListDetectors": {do: func(r *Request) (any, error) {
			return map[string]any{"detectorIds": append([]string{}, sorted(r.Region.Posture.Detectors)...)}, nil
		}},
		"GetDetector": {do: func(r *Request) (any, error) {
			status, ok := r.Region.Posture.Detectors[r.Path["id"]]
			if !ok {
				return nil, fail("BadRequestException", "The request is rejected because the input detectorId is not owned by the current account.")
			}
			features := []map[string]string{}
			for _, name := range sorted(r.Region.Posture.Features) {
				features = append(features, map[string]string{"name": name, "status": r.Region.Posture.Features[name]})
			}
			return map[string]any{"status": status, "serviceRole": "arn:aws:iam::" + r.Account.ID + ":role/guardduty", "features": features}, nil
		}},
	}, route: func(r *Request) string {
		path := strings.Split(strings.Trim(r.HTTP.URL.Path, "/"), "/")
		switch {
		case r.HTTP.Method == "GET" && len(path) == 1 && path[0] == "detector":
			return "ListDetectors"
		case r.HTTP.Method == "GET" && len(path) == 2 && path[0] == "detector":
			r.Path = map[string]string{"id": path[1]}
			return "GetDetector"
		}
		return r.HTTP.Method + " " + r.HTTP.URL.Path
	}}
}

// resolverService is the resolver of Route 53.
func resolverService() *service {
	list := func(what, token string, of func(*Posture) map[string]string, one func(vpc, status string) map[string]string) operation {
		return operation{do: func(r *Request) (any, error) {
			all := []map[string]string{}
			for _, vpc := range sorted(of(&r.Region.Posture)) {
				all = append(all, one(vpc, of(&r.Region.Posture)[vpc]))
			}
			page, next, err := jsonPage(r, all, "MaxResults", token)
			if err != nil {
				return nil, err
			}
			out := map[string]any{what: page}
			if next != "" {
				out[token] = next
			}
			return out, nil
		}}
	}
	return &service{prefix: "route53resolver", proto: targetJSON, ops: map[string]operation{
		"ListResolverQueryLogConfigAssociations": list("ResolverQueryLogConfigAssociations", "NextToken", func(p *Posture) map[string]string { return p.QueryLogs }, func(vpc, status string) map[string]string {
			return map[string]string{"ResourceId": vpc, "Status": status, "ResolverQueryLogConfigId": "rqlc-1"}
		}),
		"ListFirewallRuleGroupAssociations": list("FirewallRuleGroupAssociations", "NextToken", func(p *Posture) map[string]string { return p.Firewalls }, func(vpc, status string) map[string]string {
			return map[string]string{"VpcId": vpc, "Status": status, "FirewallRuleGroupId": "rslvr-frg-1"}
		}),
	}}
}

// documentOps are Systems Manager's calls about documents.
var documentOps = map[string]operation{"GetDocument": {do: func(r *Request) (any, error) {
	var in struct{ Name string }
	if err := json.Unmarshal(r.Body, &in); err != nil {
		return nil, fail("SerializationException", "%v", err)
	}
	content, ok := r.Region.Posture.Documents[in.Name]
	if !ok {
		return nil, fail("InvalidDocument", "Document with name %s does not exist.", in.Name)
	}
	return map[string]any{"Name": in.Name, "Content": content, "DocumentFormat": "JSON"}, nil
}}}

// balancerOps are Elastic Load Balancing's calls about the balancers themselves.
var balancerOps = map[string]operation{
	"DescribeLoadBalancers": classicOr(classicOps["DescribeLoadBalancers"], operation{do: func(r *Request) (any, error) {
		var items [][]X
		for _, name := range sorted(r.Region.Posture.Balancers) {
			items = append(items, []X{el("LoadBalancerArn", r.balancer(name)), el("LoadBalancerName", name), el("Type", "application")})
		}
		return queryPage(r, "LoadBalancers", "member", "Marker", "NextMarker", items), nil
	}}),
	"DescribeLoadBalancerAttributes": classicOr(classicOps["DescribeLoadBalancerAttributes"], operation{on: func(r *Request) []string { return []string{r.Form.Get("LoadBalancerArn")} }, do: func(r *Request) (any, error) {
		for name, attributes := range r.Region.Posture.Balancers {
			if r.balancer(name) == r.Form.Get("LoadBalancerArn") {
				var items [][]X
				for _, k := range sorted(attributes) {
					items = append(items, []X{el("Key", k), el("Value", attributes[k])})
				}
				return []X{members("Attributes", items...)}, nil
			}
		}
		return nil, fail("LoadBalancerNotFound", "Load balancer '%s' not found", r.Form.Get("LoadBalancerArn"))
	}}),
}

func (r *Request) balancer(name string) string {
	return "arn:aws:elasticloadbalancing:" + r.Region.Name + ":" + r.Account.ID + ":loadbalancer/app/" + name + "/1"
}

// scalingGroupOps are Auto Scaling's calls about groups.
var scalingGroupOps = map[string]operation{"DescribeAutoScalingGroups": {do: func(r *Request) (any, error) {
	var items [][]X
	for _, name := range sorted(r.Region.Scaling) {
		g := r.Region.Scaling[name]
		items = append(items, []X{el("AutoScalingGroupName", name), el("MinSize", g.Min), el("MaxSize", g.Max), el("DesiredCapacity", g.Desired)})
	}
	return queryPage(r, "AutoScalingGroups", "member", "NextToken", "NextToken", items), nil
}}}

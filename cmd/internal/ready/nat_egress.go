package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// tracking are what a route can lead through that keeps connections tracked whatever the groups say, by how their ids begin.
var tracking = map[string]string{"nat-": "a NAT gateway", "eigw-": "an egress-only gateway", "tgw-": "a transit gateway", "vpce-": "an endpoint of a firewall"}

var natEgress = Check{
	ID: "nat-egress", Title: "connections out of the subnets with instances can be cut by security groups",
	Why:      "Connections through a NAT gateway stay tracked, so that a change of groups does not cut what is open: an implant that sends more often than once a minute stays connected. Know now where a network ACL will be needed.",
	Severity: Low,
	Fix:      "there is nothing to change: plan for shotglass contain --cut nacl-subnet or --deny-address there; docs/containment-ec2.md",
	Actions:  []string{"ec2:DescribeInstances", "ec2:DescribeRouteTables"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		all, err := s.running(ctx)
		if err != nil {
			return nil, err
		}
		inVPC := map[string]string{} // by subnet
		var subnets []string
		for _, i := range all {
			for _, n := range i.Subnets {
				if inVPC[n] == "" {
					inVPC[n] = i.VPC
					subnets = append(subnets, n)
				}
			}
		}
		if len(subnets) == 0 {
			return nil, nil
		}
		tables, err := pages(ctx, ec2.NewDescribeRouteTablesPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeRouteTablesInput{MaxResults: aws.Int32(100)}),
			func(o *ec2.DescribeRouteTablesOutput) []types.RouteTable { return o.RouteTables })
		if err != nil {
			return nil, err
		}
		slices.Sort(subnets)
		var list []Finding
		for _, subnet := range subnets {
			list = append(list, judgeRoutes(subnet, inVPC[subnet], tables))
		}
		return list, nil
	},
}

// judgeRoutes looks for a route out of a subnet that keeps connections tracked.
func judgeRoutes(subnet, vpc string, tables []types.RouteTable) Finding {
	var own, main *types.RouteTable
	for n, t := range tables {
		for _, a := range t.Associations {
			if aws.ToString(a.SubnetId) == subnet {
				own = &tables[n]
			}
			if aws.ToBool(a.Main) && aws.ToString(t.VpcId) == vpc {
				main = &tables[n]
			}
		}
	}
	if own == nil {
		own = main
	}
	if own == nil {
		return Finding{State: Unknown, Resource: subnet, Cause: Failed, Detail: "its route table is not among those that you may see"}
	}
	for _, r := range own.Routes {
		if r.State == types.RouteStateBlackhole {
			continue
		}
		for _, via := range []*string{r.NatGatewayId, r.EgressOnlyInternetGatewayId, r.TransitGatewayId, r.GatewayId} {
			for prefix, what := range tracking {
				to := aws.ToString(r.DestinationCidrBlock) + aws.ToString(r.DestinationIpv6CidrBlock)
				if strings.HasPrefix(aws.ToString(via), prefix) && to != "" { // those of gateway endpoints lead to lists of prefixes
					return fail(subnet, "its route to %s leads through %s, %s", to, what, *via)
				}
			}
		}
	}
	return pass(subnet, "no route keeps connections tracked")
}

package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver"
	"github.com/aws/aws-sdk-go-v2/service/route53resolver/types"
)

var resolverLogs = Check{
	ID: "dns-logs", Title: "the DNS queries of every VPC that is in use are logged",
	Why:      "Command and control, and tunnels out of isolated hosts, go over DNS: no security group and no network ACL stops queries to the VPC's resolver, and flow logs leave them out.",
	Severity: Medium,
	Fix:      "aws route53resolver associate-resolver-query-log-config --resolver-query-log-config-id ID --resource-id {resource} --region {region}",
	Actions:  []string{"ec2:DescribeVpcs", "ec2:DescribeNetworkInterfaces", "route53resolver:ListResolverQueryLogConfigAssociations"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.perVPC(ctx, "none is logged", func(ctx context.Context) (map[string]Finding, error) {
			pager := route53resolver.NewListResolverQueryLogConfigAssociationsPaginator(route53resolver.NewFromConfig(s.Config), &route53resolver.ListResolverQueryLogConfigAssociationsInput{MaxResults: aws.Int32(100)})
			all, err := pages(ctx, pager, func(o *route53resolver.ListResolverQueryLogConfigAssociationsOutput) []types.ResolverQueryLogConfigAssociation {
				return o.ResolverQueryLogConfigAssociations
			})
			by := map[string]Finding{}
			for _, a := range all {
				vpc := aws.ToString(a.ResourceId)
				switch {
				case a.Status == types.ResolverQueryLogConfigAssociationStatusActive:
					by[vpc] = pass(vpc, "by %s", aws.ToString(a.ResolverQueryLogConfigId))
				case by[vpc].State != Pass:
					by[vpc] = fail(vpc, "%s is %s: %s", aws.ToString(a.ResolverQueryLogConfigId), a.Status, aws.ToString(a.ErrorMessage))
				}
			}
			return by, err
		})
	},
}

var dnsFirewall = Check{
	ID: "dns-firewall", Title: "every VPC that is in use has a DNS Firewall",
	Why:      "An isolated instance can still send data out in DNS queries. The firewall is the only thing in AWS that stops them, and it must be there before it can be told to.",
	Severity: Low,
	Fix:      "aws route53resolver associate-firewall-rule-group --firewall-rule-group-id ID --vpc-id {resource} --priority 101 --name incident --region {region}",
	Actions:  []string{"ec2:DescribeVpcs", "ec2:DescribeNetworkInterfaces", "route53resolver:ListFirewallRuleGroupAssociations"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		return s.perVPC(ctx, "it has none", func(ctx context.Context) (map[string]Finding, error) {
			pager := route53resolver.NewListFirewallRuleGroupAssociationsPaginator(route53resolver.NewFromConfig(s.Config), &route53resolver.ListFirewallRuleGroupAssociationsInput{MaxResults: aws.Int32(100)})
			all, err := pages(ctx, pager, func(o *route53resolver.ListFirewallRuleGroupAssociationsOutput) []types.FirewallRuleGroupAssociation {
				return o.FirewallRuleGroupAssociations
			})
			by := map[string]Finding{}
			for _, a := range all {
				vpc := aws.ToString(a.VpcId)
				switch {
				case a.Status == types.FirewallRuleGroupAssociationStatusComplete:
					by[vpc] = pass(vpc, "by %s", aws.ToString(a.FirewallRuleGroupId))
				case by[vpc].State != Pass:
					by[vpc] = fail(vpc, "%s is %s", aws.ToString(a.FirewallRuleGroupId), a.Status)
				}
			}
			return by, err
		})
	},
}

// perVPC has a finding for each VPC that is in use, of what is found by VPC, or that there is none.
func (s *Site) perVPC(ctx context.Context, none string, find func(context.Context) (map[string]Finding, error)) (list []Finding, err error) {
	vpcs, err := s.vpcs(ctx)
	if err != nil || len(vpcs) == 0 {
		return nil, err
	}
	by, err := find(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range vpcs {
		f, ok := by[v.id]
		switch {
		case ok:
			list = append(list, v.orShared(f))
		case v.used:
			list = append(list, v.orShared(fail(v.id, "%s", none)))
		default:
			list = append(list, without(v.id, "nothing is in it"))
		}
	}
	return list, nil
}

package ready

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/cmd/internal/inventory"
)

const (
	sshPort       = 22
	groupsAtOnce  = 200 // values of a filter
	rulesAtOnce   = 1000
	sourcesNamed  = 3 // of those that are let in
	allProtocols  = "-1"
	allPortsOfAPI = -1
)

var sshPath = Check{
	ID: "ssh-path", Title: "the security groups of the running instances let SSH in from somewhere",
	Why:      "Memory is captured over SSH. Where no group lets it in, a rule must be added to a compromised host in the middle of the case, by somebody who may, and who finds out what is behind that group.",
	Severity: Medium,
	Fix:      "aws ec2 authorize-security-group-ingress --group-id GROUP_OF_{resource} --protocol tcp --port 22 --source-group GROUP_OF_ENDPOINT_OR_FORENSIC_HOST --region {region}",
	Actions:  []string{"ec2:DescribeInstances", "ec2:DescribeSecurityGroupRules"},
	Look: func(ctx context.Context, s *Site) (list []Finding, err error) {
		all, err := s.running(ctx)
		if err != nil || len(all) == 0 {
			return nil, err
		}
		var groups []string
		for _, i := range all {
			for _, g := range i.Groups {
				if !slices.Contains(groups, g.ID) {
					groups = append(groups, g.ID)
				}
			}
		}
		from := map[string][]string{} // by group
		for chunk := range slices.Chunk(groups, groupsAtOnce) {
			pager := ec2.NewDescribeSecurityGroupRulesPaginator(ec2.NewFromConfig(s.Config), &ec2.DescribeSecurityGroupRulesInput{
				Filters: []types.Filter{{Name: aws.String("group-id"), Values: chunk}}, MaxResults: aws.Int32(rulesAtOnce)})
			rules, err := pages(ctx, pager, func(o *ec2.DescribeSecurityGroupRulesOutput) []types.SecurityGroupRule { return o.SecurityGroupRules })
			if err != nil {
				return nil, err
			}
			for _, r := range rules {
				if source := letsSSH(r); source != "" {
					from[aws.ToString(r.GroupId)] = append(from[aws.ToString(r.GroupId)], source)
				}
			}
		}
		for _, i := range all {
			var sources []string
			for _, g := range i.Groups {
				sources = append(sources, from[g.ID]...)
			}
			slices.Sort(sources)
			switch sources = slices.Compact(sources); {
			case i.Windows:
				list = append(list, without(i.ID, "it runs Windows"))
			case len(sources) == 0:
				list = append(list, fail(i.ID, "none of its %d groups lets tcp/22 in", len(i.Groups)))
			case len(sources) == 1 && slices.ContainsFunc(i.Groups, func(g inventory.Group) bool { return g.ID == sources[0] }):
				list = append(list, pass(i.ID, "from its own group %s alone: what captures it must be in that group", sources[0]))
			case len(sources) > sourcesNamed:
				list = append(list, pass(i.ID, "from %s and %d others", strings.Join(sources[:sourcesNamed], ", "), len(sources)-sourcesNamed))
			default:
				list = append(list, pass(i.ID, "from %s", strings.Join(sources, ", ")))
			}
		}
		return list, nil
	},
}

// letsSSH is whom a rule lets in on the port of SSH; empty: nobody.
func letsSSH(r types.SecurityGroupRule) string {
	protocol, low, high := aws.ToString(r.IpProtocol), int(aws.ToInt32(r.FromPort)), int(aws.ToInt32(r.ToPort))
	port := protocol == allProtocols || (protocol == "tcp" || protocol == "6") && (low == allPortsOfAPI || low <= sshPort && sshPort <= high)
	if aws.ToBool(r.IsEgress) || !port {
		return ""
	}
	group := ""
	if g := r.ReferencedGroupInfo; g != nil {
		group = aws.ToString(g.GroupId)
	}
	return cmp.Or(aws.ToString(r.CidrIpv4), aws.ToString(r.CidrIpv6), group, aws.ToString(r.PrefixListId), fmt.Sprintf("rule %s", aws.ToString(r.SecurityGroupRuleId)))
}

package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall"
	"github.com/aws/aws-sdk-go-v2/service/networkfirewall/types"
)

var firewallLogs = Check{
	ID: "firewall-logs", Title: "Network Firewall logs flows and alerts",
	Why:      "It sees what leaves the network by name, as the server that TLS asks for, which flow logs do not have. A firewall that drops in silence says neither who tried nor since when.",
	Severity: Medium, Prowler: "networkfirewall_logging_enabled",
	Fix:     `aws network-firewall update-logging-configuration --firewall-arn {resource} --logging-configuration '{"LogDestinationConfigs":[{"LogType":"FLOW","LogDestinationType":"S3","LogDestination":{"bucketName":"BUCKET"}}]}' --region {region}, and then with ALERT beside it: one kind at a time`,
	Actions: []string{"network-firewall:ListFirewalls", "network-firewall:DescribeLoggingConfiguration"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := networkfirewall.NewFromConfig(s.Config)
		all, err := pages(ctx, networkfirewall.NewListFirewallsPaginator(api, &networkfirewall.ListFirewallsInput{MaxResults: aws.Int32(100)}), func(o *networkfirewall.ListFirewallsOutput) []types.FirewallMetadata { return o.Firewalls })
		return each(ctx, all, func(ctx context.Context, f types.FirewallMetadata) Finding {
			arn := aws.ToString(f.FirewallArn)
			out, err := api.DescribeLoggingConfiguration(ctx, &networkfirewall.DescribeLoggingConfigurationInput{FirewallArn: f.FirewallArn})
			if err != nil {
				return unknown(arn, err)
			}
			var off []string
			for _, kind := range []types.LogType{types.LogTypeFlow, types.LogTypeAlert} {
				if out.LoggingConfiguration == nil || !slices.ContainsFunc(out.LoggingConfiguration.LogDestinationConfigs, func(d types.LogDestinationConfig) bool { return d.LogType == kind }) {
					off = append(off, string(kind))
				}
			}
			if len(off) > 0 {
				return fail(arn, "off: %s", strings.Join(off, ", "))
			}
			return pass(arn, "on")
		}), err
	},
}

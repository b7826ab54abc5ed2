package ready

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eks"
	"github.com/aws/aws-sdk-go-v2/service/eks/types"
)

// telling are the control plane's logs that say who did what. Those of the scheduler and of the controllers say what the cluster did itself.
var telling = []types.LogType{types.LogTypeApi, types.LogTypeAudit, types.LogTypeAuthenticator}

var clusterLogs = Check{
	ID: "eks-logs", Title: "EKS clusters log who called their API, and as whom",
	Why:      "Who started a pod, read a secret or ran a command in a container is in the audit log of the cluster's API and nowhere else: CloudTrail sees none of it, and the nodes are gone with the next scaling.",
	Severity: High, Prowler: "eks_control_plane_logging_all_types_enabled",
	Fix:     `aws eks update-cluster-config --name {resource} --logging '{"clusterLogging":[{"types":["api","audit","authenticator"],"enabled":true}]}' --region {region}`,
	Actions: []string{"eks:ListClusters", "eks:DescribeCluster"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := eks.NewFromConfig(s.Config)
		names, err := pages(ctx, eks.NewListClustersPaginator(api, &eks.ListClustersInput{MaxResults: aws.Int32(100)}), func(o *eks.ListClustersOutput) []string { return o.Clusters })
		return each(ctx, names, func(ctx context.Context, name string) Finding {
			out, err := api.DescribeCluster(ctx, &eks.DescribeClusterInput{Name: &name})
			if err != nil {
				return unknown(name, err)
			}
			var on []types.LogType
			if l := out.Cluster.Logging; l != nil {
				for _, set := range l.ClusterLogging {
					if aws.ToBool(set.Enabled) {
						on = append(on, set.Types...)
					}
				}
			}
			var off []string
			for _, kind := range telling {
				if !slices.Contains(on, kind) {
					off = append(off, string(kind))
				}
			}
			if len(off) > 0 {
				return fail(name, "off: %s", strings.Join(off, ", "))
			}
			return pass(name, "on")
		}), err
	},
}

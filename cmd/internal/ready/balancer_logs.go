package ready

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"
)

var balancerLogs = Check{
	ID: "balancer-logs", Title: "application load balancers write access logs",
	Why:      "How a web server was broken into is in its requests. Those that the host keeps are the attacker's to delete; those of the balancer in front of it are not.",
	Severity: Medium, Prowler: "elbv2_logging_enabled",
	Fix:     "aws elbv2 modify-load-balancer-attributes --load-balancer-arn {resource} --attributes Key=access_logs.s3.enabled,Value=true Key=access_logs.s3.bucket,Value=BUCKET --region {region}",
	Actions: []string{"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := elb.NewFromConfig(s.Config)
		all, err := pages(ctx, elb.NewDescribeLoadBalancersPaginator(api, &elb.DescribeLoadBalancersInput{PageSize: aws.Int32(400)}), func(o *elb.DescribeLoadBalancersOutput) []types.LoadBalancer { return o.LoadBalancers })
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(b types.LoadBalancer) bool { return b.Type != types.LoadBalancerTypeEnumApplication })
		return each(ctx, all, func(ctx context.Context, b types.LoadBalancer) Finding {
			arn := aws.ToString(b.LoadBalancerArn)
			out, err := api.DescribeLoadBalancerAttributes(ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerArn: b.LoadBalancerArn})
			if err != nil {
				return unknown(arn, err)
			}
			for _, a := range out.Attributes {
				if aws.ToString(a.Key) == "access_logs.s3.enabled" && aws.ToString(a.Value) == "true" {
					return pass(arn, "on")
				}
			}
			return fail(arn, "off")
		}), nil
	},
}

package ready

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancing/types"
)

var classicBalancerLogs = Check{
	ID: "classic-balancer-logs", Title: "Classic Load Balancers write access logs",
	Why:      "What is old is broken into first, and old applications stand behind these balancers. Theirs is another API than that of the others: who looks at those alone does not see them.",
	Severity: Medium, Prowler: "elb_logging_enabled",
	Fix:     `aws elb modify-load-balancer-attributes --load-balancer-name {resource} --load-balancer-attributes '{"AccessLog":{"Enabled":true,"S3BucketName":"BUCKET","EmitInterval":5}}' --region {region}`,
	Actions: []string{"elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes"},
	Look: func(ctx context.Context, s *Site) ([]Finding, error) {
		api := elb.NewFromConfig(s.Config)
		all, err := pages(ctx, elb.NewDescribeLoadBalancersPaginator(api, &elb.DescribeLoadBalancersInput{PageSize: aws.Int32(400)}),
			func(o *elb.DescribeLoadBalancersOutput) []types.LoadBalancerDescription {
				return o.LoadBalancerDescriptions
			})
		return each(ctx, all, func(ctx context.Context, b types.LoadBalancerDescription) Finding {
			name := aws.ToString(b.LoadBalancerName)
			out, err := api.DescribeLoadBalancerAttributes(ctx, &elb.DescribeLoadBalancerAttributesInput{LoadBalancerName: b.LoadBalancerName})
			switch {
			case err != nil:
				return unknown(name, err)
			case out.LoadBalancerAttributes != nil && out.LoadBalancerAttributes.AccessLog != nil && out.LoadBalancerAttributes.AccessLog.Enabled:
				return pass(name, "on")
			}
			return fail(name, "off")
		}), err
	},
}

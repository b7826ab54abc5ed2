package ec2

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/autoscaling"
	autoscalingtypes "github.com/aws/aws-sdk-go-v2/service/autoscaling/types"
	elb "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"
	elbtypes "github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2/types"

	"github.com/shotglass-ir/shotglass/containment"
)

// The states of an instance in an Auto Scaling group that matter here. On the way to one it counts as there:
// Auto Scaling checks its health no more as soon as it enters standby.
const (
	inService = "InService"
	inStandby = "Standby"
)

// scalingOf describes the instance in its Auto Scaling group; nil: it is in none.
func (c *conn) scalingOf(ctx context.Context, instance string) (*autoscalingtypes.AutoScalingInstanceDetails, error) {
	out, err := c.scaling.DescribeAutoScalingInstances(ctx, &autoscaling.DescribeAutoScalingInstancesInput{InstanceIds: []string{instance}})
	if err != nil {
		return nil, failed("autoscaling:DescribeAutoScalingInstances", err)
	}
	if len(out.AutoScalingInstances) == 0 {
		return nil, nil
	}
	return &out.AutoScalingInstances[0], nil
}

func lifecycle(d *autoscalingtypes.AutoScalingInstanceDetails) string {
	s := aws.ToString(d.LifecycleState)
	switch {
	case s == "EnteringStandby":
		return inStandby
	case s == "Pending", strings.HasPrefix(s, "Pending:"):
		return inService
	}
	return s
}

func readScaling(ctx context.Context, c *conn, id string) (containment.State, error) {
	instance, group, _ := strings.Cut(id, "/")
	d, err := c.scalingOf(ctx, instance)
	if err != nil {
		return nil, err
	}
	if d == nil || aws.ToString(d.AutoScalingGroupName) != group {
		return nil, gone("the place of " + instance + " in the Auto Scaling group " + group)
	}
	return state(lifecycle(d)), nil
}

// setScaling puts the instance into standby, and has Auto Scaling start another in its place; or back into service.
func setScaling(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	instance, group, _ := strings.Cut(id, "/")
	want, err := decode[string](to)
	if err != nil {
		return containment.Reply{}, err
	}
	switch want {
	case inStandby:
		out, err := c.scaling.EnterStandby(ctx, &autoscaling.EnterStandbyInput{
			AutoScalingGroupName: &group, InstanceIds: []string{instance}, ShouldDecrementDesiredCapacity: aws.Bool(false),
		})
		if err != nil {
			return containment.Reply{}, failed("autoscaling:EnterStandby", err)
		}
		return reply(out.ResultMetadata, "Auto Scaling starts another instance in its place"), nil
	case inService:
		out, err := c.scaling.ExitStandby(ctx, &autoscaling.ExitStandbyInput{AutoScalingGroupName: &group, InstanceIds: []string{instance}})
		if err != nil {
			return containment.Reply{}, failed("autoscaling:ExitStandby", err)
		}
		return reply(out.ResultMetadata, "the group's desired capacity is one higher than before: the instance that was started in its place runs on"), nil
	}
	return containment.Reply{}, fmt.Errorf("an instance cannot be put into the state %q of Auto Scaling", want)
}

// A target is where an instance is registered with a load balancer.
type target struct {
	group    string // ARN
	id       string // what it is registered as: the instance's id, or one of its addresses
	port     int32
	network  bool // behind a Network Load Balancer, which keeps connections tracked
	draining bool
}

func (t target) itemID() string { return t.id + "/" + strconv.Itoa(int(t.port)) + "/" + t.group }

// targetsOf are the registrations of some ids in a VPC. There is no call that tells them: all target groups are asked.
func (c *conn) targetsOf(ctx context.Context, vpcs map[string]bool, ids map[string]bool) ([]target, error) {
	var found []target
	pages := elb.NewDescribeTargetGroupsPaginator(c.balancing, &elb.DescribeTargetGroupsInput{})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed("elasticloadbalancing:DescribeTargetGroups", err)
		}
		for _, g := range out.TargetGroups {
			if g.TargetType == elbtypes.TargetTypeEnumLambda || g.TargetType == elbtypes.TargetTypeEnumAlb || !vpcs[aws.ToString(g.VpcId)] {
				continue
			}
			health, err := c.balancing.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: g.TargetGroupArn})
			if err != nil {
				return nil, failed("elasticloadbalancing:DescribeTargetHealth", err)
			}
			for _, h := range health.TargetHealthDescriptions {
				if h.Target == nil || !ids[aws.ToString(h.Target.Id)] {
					continue
				}
				t := target{group: aws.ToString(g.TargetGroupArn), id: aws.ToString(h.Target.Id), port: aws.ToInt32(h.Target.Port), draining: draining(h)}
				switch g.Protocol {
				case elbtypes.ProtocolEnumTcp, elbtypes.ProtocolEnumTls, elbtypes.ProtocolEnumUdp, elbtypes.ProtocolEnumTcpUdp:
					t.network = true
				}
				found = append(found, t)
			}
		}
	}
	return found, nil
}

func draining(h elbtypes.TargetHealthDescription) bool {
	return h.TargetHealth != nil && h.TargetHealth.State == elbtypes.TargetHealthStateEnumDraining
}

func parseTarget(id string) (t target, err error) {
	f := strings.SplitN(id, "/", 3)
	if len(f) != 3 {
		return t, fmt.Errorf("%q is no target of a load balancer", id)
	}
	port, err := strconv.ParseInt(f[1], 10, 32)
	return target{id: f[0], port: int32(port), group: f[2]}, err
}

// registered is the state of a target that is; one that drains is not any more.
var registered = state("registered")

func readTarget(ctx context.Context, c *conn, id string) (containment.State, error) {
	t, err := parseTarget(id)
	if err != nil {
		return nil, err
	}
	out, err := c.balancing.DescribeTargetHealth(ctx, &elb.DescribeTargetHealthInput{TargetGroupArn: &t.group})
	if missing(err) {
		return nil, gone("the target group " + t.group)
	}
	if err != nil {
		return nil, failed("elasticloadbalancing:DescribeTargetHealth", err)
	}
	for _, h := range out.TargetHealthDescriptions {
		if h.Target != nil && aws.ToString(h.Target.Id) == t.id && aws.ToInt32(h.Target.Port) == t.port && !draining(h) {
			return registered, nil
		}
	}
	return containment.Absent, nil
}

func setTarget(ctx context.Context, c *conn, id string, _, to containment.State) (containment.Reply, error) {
	t, err := parseTarget(id)
	if err != nil {
		return containment.Reply{}, err
	}
	targets := []elbtypes.TargetDescription{{Id: &t.id, Port: &t.port}}
	if absent(to) {
		out, err := c.balancing.DeregisterTargets(ctx, &elb.DeregisterTargetsInput{TargetGroupArn: &t.group, Targets: targets})
		if err != nil {
			return containment.Reply{}, failed("elasticloadbalancing:DeregisterTargets", err)
		}
		return reply(out.ResultMetadata, "its connections drain for the target group's deregistration delay"), nil
	}
	out, err := c.balancing.RegisterTargets(ctx, &elb.RegisterTargetsInput{TargetGroupArn: &t.group, Targets: targets})
	if err != nil {
		return containment.Reply{}, failed("elasticloadbalancing:RegisterTargets", err)
	}
	return reply(out.ResultMetadata, ""), nil
}

package awsfake

import (
	"fmt"
	"slices"
)

// A ScalingGroup is an Auto Scaling group. One that checks health terminates instances in service that let nobody in on its
// port, whatever their termination protection says.
type ScalingGroup struct {
	Name              string
	Min, Max, Desired int
	States            map[string]string // lifecycle states, by instance
	HealthPort        int               // 0: no check
}

// AddScaling makes a group with instances in service.
func (r *Region) AddScaling(g ScalingGroup, instances ...string) *ScalingGroup {
	g.States = map[string]string{}
	for _, i := range instances {
		g.States[i] = "InService"
	}
	if g.Desired == 0 {
		g.Desired = len(instances)
	}
	r.Scaling[g.Name] = &g
	return &g
}

func (g *ScalingGroup) check(r *Region) {
	for id, state := range g.States {
		i := r.Instances[id]
		if state != "InService" || g.HealthPort == 0 || i == nil {
			continue
		}
		healthy := i.State == "running" && slices.ContainsFunc(r.interfacesOf(id), func(e *Interface) bool {
			return r.any(e, true, func(rule *Rule) bool {
				return rule.Protocol == "-1" || rule.From <= g.HealthPort && g.HealthPort <= rule.To
			})
		})
		if !healthy {
			i.State = "terminated"
			g.States[id] = "Terminated"
		}
	}
}

func (c *Cloud) scalingService() *service {
	return &service{prefix: "autoscaling", proto: query, ops: map[string]operation{
		"DescribeAutoScalingInstances": {do: describeScaling},
		"EnterStandby":                 {do: standby("InService", "Standby"), on: scalingARN, writes: true},
		"ExitStandby":                  {do: standby("Standby", "InService"), on: scalingARN, writes: true},
	}}
}

func scalingARN(r *Request) []string {
	return []string{fmt.Sprintf("arn:aws:autoscaling:%s:%s:autoScalingGroup:00000000-0000-4000-8000-000000000000:autoScalingGroupName/%s",
		r.Region.Name, r.Account.ID, r.Form.Get("AutoScalingGroupName"))}
}

func describeScaling(r *Request) (any, error) {
	var items [][]X
	wanted := r.values("InstanceIds.member")
	for _, name := range sorted(r.Region.Scaling) {
		g := r.Region.Scaling[name]
		for _, id := range sorted(g.States) {
			if slices.Contains(wanted, id) {
				items = append(items, []X{el("InstanceId", id), el("AutoScalingGroupName", name), el("LifecycleState", g.States[id]),
					el("AvailabilityZone", r.Region.Name+"a"), el("HealthStatus", "HEALTHY"), el("ProtectedFromScaleIn", false)})
			}
		}
	}
	return []X{members("AutoScalingInstances", items...)}, nil
}

func standby(from, to string) func(*Request) (any, error) {
	return func(r *Request) (any, error) {
		g := r.Region.Scaling[r.Form.Get("AutoScalingGroupName")]
		if g == nil {
			return nil, fail("ValidationError", "AutoScalingGroup name not found - AutoScalingGroup '%s' not found", r.Form.Get("AutoScalingGroupName"))
		}
		for _, id := range r.values("InstanceIds.member") {
			if g.States[id] != from {
				return nil, fail("ValidationError", "The instance %s is not in %s.", id, from)
			}
			switch {
			case to == "InService":
				if g.Desired+1 > g.Max {
					return nil, fail("ValidationError", "Exiting standby would exceed the group's maximum size.")
				}
				g.Desired++
			case r.Form.Get("ShouldDecrementDesiredCapacity") == "true":
				if g.Desired-1 < g.Min {
					return nil, fail("ValidationError", "AutoScalingGroup %s has min-size=%d, max-size=%d, and desired-size=%d. To place into standby 1 instance, please update the AutoScalingGroup sizes appropriately.", g.Name, g.Min, g.Max, g.Desired)
				}
				g.Desired--
			}
			g.States[id] = to
		}
		return []X{members("Activities")}, nil
	}
}

// A TargetGroup is one of a load balancer, with the ports of its targets.
type TargetGroup struct {
	ARN, VPC, Protocol, Type string
	Registered               []Registered
}

// Registered is a target.
type Registered struct {
	ID   string
	Port int
	// Draining targets are registered no more, but are still listed.
	Draining bool
}

// AddTargetGroup makes a target group for instances.
func (r *Region) AddTargetGroup(name, vpc, protocol string, targets ...Registered) *TargetGroup {
	g := &TargetGroup{VPC: vpc, Protocol: protocol, Type: "instance", Registered: targets,
		ARN: fmt.Sprintf("arn:aws:elasticloadbalancing:%s:%s:targetgroup/%s/0123456789abcdef", r.Name, r.account.ID, name)}
	r.Targets[g.ARN] = g
	return g
}

func (c *Cloud) balancingService() *service {
	arn := func(r *Request) []string { return []string{r.Form.Get("TargetGroupArn")} }
	return &service{prefix: "elasticloadbalancing", proto: query, ops: map[string]operation{
		"DescribeTargetGroups": {do: describeTargetGroups},
		"DescribeTargetHealth": {do: describeTargets},
		"RegisterTargets":      {do: registerTargets, on: arn, writes: true},
		"DeregisterTargets":    {do: deregisterTargets, on: arn, writes: true},
	}}
}

func describeTargetGroups(r *Request) (any, error) {
	var items [][]X
	for _, arn := range sorted(r.Region.Targets) {
		g := r.Region.Targets[arn]
		items = append(items, []X{el("TargetGroupArn", arn), el("VpcId", g.VPC), el("Protocol", g.Protocol), el("TargetType", g.Type)})
	}
	return []X{members("TargetGroups", items...)}, nil
}

func (r *Request) targetGroup() (*TargetGroup, error) {
	if g := r.Region.Targets[r.Form.Get("TargetGroupArn")]; g != nil {
		return g, nil
	}
	return nil, fail("TargetGroupNotFound", "One or more target groups not found")
}

func describeTargets(r *Request) (any, error) {
	g, err := r.targetGroup()
	if err != nil {
		return nil, err
	}
	var items [][]X
	for _, t := range g.Registered {
		state := "healthy"
		if t.Draining {
			state = "draining"
		}
		items = append(items, []X{el("Target", []X{el("Id", t.ID), el("Port", t.Port)}), el("TargetHealth", []X{el("State", state)})})
	}
	return []X{members("TargetHealthDescriptions", items...)}, nil
}

func (r *Request) target() Registered {
	t := Registered{ID: r.Form.Get("Targets.member.1.Id")}
	fmt.Sscan(r.Form.Get("Targets.member.1.Port"), &t.Port) //nolint:errcheck // 0: the group's own
	return t
}

func registerTargets(r *Request) (any, error) {
	g, err := r.targetGroup()
	if err != nil {
		return nil, err
	}
	t := r.target()
	g.Registered = slices.DeleteFunc(g.Registered, func(o Registered) bool { return o.ID == t.ID && o.Port == t.Port })
	g.Registered = append(g.Registered, t)
	return nil, nil
}

func deregisterTargets(r *Request) (any, error) {
	g, err := r.targetGroup()
	if err != nil {
		return nil, err
	}
	t := r.target() // one that is unknown is no error
	for n, o := range g.Registered {
		if o.ID == t.ID && o.Port == t.Port {
			g.Registered[n].Draining = true
		}
	}
	return nil, nil
}

package ec2

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/containment"
	roles "github.com/shotglass-ir/shotglass/containment/iam"
)

// untrackWait is how long the untracked group stays: EC2's shortest idle timeout, and a margin. A connection becomes
// untracked when it sends a packet meanwhile, or is forgotten.
const untrackWait = 75 * time.Second

// tagKey is the tag that says which case an instance is contained for. Who is on the instance may read it.
const tagKey = "shotglass-case"

// The names of the hard cuts, and of the risks that changes have.
const (
	CutPublicAddress = "public-address" // Options.Cuts
	CutSubnet        = "nacl-subnet"
	CutStop          = "stop"

	RiskOffline = "takes-offline" // Change.Risk
	RiskSubnet  = "subnet-offline"
	RiskAddress = "public-address-lost"
	RiskMemory  = "memory-lost"
)

// A planner makes one plan.
type planner struct {
	*conn
	facts *facts
	opts  containment.Options
	plan  *containment.Plan
}

// Plan says what containing the instance takes.
func (s *Service) Plan(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	for _, cut := range o.Cuts {
		if cut != CutPublicAddress && cut != CutSubnet && cut != CutStop {
			return nil, fmt.Errorf("no such cut: %q; there are %s, %s and %s", cut, CutPublicAddress, CutSubnet, CutStop)
		}
	}
	c, err := s.connect(ctx, t)
	if err != nil {
		return nil, err
	}
	f, err := c.inspect(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &planner{conn: c, facts: f, opts: o, plan: &containment.Plan{Target: c.t, Verification: containment.ByFlows}}
	p.protect()
	p.detach()
	p.lock()
	if err := p.network(ctx); err != nil {
		return nil, err
	}
	if err := p.cuts(ctx); err != nil {
		return nil, err
	}
	if err := p.priors(ctx); err != nil {
		return nil, err
	}
	p.plan.Residuals = f.residuals(c.t, o)
	p.plan.Evidence, err = f.evidence()
	return p.plan, err
}

// change adds a change. Its prior state is read later.
func (p *planner) change(stage containment.Stage, kind, id string, want containment.State, summary string, v ...any) *containment.Change {
	p.plan.Changes = append(p.plan.Changes, containment.Change{
		Item: containment.Item{Kind: kind, ID: id}, Stage: stage, Summary: fmt.Sprintf(summary, v...), Call: kinds[kind].call, Want: want,
	})
	c := &p.plan.Changes[len(p.plan.Changes)-1]
	c.Permissions = p.permissions(c.Item)
	return c
}

func (p *planner) warn(format string, v ...any) {
	p.plan.Warnings = append(p.plan.Warnings, fmt.Sprintf(format, v...))
}

func (p *planner) cut(name string) bool { return slices.Contains(p.opts.Cuts, name) }

// protect keeps the evidence: the instance from being ended, its volumes from going with it.
func (p *planner) protect() {
	i, id := p.facts.instance, p.t.Name
	spot := i.InstanceLifecycle == types.InstanceLifecycleTypeSpot
	store := i.RootDeviceType == types.DeviceTypeInstanceStore
	switch {
	case spot:
		p.warn("%s is a Spot instance: AWS may end it at any time, and takes no protection against termination or stopping", id)
	case store:
		p.warn("the root of %s is an instance store: it is lost when the instance ends, and AWS takes no protection against stopping", id)
	}
	if !spot {
		p.change(containment.Protect, kindAttribute, id+"/"+noTermination, state(true), "protect %s from termination by the API", id)
	}
	if !spot && !store {
		if p.cut(CutStop) {
			p.change(containment.Protect, kindAttribute, id+"/"+noStop, state(false), "let %s be stopped", id)
		} else {
			p.change(containment.Protect, kindAttribute, id+"/"+noStop, state(true), "protect %s from being stopped by the API", id)
		}
		p.change(containment.Protect, kindAttribute, id+"/"+onShutdown, state("stop"), "have a shutdown of %s stop it, not end it", id)
	}
	for _, d := range i.BlockDeviceMappings {
		if d.Ebs == nil {
			continue
		}
		device := aws.ToString(d.DeviceName)
		if d.Ebs.Operator != nil && aws.ToBool(d.Ebs.Operator.Managed) {
			p.warn("the volume at %s is managed by %s, which alone can keep it", device, aws.ToString(d.Ebs.Operator.Principal))
			continue
		}
		p.change(containment.Protect, kindVolume, id+"/"+device, state(false), "keep %s (%s) when %s ends", device, aws.ToString(d.Ebs.VolumeId), id)
	}
	value := p.tag()
	tag := p.change(containment.Protect, kindTag, id+"/"+tagKey, state(value), "tag %s with %s=%s", id, tagKey, value)
	tag.Optional = true // it may have fifty tags
}

// detach tells those who end what does not answer.
func (p *planner) detach() {
	id := p.t.Name
	if d := p.facts.scaling; d != nil {
		group := aws.ToString(d.AutoScalingGroupName)
		if now := lifecycle(d); now == inService || now == inStandby { // another is a residual
			p.change(containment.Detach, kindScaling, id+"/"+group, state(inStandby), "put %s into standby in the Auto Scaling group %s", id, group)
			p.warn("the Auto Scaling group %s starts another instance in place of %s: from the same image, with the same weakness; after a release its desired capacity is one higher", group, id)
		}
	}
	for _, t := range p.facts.targets {
		if !t.draining {
			p.change(containment.Detach, kindTarget, t.itemID(), containment.Absent, "deregister %s:%d from %s", t.id, t.port, t.group[strings.LastIndexByte(t.group, ':')+1:])
		}
	}
}

// lock denies the instance's credentials.
func (p *planner) lock() {
	for _, r := range p.facts.roles {
		// The instance is in each request of a session that EC2 began for it: others with the role are left alone.
		p.plan.Changes = append(p.plan.Changes, containment.Change{
			Item: roles.RolePolicy(r.name, policyName(p.t.Name)), Stage: containment.Lock, Want: roles.Deny(roles.FromInstance(p.t.ARN())), Watch: true,
			Summary: fmt.Sprintf("deny everything to credentials of the role %s that %s was given", r.name, p.t.Name), Call: "iam:PutRolePolicy",
			Permissions: roles.RolePolicyPermissions(r.arn),
		})
		if strings.Contains(r.arn, ":role/aws-service-role/") || strings.Contains(r.arn, ":role/aws-reserved/") {
			p.warn("the role %s belongs to an AWS service or to Identity Center: its policies cannot be changed here", r.name)
		}
	}
	for _, name := range p.facts.lost {
		p.warn("the instance profile %s was deleted: its role is not known, and credentials that %s has of it are not denied", name, p.t.Name)
	}
}

// network closes every interface in two steps.
func (p *planner) network(ctx context.Context) error {
	isolate, rules, err := isolateRules(p.opts)
	if err != nil {
		return err
	}
	const shared = "the group is shared by all that is contained in the VPC; release with its kind deletes it if nothing uses it, and never changes its rules"
	names := map[string][2]string{} // of the two groups of each VPC
	open := map[string]bool{}       // the ids of those that let everything pass
	for _, vpc := range sorted(p.facts.vpcs()) {
		namer, err := p.groupNames(ctx, vpc)
		if err != nil {
			return err
		}
		for _, g := range namer.taken {
			open[aws.ToString(g.GroupId)] = base(aws.ToString(g.GroupName)) == untrackName
		}
		var pair [2]string
		for i, g := range []struct {
			name  string
			rules []rule
			does  string
		}{{untrackName, untrackRules(), "lets everything pass"}, {isolate, rules, "lets nothing pass" + forensic(rules)}} {
			name, stranger := namer.name(g.name)
			if stranger != nil {
				p.warn("the security group %s is named %q but was not made by shotglass: %q is used", aws.ToString(stranger.GroupId), aws.ToString(stranger.GroupName), name)
			}
			c := p.change(containment.Prepare, kindGroup, vpc+"/"+name, rulesState(g.rules), "make or check the security group %q of %s, which %s", name, vpc, g.does)
			c.Keep, c.Watch = shared, true
			pair[i] = name
		}
		names[vpc] = pair
	}
	for _, e := range p.facts.interfaces {
		p.openAlready(e, open)
		pair := names[aws.ToString(e.VpcId)]
		p.closeInterface(e, pair[0], pair[1])
	}
	wait := untrackWait
	if p.opts.UntrackWait != nil {
		wait = *p.opts.UntrackWait
	}
	p.plan.Waits = append(p.plan.Waits, containment.Wait{Before: containment.Isolate, For: wait,
		Why: "a connection becomes untracked when a packet passes, or when its idle timeout of 60 s is over"})
	return nil
}

func forensic(rules []rule) string {
	if len(rules) == 0 {
		return ""
	}
	return fmt.Sprintf(" but connections from %s to port %d", rules[0].Peer, rules[0].From)
}

// openAlready warns of an interface that stands in the group that lets everything pass for another case. It is isolated all the
// same: to refuse would let whoever may put an interface there keep it from being contained.
func (p *planner) openAlready(e types.NetworkInterface, open map[string]bool) {
	groups := groupsOf(&e)
	n := slices.IndexFunc(groups, func(id string) bool { return open[id] })
	if n < 0 {
		return
	}
	by := "which nobody tagged the instance for"
	for _, t := range p.facts.instance.Tags {
		if aws.ToString(t.Key) == tagKey {
			if aws.ToString(t.Value) == p.tag() {
				return // this case's own, which was cut off
			}
			by = fmt.Sprintf("of the case %q by the instance's tag", aws.ToString(t.Value))
		}
	}
	p.warn("%s is in %s (%s), which lets everything pass: another containment, %s, is under way or was cut off. It is isolated now; a release of this case does not put it back: release that one",
		aws.ToString(e.NetworkInterfaceId), groups[n], untrackName, by)
}

// tag is what the instance is tagged with.
func (p *planner) tag() string { return cmp.Or(p.opts.Case, "contained") }

func (p *planner) closeInterface(e types.NetworkInterface, untrack, isolate string) {
	id, vpc := aws.ToString(e.NetworkInterfaceId), aws.ToString(e.VpcId)
	if e.InterfaceType == types.NetworkInterfaceTypeEfaOnly {
		return // it has no IP; a residual
	}
	if e.Operator != nil && aws.ToBool(e.Operator.Managed) {
		p.warn("%s is managed by %s, which may not let its groups be changed", id, aws.ToString(e.Operator.Principal))
	}
	if p.facts.branches[id] {
		p.warn("%s is a branch of the instance's trunk, which a container has: its network is closed too", id)
	}
	if !p.facts.kind.xen {
		p.change(containment.Timeouts, kindTimeouts, id, state(shortest), "forget idle connections of %s after 60 s", id)
	}
	for _, step := range []struct {
		stage containment.Stage
		name  string
		does  string
	}{{containment.Untrack, untrack, "so that its connections become untracked"}, {containment.Isolate, isolate, "which ends them"}} {
		c := p.change(step.stage, kindGroups, id, state([]string{named(vpc, step.name)}), "put %s into %q alone, %s", id, step.name, step.does)
		// Without the group that ends them the one that opens all ports must not be used either.
		for _, name := range []string{untrack, isolate} {
			if step.name == name || step.stage == containment.Untrack {
				c.Needs = append(c.Needs, containment.Item{Kind: kindGroup, ID: vpc + "/" + name})
			}
		}
		if step.stage == containment.Isolate {
			c.Watch, c.Risk = true, RiskOffline
		}
	}
}

// priors reads the states that the items have now.
func (p *planner) priors(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for n := range p.plan.Changes {
		c := &p.plan.Changes[n]
		if slices.Contains(p.opts.Without, c.Stage) {
			c.Prior = c.Want // it will not be made
			continue
		}
		g.Go(func() error {
			var err error
			if k, ok := kinds[c.Kind]; ok {
				c.Prior, err = k.read(gctx, p.conn, c.ID)
			} else {
				c.Prior, err = p.s.Roles.Read(gctx, p.t, c.Item)
			}
			if err != nil {
				return fmt.Errorf("read %s: %w", c.Item, err)
			}
			return nil
		})
	}
	return g.Wait()
}

func sorted(set map[string]bool) []string {
	var keys []string
	for k := range set {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

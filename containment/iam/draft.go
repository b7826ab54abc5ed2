package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A draft is a plan in the making, for a user or a role.
type draft struct {
	principal
	arn       string
	partition string
	plan      *containment.Plan
	evidence  map[string]any
}

// begin drafts a plan for what IAM says that the target is.
func begin(p principal, t containment.Target, arn string) (*draft, error) {
	found, err := containment.ParseTarget(arn)
	if err != nil {
		return nil, fmt.Errorf("IAM says that the %s is %w", p, err)
	}
	if t.Account != "" && t.Account != found.Account {
		return nil, fmt.Errorf("the %s was looked for in account %s and found in %s", p, t.Account, found.Account)
	}
	if t.Path != "" && t.Path != found.Path && t.Kind == found.Kind {
		return nil, fmt.Errorf("there is no %s; the %s of that account is %s", t.ARN(), p, arn)
	}
	p.name = found.Name
	return &draft{
		principal: p, arn: arn, partition: found.Partition, evidence: map[string]any{"arn": arn},
		plan: &containment.Plan{Target: found, Verification: containment.ByState},
	}, nil
}

func (d *draft) finish() (*containment.Plan, error) {
	evidence, err := containment.NewState(d.evidence)
	if err != nil {
		return nil, err
	}
	d.plan.Evidence = evidence
	return d.plan, nil
}

func (d *draft) warn(format string, v ...any) {
	d.plan.Warnings = append(d.plan.Warnings, fmt.Sprintf(format, v...))
}

func (d *draft) known(path, what, do string) {
	d.plan.Residuals = append(d.plan.Residuals, containment.Residual{Path: path, What: what, Do: do, Known: true})
}

// open says that a way stays open beyond those that every target of the kind has.
func (d *draft) open(path, what, do string) {
	d.plan.Residuals = append(d.plan.Residuals, containment.Residual{Path: path, What: what, Do: do})
}

// unlisted says that something could not be listed and so stays as it is. The plan goes on: most of a
// containment is better than none, but nothing calls it whole.
func (d *draft) unlisted(what string, err error) {
	d.open("not-listed", fmt.Sprintf("%s of the %s could not be listed and stay as they are: %v", what, d, err), "give the permission and contain again")
}

// change drafts a change of an item of the principal, to be made with the credentials' lock.
func (d *draft) change(ctx context.Context, name, id string, want containment.State, summary string) (*containment.Change, error) {
	k := kinds[name]
	c := containment.Change{
		Item: containment.Item{Kind: name, ID: d.name}, Stage: containment.Lock, Summary: summary, Call: k.puts, Prior: containment.Absent,
		Want: want, Watch: true, Permissions: permissions(name, d.arn),
	}
	if id != "" {
		c.ID += "/" + id
	}
	prior, _, err := k.read(ctx, d.principal, id)
	switch err = awsconfig.Explain(err); {
	case errors.Is(err, containment.ErrDenied):
		d.warn("what %s is now cannot be read, so it will not be changed: %v", c.Item, err)
	case err != nil:
		return nil, err
	default:
		c.Prior = prior
	}
	d.plan.Changes = append(d.plan.Changes, c)
	return &d.plan.Changes[len(d.plan.Changes)-1], nil
}

// deny drafts the changes that deny the principal everything.
func (d *draft) deny(ctx context.Context, api API, risk string) error {
	managed := "arn:" + d.partition + ":iam::aws:policy/" + denyAll
	room, err := d.room(ctx, api, managed)
	if err != nil {
		return err
	}
	type way struct {
		kind, id string
		want     containment.State
		by       string
	}
	ways := []way{
		{d.either(userPolicy, rolePolicy), PolicyName, Deny(), "the inline policy " + PolicyName},
		{d.either(userAttachment, roleAttachment), managed, containment.State("true"), "AWS's policy " + denyAll},
	}
	if !room {
		ways = append(ways, way{d.either(userBoundary, roleBoundary), "", state(managed), denyAll + " as its permissions boundary"})
	}
	for _, w := range ways {
		c, err := d.change(ctx, w.kind, w.id, w.want, fmt.Sprintf("deny the %s everything, by %s", d, w.by))
		if err != nil {
			return err
		}
		c.OneOf, c.Risk = "deny "+d.arn, risk
	}
	return nil
}

// either is the kind of an item of the principal: a user's, or a role's.
func (d *draft) either(user, role string) string {
	if d.role {
		return role
	}
	return user
}

// room reports whether another policy fits: an inline one, or a managed one. It names the quotas that are
// used up, and takes the policies as evidence.
func (d *draft) room(ctx context.Context, api API, managed string) (bool, error) {
	quota := map[string]int32{"UserPolicySizeQuota": 2048, "RolePolicySizeQuota": 10240, "AttachedPoliciesPerUserQuota": 10, "AttachedPoliciesPerRoleQuota": 10}
	if out, err := api.GetAccountSummary(ctx, &awsiam.GetAccountSummaryInput{}); err == nil {
		for k, v := range out.SummaryMap {
			quota[k] = v
		}
	} else if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	sizeQuota, countQuota := quota["UserPolicySizeQuota"], quota["AttachedPoliciesPerUserQuota"]
	if d.role {
		sizeQuota, countQuota = quota["RolePolicySizeQuota"], quota["AttachedPoliciesPerRoleQuota"]
	}
	inline, size, err := d.inlinePolicies(ctx)
	if err != nil {
		return false, err
	}
	fits := size+len(Deny()) <= int(sizeQuota)
	if !fits {
		d.warn("the inline policies of the %s have %d of at most %d characters: another may not fit", d, size, sizeQuota)
	}
	attached, err := d.attached(ctx)
	if err = awsconfig.Explain(err); err != nil && !errors.Is(err, containment.ErrDenied) {
		return false, err
	}
	d.evidence["inline_policies"], d.evidence["attached_policies"] = inline, policyARNs(attached)
	free := len(attached) < int(countQuota)
	for _, a := range attached {
		free = free || aws.ToString(a.PolicyArn) == managed
	}
	if !free {
		d.warn("%d managed policies are attached to the %s, of at most %d: %s does not fit; the inline policy is to do it alone", len(attached), d, countQuota, denyAll)
	}
	return fits || free, nil
}

// inlinePolicies returns the inline policies, and how many characters those of them have that are not
// ours, without white space, as the quota counts.
func (d *draft) inlinePolicies(ctx context.Context) (map[string]containment.State, int, error) {
	names, err := d.inline(ctx)
	if err = awsconfig.Explain(err); errors.Is(err, containment.ErrDenied) {
		d.warn("the inline policies of the %s could not be listed as evidence: %v", d, err)
	} else if err != nil {
		return nil, 0, err
	}
	policies, size := map[string]containment.State{}, 0
	for _, name := range names {
		s, _, err := readPolicy(ctx, d.principal, name)
		if ctx.Err() != nil {
			return nil, 0, context.Cause(ctx)
		}
		if err != nil {
			d.warn("the inline policy %s could not be read as evidence: %v", name, err)
			continue
		}
		policies[name] = s
		if name != PolicyName {
			size += len(strings.Join(strings.Fields(string(s)), ""))
		}
	}
	return policies, size, nil
}

func policyARNs(list []types.AttachedPolicy) []string {
	arns := []string{}
	for _, a := range list {
		arns = append(arns, aws.ToString(a.PolicyArn))
	}
	return arns
}

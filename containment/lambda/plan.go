package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awslambda "github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

// Risks of this package's changes, by name.
const (
	RiskFunction   = "stops-function"     // nothing that invokes the function is answered any more
	RiskExecutions = "ends-executions"    // durable executions end for good
	RiskRole       = iam.RiskRevoke       // of ModeStrict: every function that has the role
	ModeStrict     = "strict"             // revoke the sessions of the function's roles too, whoever has them
	Executions     = "durable-executions" // the name of that irreversible change
)

// A draft is a plan in the making.
type draft struct {
	api      API
	name     string
	arn      string
	plan     *containment.Plan
	evidence map[string]any
}

// Plan says what containing the function takes. Modes of roles mean nothing to it.
func (s *Service) Plan(ctx context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	api, err := s.api(ctx, t)
	if err != nil {
		return nil, err
	}
	cfg, err := api.GetFunctionConfiguration(ctx, &awslambda.GetFunctionConfigurationInput{FunctionName: &t.Name})
	if missing(err) {
		return nil, fmt.Errorf("the function %s %w (or is in another region or account)", t.Name, containment.ErrGone)
	}
	if err != nil {
		return nil, awsconfig.Explain(err)
	}
	arn := aws.ToString(cfg.FunctionArn)
	found, err := containment.ParseTarget(arn)
	if err != nil {
		return nil, fmt.Errorf("the function %s is, says Lambda, %w", t.Name, err)
	}
	if t.Account != "" && found.Account != t.Account || t.Region != "" && found.Region != t.Region {
		return nil, fmt.Errorf("%s was looked for, and %s was found", t, found)
	}
	d := &draft{api: api, name: found.Name, arn: arn, evidence: map[string]any{}, plan: &containment.Plan{Target: found, Verification: containment.ByState}}
	d.describe(ctx, cfg)

	versions, err := d.versions(ctx)
	if err != nil {
		return nil, err
	}
	if err := d.roles(ctx, s, versions, o.Mode == ModeStrict, awsconfig.ServerTime(cfg.ResultMetadata)); err != nil {
		return nil, err
	}
	managed := slices.ContainsFunc(versions, func(v types.FunctionConfiguration) bool { return v.CapacityProviderConfig != nil })
	if managed {
		err = d.scale(ctx, versions)
	} else {
		err = d.reserve(ctx)
	}
	if err != nil {
		return nil, err
	}
	d.eventSources(ctx)
	d.urls(ctx)
	if slices.ContainsFunc(versions, func(v types.FunctionConfiguration) bool { return v.DurableConfig != nil }) {
		d.executions(ctx, slices.Contains(o.Irreversible, Executions))
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d.known("in-flight", "invocations that run already run to their end, of 15 minutes at most", "wait for them; their credentials are denied meanwhile")
	d.known("queued-events", "asynchronous events wait for up to 6 h and are tried again: a release within that time runs them", "purge them at their sources, or release later")
	if o.Mode != ModeStrict {
		d.known("stolen-credentials", "whether credentials of the function that are used elsewhere carry its ARN, AWS does not say",
			"contain with mode strict to revoke all sessions of its role too, or contain the role")
	}
	if d.plan.Evidence, err = containment.NewState(d.evidence); err != nil {
		return nil, err
	}
	return d.plan, nil
}

func (d *draft) known(path, what, do string) {
	d.plan.Residuals = append(d.plan.Residuals, containment.Residual{Path: path, What: what, Do: do, Known: true})
}

func (d *draft) warn(format string, v ...any) {
	d.plan.Warnings = append(d.plan.Warnings, fmt.Sprintf(format, v...))
}

// unlisted says that something could not be listed and so stays as it is.
func (d *draft) unlisted(what string, err error) {
	d.plan.Residuals = append(d.plan.Residuals, containment.Residual{
		Path: "not-listed", What: fmt.Sprintf("%s of the function %s could not be listed and stay as they are: %v", what, d.name, awsconfig.Explain(err)),
		Do: "give the permission and contain again",
	})
}

// change drafts a change with the state that was read.
func (d *draft) change(kind, id string, stage containment.Stage, call string, prior, want any, summary string, need ...string) *containment.Change {
	c := containment.Change{Item: containment.Item{Kind: kind, ID: id}, Stage: stage, Summary: summary, Call: call,
		Prior: state(prior), Want: state(want), Risk: RiskFunction, Watch: true}
	for _, action := range append([]string{call}, need...) {
		c.Permissions = append(c.Permissions, containment.Permission{Action: action, Resource: d.arn})
	}
	d.plan.Changes = append(d.plan.Changes, c)
	return &d.plan.Changes[len(d.plan.Changes)-1]
}

func state(v any) containment.State {
	s, err := containment.NewState(v)
	if err != nil {
		panic("lambda: " + err.Error())
	}
	return s
}

// describe takes the function as evidence. Of its environment only names are taken: values are secrets.
func (d *draft) describe(ctx context.Context, c *awslambda.GetFunctionConfigurationOutput) {
	layers, names := []string{}, []string{}
	for _, l := range c.Layers {
		layers = append(layers, aws.ToString(l.Arn))
	}
	if c.Environment != nil {
		for name := range c.Environment.Variables {
			names = append(names, name)
		}
		slices.Sort(names)
	}
	for k, v := range map[string]any{
		"arn": d.arn, "role": c.Role, "runtime": c.Runtime, "handler": c.Handler, "package": c.PackageType, "code_sha256": c.CodeSha256, "code_size": c.CodeSize,
		"layers": layers, "last_modified": c.LastModified, "revision": c.RevisionId, "environment_names": names, "timeout_s": c.Timeout, "kms_key": c.KMSKeyArn,
	} {
		d.evidence[k] = v
	}
	policy, err := d.api.GetPolicy(ctx, &awslambda.GetPolicyInput{FunctionName: &d.name})
	switch {
	case err == nil:
		if p := []byte(aws.ToString(policy.Policy)); json.Valid(p) {
			d.evidence["resource_policy"] = json.RawMessage(p)
		}
	case !missing(err):
		d.warn("the policy of the function %s could not be read as evidence: %v", d.name, err)
	}
	aliases := map[string]string{}
	for pages := awslambda.NewListAliasesPaginator(d.api, &awslambda.ListAliasesInput{FunctionName: &d.name}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			d.warn("the aliases of the function %s could not be listed as evidence: %v", d.name, err)
			break
		}
		for _, a := range out.Aliases {
			aliases[aws.ToString(a.Name)] = aws.ToString(a.FunctionVersion)
		}
	}
	d.evidence["aliases"] = aliases
}

// versions lists all versions, of which each has a role and settings of its own; $LATEST is one.
func (d *draft) versions(ctx context.Context) ([]types.FunctionConfiguration, error) {
	var all []types.FunctionConfiguration
	seen := map[string]string{}
	for pages := awslambda.NewListVersionsByFunctionPaginator(d.api, &awslambda.ListVersionsByFunctionInput{FunctionName: &d.name}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the versions of the function %s: %w", d.name, awsconfig.Explain(err))
		}
		for _, v := range out.Versions {
			all = append(all, v)
			seen[aws.ToString(v.Version)] = aws.ToString(v.CodeSha256)
		}
	}
	d.evidence["versions"] = seen
	return all, nil
}

// roles drafts the deny for this function in each of its versions' roles.
func (d *draft) roles(ctx context.Context, s *Service, versions []types.FunctionConfiguration, strict bool, now time.Time) error {
	var arns []string
	for _, v := range versions {
		arns = append(arns, aws.ToString(v.Role))
	}
	slices.Sort(arns)
	for _, arn := range slices.Compact(arns) {
		role, err := containment.ParseTarget(arn)
		if err != nil {
			d.warn("the role %q of the function %s cannot be denied: %v", arn, d.name, err)
			continue
		}
		deny := iam.RolePolicy(role.Name, iam.FunctionDenyName(d.plan.Target.Region, d.name))
		if err := d.policy(ctx, s, arn, deny, iam.Deny(iam.FromFunction(d.arn)),
			fmt.Sprintf("deny the role %s everything for the function %s alone", role.Name, d.name), ""); err != nil {
			return err
		}
		if !strict {
			continue
		}
		revoke := iam.RolePolicy(role.Name, iam.FunctionRevokeName(d.plan.Target.Region, d.name))
		if err := d.policy(ctx, s, arn, revoke, iam.Revoke(now), fmt.Sprintf("deny the sessions of the role %s that were begun before the time of the call, whoever has them", role.Name), RiskRole); err != nil {
			return err
		}
		d.plan.Touches = append(d.plan.Touches, role)
	}
	return nil
}

// policy drafts a policy of a role.
func (d *draft) policy(ctx context.Context, s *Service, role string, i containment.Item, want containment.State, summary, risk string) error {
	prior, err := s.Roles.Read(ctx, d.plan.Target, i)
	switch {
	case errors.Is(err, containment.ErrGone):
		d.warn("%v: the function %s cannot run without it", err, d.name)
		return nil
	case errors.Is(err, containment.ErrDenied):
		d.warn("what %s is now cannot be read, so it will not be changed: %v", i, err)
		prior = containment.Absent
	case err != nil:
		return err
	}
	d.plan.Changes = append(d.plan.Changes, containment.Change{
		Item: i, Stage: containment.Lock, Summary: summary, Call: "iam:PutRolePolicy", Prior: prior, Want: want, Watch: true, Risk: risk,
		Permissions: iam.RolePolicyPermissions(role),
	})
	return nil
}

// reserve drafts that no invocation begins any more: what is provisioned is given up before, since it may not be more
// than what is reserved.
func (d *draft) reserve(ctx context.Context) error {
	var needs []containment.Item
	for pages := awslambda.NewListProvisionedConcurrencyConfigsPaginator(d.api, &awslambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &d.name}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			d.unlisted("the provisioned concurrency", err)
			break
		}
		for _, p := range out.ProvisionedConcurrencyConfigs {
			qualifier := strings.TrimPrefix(aws.ToString(p.FunctionArn), d.arn+":")
			c := d.change(provisioned, d.name+":"+qualifier, containment.Prepare, "lambda:DeleteProvisionedConcurrencyConfig", p.RequestedProvisionedConcurrentExecutions, nil,
				fmt.Sprintf("give up the %d environments provisioned for %s:%s", aws.ToInt32(p.RequestedProvisionedConcurrentExecutions), d.name, qualifier),
				"lambda:GetProvisionedConcurrencyConfig", "lambda:PutProvisionedConcurrencyConfig")
			for i := range c.Permissions {
				c.Permissions[i].Resource = aws.ToString(p.FunctionArn)
			}
			needs = append(needs, c.Item)
		}
	}
	out, err := d.api.GetFunctionConcurrency(ctx, &awslambda.GetFunctionConcurrencyInput{FunctionName: &d.name})
	if err = awsconfig.Explain(err); err != nil && !errors.Is(err, containment.ErrDenied) {
		return err
	}
	var prior *int32
	if err != nil {
		d.warn("what concurrency is reserved for the function %s cannot be read, so it will not be changed: %v", d.name, err)
	} else {
		prior = out.ReservedConcurrentExecutions
	}
	c := d.change(concurrency, d.name, containment.Isolate, "lambda:PutFunctionConcurrency", prior, 0, fmt.Sprintf("let no invocation of the function %s begin: reserve a concurrency of 0", d.name),
		"lambda:GetFunctionConcurrency", "lambda:DeleteFunctionConcurrency")
	c.Needs = needs
	return nil
}

// scale drafts the same for a function on managed instances, which know no reserved concurrency.
func (d *draft) scale(ctx context.Context, versions []types.FunctionConfiguration) error {
	for _, v := range versions {
		version := aws.ToString(v.Version)
		if v.CapacityProviderConfig == nil || version == "$LATEST" { // which is not published, so has none
			continue
		}
		id := d.name + ":" + version
		prior, err := read(ctx, d.api, containment.Item{Kind: scaling, ID: id})
		if err != nil {
			d.unlisted("the limits of version "+version, err)
			continue
		}
		var none int32
		d.change(scaling, id, containment.Isolate, "lambda:PutFunctionScalingConfig", prior, limits{&none, &none},
			fmt.Sprintf("let version %s of %s have no execution environment on managed instances", version, d.name), "lambda:GetFunctionScalingConfig")
	}
	d.known("managed-instances", "the function runs on managed instances, which have limits in place of a reserved concurrency; whether Lambda takes limits of 0 is not documented",
		"if the change fails, take the function's capacity provider away")
	return nil
}

// eventSources drafts that nothing polls for the function. All mappings of the region are looked through, since
// those of versions and aliases count too. Those that are off already are not changed.
func (d *draft) eventSources(ctx context.Context) {
	for pages := awslambda.NewListEventSourceMappingsPaginator(d.api, &awslambda.ListEventSourceMappingsInput{}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			d.unlisted("the event sources", err)
			return
		}
		for _, m := range out.EventSourceMappings {
			if f := aws.ToString(m.FunctionArn); f != d.arn && !strings.HasPrefix(f, d.arn+":") {
				continue
			}
			on, err := polls(m.State)
			if err != nil {
				d.warn("%s: %v", aws.ToString(m.UUID), err)
				continue
			}
			c := d.change(eventSource, aws.ToString(m.UUID), containment.Detach, "lambda:UpdateEventSourceMapping", on, false,
				"pause the event source "+aws.ToString(m.EventSourceArn), "lambda:GetEventSourceMapping")
			for i := range c.Permissions {
				c.Permissions[i].Resource = strings.Replace(d.arn, ":function:"+d.name, ":event-source-mapping:"+c.ID, 1)
			}
		}
	}
}

// urls drafts that the function's URLs ask for IAM. One that is deleted would not come back.
func (d *draft) urls(ctx context.Context) {
	for pages := awslambda.NewListFunctionUrlConfigsPaginator(d.api, &awslambda.ListFunctionUrlConfigsInput{FunctionName: &d.name}); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			d.unlisted("the URLs", err)
			return
		}
		for _, u := range out.FunctionUrlConfigs {
			id := d.name + strings.TrimPrefix(aws.ToString(u.FunctionArn), d.arn)
			d.change(urlAuth, id, containment.Isolate, "lambda:UpdateFunctionUrlConfig", u.AuthType, types.FunctionUrlAuthTypeAwsIam,
				"let the URL of "+id+" ask for IAM's authentication", "lambda:GetFunctionUrlConfig")
		}
	}
}

// executions drafts the end of the durable executions there are, or says that they go on: they outlive a concurrency of 0.
func (d *draft) executions(ctx context.Context, stop bool) {
	n := 0
	in := &awslambda.ListDurableExecutionsByFunctionInput{FunctionName: &d.name, Statuses: []types.ExecutionStatus{types.ExecutionStatusRunning}}
	for pages := awslambda.NewListDurableExecutionsByFunctionPaginator(d.api, in); pages.HasMorePages(); {
		out, err := pages.NextPage(ctx)
		if err != nil {
			d.unlisted("the durable executions", err)
			return
		}
		for _, e := range out.DurableExecutions {
			n++
			if stop {
				c := d.change(execution, aws.ToString(e.DurableExecutionArn), containment.Isolate, "lambda:StopDurableExecution", running, ended,
					"end the durable execution "+aws.ToString(e.DurableExecutionName)+" for good", "lambda:GetDurableExecution")
				c.Risk, c.Irreversible, c.Watch = RiskExecutions, "a durable execution that was stopped cannot be resumed", false
				for i := range c.Permissions {
					c.Permissions[i].Resource = c.ID
				}
			}
		}
	}
	if n > 0 && !stop {
		d.plan.Residuals = append(d.plan.Residuals, containment.Residual{
			Path: Executions, What: fmt.Sprintf("%d durable executions of the function %s outlive a concurrency of 0 and go on once it is released", n, d.name),
			Do: "ask for the irreversible change " + Executions + " to end them for good",
		})
	}
}

package cloudevidence

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A Preview is what would be gathered of an instance, and what its caller may not do for it. Nothing was changed to know it.
type Preview struct {
	Items     []string          `json:"items,omitempty"` // the names of kinds
	Snapshots *SnapshotsPreview `json:"snapshots,omitempty"`
	// Missing are permissions that the caller does not have; Unchecked is what could not be asked without a change, or was not answered.
	Missing   []string `json:"missing,omitempty"`
	Unchecked []string `json:"unchecked,omitempty"`
	// Error is why nothing at all is known: AWS answered no question.
	Error string `json:"error,omitempty"`

	answers, failures int
}

// A SnapshotsPreview is of which volumes snapshots would be made.
type SnapshotsPreview struct {
	Volumes []Volume `json:"volumes,omitempty"`
	GiB     int32    `json:"gib"` // of all of them; what snapshots take is less
	// Earlier are snapshots of an earlier run of the case, which would be taken in place of new ones.
	Earlier []string `json:"of_an_earlier_run,omitempty"`
	Wanted  Wanted   `json:"wanted,omitzero"`
	// Problems are why something that was asked for would not come about, whatever the caller may do: a key with which nothing can be shared.
	Problems []string `json:"problems,omitempty"`
	Error    string   `json:"error,omitempty"` // why none would be made, or why that is not known
}

// A Volume is one of an instance.
type Volume struct {
	ID        string `json:"id"`
	Device    string `json:"device,omitempty"`
	GiB       int32  `json:"gib"`
	Encrypted bool   `json:"encrypted,omitempty"`
	Key       string `json:"kms_key,omitempty"`
}

// A Previewer says what a Gatherer would do. It is safe for concurrent use, and asks what has one answer for all instances of a place only once.
type Previewer struct {
	*Gatherer

	mu    sync.Mutex
	asked map[string]any // func() T, by the question
}

// Impatient has calls tried again less often than a capture has them: a preview asks much in little time, and says what was not answered.
func Impatient(config func(context.Context, containment.Target) (aws.Config, error)) func(context.Context, containment.Target) (aws.Config, error) {
	return func(ctx context.Context, t containment.Target) (aws.Config, error) {
		cfg, err := config(ctx, t)
		patient := cfg.Retryer
		if patient == nil {
			patient = awsconfig.Patient
		}
		cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxAttempts(patient(), 3) }
		return cfg, err
	}
}

// askOnceFor asks a question that has one answer for all who ask it. It has a time of its own: an instance whose time ends spoils the answer for
// no other, and one whose time is over has no question asked for all. The end of the run ends it.
func askOnceFor[T any](ctx context.Context, p *Previewer, question string, ask func(context.Context) T) T {
	p.mu.Lock()
	if p.asked == nil {
		p.asked = map[string]any{}
	}
	once, ok := p.asked[question].(func() T)
	switch {
	case !ok && ctx.Err() != nil:
		p.mu.Unlock()
		return ask(ctx)
	case !ok:
		once = sync.OnceValue(func() T {
			ctx, cancel := inTime(ctx.Value(runKey{}).(context.Context))
			defer cancel()
			return ask(ctx)
		})
		p.asked[question] = once
	}
	p.mu.Unlock()
	return once()
}

// runKey is where the context of one instance has that of the run.
type runKey struct{}

func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, itemTime, fmt.Errorf("it took more than %s", itemTime))
}

// A probe is a call of EC2 that is made as a dry run.
type probe struct {
	action string
	try    func(context.Context, *ec2.Client, string) error
}

var dry = aws.Bool(true)

// describe makes a probe of a call that lists.
func describe[In, Out any](action string, in *In, call func(*ec2.Client, context.Context, *In, ...func(*ec2.Options)) (*Out, error)) probe {
	return probe{"ec2:" + action, func(ctx context.Context, api *ec2.Client, _ string) error {
		_, err := call(api, ctx, in)
		return err
	}}
}

var (
	tryInstances  = describe("DescribeInstances", &ec2.DescribeInstancesInput{DryRun: dry}, (*ec2.Client).DescribeInstances)
	tryInterfaces = describe("DescribeNetworkInterfaces", &ec2.DescribeNetworkInterfacesInput{DryRun: dry}, (*ec2.Client).DescribeNetworkInterfaces)
	tryVolumes    = describe("DescribeVolumes", &ec2.DescribeVolumesInput{DryRun: dry}, (*ec2.Client).DescribeVolumes)
	tryAttribute  = probe{"ec2:DescribeInstanceAttribute", func(ctx context.Context, api *ec2.Client, id string) error {
		_, err := api.DescribeInstanceAttribute(ctx, &ec2.DescribeInstanceAttributeInput{InstanceId: &id, Attribute: types.InstanceAttributeNameUserData, DryRun: dry})
		return err
	}}
	tryConsole = probe{"ec2:GetConsoleOutput", func(ctx context.Context, api *ec2.Client, id string) error {
		_, err := api.GetConsoleOutput(ctx, &ec2.GetConsoleOutputInput{InstanceId: &id, DryRun: dry})
		return err
	}}
	tryScreenshot = probe{"ec2:GetConsoleScreenshot", func(ctx context.Context, api *ec2.Client, id string) error {
		_, err := api.GetConsoleScreenshot(ctx, &ec2.GetConsoleScreenshotInput{InstanceId: &id, DryRun: dry})
		return err
	}}
)

// probes are what the readers of EC2 call, by the name of their kind. What the role and CloudTrail tell has no dry run.
var probes = map[string][]probe{
	"instance": {tryInstances}, "attributes": {tryAttribute}, "user-data": {tryAttribute}, "volumes": {tryVolumes}, "interfaces": {tryInterfaces},
	"security-groups": {
		tryInterfaces, describe("DescribeSecurityGroups", &ec2.DescribeSecurityGroupsInput{DryRun: dry}, (*ec2.Client).DescribeSecurityGroups),
		describe("DescribeSecurityGroupRules", &ec2.DescribeSecurityGroupRulesInput{DryRun: dry}, (*ec2.Client).DescribeSecurityGroupRules),
	},
	"routes": {
		tryInstances, tryInterfaces, describe("DescribeSubnets", &ec2.DescribeSubnetsInput{DryRun: dry}, (*ec2.Client).DescribeSubnets),
		describe("DescribeRouteTables", &ec2.DescribeRouteTablesInput{DryRun: dry}, (*ec2.Client).DescribeRouteTables),
	},
	"network-acls": {tryInstances, tryInterfaces, describe("DescribeNetworkAcls", &ec2.DescribeNetworkAclsInput{DryRun: dry}, (*ec2.Client).DescribeNetworkAcls)},
	"tags":         {tryInstances, tryInterfaces, describe("DescribeTags", &ec2.DescribeTagsInput{DryRun: dry}, (*ec2.Client).DescribeTags)},
	"profile":      {tryInstances}, "trail": {tryInstances},
	"console": {tryConsole}, "console-latest": {tryConsole}, "screenshot": {tryScreenshot},
}

// Preview asks AWS what Read and Start would do for an instance, and whether the caller may: by dry runs where EC2 has them, and else by
// reading. snapshots is nil if none are to be made. What fails is in the preview.
func (p *Previewer) Preview(ctx context.Context, t containment.Target, want []Kind, snapshots *SnapshotOptions) *Preview {
	out := &Preview{}
	ctx, cancel := inTime(context.WithValue(ctx, runKey{}, ctx))
	defer cancel()
	for _, k := range want {
		out.Items = append(out.Items, k.Name)
	}
	if snapshots != nil {
		out.Snapshots = &SnapshotsPreview{Wanted: snapshots.wanted()}
	}
	cfg, err := p.Config(ctx, t)
	if err != nil {
		out.Error = awsconfig.Explain(err).Error()
		if snapshots != nil {
			out.Snapshots.Error = unknown(err)
		}
		return out
	}
	api := ec2.NewFromConfig(cfg)
	var tries []probe
	for _, k := range want {
		for _, one := range probes[k.Name] {
			if !slices.ContainsFunc(tries, func(have probe) bool { return have.action == one.action }) {
				tries = append(tries, one)
			}
		}
	}
	for _, one := range tries {
		out.note(one.action, one.try(ctx, api, t.Name))
	}
	for _, k := range want {
		switch k.Name {
		case "profile":
			p.profile(ctx, t, out, "")
		case "trail":
			out.note("cloudtrail:LookupEvents", p.trail(ctx, t, cfg))
			if !slices.Contains(out.Items, "profile") { // whose role it asks about
				p.profile(ctx, t, out, "GetInstanceProfile")
			}
		}
	}
	if snapshots != nil {
		p.snapshots(ctx, t, *snapshots, out)
	}
	if out.answers == 0 && out.failures > 0 {
		out.Error = "AWS answered no question: " + out.Unchecked[0]
	}
	slices.Sort(out.Missing)
	out.Missing = slices.Compact(out.Missing)
	return out
}

// known reports whether what a call that was tried came to says whether it is allowed.
func known(err error) bool {
	return err == nil || awsconfig.Code(err) == "DryRunOperation" || errors.Is(awsconfig.Explain(err), containment.ErrDenied)
}

// note says of a call that was tried whether its permission is missing.
func (out *Preview) note(action string, err error) {
	switch explained := awsconfig.Explain(err); {
	case err == nil, awsconfig.Code(err) == "DryRunOperation":
		out.answers++
	case errors.Is(explained, containment.ErrDenied):
		out.answers++
		out.Missing = append(out.Missing, action)
	default:
		out.failures++
		out.Unchecked = append(out.Unchecked, action+": "+explained.Error())
	}
}

// profile reads the role's policies, for which IAM has no dry run, and throws them away. only is the call that matters; empty: all.
func (p *Previewer) profile(ctx context.Context, t containment.Target, out *Preview, only string) {
	k := kinds[slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == "profile" })]
	it := p.Read(ctx, t, []Kind{k}, nil, nil).Items[0]
	denied := only != ""
	for _, c := range it.Calls {
		if slices.Contains([]string{"AccessDenied", "AccessDeniedException"}, c.Error) && (only == "" || c.Operation == only) {
			out.Missing, denied = append(out.Missing, "iam:"+c.Operation), true
		}
	}
	switch {
	case only != "":
	case it.Error == "" || denied:
		out.answers++
	default:
		out.failures++
		out.Unchecked = append(out.Unchecked, k.Name+": "+it.Error)
	}
}

// trail asks CloudTrail for one event, once in a place: it takes two questions a second.
func (p *Previewer) trail(ctx context.Context, t containment.Target, cfg aws.Config) error {
	return askOnceFor(ctx, p, fmt.Sprintf("trail of %q", []string{t.Account, cmp.Or(t.Region, cfg.Region)}), func(ctx context.Context) error {
		_, err := cloudtrail.NewFromConfig(cfg).LookupEvents(ctx, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(1)})
		return err
	})
}

// snapshots says of which volumes snapshots would be made, and whether they may be.
func (p *Previewer) snapshots(ctx context.Context, t containment.Target, o SnapshotOptions, out *Preview) {
	x := out.Snapshots
	s, _, err := p.snapper(ctx, t, o, &SnapshotSet{})
	if err != nil {
		x.Error = unknown(err)
		return
	}
	var ids []string
	pages := ec2.NewDescribeVolumesPaginator(s.ec2, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", t.Name)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			out.note("ec2:DescribeVolumes", err)
			x.Error = "of which volumes: " + unknown(err)
			break
		}
		for _, v := range page.Volumes {
			one := Volume{ID: aws.ToString(v.VolumeId), GiB: aws.ToInt32(v.Size), Encrypted: aws.ToBool(v.Encrypted), Key: aws.ToString(v.KmsKeyId)}
			for _, a := range v.Attachments {
				if aws.ToString(a.InstanceId) == t.Name {
					one.Device = aws.ToString(a.Device)
				}
			}
			x.Volumes, ids = append(x.Volumes, one), append(ids, one.ID)
			x.GiB += one.GiB
		}
	}
	if x.Error == "" && len(ids) == 0 {
		x.Error = "none would be made: the instance has no volumes"
	}
	if !o.Again && len(ids) > 0 {
		if err := s.earlier(ctx, ids); err != nil {
			out.note("ec2:DescribeSnapshots", err)
		}
		for _, one := range s.set.Snapshots {
			x.Earlier = append(x.Earlier, one.ID)
		}
	}
	if len(x.Earlier) == 0 {
		_, err := s.ec2.CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
			InstanceSpecification: &types.InstanceSpecification{InstanceId: &t.Name}, DryRun: dry,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{{Key: aws.String(tagCase), Value: &o.Case}}}},
		})
		out.note("ec2:CreateSnapshots", err)
	}
	p.afterwards(ctx, t, s, out)
}

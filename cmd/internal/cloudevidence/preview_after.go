package cloudevidence

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	iamtypes "github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	containiam "github.com/shotglass-ir/shotglass/containment/iam"
)

// exampleSnapshot stands for one that is not there yet.
const exampleSnapshot = "snap-0123456789abcdef0"

// A deed is what is done with a snapshot once it is there.
type deed struct {
	action  string
	context map[string]string // what its request says of itself, by the keys of conditions; numbers are of digits alone
	// try does it to a snapshot as a dry run; nil: it is no call of its own.
	try func(ctx context.Context, api *ec2.Client, id string) error
}

// deeds are what the options ask for.
func (o SnapshotOptions) deeds() (list []deed) {
	if o.LockDays > 0 {
		list = append(list, deed{"ec2:LockSnapshot", map[string]string{"ec2:SnapshotLockDuration": fmt.Sprint(o.LockDays)}, func(ctx context.Context, api *ec2.Client, id string) error {
			_, err := api.LockSnapshot(ctx, &ec2.LockSnapshotInput{SnapshotId: &id, LockMode: o.lockMode(), LockDuration: &o.LockDays, DryRun: dry})
			return err
		}})
	}
	if o.CopyKey != "" {
		list = append(list, deed{"ec2:CopySnapshot", nil, func(ctx context.Context, api *ec2.Client, id string) error {
			_, err := api.CopySnapshot(ctx, &ec2.CopySnapshotInput{SourceRegion: aws.String(api.Options().Region), SourceSnapshotId: &id, Encrypted: aws.Bool(true), KmsKeyId: &o.CopyKey, DryRun: dry})
			return err
		}}, deed{"ec2:CreateTags", map[string]string{"ec2:CreateAction": "CopySnapshot"}, nil})
	}
	for _, account := range o.Share {
		list = append(list, deed{"ec2:ModifySnapshotAttribute", map[string]string{"ec2:Add/userId": account}, func(ctx context.Context, api *ec2.Client, id string) error {
			_, err := api.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
				SnapshotId: &id, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd, UserIds: []string{account}, DryRun: dry,
			})
			return err
		}})
	}
	return list
}

// afterwards says whether snapshots may be locked, copied and shared, and can be. Those of an earlier run are asked about by dry runs. For one that
// is not there EC2 has none: IAM's simulation says whether the caller's policies allow it.
func (p *Previewer) afterwards(ctx context.Context, t containment.Target, s *snapper, out *Preview) {
	if s.o.LockDays > 0 {
		out.note("ec2:DescribeLockedSnapshots", describe("DescribeLockedSnapshots", &ec2.DescribeLockedSnapshotsInput{DryRun: dry}, (*ec2.Client).DescribeLockedSnapshots).try(ctx, s.ec2, ""))
	}
	var open []deed
	for _, d := range s.o.deeds() {
		if earlier := out.Snapshots.Earlier; len(earlier) > 0 && d.try != nil {
			err := d.try(ctx, s.ec2, earlier[0])
			if known(err) {
				out.note(d.action, err)
				continue
			}
		}
		open = append(open, d)
	}
	if len(open) > 0 {
		a := p.simulate(ctx, t, s, open)
		out.Missing, out.Unchecked = append(out.Missing, a.missing...), append(out.Unchecked, a.unchecked...)
	}
	p.keys(ctx, t, s, out)
}

// A simulated is what IAM's simulation said.
type simulated struct{ missing, unchecked []string }

// simulate asks IAM whether the caller's policies allow deeds on an example of a snapshot, once for all who are to do the same in a place.
func (p *Previewer) simulate(ctx context.Context, t containment.Target, s *snapper, deeds []deed) simulated {
	region := s.ec2.Options().Region
	about := []string{t.Account, region}
	for _, d := range deeds {
		about = append(about, fmt.Sprint(d.action, d.context))
	}
	return askOnceFor(ctx, p, fmt.Sprintf("simulation of %q", about), func(ctx context.Context) (a simulated) {
		rest := func(deeds []deed, err error) simulated {
			var actions []string
			for _, d := range deeds {
				if !slices.Contains(actions, d.action) {
					actions = append(actions, d.action)
				}
			}
			a.unchecked = append(a.unchecked, fmt.Sprintf("%s: neither a dry run, which wants a snapshot, nor IAM's simulation tells: %v", strings.Join(actions, ", "), awsconfig.Explain(err)))
			return a
		}
		cfg, err := p.Config(ctx, t)
		if err != nil {
			return rest(deeds, err)
		}
		caller, err := containiam.Caller(ctx, cfg)
		if err != nil {
			return rest(deeds, err)
		}
		api := iam.NewFromConfig(cfg)
		for n, d := range deeds {
			answer, err := d.question(containment.PartitionOf(region), region).Ask(ctx, api, caller)
			if err != nil {
				return rest(deeds[n:], err)
			}
			a.missing = append(a.missing, answer.Denied...)
			for _, o := range answer.Open {
				a.unchecked = append(a.unchecked, fmt.Sprintf("%s: no dry run tells, which wants a snapshot, and by IAM's simulation %s", o.Action, o.Why))
			}
		}
		return a
	})
}

// question is whether a deed is allowed on some snapshot of a region.
func (d deed) question(partition, region string) containiam.Question {
	q := containiam.Question{Actions: []string{d.action}, Resource: "arn:" + partition + ":ec2:" + region + "::snapshot/" + exampleSnapshot}
	say := func(key, value string) {
		kind := iamtypes.ContextKeyTypeEnumString
		if key == "ec2:SnapshotLockDuration" {
			kind = iamtypes.ContextKeyTypeEnumNumeric
		}
		q.Context = append(q.Context, iamtypes.ContextEntry{ContextKeyName: &key, ContextKeyType: kind, ContextKeyValues: []string{value}})
	}
	say("aws:RequestedRegion", region)
	for key, value := range d.context {
		say(key, value)
	}
	return q
}

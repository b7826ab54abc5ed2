package cloudevidence

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// How often EC2 is asked how far snapshots are, and how long one that was made may be unknown to it.
const (
	pollFirst = 2 * time.Second
	pollMost  = 30 * time.Second
	unseen    = 3 * time.Minute
)

// Await waits until the snapshots of a set are stored, copies and shares them as was asked, and calls progress after each look. It returns
// early only with ctx's cause; what is known then is in the set, and the snapshots go on by themselves. What fails is in the set, too.
func (g *Gatherer) Await(ctx context.Context, t containment.Target, set *SnapshotSet, o SnapshotOptions, progress func()) error {
	if set.Error != "" || len(set.Snapshots) == 0 {
		return nil
	}
	set.Wanted = o.wanted()
	s, note, err := g.snapper(ctx, t, o, set)
	if err != nil {
		set.Snapshots[0].Errors = append(set.Snapshots[0].Errors, "it could not be waited for: "+unknown(err))
		return nil
	}
	note.fold = "DescribeSnapshots"
	ctx = note.in(ctx)
	defer func() { set.Calls = append(set.Calls, note.list()...) }()
	failing := 0
	for wait := pollFirst; ; wait = min(wait*2, pollMost) {
		switch err := s.look(ctx); {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			failing = 0
		default:
			if failing++; failing > 5 || containmentDenied(err) {
				set.Snapshots[0].Errors = append(set.Snapshots[0].Errors, "how far it is could not be read: "+unknown(err))
				return nil
			}
		}
		for _, x := range set.Snapshots {
			s.follow(ctx, x)
		}
		if progress != nil {
			progress()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !set.Pending() {
			return nil
		}
		if err := g.sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func containmentDenied(err error) bool {
	return awsconfig.Code(err) == "UnauthorizedOperation"
}

// look asks EC2 how far the snapshots and their copies are.
func (s *snapper) look(ctx context.Context) error {
	by := map[string]*Snapshot{}
	var ids []string
	for _, one := range s.set.Snapshots {
		for _, x := range []*Snapshot{one, one.Copy} {
			if x != nil && x.ID != "" && x.State != stateGone {
				by[x.ID], ids = x, append(ids, x.ID)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	found, err := s.find(ctx, filter("snapshot-id", ids...)...)
	if err != nil {
		return err
	}
	for _, f := range found {
		if x := by[aws.ToString(f.SnapshotId)]; x != nil {
			x.update(f)
			delete(by, x.ID)
		}
	}
	for _, x := range by {
		if x.State != statePending || s.g.now().Sub(s.set.Asked) > unseen && s.g.now().Sub(x.asked) > unseen {
			x.State, x.Message = stateGone, "EC2 does not know it any more: somebody deleted it"
		}
	}
	return nil
}

// follow does with a snapshot that is stored what was asked for: once each.
func (s *snapper) follow(ctx context.Context, x *Snapshot) {
	if x.State != stateCompleted {
		return
	}
	if s.o.CopyKey != "" && !x.copied {
		x.copied = true
		if err := s.copy(ctx, x); err != nil {
			x.copied = ctx.Err() == nil
			x.Errors = append(x.Errors, "it was not copied: "+awsconfig.Explain(err).Error())
		}
	}
	to := x
	if s.o.CopyKey != "" {
		if to = x.Copy; to == nil || to.State != stateCompleted {
			return
		}
	}
	if len(s.o.Share) > 0 && !to.shared {
		to.shared = true
		s.share(ctx, x, to)
	}
}

// copy copies a snapshot under the key, or takes the copy that an earlier run made.
func (s *snapper) copy(ctx context.Context, x *Snapshot) error {
	c, err := s.copyOf(ctx, x)
	if err != nil {
		return err
	}
	if c != nil {
		x.Copy = c
		s.set.Notes = append(s.set.Notes, c.ID+", the copy of "+x.ID+", was found by its tags, which could have been forged")
		s.lockFound(ctx, c)
		return nil
	}
	region := s.ec2.Options().Region
	about := "copy of " + x.ID + ", " + s.t.Name
	err = s.once(ctx, func(ctx context.Context) error {
		out, err := s.ec2.CopySnapshot(ctx, &ec2.CopySnapshotInput{
			SourceRegion: &region, SourceSnapshotId: &x.ID, Encrypted: aws.Bool(true), KmsKeyId: &s.o.CopyKey, Description: &about,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: []types.Tag{
				{Key: aws.String(tagCase), Value: &s.o.Case}, {Key: aws.String(tagInstance), Value: &s.t.Name}, {Key: aws.String(tagSet), Value: &s.set.Set},
				{Key: aws.String(tagCopyOf), Value: &x.ID}, {Key: aws.String(tagCopyKey), Value: &s.o.CopyKey},
			}}},
		}, askOnce)
		if err == nil {
			x.Copy = &Snapshot{ID: aws.ToString(out.SnapshotId), State: statePending, Encrypted: true, Key: s.o.CopyKey, asked: s.g.now()}
		}
		return err
	}, func(ctx context.Context, _ bool) bool {
		x.Copy, err = s.copyOf(ctx, x)
		return x.Copy != nil
	})
	if err != nil {
		return err
	}
	s.lock(ctx, x.Copy)
	return nil
}

// copyOf looks for a copy of a snapshot that was made for the case under the key; nil: there is none.
func (s *snapper) copyOf(ctx context.Context, x *Snapshot) (*Snapshot, error) {
	found, err := s.find(ctx, tagged(tagCopyOf, x.ID))
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		c := snapshotOf(f)
		if c.Encrypted && c.State != stateError && tagOf(f.Tags, tagCopyOf) == x.ID && tagOf(f.Tags, tagCase) == s.o.Case &&
			(sameKey(c.Key, s.o.CopyKey) || tagOf(f.Tags, tagCopyKey) == s.o.CopyKey) {
			c.Volume = ""
			return c, nil
		}
	}
	return nil, nil
}

// sameKey compares a key's ARN with how it was given: by ARN, or by id. Of an alias the copy's tag tells.
func sameKey(arn, given string) bool {
	return arn == given || strings.HasSuffix(arn, "/"+given)
}

// share lets accounts make volumes of a snapshot, to being x or its copy.
func (s *snapper) share(ctx context.Context, x, to *Snapshot) {
	for _, account := range s.o.Share {
		_, err := s.ec2.ModifySnapshotAttribute(ctx, &ec2.ModifySnapshotAttributeInput{
			SnapshotId: &to.ID, Attribute: types.SnapshotAttributeNameCreateVolumePermission, OperationType: types.OperationTypeAdd, UserIds: []string{account},
		})
		switch {
		case err == nil:
			to.Shared = append(to.Shared, account)
		case to.Encrypted && s.o.CopyKey == "" && !containmentDenied(err):
			x.Errors = append(x.Errors, fmt.Sprintf("it was not shared with %s: %v. What is encrypted with EBS's own key (aws/ebs) cannot be shared: have it copied with a key of yours that %s may use", account, err, account))
		default:
			x.Errors = append(x.Errors, fmt.Sprintf("%s was not shared with %s: %v", to.ID, account, awsconfig.Explain(err)))
		}
	}
}

// keyUse is what EBS does with a key for who makes a volume or a copy of a snapshot.
const keyUse = "kms:DescribeKey, kms:Decrypt, kms:ReEncrypt*, kms:GenerateDataKeyWithoutPlaintext and kms:CreateGrant"

// Needs says what an account that a snapshot was shared with needs beside, for people.
func (s *SnapshotSet) Needs() (lines []string) {
	for _, one := range s.Snapshots {
		for _, x := range []*Snapshot{one, one.Copy} {
			if x != nil && len(x.Shared) > 0 && x.Encrypted {
				lines = append(lines, fmt.Sprintf("%s is encrypted with %s: the policy of that key must allow %s %s",
					x.ID, x.Key, strings.Join(x.Shared, ", "), keyUse))
			}
		}
	}
	return lines
}

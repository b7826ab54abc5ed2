package cloudevidence

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

func (o SnapshotOptions) lockMode() types.LockMode {
	if o.Compliance {
		return types.LockModeCompliance
	}
	return types.LockModeGovernance
}

// lockText is the lock that is wanted; empty: none.
func (o SnapshotOptions) lockText() string {
	if o.LockDays == 0 {
		return ""
	}
	return fmt.Sprintf("%s, %d days", o.lockMode(), o.LockDays)
}

// lock locks snapshots that this run made, as was asked for. One that is not stored yet is locked, too: its time counts from when it is.
func (s *snapper) lock(ctx context.Context, list ...*Snapshot) {
	if s.o.LockDays == 0 {
		return
	}
	for _, x := range list {
		if x.ID == "" {
			continue
		}
		in := &ec2.LockSnapshotInput{SnapshotId: &x.ID, LockMode: s.o.lockMode(), LockDuration: &s.o.LockDays}
		if s.o.Compliance && s.o.CoolOff > 0 {
			in.CoolOffPeriod = &s.o.CoolOff
		}
		s.lockBy(ctx, x, in, s.o.lockText())
	}
}

func (s *snapper) lockBy(ctx context.Context, x *Snapshot, in *ec2.LockSnapshotInput, text string) {
	x.locking = true
	if _, err := s.ec2.LockSnapshot(ctx, in); err != nil {
		x.Errors = append(x.Errors, "it was not locked: "+awsconfig.Explain(err).Error())
		return
	}
	x.Locked = text
}

// A day less is no reason to lock anew: a lock counts from when the earlier run made it.
const lockSlack = 24 * time.Hour

// lockFound locks snapshots that were found by their tags: no lock gets shorter, and none is for good, as what was found may be forged.
func (s *snapper) lockFound(ctx context.Context, list ...*Snapshot) {
	if s.o.LockDays == 0 {
		return
	}
	locks, err := s.locks(ctx, list)
	now := s.g.now()
	until := now.AddDate(0, 0, int(s.o.LockDays))
	for _, x := range list {
		x.locking = true
		have, locked := locks[x.ID]
		end := aws.ToTime(have.LockExpiresOn).UTC()
		if have.LockExpiresOn == nil { // its time counts once it is stored
			end = now.AddDate(0, 0, int(aws.ToInt32(have.LockDuration)))
		}
		lasts := locked && !end.Before(until.Add(-lockSlack))
		hard := have.LockState == types.LockStateCompliance || have.LockState == types.LockStateComplianceCooloff
		fail := func(format string, args ...any) {
			x.Errors = append(x.Errors, "it was not locked: "+fmt.Sprintf(format, args...))
		}
		switch {
		case err != nil:
			fail("which lock it has: %s", unknown(err))
		case lasts && (hard || !s.o.Compliance):
			x.Locked = fmt.Sprintf("%s, until %s, as it was found", have.LockState, end.Format(time.RFC3339))
		case hard:
			fail("it has a lock in compliance mode until %s, which can only be made longer, and then for good", end.Format(time.RFC3339))
		case s.o.Compliance:
			fail("it was found by its tags, which could have been forged, and a lock in compliance mode is for good. Once you know that it is the one: aws ec2 lock-snapshot --region %s --snapshot-id %s --lock-mode compliance --lock-duration %d",
				s.ec2.Options().Region, x.ID, s.o.LockDays)
		case locked:
			s.lockBy(ctx, x, &ec2.LockSnapshotInput{SnapshotId: &x.ID, LockMode: types.LockModeGovernance, ExpirationDate: &until}, "governance, until "+until.Format(time.RFC3339))
		default:
			s.lock(ctx, x)
		}
	}
}

// locks are those in force, by the snapshots' ids.
func (s *snapper) locks(ctx context.Context, list []*Snapshot) (map[string]types.LockedSnapshotsInfo, error) {
	in := &ec2.DescribeLockedSnapshotsInput{}
	for _, x := range list {
		in.SnapshotIds = append(in.SnapshotIds, x.ID)
	}
	locks := map[string]types.LockedSnapshotsInfo{}
	for {
		out, err := s.ec2.DescribeLockedSnapshots(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, l := range out.Snapshots {
			if l.LockState != types.LockStateExpired {
				locks[aws.ToString(l.SnapshotId)] = l
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return locks, nil
		}
	}
}

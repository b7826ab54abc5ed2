package cloudevidence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// Tags of snapshots. Who may tag snapshots in the account can forge them.
const (
	tagCase     = "shotglass-case"
	tagInstance = "shotglass-instance"
	tagSet      = "shotglass-set"
	tagCopyOf   = "shotglass-copy-of"
)

// SnapshotOptions say what is done with the snapshots of an instance.
type SnapshotOptions struct {
	// Case is what the snapshots are tagged with. A second run for the same case takes those of the first, unless Again is set.
	Case  string
	Again bool
	// LockDays, if set, locks them for so long: in governance mode, which who has the permission can end; or, with
	// Compliance, so that nobody can, AWS included, once CoolOff (in hours; 0: none) has passed.
	LockDays   int32
	Compliance bool
	CoolOff    int32
	// CopyKey, if set, is the KMS key to copy them with once they are complete. What is shared are then the copies.
	CopyKey string
	// Share are the accounts that may make volumes of them.
	Share []string
}

// A SnapshotSet is the snapshots of all volumes of an instance, of one point in time.
type SnapshotSet struct {
	Set string `json:"set,omitempty"` // its tag
	// Earlier says that they were found by their tags: an earlier run of the case made them.
	Earlier   bool        `json:"of_an_earlier_run,omitempty"`
	Asked     time.Time   `json:"asked"` // examiner's clock
	Snapshots []*Snapshot `json:"snapshots,omitempty"`
	Calls     []Call      `json:"calls,omitempty"`
	Notes     []string    `json:"notes,omitempty"`
	Error     string      `json:"error,omitempty"` // why there are none
}

// A Snapshot is one of a volume, or a copy of one.
type Snapshot struct {
	ID        string    `json:"id"`
	Volume    string    `json:"volume,omitempty"`
	GiB       int32     `json:"volume_gib,omitempty"`
	Encrypted bool      `json:"encrypted,omitempty"`
	Key       string    `json:"kms_key,omitempty"`
	State     string    `json:"state"` // pending, completed, error, or gone
	Progress  string    `json:"progress,omitempty"`
	Message   string    `json:"message,omitempty"` // AWS's, of an error
	Started   time.Time `json:"started,omitzero"`  // AWS's clock
	Completed time.Time `json:"completed,omitzero"`
	Locked    string    `json:"locked,omitempty"`
	Shared    []string  `json:"shared_with,omitempty"`
	Copy      *Snapshot `json:"copy,omitempty"`
	// Errors say what was asked for and did not come about: a lock, a copy, a share.
	Errors []string `json:"errors,omitempty"`

	copied, shared bool // tried
}

// States of a snapshot; gone is what EC2 does not know any more.
const (
	statePending   = string(types.SnapshotStatePending)
	stateCompleted = string(types.SnapshotStateCompleted)
	stateError     = string(types.SnapshotStateError)
	stateGone      = "gone"
)

// failed says why there are no snapshots, or not all that was asked of them at once.
func (s *SnapshotSet) failed() (why []string) {
	if s == nil {
		return nil
	}
	if s.Error != "" {
		return []string{"snapshots: " + s.Error}
	}
	for _, one := range s.Snapshots {
		for _, e := range one.Errors {
			why = append(why, one.ID+" of "+one.Volume+": "+e)
		}
	}
	return why
}

// unfinished says what is not there yet, or failed.
func (s *SnapshotSet) unfinished() (why []string) {
	why = s.failed()
	for _, one := range s.Snapshots {
		for _, x := range []*Snapshot{one, one.Copy} {
			if x == nil || x.State == stateCompleted {
				continue
			}
			text := x.ID + " of " + one.Volume + ": " + x.State
			if x.State == statePending {
				text += ", " + cmp.Or(x.Progress, "0%")
			}
			if x.Message != "" {
				text += fmt.Sprintf(": %q", x.Message)
			}
			why = append(why, text)
			if x != one {
				why = append(why, x.Errors...)
			}
		}
	}
	return why
}

// Unfinished says what is not there yet, or failed; nothing: all is.
func (s *SnapshotSet) Unfinished() []string { return s.unfinished() }

// Clone is a copy that Await may change.
func (s *SnapshotSet) Clone() *SnapshotSet {
	c := *s
	c.Calls, c.Notes, c.Snapshots = slices.Clone(s.Calls), slices.Clone(s.Notes), nil
	for _, x := range s.Snapshots {
		one := *x
		one.Errors = slices.Clone(x.Errors)
		c.Snapshots = append(c.Snapshots, &one)
	}
	return &c
}

// Pending reports whether there is something to wait for.
func (s *SnapshotSet) Pending() bool {
	return slices.ContainsFunc(s.Snapshots, func(x *Snapshot) bool {
		return x.State == statePending || x.Copy != nil && x.Copy.State == statePending
	})
}

// Progress is how far the snapshots are, for people.
func (s *SnapshotSet) Progress() string {
	var parts string
	for _, x := range s.Snapshots {
		if x.Copy != nil {
			parts += fmt.Sprintf(", %s of %s copied, %s", x.ID, x.Volume, cmp.Or(x.Copy.Progress, x.Copy.State))
			continue
		}
		text := x.State
		if x.State == statePending {
			text = cmp.Or(x.Progress, "0%")
		}
		parts += fmt.Sprintf(", %s of %s %s", x.ID, x.Volume, text)
	}
	return parts[min(2, len(parts)):]
}

// A snapper makes the snapshots of one instance.
type snapper struct {
	g   *Gatherer
	t   containment.Target
	o   SnapshotOptions
	ec2 *ec2.Client
	set *SnapshotSet
}

func (g *Gatherer) snapper(ctx context.Context, t containment.Target, o SnapshotOptions, set *SnapshotSet) (*snapper, *calls, error) {
	cfg, err := g.Config(ctx, t)
	if err != nil {
		return nil, nil, err
	}
	cfg.APIOptions = append(cfg.APIOptions[:len(cfg.APIOptions):len(cfg.APIOptions)], noteCalls)
	return &snapper{g: g, t: t, o: o, ec2: ec2.NewFromConfig(cfg), set: set}, &calls{region: cfg.Region, now: g.now}, nil
}

// Start takes snapshots of all volumes of an instance in one call, which are of one point in time when it returns; to be stored
// they take minutes to hours, for which Await waits. Those that an earlier run of the same case made are taken in place of new ones, if they
// are of all volumes that the instance has. What fails is in the set.
func (g *Gatherer) Start(ctx context.Context, t containment.Target, o SnapshotOptions) *SnapshotSet {
	set := &SnapshotSet{Asked: g.now()}
	s, note, err := g.snapper(ctx, t, o, set)
	if err != nil {
		set.Error = unknown(err)
		return set
	}
	ctx, cancel := context.WithTimeoutCause(note.in(ctx), itemTime, fmt.Errorf("it took more than %s", itemTime))
	defer cancel()
	if err := s.start(ctx); err != nil {
		set.Error = "none was made: " + awsconfig.Explain(err).Error()
	} else {
		s.lock(ctx, set.Snapshots...)
	}
	set.Calls = note.list()
	return set
}

func (s *snapper) start(ctx context.Context) error {
	volumes, err := s.ec2.DescribeVolumes(ctx, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", s.t.Name)})
	if err != nil {
		return fmt.Errorf("which volumes the instance has: %w", err)
	}
	var ids []string
	for _, v := range volumes.Volumes {
		ids = append(ids, aws.ToString(v.VolumeId))
	}
	if len(ids) == 0 {
		return errors.New("the instance has no volumes: an instance store cannot be taken so, and those of a terminated instance are detached or gone")
	}
	if !s.o.Again {
		switch err := s.earlier(ctx, ids); {
		case err != nil:
			return fmt.Errorf("whether the case has snapshots already: %w", err)
		case s.set.Earlier:
			return nil
		}
	}
	return s.create(ctx, ids)
}

// earlier looks for a set of this case that is of all volumes, and takes the latest.
func (s *snapper) earlier(ctx context.Context, volumes []string) error {
	found, err := s.find(ctx, types.Filter{Name: aws.String("tag:" + tagCase), Values: []string{s.o.Case}}, types.Filter{Name: aws.String("tag:" + tagInstance), Values: []string{s.t.Name}})
	if err != nil {
		return err
	}
	sets := map[string][]*Snapshot{}
	for _, f := range found {
		if set := tagOf(f.Tags, tagSet); set != "" && tagOf(f.Tags, tagCopyOf) == "" {
			sets[set] = append(sets[set], snapshotOf(f))
		}
	}
	var latest time.Time
	for set, list := range sets {
		covers := !slices.ContainsFunc(volumes, func(v string) bool {
			return !slices.ContainsFunc(list, func(x *Snapshot) bool { return x.Volume == v && x.State != stateError })
		})
		if covers && !list[0].Started.Before(latest) {
			s.set.Set, s.set.Snapshots, s.set.Earlier, latest = set, list, true, list[0].Started
		}
	}
	if s.set.Earlier {
		s.set.Notes = append(s.set.Notes, "these were found by their tags, which who may tag snapshots could have forged: compare their times with the record of the earlier run")
	}
	return nil
}

// createTries is how often the set is asked for.
const createTries = 5

// create asks for a new set. The call has no token by which EC2 would know it again: if no answer came the set is looked for by its tag before
// another is asked for, and the SDK tries nothing again by itself.
func (s *snapper) create(ctx context.Context, volumes []string) error {
	var random [8]byte
	rand.Read(random[:]) //nolint:errcheck // it never fails
	s.set.Set = hex.EncodeToString(random[:])
	tags := []types.Tag{{Key: aws.String(tagCase), Value: &s.o.Case}, {Key: aws.String(tagInstance), Value: &s.t.Name}, {Key: aws.String(tagSet), Value: &s.set.Set}}
	about := fmt.Sprintf("evidence of %s, case %.100s", s.t.Name, plainText(s.o.Case))
	var err error
	for try := range createTries {
		if try > 0 {
			if serr := s.g.sleep(ctx, time.Second<<try); serr != nil {
				return errors.Join(err, serr)
			}
		}
		var out *ec2.CreateSnapshotsOutput
		out, err = s.ec2.CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
			InstanceSpecification: &types.InstanceSpecification{InstanceId: &s.t.Name}, Description: &about,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: tags}},
		}, func(o *ec2.Options) { o.Retryer = aws.NopRetryer{} })
		if err == nil {
			for _, x := range out.Snapshots {
				s.set.Snapshots = append(s.set.Snapshots, &Snapshot{
					ID: aws.ToString(x.SnapshotId), Volume: aws.ToString(x.VolumeId), GiB: aws.ToInt32(x.VolumeSize), Encrypted: aws.ToBool(x.Encrypted),
					State: cmp.Or(string(x.State), statePending), Progress: aws.ToString(x.Progress), Started: aws.ToTime(x.StartTime).UTC(),
				})
			}
			for _, v := range volumes {
				if !slices.ContainsFunc(s.set.Snapshots, func(x *Snapshot) bool { return x.Volume == v }) {
					s.set.Snapshots = append(s.set.Snapshots, &Snapshot{Volume: v, State: stateError, Errors: []string{"EC2 made no snapshot of this volume"}})
				}
			}
			return nil
		}
		switch code := awsconfig.Code(err); code {
		case "", "InternalError", "Unavailable", "ServiceUnavailable": // it may have been done
			if s.made(ctx, volumes) {
				return nil
			}
		case "RequestLimitExceeded", "Throttling", "SnapshotCreationPerVolumeRateExceeded", "ConcurrentSnapshotLimitExceeded":
		default:
			return err
		}
	}
	return err
}

// madeLooks is how often a set is looked for whose answer did not come: EC2 shows what was made after some seconds.
const madeLooks = 3

// made looks for the set that was asked for.
func (s *snapper) made(ctx context.Context, volumes []string) bool {
	for range madeLooks {
		if s.g.sleep(ctx, 2*time.Second) != nil {
			return false
		}
		found, err := s.find(ctx, types.Filter{Name: aws.String("tag:" + tagSet), Values: []string{s.set.Set}})
		if err == nil && len(found) >= len(volumes) {
			for _, f := range found {
				s.set.Snapshots = append(s.set.Snapshots, snapshotOf(f))
			}
			s.set.Notes = append(s.set.Notes, "EC2's answer was lost: the snapshots were found by their tag")
			return true
		}
	}
	return false
}

// find lists snapshots of the account.
func (s *snapper) find(ctx context.Context, filters ...types.Filter) (found []types.Snapshot, err error) {
	pages := ec2.NewDescribeSnapshotsPaginator(s.ec2, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters})
	for pages.HasMorePages() {
		out, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, out.Snapshots...)
	}
	return found, nil
}

func snapshotOf(f types.Snapshot) *Snapshot {
	x := &Snapshot{ID: aws.ToString(f.SnapshotId), Volume: aws.ToString(f.VolumeId)}
	x.update(f)
	return x
}

// update takes over what EC2 says of a snapshot.
func (x *Snapshot) update(f types.Snapshot) {
	x.GiB, x.Encrypted, x.Key = aws.ToInt32(f.VolumeSize), aws.ToBool(f.Encrypted), aws.ToString(f.KmsKeyId)
	x.State, x.Progress, x.Message = string(f.State), aws.ToString(f.Progress), aws.ToString(f.StateMessage)
	x.Started, x.Completed = aws.ToTime(f.StartTime).UTC(), time.Time{}
	if f.CompletionTime != nil {
		x.Completed = f.CompletionTime.UTC()
	}
}

func tagOf(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}

// plainText is text of the characters that every description takes.
func plainText(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '_'
		}
	}
	return string(b)
}

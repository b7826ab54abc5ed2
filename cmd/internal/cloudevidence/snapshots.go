package cloudevidence

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	tagCopyKey  = "shotglass-copy-key" // as it was given: by its alias, too
)

// SnapshotOptions say what is done with the snapshots of an instance.
type SnapshotOptions struct {
	// Set is the tag of the set that is made; empty: Start thinks of one. It is another for each instance.
	Set string
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
	Wanted    Wanted      `json:"wanted,omitzero"`
	Snapshots []*Snapshot `json:"snapshots,omitempty"`
	Calls     []Call      `json:"calls,omitempty"`
	Notes     []string    `json:"notes,omitempty"`
	Error     string      `json:"error,omitempty"` // why there are none, or why nobody knows
	// Unknown says that nobody knows whether any was made: what was has the tag of the set.
	Unknown bool `json:"unknown,omitempty"`
}

// Wanted is what was to be done with snapshots.
type Wanted struct {
	Lock    string   `json:"lock,omitempty"`
	CopyKey string   `json:"copy_key,omitempty"` // the copies are locked, too, and shared in place of the snapshots
	Share   []string `json:"share,omitempty"`
}

func (o SnapshotOptions) wanted() Wanted {
	return Wanted{Lock: o.lockText(), CopyKey: o.CopyKey, Share: o.Share}
}

// Plan is what Start is to make, unless the case has snapshots already, with the tag of the set, which it settles: so that it can be written down
// before anything is made.
func (o *SnapshotOptions) Plan(at time.Time) *SnapshotSet {
	o.Set = newSet()
	return &SnapshotSet{Set: o.Set, Asked: at, Wanted: o.wanted()}
}

func newSet() string {
	var random [8]byte
	rand.Read(random[:]) //nolint:errcheck // it never fails
	return hex.EncodeToString(random[:])
}

// isSet reports whether a text is what newSet makes.
func isSet(s string) bool {
	b, err := hex.DecodeString(s)
	return err == nil && len(b) == 8
}

// planned is what is known of a set whose run recorded no more than that it was to be made.
func (s *SnapshotSet) planned() *SnapshotSet {
	return &SnapshotSet{Set: s.Set, Asked: s.Asked, Wanted: s.Wanted, Error: fmt.Sprintf(
		"UNKNOWN whether any was made; what was has the tag %s=%.40s, and a second run for the case takes it", tagSet, s.Set)}
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

	locking, copied, shared bool      // tried
	asked                   time.Time // of a copy that this run made
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

// unfinished says what is not there yet, or failed: snapshots, copies, and what was wanted of each.
func (s *SnapshotSet) unfinished() (why []string) {
	why = s.failed()
	for _, one := range s.Snapshots {
		for _, x := range []*Snapshot{one, one.Copy} {
			if x == nil {
				continue
			}
			if x != one {
				for _, e := range x.Errors {
					why = append(why, x.ID+", the copy of "+one.ID+": "+e)
				}
			}
			if x.State != stateCompleted {
				text := x.ID + " of " + one.Volume + ": " + x.State
				if x.State == statePending {
					text += ", " + cmp.Or(x.Progress, "0%")
				}
				if x.Message != "" {
					text += fmt.Sprintf(": %q", x.Message)
				}
				why = append(why, text)
			}
		}
		why = append(why, s.Wanted.undone(one)...)
	}
	return why
}

// undone says what was wanted of a snapshot and is not there, unless its errors tell of that.
func (w Wanted) undone(one *Snapshot) (why []string) {
	if one.ID == "" || one.State == stateError || one.State == stateGone {
		return nil // nothing can be done with it
	}
	miss := func(x *Snapshot, tried bool, what string) {
		if !tried || len(one.Errors)+len(x.Errors) == 0 {
			why = append(why, x.ID+" of "+one.Volume+": "+what)
		}
	}
	last := one
	if w.CopyKey != "" {
		last = one.Copy
	}
	for _, x := range []*Snapshot{one, one.Copy} {
		if x != nil && w.Lock != "" && x.Locked == "" {
			miss(x, x.locking, "it was not locked")
		}
	}
	if last == nil {
		miss(one, one.copied, "it was not copied")
		last = one
	}
	for _, account := range w.Share {
		if last == one && w.CopyKey != "" || !slices.Contains(last.Shared, account) {
			miss(last, last.shared, "it was not shared with "+account)
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
		one.Errors, one.Shared = slices.Clone(x.Errors), slices.Clone(x.Shared)
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
	set := &SnapshotSet{Asked: g.now(), Wanted: o.wanted()}
	ctx, cancel := context.WithTimeoutCause(ctx, itemTime, fmt.Errorf("it took more than %s", itemTime))
	defer cancel()
	s, note, err := g.snapper(ctx, t, o, set)
	if err != nil {
		set.Error = "none was made: " + unknown(err)
		return set
	}
	ctx = note.in(ctx)
	switch err := s.start(ctx); {
	case errors.Is(err, errLost):
		set.Unknown = true
		set.Error = "UNKNOWN whether any was made; what was has the tag " + tagSet + "=" + set.Set + ", and a second run for the case takes it: " + awsconfig.Explain(err).Error()
	case err != nil:
		set.Error = "none was made: " + awsconfig.Explain(err).Error()
	case set.Earlier:
		s.lockFound(ctx, set.Snapshots...)
	default:
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
	found, err := s.find(ctx, tagged(tagCase, s.o.Case), tagged(tagInstance, s.t.Name))
	if err != nil {
		return err
	}
	sets := map[string][]*Snapshot{}
	for _, f := range found {
		if tagOf(f.Tags, tagCase) != s.o.Case || tagOf(f.Tags, tagInstance) != s.t.Name {
			continue
		}
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

// create asks for a new set. What EC2 made is known by the set's tag.
func (s *snapper) create(ctx context.Context, volumes []string) error {
	s.set.Set = cmp.Or(s.o.Set, newSet())
	tags := []types.Tag{{Key: aws.String(tagCase), Value: &s.o.Case}, {Key: aws.String(tagInstance), Value: &s.t.Name}, {Key: aws.String(tagSet), Value: &s.set.Set}}
	about := fmt.Sprintf("evidence of %s, case %.100s", s.t.Name, plainText(s.o.Case))
	lacks := "EC2 made no snapshot of this volume"
	err := s.once(ctx, func(ctx context.Context) error {
		out, err := s.ec2.CreateSnapshots(ctx, &ec2.CreateSnapshotsInput{
			InstanceSpecification: &types.InstanceSpecification{InstanceId: &s.t.Name}, Description: &about,
			TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeSnapshot, Tags: tags}},
		}, askOnce)
		if err != nil {
			return err
		}
		for _, x := range out.Snapshots {
			s.set.Snapshots = append(s.set.Snapshots, &Snapshot{
				ID: aws.ToString(x.SnapshotId), Volume: aws.ToString(x.VolumeId), GiB: aws.ToInt32(x.VolumeSize), Encrypted: aws.ToBool(x.Encrypted),
				State: cmp.Or(string(x.State), statePending), Progress: aws.ToString(x.Progress), Started: aws.ToTime(x.StartTime).UTC(),
			})
		}
		return nil
	}, func(ctx context.Context, last bool) bool {
		found, err := s.find(ctx, tagged(tagSet, s.set.Set))
		// A volume may have been detached since: fewer than there were are the set, too, if no more of them turn up.
		if err != nil || len(found) == 0 || len(found) < len(volumes) && !last {
			return false
		}
		for _, f := range found {
			s.set.Snapshots = append(s.set.Snapshots, snapshotOf(f))
		}
		s.set.Notes = append(s.set.Notes, "EC2's answer was lost: the snapshots were found by their tag")
		lacks = "no snapshot of this volume was found by the tag of the set"
		return true
	})
	if err != nil {
		return err
	}
	for _, v := range volumes {
		if !slices.ContainsFunc(s.set.Snapshots, func(x *Snapshot) bool { return x.Volume == v }) {
			s.set.Snapshots = append(s.set.Snapshots, &Snapshot{Volume: v, State: stateError, Errors: []string{lacks}})
		}
	}
	return nil
}

// find lists snapshots of the account.
func (s *snapper) find(ctx context.Context, filters ...types.Filter) (found []types.Snapshot, err error) {
	pages := ec2.NewDescribeSnapshotsPaginator(s.ec2, &ec2.DescribeSnapshotsInput{OwnerIds: []string{"self"}, Filters: filters, MaxResults: aws.Int32(1000)}) // EC2 may take minutes for one page of all
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

// tagged is a filter by a tag. EC2 knows wild cards in filters; who compares the tags that it answers with need not trust it.
func tagged(key, value string) types.Filter {
	return types.Filter{Name: aws.String("tag:" + key), Values: []string{wild.Replace(value)}}
}

var wild = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`)

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

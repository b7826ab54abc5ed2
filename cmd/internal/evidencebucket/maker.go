package evidencebucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// What we make carries this tag: it says that create may complete it.
const (
	TagKey  = "shotglass"
	TagMade = "evidence-bucket"
	tagLogs = "evidence-bucket-logs"
	tagKey  = "evidence-bucket-key"
)

// DefaultAbortDays is when an unfinished upload is ended: late, since its parts may be evidence that waits for shotglass upload.
const DefaultAbortDays = 30

// Terms are what a bucket is to have beside what all have.
type Terms struct {
	Bucket, Region string
	PathStyle      bool
	// KMSKey is the key of the evidence: ARN, id or alias. Empty: one is made, with an alias of the bucket's name.
	KMSKey string
	// LockMode and RetainDays are the default retention of objects; 0 days: none.
	LockMode   types.ObjectLockRetentionMode
	RetainDays int32
	AbortDays  int32 // 0: DefaultAbortDays
	// BreakGlass are the ARNs of the roles and users that may still delete objects and change settings.
	BreakGlass []string
	// LogBucket is one that exists, for access logs. Empty: one is made, called BUCKET-logs, unless NoLog.
	LogBucket string
	NoLog     bool
	Tags      map[string]string
	// Adopt completes also a bucket that does not carry our tag.
	Adopt bool
	// AcceptLockOut makes the policy although who calls is not among BreakGlass, or nobody can tell.
	AcceptLockOut bool
}

// A Maker makes an evidence bucket, or completes one. It is for one goroutine.
type Maker struct {
	Config aws.Config
	Terms  Terms
	// Sleep waits between two looks; nil: time passes. Tests have their own.
	Sleep func(context.Context, time.Duration) error

	me     caller
	keyARN string
}

// A Plan is what will be done, in order. It is for the Maker that made it, once.
type Plan struct {
	Bucket  string   `json:"bucket"`
	Region  string   `json:"region"`
	Account string   `json:"account"`
	Caller  string   `json:"caller"`
	Exists  bool     `json:"exists"`
	Steps   []Step   `json:"steps"`
	Notes   []string `json:"notes,omitempty"` // what stays as it is, and what to know
}

// A Step is one change.
type Step struct {
	ID   string `json:"id"`
	What string `json:"what"`

	place Place
	do    func(context.Context) error
	holds func(*settings) bool
}

// A RefusedError says why nothing was done.
type RefusedError struct{ Why, Fix string }

func (e *RefusedError) Error() string { return e.Why }

// Hint says what to do instead.
func (e *RefusedError) Hint() string { return e.Fix }

func refuse(fix, format string, v ...any) error {
	return &RefusedError{Why: fmt.Sprintf(format, v...), Fix: fix}
}

func (m *Maker) place() Place {
	return Place{Bucket: m.Terms.Bucket, Owner: m.me.account, PathStyle: m.Terms.PathStyle}
}

// logs is the bucket for access logs that is made.
func (m *Maker) logs() Place {
	return Place{Bucket: m.Terms.Bucket + "-logs", Owner: m.me.account, PathStyle: m.Terms.PathStyle}
}

// Plan looks at what is there, and says what is to be done. It only reads. Its error is a RefusedError when what is there
// must not be touched.
func (m *Maker) Plan(ctx context.Context) (*Plan, error) {
	t := &m.Terms
	if t.AbortDays == 0 {
		t.AbortDays = DefaultAbortDays
	}
	if t.AbortDays < LeastDays {
		return nil, refuse("", "unfinished uploads are left alone for %d days at least: shotglass upload may still have to finish one", LeastDays)
	}
	if err := ValidName(t.Bucket); err != nil {
		return nil, err
	}
	if makesLogs := !t.NoLog && t.LogBucket == ""; makesLogs {
		if err := ValidName(m.logs().Bucket); err != nil {
			return nil, refuse("--log-bucket BUCKET", "the bucket for access logs: %v", err)
		}
	}
	if t.Region == "" {
		t.Region = m.Config.Region
	}
	if t.Region == "" {
		return nil, refuse("--aws-region REGION", "in which region the bucket shall be is not known")
	}
	var err error
	if m.me, err = whoCalls(ctx, m.Config); err != nil {
		return nil, err
	}
	notes, err := m.guard(ctx)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Bucket: t.Bucket, Region: t.Region, Account: m.me.account, Caller: m.me.arn, Notes: notes}
	if plan.Exists, err = m.planOne(ctx, plan, m.place(), TagMade, t.Adopt, m.evidenceSteps); err != nil {
		return nil, err
	}
	return plan, nil
}

// planOne adds to the plan what a bucket lacks.
func (m *Maker) planOne(ctx context.Context, plan *Plan, p Place, tag string, adopt bool, steps func(context.Context, *Plan, *settings) ([]Step, error)) (exists bool, err error) {
	region, exists, err := p.find(ctx, m.Config)
	switch {
	case err != nil && status(err) == 403:
		return exists, refuse("choose another name, or ask for s3:ListBucket on it", "%s exists, and is of another account or who we are (%s) may not look at it: %s", p.Bucket, m.me.arn, short(err))
	case err != nil:
		return exists, fmt.Errorf("look for bucket %s: %w", p.Bucket, err)
	case exists && region != "" && region != m.Terms.Region:
		return exists, refuse("--aws-region "+region, "%s is in %s, not in %s", p.Bucket, region, m.Terms.Region)
	}
	have := &settings{}
	if exists {
		have = p.read(ctx, m.Config, m.Terms.Region)
		if err := have.unreadable(); err != nil {
			return exists, fmt.Errorf("%s: what it has must be known before anything is changed: %w", p.Bucket, err)
		}
		if !have.tagged(tag) && !adopt {
			return exists, refuse("--adopt completes it all the same; shotglass bucket check "+p.Bucket+" says what it lacks", "%s exists, and was not made by shotglass: it has no tag %s=%s", p.Bucket, TagKey, tag)
		}
	}
	list, err := steps(ctx, plan, have)
	if err != nil {
		return exists, err
	}
	for _, s := range list {
		if s.holds == nil || !s.holds(have) {
			plan.Steps = append(plan.Steps, s)
		}
	}
	return exists, nil
}

func (s *settings) tagged(value string) bool { return s.tags.v != nil && (*s.tags.v)[TagKey] == value }

// unreadable joins what could not be read, but for the key: it may be of another account.
func (s *settings) unreadable() error {
	var errs []error
	for _, e := range []readError{
		{idVersioning, s.versioning.err}, {idLock, s.lock.err}, {idEncryption, s.encryption.err}, {idAccess, s.access.err}, {idOwnership, s.ownership.err},
		{"policy", s.policy.err}, {idUploads, s.lifecycle.err}, {idLogging, s.logging.err}, {"tags", s.tags.err},
	} {
		if e.err != nil {
			errs = append(errs, &e)
		}
	}
	return errors.Join(errs...)
}

// A readError is a setting that could not be read.
type readError struct {
	id  string
	err error
}

func (e *readError) Error() string { return e.id + ": " + short(e.err) }

func (e *readError) Unwrap() error { return e.err }

// A HalfMadeError says what a run left that could not do all of its plan.
type HalfMadeError struct {
	Bucket string
	Done   []string
	Failed string
	Left   []string
	Err    error
}

func (e *HalfMadeError) Error() string {
	done := "nothing was changed before"
	if len(e.Done) > 0 {
		done = "done before: " + strings.Join(e.Done, ", ")
	}
	text := fmt.Sprintf("%s: %v; %s", e.Failed, e.Err, done)
	if len(e.Left) > 0 {
		text += "; not done: " + strings.Join(e.Left, ", ")
	}
	return text
}

func (e *HalfMadeError) Unwrap() error { return e.Err }

// Hint says how to go on.
func (e *HalfMadeError) Hint() string {
	if awsconfig.Code(e.Err) == "AccessDenied" {
		return "the permissions are in docs/bucket-policy.json; if the bucket's own policy denies it, a break-glass role must do it. Then run it again: it goes on where it stopped"
	}
	return "run it again: it goes on where it stopped; shotglass bucket check " + e.Bucket + " says what is there"
}

// How long a change may take to be seen, and the pause between looks.
const (
	patience = time.Minute
	pause    = time.Second
)

// settling are the codes of errors that S3 and KMS answer while what was made just now is not known everywhere.
var settling = []string{"NoSuchBucket", "OperationAborted", "InvalidTargetBucketForLogging", "NotFoundException"}

// Apply does a plan, one step after the other, each read back before the next. tell is called before each step. After an error,
// which is a HalfMadeError, the next Plan goes on where this stopped. Cancelling ends it between two calls.
func (m *Maker) Apply(ctx context.Context, plan *Plan, tell func(Step)) error {
	var done []string
	for i, s := range plan.Steps {
		tell(s)
		if err := m.step(ctx, s); err != nil {
			e := &HalfMadeError{Bucket: plan.Bucket, Done: done, Failed: s.ID, Err: err}
			for _, l := range plan.Steps[i+1:] {
				e.Left = append(e.Left, l.ID)
			}
			return e
		}
		done = append(done, s.ID)
	}
	return nil
}

func (m *Maker) step(ctx context.Context, s Step) error {
	if err := m.until(ctx, func() (bool, error) {
		err := s.do(ctx)
		return err == nil, err
	}); err != nil {
		return err
	}
	if s.holds == nil {
		return nil
	}
	return m.until(ctx, func() (bool, error) {
		have := s.place.read(ctx, m.Config, m.Terms.Region)
		if s.holds(have) {
			return true, nil
		}
		return false, have.unreadable()
	})
}

// until asks again while an answer may still change.
func (m *Maker) until(ctx context.Context, ask func() (bool, error)) error {
	sleep := m.Sleep
	if sleep == nil {
		sleep = wait
	}
	for waited := time.Duration(0); ; waited += pause {
		good, err := ask()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case good:
			return nil
		case err != nil && !slices.Contains(settling, awsconfig.Code(err)):
			return awsconfig.Explain(err)
		case waited >= patience && err != nil:
			return err
		case waited >= patience:
			return fmt.Errorf("it was set, and reading it back for %s shows something else", patience)
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

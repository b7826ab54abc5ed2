package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/sink"
)

// Create starts a small object, or one of unknown size.
func (s *Sink) Create(ctx context.Context, name string) (sink.Object, error) {
	if err := sink.ValidNew(name); err != nil {
		return nil, err
	}
	return s.newObject(ctx, name, 0, false)
}

// CreateSized starts an image, in segments if it may be larger than one.
func (s *Sink) CreateSized(ctx context.Context, name string, expected int64) (sink.Object, error) {
	if err := sink.ValidNew(name); err != nil {
		return nil, err
	}
	if expected > s.opts.SegmentSize {
		return s.createSegmented(ctx, name)
	}
	return s.newObject(ctx, name, expected, true)
}

func (s *Sink) newObject(ctx context.Context, name string, expected int64, image bool) (*object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !s.take(name) {
		return nil, fmt.Errorf("%s: is being written: %w", s.location(name), sink.ErrExists)
	}
	local := s.awaits(name) != ""
	api, err := s.client(ctx)
	if err == nil && !local {
		err = s.lookFor(ctx, api, name)
	}
	if err != nil {
		s.release(name)
		return nil, err
	}
	// What is captured outlives the context of whoever began it: see sink.Object.
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	o := &object{
		s: s, api: api, name: name, life: life, stop: stop,
		planned: expected > 0, partSize: partSize(s.opts.PartSize, expected),
		terms: s.terms(image), local: local,
		slots: make(chan struct{}, s.opts.Concurrency),
		free:  make(chan []byte, s.opts.Concurrency+1),
	}
	o.setLocation(s.location(name))
	return o, nil
}

// take reserves a name within this process; the service does it between processes.
func (s *Sink) take(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken[name] {
		return false
	}
	s.taken[name] = true
	return true
}

func (s *Sink) release(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, name)
}

// lookFor is checkFree, but with a spill a bucket that fails now stops nothing.
func (s *Sink) lookFor(ctx context.Context, api *s3.Client, name string) error {
	err := s.checkFree(ctx, api, name)
	if s.opts.Spill != "" && ctx.Err() == nil && !errors.Is(err, sink.ErrExists) {
		return nil
	}
	return err
}

// checkFree returns an error wrapping sink.ErrExists when there is an object called name.
// Who may write but not read is not told; the conditional write at the end decides anyway.
func (s *Sink) checkFree(ctx context.Context, api *s3.Client, name string) error {
	_, err := s.head(ctx, api, name)
	switch {
	case err == nil:
		return fmt.Errorf("%s: %w", s.location(name), sink.ErrExists)
	case errors.Is(err, fs.ErrNotExist), denied(err):
		return nil
	default:
		return err
	}
}

func (s *Sink) head(ctx context.Context, api *s3.Client, name string, how ...func(*s3.Options)) (*s3.HeadObjectOutput, error) {
	out, err := api.HeadObject(ctx, &s3.HeadObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), ExpectedBucketOwner: s.owner(), ChecksumMode: types.ChecksumModeEnabled,
	}, append(how, s.short, s.shakyOnes)...)
	if err != nil {
		if ctx.Err() != nil {
			return nil, cancelled(ctx, "look for", name)
		}
		return nil, s.fail("look for the object", name, err)
	}
	return out, nil
}

// terms are what every object of ours is stored under.
type terms struct {
	id      string // ours, to know an object again when the answer was lost
	class   types.StorageClass
	sse     types.ServerSideEncryption
	key     *string
	bucket  *bool
	tags    *string
	mode    types.ObjectLockMode
	until   *time.Time
	hold    types.ObjectLockLegalHoldStatus
	content *string
}

const idKey = "shotglass-id"

func (s *Sink) terms(image bool) terms {
	o := &s.opts
	t := terms{id: rand.Text(), mode: types.ObjectLockMode(o.LockMode), content: aws.String("application/octet-stream")}
	if image {
		t.class = types.StorageClass(o.StorageClass)
	}
	if o.KMSKey != "" {
		t.sse, t.key = types.ServerSideEncryptionAwsKms, &o.KMSKey
		if o.BucketKey {
			t.bucket = aws.Bool(true)
		}
	}
	if len(o.Tags) > 0 {
		v := url.Values{}
		for k, x := range o.Tags {
			v.Set(k, x)
		}
		t.tags = aws.String(strings.ReplaceAll(v.Encode(), "+", "%20"))
	}
	switch {
	case !o.RetainUntil.IsZero():
		t.until = aws.Time(o.RetainUntil.UTC())
	case o.RetainFor > 0:
		t.until = aws.Time(time.Now().UTC().Add(o.RetainFor).Truncate(time.Second))
	}
	if o.LegalHold {
		t.hold = types.ObjectLockLegalHoldStatusOn
	}
	return t
}

func (t *terms) metadata() map[string]string { return map[string]string{idKey: t.id} }

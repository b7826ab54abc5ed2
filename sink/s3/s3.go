// Package s3 stores evidence in a bucket of Amazon S3, or of a server that
// speaks its protocol.
//
// An image is written as one multipart upload, in parallel parts of a size that
// is planned from the expected size, so that S3's 10,000 parts suffice and the
// memory stays bounded; whatever fits in one part is written by a single request.
// Every part, and the whole object, carries a CRC64NVME that is computed here,
// checked by the service and compared with what the service answers. Names are
// taken by conditional writes: nothing is overwritten. S3 cannot rename, so a partial
// object lies under its plain name; see [sink.Neutral].
//
// The calls are those of service/s3 itself: the SDK's upload managers stop at 10,000
// small parts when the size is not known, leak uploads on cancellation, throw
// all parts away on a conflict and send no checksum of the full object.
//
// This is the only package of sinks that knows the AWS SDK.
package s3

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/sink"
)

// Options say where the evidence goes and how. Bucket is required.
type Options struct {
	Bucket string
	Prefix string // of every key; ends in a slash unless empty

	Region    string // empty: of the environment or profile, or asked of the bucket
	Profile   string
	Endpoint  string // URL of a server other than AWS
	PathStyle bool   // address the bucket in the path, as most other servers want

	RoleARN    string // role to assume for all calls
	ExternalID string // for that role

	// BucketOwner is the account that must own the bucket; the service refuses
	// every call if another does.
	BucketOwner string
	// InsecureHTTP allows http:// to a host that is not this one: anybody in
	// between reads the evidence.
	InsecureHTTP bool

	KMSKey       string // encrypt with SSE-KMS under this key; empty: as the bucket says
	BucketKey    bool   // with KMSKey: use an S3 Bucket Key
	StorageClass string // of images; what lies beside them is always in STANDARD
	Tags         map[string]string

	LockMode    string        // GOVERNANCE or COMPLIANCE, with one of the next two
	RetainUntil time.Time     // lock until then, or
	RetainFor   time.Duration // for so long after an object is begun
	LegalHold   bool

	// PartSize is the least size of parts; S3 wants 5 MiB at least. The default of 16 MiB
	// keeps requests few; up to 140 GiB need no more.
	PartSize int64
	// Concurrency is how many parts of one object are under way at once (default 3). An
	// object holds one part more than that in memory.
	Concurrency int
	// Attempts is how often a call is tried (default 10: about two minutes of failure).
	Attempts int

	HTTPClient *http.Client // nil: one with the SDK's defaults

	// Tests shorten these.
	backoff time.Duration // longest pause between attempts
	patient time.Duration // what an attempt may take whatever its size
}

func (o Options) withDefaults() Options {
	if o.PartSize == 0 {
		o.PartSize = defaultPartSize
	}
	if o.Concurrency == 0 {
		o.Concurrency = 3
	}
	if o.Attempts == 0 {
		o.Attempts = 10
	}
	if o.backoff == 0 {
		o.backoff = 20 * time.Second
	}
	if o.patient == 0 {
		o.patient = 30 * time.Second
	}
	return o
}

// Sink is a prefix in a bucket.
type Sink struct {
	opts Options
	cfg  aws.Config

	ready sync.Mutex // guards the next two
	api   *s3.Client
	found bool // the bucket was asked for its region

	mu    sync.Mutex
	taken map[string]bool // names of objects that have not ended
	check *findings       // of the last probe
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Sizer   = (*Sink)(nil)
	_ sink.Opener  = (*Sink)(nil)
	_ sink.Checker = (*Sink)(nil)
	_ sink.Neutral = (*Sink)(nil)
	_ sink.Teller  = (*Sink)(nil)
)

// New returns a sink. It reads configuration and credentials as every AWS tool does; the
// bucket is not asked for anything yet.
func New(ctx context.Context, opts Options) (*Sink, error) {
	opts = opts.withDefaults()
	if err := opts.valid(); err != nil {
		return nil, err
	}
	cfg, err := opts.config(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	return &Sink{opts: opts, cfg: cfg, taken: make(map[string]bool)}, nil
}

// String returns s3://bucket/prefix/.
func (s *Sink) String() string { return "s3://" + s.opts.Bucket + "/" + s.opts.Prefix }

// Neutral reports that partial objects lie under their plain names.
func (s *Sink) Neutral() bool { return true }

func (s *Sink) key(name string) string      { return s.opts.Prefix + name }
func (s *Sink) location(name string) string { return s.String() + name }

// owner is sent with every call.
func (s *Sink) owner() *string { return optional(s.opts.BucketOwner) }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

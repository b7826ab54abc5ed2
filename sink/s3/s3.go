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
// An image that is larger than [Options.SegmentSize] is stored as segments: NAME.000, NAME.001 and so on,
// whose concatenation is what was written, and NAME.segments, the list that makes them
// one. Open takes NAME, and presents one object.
//
// # Spill
//
// Memory cannot be captured twice; a bucket can fail for hours. With [Options.Spill] an object
// goes on in a local folder when the bucket has failed for good, that is, after all
// attempts of a part:
//
//   - Parts stay what they are: the same bytes under the same numbers. From then on they
//     become files of the folder SPILL/NAME.spill, each durable before the next is begun. The first are
//     those that were in memory because the bucket had not taken them; memory is as bounded as
//     before, and nothing is out of order.
//   - Parts that the bucket has taken stay in it: the upload is not aborted.
//   - Room for what is in memory, and for the description, is kept on the disk from the start of the spill.
//     When the disk is full, that room takes what was accepted already; the next Write fails.
//   - A journal in the folder lists each part that is durable. If this process is killed, [Finish] makes a partial object of those.
//   - At the end the bucket is tried again. If it takes the files, as the parts that they are,
//     the object is completed as ever, and the folder removed.
//   - If not, the folder gets a description, [Pieces], and Commit and Keep answer with a receipt that
//     has [sink.Receipt.Pending]: every byte is durable, and the object is not in the bucket. What lies
//     beside it (manifest, signature) goes to the folder too, so that it never comes first.
//   - [Finish] makes the object later: it looks for the parts of the upload, checks the files against
//     their digests, uploads them and completes the object under its name and terms.
//
// The parts in the bucket are as safe as the unfinished upload: should somebody abort it, delete
// the bucket, or a lifecycle rule end it, they are lost, and Finish says which bytes
// that are. S3 does not give back the parts of an upload that was not completed, so they cannot be
// copied to the disk either. Who fears that captures to a folder.
//
// This is the only package of sinks that knows the AWS SDK.
package s3

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	// SegmentSize is the size from which an image is stored as several objects, each of that size at
	// most (default 512 GiB): so parts have 56 MiB at most, whatever the image. It must hold a part.
	SegmentSize int64
	// Concurrency is how many parts of one object are under way at once (default 3). An
	// object holds one part more than that in memory.
	Concurrency int
	// Attempts is how often a call is tried (default 10: one to two minutes of failure; with a
	// Spill 6: some 20 s, as the memory changes while the target waits).
	Attempts int

	// Spill is a folder for what the bucket does not take; empty: none. See the
	// package comment.
	Spill string
	// ReadWithin is how long a read may wait for the service (default 90 s), which is asked again and again
	// meanwhile. Whoever shows an image to others gives an answer earlier.
	ReadWithin time.Duration
	// Warn is called, from any goroutine, when the bucket has failed and the spill is used, and when reading goes on
	// with an earlier version of an object.
	Warn func(text string)

	HTTPClient *http.Client // nil: one with the SDK's defaults

	// Tests shorten these.
	backoff time.Duration // longest pause between attempts
	patient time.Duration // how long nothing may move in an attempt
	folder  func(dir string) (folder, error)
}

func (o Options) withDefaults() Options {
	if o.PartSize == 0 {
		o.PartSize = defaultPartSize
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.Concurrency == 0 {
		o.Concurrency = 3
	}
	if o.Attempts == 0 {
		o.Attempts = 10
		if o.Spill != "" {
			o.Attempts = 6
		}
	}
	if o.backoff == 0 {
		o.backoff = 20 * time.Second
	}
	if o.patient == 0 {
		o.patient = 30 * time.Second
	}
	if o.ReadWithin == 0 {
		o.ReadWithin = 3 * o.patient
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.folder == nil {
		o.folder = func(dir string) (folder, error) { return sink.NewDisk(dir) }
	}
	return o
}

// Sink is a prefix in a bucket.
type Sink struct {
	opts  Options
	cfg   aws.Config
	creds *renewable // of reading

	ready sync.Mutex // guards the next two
	api   *s3.Client
	found bool // the bucket was asked for its region

	mu    sync.Mutex
	taken map[string]bool // names of objects that have not ended
	check *findings       // of the last probe

	pending []string    // objects in pieces; guarded by mu
	shaky   atomic.Bool // the bucket has failed lately: fewer attempts
}

var (
	_ sink.Sink    = (*Sink)(nil)
	_ sink.Sizer   = (*Sink)(nil)
	_ sink.Opener  = (*Sink)(nil)
	_ sink.Checker = (*Sink)(nil)
	_ sink.Neutral = (*Sink)(nil)
	_ sink.Teller  = (*Sink)(nil)
	_ sink.Spiller = (*Sink)(nil)
	_ sink.Waiter  = (*Sink)(nil)
	_ sink.Weigher = (*Sink)(nil)
)

// New returns a sink. It reads configuration and credentials as every AWS tool does; the
// bucket is not asked for anything yet.
func New(ctx context.Context, opts Options) (*Sink, error) {
	opts = opts.withDefaults()
	if err := opts.valid(); err != nil {
		return nil, err
	}
	if opts.Spill != "" {
		var err error
		if opts.Spill, err = filepath.Abs(opts.Spill); err != nil {
			return nil, err
		}
	}
	cfg, err := opts.config(ctx)
	if err != nil {
		return nil, fmt.Errorf("AWS configuration: %w", err)
	}
	creds := &renewable{now: cfg.Credentials, load: func(ctx context.Context) (aws.CredentialsProvider, error) {
		again, err := opts.config(ctx)
		return again.Credentials, err
	}, told: func() { opts.Warn("the credentials had ended; reading goes on with new ones") }}
	return &Sink{opts: opts, cfg: cfg, creds: creds, taken: make(map[string]bool)}, nil
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

package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"
)

// A part is one of a multipart upload. It keeps its bytes until the service has them.
type part struct {
	number int32
	size   int64
	crc    uint64 // of the part
	total  uint64 // of the object up to its end
	end    int64  // offset of its end
	data   []byte // nil once stored, or in a file
	etag   string
	stored bool // the service has it
	err    error

	file   string // in the spill, if the service did not take it
	sha256 string // of the file
}

// A partError says that a part could not be stored.
type partError struct {
	number int32
	err    error
}

func (e *partError) Error() string { return fmt.Sprintf("part %d: %v", e.number, e.err) }
func (e *partError) Unwrap() error { return e.err }

// send hands the filled buffer over: to be uploaded, or, once the bucket has failed, to the spill.
// It waits while enough parts are under way. After an error the buffer is still there.
func (o *object) send(ctx context.Context) error {
	if len(o.parts) == maxParts {
		return fmt.Errorf("%s: %d parts are full, S3 takes no more", o.Location(), maxParts)
	}
	if o.spill == nil {
		err := o.ready(ctx)
		if err == nil {
			o.start(ctx, o.cut())
			return nil
		}
		if !o.spillable(err) {
			return err
		}
		if serr := o.beginSpill(err); serr != nil {
			return errors.Join(err, serr)
		}
	}
	return o.spillPart(o.cut())
}

// ready says whether a part can be uploaded.
func (o *object) ready(ctx context.Context) error {
	if o.upload == nil {
		if err := o.begin(ctx); err != nil {
			return err
		}
	}
	if o.lost.Load() {
		if err := o.wait(ctx); err != nil {
			return err
		}
		return o.failed()
	}
	return nil
}

// cut makes a part of the buffer.
func (o *object) cut() *part {
	p := &part{number: int32(len(o.parts) + 1), size: int64(len(o.buf)), crc: crc64nvme.Checksum(o.buf), total: o.crc, end: o.size, data: o.buf}
	o.parts, o.buf = append(o.parts, p), nil
	return p
}

// start uploads a part beside others, until ctx ends. It waits for a slot. When another part was
// lost meanwhile, this one is not tried.
func (o *object) start(ctx context.Context, p *part) {
	o.slots <- struct{}{}
	o.wg.Go(func() {
		defer func() { <-o.slots }()
		if p.err = nil; o.lost.Load() {
			return
		}
		if p.err = o.sendPart(ctx, p); p.err != nil {
			o.lost.Store(true)
			return
		}
		p.stored = true
		o.recycle(p)
	})
}

// recycle lets another part have the buffer.
func (o *object) recycle(p *part) {
	select {
	case o.free <- p.data[:0]:
	default:
	}
	p.data = nil
}

// failed returns why not every part is stored. No part may be under way.
func (o *object) failed() error {
	var unsent error
	for _, p := range o.parts {
		switch {
		case p.stored:
		case p.err != nil:
			return &partError{p.number, p.err}
		case unsent == nil:
			unsent = &partError{p.number, errUnsent}
		}
	}
	return unsent
}

var errUnsent = errors.New("not sent")

// begin creates the multipart upload.
func (o *object) begin(ctx context.Context) error {
	id, err := o.s.createUpload(ctx, o.api, o.name, &o.terms)
	if err != nil {
		return err
	}
	o.upload = &id
	if o.spill != nil {
		if err := o.spill.remember(id); err != nil {
			o.s.warn(fmt.Sprintf("%s: the upload %q will not be found again if this is cut off: %v", o.name, id, err))
		}
	}
	o.setLocation(o.s.location(o.name) + "?uploadId=" + url.QueryEscape(id))
	return nil
}

func (s *Sink) createUpload(ctx context.Context, api *s3.Client, name string, t *terms) (id string, err error) {
	out, err := api.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), ExpectedBucketOwner: s.owner(),
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumType: types.ChecksumTypeFullObject,
		Metadata: t.metadata(), ContentType: t.content, StorageClass: t.class, Tagging: t.tags,
		ServerSideEncryption: t.sse, SSEKMSKeyId: t.key, BucketKeyEnabled: t.bucket,
		ObjectLockMode: t.mode, ObjectLockRetainUntilDate: t.until, ObjectLockLegalHoldStatus: t.hold,
	}, s.short, s.shakyOnes)
	if err != nil {
		if ctx.Err() != nil {
			return "", cancelled(ctx, "begin upload of", name)
		}
		return "", s.fail("begin a multipart upload", name, err)
	}
	if aws.ToString(out.UploadId) == "" {
		return "", s.fail("begin a multipart upload", name, errors.New("the answer names no upload"))
	}
	return *out.UploadId, nil
}

// sendPart uploads a part. Each attempt reads the buffer again. An answer with another
// checksum is taken for a part that was damaged, and the part is sent again.
func (o *object) sendPart(ctx context.Context, p *part) error {
	data, err := o.load(p)
	if err != nil {
		return err
	}
	for range 3 {
		if err = o.s.uploadPart(ctx, o.api, o.name, *o.upload, p, data); !errors.Is(err, errChecksum) {
			return err
		}
	}
	return err
}

// errChecksum says that the service has other bytes than were sent.
var errChecksum = errors.New("the service answers with another checksum")

func (s *Sink) uploadPart(ctx context.Context, api *s3.Client, name, upload string, p *part, data []byte) error {
	body := s.body(data)
	out, err := api.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), UploadId: &upload, ExpectedBucketOwner: s.owner(),
		PartNumber: &p.number, Body: body, ContentLength: &p.size,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumCRC64NVME: aws.String(checksum(p.crc)),
	}, s.unsigned, within(s.limit(p.size), body), s.shakyOnes)
	if err != nil {
		return s.fail(fmt.Sprintf("upload part %d", p.number), name, err)
	}
	if got := aws.ToString(out.ChecksumCRC64NVME); got != "" && got != checksum(p.crc) {
		return s.fail(fmt.Sprintf("upload part %d", p.number), name, fmt.Errorf("%w: CRC64NVME %q, ours is %s", errChecksum, got, checksum(p.crc)))
	}
	p.etag = aws.ToString(out.ETag)
	return nil
}

// abortUpload ends a multipart upload with all its parts, also when ctx has ended.
func (s *Sink) abortUpload(ctx context.Context, api *s3.Client, name string, upload *string) error {
	if upload == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_, err := api.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), UploadId: upload, ExpectedBucketOwner: s.owner(),
	}, s.short)
	if e := s.fail("abort the multipart upload", name, err); e != nil && !isGone(e) {
		return fmt.Errorf("%w: its parts are stored, and paid for, until upload %q is aborted", e, *upload)
	}
	return nil
}

func isGone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == "NoSuchUpload"
}

package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/sink"
)

// An answer is what the service says of an object that it stored.
type answer struct {
	checksum, etag, version *string
	sse                     types.ServerSideEncryption
	key                     *string
}

// put stores the buffer as one object.
func (o *object) put(ctx context.Context, name string) error {
	s, t := o.s, &o.terms
	size, body := int64(len(o.buf)), s.body(o.buf)
	out, err := o.api.PutObject(ctx, &s3.PutObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), ExpectedBucketOwner: s.owner(), IfNoneMatch: aws.String("*"),
		Body: body, ContentLength: &size,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumCRC64NVME: aws.String(checksum(o.crc)),
		Metadata: t.metadata(), ContentType: t.content, StorageClass: t.class, Tagging: t.tags,
		ServerSideEncryption: t.sse, SSEKMSKeyId: t.key, BucketKeyEnabled: t.bucket,
		ObjectLockMode: t.mode, ObjectLockRetainUntilDate: t.until, ObjectLockLegalHoldStatus: t.hold,
	}, s.unsigned, within(s.limit(size), body), s.shakyOnes)
	if err == nil {
		return o.accept(ctx, name, o.size, o.crc, answer{out.ChecksumCRC64NVME, out.ETag, out.VersionId, out.ServerSideEncryption, out.SSEKMSKeyId})
	}
	return o.refused(ctx, name, "store the object", o.size, o.crc, err)
}

// storeElsewhere stores under another name what lost the race for its own. A multipart
// upload cannot do that: it is bound to its key.
func (o *object) storeElsewhere(ctx context.Context) error {
	tail := "-" + strings.ToLower(rand.Text()[:8])
	name := o.name[:min(len(o.name), sink.MaxName-len(tail))] + tail
	return o.put(ctx, name)
}

// completing is how fast a service puts parts together at least: one that copies them is as
// slow as its disks.
const completing = 128 << 20 // bytes per second

// complete makes an object of parts.
func (o *object) complete(ctx context.Context, parts []*part, size int64, crc uint64) error {
	s := o.s
	list := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		list[i] = types.CompletedPart{PartNumber: &p.number, ETag: aws.String(p.etag), ChecksumCRC64NVME: aws.String(checksum(p.crc))}
	}
	out, err := o.api.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(o.name)), UploadId: o.upload, ExpectedBucketOwner: s.owner(),
		IfNoneMatch: aws.String("*"), MpuObjectSize: &size,
		ChecksumType: types.ChecksumTypeFullObject, ChecksumCRC64NVME: aws.String(checksum(crc)),
		MultipartUpload: &types.CompletedMultipartUpload{Parts: list},
	}, within(4*s.opts.patient+time.Duration(size/completing)*time.Second, nil), s.shakyOnes)
	if err == nil {
		return o.accept(ctx, o.name, size, crc, answer{out.ChecksumCRC64NVME, out.ETag, out.VersionId, out.ServerSideEncryption, out.SSEKMSKeyId})
	}
	err = o.refused(ctx, o.name, "complete the object", size, crc, err)
	if errors.Is(err, sink.ErrExists) {
		err = fmt.Errorf("%w; what was captured stays as the parts of upload %q, which can be completed under this key alone, once that is free", err, *o.upload)
	}
	return err
}

// refused finds out whether the object was stored although the call failed: the answer to an
// earlier attempt may have been lost, and then the next one finds the name taken, by us.
func (o *object) refused(ctx context.Context, name, op string, size int64, crc uint64, err error) error {
	if ctx.Err() != nil {
		return cancelled(ctx, op, name)
	}
	err = o.s.fail(op, name, err)
	if !errors.Is(err, sink.ErrExists) && !isGone(err) {
		return err
	}
	head, herr := o.s.head(ctx, o.api, name)
	if herr != nil || head.Metadata[idKey] != o.terms.id {
		return err
	}
	return o.accept(ctx, name, size, crc, answer{head.ChecksumCRC64NVME, head.ETag, head.VersionId, head.ServerSideEncryption, head.SSEKMSKeyId})
}

// accept compares what the service stored with what was written.
func (o *object) accept(ctx context.Context, name string, size int64, crc uint64, a answer) error {
	if aws.ToString(a.checksum) == "" {
		// Not every server answers with the checksum; then its size at least is asked for.
		head, err := o.s.head(ctx, o.api, name)
		switch {
		case err == nil && aws.ToInt64(head.ContentLength) != size:
			return fmt.Errorf("%s: stored with %d bytes, %d were written", o.s.location(name), aws.ToInt64(head.ContentLength), size)
		case err == nil:
			a.checksum = head.ChecksumCRC64NVME
		case !denied(err):
			return err
		}
	}
	r := &sink.Receipt{Name: name, Size: size, ETag: strings.Trim(aws.ToString(a.etag), `"`)}
	if v := aws.ToString(a.version); v != "null" {
		r.VersionID = v
	}
	if got := aws.ToString(a.checksum); got != "" {
		if got != checksum(crc) {
			return fmt.Errorf("%s: %w: CRC64NVME %q, ours is %s", o.s.location(name), errChecksum, got, checksum(crc))
		}
		r.Checksums = map[string]string{"crc64nvme": got}
	}
	if a.sse != "" {
		r.Encryption = strings.TrimSpace(string(a.sse) + " " + aws.ToString(a.key))
		if o.terms.sse != "" && a.sse != o.terms.sse {
			return fmt.Errorf("%s: stored with encryption %q, %q was asked for", o.s.location(name), a.sse, o.terms.sse)
		}
	}
	o.stored = r
	o.setLocation(o.s.location(name))
	return nil
}

// truncate completes an object that ends before the first part that could not be stored.
func (o *object) truncate(ctx context.Context, why error) error {
	var size int64
	var good []*part
	for _, p := range o.parts {
		if !p.stored {
			break
		}
		good, size = append(good, p), size+p.size
	}
	if len(good) == 0 {
		return errors.Join(why, sink.ErrNothing, o.s.abortUpload(ctx, o.api, o.name, o.upload))
	}
	if err := o.complete(ctx, good, size, good[len(good)-1].total); err != nil {
		return errors.Join(why, err)
	}
	return nil
}

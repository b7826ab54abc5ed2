package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
)

// Look reads a small object in whole, with its ETag: what Replace wants to see there again. It is for what is no
// evidence, and changes. An object of more than limit bytes is an error.
func (s *Sink) Look(ctx context.Context, name string, limit int64) (data []byte, etag string, err error) {
	if err := sink.ValidName(name); err != nil {
		return nil, "", err
	}
	api, err := s.client(ctx)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit(limit))
	defer cancel()
	out, err := api.GetObject(ctx, &s3.GetObjectInput{Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), ExpectedBucketOwner: s.owner()}, few)
	if err != nil {
		return nil, "", s.fail("read", name, err)
	}
	defer out.Body.Close()
	data, err = io.ReadAll(io.LimitReader(out.Body, limit+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("%s: read: %w", s.location(name), err)
	case int64(len(data)) > limit:
		return nil, "", fmt.Errorf("%s: %w: more than %d bytes", s.location(name), ErrTooLong, limit)
	case out.ContentLength != nil && *out.ContentLength != int64(len(data)):
		return nil, "", fmt.Errorf("%s: %d of its %d bytes came", s.location(name), len(data), *out.ContentLength)
	}
	return data, aws.ToString(out.ETag), nil
}

// ErrTooLong is wrapped by the error of Look for an object that is longer than its limit.
var ErrTooLong = errors.New("is too long")

// Replace stores a small object in place of the one with an ETag, or of none if that is empty, and returns the
// new ETag. If something else is there, the error is sink.ErrExists. After another error the old object is there, or
// the new.
func (s *Sink) Replace(ctx context.Context, name string, data []byte, etag string) (next string, err error) {
	if err := sink.ValidNew(name); err != nil {
		return "", err
	}
	api, err := s.client(ctx)
	if err != nil {
		return "", err
	}
	t, size, body := s.terms(false), int64(len(data)), s.body(data)
	in := &s3.PutObjectInput{
		Bucket: &s.opts.Bucket, Key: aws.String(s.key(name)), ExpectedBucketOwner: s.owner(),
		Body: body, ContentLength: &size, ContentType: t.content,
		ChecksumAlgorithm: types.ChecksumAlgorithmCrc64nvme, ChecksumCRC64NVME: aws.String(checksum(crc64nvme.Checksum(data))),
		ServerSideEncryption: t.sse, SSEKMSKeyId: t.key, BucketKeyEnabled: t.bucket, Tagging: t.tags,
	}
	if etag == "" {
		in.IfNoneMatch = aws.String("*")
	} else {
		in.IfMatch = &etag
	}
	out, err := api.PutObject(ctx, in, s.unsigned, within(s.limit(size), body), s.shakyOnes)
	if err == nil {
		return aws.ToString(out.ETag), nil
	}
	err = s.fail("store the object", name, err)
	if etag != "" && errors.Is(err, fs.ErrNotExist) && !isBucketGone(err) {
		return "", fmt.Errorf("%w: %w", sink.ErrExists, err) // the one to replace is gone
	}
	return "", err
}

package s3

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// IsURL reports whether place is meant to be in S3.
func IsURL(place string) bool { return strings.HasPrefix(place, "s3://") }

// bucketName is what S3 allows; other servers allow no less.
var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

// ParseURL takes s3://bucket/prefix/ apart. A prefix is a folder: it gets its final slash.
func ParseURL(place string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(place, "s3://")
	if !ok {
		return "", "", fmt.Errorf("%q does not start with s3://", place)
	}
	bucket, prefix, _ = strings.Cut(rest, "/")
	if !bucketName.MatchString(bucket) {
		return "", "", fmt.Errorf("%q: %q is no name of a bucket", place, bucket)
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return bucket, "", nil
	}
	for part := range strings.SplitSeq(prefix, "/") {
		if part == "" || part == "." || part == ".." {
			return "", "", fmt.Errorf("%q: the prefix has an element %q", place, part)
		}
	}
	// What S3 calls safe, and '='; the rest needs care in one tool or another.
	for _, c := range []byte(prefix) {
		if !strings.ContainsRune("/!-_.*'()=+@", rune(c)) && !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9') {
			return "", "", fmt.Errorf("%q: character %q is not safe in a prefix", place, c)
		}
	}
	if len(prefix) > 700 { // keys have at most 1024 bytes
		return "", "", fmt.Errorf("prefix has %d bytes, more than 700", len(prefix))
	}
	return bucket, prefix + "/", nil
}

// ParseObjectURL takes s3://bucket/prefix/name apart.
func ParseObjectURL(place string) (bucket, prefix, name string, err error) {
	i := strings.LastIndexByte(place, '/')
	if !IsURL(place) || i < len("s3://") || i == len(place)-1 {
		return "", "", "", fmt.Errorf("%q: want s3://bucket/name of an object", place)
	}
	bucket, prefix, err = ParseURL(place[:i])
	return bucket, prefix, place[i+1:], err
}

var account = regexp.MustCompile(`^[0-9]{12}$`)

func (o *Options) valid() error {
	if !bucketName.MatchString(o.Bucket) {
		return fmt.Errorf("%q is no name of a bucket", o.Bucket)
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		switch {
		case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "":
			return errors.New("the endpoint is no URL such as https://s3.example.org")
		case u.Scheme == "https":
		case u.Scheme != "http":
			return fmt.Errorf("endpoint %q: want https://", o.Endpoint)
		case !o.InsecureHTTP && !loopback(u.Hostname()):
			return fmt.Errorf("endpoint %q: without TLS anybody in between can read and forge the evidence", o.Endpoint)
		}
	}
	if o.BucketOwner != "" && !account.MatchString(o.BucketOwner) {
		return fmt.Errorf("%q is no account: want 12 digits", o.BucketOwner)
	}
	if o.ExternalID != "" && o.RoleARN == "" {
		return errors.New("an external id is for a role to assume, and there is none")
	}
	if m := types.ObjectLockMode(o.LockMode); o.LockMode != "" && !slices.Contains(m.Values(), m) {
		return fmt.Errorf("%q is no mode of Object Lock", o.LockMode)
	}
	if kept := o.RetainFor > 0 || !o.RetainUntil.IsZero(); kept != (o.LockMode != "") {
		return errors.New("a lock takes a mode and a time together")
	}
	if c := types.StorageClass(o.StorageClass); o.StorageClass != "" && !slices.Contains(c.Values(), c) {
		return fmt.Errorf("%q is no storage class: want one of %v", o.StorageClass, c.Values())
	}
	if len(o.Tags) > 10 {
		return fmt.Errorf("%d tags, an object has at most 10", len(o.Tags))
	}
	if o.PartSize < minPartSize || o.PartSize > maxPartSize {
		return fmt.Errorf("part size %d: want %d to %d", o.PartSize, minPartSize, int64(maxPartSize))
	}
	if o.SegmentSize < o.PartSize {
		return fmt.Errorf("segments of %d bytes hold no part of %d", o.SegmentSize, o.PartSize)
	}
	if o.Concurrency < 1 || o.Attempts < 1 {
		return errors.New("concurrency and attempts start at 1")
	}
	return nil
}

package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/crc64nvme"

	"github.com/shotglass-ir/shotglass/sink"
)

// findings are what the last probe of the bucket found.
type findings struct {
	versions string
	lock     string
	readable bool // or unknown
}

// Check proves that Create would work for name: that the name is free and, once, that an
// upload can be begun under the terms of ours, takes a part, and can be aborted. That leaves no object.
func (s *Sink) Check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := sink.ValidNew(name); err != nil {
		return err
	}
	api, err := s.client(ctx)
	if err != nil {
		return err
	}
	readable := true
	switch _, err := s.head(ctx, api, name, few); {
	case err == nil:
		return fmt.Errorf("%s: %w", s.location(name), sink.ErrExists)
	case denied(err):
		readable = false
	case isBucketGone(err) || !isNotFound(err):
		return err
	}
	if err := s.checkFree(ctx, api, name+sink.SegmentsSuffix); errors.Is(err, sink.ErrExists) {
		return err
	}
	s.mu.Lock()
	done := s.check != nil
	s.mu.Unlock()
	if done {
		return nil
	}
	if err := s.checkSpill(ctx); err != nil {
		return fmt.Errorf("spill: %w", err)
	}
	f := &findings{readable: readable}
	if f.versions, f.lock, err = s.settings(ctx, api); err != nil {
		return err
	}
	if err := s.probe(ctx, api); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check = f
	return nil
}

func isNotFound(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == 404
}

func isBucketGone(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == "NoSuchBucket"
}

// probe rehearses an upload. Its name starts with a dot, which no object of ours does.
func (s *Sink) probe(ctx context.Context, api *s3.Client) (err error) {
	name, t := ".shotglass-check-"+rand.Text(), s.terms(true)
	id, err := s.createUpload(ctx, api, name, &t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.abortUpload(ctx, api, name, &id)) }()
	data := []byte{'\n'}
	return s.uploadPart(ctx, api, name, id, &part{number: 1, size: 1, crc: crc64nvme.Checksum(data)}, data)
}

// settings asks for versioning and Object Lock. Who may not ask gets "not known".
func (s *Sink) settings(ctx context.Context, api *s3.Client) (versions, lock string, err error) {
	versions, lock = "not known", "not known"
	v, err := api.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: &s.opts.Bucket, ExpectedBucketOwner: s.owner()}, s.short, few)
	switch {
	case ctx.Err() != nil:
		return "", "", cancelled(ctx, "check", s.opts.Bucket)
	case err == nil && v.Status == types.BucketVersioningStatusEnabled:
		versions = "on"
	case err == nil && v.Status == types.BucketVersioningStatusSuspended:
		versions = "suspended"
	case err == nil:
		versions = "off"
	}
	l, err := api.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &s.opts.Bucket, ExpectedBucketOwner: s.owner()}, s.short, few)
	var e *Error
	failed := s.fail("ask for Object Lock", "", err)
	switch {
	case ctx.Err() != nil:
		return "", "", cancelled(ctx, "check", s.opts.Bucket)
	case errors.As(failed, &e) && strings.HasPrefix(e.Code, "ObjectLockConfigurationNotFound"):
		lock = "off"
		if s.opts.LockMode != "" || s.opts.LegalHold {
			return "", "", failed
		}
	case err == nil && l.ObjectLockConfiguration != nil:
		lock = "on"
		if r := l.ObjectLockConfiguration.Rule; r != nil && r.DefaultRetention != nil {
			d := r.DefaultRetention
			switch {
			case d.Days != nil:
				lock = fmt.Sprintf("on, by default %s for %d days", strings.ToLower(string(d.Mode)), *d.Days)
			case d.Years != nil:
				lock = fmt.Sprintf("on, by default %s for %d years", strings.ToLower(string(d.Mode)), *d.Years)
			}
		}
	}
	return versions, lock, nil
}

// Tell says what the last Check found, and what it cannot prove.
func (s *Sink) Tell() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.check == nil {
		return nil
	}
	tell := []string{
		fmt.Sprintf("%s takes uploads; versioning is %s, Object Lock is %s", s, s.check.versions, s.check.lock),
		"not proven until the first object is stored: that the service completes uploads and refuses to overwrite, and that the evidence can be read again",
	}
	if !s.check.readable {
		tell = append(tell, "who we are may not look for objects: whether a name is taken shows at the end only")
	}
	return tell
}

// checkSpill proves that the folder could take what the bucket does not.
func (s *Sink) checkSpill(ctx context.Context) error {
	if s.opts.Spill == "" {
		return nil
	}
	disk, err := sink.NewDisk(s.opts.Spill)
	if err != nil {
		return err
	}
	return disk.Check(ctx, "part-00001")
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync"

	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A bucketDepot publishes a repository into S3. The version of a file is its ETag.
type bucketDepot struct {
	*bucketRepository

	mu      sync.Mutex
	sinks   map[string]*s3.Sink // by folder
	checked bool                // the server honours conditions
}

var _ repository.Depot = (*bucketDepot)(nil)

func newBucketDepot(ctx context.Context, address string, access s3.Options) (*bucketDepot, error) {
	r, err := newBucketRepository(ctx, address, access)
	if err != nil {
		return nil, err
	}
	return &bucketDepot{bucketRepository: r, sinks: map[string]*s3.Sink{}}, nil
}

// at returns the folder of a file, and what it is called there.
func (b *bucketDepot) at(ctx context.Context, name string) (*s3.Sink, string, error) {
	dir, base := path.Split(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sinks[dir]; s != nil {
		return s, base, nil
	}
	access := b.access
	access.Prefix += dir
	s, err := s3.New(ctx, access)
	if err == nil {
		b.sinks[dir] = s
	}
	return s, base, err
}

// Lock keeps nobody out: conditional writes do.
func (b *bucketDepot) Lock(context.Context) (func(), error) { return func() {}, nil }

// Fetch reads a file.
func (b *bucketDepot) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, version, err := b.Look(ctx, name, limit)
	if err == nil && version == "" {
		err = fmt.Errorf("%s/%s: %w", b, name, fs.ErrNotExist)
	}
	return data, err
}

// Look reads a file with its ETag.
func (b *bucketDepot) Look(ctx context.Context, name string, limit int64) ([]byte, string, error) {
	s, base, err := b.at(ctx, name)
	if err != nil {
		return nil, "", err
	}
	data, etag, err := s.Look(ctx, base, limit)
	e, _ := errors.AsType[*s3.Error](err)
	switch {
	case errors.Is(err, s3.ErrTooLong):
		return nil, "", repository.TooLong(limit)
	case e != nil && e.Code != "NoSuchBucket" && errors.Is(err, fs.ErrNotExist):
		return nil, "", nil
	}
	return data, etag, err
}

// Put stores a file in place of the one with that ETag. When the answer was lost, it looks what
// is there.
func (b *bucketDepot) Put(ctx context.Context, name string, data []byte, version string) (string, error) {
	s, base, err := b.at(ctx, name)
	if err != nil {
		return "", err
	}
	if version != "" {
		if err := b.conditions(ctx, s, base, name); err != nil {
			return "", err
		}
	}
	next, err := s.Replace(ctx, base, data, version)
	if err == nil {
		return next, nil
	}
	have, etag, lerr := b.Look(ctx, name, int64(len(data)))
	switch {
	case lerr == nil && etag != version && bytes.Equal(have, data):
		return etag, nil // by an attempt of which we heard nothing
	case errors.Is(err, sink.ErrExists):
		return "", fmt.Errorf("%w: %w", repository.ErrChanged, err)
	}
	return "", err
}

// conditions makes sure, once, that the server refuses to replace an object whose ETag is another: AWS does since
// 2024, others may pass over the condition, and then two publishers could undo each other's work. The object is
// offered to itself, so that nothing changes where it is passed over.
func (b *bucketDepot) conditions(ctx context.Context, s *s3.Sink, base, name string) error {
	b.mu.Lock()
	done := b.checked
	b.checked = true
	b.mu.Unlock()
	if done {
		return nil
	}
	data, etag, err := b.Look(ctx, name, maxConditional)
	if err != nil || etag == "" {
		return err // the condition that follows fails by itself
	}
	switch _, err := s.Replace(ctx, base, data, `"00000000000000000000000000000000"`); {
	case err == nil:
		return errors.New("the server does not honour If-Match, so that two who publish at once could undo each other's work: publish into a folder, and copy that, repodata/repomd.xml and its signature last")
	case errors.Is(err, sink.ErrExists):
		return nil
	default:
		return err
	}
}

// maxConditional bounds the files that are replaced: keys, signatures, the list of lists.
const maxConditional = 2 << 20

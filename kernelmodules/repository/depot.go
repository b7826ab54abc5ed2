package repository

import (
	"context"
	"errors"
)

// A Depot is a place in which a repository is published. It is safe for concurrent use, also by
// several processes.
type Depot interface {
	Fetcher
	// Lock keeps other publishers out until release is called, as far as the place can. Where it cannot,
	// Put finds them out. It does not wait: if somebody else publishes, it returns ErrBusy.
	Lock(ctx context.Context) (release func(), err error)
	// Look is Fetch, with the version of the file. A file that is not there has the version "": that
	// is no error.
	Look(ctx context.Context, name string, limit int64) (data []byte, version string, err error)
	// Put makes data the content of a file whose version is still the given one, "" for a file that is not
	// there; else it returns ErrChanged. Whoever reads sees all of the old content or all of the
	// new, and what Put has returned from survives a crash. After another error the file has the
	// old content or the new.
	Put(ctx context.Context, name string, data []byte, version string) (next string, err error)
}

var (
	// ErrChanged is wrapped by errors about a file that somebody else changed meanwhile.
	ErrChanged = errors.New("changed meanwhile: somebody else publishes there")
	// ErrBusy is wrapped by errors about a place in which somebody else publishes just now.
	ErrBusy = errors.New("somebody else publishes there")
)

// An overlay is a depot in which some files have another content, or are not there (nil): what a
// repository would be.
type overlay struct {
	Fetcher
	files map[string][]byte
}

func (o *overlay) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, ok := o.files[name]
	switch {
	case !ok:
		return o.Fetcher.Fetch(ctx, name, limit)
	case data == nil:
		return nil, errAbsent
	case int64(len(data)) > limit:
		return nil, TooLong(limit)
	}
	return data, nil
}

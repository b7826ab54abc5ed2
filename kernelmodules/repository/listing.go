package repository

import (
	"context"
	"slices"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// A Listing is what a repository has, and who vouches for it.
type Listing struct {
	URL        string    `json:"url"`
	Manifest   string    `json:"manifest"`
	Revision   uint64    `json:"revision"`
	Fetched    time.Time `json:"fetched"`               // earlier, if it came from the cache
	Key        string    `json:"key,omitempty"`         // fingerprint of the pinned key that signed; empty: nothing was checked
	SigningKey string    `json:"signing_key,omitempty"` // of the key or subkey itself
	SignedAt   time.Time `json:"signed_at,omitzero"`
	Modules    []Entry   `json:"-"`
}

// List returns what the repository has.
func (s *Store) List(ctx context.Context) (*Listing, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	l := &Listing{URL: s.String(), Manifest: s.o.Manifest, Revision: c.revision, Fetched: c.fetched, Modules: slices.Clone(c.entries)}
	if c.signer != nil {
		l.Key, l.SigningKey, l.SignedAt = c.signer.key, c.signer.signing, c.signer.made
	}
	return l, nil
}

// Get fetches one module of a Listing, into the cache too, and checks that it is what the
// list says: its digest, its signature, and that it is LiME for the kernel that is named.
func (s *Store) Get(ctx context.Context, e Entry) (*kernelmodules.Module, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	m, err := s.module(ctx, c, e)
	if err != nil {
		return nil, err
	}
	return m, m.Check(kernelmodules.Kernel{Release: e.Release, Machine: machine(e.Arch)})
}

// AcceptRollback takes the repository as it is now for its newest state, although a newer
// one was seen. What is wrong with it otherwise is refused all the same.
func (s *Store) AcceptRollback(ctx context.Context) error {
	_, err := s.read(ctx, true)
	return err
}

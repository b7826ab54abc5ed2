package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// Where things are in a repository.
const (
	keyFile    = "REPO_SIGNING_KEY.asc"
	repomdFile = "repodata/repomd.xml"
)

// contents are what a repository says it has, proven as far as pins allow.
type contents struct {
	revision uint64
	fetched  time.Time
	signer   *signer // nil: nobody vouches for it
	entries  []Entry
	served   []byte // the key that the repository holds, to check modules with
}

// load reads the list of modules, once.
func (s *Store) load(ctx context.Context) (*contents, error) {
	return s.lists.do(ctx, s.o.now, func(ctx context.Context) (*contents, error) {
		return s.read(ctx, false)
	})
}

// read reads the list of modules. back accepts an older revision.
func (s *Store) read(ctx context.Context, back bool) (*contents, error) {
	snap, by, err := s.proven(ctx)
	if err != nil {
		return nil, err
	}
	c := &contents{fetched: snap.Fetched, served: snap.Key, signer: by}
	md, err := parseRepomd(snap.Repomd)
	if err != nil {
		return nil, s.fail(repomdFile, fmt.Errorf("cannot be used: %w", err))
	}
	c.revision = md.revision
	if err := s.fresh(md.revision, back); err != nil {
		return nil, err
	}
	l, ok := md.lists[s.o.Manifest]
	if !ok && !s.o.lacks {
		return nil, s.fail(repomdFile, fmt.Errorf("has no list %q; it has %s", s.o.Manifest,
			quoted(slices.Sorted(maps.Keys(md.lists)))))
	}
	if ok {
		if c.entries, err = s.list(ctx, l); err != nil {
			return nil, err
		}
	}
	if !s.o.Offline {
		if back && s.signed() && s.cache != nil {
			if err := s.cache.forget(s.String(), md.revision); err != nil {
				return nil, err
			}
		}
		s.note(s.cache.putSnapshot(snap, s.signed(), md.revision))
	}
	return c, nil
}

// proven returns the state of the repository with who vouches for it. Between the list of lists and its
// signature a publisher may have put new ones there, so a signature that is not good is looked at twice.
func (s *Store) proven(ctx context.Context) (snap *snapshot, by *signer, err error) {
	for range 2 {
		if snap, err = s.snapshot(ctx); err != nil {
			return nil, nil, err
		}
		if !s.signed() {
			return snap, nil, nil
		}
		if by, err = s.vouched(repomdFile, snap.Repomd, snap.Signature, snap.Key); err == nil || s.o.Offline {
			break
		}
	}
	return snap, by, err
}

func quoted(list []string) string {
	var out []string
	for _, s := range list {
		out = append(out, fmt.Sprintf("%q", s))
	}
	if out == nil {
		return "none"
	}
	return strings.Join(out, ", ")
}

// note logs that the cache could not be written: a capture works without.
func (s *Store) note(err error) {
	if err != nil {
		s.o.Log.Warn("the cache of modules cannot be written: nothing is there for --offline, and a repository that goes back to an older revision is not noticed",
			"repository", s.String(), "error", err)
	}
}

// fresh refuses a revision that is older than one that was seen.
func (s *Store) fresh(revision uint64, back bool) error {
	if !s.signed() || back {
		return nil
	}
	seen, err := s.cache.revisions(s.String(), true)
	if err != nil {
		s.o.Log.Warn("the cache of modules cannot be read: a repository that goes back to an older revision is not noticed", "repository", s.String(), "error", err)
		return nil
	}
	if len(seen) > 0 && revision < seen[len(seen)-1] {
		return &RollbackError{s.String(), revision, seen[len(seen)-1]}
	}
	return nil
}

// snapshot fetches what proves the state of the repository, or takes it from the cache.
func (s *Store) snapshot(ctx context.Context) (*snapshot, error) {
	if s.o.Offline {
		return s.kept()
	}
	snap := &snapshot{URL: s.String(), Fetched: s.o.now().UTC()}
	var err error
	if snap.Repomd, err = s.fetch(ctx, repomdFile, maxRepomd); err != nil {
		return nil, err
	}
	if !s.signed() {
		return snap, nil
	}
	if snap.Signature, err = s.fetchSignature(ctx, repomdFile); err != nil {
		return nil, err
	}
	snap.Key, err = s.fetch(ctx, keyFile, maxKey)
	if err != nil && len(s.o.Pins.files) == 0 {
		if f, ok := errors.AsType[*FileError](err); ok && absent(err) {
			f.Advice = "pin the key itself: --repository-key FILE"
		}
		return nil, err
	}
	return snap, nil
}

// kept is the newest snapshot of the cache.
func (s *Store) kept() (*snapshot, error) {
	seen, err := s.cache.revisions(s.String(), s.signed())
	if err == nil && len(seen) == 0 {
		err = errors.New("nothing is kept of it")
	}
	var snap *snapshot
	if err == nil {
		snap, err = s.cache.snapshot(s.String(), s.signed(), seen[len(seen)-1])
	}
	if err != nil {
		return nil, &FileError{Repository: s.String(), File: repomdFile, Err: fmt.Errorf("is not in the cache %s: %w", s.cache.dir, err),
			Advice: "while there is a network: shotglass modules fetch --repository " + s.String() + " RELEASE..., with the same keys"}
	}
	return snap, nil
}

// fetch reads one file; its errors name the file.
func (s *Store) fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	data, err := s.from.Fetch(ctx, name, limit)
	if err == nil {
		return data, nil
	}
	f := s.fail(name, fmt.Errorf("cannot be read: %w", err))
	if !absent(err) && ctx.Err() == nil {
		if seen, _ := s.cache.revisions(s.String(), s.signed()); len(seen) > 0 {
			f.Advice = fmt.Sprintf("revision %d is in the cache, and --offline uses it", seen[len(seen)-1])
		}
	}
	return nil, f
}

// absent says that a server has no such file, as far as it tells.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// fetchSignature reads the detached signature of a file: .sig, or else .asc.
func (s *Store) fetchSignature(ctx context.Context, name string) ([]byte, error) {
	data, err := s.fetch(ctx, name+".sig", maxSignature)
	if err == nil || !absent(err) {
		return data, err
	}
	data, asc := s.fetch(ctx, name+".asc", maxSignature)
	if asc == nil || !absent(asc) {
		return data, asc
	}
	if f, ok := errors.AsType[*FileError](err); ok {
		f.Advice = "a repository without signatures can be used with --gpg-no-verify; its modules are then unverified"
	}
	return nil, err
}

// vouched checks that a pinned key signed a file.
func (s *Store) vouched(name string, data, signature, served []byte) (*signer, error) {
	var missing error
	if served == nil {
		missing = errors.New("is not there")
	}
	ring, err := s.o.Pins.ring(served, missing)
	if err != nil {
		return nil, &FileError{Repository: s.String(), File: keyFile, Err: err, untrusted: true, Advice: "compare the fingerprint with one that comes from a place that you trust, not from the repository; then pin it with --repository-key"}
	}
	by, err := verify(ring, data, signature, s.o.now())
	if err != nil {
		return nil, &FileError{Repository: s.String(), File: name, Err: fmt.Errorf("is %w: its signature %w", ErrUntrusted, err), untrusted: true,
			Advice: "to use a module of it all the same, compare its digest with the record of its build, and pass --gpg-no-verify --module-sha256 HEX"}
	}
	return by, nil
}

// list reads a list of modules.
func (s *Store) list(ctx context.Context, l list) ([]Entry, error) {
	packed, err := s.packed(ctx, l)
	if err != nil {
		return nil, err
	}
	return s.unpacked(l, packed)
}

// packed returns a list as it is stored.
func (s *Store) packed(ctx context.Context, l list) ([]byte, error) {
	data, err := s.file(ctx, l.href, l.checksum, maxPacked)
	if err == nil && l.size >= 0 && int64(len(data)) != l.size {
		err = s.fail(l.href, fmt.Errorf("has %d bytes, but %s says %d", len(data), repomdFile, l.size))
	}
	return data, err
}

// unpacked returns what a list names.
func (s *Store) unpacked(l list, packed []byte) ([]Entry, error) {
	data, err := unpackList(packed, l.openSize)
	if err != nil {
		return nil, s.fail(l.href, err)
	}
	if digestOf(data) != l.open {
		return nil, s.distrust(l.href, fmt.Errorf("unpacks to sha256 %s, but %s says %s", digestOf(data), repomdFile, l.open))
	}
	entries, err := parseList(data)
	if err != nil {
		return nil, s.fail(l.href, fmt.Errorf("cannot be used: %w", err))
	}
	return entries, nil
}

// file returns a file with a digest, from the cache or the repository.
func (s *Store) file(ctx context.Context, name, digest string, limit int64) ([]byte, error) {
	if !s.o.Reread {
		if data := s.cache.blob(digest, limit); data != nil {
			return data, nil
		}
	}
	if s.o.Offline {
		return nil, &FileError{Repository: s.String(), File: name, Err: fmt.Errorf("is not in the cache %s", s.cache.dir),
			Advice: "while there is a network: shotglass modules fetch --repository " + s.String() + " RELEASE..., with the same keys"}
	}
	data, err := s.fetch(ctx, name, limit)
	if err != nil {
		return nil, err
	}
	if have := digestOf(data); have != digest {
		return nil, s.distrust(name, fmt.Errorf("has sha256 %s, but the repository's list says %s: it was changed, damaged or cut short", have, digest))
	}
	s.note(s.cache.putBlob(data))
	return data, nil
}

// module reads one module, once for all who want it.
func (s *Store) module(ctx context.Context, c *contents, e Entry) (*kernelmodules.Module, error) {
	m, err := s.modules.of(e.Path+" "+e.Checksum).do(ctx, s.o.now, func(ctx context.Context) (*kernelmodules.Module, error) {
		return s.readModule(ctx, c, e)
	})
	if err != nil {
		return nil, err
	}
	own := *m // callers may mark theirs
	return &own, nil
}

func (s *Store) readModule(ctx context.Context, c *contents, e Entry) (*kernelmodules.Module, error) {
	data, err := s.file(ctx, e.Path, e.Checksum, kernelmodules.MaxSize)
	if err != nil {
		return nil, err
	}
	from := &kernelmodules.Provenance{
		URL: s.String(), Manifest: s.o.Manifest, Revision: c.revision, Path: e.Path, Checksum: e.Checksum, Offline: s.o.Offline,
	}
	signature := kernelmodules.UnsignedRepo
	if s.signed() {
		// The list vouches for the module. A signature of its own that does not is a contradiction.
		if e.Signature != "" {
			if err := s.ownSignature(ctx, c, e, data); err != nil {
				return nil, err
			}
		}
		from.Key, from.SigningKey, from.SignedAt = c.signer.key, c.signer.signing, c.signer.made
		signature = kernelmodules.SignedRepository
	}
	m, err := kernelmodules.Parse(data, strings.TrimSuffix(s.String(), "/")+"/"+e.Path)
	if err != nil {
		return nil, err
	}
	m.Signature, m.Repository = signature, from
	return m, nil
}

// ownSignature checks the signature that the list names for a module.
func (s *Store) ownSignature(ctx context.Context, c *contents, e Entry, data []byte) error {
	if sig := s.cache.signature(e.Checksum); sig != nil && !s.o.Reread {
		if _, err := s.vouched(e.Path, data, sig, c.served); err == nil || s.o.Offline {
			return err
		}
	}
	if s.o.Offline {
		return s.fail(e.Signature, fmt.Errorf("is not in the cache %s", s.cache.dir))
	}
	sig, err := s.fetch(ctx, e.Signature, maxSignature)
	if err != nil {
		return err
	}
	if _, err := s.vouched(e.Path, data, sig, c.served); err != nil {
		return err
	}
	s.note(s.cache.putSignature(e.Checksum, sig))
	return nil
}

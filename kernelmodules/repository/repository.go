// Package repository reads signed repositories of LiME modules, as lime-compiler
// writes and Margarita Shotgun reads them:
//
//	REPO_SIGNING_KEY.asc                    the public key
//	repodata/repomd.xml, repomd.xml.sig     which lists there are; signed
//	repodata/<sha256>-primary.xml.gz        a list of modules, by its digest in repomd.xml
//	modules/lime-<release>.ko[.sig]         modules, by their digests in the list
//
// Trust starts at keys that the user pinned, never at a key that only the repository
// handed over. From the signature of repomd.xml each file is reached by its SHA-256, so
// that one good signature vouches for all. A revision older than one that was seen
// before is refused.
package repository

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// DefaultManifest is the list that is used unless another one is asked for.
const DefaultManifest = "primary"

// Options tune a Store.
type Options struct {
	// Pins are the keys that may vouch for the repository. Without any, nothing of it
	// is verified: its modules come back as kernelmodules.UnsignedRepo. Checksums are
	// checked in any case.
	Pins *Pins
	// Manifest is the list to use; empty means DefaultManifest.
	Manifest string
	// Cache is the folder for what was fetched, shared by any number of processes and
	// repositories. Empty: nothing is kept, and an older revision goes unnoticed.
	Cache string
	// Offline takes everything from the cache.
	Offline bool
	// Reread takes nothing from the cache but its memory of revisions, to judge what the repository has
	// now and not what it had. What is read is kept all the same. It excludes Offline.
	Reread bool
	// Log gets what does not stop anything; nil discards it.
	Log *slog.Logger

	lacks bool // the list need not be there: then it has no modules
	now   func() time.Time
}

// A Store is one repository. It is fetched at most once for any number of Finds, also
// concurrent ones; a failure is remembered for a short time, so that fifty hosts do not
// each wait for a server that is down.
type Store struct {
	from  Fetcher
	o     Options
	cache *cache
	lists once[*contents]

	modules onces[*kernelmodules.Module] // by checksum
}

var _ kernelmodules.Store = (*Store)(nil)

// New returns the repository that from reads. Nothing is read before it is needed.
func New(from Fetcher, o Options) (*Store, error) {
	if o.Manifest == "" {
		o.Manifest = DefaultManifest
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	s := &Store{from: from, o: o}
	if o.Cache != "" {
		dir, err := filepath.Abs(o.Cache)
		if err != nil {
			return nil, err
		}
		s.cache = &cache{dir}
	}
	if o.Offline && s.cache == nil {
		return nil, errors.New("offline, and without a cache")
	}
	if o.Offline && o.Reread {
		return nil, errors.New("offline, and everything is to be read again")
	}
	return s, nil
}

// String is the URL or folder of the repository.
func (s *Store) String() string { return s.from.String() }

// signed says whether signatures are checked.
func (s *Store) signed() bool { return s.o.Pins != nil }

// ErrUntrusted is wrapped by errors about files that are there, but that no pinned key
// vouches for: a signature or a digest is wrong, or the state is an old one.
var ErrUntrusted = errors.New("not to be trusted")

// A FileError is about one file of a repository. Nothing of it was used.
type FileError struct {
	Repository string
	File       string // below Repository
	Err        error
	Advice     string // may be empty
	untrusted  bool
}

// Is says whether target is ErrUntrusted and e is of that kind.
func (e *FileError) Is(target error) bool { return target == ErrUntrusted && e.untrusted }

func (e *FileError) Error() string {
	return fmt.Sprintf("repository %s: %s %v", e.Repository, e.File, e.Err)
}
func (e *FileError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *FileError) Hint() string { return e.Advice }

func (s *Store) fail(file string, err error) *FileError {
	return &FileError{Repository: s.String(), File: file, Err: err}
}

// A RollbackError is about a repository that is older than it was.
type RollbackError struct {
	Repository string
	Have, Seen uint64 // revisions
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("repository %s: repodata/repomd.xml has the revision %d, but %d was seen before: somebody replays an old state, or the publisher went back",
		e.Repository, e.Have, e.Seen)
}

// Unwrap returns ErrUntrusted.
func (e *RollbackError) Unwrap() error { return ErrUntrusted }

// Hint says how to accept it.
func (e *RollbackError) Hint() string {
	return "ask the publisher; if going back was meant, accept it once with: shotglass modules check --insecure-accept-rollback --repository " + e.Repository + " and the same keys"
}

// distrust is fail about what contradicts what vouches for it.
func (s *Store) distrust(file string, err error) *FileError {
	f := s.fail(file, err)
	f.untrusted = true
	return f
}

// Find returns the module for k that the list names and whose bytes fit it.
func (s *Store) Find(ctx context.Context, k kernelmodules.Kernel) (*kernelmodules.Module, error) {
	c, err := s.load(ctx)
	if err != nil {
		return nil, err
	}
	var refused []error
	for _, e := range c.entries {
		if e.Release != k.Release {
			continue
		}
		if !kernelmodules.MachineFits(machine(e.Arch), k.Machine) {
			refused = append(refused, fmt.Errorf("%s is for %q", e.Path, e.Arch))
			continue
		}
		m, err := s.module(ctx, c, e)
		if err == nil {
			err = m.Check(k)
		}
		if err == nil {
			return m, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		refused = append(refused, err)
	}
	if len(refused) == 0 {
		return nil, fmt.Errorf("%w: repository %s (revision %d, %d modules) has none for %q (%s)%s",
			kernelmodules.ErrNoModule, s, c.revision, len(c.entries), k.Release, k.Machine, nearest(c.entries, k.Release))
	}
	if len(refused) == 1 {
		if _, ok := errors.AsType[*FileError](refused[0]); ok {
			return nil, refused[0]
		}
	}
	return nil, fmt.Errorf("%w: repository %s has none for %q (%s) that can be used: %w",
		kernelmodules.ErrNoModule, s, k.Release, k.Machine, errors.Join(refused...))
}

// machine is an architecture in uname -m's words; some lists use Debian's.
func machine(arch string) string {
	switch arch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	case "armhf":
		return "armv7l"
	}
	return arch
}

// nearest names releases that begin like the one that is missing.
func nearest(entries []Entry, release string) string {
	type near struct {
		release string
		same    int
	}
	var list []near
	for _, e := range entries {
		n := 0
		for n < min(len(release), len(e.Release)) && release[n] == e.Release[n] {
			n++
		}
		if n > strings.IndexByte(release+".", '.')+1 {
			list = append(list, near{e.Release, n})
		}
	}
	slices.SortFunc(list, func(a, b near) int {
		if a.same != b.same {
			return b.same - a.same
		}
		return strings.Compare(a.release, b.release)
	})
	var names []string
	for _, n := range list {
		if q := fmt.Sprintf("%q", n.release); !slices.Contains(names, q) && len(names) < 3 {
			names = append(names, q)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; the nearest are " + strings.Join(names, ", ")
}

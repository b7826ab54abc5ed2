package repository

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// PruneOptions say what a cache need not keep. The zero value removes nothing but what is unfinished.
type PruneOptions struct {
	Unused  time.Duration // modules that nobody used for so long; 0: all are kept
	MaxSize int64         // bytes; those that were used least lately go until the rest fits; 0: no limit
	DryRun  bool          // say only what would go

	now func() time.Time
}

// Pruned is what was removed from a cache, or would be, and what is left.
type Pruned struct {
	Removed      int   `json:"removed"` // files
	RemovedBytes int64 `json:"removed_bytes"`
	Kept         int   `json:"kept"`
	KeptBytes    int64 `json:"kept_bytes"`
}

// Other processes may use the cache. What is younger than fresh may be about to be used, and stays; an unfinished file
// that is older than stale is nobody's.
const (
	fresh = time.Hour
	stale = 24 * time.Hour
)

// Prune removes modules from a cache. The newest state of each repository stays, with its lists: they are small, and
// remember revisions. A process that reads a file meanwhile has it, or fetches it again; one that is offline may miss it.
func Prune(ctx context.Context, dir string, o PruneOptions) (*Pruned, error) {
	if o.now == nil {
		o.now = time.Now
	}
	c := &cache{dir}
	lists, err := c.lists()
	if err != nil {
		return nil, err
	}
	blobs, unfinished, err := c.blobs(lists, o.now())
	if err != nil {
		return nil, err
	}
	out := &Pruned{}
	var size int64
	for _, b := range blobs {
		size += b.size
	}
	// The one that was not used for longest comes first.
	slices.SortFunc(blobs, func(a, b cached) int { return cmp.Or(a.used.Compare(b.used), strings.Compare(a.path, b.path)) })
	for _, b := range append(unfinished, blobs...) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		age := o.now().Sub(b.used)
		due := b.unfinished || !b.needed && age > fresh && (o.Unused > 0 && age > o.Unused || o.MaxSize > 0 && size > o.MaxSize)
		if due && !o.DryRun {
			if due, err = b.remove(); err != nil {
				return out, err
			}
		}
		if due {
			out.Removed++
			out.RemovedBytes += b.size
			if !b.unfinished {
				size -= b.size
			}
			continue
		}
		out.Kept++
		out.KeptBytes += b.size
	}
	return out, nil
}

// A cached is a file of a cache, with its signature.
type cached struct {
	path       string
	used       time.Time
	size       int64
	needed     bool
	unfinished bool
}

// remove removes a file that nobody has used since it was looked at.
func (b cached) remove() (gone bool, err error) {
	info, err := os.Lstat(b.path)
	if err == nil && info.ModTime().After(b.used) {
		return false, nil
	}
	for _, path := range []string{b.path, b.path + ".sig"} {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return false, fmt.Errorf("the cache of modules: %w", rerr)
		}
	}
	return true, nil
}

// blobs returns the files that are there by their digest, and what was never finished.
func (c *cache) blobs(lists map[string]bool, now time.Time) (blobs, unfinished []cached, err error) {
	err = filepath.WalkDir(c.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // there is no cache, or another process was faster
		}
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		name := e.Name()
		b := cached{path: path, used: info.ModTime(), size: info.Size(), needed: lists[name]}
		switch {
		case strings.HasPrefix(name, newFile):
			if b.unfinished = now.Sub(b.used) > stale; b.unfinished {
				unfinished = append(unfinished, b)
			}
		case len(name) == 64 && filepath.Dir(path) == filepath.Join(c.dir, "sha256"):
			if sig, err := os.Lstat(path + ".sig"); err == nil {
				b.size += sig.Size()
			}
			blobs = append(blobs, b)
		}
		return nil
	})
	return blobs, unfinished, err
}

// lists returns the digests of the lists that the newest states name.
func (c *cache) lists() (map[string]bool, error) {
	out := map[string]bool{}
	paths, err := filepath.Glob(filepath.Join(c.dir, "repositories", "*", "*.json"))
	for _, path := range paths {
		s, err := readSnapshot(path)
		if err != nil {
			continue // gone meanwhile, or damaged: nobody can use it
		}
		md, err := parseRepomd(s.Repomd)
		if err != nil {
			continue
		}
		for _, l := range md.lists {
			out[l.checksum] = true
		}
	}
	return out, err
}

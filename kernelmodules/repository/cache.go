package repository

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A cache keeps what was fetched: files by their digest, and per repository the newest
// signed list of lists. Nothing in it is trusted: digests and signatures are checked on
// every use. Files appear whole or not at all, so that several processes can share it.
//
//	sha256/<digest>                             a module, or a packed list
//	sha256/<digest>.sig                         a module's signature
//	repositories/<digest of URL>/<revision>.json
//
// The name of the newest snapshot is also the memory of the highest revision seen. Names only
// ever add up, so that no process can set another one back.
type cache struct{ dir string }

// A snapshot is what proves a state of a repository.
type snapshot struct {
	URL       string    `json:"url"`
	Fetched   time.Time `json:"fetched"`
	Repomd    []byte    `json:"repomd"`
	Signature []byte    `json:"signature,omitempty"`
	Key       []byte    `json:"key,omitempty"` // as the repository served it
}

func (c *cache) blobPath(digest string) string { return filepath.Join(c.dir, "sha256", digest) }

// blob returns the file with a digest, or nothing. A damaged one is removed.
func (c *cache) blob(digest string, limit int64) []byte {
	if c == nil {
		return nil
	}
	data, err := readCached(c.blobPath(digest), limit)
	if err != nil {
		return nil
	}
	if digestOf(data) != digest {
		os.Remove(c.blobPath(digest))
		return nil
	}
	touch(c.blobPath(digest))
	return data
}

// touch notes that a file is used, once a day: its time is what Prune goes by. A cache that cannot be
// written to keeps its times.
func touch(path string) {
	if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
		now := time.Now()
		os.Chtimes(path, now, now)
	}
}

func (c *cache) putBlob(data []byte) error {
	if c == nil {
		return nil
	}
	return writeFile(c.blobPath(digestOf(data)), data)
}

// signature returns what is kept as the signature of the file with a digest.
func (c *cache) signature(digest string) []byte {
	if c == nil {
		return nil
	}
	data, err := readCached(c.blobPath(digest)+".sig", maxSignature)
	if err != nil {
		return nil
	}
	return data
}

func (c *cache) putSignature(digest string, data []byte) error {
	if c == nil {
		return nil
	}
	return replaceFile(c.blobPath(digest)+".sig", data)
}

// folder is where a repository's snapshots are. Those of an unsigned one are apart: anybody
// could have put any number on them.
func (c *cache) folder(url string, signed bool) string {
	name := digestOf([]byte(url))[:32]
	if !signed {
		name += "-unsigned"
	}
	return filepath.Join(c.dir, "repositories", name)
}

// revisions returns those that were seen of a repository, the newest last.
func (c *cache) revisions(url string, signed bool) ([]uint64, error) {
	if c == nil {
		return nil, nil
	}
	entries, err := os.ReadDir(c.folder(url, signed))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if rev, err := strconv.ParseUint(name, 10, 63); ok && err == nil && len(name) == 20 {
			out = append(out, rev)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (c *cache) snapshotPath(url string, signed bool, revision uint64) string {
	return filepath.Join(c.folder(url, signed), fmt.Sprintf("%020d.json", revision))
}

func (c *cache) snapshot(url string, signed bool, revision uint64) (*snapshot, error) {
	return readSnapshot(c.snapshotPath(url, signed, revision))
}

func readSnapshot(path string) (*snapshot, error) {
	data, err := readCached(path, 2*(maxRepomd+maxSignature+maxKey))
	if err != nil {
		return nil, err
	}
	s := &snapshot{}
	return s, json.Unmarshal(data, s)
}

// putSnapshot keeps s as a revision of its repository, and drops those that it replaces: the
// older ones, or all of an unsigned one.
func (c *cache) putSnapshot(s *snapshot, signed bool, revision uint64) error {
	if c == nil {
		return nil
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replaceFile(c.snapshotPath(s.URL, signed, revision), data); err != nil {
		return err
	}
	seen, err := c.revisions(s.URL, signed)
	for _, rev := range seen {
		if rev < revision || !signed && rev != revision {
			os.Remove(c.snapshotPath(s.URL, signed, rev))
		}
	}
	return err
}

// forget drops the snapshots that are newer than a revision.
func (c *cache) forget(url string, revision uint64) error {
	seen, err := c.revisions(url, true)
	if err != nil {
		return err
	}
	for _, rev := range seen {
		if rev > revision {
			if err := os.Remove(c.snapshotPath(url, true, rev)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func readCached(path string, limit int64) ([]byte, error) {
	if err := regular(os.Lstat(path)); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAtMost(f, limit)
}

// writeFile writes what has one content for ever under its name.
func writeFile(path string, data []byte) error {
	if info, err := os.Lstat(path); err == nil && info.Size() == int64(len(data)) && info.Mode().IsRegular() {
		touch(path)
		return nil
	}
	return replaceFile(path, data)
}

// replaceFile writes path so that everybody sees all of the old content or all of the new.
func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
)

// What LiME's source may have. It is six files with 40 kB.
const (
	maxSourceFiles = 1000
	maxSourceBytes = 16 << 20
	maxDepth       = 5 // below what was given
)

// A Source is the source of LiME.
type Source struct {
	Input kernelmodules.RecordInput
	files []sourceFile
}

type sourceFile struct {
	name string // slash-separated
	data []byte
}

// ErrNotPinned is wrapped by errors about a source whose digest is not one of those pinned.
var ErrNotPinned = errors.New("sha256 is not pinned")

// OpenSource reads the source of LiME: a folder, a tarball, or a package of a distribution (lime-forensics-dkms).
// What has to be unpacked is, below dir. pins are SHA-256 digests of the file or of the tree; if there are any,
// another source is refused.
//
// The digest of a tree is that of the output of
//
//	find . -type f | LC_ALL=C sort | xargs sha256sum
//
// in the folder with main.c.
func OpenSource(ctx context.Context, dir, path string, pins []string) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("LiME's source: %w", err)
	}
	s := &Source{Input: kernelmodules.RecordInput{Name: path}}
	root := path
	if !info.IsDir() {
		root = filepath.Join(dir, "lime")
		if err := s.unpack(ctx, root, path); err != nil {
			return nil, fmt.Errorf("LiME's source: %w", err)
		}
	}
	main, err := findSource(root)
	if err != nil {
		return nil, fmt.Errorf("LiME's source in %s: %w", path, err)
	}
	if err := s.read(main); err != nil {
		return nil, fmt.Errorf("LiME's source in %s: %w", path, err)
	}
	match := func(pin string) bool {
		pin = strings.ToLower(strings.TrimPrefix(pin, "sha256:"))
		return pin == s.Input.Tree || pin == s.Input.SHA256
	}
	if len(pins) > 0 && !slices.ContainsFunc(pins, match) {
		return nil, fmt.Errorf("LiME's source in %s: %w: the tree has %s%s", path, ErrNotPinned, s.Input.Tree, also(s.Input.SHA256))
	}
	return s, nil
}

func also(file string) string {
	if file == "" {
		return ""
	}
	return ", the file " + file
}

// unpack unpacks a package or a tarball.
func (s *Source) unpack(ctx context.Context, root, path string) error {
	if err := os.Mkdir(root, 0o700); err != nil {
		return err
	}
	u, err := archive.NewUnpacker(root)
	if err != nil {
		return err
	}
	defer u.Close()
	if archive.IsPackage(path) {
		p, err := archive.OpenPackage(path)
		if err != nil {
			return err
		}
		s.Input = p.Input()
		err = p.Unpack(ctx, u, func(name string) bool { return strings.HasPrefix(name, "usr/src/") })
		if err != nil {
			return err
		}
	} else if s.Input.SHA256, err = archive.Tarball(ctx, path, u); err != nil {
		return err
	}
	return u.Finish()
}

// findSource returns the one folder below root that holds LiME.
func findSource(root string) (string, error) {
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if strings.Count(rel, string(filepath.Separator)) >= maxDepth || d.Name() == ".git" {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Name() == "lime.h" {
			dir := filepath.Dir(path)
			for _, other := range []string{"main.c", "Makefile"} {
				if _, err := os.Stat(filepath.Join(dir, other)); err != nil {
					return nil
				}
			}
			found = append(found, dir)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", errors.New("there is no folder with lime.h, main.c and a Makefile")
	case len(found) > 1:
		return "", fmt.Errorf("there are several: %s", strings.Join(found, ", "))
	}
	return found[0], nil
}

// read reads all files, and their digest.
func (s *Source) read(dir string) error {
	root, err := os.OpenRoot(dir) // links cannot lead out
	if err != nil {
		return err
	}
	defer root.Close()
	size := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			return nil
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxSourceBytes+1))
		if err != nil {
			return err
		}
		size += len(data)
		s.files = append(s.files, sourceFile{path, data})
		if size > maxSourceBytes || len(s.files) > maxSourceFiles {
			return fmt.Errorf("has more than %d files or %d bytes: that is not LiME", maxSourceFiles, maxSourceBytes)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(s.files, func(a, b sourceFile) int { return strings.Compare(a.name, b.name) })
	list := sha256.New()
	for _, f := range s.files {
		fmt.Fprintf(list, "%x  ./%s\n", sha256.Sum256(f.data), f.name)
	}
	s.Input.Tree = hex.EncodeToString(list.Sum(nil))
	return nil
}

// write writes the source to a new folder.
func (s *Source) write(dir string) error {
	for _, f := range s.files {
		path := filepath.Join(dir, filepath.FromSlash(f.name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

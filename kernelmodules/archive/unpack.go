// Package archive unpacks what distributions ship: .deb and .rpm packages, and tarballs. It is safe with any
// bytes: nothing is written outside of a folder, and sizes are bounded. It runs no program, so
// none of a package's scripts either.
package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
)

// What one Unpacker takes, all archives together. The headers of a kernel are 30,000 files
// with 150 MB; SUSE's come close to 300 MB.
const (
	maxFiles = 400_000
	maxBytes = 4 << 30
	maxName  = 4096 // bytes of one name; Linux has no longer ones
	maxDepth = 64   // folders that one name makes; headers have 20
)

// errTooMuch is about an archive that is more than that.
var errTooMuch = fmt.Errorf("unpacks to more than %d files or %d bytes: that is too much", maxFiles, int64(maxBytes))

// An entry is a file, folder or link of an archive.
type entry struct {
	name string      // slash-separated, as the archive has it
	mode fs.FileMode // its type and permissions
	link string      // where a symbolic link points
	hard string      // the name of the entry that this one is a hard link to
	size int64
}

// A reader is an archive that is read entry by entry; Read gives the content of the current one.
type reader interface {
	next() (entry, error) // io.EOF after the last
	io.Reader
}

// An Unpacker writes archives to a folder, and never beside it: whatever names and links an
// archive holds. It is for one goroutine.
type Unpacker struct {
	dir   string
	root  *os.Root
	from  map[string]string // which archive a file came from
	links []string
	files int
	bytes int64
}

// NewUnpacker returns an Unpacker for dir, which exists. Close it.
func NewUnpacker(dir string) (*Unpacker, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Unpacker{dir: dir, root: root, from: make(map[string]string)}, nil
}

// Close frees what the Unpacker holds. Files stay.
func (u *Unpacker) Close() error { return u.root.Close() }

// From returns which package or tarball a file came from, by its path there; empty: it is not there.
func (u *Unpacker) From(name string) string { return u.from[name] }

// add unpacks the entries of a that want accepts; label names a in messages. A file that is
// there already must be the same.
func (u *Unpacker) add(label string, a reader, want func(name string) bool) error {
	for {
		e, err := a.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		// What is passed over has been unpacked all the same, so it counts.
		u.files++
		u.bytes += max(e.size, 0)
		if u.files > maxFiles || u.bytes > maxBytes || e.size < 0 {
			return fmt.Errorf("%s: %w", label, errTooMuch)
		}
		name, err := cleanName(e.name)
		if err != nil {
			return fmt.Errorf("%s: %w", label, err)
		}
		if name == "." || !want(name) {
			continue
		}
		if err := u.write(label, name, e, a); err != nil {
			return fmt.Errorf("%s: %q: %w", label, e.name, err)
		}
	}
}

// cleanName returns the path below the folder that an archive's name means.
func cleanName(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("has a file with a name of %d bytes", len(name))
	}
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if strings.Count(clean, "/") > maxDepth {
		return "", fmt.Errorf("has a file %.80q..., below more than %d folders", name, maxDepth)
	}
	if !fs.ValidPath(clean) || strings.ContainsAny(clean, "\x00\n") {
		return "", fmt.Errorf("has a file %.80q, which lies outside of it", name)
	}
	return clean, nil
}

func (u *Unpacker) write(label, name string, e entry, content io.Reader) error {
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch {
	case e.mode.IsDir():
		return u.root.MkdirAll(name, 0o755)
	case e.hard != "":
		to, err := cleanName(e.hard)
		if err != nil {
			return err
		}
		// A link to a symbolic link would be one that Finish does not know, and from another folder it leads elsewhere.
		if info, err := u.root.Lstat(to); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("is a hard link to %.80q, which is no file", e.hard)
		}
		return u.root.Link(to, name)
	case e.mode&fs.ModeSymlink != 0:
		return u.symlink(label, name, e.link)
	case !e.mode.IsRegular():
		return fmt.Errorf("is no file, folder or link, but %v", e.mode.Type())
	}
	perm := fs.FileMode(0o644)
	if e.mode&0o111 != 0 {
		perm = 0o755
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if errors.Is(err, fs.ErrExist) {
		return u.same(name, e, content)
	}
	if err != nil {
		return err
	}
	u.from[name] = label
	n, err := io.Copy(f, content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil && n != e.size {
		err = fmt.Errorf("has %d of %d bytes: %w", n, e.size, io.ErrUnexpectedEOF)
	}
	return err
}

// same returns nil if the file that is there has the content of the new one.
func (u *Unpacker) same(name string, e entry, content io.Reader) error {
	other := func() error {
		return fmt.Errorf("is another file in %s: these packages do not belong together", u.from[name])
	}
	if info, err := u.root.Lstat(name); err != nil || !info.Mode().IsRegular() || info.Size() != e.size {
		return other()
	}
	f, err := u.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if same, err := equal(f, content, e.size); err != nil {
		return err
	} else if !same {
		return other()
	}
	return nil
}

// equal reports whether the next size bytes of both are the same. It reads on to the first that differs.
func equal(a, b io.Reader, size int64) (bool, error) {
	have, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for size > 0 {
		n := min(size, int64(len(have)))
		if _, err := io.ReadFull(a, have[:n]); err != nil {
			return false, unexpected(err)
		}
		if _, err := io.ReadFull(b, want[:n]); err != nil {
			return false, unexpected(err)
		}
		if !bytes.Equal(have[:n], want[:n]) {
			return false, nil
		}
		size -= n
	}
	return true, nil
}

// symlink makes a link; one to an absolute path points to that path below the folder.
func (u *Unpacker) symlink(label, name, to string) error {
	if path.IsAbs(to) {
		up := strings.Repeat("../", strings.Count(name, "/"))
		to = path.Join(up, path.Clean(to)[1:])
		if to == "" {
			to = "."
		}
	}
	err := u.root.Symlink(to, name)
	if errors.Is(err, fs.ErrExist) {
		if have, rerr := u.root.Readlink(name); rerr == nil && have == to {
			return nil
		}
	}
	if err != nil {
		return err
	}
	u.from[name] = label
	u.links = append(u.links, name)
	return nil
}

// Finish checks every link, once all that they can lead through is there: programs that read
// the folder later follow them.
func (u *Unpacker) Finish() error {
	for _, name := range u.links {
		if _, err := u.root.Stat(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: the link %q leads outside of it: %w", u.from[name], name, err)
		}
	}
	return nil
}

// A tarReader reads a tar.
type tarReader struct{ *tar.Reader }

func (t tarReader) next() (entry, error) {
	h, err := t.Next()
	if err != nil {
		return entry{}, err
	}
	e := entry{name: h.Name, mode: h.FileInfo().Mode(), size: h.Size}
	switch h.Typeflag {
	case tar.TypeLink:
		e.hard = h.Linkname
	case tar.TypeSymlink:
		e.link = h.Linkname
	case tar.TypeXGlobalHeader: // git archive's comment: nothing to write, but it counts
		return entry{name: "."}, nil
	}
	return e, nil
}

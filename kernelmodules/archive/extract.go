package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// maxPassed bounds what Extract unpacks on the way to what it wants, in bytes. Debug symbols of a distribution's
// kernel and all of its modules are 6 GB.
const maxPassed = 64 << 30

// Extract writes the first file that want accepts to w, and returns its name and its size in bytes. Nothing else is kept, on disk or in memory:
// a package of debug symbols unpacks to gigabytes. An error of want ends it. A package without such a file is an error that wraps fs.ErrNotExist.
func (p *Package) Extract(ctx context.Context, want func(name string, size int64) (bool, error), w io.Writer) (name string, n int64, err error) {
	f, err := os.Open(p.Path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	digest := sha256.New()
	r := io.TeeReader(interruptible{ctx, f}, digest)
	a, done, err := p.open(r)
	if err != nil {
		return "", 0, fmt.Errorf("package %s: %w", p.Path, err)
	}
	defer done()
	if name, n, err = extract(a, want, w); err != nil {
		return "", n, fmt.Errorf("package %s: %w", p.Path, err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		return "", n, fmt.Errorf("package %s: %w", p.Path, err)
	}
	if hex.EncodeToString(digest.Sum(nil)) != p.SHA256 {
		return "", n, fmt.Errorf("package %s was changed while it was read", p.Path)
	}
	return name, n, nil
}

func extract(a reader, want func(name string, size int64) (bool, error), w io.Writer) (string, int64, error) {
	files, passed := 0, int64(0)
	for {
		e, err := a.next()
		if errors.Is(err, io.EOF) {
			return "", 0, fmt.Errorf("it has no such file: %w", fs.ErrNotExist)
		}
		if err != nil {
			return "", 0, err
		}
		files++
		passed += max(e.size, 0)
		if files > maxFiles || passed > maxPassed || e.size < 0 {
			return "", 0, fmt.Errorf("has more than %d files or %d bytes before what is looked for: that is too much", maxFiles, int64(maxPassed))
		}
		name, err := cleanName(e.name)
		if err != nil {
			return "", 0, err
		}
		if e.hard != "" || !e.mode.IsRegular() {
			continue
		}
		if ok, err := want(name, e.size); err != nil {
			return "", 0, err
		} else if !ok {
			continue
		}
		n, err := io.Copy(w, a)
		if err == nil && n != e.size {
			err = fmt.Errorf("%s has %d of %d bytes: %w", name, n, e.size, io.ErrUnexpectedEOF)
		}
		return name, n, err
	}
}

package live

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

// ListName is the first file of an archive: the items, as JSON.
const ListName = "items.json"

// maxItems bounds how many items an archive lists.
const maxItems = 1000

// maxList bounds ListName, in bytes.
const maxList = 1 << 20

// WriteTar writes the archive: the list, then what is kept of each item, in order. Its times are those
// of the items, and nothing in it depends on the machine that writes it.
func (c *Collection) WriteTar(w io.Writer) error {
	list, err := json.MarshalIndent(c.Items, "", "  ")
	if err != nil {
		return err
	}
	list = append(list, '\n')
	var at time.Time
	for _, it := range c.Items {
		if !it.Begun.IsZero() {
			at = it.Begun
			break
		}
	}
	t := tar.NewWriter(w)
	if err := entry(t, ListName, int64(len(list)), at, bytes.NewReader(list)); err != nil {
		return err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer dec.Close()
	for i, it := range c.Items {
		if c.kept[i] == nil {
			continue
		}
		if err := dec.Reset(bytes.NewReader(c.kept[i])); err != nil {
			return err
		}
		if err := entry(t, it.File, it.Bytes, it.Begun, dec); err != nil {
			return err
		}
	}
	return t.Close()
}

func entry(t *tar.Writer, name string, size int64, at time.Time, r io.Reader) error {
	h := &tar.Header{Name: name, Size: size, Mode: 0o600, ModTime: at.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(t, r)
	return err
}

// Reader returns the archive as a stream. Close it.
func (c *Collection) Reader() io.ReadCloser {
	r, w := io.Pipe()
	go func() { w.CloseWithError(c.WriteTar(w)) }()
	return r
}

// ErrArchive says that an archive is not what this program writes.
var ErrArchive = errors.New("not an archive of collected items")

// ReadArchive reads an archive, which may be hostile: it calls each with every item, and its content if
// there is any, which each may leave unread. An item whose bytes are not those of its digest is an
// error, after each has seen it; so is what the list does not name. The items are returned whatever
// the error, if the list could be read.
func ReadArchive(r io.Reader, each func(Item, io.Reader) error) ([]Item, error) {
	t := tar.NewReader(r)
	h, err := t.Next()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrArchive, err)
	}
	if h.Name != ListName || h.Size > maxList {
		return nil, fmt.Errorf("%w: it begins with %.100q", ErrArchive, h.Name)
	}
	list, err := io.ReadAll(io.LimitReader(t, maxList+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ListName, err)
	}
	var items []Item
	if err := json.Unmarshal(list, &items); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrArchive, ListName, err)
	}
	if err := Check(items); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrArchive, ListName, err)
	}
	for _, it := range items {
		if it.File == "" {
			if err := each(it, nil); err != nil {
				return items, err
			}
			continue
		}
		h, err := t.Next()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return items, fmt.Errorf("%s: %w", it.File, err)
		}
		if h.Name != it.File || h.Typeflag != tar.TypeReg {
			return items, fmt.Errorf("%w: %.100q lies where %q should", ErrArchive, h.Name, it.File)
		}
		sum := sha256.New()
		in := io.TeeReader(t, sum)
		if err := each(it, in); err != nil {
			return items, err
		}
		if _, err := io.Copy(io.Discard, in); err != nil {
			return items, fmt.Errorf("%s: %w", it.File, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); h.Size != it.Bytes || got != it.SHA256 {
			return items, fmt.Errorf("%s: it has %d bytes with SHA-256 %s; the list says %d bytes with %q", it.File, h.Size, got, it.Bytes, it.SHA256)
		}
	}
	switch h, err := t.Next(); {
	case err == nil:
		return items, fmt.Errorf("%w: %.100q is not in its list", ErrArchive, h.Name)
	case err != io.EOF:
		return items, err
	}
	return items, nil
}

// Check refuses a list of items of other stages than Before and After, and one whose files could not lie in one
// folder: names that lead out of it, or that two share.
func Check(items []Item) error {
	if len(items) > maxItems {
		return fmt.Errorf("%d items, more than %d", len(items), maxItems)
	}
	seen := map[string]bool{ListName: true}
	for _, it := range items {
		if it.Stage != Before && it.Stage != After {
			return fmt.Errorf("item %.40q is of the stage %.40q, which there is not", it.Name, it.Stage)
		}
		if it.File == "" {
			continue
		}
		name := strings.ToLower(it.File)
		if !safeName(it.File) || seen[name] {
			return fmt.Errorf("item %.40q has the file %.100q, which is not a name of its own", it.Name, it.File)
		}
		for d := name; strings.Contains(d, "/"); {
			d = d[:strings.LastIndexByte(d, '/')]
			if seen[d] {
				return fmt.Errorf("the file %.100q lies in another", it.File)
			}
		}
		seen[name] = true
	}
	return nil
}

// safeName reports whether a name is a path of plain names below a folder, on every system.
func safeName(name string) bool {
	if len(name) > 200 || !filepath.IsLocal(name) || strings.Contains(name, "//") {
		return false
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+", r))
	})
}

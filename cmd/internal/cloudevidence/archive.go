package cloudevidence

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// listName is the first file of an archive: the items, as JSON, for whoever has the archive alone.
const listName = "items.json"

// writeTar writes the archive: the list, then what is kept of each item, in order.
func (c *Collection) writeTar(w io.Writer) error {
	list, err := json.MarshalIndent(c.Items, "", "  ")
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	add := func(name string, at time.Time, data []byte) error {
		h := &tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, ModTime: at.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	var at time.Time
	if len(c.Items) > 0 {
		at = c.Items[0].Begun
	}
	if err := add(listName, at, append(list, '\n')); err != nil {
		return err
	}
	for n, it := range c.Items {
		if it.File == "" {
			continue
		}
		data, err := c.Content(n)
		if err != nil {
			return fmt.Errorf("%s: %w", it.Name, err)
		}
		if err := add(it.File, it.Begun, data); err != nil {
			return err
		}
	}
	return t.Close()
}

// errArchive says that an archive is not what its record says.
var errArchive = errors.New("the archive is not what the record says")

// checkTar holds an archive, which may be hostile, against the items of its record: each file has its place and its digest, and there
// is no other.
func checkTar(r io.Reader, items []Item) error {
	t := tar.NewReader(r)
	next := func(name string) error {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return fmt.Errorf("%w: it ends before %s", errArchive, name)
		case err != nil:
			return fmt.Errorf("%w: %s: %w", errArchive, name, err)
		case h.Name != name || h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%w: %.100q lies where %s should", errArchive, h.Name, name)
		}
		return nil
	}
	if err := next(listName); err != nil {
		return err
	}
	for _, it := range items {
		if it.File == "" {
			continue
		}
		if err := next(it.File); err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, io.LimitReader(t, maxItem+1))
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errArchive, it.File, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); n != it.Bytes || got != it.SHA256 {
			return fmt.Errorf("%w: %s has %d bytes with SHA-256 %s, and should have %d with %.64q", errArchive, it.File, n, got, it.Bytes, it.SHA256)
		}
	}
	switch h, err := t.Next(); {
	case err == nil:
		return fmt.Errorf("%w: %.100q is in it beside", errArchive, h.Name)
	case err != io.EOF:
		return fmt.Errorf("%w: %w", errArchive, err)
	}
	return nil
}

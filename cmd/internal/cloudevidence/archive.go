package cloudevidence

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/records"
)

// A Piece is what the archive of an item begins with: what it is, for whoever has that archive alone.
type Piece struct {
	Version  int       `json:"v"`
	Host     string    `json:"host"`
	Instance string    `json:"instance"`
	Begun    time.Time `json:"begun"`
	Item     Item      `json:"item"`
}

// maxPiece bounds what is read of a piece.
const maxPiece = 4 << 20

// pieceName is the first file in the archive of an item.
func pieceName(item string) string { return item + ".item.json" }

// writeTar writes the archive: the piece, then what is kept of the item.
func (p *Piece) writeTar(w io.Writer, content []byte) error {
	list, err := records.JSON(p)
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	add := func(name string, data []byte) error {
		h := &tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, ModTime: p.Item.Begun.Truncate(time.Second), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		_, err := t.Write(data)
		return err
	}
	if err := add(pieceName(p.Item.Name), list); err != nil {
		return err
	}
	if p.Item.File != "" {
		if err := add(p.Item.File, content); err != nil {
			return err
		}
	}
	return t.Close()
}

// errArchive says that an archive is not what is said of it.
var errArchive = errors.New("the archive is not what the record says")

// readTar holds an archive, which may be hostile, against its item: it is nil where the archive's own word is all there is. The file has its place and
// its digest, and there is no other.
func readTar(r io.Reader, name string, item *Item) (*Piece, error) {
	t := tar.NewReader(r)
	next := func(name string) error {
		h, err := t.Next()
		switch {
		case err == io.EOF:
			return fmt.Errorf("%w: it ends before %s", errArchive, name)
		case err != nil:
			return fmt.Errorf("%w: %.100q: %w", errArchive, name, err)
		case h.Name != name || h.Typeflag != tar.TypeReg:
			return fmt.Errorf("%w: %.100q lies where %.100q should", errArchive, h.Name, name)
		}
		return nil
	}
	if err := next(pieceName(name)); err != nil {
		return nil, err
	}
	p := &Piece{}
	data, err := io.ReadAll(io.LimitReader(t, maxPiece))
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(data)).Decode(p)
	}
	if err != nil || p.Item.Name != name {
		return nil, fmt.Errorf("%w: %s does not tell of it: %v", errArchive, pieceName(name), err)
	}
	it := p.Item
	if item != nil {
		it = *item
	}
	if it.File != "" {
		if err := next(it.File); err != nil {
			return nil, err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, io.LimitReader(t, maxItem+1))
		if err != nil {
			return nil, fmt.Errorf("%w: %.100q: %w", errArchive, it.File, err)
		}
		if got := hex.EncodeToString(sum.Sum(nil)); n != it.Bytes || got != it.SHA256 {
			return nil, fmt.Errorf("%w: %.100q has %d bytes with SHA-256 %s, and should have %d with %.64q", errArchive, it.File, n, got, it.Bytes, it.SHA256)
		}
	}
	switch h, err := t.Next(); {
	case err == nil:
		return nil, fmt.Errorf("%w: %.100q is in it beside", errArchive, h.Name)
	case err != io.EOF:
		return nil, fmt.Errorf("%w: %w", errArchive, err)
	}
	return p, nil
}

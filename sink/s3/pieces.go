package s3

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/shotglass-ir/shotglass/sink"
)

// piecesName is the file in which the pieces of an object are described.
const piecesName = "pieces.json"

const (
	piecesType    = "shotglass-pieces"
	piecesVersion = 1
	maxPieces     = 16 << 20 // bytes of a description
)

// Pieces describe an object that is partly in a bucket, as the parts of an upload that was not
// completed, and partly in a folder.
type Pieces struct {
	Type    string    `json:"type"`
	Version int       `json:"v"`
	Name    string    `json:"name"`
	Size    int64     `json:"size"`
	CRC     string    `json:"crc64nvme"` // of the whole
	Partial bool      `json:"partial,omitempty"`
	Why     string    `json:"why"`
	Created time.Time `json:"created"`

	Bucket    string `json:"bucket"`
	Prefix    string `json:"prefix,omitempty"`
	Region    string `json:"region,omitempty"`
	Endpoint  string `json:"endpoint,omitempty"`
	PathStyle bool   `json:"path_style,omitempty"`
	Owner     string `json:"bucket_owner,omitempty"`
	Upload    string `json:"upload,omitempty"` // empty: none was begun
	ID        string `json:"id"`               // in the metadata of the object

	Terms pieceTerms `json:"terms"`
	Parts []Piece    `json:"parts"`

	// Note is what the capture knew of the object, in a journal alone; see sink.Noter. Nobody has signed it.
	Note json.RawMessage `json:"note,omitempty"`

	// Killed says that the capture did not live to describe the pieces, and that a journal does: there was more to come.
	Killed bool `json:"-"`
}

// pieceTerms are those of the object, see Options.
type pieceTerms struct {
	Class     string     `json:"storage_class,omitempty"`
	KMSKey    string     `json:"kms_key,omitempty"`
	BucketKey bool       `json:"bucket_key,omitempty"`
	Tags      string     `json:"tags,omitempty"` // as the header has them
	LockMode  string     `json:"lock,omitempty"`
	Until     *time.Time `json:"retain_until,omitempty"`
	Hold      bool       `json:"legal_hold,omitempty"`
}

// A Piece is one part: in the bucket if it has an ETag, in a file of the folder if it has one; perhaps in both.
type Piece struct {
	Number int32  `json:"number"`
	Size   int64  `json:"size"`
	CRC    string `json:"crc64nvme"`
	ETag   string `json:"etag,omitempty"`
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"` // of the file
}

// head describes the object without its parts.
func (o *object) head(now time.Time) Pieces {
	s, t := o.s, &o.terms
	d := Pieces{
		Type: piecesType, Version: piecesVersion, Name: o.name, Why: o.spill.why.Error(), Created: now.UTC(),
		Bucket: s.opts.Bucket, Prefix: s.opts.Prefix, Region: o.api.Options().Region, Endpoint: s.opts.Endpoint, PathStyle: s.opts.PathStyle,
		Owner: s.opts.BucketOwner, ID: t.id,
		Terms: pieceTerms{
			Class: string(t.class), KMSKey: deref(t.key), BucketKey: t.bucket != nil, Tags: deref(t.tags),
			LockMode: string(t.mode), Until: t.until, Hold: t.hold != "",
		},
	}
	if o.upload != nil {
		d.Upload = *o.upload
	}
	return d
}

// piece describes a part.
func (p *part) piece() Piece {
	d := Piece{Number: p.number, Size: p.size, CRC: checksum(p.crc), File: p.file, SHA256: p.sha256}
	if p.stored {
		d.ETag = p.etag
	}
	return d
}

// describe writes the description of parts, which are those of the object that are durable. It stands in the journal's place.
func (o *object) describe(parts []*part, partial bool) (*sink.Pending, error) {
	s, last := o.s, parts[len(parts)-1]
	d := o.head(time.Now())
	d.Size, d.CRC, d.Partial = last.end, checksum(last.total), partial
	pend := &sink.Pending{Root: s.opts.Spill, Final: s.location(o.name), Why: d.Why}
	for _, p := range parts {
		if p.stored {
			pend.There += p.size
		} else {
			pend.Here += p.size
		}
		d.Parts = append(d.Parts, p.piece())
	}
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return nil, err
	}
	data = append(data, '\n')
	if err := o.spill.store(piecesName, data); err != nil {
		return nil, fmt.Errorf("describe the pieces: %w", err)
	}
	o.spill.journal.close()
	os.Remove(filepath.Join(o.spill.dir, journalName)) // nobody reads it any more
	sum := sha256.Sum256(data)
	pend.Descriptions = []sink.Description{{Name: filepath.Base(o.spill.dir) + "/" + piecesName, SHA256: hex.EncodeToString(sum[:])}}
	return pend, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ReadPieces reads the description in a folder, and returns its SHA-256 too. Where there is none, a journal stands in; the error wraps
// ErrWriting as long as its capture may go on.
func ReadPieces(dir string) (*Pieces, string, error) {
	f, err := os.Open(filepath.Join(dir, piecesName))
	if errors.Is(err, fs.ErrNotExist) {
		return readJournal(dir)
	}
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPieces))
	if err != nil {
		return nil, "", err
	}
	d := new(Pieces)
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(d); err != nil {
		return nil, "", fmt.Errorf("%s: %w", f.Name(), err)
	}
	if err := d.valid(); err != nil {
		return nil, "", fmt.Errorf("%s: %w", f.Name(), err)
	}
	sum := sha256.Sum256(data)
	return d, hex.EncodeToString(sum[:]), nil
}

func (d *Pieces) valid() error {
	if d.Type != piecesType || d.Version != piecesVersion {
		return fmt.Errorf("type %q, version %d: want %s, version %d", d.Type, d.Version, piecesType, piecesVersion)
	}
	if err := sink.ValidNew(d.Name); err != nil {
		return err
	}
	if d.ID == "" { // any object without one would pass for ours
		return errors.New("it has no id")
	}
	var size int64
	for i, p := range d.Parts {
		if p.Number != int32(i+1) || p.Size < 0 || p.Size > maxPartSize || p.ETag == "" && p.File == "" || p.ETag != "" && d.Upload == "" {
			return fmt.Errorf("part %d is not described", i+1)
		}
		if p.File != "" {
			if err := sink.ValidName(p.File); err != nil {
				return err
			}
		}
		if _, err := parseChecksum(p.CRC); err != nil {
			return err
		}
		size += p.Size
	}
	if size != d.Size || len(d.Parts) == 0 || len(d.Parts) > maxParts {
		return fmt.Errorf("%d parts with %d bytes do not make an object of %d", len(d.Parts), size, d.Size)
	}
	return nil
}

// terms are those that the object was begun under.
func (d *Pieces) terms(s *Sink) terms {
	t := s.terms(false)
	t.id, t.class, t.mode, t.until = d.ID, types.StorageClass(d.Terms.Class), types.ObjectLockMode(d.Terms.LockMode), d.Terms.Until
	t.tags = optional(d.Terms.Tags)
	if d.Terms.KMSKey != "" {
		t.sse, t.key = types.ServerSideEncryptionAwsKms, &d.Terms.KMSKey
		if d.Terms.BucketKey {
			t.bucket = &d.Terms.BucketKey
		}
	}
	if d.Terms.Hold {
		t.hold = types.ObjectLockLegalHoldStatusOn
	}
	return t
}

package cloudevidence

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// Bounds on what is read of records, and of the archive of an item, stored and unpacked.
const (
	maxRecord  = 32 << 20
	maxArchive = maxItem + 16<<20
	maxItems   = 1000
)

// ParseRecord reads a record, whoever wrote it.
func ParseRecord(data []byte) (*Record, error) {
	r := &Record{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	if err := r.About.check(); err != nil {
		return nil, err
	}
	if len(r.Items) > maxItems || len(r.Asked) > maxItems || len(r.Left) > maxItems {
		return nil, fmt.Errorf("%d items, %d asked for, left by %d runs", len(r.Items), len(r.Asked), len(r.Left))
	}
	for _, it := range r.Items {
		if a := it.Archive; a != nil && sink.ValidName(a.Name) != nil {
			return nil, fmt.Errorf("%.100q is no name of an archive", a.Name)
		}
	}
	if err := r.Snapshots.check(); err != nil {
		return nil, err
	}
	return r, nil
}

// ParseSnapshots reads a record of snapshots, whoever wrote it.
func ParseSnapshots(data []byte) (*SnapshotRecord, error) {
	r := &SnapshotRecord{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, err
	}
	if r.Snapshots == nil {
		return nil, errors.New("it has no snapshots")
	}
	if err := errors.Join(r.About.check(), r.Snapshots.check()); err != nil {
		return nil, err
	}
	return r, nil
}

func (a About) check() error {
	if a.Version != version {
		return fmt.Errorf("version %d of records is not known to this program", a.Version)
	}
	return nil
}

func (s *SnapshotSet) check() error {
	if s != nil && (slices.Contains(s.Snapshots, nil) || len(s.Snapshots) > maxItems) {
		return errors.New("a snapshot is null, or there are too many")
	}
	return nil
}

// A Verification is what was found of a record and of what it speaks of. A digest in it is one that was recalculated.
type Verification struct {
	Verdict   string                  `json:"verdict"` // of package acquire
	SHA256    string                  `json:"sha256"`  // of the record
	Bytes     int64                   `json:"bytes"`
	Signature acquire.SignatureState  `json:"signature"`
	Later     *acquire.SignatureState `json:"snapshots_signature,omitempty"` // of the record of the snapshots
	// LaterDigest is that of the record of the snapshots.
	LaterDigest acquire.Digest  `json:"snapshots_digest,omitzero"`
	Record      *Record         `json:"record,omitempty"` // nil, with Snapshots, where there is nothing but the record of these
	Snapshots   *SnapshotRecord `json:"snapshots,omitempty"`
	Problems    []string        `json:"problems,omitempty"`
	// NotChecked says what could not be: an archive without its key.
	NotChecked []string `json:"not_checked,omitempty"`
	// Unfinished says that there is no record: Record, and the digest, are then of what the run set out to gather, with the items by
	// their archives' own words.
	Unfinished bool `json:"unfinished,omitempty"`
	// Reasons say what is missing of what was asked for, by the records.
	Reasons []string `json:"reasons,omitempty"`
}

// VerifyOptions say whom to trust, and what decrypts archives.
type VerifyOptions struct {
	Signers    *signature.AllowedSigners
	At         time.Time // zero: now
	Identities []age.Identity
	// RecordsOnly leaves the archive unread.
	RecordsOnly bool
}

// Verify checks the record of this name: its signature, the archive that it speaks of, and the record of the snapshots that may lie beside it. An
// error says that it could not be read.
func Verify(ctx context.Context, where sink.Opener, name string, o VerifyOptions) (*Verification, error) {
	if o.Signers == nil {
		o.Signers = &signature.AllowedSigners{}
	}
	if o.At.IsZero() {
		o.At = time.Now()
	}
	v := &Verification{}
	data, err := sink.ReadAll(ctx, where, name, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		if err := v.unfinished(ctx, where, strings.TrimSuffix(name, Suffix), o, err); err != nil {
			return nil, err
		}
		return v, nil
	}
	if err != nil {
		return nil, err
	}
	d := records.DigestOf(data)
	v.SHA256, v.Bytes = d.SHA256, d.Bytes
	if v.Signature, err = signatureOf(ctx, where, name, data, o); err != nil {
		return nil, err
	}
	if v.Record, err = ParseRecord(data); err != nil {
		v.problem("%s: %v", name, err)
		v.judge()
		return v, nil
	}
	v.Reasons = append(v.Reasons, v.Record.Reasons...)
	if !o.RecordsOnly {
		if err := v.archives(ctx, where, o); err != nil {
			return nil, err
		}
		if err := v.left(ctx, where); err != nil {
			return nil, err
		}
	}
	if err := v.later(ctx, where, name, o); err != nil {
		return nil, err
	}
	v.judge()
	return v, nil
}

func (v *Verification) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

func signatureOf(ctx context.Context, where sink.Opener, name string, data []byte, o VerifyOptions) (s acquire.SignatureState, err error) {
	sig, err := sink.ReadAll(ctx, where, name+acquire.SignatureSuffix, acquire.MaxSignature)
	if errors.Is(err, fs.ErrNotExist) {
		s.Detail = "there is no " + name + acquire.SignatureSuffix
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return acquire.CheckSignature(Namespace, data, sig, o.Signers, o.At), nil
}

// archives checks the archive of each item.
func (v *Verification) archives(ctx context.Context, where sink.Opener, o VerifyOptions) error {
	sealed := 0
	for i := range v.Record.Items {
		it := &v.Record.Items[i]
		a := it.Archive
		if a == nil {
			v.problem("%.100q lies in no archive", it.Name)
			continue
		}
		data, err := sink.ReadAll(ctx, where, a.Name, maxArchive)
		switch d := records.DigestOf(data); {
		case errors.Is(err, fs.ErrNotExist):
			v.problem("%s is missing", a.Name)
		case errors.Is(err, sink.ErrTooLarge):
			v.problem("%s: %v", a.Name, err)
		case err != nil:
			return fmt.Errorf("%s: %w", a.Name, err)
		case d.Bytes != a.Stored.Bytes:
			v.problem("%s has %d bytes, and should have %d", a.Name, d.Bytes, a.Stored.Bytes)
		case d != a.Stored:
			v.problem("%s has SHA-256 %s, and should have %.64s", a.Name, d.SHA256, a.Stored.SHA256)
		case a.Encryption != encryptionNone && len(o.Identities) == 0:
			sealed++
		default:
			if _, err := open(data, a.Encryption != encryptionNone, it.Name, it, o.Identities); errors.Is(err, errArchive) {
				v.problem("%s: %v", a.Name, err)
			} else if err != nil {
				return fmt.Errorf("%s: %w", a.Name, err)
			}
		}
	}
	if sealed > 0 {
		v.NotChecked = append(v.NotChecked, fmt.Sprintf("what is in %d archives: they are encrypted, and no identity was given", sealed))
	}
	return nil
}

// open reads an archive in memory: readTar says what is held against what. That it cannot be decrypted is an error that is not errArchive.
func open(data []byte, sealed bool, name string, item *Item, identities []age.Identity) (*Piece, error) {
	var src io.Reader = bytes.NewReader(data)
	if sealed {
		plain, err := agefile.Open(bytes.NewReader(data), int64(len(data)), identities...)
		if err != nil {
			return nil, err
		}
		src = io.NewSectionReader(plain, 0, plain.Size())
	}
	dec, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, err
	}
	defer dec.Close()
	unpacked := io.LimitReader(dec, maxArchive)
	p, err := readTar(unpacked, name, item)
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, unpacked); err != nil { // the end of the frame has its checksum
		return nil, fmt.Errorf("%w: %w", errArchive, err)
	}
	return p, nil
}

// later checks the record of the snapshots, if there were any.
func (v *Verification) later(ctx context.Context, where sink.Opener, name string, o VerifyOptions) error {
	other := strings.TrimSuffix(name, Suffix) + SnapshotsSuffix
	data, err := sink.ReadAll(ctx, where, other, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		if r := v.Record; r != nil && r.Snapshots != nil && r.Snapshots.Error == "" {
			v.Reasons = append(v.Reasons, "nobody saw the end of the snapshots: there is no "+other)
		}
		return nil
	}
	if err != nil {
		return err
	}
	sig, err := signatureOf(ctx, where, other, data, o)
	if err != nil {
		return err
	}
	v.Later, v.LaterDigest = &sig, records.DigestOf(data)
	if v.Snapshots, err = ParseSnapshots(data); err != nil {
		v.problem("%s: %v", other, err)
		return nil
	}
	switch g := v.Snapshots.Gathered; {
	case v.Unfinished || v.Record == nil:
		v.problem("%s is of the record %.200q with SHA-256 %.64s, which is missing", other, g.Name, g.SHA256)
	case g.Name != name || g.SHA256 != v.SHA256 || g.Bytes != v.Bytes:
		v.problem("%s is of another record, %.200q with SHA-256 %.64s", other, g.Name, g.SHA256)
	}
	v.Reasons = append(v.Reasons, v.Snapshots.Reasons...)
	return nil
}

// judge says in a word what was found.
func (v *Verification) judge() {
	bad := func(s acquire.SignatureState) bool { return s.Present && !s.Valid }
	switch {
	case len(v.Problems) > 0 || bad(v.Signature) || v.Later != nil && bad(*v.Later):
		v.Verdict = acquire.VerdictMismatch
	case !v.Signature.Trusted || v.Later != nil && !v.Later.Trusted:
		v.Verdict = acquire.VerdictUntrusted
	case len(v.Reasons) > 0 || !v.Record.Complete:
		v.Verdict = acquire.VerdictPartial
	case len(v.NotChecked) > 0:
		v.Verdict = acquire.VerdictIntact
	default:
		v.Verdict = acquire.VerdictOK
	}
}

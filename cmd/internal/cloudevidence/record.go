package cloudevidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// Names of what lies in a case: an archive and a record of it, with its signature; and once snapshots have been waited for,
// the record of what became of them.
const (
	ArchiveSuffix   = ".tar.zst"
	Suffix          = ".gathered"
	SnapshotsSuffix = ".snapshots"
	nameMark        = "-cloud"
)

// Namespace is the domain of signatures of records (PROTOCOL.sshsig).
const Namespace = "cloud-evidence@shotglass-ir"

// version is that of records. Fields are only added.
const version = 1

// An Instance is what evidence is of.
type Instance struct {
	ID      string `json:"id"`
	ARN     string `json:"arn,omitempty"`
	Account string `json:"account,omitempty"`
	Region  string `json:"region,omitempty"`
	Name    string `json:"name,omitempty"`  // its tag, which anybody may set
	State   string `json:"state,omitempty"` // when it was read; empty: not known
	Windows bool   `json:"windows,omitempty"`
}

// About is what both records begin with.
type About struct {
	Version  int          `json:"v"`
	Case     string       `json:"case,omitempty"`
	Operator string       `json:"operator,omitempty"`
	Tool     acquire.Tool `json:"tool"`
	Caller   string       `json:"caller,omitempty"` // who asked AWS
	Host     string       `json:"host"`             // as the operator calls it
	Instance Instance     `json:"instance"`
	Written  time.Time    `json:"written"`
	// Complete says that all that was asked for is there: each item read, or known to be absent. Of the record of an archive it says nothing on
	// snapshots but that they were asked for and begun. Reasons says why not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`
}

// A Record says what was gathered.
type Record struct {
	About
	Begun     time.Time    `json:"begun"`
	Items     []Item       `json:"items,omitempty"`
	Archive   *File        `json:"archive,omitempty"`   // nil: there was nothing to keep
	Snapshots *SnapshotSet `json:"snapshots,omitempty"` // as they stood then
}

// A SnapshotRecord says what became of the snapshots of a Record.
type SnapshotRecord struct {
	About
	Gathered  Named        `json:"gathered"` // the record
	Snapshots *SnapshotSet `json:"snapshots"`
}

// A Named is a file by its name and digest.
type Named struct {
	Name string `json:"name"`
	acquire.Digest
}

// How an archive is encrypted.
const (
	encryptionNone = "none"
	encryptionAge  = "age"
)

// A File is a stored archive.
type File struct {
	Name       string         `json:"name"`
	Encryption string         `json:"encryption"` // "none" or "age"
	Recipients []string       `json:"recipients,omitempty"`
	Raw        acquire.Digest `json:"raw"` // of the tar archive
	Stored     acquire.Digest `json:"stored"`
}

// A Place is where evidence goes.
type Place struct {
	Sink       sink.Sink
	Recipients []agefile.Recipient // who can read the archive; none: everybody
	Signer     ssh.Signer          // nil: records are not signed
	// Put writes one small object into a sink that has none of its name, and returns where it is.
	Put func(ctx context.Context, s sink.Sink, name string, data []byte) (string, error)
}

// BaseName is what the names of an instance's evidence begin with. host is safe in file names.
func BaseName(host string, at time.Time) string {
	return host + at.UTC().Format("-20060102T150405Z") + nameMark
}

// maxTaken is how many other names are tried where one is taken.
const maxTaken = 20

// Stored is a record that was written.
type Stored struct {
	Named
	Location string
}

// Store writes the archive of c, and then the record, which it completes. Nothing is overwritten: a name that is taken gets a number.
func (p Place) Store(ctx context.Context, base string, r *Record, c *Collection) (done Stored, err error) {
	r.Items, r.Version = c.Items, version
	r.Reasons = append(Missing(c.Items), r.Snapshots.failed()...)
	r.Complete = len(r.Reasons) == 0
	if slices.ContainsFunc(c.Items, func(it Item) bool { return it.File != "" }) {
		file, archive, err := p.pack(c)
		if err != nil {
			return done, fmt.Errorf("archive: %w", err)
		}
		r.Archive = file
		if base, err = free(base, func(base string) error {
			file.Name = base + ArchiveSuffix
			if file.Encryption != encryptionNone {
				file.Name += agefile.Suffix
			}
			_, err := p.Put(ctx, p.Sink, file.Name, archive)
			return err
		}); err != nil {
			return done, fmt.Errorf("archive %s: %w", file.Name, err)
		}
	}
	_, err = free(base, func(base string) error {
		done, err = p.sign(ctx, base+Suffix, r)
		return err
	})
	return done, err
}

// free finds a name that is not taken, and returns it: do is called until its error is no longer that.
func free(base string, do func(base string) error) (string, error) {
	name, err := base, do(base)
	for n := 2; errors.Is(err, sink.ErrExists) && n <= maxTaken; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
		err = do(name)
	}
	return name, err
}

// StoreSnapshots writes the record of what became of the snapshots of a record, beside that.
func (p Place) StoreSnapshots(ctx context.Context, r *SnapshotRecord) (Stored, error) {
	r.Version = version
	r.Reasons = r.Snapshots.unfinished()
	r.Complete = len(r.Reasons) == 0
	return p.sign(ctx, strings.TrimSuffix(r.Gathered.Name, Suffix)+SnapshotsSuffix, r)
}

// ErrUnsigned says that a record was stored, and its signature not.
var ErrUnsigned = errors.New("it was stored without its signature")

// sign writes a record and its signature.
func (p Place) sign(ctx context.Context, name string, r any) (done Stored, err error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return done, err
	}
	data = append(data, '\n')
	done.Name, done.Digest = name, DigestOf(data)
	if done.Location, err = p.Put(ctx, p.Sink, name, data); err != nil {
		return done, fmt.Errorf("record %s: %w", name, err)
	}
	if p.Signer == nil {
		return done, nil
	}
	sig, err := signature.SignIn(Namespace, data, p.Signer)
	if err != nil {
		return done, fmt.Errorf("%w: sign %s: %w", ErrUnsigned, name, err)
	}
	if _, err := p.Put(ctx, p.Sink, name+acquire.SignatureSuffix, sig); err != nil {
		return done, fmt.Errorf("%w: signature of %s: %w", ErrUnsigned, name, err)
	}
	return done, nil
}

// pack makes the archive.
func (p Place) pack(c *Collection) (*File, []byte, error) {
	var out bytes.Buffer
	f := &File{Encryption: encryptionNone}
	dst, closeDst := io.Writer(&out), func() error { return nil }
	if len(p.Recipients) > 0 {
		w, err := agefile.NewWriter(&out, p.Recipients, 1<<20)
		if err != nil {
			return nil, nil, err
		}
		f.Encryption, f.Recipients = encryptionAge, agefile.Names(p.Recipients)
		dst, closeDst = w, w.Close
	}
	enc, err := zstd.NewWriter(dst, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, nil, err
	}
	raw := &counter{sum: sha256.New()}
	if err := errors.Join(c.writeTar(io.MultiWriter(raw, enc)), enc.Close(), closeDst()); err != nil {
		return nil, nil, err
	}
	f.Raw = acquire.Digest{Bytes: raw.n, SHA256: hex.EncodeToString(raw.sum.Sum(nil))}
	f.Stored = DigestOf(out.Bytes())
	return f, out.Bytes(), nil
}

// DigestOf is the digest of some bytes.
func DigestOf(data []byte) acquire.Digest {
	sum := sha256.Sum256(data)
	return acquire.Digest{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}

// A counter digests and counts what is written.
type counter struct {
	sum hash.Hash
	n   int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.sum.Write(p)
}

package cloudevidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Place is where evidence goes.
type Place struct {
	Sink       sink.Sink
	Recipients []agefile.Recipient // who can read the archives; none: everybody
	Signer     ssh.Signer          // nil: records are not signed
}

// A Keeping stores what is gathered of one instance, each thing as soon as it is there, so that a run that is killed loses only what was under
// way: first what the run sets out to gather, which takes the name, then an archive of each item, and the record in the end. It is safe
// for concurrent use.
type Keeping struct {
	base string // of names, if it is not taken
	// record is what is known at the beginning: who asks for what, of which instance.
	record Record

	mu sync.Mutex
	at map[sink.Sink]*keptAt
}

// keptAt is what was stored in one place. An object is there whole or, by its name, not at all: that is what sinks are for.
type keptAt struct {
	mu    sync.Mutex
	base  string // empty: nothing was stored there
	files map[string]*File
}

// NewKeeping begins to keep, under names that begin with base, what r says is asked for.
func NewKeeping(base string, r Record) *Keeping {
	r.Version, r.Complete, r.Reasons = version, false, []string{noRecord}
	return &Keeping{base: base, record: r, at: map[sink.Sink]*keptAt{}}
}

// noRecord is why what has no record yet is not complete.
const noRecord = "the run that began this has not recorded what came of it"

// Begin writes what the run sets out to gather. Item and Store do that, too, if it was not done.
func (k *Keeping) Begin(ctx context.Context, p Place) error {
	_, _, err := k.begin(ctx, p)
	return err
}

func (k *Keeping) begin(ctx context.Context, p Place) (*keptAt, string, error) {
	k.mu.Lock()
	at := k.at[p.Sink]
	if at == nil {
		at = &keptAt{files: map[string]*File{}}
		k.at[p.Sink] = at
	}
	k.mu.Unlock()
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.base != "" {
		return at, at.base, nil
	}
	r := k.record
	r.Written = time.Now().UTC()
	data, err := records.JSON(&r)
	if err != nil {
		return nil, "", err
	}
	base, err := free(k.base, func(base string) error {
		_, err := records.Put(ctx, p.Sink, base+BegunSuffix, data)
		return err
	})
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", base+BegunSuffix, err)
	}
	at.base = base
	return at, base, nil
}

// Item writes the archive of an item that was read, also of one of which there is nothing but the reason. It does so once.
func (k *Keeping) Item(ctx context.Context, p Place, it Item, content []byte) (*File, error) {
	at, base, err := k.begin(ctx, p)
	if err != nil {
		return nil, err
	}
	at.mu.Lock()
	file := at.files[it.Name]
	at.mu.Unlock()
	if file != nil {
		return file, nil
	}
	it.Archive = nil
	file, data, err := p.pack(&Piece{Version: version, Host: k.record.Host, Instance: k.record.Instance.ID, Begun: k.record.Begun, Item: it}, content)
	if err != nil {
		return nil, fmt.Errorf("archive of %s: %w", it.Name, err)
	}
	if _, err := free(base+"-"+it.Name, func(name string) error {
		file.Name = name + ArchiveSuffix
		if file.Encryption != encryptionNone {
			file.Name += agefile.Suffix
		}
		file.Location, err = records.Put(ctx, p.Sink, file.Name, data)
		return err
	}); err != nil {
		return nil, fmt.Errorf("archive %s: %w", file.Name, err)
	}
	at.mu.Lock()
	at.files[it.Name] = file
	at.mu.Unlock()
	return file, nil
}

// Store writes what is not there yet of c, and then the record, which it completes. Nothing is overwritten: a name that is taken gets a number.
func (k *Keeping) Store(ctx context.Context, p Place, r *Record, c *Collection) (done records.Stored, err error) {
	r.Items, r.Version = c.Items, version
	r.Reasons = append(Missing(c.Items), r.Snapshots.failed()...)
	r.Complete = len(r.Reasons) == 0
	_, base, err := k.begin(ctx, p)
	if err != nil {
		return done, err
	}
	for n := range c.Items {
		content, err := c.Content(n)
		if err != nil {
			return done, fmt.Errorf("%s: %w", c.Items[n].Name, err)
		}
		if c.Items[n].Archive, err = k.Item(ctx, p, c.Items[n], content); err != nil {
			return done, err
		}
	}
	_, err = free(base, func(base string) error {
		done, err = records.Write(ctx, p.Sink, base+Suffix, Namespace, p.Signer, r)
		return err
	})
	return done, err
}

// maxTaken is how many other names are tried where one is taken.
const maxTaken = 20

// free finds a name that is not taken, and returns it: do is called until its error is no longer that.
func free(base string, do func(base string) error) (string, error) {
	name, err := base, do(base)
	for n := 2; errors.Is(err, sink.ErrExists) && n <= maxTaken; n++ {
		name = fmt.Sprintf("%s-%d", base, n)
		err = do(name)
	}
	return name, err
}

// pack makes the archive of an item.
func (p Place) pack(piece *Piece, content []byte) (*File, []byte, error) {
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
	if err := errors.Join(piece.writeTar(io.MultiWriter(raw, enc), content), enc.Close(), closeDst()); err != nil {
		return nil, nil, err
	}
	f.Raw = acquire.Digest{Bytes: raw.n, SHA256: hex.EncodeToString(raw.sum.Sum(nil))}
	f.Stored = records.DigestOf(out.Bytes())
	return f, out.Bytes(), nil
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

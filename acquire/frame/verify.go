package frame

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"sync"
)

// VerifyOptions configures Verify. The zero value is the default.
type VerifyOptions struct {
	Workers  int                     // default GOMAXPROCS
	Raw      io.Writer               // gets the raw bytes in order, such as a lime.Walker; nil for none
	Progress func(stored, raw int64) // called after each frame with the totals so far; must not block
}

// The states of a seek table in a VerifyReport.
const (
	TableNone    = "none"    // not compressed: there is none
	TableIntact  = "intact"  //
	TableMissing = "missing" // or cut short
	TableDamaged = "damaged"
)

// A VerifyReport says what an image is like beside its index.
type VerifyReport struct {
	Frames  int           // that the index lists
	Damaged []*FrameError // all of them, in order

	// Stored covers the whole file as it is, except what cannot be read. It is
	// Complete if all can be, and there is not less and not more than index
	// and seek table say.
	Stored Digest
	// Raw covers what Raw was fed: the raw bytes, with zeros in place of frames that
	// do not decode, up to the first frame that is not there. It is Complete
	// if there were neither. Damaged frames that still decode are in it.
	Raw Digest

	Missing   int64 // stored bytes of frames that are not there
	Appended  int64 // stored bytes after the end
	SeekTable string
}

// Err returns nil if the image is exactly what the index says; otherwise it
// joins all that is wrong, every damaged frame by name.
func (r *VerifyReport) Err() error {
	var errs []error
	for _, e := range r.Damaged {
		errs = append(errs, e)
	}
	if r.Missing > 0 {
		errs = append(errs, fmt.Errorf("%d stored bytes are missing at the end", r.Missing))
	}
	if r.SeekTable == TableMissing || r.SeekTable == TableDamaged {
		errs = append(errs, fmt.Errorf("seek table is %s", r.SeekTable))
	}
	if r.Appended > 0 {
		errs = append(errs, fmt.Errorf("%d stored bytes are appended, from offset %d", r.Appended, r.Stored.Bytes-r.Appended))
	}
	return errors.Join(errs...)
}

// Verify checks the size bytes of the image in r against its index: the digest
// of every frame, that it decodes, and to how many bytes; and it digests the file and
// the raw bytes as a whole. It goes on after damage. Frames are checked in
// parallel, so that it takes as long as one SHA-256 of the raw bytes.
//
// Of an encrypted file the index lists pieces: of those the digests are checked, and Raw stays
// empty.
//
// The error says that it could not be done: an index that is none, the context,
// a failing Raw. What is wrong with the image is in the report.
func Verify(ctx context.Context, r io.ReaderAt, size int64, x *Index, o VerifyOptions) (*VerifyReport, error) {
	if err := x.Validate(); err != nil {
		return nil, err
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	dec, err := newDecoder(o.Workers)
	if err != nil {
		return nil, err
	}
	defer dec.close()

	v := &verifier{r: r, size: size, x: x, o: o}
	v.rep = VerifyReport{Frames: len(x.Entries), Missing: max(0, x.Stored()-size)}
	if err := v.frames(ctx, dec); err != nil {
		return nil, err
	}
	if err := v.end(ctx); err != nil {
		return nil, err
	}
	v.stored.Sum(v.rep.Stored.SHA256[:0])
	v.rep.Stored.Complete = v.rep.Stored.Bytes == size && v.rep.Missing == 0 && v.rep.Appended == 0 &&
		(v.rep.SeekTable == TableNone || v.rep.SeekTable == TableIntact)
	if x.Compression == Age {
		return &v.rep, nil
	}
	v.rep.Raw.SHA256 = v.plain
	if v.raw != nil {
		v.raw.Sum(v.rep.Raw.SHA256[:0])
	}
	v.rep.Raw.Complete = !v.holes && v.rep.Missing == 0
	return &v.rep, nil
}

type verifier struct {
	r    io.ReaderAt
	size int64
	x    *Index
	o    VerifyOptions
	rep  VerifyReport

	stored, raw hash.Hash // raw is nil as long as it is the same as stored
	plain       Sum       // of the stored bytes of the frames
	checksums   []uint32  // of the frames that could be read
	holes       bool      // some raw bytes are zeros that we put there
}

// frames checks the frames that are there, at least in part.
func (v *verifier) frames(ctx context.Context, dec *decoder) error {
	a := newAhead(v.r, v.x, 0, v.o.Workers, dec)
	defer a.close()

	var rawErr error
	v.stored = sha256.New()
	consumers := []func(*job){v.storedDigest}
	if v.x.Compression != None {
		v.raw = sha256.New()
		consumers = append(consumers, func(j *job) { v.raw.Write(j.raw) })
	}
	if v.o.Raw != nil {
		consumers = append(consumers, func(j *job) {
			if rawErr == nil && len(j.raw) > 0 {
				_, rawErr = v.o.Raw.Write(j.raw)
			}
		})
	}
	var wg sync.WaitGroup
	feeds := make([]chan *job, len(consumers))
	for i, consume := range consumers {
		feed := make(chan *job, cap(a.free)) // never full
		feeds[i] = feed
		wg.Go(func() {
			for j := range feed {
				consume(j)
				if j.refs.Add(-1) == 0 {
					a.free <- j
				}
			}
		})
	}
	for j := a.next(); j != nil && ctx.Err() == nil; j = a.next() {
		e := v.x.Entries[j.i]
		v.checksums = append(v.checksums, j.check)
		if j.err != nil {
			v.rep.Damaged = append(v.rep.Damaged, frameError(j.i, e, j.err))
		}
		if !j.decoded && !errors.Is(j.err, ErrMissing) && v.x.Compression != Age {
			j.hole(e)
			v.holes = true
		}
		v.rep.Raw.Bytes += int64(len(j.raw))
		v.rep.Stored.Bytes += int64(len(j.stored))
		j.refs.Store(int32(len(feeds)))
		for _, f := range feeds {
			f <- j
		}
		if v.o.Progress != nil {
			v.o.Progress(v.rep.Stored.Bytes, v.rep.Raw.Bytes)
		}
	}
	for _, f := range feeds {
		close(f)
	}
	wg.Wait()
	v.stored.Sum(v.plain[:0])
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case rawErr != nil:
		return fmt.Errorf("raw bytes: %w", rawErr)
	}
	return nil
}

// storedDigest digests stored bytes, and the raw bytes too from where these
// are no longer the same: not compressed, and unreadable.
func (v *verifier) storedDigest(j *job) {
	if v.x.Compression == None {
		if v.raw == nil && len(j.raw) != len(j.stored) {
			c, err := v.stored.(hash.Cloner).Clone()
			if err != nil {
				panic("frame: SHA-256 cannot be cloned: " + err.Error())
			}
			v.raw = c
		}
		if v.raw != nil {
			v.raw.Write(j.raw)
		}
	}
	v.stored.Write(j.stored)
}

// hole puts zeros in place of what could not be had, so that what follows
// stays at its place.
func (j *job) hole(e Entry) {
	if int64(cap(j.rawBuf)) < e.RawSize {
		j.rawBuf = make([]byte, e.RawSize)
	}
	had := copy(j.rawBuf[:e.RawSize], j.raw)
	j.raw = j.rawBuf[:e.RawSize]
	clear(j.raw[had:])
}

// end checks what follows the frames: the seek table and nothing else.
func (v *verifier) end(ctx context.Context) error {
	rest := v.size - v.x.Stored()
	var want []byte
	v.rep.SeekTable = TableNone
	if want = appendTable(nil, v.x, v.checksums); len(want) > 0 {
		v.rep.SeekTable = TableMissing
	}
	if rest <= 0 {
		return nil
	}
	got := make([]byte, 0, len(want))
	buf := make([]byte, 1<<20)
	for off := v.x.Stored(); off < v.size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), v.size-off)]
		if err := readFullAt(v.r, p, off); err != nil {
			return fmt.Errorf("read after the frames, at offset %d: %w", off, err)
		}
		v.stored.Write(p)
		v.rep.Stored.Bytes += int64(len(p))
		got = append(got, p[:min(len(p), cap(got)-len(got))]...)
		off += int64(len(p))
	}
	if len(want) == 0 {
		v.rep.Appended = rest
		return nil
	}
	// A damaged frame's checksum is not known; the table's word stands.
	for _, d := range v.rep.Damaged {
		if v.x.Compression != Zstd {
			break // its table has none
		}
		if at := skipHeaderSize + 12*d.Frame + 8; at+4 <= len(got) {
			copy(want[at:at+4], got[at:])
		}
	}
	switch {
	case len(got) < len(want) && bytes.HasPrefix(want, got):
	case len(got) < len(want):
		v.rep.Appended = rest
	case bytes.Equal(got, want):
		v.rep.SeekTable = TableIntact
		v.rep.Appended = rest - int64(len(want))
	case bytes.Equal(got[:skipHeaderSize], want[:skipHeaderSize]) || bytes.Equal(got[len(got)-4:], want[len(want)-4:]):
		v.rep.SeekTable = TableDamaged
		v.rep.Appended = rest - int64(len(want))
	default:
		v.rep.Appended = rest
	}
	return nil
}

package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// An IdentityError says that an image was to be decrypted and none of the identities does
// that.
type IdentityError struct {
	Recipients []string // who can, as the manifest says
	Err        error
}

func (e *IdentityError) Error() string {
	return fmt.Sprintf("%v: the manifest names as recipients %q", e.Err, e.Recipients)
}

// Unwrap returns the cause.
func (e *IdentityError) Unwrap() error { return e.Err }

// encrypted checks an encrypted image: the stored bytes always, and with the key what is
// in them. Both are read side by side, so that each byte comes over the network once.
func (v *verification) encrypted(ctx context.Context, r sink.Reader) error {
	v.rep.Encryption = encryptionAge
	x, guessed, err := v.pieces(ctx, r)
	if err != nil {
		return err
	}
	size := r.Size()
	headErr := v.payload(r)
	if headErr != nil && !errors.Is(headErr, agefile.ErrHeader) {
		return fmt.Errorf("read image: %w", headErr)
	}
	var plain *agefile.Reader
	var lockErr error
	if headErr == nil && len(v.opts.Identities) > 0 {
		plain, lockErr = v.decrypt(r)
		if lockErr != nil && !errors.Is(lockErr, agefile.ErrNoMatch) && !errors.Is(lockErr, agefile.ErrHeader) {
			return fmt.Errorf("decrypt image: %w", lockErr)
		}
	}
	c, err := v.contentOf(ctx, plain)
	if err != nil {
		return err
	}

	var f *frame.VerifyReport
	l := newLeash()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		defer l.end(0)
		o := frame.VerifyOptions{Workers: v.opts.Workers}
		if v.opts.Progress != nil {
			o.Progress = func(stored, _ int64) { v.opts.Progress(stored, size) }
		}
		f, err = frame.Verify(gctx, l.reader(0, r, func(off int64) int64 { return off }), size, x, o)
		return err
	})
	g.Go(func() error {
		defer l.end(1)
		if c == nil {
			return nil
		}
		return c.verify(gctx, l.reader(1, afterFrames{plain, c.x.Stored()}, plain.Stored), v.opts.Workers)
	})
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	v.rep.Pieces, v.rep.Stored = f.Frames, f.Stored.Bytes
	v.storedDigest(f, size)
	broken := v.damagedPieces(f)
	recorded := !v.m.Complete && v.intact(f, size)
	if !guessed && !recorded {
		v.end(f, x, size)
	}
	if headErr != nil && !recorded {
		v.mismatch(mismatchStructure, "the manifest says that it is encrypted with age, but: %v", headErr)
	}
	switch {
	case c != nil:
		c.judge(v, recorded)
		return nil
	case headErr != nil:
		v.undecoded("nothing of it can be decrypted")
	case lockErr != nil && (broken || errors.Is(lockErr, agefile.ErrHeader)):
		v.mismatch(mismatchStructure, "the header does not decrypt: %v", lockErr)
		v.undecoded("the header is damaged")
	case lockErr != nil:
		v.undecoded("it could not be decrypted")
		return &IdentityError{v.m.Image.Recipients, lockErr}
	default:
		v.undecoded("it was not decrypted")
	}
	return nil
}

// undecoded says what was not checked, and checks what the manifest says of it against itself.
func (v *verification) undecoded(why string) {
	if v.flat {
		v.rep.NotChecked = append(v.rep.NotChecked, "the raw bytes of "+v.name+": "+why)
		return
	}
	v.rep.NotChecked = append(v.rep.NotChecked,
		"the raw image: "+why+", so its SHA-256, its structure and the kernel's banner in it are the manifest's word, as its signer saw them when the image was taken",
		"who can decrypt the image: the recipients are the manifest's word")
	m := v.m
	if !m.Complete || m.Stream == nil {
		return
	}
	bad := func(format string, args ...any) { v.mismatch(mismatchManifest, format, args...) }
	if !m.Stream.Complete || m.Stream.Bytes != m.Image.Raw.Bytes {
		bad("it says complete, but that the stream had %d bytes (all records whole: %t) and the raw image %d", m.Stream.Bytes, m.Stream.Complete, m.Image.Raw.Bytes)
	}
	// Comparing takes the product of both; a real target has some dozens.
	if len(m.Stream.Ranges)*len(m.RAM) > 1<<24 {
		bad("it lists %d records and %d ranges of System RAM, which no machine has", len(m.Stream.Ranges), len(m.RAM))
		return
	}
	for _, r := range m.Stream.Ranges {
		if r.Range.End < r.Range.Start || r.Bytes != r.Range.Size() {
			bad("it says complete, but that of %s %d bytes came", r.Range, r.Bytes)
			return
		}
	}
	for _, d := range m.Stream.Compare(m.RAM) {
		v.report(Mismatch{
			What: mismatchRanges, Frame: -1, StoredOffset: -1, RawOffset: -1, Address: rangeStart(&d.Range),
			Detail: "the manifest says complete, but its records against its System RAM: " + d.String(),
		})
	}
}

// pieces returns the pieces of the stored file, by the side file. Without it they are guessed,
// and nothing but the digest of the whole file can be checked.
func (v *verification) pieces(ctx context.Context, r sink.Reader) (x *frame.Index, guessed bool, err error) {
	if v.m.Image.Frames != nil {
		if x, err := v.sideFile(ctx, frame.Age); x != nil || err != nil {
			return x, false, err
		}
	}
	x = &frame.Index{Compression: frame.Age}
	step := int64(frame.PlanFrameSize(r.Size()))
	for at := int64(0); at < r.Size(); at += step {
		x.Entries = append(x.Entries, frame.Entry{StoredOffset: at, StoredSize: min(step, r.Size()-at)})
	}
	return x, true, x.Validate()
}

// payload looks at what can be seen without the key: the header's form, and that the length
// can be that of an age file. An error that wraps agefile.ErrHeader is about the image.
func (v *verification) payload(r sink.Reader) error {
	head, err := agefile.Header(r, r.Size())
	if err != nil {
		return err
	}
	if v.m.Complete && !agefile.ValidPayload(r.Size()-head) {
		v.mismatch(mismatchStructure, "the manifest says complete, but an encrypted image does not have %d bytes", r.Size())
	}
	return nil
}

// decrypt opens the image as long as the manifest says it is: what was appended does not
// keep anybody from reading the rest.
func (v *verification) decrypt(r sink.Reader) (*agefile.Reader, error) {
	size := r.Size()
	if n := v.m.Image.Stored.Bytes; n > 0 && n < size {
		size = n
	}
	return agefile.Open(r, size, v.opts.Identities...)
}

// damagedPieces reports them, and whether one of them holds the header.
func (v *verification) damagedPieces(f *frame.VerifyReport) (header bool) {
	var ranges []lime.RangeReport
	if v.m.Stream != nil {
		ranges = v.m.Stream.Ranges
	}
	for _, e := range f.Damaged {
		holds := "the header, without which nothing can be decrypted"
		if e.StoredOffset > 0 {
			holds = "none of the memory"
			if e.RawSize > 0 {
				holds = fmt.Sprintf("parts of the raw bytes %d to %d", e.RawOffset, e.RawOffset+e.RawSize-1)
			}
		}
		m := Mismatch{
			What: mismatchPiece, Frame: e.Frame, StoredOffset: e.StoredOffset, RawOffset: -1,
			Detail: fmt.Sprintf("%v; its %d stored bytes hold %s", e.Err, e.StoredSize, holds),
		}
		if e.RawSize > 0 {
			m.RawOffset, m.Address = e.RawOffset, addressAt(ranges, e.RawOffset)
		}
		v.report(m)
		header = header || e.StoredOffset == 0
	}
	return header
}

// content is what an encrypted image holds, while it is verified.
type content struct {
	plain   *agefile.Reader
	x       *frame.Index
	guessed bool
	f       *frame.VerifyReport
	walker  *lime.Walker // nil: of a swap area, or an archive
	raw     io.Writer    // in its place; may be nil
}

// contentOf finds the frames of a decrypted image; nil if it is not.
func (v *verification) contentOf(ctx context.Context, plain *agefile.Reader) (*content, error) {
	if plain == nil {
		return nil, nil
	}
	x, guessed, err := v.found(ctx, plain)
	if err != nil {
		return nil, err
	}
	if !v.m.Complete { // after a failure of the sink there can be frames beyond the raw digest
		for i, e := range x.Entries {
			if e.RawOffset+e.RawSize > v.m.Image.Raw.Bytes {
				x.Entries = x.Entries[:i]
				break
			}
		}
	}
	return &content{plain: plain, x: x, guessed: guessed, walker: v.walker(), raw: v.content}, nil
}

func (c *content) verify(ctx context.Context, r io.ReaderAt, workers int) (err error) {
	o := frame.VerifyOptions{Workers: workers}
	if c.walker != nil {
		o.Raw = c.walker
	} else if c.raw != nil {
		o.Raw = c.raw
	}
	c.f, err = frame.Verify(ctx, r, c.plain.Size(), c.x, o)
	return err
}

// afterFrames reads zeros for what does not decrypt after the frames: that is damage, which the pieces
// and the tail tell, and no reason to give up. A frame that does not decrypt is told by itself.
type afterFrames struct {
	io.ReaderAt
	from int64
}

func (r afterFrames) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	if off >= r.from && errors.Is(err, agefile.ErrChunk) {
		clear(p[n:])
		return len(p), nil
	}
	return n, err
}

// judge reports what is wrong with the content. recorded says that the file is what a failed
// capture left, byte for byte.
func (c *content) judge(v *verification, recorded bool) {
	walked := finish(c.walker)
	v.rep.Frames, v.rep.Raw, v.rep.Decoded = c.f.Frames, c.f.Raw.Bytes, true
	if tail := c.plain.Tail(); tail != nil && !recorded {
		v.report(Mismatch{What: mismatchStructure, Frame: -1, StoredOffset: tail.Offset, RawOffset: -1, Detail: tail.Error()})
	}
	v.rawDigest(c.f)
	v.frames(c.f, walked, c.plain.Stored)
	if !c.guessed && !recorded {
		if t := c.f.SeekTable; t == frame.TableMissing || t == frame.TableDamaged {
			v.report(Mismatch{What: mismatchTable, Frame: -1, StoredOffset: c.plain.Stored(c.x.Stored()), RawOffset: -1,
				Detail: "the seek table at the end of the decrypted image is " + t})
		}
		if n := c.f.Appended; n > 0 {
			v.mismatch(mismatchAppended, "%d bytes follow the end of the decrypted image", n)
		}
	}
	v.structure(walked)
	if v.m.Complete && !v.flat {
		v.complete(walked)
	}
}

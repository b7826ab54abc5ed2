package acquire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// open opens the image that the manifest means. A partial image that lies under the
// final name, or the reverse, says something else than the manifest.
func (v *verification) open(ctx context.Context) (sink.Reader, error) {
	want, other := v.name, v.name+sink.PartialSuffix
	// Where nothing can be renamed, partial images too lie under the final name.
	if v.m.Image.Partial && strings.HasSuffix(v.m.Image.Location, sink.PartialSuffix) {
		want, other = other, want
	}
	meant := "complete"
	if !v.m.Complete {
		meant = "partial"
	}
	r, err := v.where.Open(ctx, want)
	r2, err2 := v.where.Open(ctx, other)
	switch {
	case err == nil && errors.Is(err2, fs.ErrNotExist):
	case err == nil:
		if err2 == nil {
			r2.Close()
		}
		v.mismatch(mismatchName, "both %s and %s are there; the manifest, of a %s image, means %s, which was read", v.name, v.name+sink.PartialSuffix, meant, want)
	case !errors.Is(err, fs.ErrNotExist):
		if err2 == nil {
			r2.Close()
		}
		return nil, fmt.Errorf("read image: %w", err)
	case err2 == nil:
		v.mismatch(mismatchName, "the manifest is that of a %s image, %s, but only %s is there, which was read", meant, want, other)
		r, want = r2, other
	default:
		return nil, fmt.Errorf("there is a manifest, but no image: looked for %s and %s: %w", v.location(want), other, errors.Join(err, err2))
	}
	v.rep.Image = v.location(want)
	return r, nil
}

// image checks bytes, frames and content.
func (v *verification) image(ctx context.Context, r sink.Reader) error {
	x, guessed, err := v.index(ctx, r)
	if err != nil {
		return err
	}
	size := r.Size()
	o := frame.VerifyOptions{Workers: v.opts.Workers}
	walker := v.walker()
	if walker != nil {
		o.Raw = walker
	} else if v.content != nil {
		o.Raw = v.content
	}
	if v.opts.Progress != nil {
		o.Progress = func(stored, _ int64) { v.opts.Progress(stored, size) }
	}
	f, err := frame.Verify(ctx, r, size, x, o)
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	walked := finish(walker)
	v.rep.Frames, v.rep.Stored, v.rep.Raw = f.Frames, f.Stored.Bytes, f.Raw.Bytes
	if v.opts.Progress != nil {
		v.opts.Progress(f.Stored.Bytes, size)
	}
	v.rep.Decoded = true
	v.storedDigest(f, size)
	v.rawDigest(f)
	v.frames(f, walked, func(stored int64) int64 { return stored })
	// What a sink left that failed in the middle of a frame is in the digest
	// of a partial image, and in no frame.
	recorded := !v.m.Complete && v.intact(f, size)
	if !guessed && !recorded {
		v.end(f, x, size)
	}
	v.structure(walked)
	if v.m.Complete && !v.flat {
		v.complete(walked)
	}
	return nil
}

// walker looks at the records of memory; nil for a swap area.
func (v *verification) walker() *lime.Walker {
	if v.flat {
		return nil
	}
	return lime.NewWalker(lime.WalkerOptions{Needles: v.needles()})
}

func finish(w *lime.Walker) *lime.Report {
	if w == nil {
		return &lime.Report{}
	}
	rep, _ := w.Finish() // what is wrong is in the report
	return rep
}

// intact says that the file is, byte for byte, what was stored.
func (v *verification) intact(f *frame.VerifyReport, size int64) bool {
	return f.Stored.Bytes == size && v.m.Image.Stored == Digest{size, f.Stored.SHA256.String()}
}

func (v *verification) storedDigest(f *frame.VerifyReport, size int64) {
	if v.intact(f, size) {
		return
	}
	stored, unread := v.m.Image.Stored, ""
	if n := size - f.Stored.Bytes; n > 0 {
		unread = fmt.Sprintf(" without %d bytes that cannot be read", n)
	}
	v.mismatch(mismatchStored, "the file has %d bytes with SHA-256 %s%s; the manifest says %d bytes with %q",
		size, f.Stored.SHA256, unread, stored.Bytes, stored.SHA256)
}

func (v *verification) rawDigest(f *frame.VerifyReport) {
	raw := v.m.Image.Raw
	if got := (Digest{f.Raw.Bytes, f.Raw.SHA256.String()}); got != raw {
		filled := ""
		if !f.Raw.Complete {
			filled = ", not all of which could be had,"
		}
		v.mismatch(mismatchRaw, "the image decodes to %d bytes%s with SHA-256 %s; the manifest says %d bytes with %q",
			got.Bytes, filled, got.SHA256, raw.Bytes, raw.SHA256)
	}
}

// frames reports damaged frames; stored maps their offsets to those in the file.
func (v *verification) frames(f *frame.VerifyReport, walked *lime.Report, stored func(int64) int64) {
	// The manifest knows the place also of what is not there any more.
	ranges := walked.Ranges
	if s := v.m.Stream; s != nil && len(s.Ranges) > 0 {
		ranges = s.Ranges
	}
	for _, e := range f.Damaged {
		v.report(Mismatch{
			What: mismatchFrame, Frame: e.Frame, StoredOffset: stored(e.StoredOffset), RawOffset: e.RawOffset,
			Address: addressAt(ranges, e.RawOffset),
			Detail: fmt.Sprintf("%s; the frame holds %d raw bytes in %d stored bytes",
				strings.ReplaceAll(e.Err.Error(), "\n", "; "), e.RawSize, e.StoredSize),
		})
	}
}

// addressAt returns the physical address of the byte at a raw offset, or of the
// next one when it is a header's; "" when none is known.
func addressAt(ranges []lime.RangeReport, raw int64) string {
	i := sort.Search(len(ranges), func(i int) bool { return ranges[i].Offset > raw }) - 1
	if i < 0 {
		return ""
	}
	r := ranges[i]
	into := uint64(max(0, raw-r.Offset-lime.HeaderSize))
	if into < r.Bytes {
		return lime.Addr(r.Range.Start + into).String()
	}
	return ""
}

// end checks what follows the frames.
func (v *verification) end(f *frame.VerifyReport, x *frame.Index, size int64) {
	if f.SeekTable == frame.TableMissing || f.SeekTable == frame.TableDamaged {
		v.report(Mismatch{What: mismatchTable, Frame: -1, StoredOffset: x.Stored(), RawOffset: -1,
			Detail: "the seek table at the end of the image is " + f.SeekTable})
	}
	if f.Appended > 0 {
		v.report(Mismatch{What: mismatchAppended, Frame: -1, StoredOffset: size - f.Appended, RawOffset: -1,
			Detail: fmt.Sprintf("%d bytes follow the end of the image", f.Appended)})
	}
}

// index returns what is known of the frames: by the side file if it is the
// manifest's, otherwise by the image itself. It is guessed when neither helps:
// then it is empty, and all that is left to check is the digest of the file.
func (v *verification) index(ctx context.Context, r sink.Reader) (x *frame.Index, guessed bool, err error) {
	if v.m.Image.Frames != nil {
		x, err := v.sideFile(ctx, v.m.Image.Compression)
		if x != nil || err != nil {
			return x, false, err
		}
	}
	return v.found(ctx, r)
}

// found is what is known of the frames by the image itself.
func (v *verification) found(ctx context.Context, r sizedReaderAt) (x *frame.Index, guessed bool, err error) {
	x = &frame.Index{Compression: v.m.Image.Compression}
	switch v.m.Image.Compression {
	case frame.None:
		// The manifest ends the raw bytes: what follows is a part of a frame.
		n := min(r.Size(), max(0, v.m.Image.Raw.Bytes))
		size := int64(frame.PlanFrameSize(n))
		for at := int64(0); at < n; at += size {
			m := min(size, n-at)
			x.Entries = append(x.Entries, frame.Entry{StoredOffset: at, StoredSize: m, RawOffset: at, RawSize: m})
		}
		return x, false, x.Validate()
	case frame.Zstd, frame.S2:
	default: // told by claims
		x.Compression = frame.None
		return x, true, nil
	}
	found, why := storedFrames(r)
	switch {
	case why == nil:
		return found, false, nil
	case ctx.Err() != nil:
		return nil, false, context.Cause(ctx)
	case v.m.Image.Raw.Bytes != 0: // otherwise not one frame was stored whole
		v.mismatch(mismatchStructure, "the frames of the image cannot be found: %v", why)
	}
	return x, true, nil
}

// A sizedReaderAt is an image, as it is stored or decrypted.
type sizedReaderAt interface {
	io.ReaderAt
	Size() int64
}

// storedFrames finds the frames by the seek table or their headers.
func storedFrames(r sizedReaderAt) (*frame.Index, error) {
	f, err := frame.Open(r, r.Size())
	if err != nil {
		return nil, err
	}
	defer f.Close()
	x := f.Index()
	if x == nil {
		return nil, fmt.Errorf("stored as %s, not in frames of known size", f.Format())
	}
	return x, x.Validate()
}

// sideFile reads the frame index, which lists frames of the compression kind. It returns nil when that is not the
// manifest's, which is reported.
func (v *verification) sideFile(ctx context.Context, kind string) (*frame.Index, error) {
	instead := "; damage was looked for by the digests of the whole image, and by decoding it"
	if v.parts {
		instead = ""
	}
	want, name := v.m.Image.Frames, v.name+FramesSuffix
	r, err := v.where.Open(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.mismatch(mismatchIndex, "there is no %s, whose digest the manifest holds%s", name, instead)
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read frame index: %w", err)
	}
	defer r.Close()
	if r.Size() != want.Bytes {
		v.mismatch(mismatchIndex, "%s has %d bytes, the manifest says %d%s", name, r.Size(), want.Bytes, instead)
		return nil, nil
	}
	sum := newDigester()
	src := io.TeeReader(ctxReader{ctx, r}, sum.to(io.Discard))
	x, bad := frame.ParseIndex(bufio.NewReaderSize(src, 64<<10))
	if bad != nil && !errors.Is(bad, frame.ErrIndex) {
		return nil, bad
	}
	if _, err := io.Copy(io.Discard, src); err != nil {
		return nil, fmt.Errorf("read frame index: %w", err)
	}
	switch got := sum.digest(); {
	case got != want.Digest:
		v.mismatch(mismatchIndex, "%s has %d bytes with SHA-256 %s; the manifest says %d bytes with %q%s",
			name, got.Bytes, got.SHA256, want.Bytes, want.SHA256, instead)
		return nil, nil
	case bad != nil:
		v.mismatch(mismatchIndex, "%s: %v%s", name, bad, instead)
		return nil, nil
	}
	if x.Compression != kind || len(x.Entries) != want.Count || x.Raw() != v.m.Image.Raw.Bytes {
		v.mismatch(mismatchIndex, "%s lists %d frames of compression %s with %d raw bytes; the manifest says %d frames of compression %q with %d raw bytes",
			name, len(x.Entries), x.Compression, x.Raw(), want.Count, kind, v.m.Image.Raw.Bytes)
	}
	return x, nil
}

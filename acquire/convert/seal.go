package convert

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// record says what was done. mismatch: the source is not what its manifest says.
func (c *conversion) record() (rec *Record, mismatch bool) {
	o := c.o
	rec = &Record{
		Type: RecordType, Version: RecordVersion, Case: o.Case, Tool: o.Tool, Operator: o.Operator, Options: o.Settings,
		Source: c.src.Source, Form: o.Form, Machine: c.src.machine, Release: c.src.release, Memory: c.memory, Report: c.rep, Core: c.core,
		Created: o.Created.UTC(), Duration: time.Since(c.begin),
		Image: acquire.Image{
			Name: o.Name, Format: string(o.Form), Compression: o.Form.Compression(), Encryption: encryptionNone,
			Raw:    acquire.Digest{Bytes: c.out.Raw.Bytes, SHA256: c.out.Raw.SHA256.String()},
			Stored: acquire.Digest{Bytes: c.out.Stored.Bytes, SHA256: c.out.Stored.SHA256.String()},
		},
	}
	rec.Ranges, c.rep.Ranges = c.rep.Ranges, nil // there once
	c.rep.Notes = append(c.src.notes, c.rep.Notes...)
	if len(o.Recipients) > 0 {
		rec.Image.Encryption, rec.Image.Recipients = encryptionAge, agefile.Names(o.Recipients)
	}
	if rec.Release == "" && c.core != nil {
		rec.Release = c.core.Release
	}
	why := func(format string, args ...any) { rec.Reasons = append(rec.Reasons, fmt.Sprintf(format, args...)) }
	if p := c.src.Manifest; p != nil {
		if !p.Complete {
			why("the source is partial, as its manifest says: %v", c.src.reasons)
		}
		if p.Interim {
			why("the source has an interim manifest alone, %s: its capture did not come to its end, or the last manifest is gone", p.Name)
		}
		if p.Memory != c.memory {
			mismatch = true
			why("its memory has %d bytes as a LiME stream, with SHA-256 %s; the manifest says %d bytes with %q", c.memory.Bytes, c.memory.SHA256, p.Memory.Bytes, p.Memory.SHA256)
		}
		if s := c.stored; s.Bytes > 0 && !c.src.Encrypted && (s.Bytes != c.src.stored.Bytes || s.SHA256.String() != c.src.stored.SHA256) {
			mismatch = true
			why("the file has %d bytes with SHA-256 %s; the manifest says %d bytes with %q", s.Bytes, s.SHA256, c.src.stored.Bytes, c.src.stored.SHA256)
		}
		if p.Signature.Present && !p.Signature.Valid {
			mismatch = true
			why("the signature of its manifest does not hold: %s", p.Signature.Detail)
		}
	}
	if c.src.cut != nil {
		why("the encrypted file was cut short: %v", c.src.cut)
	}
	for i, d := range c.rep.Damage {
		if i == maxReasons {
			why("and %d more damages, see the report", len(c.rep.Damage)-i+c.rep.More)
			break
		}
		// What the manifest knows of a partial image, and what agrees with it, is no news.
		if d.Kind == forms.Truncated && c.src.Manifest != nil && !c.src.Manifest.Complete && !mismatch {
			continue
		}
		why("%s", d)
	}
	if c.walked != nil && len(c.walked.Problems) > 0 && len(rec.Reasons) == 0 {
		why("%v", c.walked.Problems[0])
	}
	rec.Complete = len(rec.Reasons) == 0
	return rec, mismatch
}

// maxReasons is how many damages are reasons; the report has all.
const maxReasons = 16

// seal ends the object, and writes index, record and signature. It takes as long as it takes, but after ctx has
// ended no step may hang.
func (c *conversion) seal(ctx context.Context, obj sink.Object, rec *Record, mismatch bool) (*Result, error) {
	if ctx.Err() != nil {
		return nil, errors.Join(context.Cause(ctx), abort(ctx, obj))
	}
	end := obj.Keep
	if rec.Complete {
		end = obj.Commit
	}
	receipt, err := end(ctx)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, errors.Join(fmt.Errorf("store %s: %w", rec.Image.Name, err), abort(ctx, obj))
	}
	i := &rec.Image
	i.Location, i.Partial, i.Checksums, i.ETag = receipt.Location, receipt.Partial, receipt.Checksums, receipt.ETag
	i.VersionID, i.AtRest, i.Segments = receipt.VersionID, receipt.Encryption, receipt.Segments
	name := i.Name + acquire.ManifestSuffix
	if !rec.Complete && sink.IsNeutral(c.o.Sink) {
		name = i.Name + acquire.PartialManifestSuffix
	}
	// From here on the image is there: its record is written also when the user wants to leave.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	res := &Result{Record: rec, Partial: !rec.Complete, Mismatch: mismatch}
	ferr := c.frames(ctx, rec) // without it the record tells less, and is true
	data, err := rec.Marshal()
	if err != nil {
		return res, err
	}
	if res.Manifest, err = put(ctx, c.o.Sink, name, data); err != nil {
		return res, fmt.Errorf("write the record of %s, which nothing vouches for without: %w", i.Location, err)
	}
	if c.o.Signer == nil {
		return res, ferr
	}
	armored, err := signature.Sign(data, c.o.Signer)
	if err == nil {
		res.Signature, err = put(ctx, c.o.Sink, name+acquire.SignatureSuffix, armored)
	}
	if err != nil {
		return res, fmt.Errorf("sign the record of %s: %w", i.Location, err)
	}
	return res, ferr
}

// frames writes the frame index.
func (c *conversion) frames(ctx context.Context, rec *Record) error {
	x := c.out.Index
	if x == nil || len(x.Entries) == 0 {
		return nil
	}
	obj, err := c.o.Sink.Create(ctx, rec.Image.Name+acquire.FramesSuffix)
	if err != nil {
		return fmt.Errorf("write frame index: %w", err)
	}
	sum := &digester{h: sha256.New(), w: obj}
	if _, err := x.WriteTo(sum); err != nil {
		return errors.Join(fmt.Errorf("write frame index: %w", err), abort(ctx, obj))
	}
	if _, err := obj.Commit(ctx); err != nil {
		return errors.Join(fmt.Errorf("write frame index: %w", err), abort(ctx, obj))
	}
	rec.Image.Frames = &acquire.Frames{Name: rec.Image.Name + acquire.FramesSuffix, Count: len(x.Entries), FrameSize: c.out.FrameSize, Digest: sum.digest()}
	return nil
}

// put stores a small file.
func put(ctx context.Context, s sink.Sink, name string, data []byte) (string, error) {
	obj, err := s.Create(ctx, name)
	if err != nil {
		return "", err
	}
	if _, err = obj.Write(data); err == nil {
		var r sink.Receipt
		if r, err = obj.Commit(ctx); err == nil {
			return r.Location, nil
		}
	}
	return "", errors.Join(err, abort(ctx, obj))
}

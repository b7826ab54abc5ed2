package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// haste is how long a step of sealing may wait for the sink once the user wants to leave. (A
// disk waits for nothing.)
const haste = 30 * time.Second

// grace returns a context that outlives ctx by haste: sealing is not cut short by the user,
// but what hangs is.
func grace(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if ctx.Err() != nil {
		return context.WithTimeoutCause(free, haste, errHaste)
	}
	out, cancel := context.WithCancelCause(free)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-time.After(haste):
			cancel(errHaste)
		case <-out.Done():
		}
	})
	return out, func() { stop(); cancel(nil) }
}

var errHaste = fmt.Errorf("interrupted, and not done within %s after", haste)

// seal ends the object, writes the index, the manifest and the signature, and
// forms the result. After ctx has ended each step has the time of haste.
func (c *capture) seal(ctx context.Context, interrupted bool) Result {
	res := Result{Host: c.step.Host, State: StateFailed, Interrupted: interrupted, Duration: c.duration}
	if c.clean != nil {
		res.Left, res.Fix = c.clean.Left, c.clean.Fix
	}
	if c.freezer != nil {
		res.Unfrozen = c.freezer.unfrozen()
	}
	if c.openErr != nil || c.out.Received == 0 {
		return c.sealEmpty(ctx, res)
	}
	m := c.manifest()
	c.free()
	state, receipt, errs := c.store(ctx, m)
	c.h.mark("image %s: %s", state, receipt.Location)
	if len(errs) == 0 {
		c.prepareSecond(ctx, m)
	}
	c.collectBesideInterim(ctx, m)
	swapErr := c.swap(ctx, m)
	res.Left, res.Fix = m.Footprint.Left, m.Footprint.Fix
	m.Timeline = c.h.moments()
	err := c.writeManifest(ctx, m, &res)
	if err != nil {
		// No manifest, no evidence: a whole image whose record is missing is
		// not called complete.
		errs = append(errs, err)
		state = StatePartial
	}
	res.Image, res.Reasons, res.State, res.Swap = m.Image, m.Reasons, state, m.SwapImages
	if p := receipt.Pending; p != nil {
		res.Reasons = append(res.Reasons[:len(res.Reasons):len(res.Reasons)], (&PendingError{*p}).Error())
	}
	if !m.Complete {
		errs = append(errs, &PartialError{m.Reasons}, c.srcErr, c.sinkErr)
	}
	if swapErr != nil {
		errs = append(errs, swapErr)
		res.Interrupted = res.Interrupted || ctx.Err() != nil
	}
	res.Err = errors.Join(errs...)
	return res
}

// store writes the index of what was streamed and ends its object, and says in m how it lies
// there. What goes wrong makes m incomplete, with the reason. StateFailed: not a byte is stored.
func (c *capture) store(ctx context.Context, m *Manifest) (state State, receipt sink.Receipt, errs []error) {
	fault := func(what string, err error) {
		if err != nil {
			errs = append(errs, err)
			m.Complete = false
			m.Reasons = append(m.Reasons, what+": "+err.Error())
		}
	}
	// The index comes before the image's name: without it, it is not whole evidence.
	fault("frames", c.writeFrames(ctx, m))
	receipt, err := c.end(ctx, m.Complete)
	fault("stored", err)
	nothing := errors.Is(err, sink.ErrNothing)
	m.Image.Location, m.Image.Partial = receipt.Location, receipt.Partial
	m.Image.Checksums, m.Image.ETag = receipt.Checksums, receipt.ETag
	m.Image.VersionID, m.Image.AtRest = receipt.VersionID, receipt.Encryption
	m.Image.Segments = receipt.Segments
	if receipt.Size != 0 && receipt.Size != m.Image.Stored.Bytes {
		fault("stored", fmt.Errorf("the sink holds %d bytes, %d were written", receipt.Size, m.Image.Stored.Bytes))
		fault("stored", c.restate(ctx, m, receipt))
	}
	state = StatePartial
	switch {
	case m.Complete:
		state = StateComplete
	case nothing:
		// What was done to the target is on record all the same.
		state, m.Image.Stored, m.Image.Raw, m.Image.Frames = StateFailed, Digest{}, Digest{}, nil
	}
	for _, n := range receipt.Notes {
		c.h.mark("%s", n)
	}
	if p := receipt.Pending; p != nil {
		state = StatePartial // whole perhaps, and not where it should be
		m.Image.Location = p.Final
		m.Image.Pieces = &Pieces{Here: p.Here, There: p.There, Why: p.Why}
		for _, d := range p.Descriptions {
			m.Image.Pieces.Descriptions = append(m.Image.Pieces.Descriptions, Reference{Name: d.Name, SHA256: d.SHA256})
		}
		perr := &PendingError{*p}
		errs = append(errs, perr)
		c.h.mark("%s", perr)
	}
	return state, receipt, errs
}

// sealEmpty ends a capture that got no byte. If the target was touched, or something was collected, what
// was done to it is on record all the same, in a manifest without an image.
func (c *capture) sealEmpty(ctx context.Context, res Result) Result {
	err := errors.Join(c.openErr, c.srcErr, c.sinkErr)
	if err == nil {
		err = errors.New("the target sent nothing")
	}
	res.Err = err
	op, done := grace(ctx)
	defer done()
	if aerr := c.obj.Abort(op); aerr != nil {
		res.Err = errors.Join(err, aerr)
	}
	if c.src != nil || c.freezer != nil || c.live != nil {
		c.recordEmpty(ctx, err, &res)
	}
	return res
}

// recordEmpty writes a manifest without an image, and says in res what it says.
func (c *capture) recordEmpty(ctx context.Context, err error, res *Result) {
	m := c.manifest()
	m.Complete, m.Checks, m.Anomalies = false, nil, nil
	m.Reasons = []string{err.Error()}
	m.Image.Stored, m.Image.Raw = Digest{}, Digest{}
	if serr := c.noSwap(m, errors.New("the image of memory brought no byte")); serr != nil {
		res.Err = errors.Join(res.Err, serr)
	}
	c.free()
	c.collectAfter(ctx, m)
	m.Timeline = c.h.moments()
	if werr := c.writeManifest(ctx, m, res); werr != nil {
		res.Err = errors.Join(res.Err, werr)
	}
	res.Reasons, res.Swap = m.Reasons, m.SwapImages
}

// A PartialError says why a stored image is not complete.
type PartialError struct{ Reasons []string }

func (e *PartialError) Error() string {
	if len(e.Reasons) == 0 {
		return "image is partial"
	}
	return "image is partial: " + e.Reasons[0]
}

// A PendingError says that an image waits in pieces.
type PendingError struct{ sink.Pending }

func (e *PendingError) Error() string {
	return fmt.Sprintf("%s is not there yet: its bucket failed; %d bytes wait in it, and %d in %s: %s", e.Final, e.There, e.Here, e.Root, e.Why)
}

// Hint says what finishes it.
func (e *PendingError) Hint() string {
	return "keep " + e.Root + "; when the bucket answers again: shotglass upload " + e.Root
}

// end commits a complete image and keeps any other.
func (c *capture) end(user context.Context, complete bool) (sink.Receipt, error) {
	ctx, done := grace(user)
	defer done()
	if complete {
		r, err := c.obj.Commit(ctx)
		if err == nil {
			return r, nil
		}
		again, done := grace(user)
		defer done()
		kept, kerr := c.obj.Keep(again)
		if kerr != nil {
			kept = sink.Receipt{Location: c.obj.Location(), Partial: true}
		}
		return kept, errors.Join(fmt.Errorf("commit image: %w", err), kerr)
	}
	r, err := c.obj.Keep(ctx)
	if err != nil {
		return sink.Receipt{Location: c.obj.Location(), Partial: true}, fmt.Errorf("keep partial image: %w", err)
	}
	return r, nil
}

// restate makes the digests those of what the sink holds, where that is the start of what
// was written: a sink that uploads in the background can lose what it took. It is read again.
func (c *capture) restate(ctx context.Context, m *Manifest, kept sink.Receipt) error {
	ctx = context.WithoutCancel(ctx) // it fails by itself when nothing comes
	where, ok := c.opts.Sink.(sink.Opener)
	if !ok || c.out.Index == nil || kept.Size > m.Image.Stored.Bytes {
		return nil
	}
	r, err := where.Open(ctx, kept.Name)
	if err != nil {
		return fmt.Errorf("read again what was stored: %w", err)
	}
	defer r.Close()
	if m.Image.Encryption == encryptionAge {
		return c.restateEncrypted(ctx, m, r)
	}
	whole := c.out.Index.Entries
	for i, e := range whole {
		if e.StoredOffset+e.StoredSize > kept.Size {
			whole = whole[:i]
			break
		}
	}
	x := &frame.Index{Compression: c.out.Index.Compression, Chained: c.out.Index.Chained, Entries: whole}
	f, err := frame.Verify(ctx, r, r.Size(), x, frame.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("read again what was stored: %w", err)
	}
	m.Image.Stored = Digest{f.Stored.Bytes, f.Stored.SHA256.String()}
	m.Image.Raw = Digest{f.Raw.Bytes, f.Raw.SHA256.String()}
	m.Image.Frames = nil // the side file lists more than there is
	c.h.mark("the digests are those of the %d bytes that are stored, read again", f.Stored.Bytes)
	return nil
}

// restateEncrypted does so without the key: the raw digest is that of bytes which went
// into what is left.
func (c *capture) restateEncrypted(ctx context.Context, m *Manifest, r sink.Reader) error {
	x, raw := c.out.Until(r.Size())
	f, err := frame.Verify(ctx, r, r.Size(), x, frame.VerifyOptions{})
	if err != nil {
		return fmt.Errorf("read again what was stored: %w", err)
	}
	if len(f.Damaged) > 0 {
		return fmt.Errorf("read again what was stored: %w", f.Damaged[0])
	}
	m.Image.Stored = Digest{f.Stored.Bytes, f.Stored.SHA256.String()}
	m.Image.Raw = Digest{raw.Bytes, raw.SHA256.String()}
	m.Image.Frames = nil // the side file lists more than there is
	c.h.mark("the stored digest is that of the %d bytes that are stored, read again; the raw digest is that of %d bytes which went into them", f.Stored.Bytes, raw.Bytes)
	return nil
}

// manifest is the record of the capture, but for where the image ended up.
func (c *capture) manifest() *Manifest {
	h, s, f := c.h, c.step, c.step.Facts
	m := &Manifest{
		Type: ManifestType, Version: ManifestVersion,
		Case: c.opts.Case, Labels: s.Labels, Tool: c.opts.Tool, Operator: c.opts.Operator, Options: c.opts.Settings,
		Target: TargetRecord{Host: s.Host, Connection: s.Info, Facts: f},
		Method: Method{Source: s.Source, Candidates: s.Candidates, Privilege: s.Privilege},
		RAM:    f.RAM, Stream: c.rep, Swap: f.Swap,
		Created: c.opts.Now().UTC(),
		Image:   c.image(s.Name, formatLime),
		Footprint: Footprint{
			TaintBefore: f.Tainted,
			Commands:    int(h.commands.Load()), Sudo: int(h.sudo.Load()), Logins: int(h.logins.Load()),
		},
		Duration: c.duration,
	}
	m.Other = c.other
	if c.clean != nil {
		m.Footprint.TaintAfter, m.Footprint.Clean = c.clean.Taint, c.clean.Clean
		m.Footprint.Left, m.Footprint.Fix = c.clean.Left, c.clean.Fix
	}
	m.Reads = readTimes(c.rep)
	for _, st := range c.failed {
		st.Record(m)
	}
	if c.src != nil {
		c.src.Record(m)
	}
	if c.rep == nil {
		if c.freezer != nil {
			c.freezer.record(m)
		}
		return m // no stream
	}
	j := &judgement{
		facts: f, rep: c.rep, walkErr: c.walkErr, srcErr: c.srcErr, sinkErr: c.sinkErr,
		samples: c.samples, doubtful: c.doubtful, stalls: c.stalls,
		source: s.Source, params: m.Method.Parameters, peer: m.Method.Peer,
		kcore: m.Method.Kcore, unreadable: m.Unreadable, clockSet: c.clockSet,
	}
	if c.clean != nil {
		j.insmod = c.clean.Insmod
	}
	m.Checks, m.Complete, m.Reasons = j.checks()
	m.Anomalies = j.anomalies()
	if c.freezer != nil {
		c.freezer.record(m)
	}
	return m
}

// image is what was streamed, but for where it ended up.
func (c *capture) image(name, format string) Image {
	i := Image{
		Name: name, Format: format, Compression: c.opts.Compression, Encryption: encryptionNone,
		Raw:    Digest{c.out.Raw.Bytes, c.out.Raw.SHA256.String()},
		Stored: Digest{c.out.Stored.Bytes, c.out.Stored.SHA256.String()},
	}
	if len(c.opts.Recipients) > 0 {
		i.Encryption, i.Recipients = encryptionAge, agefile.Names(c.opts.Recipients)
	}
	return i
}

// writeFrames stores the frame index beside the image.
func (c *capture) writeFrames(ctx context.Context, m *Manifest) error {
	if c.out.Index == nil || len(c.out.Index.Entries) == 0 {
		return nil
	}
	ctx, done := grace(ctx)
	defer done()
	name := m.Image.Name + FramesSuffix
	sum := newDigester()
	obj, err := c.opts.Sink.Create(ctx, name)
	if err != nil {
		return fmt.Errorf("write frame index: %w", err)
	}
	if _, err := c.out.Index.WriteTo(sum.to(obj)); err != nil {
		return errors.Join(fmt.Errorf("write frame index: %w", err), obj.Abort(ctx))
	}
	if _, err := obj.Commit(ctx); err != nil {
		_, kerr := obj.Keep(ctx)
		return errors.Join(fmt.Errorf("write frame index: %w", err), kerr)
	}
	m.Image.Frames = &Frames{Name: name, Count: len(c.out.Index.Entries), FrameSize: c.out.FrameSize, Digest: sum.digest()}
	return nil
}

// writeManifest stores the manifest and its signature, last of all, and says in res where.
func (c *capture) writeManifest(ctx context.Context, m *Manifest, res *Result) error {
	if c.opts.Previous != nil {
		m.Previous = c.opts.Previous()
	}
	return c.putManifest(ctx, m, manifestName(c.opts.Sink, m.Image.Name, m.Complete), res)
}

// putManifest stores a manifest under a name, and its signature, and says in res where.
func (c *capture) putManifest(ctx context.Context, m *Manifest, name string, res *Result) error {
	data, err := m.Marshal()
	if err != nil {
		return err
	}
	if res.Manifest, err = c.put(ctx, name, data); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	sum := newDigester()
	sum.to(io.Discard).Write(data)
	res.ManifestDigest = sum.digest()
	if c.opts.Signer == nil {
		return nil
	}
	armored, err := signature.Sign(data, c.opts.Signer)
	if err != nil {
		return fmt.Errorf("sign manifest: %w", err)
	}
	if res.Signature, err = c.put(ctx, name+SignatureSuffix, armored); err != nil {
		return fmt.Errorf("write signature: %w", err)
	}
	return nil
}

// manifestName is the name of an image's manifest in s.
func manifestName(s sink.Sink, image string, complete bool) string {
	if !complete && sink.IsNeutral(s) {
		return image + PartialManifestSuffix
	}
	return image + ManifestSuffix
}

// put stores a small file. When its name has been taken meanwhile, or it cannot be committed,
// it stays under another one, which the error names: a record is never dropped.
func (c *capture) put(ctx context.Context, name string, data []byte) (location string, err error) {
	ctx, done := grace(ctx)
	defer done()
	obj, err := c.opts.Sink.Create(ctx, name)
	if errors.Is(err, sink.ErrExists) {
		var other error
		if obj, other = c.opts.Sink.Create(ctx, newNonce()+"-"+name); other != nil {
			return "", errors.Join(err, other)
		}
		_, werr := obj.Write(data)
		_, kerr := obj.Keep(ctx)
		return "", errors.Join(fmt.Errorf("%w; it is kept as %s", err, obj.Location()), werr, kerr)
	}
	if err != nil {
		return "", err
	}
	if _, err = obj.Write(data); err == nil {
		var r sink.Receipt
		if r, err = obj.Commit(ctx); err == nil {
			return r.Location, nil
		}
	}
	_, kerr := obj.Keep(ctx)
	return "", errors.Join(fmt.Errorf("%w; it is kept as %s", err, obj.Location()), kerr)
}

package report

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// Belongs reports whether a file of a folder is one that Load reads: a manifest or an audit log.
func Belongs(name string) bool {
	if audit.IsLog(name) {
		return !strings.HasSuffix(name, acquire.SignatureSuffix)
	}
	return strings.HasSuffix(name, acquire.ManifestSuffix) || strings.HasSuffix(name, acquire.InterimSuffix)
}

// Load reads files. What is wrong with one is in the Case; an error means that reading as a
// whole could not go on (ctx ended, or nothing can be reported on).
func Load(ctx context.Context, files []File, o Options) (*Case, error) {
	if o.Made.IsZero() {
		o.Made = time.Now()
	}
	if o.At.IsZero() {
		o.At = o.Made
	}
	c := &Case{ReRead: o.ReRead, SignersName: o.SignersName, Made: o.Made.UTC(), Tool: o.Tool, Inquiries: o.Inquiries}
	for _, f := range files {
		var err error
		if audit.IsLog(f.Name) {
			err = c.log(ctx, f, o)
		} else {
			err = c.capture(ctx, f, o)
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			c.Unread = append(c.Unread, f.Name+": "+err.Error())
		}
	}
	if len(c.Captures)+len(c.Logs)+len(c.Inquiries) == 0 {
		return nil, fmt.Errorf("there is no manifest and no audit log to report on (%d files could not be used: %s)", len(c.Unread), strings.Join(c.Unread, "; "))
	}
	c.attach(o.Containments)
	slices.SortFunc(c.Captures, func(a, b *Capture) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.host(), b.host()), a.Created.Compare(b.Created), cmp.Compare(a.File, b.File))
	})
	slices.SortFunc(c.Logs, func(a, b *Log) int {
		return cmp.Or(begin(a).Compare(begin(b)), cmp.Compare(a.File, b.File))
	})
	slices.SortFunc(c.Failed, func(a, b Failure) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), a.Time.Compare(b.Time))
	})
	return c, nil
}

func begin(l *Log) time.Time {
	if len(l.Entries) == 0 {
		return time.Time{}
	}
	return time.UnixMicro(l.Entries[0].Timestamp).UTC()
}

// capture reads one manifest. Files are found by name alone, never by what it calls them.
func (c *Case) capture(ctx context.Context, f File, o Options) error {
	if later, err := superseded(ctx, f); later || err != nil {
		return err
	}
	data, err := sink.ReadAll(ctx, f.Where, f.Name, acquire.MaxManifest)
	if err != nil {
		return err
	}
	if o.Conversion != nil && acquire.IsConversion(data) {
		q, err := o.Conversion(ctx, f, data)
		if err == nil {
			c.Inquiries = append(c.Inquiries, q)
		}
		return err
	}
	m, err := acquire.ParseManifest(data)
	if err != nil {
		return err
	}
	h := sha256.Sum256(data)
	x := &Capture{Manifest: m, Place: f.Place, File: f.Name, Bytes: int64(len(data)), SHA256: hex.EncodeToString(h[:])}
	armored, err := sink.ReadAll(ctx, f.Where, f.Name+acquire.SignatureSuffix, acquire.MaxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		x.Signature.Detail = "there is no " + f.Name + acquire.SignatureSuffix
	case err != nil:
		x.Signature.Present, x.Signature.Detail = true, err.Error()
	default:
		x.Signature = acquire.CheckSignature(signature.Namespace, data, armored, o.Signers, o.At)
	}
	if x.Signature.Present && !x.Signature.Valid {
		x.Trouble = append(x.Trouble, "signature: "+x.Signature.Detail)
	}
	if err := x.findImage(ctx, f); err != nil {
		return err
	}
	if err := x.findSwap(ctx, f); err != nil {
		return err
	}
	if err := x.findLive(ctx, f); err != nil {
		return err
	}
	if err := x.findTriage(ctx, f); err != nil {
		return err
	}
	if o.ReRead && !x.empty() {
		if err := x.reread(ctx, f, o); err != nil {
			return err
		}
	}
	c.Captures = append(c.Captures, x)
	return nil
}

// superseded reports whether a manifest was written while the capture went on, and the one that
// followed is there.
func superseded(ctx context.Context, f File) (bool, error) {
	image, ok := strings.CutSuffix(f.Name, acquire.InterimSuffix)
	if !ok {
		return false, nil
	}
	for _, suffix := range []string{acquire.ManifestSuffix, acquire.PartialManifestSuffix} {
		r, err := f.Where.Open(ctx, image+suffix)
		if err == nil {
			return true, r.Close()
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// imageName is the name of the image that a manifest called file lies beside.
func imageName(file string) string {
	file = strings.TrimSuffix(file, acquire.InterimSuffix)
	return strings.TrimSuffix(strings.TrimSuffix(file, acquire.ManifestSuffix), sink.PartialSuffix)
}

// findImage looks whether the image is there and has its size. Nothing of it is read.
func (x *Capture) findImage(ctx context.Context, f File) error {
	name := imageName(f.Name)
	if x.Image.Name != name {
		x.Trouble = append(x.Trouble, fmt.Sprintf("the manifest is about an image called %q", x.Image.Name))
	}
	if x.empty() {
		return nil
	}
	if len(x.Image.Segments) > 0 {
		return x.findSegments(ctx, f)
	}
	found, size, err := f.Image(ctx, name)
	if err != nil {
		return err
	}
	if found != "" {
		x.ImageFile = found
		if size != x.Image.Stored.Bytes {
			x.Trouble = append(x.Trouble, fmt.Sprintf("the image has %d bytes, the manifest says %d", size, x.Image.Stored.Bytes))
		}
		return nil
	}
	missing := "the image is not beside its manifest"
	if p := x.Image.Pieces; p != nil {
		missing += ": its bucket failed, and it waited in pieces; shotglass upload brings them together"
	}
	x.Trouble = append(x.Trouble, missing)
	return nil
}

// Image looks for an image beside a file, whole or partial. found is its name, empty if there is none; size is what is stored, in bytes.
func (f File) Image(ctx context.Context, name string) (found string, size int64, err error) {
	for _, n := range []string{name, name + sink.PartialSuffix} {
		r, err := f.Where.Open(ctx, n)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", 0, fmt.Errorf("look at the image: %w", err)
		}
		defer r.Close()
		return n, r.Size(), nil
	}
	return "", 0, nil
}

// findSegments looks whether the objects of a large image are there and have their sizes.
func (x *Capture) findSegments(ctx context.Context, f File) error {
	for _, s := range x.Image.Segments {
		if object, ok := sink.SegmentOf(s.Name); !ok || object != x.Image.Name {
			x.Trouble = append(x.Trouble, fmt.Sprintf("%q is no segment of the image", s.Name))
			return nil
		}
		r, err := f.Where.Open(ctx, s.Name)
		if errors.Is(err, fs.ErrNotExist) {
			x.Trouble = append(x.Trouble, "the segment "+s.Name+" is not beside the manifest")
			continue
		}
		if err != nil {
			return fmt.Errorf("look at the image: %w", err)
		}
		size := r.Size()
		r.Close()
		if size != s.Size {
			x.Trouble = append(x.Trouble, fmt.Sprintf("the segment %s has %d bytes, the manifest says %d", s.Name, size, s.Size))
		}
	}
	if len(x.Trouble) == 0 {
		x.ImageFile = x.Image.Segments[0].Name
	}
	return nil
}

func (x *Capture) reread(ctx context.Context, f File, o Options) error {
	v := acquire.VerifyOptions{Signers: o.Signers, At: o.At, Workers: o.Workers}
	if o.Progress != nil {
		v.Progress = o.Progress(f.Name)
	}
	rep, err := acquire.Verify(ctx, f.Where, f.Name, v)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // findImage said so
	}
	if err != nil {
		return err
	}
	x.Verified = rep
	for _, p := range rep.Problems {
		text := p.What + ": " + p.Detail
		if p.Frame >= 0 {
			text = fmt.Sprintf("%s %d: %s", p.What, p.Frame, p.Detail) // only frames and pieces have a number
		}
		if p.File != "" {
			text = p.File + ": " + text
		}
		if !slices.Contains(x.Trouble, text) {
			x.Trouble = append(x.Trouble, text)
		}
	}
	return nil
}

func (c *Case) log(ctx context.Context, f File, o Options) error {
	rep, err := audit.Verify(ctx, f.Where, f.Name, audit.VerifyOptions{Signers: o.Signers, At: o.At})
	if err != nil {
		return err
	}
	for _, l := range c.Logs {
		if l.Log == rep.Log { // its partial name was given too
			return nil
		}
	}
	c.Logs = append(c.Logs, &Log{rep, f.Place, f.Name})
	var left audit.Entry
	for _, e := range rep.Entries {
		switch {
		case e.Event == "left":
			left = e
		case e.Event == "finished" && e.State == string(acquire.StateFailed):
			x := Failure{Host: e.Host, Error: e.Error, Time: time.UnixMicro(e.Timestamp).UTC()}
			if left.Host == e.Host {
				x.Left, x.Fix = left.Left, left.Fix
			}
			c.Failed = append(c.Failed, x)
		}
	}
	return nil
}

// rank puts what needs a look first.
func (x *Capture) rank() int {
	switch {
	case len(x.Trouble) > 0:
		return 0
	case x.empty():
		return 1
	case !x.Complete:
		return 2
	case len(x.Footprint.Left) > 0 || !x.Footprint.Clean:
		return 3
	case !x.Signature.Trusted:
		return 4
	case len(x.Anomalies) > 0:
		return 5
	}
	return 6
}

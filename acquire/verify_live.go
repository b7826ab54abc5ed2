package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

// A LiveReport is what was found of what was collected beside an image.
type LiveReport struct {
	File     string        `json:"file"`
	Verdict  string        `json:"verdict"` // as of an image; "partial" also if nothing is stored
	Items    int           `json:"items"`   // that the manifest lists
	Missing  int           `json:"missing"` // of these are not there, or not whole
	Pieces   int           `json:"pieces,omitempty"`
	Stored   int64         `json:"stored_bytes"`
	Raw      int64         `json:"raw_bytes"`
	Decoded  bool          `json:"decoded"`
	Duration time.Duration `json:"duration_ns"`
	Reasons  []string      `json:"reasons,omitempty"` // why it is partial, as the manifest says
}

// live checks the archive, and that it holds what the manifest lists: each item with its digest.
func (v *verification) live(ctx context.Context) error {
	l := v.m.Live
	if err := v.strayArchives(ctx, l); err != nil || l == nil {
		return err
	}
	if err := live.Check(l.Items); err != nil {
		v.mismatch(mismatchManifest, "what was collected: %v", err)
		return nil
	}
	begin := time.Now()
	one := &verification{
		where: v.where, paper: v.paper, opts: v.opts, flat: true, rep: &VerifyReport{Signature: v.rep.Signature},
		name: l.File(v.name),
		m:    &Manifest{Complete: l.Complete, Reasons: l.Reasons, Image: l.Image},
	}
	if err := one.archive(ctx, l); err != nil {
		return fmt.Errorf("what was collected: %w", err)
	}
	r := one.rep
	rep := &LiveReport{
		File: one.name, Verdict: one.verdict(), Items: len(l.Items), Pieces: r.Pieces,
		Stored: r.Stored, Raw: r.Raw, Decoded: r.Decoded, Duration: time.Since(begin), Reasons: l.Reasons,
	}
	for _, it := range l.Items {
		if it.Error != "" {
			rep.Missing++
		}
	}
	for _, p := range r.Problems {
		p.File = one.name
		v.report(p)
	}
	v.rep.Live = rep
	v.rep.NotChecked = append(v.rep.NotChecked, r.NotChecked...)
	return nil
}

// Archive is the name of the archive beside the image of that name; empty: nothing of it is stored.
func (l *Live) Archive(image string) string {
	if l.nothing() {
		return ""
	}
	return l.File(image)
}

// nothing reports whether no byte of the archive was stored.
func (l *Live) nothing() bool {
	return l == nil || l.Image.Stored.Bytes == 0 && l.Image.Location == ""
}

// strayArchives reports archives beside the image that the manifest does not know: somebody put them there, for
// them to be taken for what was collected. The manifest that was written before swap does not know of any yet.
func (v *verification) strayArchives(ctx context.Context, l *Live) error {
	for _, name := range []string{LiveName(v.name, false), LiveName(v.name, true)} {
		if name == l.Archive(v.name) {
			continue
		}
		r, err := v.where.Open(ctx, name)
		switch {
		case err == nil:
			r.Close()
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, fs.ErrNotExist):
			continue
		default:
			v.rep.NotChecked = append(v.rep.NotChecked, fmt.Sprintf("whether there is an archive %s, which the manifest does not know: %v", name, err))
			continue
		}
		if l.nothing() && v.paper == v.name+InterimSuffix {
			v.rep.NotChecked = append(v.rep.NotChecked, fmt.Sprintf("%s: it was collected after the manifest was written", name))
			continue
		}
		v.report(Mismatch{What: mismatchLive, File: name, Frame: -1, StoredOffset: -1, RawOffset: -1, Detail: "it lies there, and the manifest knows no such archive: nobody vouches for it"})
	}
	return nil
}

// archive checks what is stored. That the key does not fit was told of the image.
func (v *verification) archive(ctx context.Context, l *Live) error {
	if l.nothing() {
		v.rep.Decoded = true // there is nothing to decode
		if l.Complete {
			v.mismatch(mismatchLive, "the manifest says that it is stored, and nothing is")
		}
		return nil
	}
	if l.Image.Name != v.name {
		v.mismatch(mismatchName, "the manifest calls it %q", l.Image.Name)
	}
	v.imageClaims(formatTar)
	r, err := v.open(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		v.mismatch(mismatchLive, "what was collected is not beside the image")
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()

	in, out := io.Pipe()
	v.content = out
	var items []live.Item
	var bad error
	done := make(chan struct{})
	go func() {
		defer close(done)
		items, bad = live.ReadArchive(in, func(live.Item, io.Reader) error { return nil })
		io.Copy(io.Discard, in)
	}()
	err = v.bytes(ctx, r)
	out.Close()
	<-done
	var locked *IdentityError
	if err != nil && !errors.As(err, &locked) {
		return err
	}
	if !v.rep.Decoded || !v.m.Complete {
		return nil
	}
	switch {
	case bad != nil:
		v.mismatch(mismatchLive, "%v", bad)
	case !l.Same(items):
		v.mismatch(mismatchLive, "its list of items is not that of the manifest")
	}
	return nil
}

// Same reports whether items are those of the manifest, each with its digest.
func (l *Live) Same(items []live.Item) bool {
	return l != nil && slices.EqualFunc(items, l.Items, same)
}

// same compares what an archive says of an item with what the manifest does.
func same(a, b live.Item) bool {
	return a.Name == b.Name && a.Stage == b.Stage && a.File == b.File && a.Bytes == b.Bytes && a.SHA256 == b.SHA256 && a.Error == b.Error
}

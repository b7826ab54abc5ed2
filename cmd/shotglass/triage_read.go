package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	memory "github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/cmd/internal/fusefs"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// How Volatility reads an image, as the report says it.
const (
	readAsStored = "as it is stored"
	readInPlace  = "in place"
	readUnpacked = "unpacked"
)

// viewFolder is where the view is mounted, in scratch.
const viewFolder = "image"

// triagePatience is how long a read of a plugin may take: nobody sits and waits for it.
const triagePatience = 2 * time.Minute

// readable makes sure that Volatility can open the image: the file itself, if it holds the image as it is; a view of it that
// is mounted in scratch; or, where nothing can be mounted, a copy in scratch, unpacked. end ends it, once no plugin runs.
// When ctx ends, so does all reading of a view.
func (t *triageRun) readable(ctx context.Context, scratch string, rep *triage.Report) (end func(), err error) {
	end = func() {}
	img, err := openImage(ctx, t.name, t.access, t.ids)
	if err != nil {
		return end, err
	}
	defer img.Close()
	if img.encrypted == nil && img.Format() == frame.FormatRaw && !s3.IsURL(t.name) {
		rep.Read = readAsStored
		t.o.Image, err = filepath.Abs(t.name)
		return end, err
	}
	why := error(&notInPlace{errors.New("--unpack was given")})
	if !t.unpack {
		var stop func()
		if stop, why = t.inPlace(ctx, scratch); why == nil {
			rep.Read = readInPlace
			return stop, nil
		}
	}
	var no *notInPlace
	if !errors.As(why, &no) {
		return end, why
	}
	rep.Read = readUnpacked
	return end, t.copied(ctx, img, scratch, no.error)
}

// A notInPlace error says why an image can be unpacked, and not be read where it lies.
type notInPlace struct{ error }

func (e *notInPlace) Unwrap() error { return e.error }

// inPlace mounts a view of the image, of which every part is held against what the manifest vouches for as it is read.
func (t *triageRun) inPlace(ctx context.Context, scratch string) (stop func(), err error) {
	say := &nagger{c: t.c, said: map[string]time.Time{}}
	life, cancel := context.WithCancel(ctx)
	img, err := openMemory(life, t.name, t.access, memory.Options{Identities: t.ids, Signers: t.signers, Unchecked: t.unverified, Damaged: say.damage})
	if errors.Is(err, memory.ErrSequential) {
		cancel()
		return nil, &notInPlace{err}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", t.name, viewError(err))
	}
	shut := func() { cancel(); img.Close() }
	if m := t.vouched(); m != nil {
		switch trust := img.Trust(); {
		case trust.Manifest == nil, trust.Manifest.Image.Raw != m.Image.Raw:
			shut()
			return nil, t.changed()
		case !trust.Digests:
			shut()
			return nil, &notInPlace{errors.New("its manifest vouches for the whole, and not for parts")}
		}
	}
	dir := filepath.Join(scratch, viewFolder)
	if err := os.Mkdir(dir, 0o700); err != nil {
		shut()
		return nil, err
	}
	mounted, err := fusefs.New(dir, []fusefs.File{{Name: "image.lime", Source: img.Lime(), Time: time.Now()}}, fusefs.Options{Name: "shotglass", Patience: triagePatience, Failed: say.failed, Damage: memory.Damage})
	if err != nil {
		shut()
		return nil, &notInPlace{fmt.Errorf("it cannot be mounted here: %w", err)}
	}
	t.o.Image = filepath.Join(dir, "image.lime")
	t.o.Unread = func() (bad []string) {
		if n := say.damages(); n > 0 {
			bad = append(bad, plural(n, "damaged part"))
		}
		if n := say.failures(); n > 0 {
			bad = append(bad, plural(n, "read")+" that failed")
		}
		return bad
	}
	t.c.info("reading the image in place")
	return func() {
		wait, done := context.WithTimeout(context.WithoutCancel(ctx), busy)
		defer done()
		if _, err := mounted.Unmount(wait); err != nil {
			t.c.warn("%s is still mounted: %v: %s", dir, err, unmountHint(dir))
		}
		shut()
	}, nil
}

// copied unpacks the image into scratch; why says why it is not read in place.
func (t *triageRun) copied(ctx context.Context, img *image, scratch string, why error) error {
	n := int64(0)
	if t.manifest != nil {
		n = t.manifest.Image.Raw.Bytes
	}
	d, err := sink.NewDisk(filepath.Dir(scratch))
	if err == nil {
		if free, err := d.Free(ctx); err == nil && free < n+n/10 {
			return &hinted{fmt.Errorf("%s has %d MiB left, and the image unpacked takes %d MiB: it is not read in place: %w", d, free>>20, n>>20, why),
				"choose another place with --output; reading in place takes FUSE, and without root fusermount3 (Debian: apt install fuse3)"}
		}
	}
	t.o.Image = filepath.Join(scratch, "image.lime")
	t.c.info("unpacking the image, %s, and not reading it in place: %v", size(n), why)
	f, err := os.OpenFile(t.o.Image, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = img.WriteTo(io.MultiWriter(f, sum))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if m := t.vouched(); m != nil && m.Image.Raw.SHA256 != hex.EncodeToString(sum.Sum(nil)) {
		return t.changed()
	}
	return nil
}

// changed is the error about an image that is not the one that was verified a moment ago.
func (t *triageRun) changed() error {
	return &exitError{exitMismatch, fmt.Errorf("%s: it was changed since it was verified", t.name)}
}

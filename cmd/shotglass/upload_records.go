package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// uploadRecords are what manifests say of what is uploaded.
type uploadRecords struct {
	list         []waiting
	signers      *signature.AllowedSigners // nil: nobody has to have signed
	fetch        fetcher
	descriptions map[string]string // their SHA-256, by folder
	frames       map[string]string // SHA-256 of side files, by name
	good         map[string]bool   // manifests, logs, records that waited and hold, by name: their signatures do
	bad          map[string]error  // of images whose manifest does not hold, by name
}

// A fetcher reads a file of the place that an object is to go to; fs.ErrNotExist where there is none.
type fetcher func(ctx context.Context, w waiting, name string, limit int64) ([]byte, error)

// readRecords reads the manifests among what waits, and checks their signatures. Nil signers: each has to
// hold by the key that it carries, if there is one.
func readRecords(list []waiting, signers *signature.AllowedSigners, fetch fetcher) *uploadRecords {
	r := &uploadRecords{list: list, signers: signers, fetch: fetch, descriptions: map[string]string{}, frames: map[string]string{}, good: map[string]bool{}, bad: map[string]error{}}
	for _, w := range list {
		if rank(w.Name) != rankManifest {
			continue
		}
		data, err := onlyPart(w, acquire.MaxManifest)
		if err != nil {
			continue // Finish tells
		}
		if err := signed(list, w.Name, data, signers); err != nil {
			r.bad[paperOf(w.Name)] = err
			continue
		}
		r.good[w.Name] = true
		r.take(data)
	}
	return r
}

// take takes what a manifest says of the image, of swap areas, and of what was collected.
func (r *uploadRecords) take(manifest []byte) {
	m, err := acquire.ParseManifest(bytes.TrimSpace(manifest))
	if err != nil {
		return
	}
	images := []acquire.Image{m.Image}
	for _, s := range m.SwapImages {
		images = append(images, s.Image)
	}
	if m.Live != nil {
		images = append(images, m.Live.Image)
	}
	for _, i := range images {
		if i.Pieces != nil {
			for _, d := range i.Pieces.Descriptions {
				r.descriptions[filepath.Dir(d.Name)] = d.SHA256
			}
		}
		if i.Frames != nil {
			r.frames[i.Frames.Name] = i.Frames.SHA256
		}
	}
}

// onlyPart returns an object that waits in one file.
func onlyPart(w waiting, limit int64) ([]byte, error) {
	if len(w.Parts) != 1 || w.Parts[0].File == "" || w.Size > limit {
		return nil, fmt.Errorf("%s is in %d parts with %d bytes", w.Name, len(w.Parts), w.Size)
	}
	return os.ReadFile(filepath.Join(w.Folder, w.Parts[0].File))
}

// signed checks the signature that waits beside a manifest.
func signed(list []waiting, manifest string, data []byte, signers *signature.AllowedSigners) error {
	i := slices.IndexFunc(list, func(w waiting) bool { return w.Name == manifest+acquire.SignatureSuffix })
	if i < 0 {
		if signers == nil {
			return nil
		}
		return fmt.Errorf("%w: no signature of %s waits with it, and --signers wants one", s3.ErrAltered, manifest)
	}
	armored, err := onlyPart(list[i], acquire.MaxSignature)
	if err != nil {
		return fmt.Errorf("%w: %w", s3.ErrAltered, err)
	}
	s := acquire.CheckSignature(signature.Namespace, data, armored, signers, time.Now())
	if !s.Valid || signers != nil && !s.Trusted {
		return fmt.Errorf("%w: the signature of %s does not hold: %s", s3.ErrAltered, manifest, s.Detail)
	}
	return nil
}

// against says what a manifest has against an object that waits, or that none speaks for it where one has to.
func (r *uploadRecords) against(ctx context.Context, w waiting) error {
	for image, err := range r.bad {
		if w.Name == image || strings.HasPrefix(w.Name, image+".") || acquire.ImageOf(w.Name) == image {
			return err
		}
	}
	if spoken, err := r.spoken(w); spoken || err != nil {
		return err
	}
	if r.signers != nil && slices.ContainsFunc(r.list, func(o waiting) bool { return o.Name == w.Name && o.Folder != w.Folder }) {
		return &hinted{fmt.Errorf("%s: %w: another folder waits for that name", w.Name, errUnsigned), "upload the folder of one capture at a time; if it holds both, one was put there"}
	}
	if r.signers == nil || r.good[w.Name] || r.good[strings.TrimSuffix(w.Name, acquire.SignatureSuffix)] {
		return nil
	}
	if rank(w.Name) > rankManifest || space(w.Name) != signature.Namespace {
		return r.pair(ctx, w)
	}
	// A manifest may be there already, when only swap or what was collected waits, or when this is done again.
	image := acquire.ImageOf(w.Name)
	for _, suffix := range []string{acquire.ManifestSuffix, acquire.InterimSuffix} {
		data, err := r.fetch(ctx, w, image+suffix, acquire.MaxManifest)
		var armored []byte
		if err == nil {
			armored, err = r.fetch(ctx, w, image+suffix+acquire.SignatureSuffix, acquire.MaxSignature)
		}
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look for the manifest of %s: %w", w.Name, err)
		}
		if acquire.CheckSignature(signature.Namespace, data, armored, r.signers, time.Now()).Trusted {
			r.take(data)
		}
	}
	if spoken, err := r.spoken(w); spoken || err != nil {
		return err
	}
	return &hinted{fmt.Errorf("%s: %w: no manifest of %s that a trusted key signed lists it, neither one that waits with it nor one in the bucket", w.Name, errUnsigned, image), unsignedHint}
}

var errUnsigned = errors.New("--signers does not let it pass")

const unsignedHint = "name the folder with its manifest and signature, too; or upload it without --signers, and verify the image afterwards"

// spoken reports whether a manifest speaks for an object. The error is that it says something else.
func (r *uploadRecords) spoken(w waiting) (bool, error) {
	if want, ok := r.descriptions[filepath.Base(w.Folder)]; ok {
		if want != w.sum {
			return false, fmt.Errorf("%w: the description has SHA-256 %s, the manifest says %q", s3.ErrAltered, w.sum, want)
		}
		return true, nil
	}
	want, ok := r.frames[w.Name]
	if !ok || r.signers == nil {
		return false, nil
	}
	got, err := digest(w)
	if err == nil && got != want {
		err = fmt.Errorf("%w: %s has SHA-256 %s, the manifest says %q", s3.ErrAltered, w.Name, got, want)
	}
	return err == nil, err
}

// digest is the SHA-256 of an object that lies here whole.
func digest(w waiting) (string, error) {
	sum := sha256.New()
	for _, p := range w.Parts {
		if p.File == "" {
			return "", &hinted{fmt.Errorf("%s: %w: a part of it is in the bucket, so that its digest cannot be held against the manifest", w.Name, errUnsigned), unsignedHint}
		}
		f, err := os.Open(filepath.Join(w.Folder, p.File))
		if err != nil {
			return "", err
		}
		_, err = io.Copy(sum, f)
		if err := errors.Join(err, f.Close()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// space is the namespace of the signature beside a file, by its name.
func space(name string) string {
	switch {
	case strings.HasSuffix(name, audit.Suffix):
		return signature.LogNamespace
	case strings.HasSuffix(name, recordSuffix):
		return containmentNamespace
	}
	return signature.Namespace
}

// pair checks an audit log, or the record of a containment, with its signature, and a signature with what it signs.
func (r *uploadRecords) pair(ctx context.Context, w waiting) error {
	name := strings.TrimSuffix(w.Name, acquire.SignatureSuffix)
	read := func(name string, limit int64) ([]byte, error) {
		if i := slices.IndexFunc(r.list, func(w waiting) bool { return w.Name == name }); i >= 0 {
			return onlyPart(r.list[i], limit)
		}
		return r.fetch(ctx, w, name, limit)
	}
	data, err := read(name, acquire.MaxManifest)
	var armored []byte
	if err == nil {
		armored, err = read(name+acquire.SignatureSuffix, acquire.MaxSignature)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &hinted{fmt.Errorf("%s: %w: what is signed and its signature have to be there, here or in the bucket: %w", w.Name, errUnsigned, err), unsignedHint}
	}
	if err != nil {
		return fmt.Errorf("look for what %s belongs to: %w", w.Name, err)
	}
	if s := acquire.CheckSignature(space(name), data, armored, r.signers, time.Now()); !s.Trusted {
		return fmt.Errorf("%w: the signature of %s does not hold: %s", s3.ErrAltered, name, s.Detail)
	}
	r.good[name] = true
	return nil
}

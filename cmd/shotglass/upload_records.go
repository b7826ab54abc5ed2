package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// uploadRecords are what manifests that wait, too, say of what is uploaded.
type uploadRecords struct {
	descriptions map[string]string // their SHA-256, by folder
	bad          map[string]error  // of images whose manifest does not hold, by name
}

// readRecords reads the manifests among what waits, and checks their signatures. Nil signers: each has to
// hold by the key that it carries, if there is one.
func readRecords(list []waiting, signers *signature.AllowedSigners) *uploadRecords {
	r := &uploadRecords{descriptions: map[string]string{}, bad: map[string]error{}}
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
		m, err := acquire.ParseManifest(bytes.TrimSpace(data))
		if err != nil || m.Image.Pieces == nil {
			continue
		}
		for _, d := range m.Image.Pieces.Descriptions {
			r.descriptions[filepath.Dir(d.Name)] = d.SHA256
		}
	}
	return r
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

// against says what a manifest has against an object that waits.
func (r *uploadRecords) against(w waiting) error {
	for image, err := range r.bad {
		if w.Name == image || strings.HasPrefix(w.Name, image+".") {
			return err
		}
	}
	if want, ok := r.descriptions[filepath.Base(w.Folder)]; ok && want != w.sum {
		return fmt.Errorf("%w: the description has SHA-256 %s, the manifest says %q", s3.ErrAltered, w.sum, want)
	}
	return nil
}

package acquire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// A SwapReport is what was found of one swap area.
type SwapReport struct {
	Device   string        `json:"device"`
	File     string        `json:"file"`    // in the place of the image
	Verdict  string        `json:"verdict"` // as of an image; "partial" also if nothing was stored
	Frames   int           `json:"frames"`
	Pieces   int           `json:"pieces,omitempty"`
	Stored   int64         `json:"stored_bytes"`
	Raw      int64         `json:"raw_bytes"`
	Decoded  bool          `json:"decoded"`
	Duration time.Duration `json:"duration_ns"`
	Reasons  []string      `json:"reasons,omitempty"` // why it is partial, as the manifest says
}

// swap checks the swap areas that the manifest lists. Their files are found by the name of the image.
func (v *verification) swap(ctx context.Context) error {
	if n := len(v.m.SwapImages); n > maxSwaps {
		v.mismatch(mismatchManifest, "it lists %d swap areas, which no host has; they were not looked at", n)
		return nil
	}
	for i := range v.m.SwapImages {
		x := &v.m.SwapImages[i]
		begin := time.Now()
		one := &verification{
			where: v.where, paper: v.paper, opts: v.opts, flat: true, rep: &VerifyReport{Signature: v.rep.Signature},
			name: SwapName(v.name, i+1, x.Image.Compression, x.Image.Encryption == encryptionAge),
			m:    &Manifest{Complete: x.Complete, Reasons: x.Reasons, Image: x.Image},
		}
		if err := one.swapArea(ctx, x); err != nil {
			return fmt.Errorf("swap area %d: %w", i+1, err)
		}
		r := one.rep
		v.rep.Swap = append(v.rep.Swap, SwapReport{
			Device: x.Name, File: one.name, Verdict: one.verdict(), Frames: r.Frames, Pieces: r.Pieces,
			Stored: r.Stored, Raw: r.Raw, Decoded: r.Decoded, Duration: time.Since(begin), Reasons: x.Reasons,
		})
		for _, p := range r.Problems {
			p.File = one.name
			v.report(p)
		}
		v.rep.NotChecked = append(v.rep.NotChecked, r.NotChecked...)
	}
	return nil
}

// swapArea checks one. That the key does not fit was told of the image.
func (v *verification) swapArea(ctx context.Context, x *SwapImage) error {
	if x.Image.Stored.Bytes == 0 && x.Image.Location == "" {
		v.rep.Decoded = true // there is nothing to decode
		if x.Complete {
			v.mismatch(mismatchSwap, "the manifest says complete, and that nothing of it is stored")
		}
		return nil
	}
	if x.Image.Name != v.name {
		v.mismatch(mismatchName, "the manifest calls the swap area %q", x.Image.Name)
	}
	v.imageClaims(formatRaw)
	if x.Complete && x.Image.Raw.Bytes != x.Size {
		v.mismatch(mismatchSwap, "the manifest says complete, and that %d bytes of %d were read", x.Image.Raw.Bytes, x.Size)
	}
	r, err := v.open(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		v.mismatch(mismatchSwap, "the swap area of %q is not beside the image", x.Name)
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	var locked *IdentityError
	if err := v.bytes(ctx, r); err != nil && !errors.As(err, &locked) {
		return err
	}
	return nil
}

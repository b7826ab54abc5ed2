package acquire

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// Stored is an image as it lies in its place, with what vouches for it. Nothing of the
// image has been read.
type Stored struct {
	sink.Reader
	Name      string         // of the image, without what marks a partial one
	Location  string         // for people
	Manifest  *Manifest      // nil: there is none
	Converted *Conversion    // the record that lies in the manifest's place; nil: there is none
	Signature SignatureState // of the manifest, or of that record
	// Frames has a digest of each frame, or of each piece of an encrypted image, and is the one that
	// the manifest, or that record, means. Nil: nobody vouches for a part of the image alone.
	Frames *frame.Index
	// Problems are what does not agree: then Frames vouch for nothing.
	Problems []Mismatch
}

// OpenStored opens the image called name, as Verify does, to read parts of it: manifest, signature and
// frame index are checked, and the image is not. name may be the image, its partial form, its
// manifest, or another file of the set; a swap area is opened by its own manifest record and is not
// for this function. Of opts, Signers and At count.
//
// An error says that it could not be opened. An image without a manifest opens.
func OpenStored(ctx context.Context, where sink.Opener, name string, opts VerifyOptions) (*Stored, error) {
	v := &verification{where: where, name: imageOf(name), opts: opts, rep: &VerifyReport{}, parts: true}
	if v.opts.At.IsZero() {
		v.opts.At = time.Now()
	}
	if err := sink.ValidName(v.name); err != nil {
		return nil, err
	}
	s := &Stored{Name: v.name}
	switch err := v.vouched(ctx); {
	case errors.Is(err, errConversion):
		if stream, err := s.converted(ctx, v); err != nil {
			return nil, err
		} else if !stream {
			return s, s.alone(ctx, v, name)
		}
	case errors.Is(err, fs.ErrNotExist):
		return s, s.alone(ctx, v, name)
	case err != nil:
		return nil, err
	}
	if v.m == nil {
		s.Signature, s.Problems = v.rep.Signature, v.rep.Problems
		return s, s.alone(ctx, v, name)
	}
	s.Signature = v.rep.Signature
	if s.Converted == nil {
		s.Manifest = v.m
	}
	var err error
	if s.Reader, err = v.open(ctx); err != nil {
		return nil, err
	}
	s.Location = v.rep.Image
	if v.m.Image.Frames != nil {
		kind := v.m.Image.Compression
		if v.m.Image.Encryption == encryptionAge {
			kind = frame.Age
		}
		if s.Frames, err = v.sideFile(ctx, kind); err != nil {
			s.Close()
			return nil, err
		}
	}
	s.Problems = v.rep.Problems
	return s, nil
}

// vouched reads manifest and signature, and holds the manifest against itself. Without error and without a manifest, that
// could not be parsed.
func (v *verification) vouched(ctx context.Context) error {
	data, err := v.manifest(ctx)
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if IsConversion(data) {
		v.record = data
		return fmt.Errorf("%s is %w", v.paper, errConversion)
	}
	if err := v.signature(ctx, data); err != nil {
		return err
	}
	if v.m, err = ParseManifest(data); err != nil {
		v.mismatch(mismatchManifest, "%v", err)
		return nil
	}
	v.claims()
	return nil
}

// IsConversion reports whether what lies in a manifest's place is the record that package convert writes there: it is no
// manifest, and none that is wrong.
func IsConversion(data []byte) bool {
	var head struct {
		Type string `json:"type"`
	}
	return json.Unmarshal(data, &head) == nil && head.Type == "shotglass-conversion"
}

// errConversion: there is no manifest, and the record of a conversion in its place.
var errConversion = fmt.Errorf("the record of a conversion: %w", fs.ErrNotExist)

// A Conversion is what the record of package convert says that who reads the image needs. It claims no capture.
type Conversion struct {
	Image    Image        `json:"image"`
	Machine  string       `json:"machine"` // as uname calls it; empty: not known
	Ranges   []lime.Range `json:"ranges"`  // as in a LiME stream of all that it holds
	Complete bool         `json:"complete"`
	Reasons  []string     `json:"reasons"`
}

// streams are the forms, as package forms calls them, whose frames are those of a LiME stream.
var streams = []string{formatLime, frame.Zstd, frame.S2}

// converted takes the record in place of a manifest. One that cannot be read is one of the problems; what it says of its image is held
// against that as what a manifest says. stream is false where the image is of a form that package frame does not read.
func (s *Stored) converted(ctx context.Context, v *verification) (stream bool, err error) {
	c, bad := new(Conversion), error(nil)
	if bytes.Count(v.record, []byte{','}) > maxElements {
		bad = errors.New("it lists too much")
	} else if bad = json.Unmarshal(v.record, c); bad == nil && !slices.Contains(streams, c.Image.Format) {
		return false, nil
	}
	if err := v.signature(ctx, v.record); err != nil {
		return false, err
	}
	if bad != nil {
		v.mismatch(mismatchManifest, "the record of the conversion: %v", bad)
		return true, nil
	}
	if c.Image.Name != v.name {
		v.mismatch(mismatchName, "the record beside %s is that of %q", v.name, c.Image.Name)
	}
	s.Converted, v.m = c, &Manifest{Image: c.Image, Complete: c.Complete, Reasons: c.Reasons}
	v.imageClaims(c.Image.Format)
	return true, nil
}

// A Voucher is the manifest that lies beside an image, and what it is worth.
type Voucher struct {
	Manifest  *Manifest // nil: it could not be parsed, as Problems say
	Signature SignatureState
	Problems  []Mismatch // what does not agree
}

// VoucherOf reads the manifest of the image called name, which may be another file of its set, and checks its signature.
// Nothing else is read, and the image need not be there. Of opts, Signers and At count. The error wraps fs.ErrNotExist
// where there is no manifest.
func VoucherOf(ctx context.Context, where sink.Opener, name string, opts VerifyOptions) (*Voucher, error) {
	v := &verification{where: where, name: imageOf(name), opts: opts, rep: &VerifyReport{}}
	if v.opts.At.IsZero() {
		v.opts.At = time.Now()
	}
	if err := sink.ValidName(v.name); err != nil {
		return nil, err
	}
	if err := v.vouched(ctx); err != nil {
		return nil, err
	}
	return &Voucher{v.m, v.rep.Signature, v.rep.Problems}, nil
}

// alone opens an image that nothing vouches for.
func (s *Stored) alone(ctx context.Context, v *verification, name string) (err error) {
	try := []string{v.name, v.name + sink.PartialSuffix}
	if strings.HasSuffix(name, sink.PartialSuffix) {
		try = []string{name}
	}
	for _, n := range try {
		if s.Reader, err = v.where.Open(ctx, n); err == nil {
			s.Location = v.location(n)
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("no image: looked for %s: %w", strings.Join(try, " and "), fs.ErrNotExist)
}

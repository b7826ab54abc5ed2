package acquire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// VerifyOptions say how to verify.
type VerifyOptions struct {
	// Signers are the keys that are trusted. Nil: the signature is checked
	// against the key that it carries, and reported as untrusted.
	Signers *signature.AllowedSigners
	// At is when the trusted keys must be valid; the zero value means now, as
	// in ssh-keygen -Y verify. The manifest's own time is no answer: whoever
	// holds an expired key chooses it.
	At time.Time
	// Identities decrypt images that are encrypted. None: of such an image everything
	// is checked but what only the key shows.
	Identities []age.Identity
	// Workers is how many frames are checked at once (default: GOMAXPROCS).
	Workers int
	// Progress, if set, is called now and then with stored bytes done and in all.
	Progress func(done, total int64)
}

// Verdicts of Verify, worst last.
const (
	VerdictOK        = "verified"  // complete, intact, signed by a trusted key
	VerdictIntact    = "intact"    // the same of the stored bytes; encrypted, and not decrypted: see NotChecked
	VerdictPartial   = "partial"   // intact, trusted, and the manifest says partial, or is not the last one
	VerdictUntrusted = "untrusted" // intact, but not signed by a trusted key
	VerdictMismatch  = "mismatch"  // image, frames, manifest and signature do not agree
)

// A VerifyReport is everything that Verify found; all mismatches, not the first.
type VerifyReport struct {
	Image     string         `json:"image"` // location read
	Verdict   string         `json:"verdict"`
	Manifest  *Manifest      `json:"manifest,omitempty"`
	Signature SignatureState `json:"signature"`
	Problems  []Mismatch     `json:"problems,omitempty"`
	Frames    int            `json:"frames"`       // checked
	Stored    int64          `json:"stored_bytes"` // read
	Raw       int64          `json:"raw_bytes"`    // decoded
	Duration  time.Duration  `json:"duration_ns"`

	// Of an encrypted image Pieces of stored bytes were checked. Decoded says that the raw
	// bytes were looked at too, which takes the key; otherwise NotChecked says, for people,
	// what was not.
	Encryption string   `json:"encryption,omitempty"`
	Pieces     int      `json:"pieces,omitempty"`
	Decoded    bool     `json:"decoded"`
	NotChecked []string `json:"not_checked,omitempty"`

	// Swap are the swap areas that the manifest lists. What is wrong with them is in Problems,
	// and so in Verdict; that one is partial is not: Verdict is of the image.
	Swap []SwapReport `json:"swap,omitempty"`
	// Live is what was collected beside the image, in the same way.
	Live *LiveReport `json:"live,omitempty"`
}

// SignatureState is what the manifest's signature is worth.
type SignatureState struct {
	Present     bool   `json:"present"`
	Valid       bool   `json:"valid"`   // by the key that it carries
	Trusted     bool   `json:"trusted"` // that key stands in the allowed signers
	Principal   string `json:"principal,omitempty"`
	Fingerprint string `json:"fingerprint,omitempty"`
	Source      string `json:"source,omitempty"` // file:line that vouches for the key
	Detail      string `json:"detail,omitempty"`
}

// A Mismatch is one thing that does not agree with the manifest.
type Mismatch struct {
	What         string `json:"what"`              // one of the constants below
	File         string `json:"file,omitempty"`    // of a swap area, or of what was collected; empty: it is about the image or its manifest
	Frame        int    `json:"frame"`             // -1 when it is not about one frame
	StoredOffset int64  `json:"stored_offset"`     // of the frame, -1 when unknown
	RawOffset    int64  `json:"raw_offset"`        // of the frame, -1 when unknown
	Address      string `json:"address,omitempty"` // physical address where known, 0x...
	Detail       string `json:"detail"`
}

// What a Mismatch is about.
const (
	mismatchManifest  = "manifest"      // cannot be read, or contradicts itself
	mismatchSignature = "signature"     // does not hold
	mismatchName      = "name"          // files and manifest have different names, or there are two images
	mismatchIndex     = "frames"        // the side file with the digests of the frames
	mismatchStored    = "stored digest" // size or SHA-256 of the file
	mismatchRaw       = "raw digest"    // size or SHA-256 of the LiME stream
	mismatchFrame     = "frame"         // one damaged frame
	mismatchPiece     = "piece"         // one damaged piece of an encrypted image
	mismatchTable     = "seek table"    // what follows the frames in a compressed image
	mismatchAppended  = "appended"      // bytes after the end
	mismatchStructure = "structure"     // records are not those of the manifest
	mismatchComplete  = "complete"      // called complete, and records are not whole
	mismatchRanges    = "ranges"        // called complete, and not the target's System RAM
	mismatchBanner    = "banner"        // the kernel's banner is elsewhere
	mismatchLive      = "collected"     // what was collected is not there, or its record contradicts itself
	mismatchSwap      = "swap"          // a swap area is not there, or its record contradicts itself
)

// Verify re-reads the image called name against its manifest and signature, which
// lie beside it in where. name may be the image, its partial form, its
// manifest, or another file of the set. An error means that verification could
// not be done (no such file, cancelled); what was found wrong is in the report. Beside an
// *IdentityError there is a report of what can be checked without the key.
//
// Everything but opts is taken for hostile. Files are found by name alone, never by
// what the manifest calls them.
func Verify(ctx context.Context, where sink.Opener, name string, opts VerifyOptions) (*VerifyReport, error) {
	begin := time.Now()
	v := &verification{where: where, name: imageOf(name), opts: opts, rep: &VerifyReport{}}
	if v.opts.At.IsZero() {
		v.opts.At = begin
	}
	if err := sink.ValidName(v.name); err != nil {
		return nil, err
	}
	err := v.run(ctx)
	var locked *IdentityError
	if err != nil && !errors.As(err, &locked) {
		return nil, err
	}
	v.rep.Duration = time.Since(begin)
	v.rep.Verdict = v.verdict()
	return v.rep, err
}

// imageOf returns the image that a file of its set belongs to. The image that a swap area belongs to is
// known if it has the name that an image gets by itself.
func imageOf(name string) string {
	name = fileOf(name)
	if image, ok := swapOwner(name); ok {
		return image
	}
	return name
}

// ImageOf returns the image that a file of its set belongs to, by its name.
func ImageOf(name string) string { return imageOf(name) }

// fileOf returns the file that a file beside it is about.
func fileOf(name string) string {
	for _, suffix := range []string{PartialManifestSuffix + SignatureSuffix, PartialManifestSuffix, ManifestSuffix + SignatureSuffix, InterimSuffix + SignatureSuffix, SignatureSuffix, ManifestSuffix, InterimSuffix, FramesSuffix, sink.PartialSuffix} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return withoutLive(base)
		}
	}
	if i := triageFile.FindStringIndex(name); i != nil {
		return name[:i[0]]
	}
	base, _ := sink.SegmentOf(name)
	return withoutLive(base)
}

// ManifestOf reads the manifest that lies beside an image, or another file of its set. It checks
// no signature: what it returns is not proven. The error is fs.ErrNotExist where there is none.
func ManifestOf(ctx context.Context, where sink.Opener, name string) (*Manifest, error) {
	v := &verification{where: where, name: imageOf(name), rep: &VerifyReport{}}
	data, err := v.manifest(ctx)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	return ParseManifest(data)
}

// A verification is one Verify.
type verification struct {
	where sink.Opener
	name  string // of the image
	paper string // name of the manifest
	opts  VerifyOptions
	m     *Manifest
	rep   *VerifyReport
	parts bool // of the image are to be read: nobody looks at the whole
	// record is what lies in the manifest's place, where that is the record of a conversion.
	record []byte
	flat   bool // a swap area, or an archive: its raw bytes have no records
	// content, if set, takes the raw bytes of what is flat.
	content io.Writer
}

func (v *verification) run(ctx context.Context) error {
	v.rep.Image = v.location(v.name)
	data, err := v.manifest(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("no manifest, no evidence: looked for %s and %s beside the image %s: %w", v.location(v.name+ManifestSuffix), v.name+PartialManifestSuffix, v.name, err)
	case errors.Is(err, sink.ErrTooLarge):
		v.mismatch(mismatchManifest, "%v; the image was not read", err)
		return nil
	case err != nil:
		return fmt.Errorf("read manifest: %w", err)
	}
	if err := v.signature(ctx, data); err != nil {
		return err
	}
	if v.m, err = ParseManifest(data); err != nil {
		v.mismatch(mismatchManifest, "%v; the image was not read", err)
		return nil
	}
	v.rep.Manifest = v.m
	v.claims()

	err = v.stored(ctx)
	var locked *IdentityError
	if err != nil && !errors.As(err, &locked) {
		return err
	}
	if serr := v.swap(ctx); serr != nil {
		return serr
	}
	if lerr := v.live(ctx); lerr != nil {
		return lerr
	}
	return err
}

// stored checks the image, if there is one: a capture that got no byte of memory has a manifest all the same.
func (v *verification) stored(ctx context.Context) error {
	if i := v.m.Image; i.Stored.Bytes == 0 && i.Location == "" {
		v.rep.Decoded = true // there is nothing to decode
		if v.m.Complete {
			v.mismatch(mismatchManifest, "it says complete, and that nothing is stored")
		}
		return nil
	}
	r, err := v.open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return v.bytes(ctx, r)
}

// bytes checks what is stored.
func (v *verification) bytes(ctx context.Context, r sink.Reader) error {
	if v.m.Image.Encryption == encryptionAge {
		return v.encrypted(ctx, r)
	}
	return v.image(ctx, r)
}

// manifest reads the manifest, that of a complete image before that of a partial one. Only where
// neither is, the one that was written while the capture went on speaks for the image.
func (v *verification) manifest(ctx context.Context) ([]byte, error) {
	v.paper = v.name + ManifestSuffix
	data, err := v.read(ctx, v.paper, MaxManifest)
	partial := v.name + PartialManifestSuffix
	if errors.Is(err, fs.ErrNotExist) {
		v.paper = partial
		data, err = v.read(ctx, partial, MaxManifest)
		if errors.Is(err, fs.ErrNotExist) {
			v.paper = v.name + InterimSuffix
			data, err = v.read(ctx, v.paper, MaxManifest)
		}
		return data, err
	}
	if r, err := v.where.Open(ctx, partial); err == nil {
		r.Close()
		v.mismatch(mismatchName, "both %s and %s are there; the first was read", v.paper, partial)
	}
	return data, err
}

// verdict sums the report up, worst first.
func (v *verification) verdict() string {
	switch {
	case len(v.rep.Problems) > 0 || v.m == nil:
		return VerdictMismatch
	case !v.rep.Signature.Trusted:
		return VerdictUntrusted
	case !v.m.Complete, v.m.Interim != "": // the last manifest was to follow; who removed it, with what it lists, nobody knows
		return VerdictPartial
	case !v.rep.Decoded:
		return VerdictIntact
	}
	return VerdictOK
}

// mismatch reports what is not about a place in the image.
func (v *verification) mismatch(what, format string, args ...any) {
	v.report(Mismatch{What: what, Frame: -1, StoredOffset: -1, RawOffset: -1, Detail: fmt.Sprintf(format, args...)})
}

func (v *verification) report(m Mismatch) { v.rep.Problems = append(v.rep.Problems, m) }

// signature checks who vouches for the manifest's bytes. A missing signature is
// not a mismatch: nobody vouches.
func (v *verification) signature(ctx context.Context, data []byte) error {
	s, name := &v.rep.Signature, v.paper+SignatureSuffix
	armored, err := v.read(ctx, name, MaxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		s.Detail = "there is no " + name
		return nil
	case errors.Is(err, sink.ErrTooLarge):
		s.Present, s.Detail = true, err.Error()
		v.mismatch(mismatchSignature, "%v", err)
		return nil
	case err != nil:
		return fmt.Errorf("read signature: %w", err)
	}
	if *s = CheckSignature(signature.Namespace, data, armored, v.opts.Signers, v.opts.At); !s.Valid {
		v.mismatch(mismatchSignature, "%s", s.Detail)
	}
	return nil
}

// CheckSignature says what an armored signature over data is worth, in a namespace of package
// signature. Nil signers trust nobody.
func CheckSignature(namespace string, data, armored []byte, signers *signature.AllowedSigners, at time.Time) SignatureState {
	s := SignatureState{Present: true}
	id, err := signature.VerifyIn(namespace, data, armored, signers, at)
	s.Fingerprint = id.Fingerprint
	switch {
	case err == nil:
		s.Valid, s.Trusted = true, true
		s.Principal, s.Source = strings.Join(id.Principals, ","), id.Source
	case errors.Is(err, signature.ErrUntrusted):
		s.Valid, s.Detail = true, err.Error()
	default:
		s.Detail = err.Error()
	}
	return s
}

// MaxSignature bounds an armored signature; RSA with 16384 bits has 6 KiB.
const MaxSignature = 64 << 10

// read returns the content of a small file.
func (v *verification) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	return sink.ReadAll(ctx, v.where, name, limit)
}

// A ctxReader stops reading when ctx ends.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// location names a file for people.
func (v *verification) location(name string) string {
	if s, ok := v.where.(fmt.Stringer); ok {
		return strings.TrimSuffix(s.String(), "/") + "/" + name
	}
	return name
}

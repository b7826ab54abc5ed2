package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Verification is everything that Verify found.
type Verification struct {
	Image     string                 `json:"image"`   // location read
	Verdict   string                 `json:"verdict"` // one of package acquire's
	Record    *Record                `json:"conversion,omitempty"`
	Signature acquire.SignatureState `json:"signature"`
	Problems  []string               `json:"problems,omitempty"`
	Stored    int64                  `json:"stored_bytes"` // read
	Memory    int64                  `json:"memory_bytes"` // of the LiME stream, decoded
	Decoded   bool                   `json:"decoded"`      // the memory was looked at too
	// NotChecked is what was not looked at, and why.
	NotChecked []string      `json:"not_checked,omitempty"`
	Duration   time.Duration `json:"duration_ns"`
}

func (v *Verification) problem(format string, args ...any) {
	v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
}

// Verify reads a converted image again, and holds it against its record: the stored bytes with the frame index, then the
// memory in it. name is the image or another file of its set. It says nothing of the source, which the record
// names: that has a manifest of its own. The error says that it could not be done; what is wrong is in the result.
func Verify(ctx context.Context, where sink.Opener, name string, o acquire.VerifyOptions) (*Verification, error) {
	begin := time.Now()
	if o.At.IsZero() {
		o.At = begin
	}
	image := imageOf(name)
	data, paper, err := paperOf(ctx, where, image)
	if err != nil {
		return nil, fmt.Errorf("read the record of the conversion: %w", err)
	}
	v := &Verification{Image: image}
	if v.Signature, err = signatureOf(ctx, where, paper, data, o.Signers, o.At); err != nil {
		return nil, err
	}
	if v.Signature.Present && !v.Signature.Valid {
		v.problem("signature: %s", v.Signature.Detail)
	}
	r, err := ParseRecord(data)
	if err != nil {
		v.problem("%v; the image was not read", err)
		v.Verdict = acquire.VerdictMismatch
		return v, nil
	}
	v.Record = r
	v.claims(image)
	if err := v.read(ctx, where, image, o); err != nil {
		return nil, err
	}
	v.Duration = time.Since(begin)
	switch {
	case len(v.Problems) > 0:
		v.Verdict = acquire.VerdictMismatch
	case !v.Signature.Trusted:
		v.Verdict = acquire.VerdictUntrusted
	case !r.Complete:
		v.Verdict = acquire.VerdictPartial
	case !v.Decoded:
		v.Verdict = acquire.VerdictIntact
	default:
		v.Verdict = acquire.VerdictOK
	}
	return v, nil
}

// claims checks what the record says against itself.
func (v *Verification) claims(image string) {
	r := v.Record
	if r.Image.Name != image {
		v.problem("the record beside %s is that of %q", image, r.Image.Name)
	}
	if !slices.Contains(forms.All, r.Form) || r.Image.Compression != r.Form.Compression() {
		v.problem("form %q with compression %q is not known", r.Form, r.Image.Compression)
	}
	if r.Complete && (len(r.Reasons) > 0 || r.Image.Partial || r.Report != nil && !r.Report.Whole()) {
		v.problem("it says complete, and why not: %q", r.Reasons)
	}
	if n := lime.Total(r.Ranges); n < r.Memory.Bytes || r.Complete && n != r.Memory.Bytes {
		v.problem("its ranges are a LiME stream of %d bytes, and it says %d", n, r.Memory.Bytes)
	}
	if p := r.Source.Manifest; r.Complete && p != nil && (!p.Complete || p.Interim || p.Memory != r.Memory) {
		v.problem("it says complete, and that its source's manifest says otherwise: %d bytes with %q, complete: %t", p.Memory.Bytes, p.Memory.SHA256, p.Complete)
	}
}

// read checks the bytes.
func (v *Verification) read(ctx context.Context, where sink.Opener, image string, o acquire.VerifyOptions) error {
	file, err := where.Open(ctx, image)
	if errors.Is(err, fs.ErrNotExist) {
		image += sink.PartialSuffix
		if file, err = where.Open(ctx, image); err == nil && v.Record.Complete {
			v.problem("the record says complete, and only %s is there", image)
		}
	}
	if err != nil {
		return fmt.Errorf("read image: %w", err)
	}
	defer file.Close()
	v.Image = image
	if why := v.tooMuch(file); why != "" {
		v.NotChecked = append(v.NotChecked, why)
		return nil
	}
	same, err := v.stored(ctx, where, file, o)
	if err != nil {
		return err
	}
	// How much memory there is, stored or not, is what the record says: one that does not hold is not followed that far.
	if !same || v.Signature.Present && !v.Signature.Valid {
		v.NotChecked = append(v.NotChecked, "the memory: the record does not hold")
		return nil
	}
	s := &source{Source: Source{Name: image}, file: file}
	encrypted := v.Record.Image.Encryption == encryptionAge
	switch err := s.open(o.Identities); {
	case errors.Is(err, ErrEncrypted) && encrypted:
		v.NotChecked = append(v.NotChecked, "the memory: it was not decrypted")
		return nil
	case errors.Is(err, agefile.ErrHeader):
		v.problem("%v", err)
		return nil
	case err != nil:
		return err
	case s.Encrypted != encrypted:
		v.problem("encrypted: %t, and the record says %s", s.Encrypted, v.Record.Image.Encryption)
		return nil
	}
	return v.memory(ctx, s)
}

// A record that no trusted key signed can say of some bytes that they are a PiB of memory, and a file with holes can seem to be
// as long. Reading is bounded by what convert pads with when nobody allows it more, and by how much memory that is in use can shrink: a machine
// that is idle has some percent that are not zero, the kernel's table of pages alone has 1.6.
const (
	believedPadding = forms.DefaultPadding
	believedShrink  = 4096
)

// tooMuch says why the image is not read, or nothing.
func (v *Verification) tooMuch(file sink.Reader) string {
	if v.Signature.Trusted {
		return ""
	}
	stored := file.Size()
	if a, ok := file.(interface{ Allocated() (int64, error) }); ok {
		if n, err := a.Allocated(); err == nil {
			stored = min(stored, n)
		}
	}
	most := int64(math.MaxInt64)
	if stored < (math.MaxInt64-believedPadding)/believedShrink {
		most = believedPadding + believedShrink*stored
	}
	for _, c := range []struct {
		what  string
		bytes int64
	}{
		{"the file is %d bytes long", file.Size()},
		{"the record lists %d bytes of memory", lime.Total(v.Record.Ranges)},
	} {
		if c.bytes > most {
			return fmt.Sprintf("the image: "+c.what+", of which %d are stored: no more than %d are read for a record that no trusted key signed", c.bytes, stored, most)
		}
	}
	return ""
}

// stored checks the file as it is stored. same: it has the digest of the record.
func (v *Verification) stored(ctx context.Context, where sink.Opener, file sink.Reader, o acquire.VerifyOptions) (same bool, err error) {
	i := v.Record.Image
	x := &frame.Index{Compression: frame.None}
	size := file.Size()
	step := int64(frame.PlanFrameSize(size))
	for at := int64(0); at < size; at += step {
		n := min(step, size-at)
		x.Entries = append(x.Entries, frame.Entry{StoredOffset: at, StoredSize: n, RawOffset: at, RawSize: n})
	}
	if f := i.Frames; f != nil {
		data, err := sink.ReadAll(ctx, where, i.Name+acquire.FramesSuffix, min(f.Bytes, maxIndex))
		sum := sha256.Sum256(data)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, sink.ErrTooLarge):
			v.problem("frame index: %v", err)
		case err != nil:
			return false, fmt.Errorf("read frame index: %w", err)
		case hex.EncodeToString(sum[:]) != f.SHA256:
			v.problem("the SHA-256 of the frame index is not the one in the record")
		default:
			if x, err = frame.ParseIndex(bytes.NewReader(data)); err != nil {
				v.problem("%v", err)
				return false, nil
			}
		}
	}
	fo := frame.VerifyOptions{Workers: o.Workers}
	if o.Progress != nil {
		fo.Progress = func(stored, _ int64) { o.Progress(stored, size) }
	}
	rep, err := frame.Verify(ctx, file, size, x, fo)
	if err != nil {
		return false, fmt.Errorf("read image: %w", err)
	}
	v.Stored = rep.Stored.Bytes
	for _, d := range rep.Damaged {
		v.problem("%v", d)
	}
	if got := (acquire.Digest{Bytes: rep.Stored.Bytes, SHA256: rep.Stored.SHA256.String()}); got != i.Stored || size != i.Stored.Bytes {
		v.problem("the file has %d bytes with SHA-256 %s; the record says %d bytes with %q", size, got.SHA256, i.Stored.Bytes, i.Stored.SHA256)
		return false, nil
	}
	return true, nil
}

// memory decodes the image, and compares.
func (v *Verification) memory(ctx context.Context, s *source) error {
	r := v.Record
	o := forms.OpenOptions{Raw: r.Form == forms.Raw}
	var ram []lime.Range
	if !r.Form.IsStream() && r.Form != forms.Gzip {
		ram, o.RAM = r.Ranges, r.Ranges
	}
	img, err := forms.Open(s.r, s.size, o)
	if errors.Is(err, forms.ErrForm) {
		v.problem("%v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer img.Close()
	sum := &digester{h: sha256.New(), w: io.Discard}
	rep, _, err := forms.Copy(ctx, forms.Source{Image: img, RAM: ram, Limit: r.limit()}, forms.NewLime(sum))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, forms.ErrForm) {
		return fmt.Errorf("read image: %w", err)
	}
	v.Decoded = true
	if err != nil {
		v.problem("%v", err)
	}
	got := sum.digest()
	if v.Memory = got.Bytes; got != r.Memory {
		v.problem("its memory has %d bytes as a LiME stream, with SHA-256 %s; the record says %d bytes with %q", got.Bytes, got.SHA256, r.Memory.Bytes, r.Memory.SHA256)
	}
	for _, d := range rep.Damage {
		// The last record of an image that was cut short is cut short there, too.
		if d.Kind != forms.Truncated || r.Complete {
			v.problem("%s", d)
		}
	}
	return nil
}

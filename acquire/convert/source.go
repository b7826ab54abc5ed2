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
	"strings"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

var (
	// ErrEncrypted says that an image is encrypted, and nothing was given that decrypts it.
	ErrEncrypted = errors.New("encrypted with age")
	// ErrUntrusted is wrapped by the error about a source that no trusted key vouches for.
	ErrUntrusted = errors.New("no trusted signature")
	// ErrManifest is wrapped by errors about a manifest that cannot be used.
	ErrManifest = errors.New("the manifest beside the image cannot be used")
)

// A source is an open image with what is known of it.
type source struct {
	Source
	file    sink.Reader
	r       io.ReaderAt // decrypted
	size    int64
	cut     *agefile.TailError
	o       forms.OpenOptions
	ram     []lime.Range // what the image is to be read as; nil: as it is
	limit   uint64       // bytes of memory, if it was cut short; see forms.Source
	stored  acquire.Digest
	reasons []string // why it is not complete, as its manifest says
	notes   []string
	release string
	machine string
}

func (s *source) close() error { return s.file.Close() }

// openSource opens an image and reads what lies beside it.
func openSource(ctx context.Context, where sink.Opener, name string, o Options) (*source, error) {
	s := &source{Source: Source{Name: name}}
	image := strings.TrimSuffix(name, sink.PartialSuffix)
	if !o.Unchecked {
		if err := s.paper(ctx, where, image, o); err != nil {
			return nil, err
		}
	}
	if o.Signers != nil && (s.Manifest == nil || !s.Manifest.Signature.Trusted) {
		detail := "there is no manifest beside it"
		if s.Manifest != nil {
			detail = s.Manifest.Signature.Detail
		}
		return nil, fmt.Errorf("%s: %w: %s", name, ErrUntrusted, detail)
	}
	var err error
	if s.file, err = where.Open(ctx, name); err != nil {
		return nil, err
	}
	if err := s.open(o.Identities); err != nil {
		s.file.Close()
		return nil, err
	}
	if str, ok := where.(fmt.Stringer); ok {
		s.Location = strings.TrimSuffix(str.String(), "/") + "/" + name
	}
	if o.RAM != nil {
		s.o.RAM, s.ram = o.RAM, o.RAM
	}
	s.o.Raw = s.o.Raw || o.FromRaw
	return s, nil
}

// open decrypts.
func (s *source) open(ids []age.Identity) error {
	s.r, s.size, s.Bytes = s.file, s.file.Size(), s.file.Size()
	head := make([]byte, min(64, s.size))
	if n, err := s.file.ReadAt(head, 0); err != nil && (err != io.EOF || n < len(head)) {
		return err
	}
	switch {
	case agefile.IsArmored(head):
		return fmt.Errorf("%w, as text: turn it into a binary file first: age -d -i KEY FILE", ErrEncrypted)
	case !agefile.Is(head):
		return nil
	case len(ids) == 0:
		return ErrEncrypted
	}
	plain, err := agefile.Open(s.file, s.size, ids...)
	if err != nil {
		return err
	}
	s.r, s.size, s.Encrypted, s.cut = plain, plain.Size(), true, plain.Tail()
	s.o.Index = nil // it lists pieces
	return nil
}

// paper reads the manifest or the record.
func (s *source) paper(ctx context.Context, where sink.Opener, image string, o Options) error {
	data, name, err := paperOf(ctx, where, image)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrManifest, err)
	}
	sum := sha256.Sum256(data)
	s.Manifest = &Paper{Reference: acquire.Reference{Name: name, SHA256: hex.EncodeToString(sum[:])}, Type: typeOf(data)}
	if s.Manifest.Signature, err = signatureOf(ctx, where, name, data, o.Signers, o.Created); err != nil {
		return err
	}
	var of acquire.Image
	switch s.Manifest.Type {
	case RecordType:
		r, err := ParseRecord(data)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrManifest, err)
		}
		of, s.Manifest.Memory, s.Manifest.Complete, s.reasons = r.Image, r.Memory, r.Complete, r.Reasons
		s.o.Raw = r.Form == forms.Raw
		if r.Form.IsStream() || r.Form == forms.Gzip {
			s.headers(r.Ranges)
		} else {
			s.ram, s.o.RAM, s.limit = r.Ranges, r.Ranges, r.limit()
		}
		s.release, s.machine = r.Release, r.Machine
	default:
		m, err := acquire.ParseManifest(data)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrManifest, err)
		}
		of, s.Manifest.Memory, s.Manifest.Complete, s.reasons = m.Image, m.Image.Raw, m.Complete, m.Reasons
		if m.Stream != nil {
			s.o.Headers = map[int64]lime.Range{}
			for _, r := range m.Stream.Ranges {
				s.o.Headers[r.Offset] = r.Range
			}
		}
		if f := m.Target.Facts; f != nil {
			s.release, s.machine = f.Kernel, f.Machine
		}
		s.Manifest.Interim = m.Interim != ""
	}
	s.Manifest.Interim = s.Manifest.Interim || strings.HasSuffix(name, acquire.InterimSuffix)
	if of.Name != image {
		return fmt.Errorf("%w: %s is that of %q", ErrManifest, name, of.Name)
	}
	s.stored = of.Stored
	return s.index(ctx, where, image, of)
}

// headers tells where the headers of a LiME stream lie.
func (s *source) headers(ranges []lime.Range) {
	s.o.Headers = map[int64]lime.Range{}
	off := int64(0)
	for _, r := range ranges {
		if !r.Valid() {
			return
		}
		s.o.Headers[off] = r
		off += lime.HeaderSize + int64(r.Size())
	}
}

// index reads the frame index, if it is the one that the manifest means.
func (s *source) index(ctx context.Context, where sink.Opener, image string, of acquire.Image) error {
	if of.Frames == nil || of.Encryption == encryptionAge {
		return nil
	}
	data, err := sink.ReadAll(ctx, where, image+acquire.FramesSuffix, min(of.Frames.Bytes, maxIndex))
	sum := sha256.Sum256(data)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, sink.ErrTooLarge):
		s.notes = append(s.notes, fmt.Sprintf("the frame index was not used: %v", err))
		return nil
	case err != nil:
		return fmt.Errorf("read frame index: %w", err)
	case hex.EncodeToString(sum[:]) != of.Frames.SHA256:
		s.notes = append(s.notes, "the frame index was not used: its SHA-256 is not the one in the manifest")
		return nil
	}
	x, err := frame.ParseIndex(bytes.NewReader(data))
	if err != nil {
		s.notes = append(s.notes, fmt.Sprintf("the frame index was not used: %v", err))
		return nil
	}
	s.o.Index = x
	return nil
}

// maxIndex bounds a frame index: one of frame.MaxPlanned frames has 25 MB.
const maxIndex = 256 << 20

const (
	encryptionAge  = "age"
	encryptionNone = "none"
)

// signatureOf says who vouches for a manifest.
func signatureOf(ctx context.Context, where sink.Opener, name string, data []byte, signers *signature.AllowedSigners, at time.Time) (acquire.SignatureState, error) {
	name += acquire.SignatureSuffix
	armored, err := sink.ReadAll(ctx, where, name, acquire.MaxSignature)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return acquire.SignatureState{Detail: "there is no " + name}, nil
	case errors.Is(err, sink.ErrTooLarge):
		return acquire.SignatureState{Present: true, Detail: err.Error()}, nil
	case err != nil:
		return acquire.SignatureState{}, fmt.Errorf("read signature: %w", err)
	}
	return acquire.CheckSignature(signature.Namespace, data, armored, signers, at), nil
}

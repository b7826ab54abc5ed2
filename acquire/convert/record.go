package convert

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

// RecordType and RecordVersion head every record. It lies where a capture's manifest does, and is none.
const (
	RecordType    = "shotglass-conversion"
	RecordVersion = 1
)

// A Record is the manifest of a converted image. It claims no capture: it says which image was converted to which,
// and that both hold the same memory, or what they do not. It is written last of all.
type Record struct {
	Type    string `json:"type"`
	Version int    `json:"v"`

	Case     string            `json:"case,omitempty"`
	Tool     acquire.Tool      `json:"tool"`
	Operator string            `json:"operator"`
	Options  []acquire.Setting `json:"options,omitempty"`

	Source Source     `json:"source"`
	Form   forms.Form `json:"form"`

	// Machine is the architecture, as uname calls it, and Release the kernel's, as far as the source says.
	Machine string `json:"machine,omitempty"`
	Release string `json:"release,omitempty"`

	// Complete says that all of the source's memory is in the image, and that the source is complete, if it has a
	// manifest that says so. Reasons says why not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`

	// Image is the converted image. Its raw digest is that of the form's own bytes, before compression and
	// encryption by shotglass.
	Image acquire.Image `json:"image"`
	// Memory is the memory as a LiME stream with the Ranges: the same whatever the form, and the
	// raw digest of the capture where nothing was lost.
	Memory acquire.Digest `json:"memory"`
	// Ranges are as in that stream: of an image that was cut short the last one is not all there.
	Ranges []lime.Range  `json:"ranges"`
	Report *forms.Report `json:"report"` // what was read, and what could not be
	Core   *Core         `json:"core,omitempty"`

	Created  time.Time     `json:"created"`
	Duration time.Duration `json:"duration_ns"`
}

// Source is the image that was converted.
type Source struct {
	Name      string `json:"name"`
	Location  string `json:"location"`
	Bytes     int64  `json:"bytes"` // stored
	Encrypted bool   `json:"encrypted,omitempty"`
	// Manifest is what lay beside it, a capture's or a conversion's; nil: nothing did.
	Manifest *Paper `json:"manifest,omitempty"`
}

// A Paper is a manifest, by its digest.
type Paper struct {
	acquire.Reference
	Type      string                 `json:"type"`
	Complete  bool                   `json:"complete"`
	Interim   bool                   `json:"interim,omitempty"` // written before swap was read, and no other followed
	Memory    acquire.Digest         `json:"memory"`            // what it says of the LiME stream
	Signature acquire.SignatureState `json:"signature"`
}

// Core is what an ELF core has beside memory.
type Core struct {
	VMCoreInfo string    `json:"vmcoreinfo"`           // where the note is from: memory, a file; empty: there is none
	SHA256     string    `json:"sha256,omitempty"`     // of its text
	Release    string    `json:"release,omitempty"`    // of the kernel, by the note
	DirectMap  lime.Addr `json:"direct_map,omitempty"` // p_vaddr less p_paddr; 0: not known
	Others     int       `json:"others,omitempty"`     // other notes in memory, not taken
}

// Marshal encodes r as it is stored: indented JSON with a final newline.
func (r *Record) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(r); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return b.Bytes(), nil
}

// limit returns how many bytes of memory there are, if not all of the ranges; otherwise 0.
func (r *Record) limit() uint64 {
	n := r.Memory.Bytes - int64(len(r.Ranges))*lime.HeaderSize
	if n <= 0 || r.Memory.Bytes >= lime.Total(r.Ranges) {
		return 0
	}
	return uint64(n)
}

// maxMemory bounds the memory of a record, in bytes: whoever reads an image gives all of it, stored or not.
const maxMemory = 1 << 50

// maxElements bounds what a record holds, as that of package acquire does.
const maxElements = 4 << 20

// ParseRecord decodes a record. Unknown fields are ignored; another type or version is an error.
func ParseRecord(data []byte) (*Record, error) {
	if len(data) > acquire.MaxManifest || bytes.Count(data, []byte{','}) > maxElements {
		return nil, fmt.Errorf("record of a conversion: %d bytes are too many", len(data))
	}
	r := new(Record)
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(r); err != nil {
		return nil, fmt.Errorf("record of a conversion: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("record of a conversion: data after its end")
	}
	if r.Type != RecordType {
		return nil, fmt.Errorf("record of a conversion: type is %q, want %q", r.Type, RecordType)
	}
	if r.Version != RecordVersion {
		return nil, fmt.Errorf("record of a conversion: version %d is not supported, this program reads version %d", r.Version, RecordVersion)
	}
	memory := uint64(0)
	for _, x := range r.Ranges {
		if !x.Valid() || x.Size() > maxMemory-memory {
			return nil, fmt.Errorf("record of a conversion: a range %s: no machine has that, or so much memory", x)
		}
		memory += x.Size()
	}
	return r, nil
}

// typeOf returns the type of a manifest or record.
func typeOf(data []byte) string {
	var head struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(data, &head) != nil {
		return ""
	}
	return head.Type
}

// Is reports whether the image called name, or another file of its set, has the record of a conversion beside it. The
// error wraps fs.ErrNotExist where it has neither that nor a manifest.
func Is(ctx context.Context, where sink.Opener, name string) (bool, error) {
	data, _, err := paperOf(ctx, where, imageOf(name))
	return err == nil && typeOf(data) == RecordType, err
}

// SourceOf is the image that name, or another file of its set, was converted from; nil if it has no record of that beside it.
func SourceOf(ctx context.Context, where sink.Opener, name string) (*Source, error) {
	data, _, err := paperOf(ctx, where, imageOf(name))
	if err != nil || typeOf(data) != RecordType {
		return nil, err
	}
	r, err := ParseRecord(data)
	if err != nil {
		return nil, err
	}
	return &r.Source, nil
}

// imageOf returns the image that a file of its set belongs to.
func imageOf(name string) string {
	for _, suffix := range []string{
		acquire.PartialManifestSuffix + acquire.SignatureSuffix, acquire.PartialManifestSuffix, acquire.ManifestSuffix + acquire.SignatureSuffix,
		acquire.ManifestSuffix, acquire.InterimSuffix + acquire.SignatureSuffix, acquire.InterimSuffix, acquire.FramesSuffix, sink.PartialSuffix,
	} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	base, _ := sink.SegmentOf(name)
	return base
}

// paperOf reads the manifest or record of an image, and returns its name. That of a complete image goes before that of
// a partial one, and the interim one is taken only where neither is.
func paperOf(ctx context.Context, where sink.Opener, image string) (data []byte, name string, err error) {
	for _, suffix := range []string{acquire.ManifestSuffix, acquire.PartialManifestSuffix, acquire.InterimSuffix} {
		name = image + suffix
		if data, err = sink.ReadAll(ctx, where, name, acquire.MaxManifest); !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	return data, name, err
}

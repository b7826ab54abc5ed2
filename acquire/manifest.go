package acquire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/stripe"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// ManifestType and ManifestVersion head every manifest. The version changes
// only when a field changes its meaning; fields are only ever added.
const (
	ManifestType    = "shotglass-manifest"
	ManifestVersion = 1
)

// Suffixes of the files beside an image.
const (
	ManifestSuffix  = ".json"   // the Manifest
	SignatureSuffix = ".sig"    // after ManifestSuffix: the SSHSIG over the manifest's bytes
	FramesSuffix    = ".frames" // the frame index, see package frame

	// PartialManifestSuffix takes the place of ManifestSuffix for a partial image in a
	// sink that cannot rename: there the image's own name does not say so.
	PartialManifestSuffix = sink.PartialSuffix + ManifestSuffix

	// InterimSuffix takes its place for the manifest that is written before swap is read, which
	// can take hours, or while collecting takes long: should this program not live to write the last one, the image has that. It
	// stays beside the last one, which is read in its place.
	InterimSuffix = ".interim"
)

// A Manifest is the record of one capture. It is written after the target was
// cleaned, and last of all: an image without a manifest is no evidence.
//
// It proves integrity from receipt on: that the stored bytes are those which
// left the pipeline. What the target's kernel chose to show is the target's word.
type Manifest struct {
	Type    string `json:"type"`
	Version int    `json:"v"`

	Case     string            `json:"case,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"` // of the target, as the operator gave them
	Tool     Tool              `json:"tool"`
	Operator string            `json:"operator"` // who ran it: user@host of the examiner's machine
	Options  []Setting         `json:"options"`  // effective options and where each came from

	Target TargetRecord `json:"target"`
	Method Method       `json:"method"`
	Module *ModuleUse   `json:"module,omitempty"`

	// Complete says that the image is whole: every record, every range of
	// /proc/iomem, the kernel's banner at its place, no unexplained zero fill.
	// Reasons says why not.
	Complete bool     `json:"complete"`
	Reasons  []string `json:"reasons,omitempty"`

	// Interim says of a manifest that another was to follow, and why.
	Interim string `json:"interim,omitempty"`

	// Rescued says that the capture was killed, and who wrote this in its place.
	Rescued *Rescued `json:"rescued,omitempty"`

	Image  Image        `json:"image"`
	RAM    []lime.Range `json:"ram"`              // what /proc/iomem said before the capture
	Stream *lime.Report `json:"stream,omitempty"` // what the image holds, per range
	Checks []Check      `json:"checks"`           // every test that Complete rests on

	// Other is the other image of the host: LiME's was rejected, and one was taken through
	// /proc/kcore.
	Other *OtherImage `json:"other_image,omitempty"`

	// Unreadable are pages that /proc/kcore did not give, or that AVML left out: the image holds
	// zeros there. Nil where the source cannot tell.
	Unreadable *Unreadable `json:"unreadable,omitempty"`
	// Reads say when each 64 MiB of memory was read, by ascending address; see ReadTime.
	Reads    []ReadTime    `json:"reads,omitempty"`
	Duration time.Duration `json:"duration_ns"` // of the stream
	// Freeze is what was stopped meanwhile. Nil: all went on.
	Freeze *FreezeUse `json:"freeze,omitempty"`

	Anomalies []string `json:"anomalies,omitempty"`
	Swap      []Swap   `json:"swap"` // not in the image: memory that was swapped out
	// SwapImages are the swap areas that were asked for, in files of their own beside the image.
	SwapImages []SwapImage `json:"swap_images,omitempty"`
	// Live is what was collected beside memory. Nil: nothing was asked for.
	Live      *Live      `json:"live,omitempty"`
	Timeline  []Moment   `json:"timeline"`
	Footprint Footprint  `json:"footprint"`
	Created   time.Time  `json:"created"`            // examiner's clock, UTC
	Previous  *Reference `json:"previous,omitempty"` // the audit log's last entry at that time
}

// Tool is the program that made the image.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the executable
	Go      string `json:"go,omitempty"`
}

// A Setting is one effective option. Secrets never appear.
type Setting struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Origin string `json:"origin"` // flag, argument, env NAME, file NAME, default
}

// TargetRecord is what is known of the target. All but Connection is the
// target's own word.
type TargetRecord struct {
	Host       string         `json:"host,omitempty"` // what the operator calls it
	Connection transport.Info `json:"connection"`
	Facts      *Facts         `json:"facts"`
}

// Method is how memory was read, and what the other ways said.
type Method struct {
	Source     string      `json:"source"` // lime, kcore, avml
	Candidates []Candidate `json:"candidates"`
	Parameters []string    `json:"parameters,omitempty"` // read back from the loaded module
	Port       int         `json:"port,omitempty"`       // on the target's loopback
	Peer       *Peer       `json:"peer,omitempty"`
	Kcore      *KcoreUse   `json:"kcore,omitempty"`
	Avml       *AvmlUse    `json:"avml,omitempty"`
	// Buffered is how many bytes of the stream could lie, at most, between the target's memory and
	// here: what came at some time had been read there that much of the stream earlier. 0 where
	// Reads have the times of the question and the answer.
	Buffered  int64    `json:"buffered_bytes,omitempty"`
	Wire      *WireUse `json:"compressed_on_target,omitempty"`
	Privilege string   `json:"privilege"` // root, sudo, sudo with password
}

// A Candidate is one source and why it was or was not taken.
type Candidate struct {
	Source string `json:"source"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason"`
}

// Peer is the check that LiME's one client was our own SSH server.
type Peer struct {
	Verified bool   `json:"verified"`
	Detail   string `json:"detail"`
}

// KcoreUse is how memory was read through /proc/kcore.
type KcoreUse struct {
	Rule        string       `json:"rule"`     // by which its segments were matched with RAM: p_paddr, or size before Linux 4.12
	Segments    int          `json:"segments"` // PT_LOADs
	Piece       int          `json:"piece"`    // bytes asked for at once
	Connections stripe.Stats `json:"connections"`
	// Layout says whether RAM and segments were the same after the capture:
	// "unchanged", or what became of them. Empty: nobody could look.
	Layout string `json:"layout,omitempty"`
}

// Unreadable are pages that could not be read, each tried alone, twice.
type Unreadable struct {
	Pages    int64        `json:"pages"`
	Accepted int64        `json:"accepted"` // how many the operator accepted
	Ranges   []lime.Range `json:"ranges,omitempty"`
	More     int          `json:"more_ranges,omitempty"` // not listed
}

// A ReadTime is when a stretch of up to 64 MiB was read: by a clock that starts as the
// examiner's, in UTC, and that nobody can set. With kcore it was read between the two times.
// With LiME, which sends without being asked, they are those of receipt, see Method.Buffered.
type ReadTime struct {
	Addr  lime.Addr `json:"addr"`
	First time.Time `json:"first"` // the first of it was asked for, or came
	Last  time.Time `json:"last"`  // the last of it had come
}

// ReadSpan returns when reading memory began and ended, by Reads; zero times where that is not
// known.
func (m *Manifest) ReadSpan() (first, last time.Time) {
	for i, r := range m.Reads {
		if i == 0 || r.First.Before(first) {
			first = r.First
		}
		if i == 0 || r.Last.After(last) {
			last = r.Last
		}
	}
	return first, last
}

// ModuleUse is the module that was loaded.
type ModuleUse struct {
	kernelmodules.Module
	Path string `json:"path"` // where it lay on the target, before it was unlinked
}

// Image is the stored image. A digest never travels without its size.
type Image struct {
	Name        string  `json:"name"`   // as asked for; a partial image lies under Stored.Location
	Format      string  `json:"format"` // lime; raw: a swap area as it is; tar: what was collected
	Compression string  `json:"compression"`
	Encryption  string  `json:"encryption"` // none or age
	Raw         Digest  `json:"raw"`        // the LiME stream
	Stored      Digest  `json:"stored"`     // the file
	Location    string  `json:"location"`
	Partial     bool    `json:"partial,omitempty"`
	Frames      *Frames `json:"frames,omitempty"`
	// Recipients could decrypt the image when it was made, if the operator says so
	// truly: public keys of age, or type and fingerprint of SSH keys.
	Recipients []string `json:"recipients,omitempty"`

	// What the service that stores the image answered, see sink.Receipt.
	Checksums map[string]string `json:"checksums,omitempty"`
	ETag      string            `json:"etag,omitempty"`
	VersionID string            `json:"version_id,omitempty"`
	AtRest    string            `json:"encryption_at_rest,omitempty"`

	// Segments are the objects that hold an image too large for one, in order: their
	// concatenation is the stored image.
	Segments []sink.Segment `json:"segments,omitempty"`

	// Pieces says that the sink failed, and that the image waited in pieces when this manifest
	// was signed. Every byte was durable; Location is where the image was to be.
	Pieces *Pieces `json:"pieces,omitempty"`
}

// Pieces are where an image waited for its place, see sink.Pending.
type Pieces struct {
	Descriptions []Reference `json:"descriptions"` // files that describe them
	Here         int64       `json:"bytes_here"`   // on the examiner's machine
	There        int64       `json:"bytes_there"`  // held by the service
	Why          string      `json:"why"`
}

// Values of Image.Format.
const (
	formatLime = "lime"
	formatRaw  = "raw"
)

// Encrypted reports whether an image is encrypted to recipients.
func Encrypted(i Image) bool { return i.Encryption == encryptionAge }

// Values of Image.Encryption.
const (
	encryptionNone = "none"
	encryptionAge  = "age"
)

// Digest is a size with its digest.
type Digest struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // lower-case hex
}

// Frames refers to the side file with one digest per frame, or per piece of an encrypted
// image.
type Frames struct {
	Name      string `json:"name"`
	Count     int    `json:"count"`
	FrameSize int    `json:"frame_size"` // raw bytes per frame
	Digest
}

// A Check is one test of the image.
type Check struct {
	Name   string `json:"name"`
	Result string `json:"result"` // pass, fail, unknown
	Detail string `json:"detail"`
}

// Results of a Check.
const (
	Pass    = "pass"
	Fail    = "fail"
	Unknown = "unknown"
)

// Swap is a swap area of the target, zram included.
type Swap struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Bytes    int64  `json:"bytes"`
	Used     int64  `json:"used_bytes"`
	Priority int    `json:"priority"`
}

// A Moment is an event with its time on the examiner's clock.
type Moment struct {
	Time  time.Time `json:"time"`
	Event string    `json:"event"`
}

// Footprint is what the capture did to the target and what it left there.
type Footprint struct {
	TaintBefore string   `json:"taint_before"`
	TaintAfter  string   `json:"taint_after,omitempty"`
	Commands    int      `json:"commands"`       // SSH exec requests made
	Logins      int      `json:"logins"`         // SSH connections made: each is a record in the target's log
	Sudo        int      `json:"sudo"`           // of which through sudo: each is a record in the target's log
	BytesPushed int64    `json:"bytes_pushed"`   // module bytes written to the target
	PushedTo    string   `json:"pushed_to"`      // folder, and the file system under it
	Clean       bool     `json:"clean"`          // checked: no module loaded, no file, no process of ours
	Left        []string `json:"left,omitempty"` // what is or may be left
	Fix         string   `json:"fix,omitempty"`  // the command that removes it
}

// A Reference names another record by digest.
type Reference struct {
	Name   string `json:"name"`
	Line   int    `json:"line,omitempty"` // 1 is the first; 0: the whole of it
	SHA256 string `json:"sha256"`         // of the line with its newline, or of the whole
}

// Marshal encodes m as it is stored: indented JSON with a final newline.
func (m *Manifest) Marshal() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(m); err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return b.Bytes(), nil
}

// MaxManifest bounds the size of a manifest that ParseManifest reads. maxElements
// bounds what it holds: a manifest of empty elements would take a hundred times
// its size in memory. One of 24 TB has less than two million, in 80 MB.
const (
	MaxManifest = 128 << 20
	maxElements = 2 << 20
)

// ParseManifest decodes a manifest. Unknown fields are ignored, since later
// versions add some; another type or version is an error.
func ParseManifest(data []byte) (*Manifest, error) {
	if len(data) > MaxManifest {
		return nil, fmt.Errorf("manifest has %d bytes, more than %d", len(data), MaxManifest)
	}
	if n := bytes.Count(data, []byte{','}); n > maxElements {
		return nil, fmt.Errorf("manifest has %d elements, more than %d", n, maxElements)
	}
	m := new(Manifest)
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(m); err != nil {
		var syn *json.SyntaxError
		if errors.As(err, &syn) {
			line, col := position(data, syn.Offset)
			return nil, fmt.Errorf("manifest: line %d, column %d: %w", line, col, err)
		}
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("manifest: data after the end of the manifest")
	}
	if m.Type != ManifestType {
		return nil, fmt.Errorf("manifest: type is %q, want %q", m.Type, ManifestType)
	}
	if m.Version != ManifestVersion {
		return nil, fmt.Errorf("manifest: version %d is not supported, this program reads version %d", m.Version, ManifestVersion)
	}
	return m, nil
}

func position(data []byte, off int64) (line, col int) {
	before := data[:min(off, int64(len(data)))]
	return bytes.Count(before, []byte{'\n'}) + 1, len(before) - bytes.LastIndexByte(before, '\n') - 1
}

package acquire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Rescue says of the start of an image or a swap area, whose capture was killed, that it is no more than that.
type Rescue struct {
	Tool     Tool
	Operator string // who rescues
	Why      string // how it came to lie in its place
	// Note is what the capture gave its sink to keep, see sink.Noter; empty: nothing. Nobody has signed it, and a manifest made of it says so.
	Note   []byte
	Signer ssh.Signer
	Now    func() time.Time
}

// imageFile is how the names of images end.
var imageFile = regexp.MustCompile(`\.lime(\.zst|\.s2)?(\.age)?$`)

// Rescuable reports whether a manifest can speak for the file of that name: for an image, or for a swap area of which the capture's note tells what
// image it lies beside. None can for a segment or a side file.
func Rescuable(name string, note []byte) bool {
	if is, _ := IsSwap(name); is {
		_, _, err := parseNote(note, name)
		return err == nil
	}
	return imageFile.MatchString(name) && imageOf(name) == name
}

// A RescuedManifest is what came of Write.
type RescuedManifest struct {
	Location string    // empty: there was one, and none was written
	Host     string    // what the operator called it; empty: not known
	Recorded time.Time // when that, and what else is known of the capture, was recorded; zero: nothing was
	Lost     error     // why what was recorded is not in it
}

// Write reads again what is stored under a name for which a manifest can speak, and writes it beside the image, unless
// one lies there already, other than an interim one: of a partial image, or of one with a partial swap area. What the killed
// capture knew is in it as far as the note has it, and what the raw bytes of an encrypted image are is not.
func (o *Rescue) Write(ctx context.Context, where sink.Sink, kept sink.Receipt) (*RescuedManifest, error) {
	from, ok := where.(sink.Opener)
	if !ok {
		return nil, fmt.Errorf("%s: what is stored there cannot be read back", where)
	}
	done := new(RescuedManifest)
	m, swap := &Manifest{Type: ManifestType, Version: ManifestVersion, Tool: o.Tool, Operator: o.Operator, Image: Image{Name: kept.Name}}, -1
	if len(o.Note) > 0 {
		known, i, err := parseNote(o.Note, kept.Name)
		if err == nil {
			m, swap, done.Recorded, done.Host = known, i, known.Created, cmp.Or(known.Target.Host, known.Target.Facts.Hostname)
		} else {
			done.Lost = fmt.Errorf("what the capture had recorded cannot be used: %w", err)
		}
	}
	// Beside which image a swap area lies its name does not tell, where the image's was chosen.
	if was, err := ManifestOf(ctx, from, m.Image.Name); !errors.Is(err, fs.ErrNotExist) && (err != nil || was.Interim == "") {
		return new(RescuedManifest), err
	}
	image, reasons := Image{Name: kept.Name, Format: formatLime}, []string{o.Why}
	switch {
	case !done.Recorded.IsZero():
		reasons = append(reasons, fmt.Sprintf("what this says of the host and of how it was read was recorded at %s, before the first byte of the file came, and unsigned; what came after that is not known", done.Recorded.UTC().Format(time.RFC3339)))
	case done.Lost != nil:
		reasons = append(reasons, done.Lost.Error())
	}
	if swap >= 0 {
		image.Format = formatRaw
	}
	if err := o.describe(ctx, from, kept, &image, &reasons); err != nil {
		return nil, fmt.Errorf("read again what was stored: %w", err)
	}
	image.Recipients = m.Image.Recipients
	left := "not known: the capture was killed, and what it left on the target was not looked for"
	if swap < 0 {
		m.Image, m.Reasons, m.Footprint.Left = image, reasons, []string{left}
	} else {
		r, err := from.Open(ctx, m.Image.Name)
		if err != nil {
			return nil, fmt.Errorf("the image that it lies beside has to be stored first: %w", err)
		}
		r.Close()
		x := &m.SwapImages[swap]
		x.Image, x.Complete, x.Reasons = image, false, reasons
		was := "partial"
		if m.Complete {
			was = "complete"
		}
		m.Reasons = append(m.Reasons, fmt.Sprintf("it was recorded as %s at %s, unsigned, before the capture was killed while it read swap: see %s, which the capture wrote itself",
			was, done.Recorded.UTC().Format(time.RFC3339), m.Image.Name+InterimSuffix))
		m.Footprint.Left = append(m.Footprint.Left, left)
	}
	// A note is nobody's word: whoever signs the manifest must not vouch that all is there.
	m.Complete, m.Footprint.Clean, m.Footprint.Fix = false, false, ""
	m.Interim, m.Created, m.Rescued = "", o.Now().UTC(), &Rescued{o.Tool, o.Operator, done.Recorded}
	c := &capture{opts: &Options{Sink: where, Signer: o.Signer}}
	res := new(Result)
	err := c.putManifest(ctx, m, manifestName(where, m.Image.Name, m.Complete), res)
	done.Location = res.Manifest
	return done, err
}

// describe says in i, and in reasons, what is stored.
func (o *Rescue) describe(ctx context.Context, from sink.Opener, kept sink.Receipt, i *Image, reasons *[]string) error {
	i.Compression, i.Encryption, i.Location, i.Partial = frame.None, encryptionNone, kept.Location, true
	i.Checksums, i.ETag, i.VersionID, i.AtRest = kept.Checksums, kept.ETag, kept.VersionID, kept.Encryption
	plain := strings.TrimSuffix(kept.Name, agefile.Suffix)
	if plain != kept.Name {
		i.Encryption = encryptionAge
		*reasons = append(*reasons, "its raw digest is not known: it is encrypted, and was stored without the key")
	}
	for _, c := range frame.Compressions {
		if s := frame.Suffix(c); s != "" && path.Ext(plain) == s {
			i.Compression = c
		}
	}
	return i.reread(ctx, from)
}

// reread sets the digests to those of what is stored, of which the raw one is of the frames that are whole.
func (i *Image) reread(ctx context.Context, from sink.Opener) error {
	r, err := from.Open(ctx, i.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	i.Raw.Bytes = r.Size() // as it is where nothing is compressed
	v := &verification{m: &Manifest{Image: *i}, rep: &VerifyReport{}, name: i.Name}
	find := v.found
	if i.Encryption == encryptionAge {
		find = func(ctx context.Context, r sizedReaderAt) (*frame.Index, bool, error) {
			return v.pieces(ctx, r.(sink.Reader))
		}
	}
	x, _, err := find(ctx, r)
	if err != nil {
		return err
	}
	f, err := frame.Verify(ctx, r, r.Size(), x, frame.VerifyOptions{})
	if err != nil {
		return err
	}
	i.Stored, i.Raw = Digest{f.Stored.Bytes, f.Stored.SHA256.String()}, Digest{f.Raw.Bytes, f.Raw.SHA256.String()}
	if i.Encryption == encryptionAge {
		i.Raw = newDigester().digest() // of no byte
	}
	return nil
}

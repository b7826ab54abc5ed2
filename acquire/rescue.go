package acquire

import (
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

// A Rescue says of the start of an image, whose capture was killed, that it is no more than that.
type Rescue struct {
	Tool     Tool
	Operator string // who rescues
	Why      string // how it came to lie in its place
	Signer   ssh.Signer
	Now      func() time.Time
}

// imageFile is how the names of images end.
var imageFile = regexp.MustCompile(`\.lime(\.zst|\.s2)?(\.age)?$`)

// Rescuable reports whether name is that of an image, which a manifest can speak for: not that of a segment, a swap area or a side file.
func Rescuable(name string) bool { return imageFile.MatchString(name) && imageOf(name) == name }

// Write reads what is stored as an image again, and writes a manifest of a partial image beside it, unless one lies there already. What
// the killed capture knew of the host is not in it, nor what the raw bytes of an encrypted image are. It returns where the manifest is; empty:
// there was one.
func (o *Rescue) Write(ctx context.Context, where sink.Sink, kept sink.Receipt) (location string, err error) {
	from, ok := where.(sink.Opener)
	if !ok {
		return "", fmt.Errorf("%s: what is stored there cannot be read back", where)
	}
	if _, err := ManifestOf(ctx, from, kept.Name); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	m := &Manifest{
		Type: ManifestType, Version: ManifestVersion, Tool: o.Tool, Operator: o.Operator, Created: o.Now().UTC(),
		Reasons: []string{o.Why},
		Image: Image{
			Name: kept.Name, Format: formatLime, Compression: frame.None, Encryption: encryptionNone, Location: kept.Location, Partial: true,
			Checksums: kept.Checksums, ETag: kept.ETag, VersionID: kept.VersionID, AtRest: kept.Encryption,
		},
		Footprint: Footprint{Left: []string{"not known: the capture was killed, and what it left on the target was not looked for"}},
	}
	plain := strings.TrimSuffix(kept.Name, agefile.Suffix)
	if plain != kept.Name {
		m.Image.Encryption = encryptionAge
		m.Reasons = append(m.Reasons, "its raw digest is not known: it is encrypted, and was stored without the key")
	}
	for _, c := range frame.Compressions {
		if s := frame.Suffix(c); s != "" && path.Ext(plain) == s {
			m.Image.Compression = c
		}
	}
	if err := m.Image.reread(ctx, from); err != nil {
		return "", fmt.Errorf("read again what was stored: %w", err)
	}
	c := &capture{opts: &Options{Sink: where, Signer: o.Signer}}
	res := new(Result)
	err = c.putManifest(ctx, m, manifestName(where, kept.Name, false), res)
	return res.Manifest, err
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

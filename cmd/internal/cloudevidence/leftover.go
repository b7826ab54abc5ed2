package cloudevidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// A Leftover is what a run left of an instance that has no record of it: it was killed, or it still runs.
type Leftover struct {
	Name  string          `json:"name"` // of what it set out to gather
	Begun time.Time       `json:"begun,omitzero"`
	Asked []string        `json:"asked,omitempty"`
	Files []records.Named `json:"files,omitempty"` // with their digests, if they could be read
	// Error says why it is not known what was left, or not all of it.
	Error string `json:"error,omitempty"`
}

// maxLeft bounds the runs whose leavings are read.
const maxLeft = 50

// Left looks for what other runs left of an instance in a place without a record. base is that of this run, as in NewKeeping. Nothing of
// it is changed.
func Left(ctx context.Context, where sink.Sink, host, base string) []Leftover {
	unknown := func(err error) []Leftover {
		return []Leftover{{Error: "whether an earlier run left something is not known: " + err.Error()}}
	}
	place, ok := where.(sink.Lister)
	if !ok {
		return nil
	}
	listing, err := place.List(ctx)
	if err != nil {
		return unknown(err)
	}
	var left []Leftover
	there := map[string]bool{}
	for _, o := range listing.Objects {
		there[o.Name] = true
	}
	for _, o := range listing.Objects {
		begun, ok := strings.CutSuffix(o.Name, BegunSuffix)
		if !ok || there[begun+Suffix] || !strings.HasPrefix(begun, host+"-") || strings.HasPrefix(begun, base) || !isBase(begun[len(host):]) {
			continue
		}
		if len(left) == maxLeft {
			left[0].Error = join(left[0].Error, fmt.Sprintf("there are more than %d such runs", maxLeft))
			break
		}
		one := Leftover{Name: o.Name}
		for _, f := range listing.Objects {
			if whole := strings.TrimSuffix(f.Name, sink.PartialSuffix); RecordOf(whole) == begun+Suffix {
				one.add(ctx, where, f.Name)
			}
		}
		left = append(left, one)
	}
	return left
}

// isBase reports whether what stands behind the name of a host is what BaseName puts there.
func isBase(rest string) bool {
	stamp, _, ok := strings.Cut(rest, nameMark)
	_, err := time.Parse(nameTime, stamp)
	return ok && err == nil
}

// add reads a file that was left.
func (l *Leftover) add(ctx context.Context, where sink.Sink, name string) {
	file := records.Named{Name: name}
	if place, ok := where.(sink.Opener); ok {
		data, err := sink.ReadAll(ctx, place, name, maxArchive)
		if err != nil {
			l.Error = join(l.Error, fmt.Sprintf("%s could not be read: %v", name, err))
		} else {
			file.Digest = records.DigestOf(data)
		}
		if r, err := ParseRecord(data); err == nil && name == l.Name {
			l.Begun, l.Asked = r.Begun, r.Asked
		}
	}
	l.Files = append(l.Files, file)
}

// left holds what a record says of other runs' leavings against what lies there.
func (v *Verification) left(ctx context.Context, where sink.Opener) error {
	for _, l := range v.Record.Left {
		for _, f := range l.Files {
			if f.SHA256 == "" || sink.ValidName(f.Name) != nil {
				continue
			}
			data, err := sink.ReadAll(ctx, where, f.Name, maxArchive)
			switch {
			case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(f.Name, sink.PartialSuffix): // its run went on
			case errors.Is(err, fs.ErrNotExist):
				v.problem("%s, which another run left, is missing", f.Name)
			case errors.Is(err, sink.ErrTooLarge):
				v.problem("%s, which another run left: %v", f.Name, err)
			case err != nil:
				return err
			case records.DigestOf(data) != f.Digest:
				v.problem("%s, which another run left, has SHA-256 %s, and should have %.64s", f.Name, records.DigestOf(data).SHA256, f.SHA256)
			}
		}
	}
	return nil
}

// unfinished says what a run left that has no record, whose missing is missing: by the archives' own words, as nobody signed anything.
func (v *Verification) unfinished(ctx context.Context, where sink.Opener, base string, o VerifyOptions, missing error) error {
	data, err := sink.ReadAll(ctx, where, base+BegunSuffix, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return missing
	}
	if err != nil {
		return err
	}
	d := records.DigestOf(data)
	v.Unfinished, v.SHA256, v.Bytes = true, d.SHA256, d.Bytes
	v.Signature.Detail = "there is no " + base + Suffix + ", which would be signed: " + noRecord
	if v.Record, err = ParseRecord(data); err != nil {
		v.problem("%s: %v", base+BegunSuffix, err)
		v.judge()
		return nil
	}
	v.Reasons = append(v.Reasons, noRecord)
	v.Record.Items = nil
	if s := v.Record.Snapshots; s != nil {
		v.Record.Snapshots = s.planned()
		v.Reasons = append(v.Reasons, v.Record.Snapshots.failed()...)
	}
	for _, name := range v.Record.Asked {
		if !slices.ContainsFunc(kinds, func(k Kind) bool { return k.Name == name }) {
			v.problem("%.100q is no item", name)
			continue
		}
		if err := v.piece(ctx, where, base+"-"+name+ArchiveSuffix, name, o); err != nil {
			return err
		}
	}
	v.judge()
	return nil
}

// piece reads the archive of an item by its own word, be it encrypted or not.
func (v *Verification) piece(ctx context.Context, where sink.Opener, file, name string, o VerifyOptions) error {
	data, err := sink.ReadAll(ctx, where, file, maxArchive)
	sealed := errors.Is(err, fs.ErrNotExist)
	if sealed {
		file += agefile.Suffix
		data, err = sink.ReadAll(ctx, where, file, maxArchive)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.Reasons = append(v.Reasons, name+": it was not stored")
		return nil
	case errors.Is(err, sink.ErrTooLarge):
		v.problem("%s: %v", file, err)
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case sealed && len(o.Identities) == 0:
		v.NotChecked = append(v.NotChecked, "what is in "+file+": it is encrypted, and no identity was given")
		return nil
	}
	p, err := open(data, sealed, name, nil, o.Identities)
	switch {
	case errors.Is(err, errArchive):
		v.problem("%s: %v", file, err)
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case p.Instance != v.Record.Instance.ID || !p.Begun.Equal(v.Record.Begun):
		v.problem("%s is of another run, of %.100q, of %s", file, p.Instance, p.Begun)
	default:
		p.Item.Archive = &File{Name: file, Encryption: encryptionNone, Stored: records.DigestOf(data)}
		if sealed {
			p.Item.Archive.Encryption = encryptionAge
		}
		v.Record.Items = append(v.Record.Items, p.Item)
		v.Reasons = append(v.Reasons, Missing([]Item{p.Item})...)
	}
	return nil
}

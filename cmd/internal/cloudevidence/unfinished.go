package cloudevidence

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// unfinished says what a run left that has no record, whose missing is missing: by the archives' own words, as nobody signed anything.
func (v *Verification) unfinished(ctx context.Context, where sink.Opener, base string, o VerifyOptions, missing error) error {
	data, err := sink.ReadAll(ctx, where, base+BegunSuffix, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return v.alone(ctx, where, base, o, missing)
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
	}
	for _, name := range v.Record.Asked {
		n := slices.IndexFunc(kinds, func(k Kind) bool { return k.Name == name })
		if n < 0 {
			v.problem("%.100q is no item", name)
			continue
		}
		if err := v.piece(ctx, where, base+"-"+name+ArchiveSuffix, kinds[n], o); err != nil {
			return err
		}
	}
	v.Record.Reasons = slices.Clip(v.Reasons)
	if err := v.later(ctx, where, base+Suffix, o); err != nil {
		return err
	}
	if v.Snapshots == nil { // nor does anything else say what became of them
		v.Reasons = append(v.Reasons, v.Record.Snapshots.failed()...)
		v.Record.Reasons = v.Reasons
	}
	v.judge()
	return nil
}

// alone checks a record of snapshots beside which there is neither the record that it belongs to nor what that run set out to gather; missing is
// that there is none either.
func (v *Verification) alone(ctx context.Context, where sink.Opener, base string, o VerifyOptions, missing error) error {
	switch err := v.later(ctx, where, base+Suffix, o); {
	case err != nil:
		return err
	case v.Later == nil:
		return missing
	}
	v.Signature.Detail = "there is no " + base + Suffix
	v.judge()
	return nil
}

// piece reads the archive of an item by its own word, be it encrypted or not; or with RecordsOnly sees whether it is there. What is in one that is not
// read is not known: its item has no more than the archive.
func (v *Verification) piece(ctx context.Context, where sink.Opener, file string, k Kind, o VerifyOptions) error {
	name, a := k.Name, &File{Name: file, Encryption: encryptionNone}
	read := func() (data []byte, err error) {
		if !o.RecordsOnly {
			data, err = sink.ReadAll(ctx, where, a.Name, maxArchive)
			a.Stored = records.DigestOf(data)
			return data, err
		}
		f, err := where.Open(ctx, a.Name)
		if err != nil {
			return nil, err
		}
		a.Stored.Bytes = f.Size()
		return nil, f.Close()
	}
	data, err := read()
	sealed := errors.Is(err, fs.ErrNotExist)
	if sealed {
		file += agefile.Suffix
		a.Name, a.Encryption = file, encryptionAge
		data, err = read()
	}
	unread := func(why string) {
		v.Record.Items = append(v.Record.Items, Item{Name: name, What: k.What, Notes: []string{why}, Archive: a})
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
	case o.RecordsOnly:
		unread("its archive was not read")
		return nil
	case sealed && len(o.Identities) == 0:
		unread("its archive is encrypted, and was not opened")
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
		p.Item.Archive = a
		v.Record.Items = append(v.Record.Items, p.Item)
		v.Reasons = append(v.Reasons, Missing([]Item{p.Item})...)
	}
	return nil
}

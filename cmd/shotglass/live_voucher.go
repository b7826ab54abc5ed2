package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	memory "github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// voucherFlags say who must vouch for what is read.
func voucherFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "signers", TakesFile: true, Usage: "`FILE` of allowed signers: only what one of them signed", EnvVars: env("SIGNERS")},
		&cli.BoolFlag{Name: "unchecked", Usage: "look at no manifest: for what does not agree with it", DisableDefaultText: true},
	}
}

// vouchLive finds the manifest that vouches for what was collected beside name, and says what it is worth. Nil: none
// does, and that was said.
func vouchLive(ctx context.Context, c *console, cc *cli.Context, name string) (*acquire.Manifest, error) {
	file, unchecked := cc.String("signers"), cc.Bool("unchecked")
	var o acquire.VerifyOptions
	if file != "" {
		if unchecked {
			return nil, usagef("--signers and --unchecked exclude each other")
		}
		var err error
		if o.Signers, err = readSigners(file); err != nil {
			return nil, err
		}
	}
	if unchecked {
		c.warn("%s: nothing vouches for what was collected (--unchecked)", name)
		return nil, nil
	}
	where, base, err := place(ctx, name, s3Access(cc))
	if err != nil {
		return nil, err
	}
	v, err := acquire.VoucherOf(ctx, where, base, o)
	if errors.Is(err, fs.ErrNotExist) {
		if image, ok := acquire.WithoutNonce(base); ok {
			v, err = acquire.VoucherOf(ctx, where, image, o)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v = &acquire.Voucher{}
	case err != nil:
		return nil, err
	case len(v.Problems) > 0:
		return nil, viewError(&memory.MismatchError{Problems: v.Problems})
	}
	m, sig := v.Manifest, v.Signature
	before := m != nil && m.Interim != "" && m.Live.Archive(m.Image.Name) == ""
	if o.Signers != nil && (before || !sig.Trusted) {
		why := sig.Detail
		switch {
		case m == nil:
			why = "there is no manifest"
		case before:
			why = "the manifest was written before this was collected"
		}
		return nil, viewError(fmt.Errorf("%s: %w: %s", name, memory.ErrUntrusted, why))
	}
	switch {
	case m == nil:
		c.warn("%s: there is no manifest: nothing vouches for what was collected", name)
		return nil, nil
	case before:
		c.warn("%s: the manifest was written before this was collected: nothing vouches for it", name)
		return nil, nil
	case !sig.Present:
		c.warn("%s: the manifest is not signed: whoever could change what was collected could change it too", name)
	case !sig.Trusted:
		c.warn("%s: signed by %s, whom nobody named as trusted (--signers)", name, sig.Fingerprint)
	}
	if archive := m.Live.Archive(m.Image.Name); isArchive(base) && archive != base {
		return nil, &exitError{exitMismatch, &hinted{fmt.Errorf("%s: the manifest of %s does not know it: it lists %q", name, m.Image.Name, archive), "give the image in its place, or --unchecked"}}
	}
	if m.Live != nil && !m.Live.Complete {
		c.warn("%s: not all that was collected is stored: %s", name, printable(strings.Join(m.Live.Reasons, "; ")))
	}
	return m, nil
}

// isArchive reports whether a name is that of what was collected beside an image.
func isArchive(name string) bool {
	return strings.HasSuffix(strings.TrimSuffix(name, agefile.Suffix), acquire.LiveSuffix)
}

// otherArchives are the names of archives of name that had to be stored under others than theirs.
func otherArchives(ctx context.Context, name string, access s3.Options) ([]string, error) {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return nil, err
	}
	lister, ok := where.(sink.Lister)
	if !ok {
		return nil, nil
	}
	in, err := lister.List(ctx)
	if err != nil {
		return nil, err
	}
	folder := name[:len(name)-len(path.Base(filepath.ToSlash(name)))]
	var names []string
	for _, o := range in.Objects {
		if own, ok := acquire.WithoutNonce(strings.TrimSuffix(o.Name, sink.PartialSuffix)); ok && slices.Contains([]string{acquire.LiveName(base, false), acquire.LiveName(base, true)}, own) {
			names = append(names, folder+o.Name)
		}
	}
	return names, nil
}

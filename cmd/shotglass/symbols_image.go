package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/symbols"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// symbolsSuffix follows the name of an image in that of the symbol file for its kernel. Volatility 3 takes all files of
// that ending in the folder of -s.
const symbolsSuffix = ".isf.json.xz"

// errNoKernel says that what symbols are made of was not collected.
var errNoKernel = errors.New("no symbols can be made of what was collected beside it")

// An imageSymbols makes symbol files of what was collected beside images, one at a time.
type imageSymbols struct {
	c      *console
	access s3.Options
	ids    []age.Identity
	most   int // bytes of BTF; 0: no limit but that of package symbols
}

// maxBesideCapture is how much BTF --symbols takes, in bytes: twice that of a distribution's kernel, for which Write needs 100 MB. What a hostile
// kernel can claim within the bounds of package symbols takes near a gigabyte, which must not end a run whose log is still open.
const maxBesideCapture = 12 << 20

// write makes the symbol file of an image, and stores it beside the image: IMAGE.isf.json.xz. What was collected is to be what the
// manifest beside the image lists, item by item; whether the manifest is to be trusted is for verify to say.
func (s *imageSymbols) write(ctx context.Context, name string) (*symbolsMessage, error) {
	name = strings.TrimSuffix(name, sink.PartialSuffix)
	where, base, err := place(ctx, name, s.access)
	if err != nil {
		return nil, err
	}
	store, ok := where.(sink.Sink)
	if !ok {
		return nil, fmt.Errorf("%s: nothing can be written there", name)
	}
	if err := ofCaptured(ctx, where, name, base, "shotglass symbols", ""); err != nil {
		return nil, err
	}
	m, err := acquire.ManifestOf(ctx, where, base)
	if err != nil {
		return nil, fmt.Errorf("the manifest of %s: %w", name, err)
	}
	in, err := s.inputs(ctx, name, m)
	if err != nil {
		return nil, err
	}
	rep, file, err := s.make(name, in)
	if err != nil {
		return nil, err
	}
	return &symbolsMessage{File: name + symbolsSuffix, Found: []symbols.Found{}, Report: rep}, storeNew(ctx, store, base+symbolsSuffix, file)
}

// make makes the symbol file of an image.
func (s *imageSymbols) make(name string, in symbols.Inputs) (rep symbols.Report, content []byte, err error) {
	if s.most > 0 && len(in.BTF) > s.most {
		return rep, nil, &hinted{fmt.Errorf("%w: its BTF has %d bytes, more than are taken beside a capture", errNoKernel, len(in.BTF)), "shotglass symbols " + name}
	}
	var file bytes.Buffer // a few megabytes
	if rep, err = symbols.Write(&file, in); err != nil {
		err = fmt.Errorf("%w: %w", errNoKernel, err)
		if errors.Is(err, symbols.ErrNoTypes) {
			err = &hinted{err, "shotglass live --output DIR IMAGE; shotglass symbols --from DIR --fetch"}
		}
		return rep, nil, err
	}
	return rep, file.Bytes(), nil
}

// inputs reads what symbols are made of from the archive beside an image.
func (s *imageSymbols) inputs(ctx context.Context, name string, m *acquire.Manifest) (symbols.Inputs, error) {
	archive, err := openLive(ctx, name, s.access, s.ids, m)
	if errors.Is(err, fs.ErrNotExist) {
		return symbols.Inputs{}, fmt.Errorf("%w: %w", errNoKernel, err)
	}
	if err != nil {
		return symbols.Inputs{}, err
	}
	defer archive.Close()
	content := map[string][]byte{}
	left := int64(maxCollected)
	items, err := readLive(archive, func(it live.Item, r io.Reader) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if r == nil || !symbols.Wants(it.File) {
			return nil
		}
		var b bytes.Buffer
		b.Grow(int(min(max(it.Bytes, 0), left)) + bytes.MinRead)
		n, err := b.ReadFrom(io.LimitReader(r, left+1))
		if left -= n; err == nil && left < 0 {
			err = fmt.Errorf("it holds more than %d bytes", maxCollected)
		}
		content[it.File] = b.Bytes()
		return err
	})
	if err != nil {
		return symbols.Inputs{}, fmt.Errorf("%s: %w", archive.name, err)
	}
	if !m.Live.Same(items) {
		return symbols.Inputs{}, &exitError{exitMismatch, fmt.Errorf("%s: its list of items is not that of the manifest", archive.name)}
	}
	in, err := symbols.Collected(func(file string) []byte { return content[file] })
	if err != nil {
		s.c.warn("%s: %v", name, err)
	}
	in.Version = toolInfo().Version
	return in, nil
}

// storeNew stores a file that must not be there yet.
func storeNew(ctx context.Context, where sink.Sink, name string, data []byte) error {
	obj, err := where.Create(ctx, name)
	if err != nil {
		return err
	}
	if _, err = obj.Write(data); err == nil {
		if _, err = obj.Commit(ctx); err == nil {
			return nil
		}
	}
	return errors.Join(err, obj.Abort(context.WithoutCancel(ctx)))
}

// imagesSymbols is `symbols IMAGE...`.
func imagesSymbols(ctx context.Context, c *console, s *imageSymbols, names []string) error {
	code := exitOK
	for _, name := range names {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := s.write(ctx, name)
		if err != nil {
			c.fail(name, err)
			code = worse(code, exitCode(err))
			continue
		}
		for _, n := range m.Notes {
			c.warn("%s: %s", name, printable(n))
		}
		m.warnMissing(c)
		if err := m.print(c); err != nil {
			return err
		}
	}
	return exitWith(code)
}

// symbols makes the symbol files that --symbols asks for, one after the other, once the last host is done: each takes some 100 MB of
// memory, which captures have more use for. Those of encrypted images are there by then. It returns exitPartial if one is missing.
func (o *captureOptions) symbols(ctx context.Context, c *console, log *runLog, say func(string), results []acquire.Result) (code int) {
	if o.sealed == nil {
		return exitOK
	}
	if o.Quiet || o.JSON {
		say = func(string) {}
	}
	s := o.symbolMaker(c)
	for _, r := range results {
		if r.State == acquire.StateFailed || r.Image.Location == "" || !o.wantsSymbols(r.Host) {
			continue
		}
		var m *symbolsMessage
		var err error
		if acquire.Encrypted(r.Image) {
			m, err = o.sealed.of(ctx, s, r)
		} else {
			say("shotglass: " + r.Host + ": making its symbol file")
			m, err = s.write(ctx, r.Image.Location)
		}
		switch {
		case err != nil && ctx.Err() != nil: // what is stored is stored
			err = context.Cause(ctx)
		case errors.Is(err, fs.ErrExist) && !r.KeptFrom.IsZero(): // an earlier run made it
			continue
		}
		if err == nil && c.json {
			err = c.message("symbols", m)
		}
		if err != nil {
			code = exitPartial
			err = fmt.Errorf("its symbol file was not made: %w", err)
			log.Add(audit.Entry{Event: "symbols", Host: r.Host, Error: err.Error(), Message: fmt.Sprintf("%s: %v", r.Host, err)})
			c.fail(r.Host, err)
			continue
		}
		log.Add(audit.Entry{
			Event: "symbols", Host: r.Host, Location: m.File, Image: r.Image.Name, Notes: m.Notes,
			Raw: &audit.Digest{Digest: acquire.Digest{Bytes: m.Bytes, SHA256: m.SHA256}, Complete: true}, Stored: &audit.Digest{Digest: m.stored(), Complete: true},
			Message: fmt.Sprintf("%s: its symbol file is %s, of %d bytes, sha256 %s", r.Host, m.File, m.stored().Bytes, m.stored().SHA256),
		})
		say(fmt.Sprintf("shotglass: %s: symbols for Volatility 3: %s", r.Host, printable(m.File)))
	}
	return code
}

// wantsSymbols reports whether a symbol file is asked for beside a host's image.
func (o *captureOptions) wantsSymbols(host string) bool {
	if its, ok := o.symbolsOf[host]; ok {
		return its
	}
	return o.Symbols
}

// readSymbols refuses symbol files of what could not give any, and sees to those of encrypted images.
func (o *captureOptions) readSymbols(c *console) error {
	for i := range o.Jobs {
		j := &o.Jobs[i]
		if !o.wantsSymbols(hostOf(*j)) {
			continue
		}
		kinds := o.Engine.Collect
		if j.Collect != nil {
			kinds = j.Collect
		}
		for _, want := range symbolItems {
			if !slices.ContainsFunc(kinds, func(k live.Kind) bool { return k.Name == want }) {
				return usagef("%s: --symbols is made of %s, and --collect leaves out %s", hostOf(*j), strings.Join(symbolItems, ", "), want)
			}
		}
		if o.sealed == nil {
			o.sealed = newSealedSymbols(o.symbolMaker(c))
			o.Engine.Sealed = o.sealed.keep
		}
		o.sealed.hook(j)
	}
	return nil
}

// symbolMaker makes the symbol files of a capture.
func (o *captureOptions) symbolMaker(c *console) *imageSymbols {
	access := o.terms
	access.Spill = ""
	return &imageSymbols{c: c, access: access, most: maxBesideCapture}
}

// symbolItems are what --symbols wants of --collect.
var symbolItems = []string{"version", "vmcoreinfo", "btf", "kallsyms"}

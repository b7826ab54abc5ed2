package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/acquire/symbols"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// A triageRun is one triage.
type triageRun struct {
	c          *console
	name       string
	access     s3.Options
	ids        []age.Identity
	signers    *signature.AllowedSigners
	unverified bool
	symbols    string
	unpack     bool
	o          triage.Options
	manifest   *acquire.Manifest // nil: none, or not asked
}

// verify finds Volatility, and reads the image against its manifest.
func (t *triageRun) verify(ctx context.Context, rep *triage.Report) error {
	where, base, err := place(ctx, t.name, t.access)
	if err != nil {
		return err
	}
	if !t.unverified {
		if err := ofCaptured(ctx, where, t.name, base, "shotglass triage", "; --unverified takes this one all the same, on record"); err != nil {
			return err
		}
	}
	if err := t.o.Find(ctx); err != nil { // an image may take hours to verify
		return volatilityError(ctx, err)
	}
	if t.unverified {
		if m, err := acquire.ManifestOf(ctx, where, base); err == nil {
			t.manifest = m // of its word only which module was loaded is used
		}
		return nil
	}
	v, err := acquire.Verify(ctx, where, base, acquire.VerifyOptions{Signers: t.signers, Identities: t.ids})
	var locked *acquire.IdentityError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &hinted{err, "--unverified takes an image without a manifest"}
	case errors.As(err, &locked):
		return &hinted{err, identityHint}
	case err != nil:
		return err
	case v.Verdict == acquire.VerdictMismatch, v.Verdict == acquire.VerdictUntrusted && t.signers != nil:
		printVerdict(t.c.stderr, t.name, v)
		return &exitError{exitMismatch, &hinted{fmt.Errorf("%s: %s: what memory says here proves nothing", t.name, v.Verdict), "--unverified takes it all the same, on record"}}
	}
	t.manifest, rep.Verified, rep.SHA256 = v.Manifest, v.Verdict, v.Manifest.Image.Raw.SHA256
	t.c.info("%s: %s", t.name, v.Verdict)
	return nil
}

// maxCollected bounds what an archive may hold, in bytes.
const maxCollected = 512 << 20

// load reads what was collected, and finds symbols.
func (t *triageRun) load(ctx context.Context, scratch string, rep *triage.Report) error {
	content, err := t.collected(ctx)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("what was collected beside the image: %w", err)
	}
	folder := filepath.Join(scratch, "symbols")
	if t.symbols != "" {
		rep.Symbols = t.symbols
		return t.given(folder)
	}
	if content["sys/kernel/btf/vmlinux"] == nil {
		data, err := besideSymbols(ctx, t.name, t.access, t.ids)
		if err == nil {
			t.c.warn("no BTF was collected beside the image: taking the symbol file that lies there, which no manifest vouches for")
			rep.Symbols = "the symbol file beside the image, for which no manifest vouches"
			t.o.Symbols = folder
			return saveSymbols(folder, data)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("the symbol file beside the image: %w", err)
		}
		return &hinted{errors.New("there are no symbols: no BTF was collected beside the image, and no symbol file lies there"), "make a symbol file (shotglass symbols, or dwarf2json from debug symbols), and give it with --symbols"}
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(folder, "kernel.json.xz"), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	t.c.info("making symbols of what was collected")
	in, err := symbols.Collected(func(file string) []byte { return content[file] })
	if err != nil {
		t.c.warn("%v", err)
	}
	in.Version = toolInfo().Version
	_, err = symbols.Write(f, in)
	if err := errors.Join(err, f.Close()); err != nil {
		err = fmt.Errorf("make symbols of what was collected: %w", err)
		if errors.As(err, new(*fs.PathError)) { // the disk, not what was collected
			return err
		}
		return &hinted{err, "give a symbol file with --symbols"}
	}
	t.o.Symbols, rep.Symbols = folder, "made of BTF and kallsyms, as collected"
	return nil
}

// given puts a symbol file into a folder of its own, which is what Volatility wants; a folder is taken as it is.
func (t *triageRun) given(folder string) error {
	info, err := os.Stat(t.symbols)
	if err != nil {
		return err
	}
	if info.IsDir() {
		t.o.Symbols = t.symbols
		return nil
	}
	in, err := os.Open(t.symbols)
	if err != nil {
		return err
	}
	defer in.Close()
	data, err := plainSymbols(in, info.Size(), t.ids)
	if err != nil {
		return fmt.Errorf("%s: %w", t.symbols, err)
	}
	t.o.Symbols = folder
	return saveSymbols(folder, data)
}

// saveSymbols writes a symbol file into a new folder, by the name that Volatility wants for how it is compressed.
func saveSymbols(folder string, data []byte) error {
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	ext := ".json"
	for magic, x := range map[string]string{"\xfd7zXZ": ".xz", "\x1f\x8b": ".gz", "BZh": ".bz2"} {
		if bytes.HasPrefix(data, []byte(magic)) {
			ext += x
		}
	}
	return save(filepath.Join(folder, "kernel"+ext), bytes.NewReader(data))
}

func save(name string, r io.Reader) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// vouched is the manifest that the image was verified against; nil: it was not.
func (t *triageRun) vouched() *acquire.Manifest {
	if t.unverified {
		return nil
	}
	return t.manifest
}

// collected reads the archive beside the image, by the names of its files, and sets the host. Of an image that was
// verified it is the one that the manifest lists, item by item: symbols and the comparison rest on it.
func (t *triageRun) collected(ctx context.Context) (map[string][]byte, error) {
	content := map[string][]byte{}
	archive, err := openLive(ctx, strings.TrimSuffix(t.name, sink.PartialSuffix), t.access, t.ids, t.vouched())
	if err != nil {
		return content, err
	}
	defer archive.Close()
	left := int64(maxCollected)
	in, out := io.Pipe()
	defer in.Close()
	go func() {
		_, err := archive.WriteTo(out)
		out.CloseWithError(err)
	}()
	items, err := live.ReadArchive(in, func(it live.Item, r io.Reader) error {
		if r == nil {
			return nil
		}
		b, err := io.ReadAll(io.LimitReader(r, left+1))
		if left -= int64(len(b)); err == nil && left < 0 {
			err = fmt.Errorf("it holds more than %d bytes", maxCollected)
		}
		content[it.File] = b
		return err
	})
	if err != nil {
		return content, err
	}
	if m := t.vouched(); m != nil && !m.Live.Same(items) {
		return content, &exitError{exitMismatch, fmt.Errorf("%s: its list of items is not that of the manifest", archive.name)}
	}
	h := &triage.Host{Items: items, Content: content}
	if m := t.manifest; m != nil && m.Module != nil {
		h.Module = "lime"
	}
	t.o.Host = h
	return content, nil
}

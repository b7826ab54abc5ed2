package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/transport"
)

// collectionOf is what a capture has in memory of files of a host.
func collectionOf(t *testing.T, files map[string]string) *live.Collection {
	t.Helper()
	kinds, err := live.Parse([]string{live.All})
	if err != nil {
		t.Fatal(err)
	}
	c := new(live.Collection)
	kinds = live.At(kinds, live.After)
	r := c.NewReceiver(live.After, kinds, "nonce", time.Now)
	for _, k := range kinds {
		if content, ok := files[k.File]; ok {
			io.WriteString(r, "\n@@nonce + "+k.Name+"\n"+content+"\n@@nonce - 0 "+k.File+"\n")
		}
	}
	io.WriteString(r, "\n@@nonce end\n")
	if err := r.Finish(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestSealedSymbols: the symbol file of an encrypted image is made of what is in memory, can be read with the key alone, and is the one that is
// made of the archive later.
func TestSealedSymbols(t *testing.T) {
	files, err := smallKernel()
	if err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "x.lime.age")
	maker := &imageSymbols{c: newConsole(nil, io.Discard, io.Discard)}
	x := newSealedSymbols(maker)
	contained := false
	job := acquire.Job{Target: transport.Target{Name: "x"}, After: func(context.Context, *acquire.Result) { contained = true }}
	x.hook(&job)
	c := collectionOf(t, files)
	x.keep("x", "x.lime.age", c, []agefile.Recipient{to})
	r := acquire.Result{Host: "x", State: acquire.StateComplete, Image: acquire.Image{Name: "x.lime.age", Location: image, Encryption: "age"}}
	maker.most = 10
	job.After(t.Context(), &r)
	if _, err := x.of(t.Context(), maker, r); err == nil || !strings.Contains(err.Error(), "more than are taken beside a capture") || !contained {
		t.Errorf("%v, contained: %t", err, contained)
	}
	maker.most = 0
	x.keep("x", "x.lime.age", c, []agefile.Recipient{to})
	job.After(t.Context(), &r)
	m, err := x.of(t.Context(), maker, r)
	if err != nil || m.File != image+".isf.json.xz.age" || m.Symbols != 1003 || m.Encrypted == nil || x.kept["x.lime.age"].items != nil {
		t.Fatalf("%+v, %v", m, err)
	}
	stored, err := os.ReadFile(m.File)
	if err != nil || !agefile.Is(stored) || bytes.Contains(stored, []byte("7zXZ")) || int64(len(stored)) != m.stored().Bytes {
		t.Errorf("%d bytes, %v", len(stored), err)
	}
	got, err := besideSymbols(t.Context(), image, s3.Options{}, []age.Identity{id})
	if err != nil || int64(len(got)) != m.Bytes || !bytes.HasPrefix(got, []byte("\xfd7zXZ")) {
		t.Errorf("%d bytes of %d, %v", len(got), m.Bytes, err)
	}
	var h *hinted
	if _, err := besideSymbols(t.Context(), image, s3.Options{}, nil); !errors.Is(err, agefile.ErrNoMatch) || !errors.As(err, &h) {
		t.Errorf("without the key: %v", err)
	}
	// It is the same as of the archive.
	in, err := maker.made(t, files)
	if err != nil || !bytes.Equal(in, got) {
		t.Errorf("of the archive it is another: %v", err)
	}
	// Nothing is replaced; what is cut is no symbol file.
	x.keep("x", "x.lime.age", c, []agefile.Recipient{to})
	job.After(t.Context(), &r)
	if _, err := x.of(t.Context(), maker, r); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if _, err := plainSymbols(bytes.NewReader(stored[:len(stored)-1]), int64(len(stored)-1), []age.Identity{id}); err == nil {
		t.Error("a cut file is taken")
	}
	// Of an image of an earlier run there is one, or the key is needed.
	r.KeptFrom = time.Now()
	y := newSealedSymbols(maker)
	if _, err := y.of(t.Context(), maker, r); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kept: %v", err)
	}
	os.Remove(m.File)
	if _, err := y.of(t.Context(), maker, r); !errors.As(err, &h) || !strings.Contains(h.Hint(), "symbols --identity KEY "+image) {
		t.Errorf("kept, without: %v", err)
	}
	// Nothing is kept of who wants none, of an image that another took the place of, and of one that is not stored.
	x.keep("y", "y.lime.age", c, []agefile.Recipient{to})
	x.keep("x", "x-1.lime.age", c, []agefile.Recipient{to})
	x.keep("x", "x.lime.age", c, []agefile.Recipient{to})
	job.After(t.Context(), &acquire.Result{Host: "x", State: acquire.StateFailed, Image: acquire.Image{Name: "x.lime.age"}})
	if k := x.kept["x.lime.age"]; len(x.kept) != 1 || k.items != nil || k.err == nil {
		t.Errorf("it keeps %v", x.kept)
	}
	// An interruption is no symbol file; what was stored before it is one.
	ctx, stop := context.WithCancel(t.Context())
	stop()
	x.keep("x", "x.lime.age", c, []agefile.Recipient{to})
	job.After(ctx, &r)
	if _, err := x.of(ctx, maker, r); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	x.kept["x.lime.age"] = &sealedItems{m: m}
	var out bytes.Buffer
	r.KeptFrom = time.Time{}
	o := &captureOptions{sealed: x}
	o.Symbols = true
	if code := o.symbols(ctx, maker.c, &runLog{Log: audit.Start(t.Context(), audit.Options{})}, func(s string) { out.WriteString(s) }, []acquire.Result{r}); code != exitOK || !strings.Contains(out.String(), m.File) {
		t.Errorf("stored before the interruption: code %d, %q", code, &out)
	}
}

// TestStoredSymbolsDenied: what cannot be looked at does not hide the other one.
func TestStoredSymbolsDenied(t *testing.T) {
	image := filepath.Join(t.TempDir(), "x.lime.age")
	if err := os.Mkdir(image+".isf.json.xz", 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := storedSymbols(t.Context(), image, s3.Options{}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder, and nothing else: %v", err)
	}
	if err := os.WriteFile(image+".isf.json.xz.age", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := storedSymbols(t.Context(), image, s3.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
}

// made is the symbol file of an archive with files.
func (s *imageSymbols) made(t *testing.T, files map[string]string) ([]byte, error) {
	t.Helper()
	image := filepath.Join(t.TempDir(), "y.lime")
	archive := acquire.LiveName(image, false)
	m := &acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Live: &acquire.Live{Items: writeLiveItems(t, archive, files, func(*live.Item) {}), Complete: true, Image: acquire.Image{Location: archive, Encryption: "none"}}}
	data, err := m.Marshal()
	if err == nil {
		err = os.WriteFile(image+acquire.ManifestSuffix, data, 0o600)
	}
	if err != nil {
		return nil, err
	}
	if _, err := s.write(t.Context(), image); err != nil {
		return nil, err
	}
	return os.ReadFile(image + symbolsSuffix)
}

// TestSymbolsOf: what a host says of symbol files outweighs the defaults, and a flag both; what they are made of must be collected there.
func TestSymbolsOf(t *testing.T) {
	testApp(t)
	_, file := hostsFolder(t, "defaults: {symbols: true}\nhosts:\n- {addr: a, symbols: false}\n- addr: b\n- {addr: c, recipients: [age1jegdaca5fw2wfghqlel59mwhkev6uzqyaxhepvtw6zued92dtgtq08ule8]}\n")
	o := mustParse(t, "-c", file)
	if o.wantsSymbols("a") || !o.wantsSymbols("b") || !o.wantsSymbols("c") || o.sealed == nil || o.Engine.Sealed == nil {
		t.Errorf("%v", o.symbolsOf)
	}
	if o.Jobs[0].After != nil || o.Jobs[2].After == nil {
		t.Error("symbol files are made beside other hosts than those that want them")
	}
	if s := jobSetting(o.Jobs[1], "symbols"); s != [2]string{"true", "file " + file} {
		t.Errorf("%q", s)
	}
	if o := mustParse(t, "-c", file, "--symbols"); !o.wantsSymbols("a") {
		t.Error("the flag does not outweigh the file")
	}
	if o := mustParse(t, "-c", file, "--symbols=false"); o.wantsSymbols("b") || o.sealed != nil {
		t.Error("nor does it when it says no")
	}
	if o := mustParse(t, "--symbols", "--recipient", "age1jegdaca5fw2wfghqlel59mwhkev6uzqyaxhepvtw6zued92dtgtq08ule8", "web1"); o.sealed == nil {
		t.Error("with a recipient there are none")
	}
}

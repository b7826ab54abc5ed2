package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/acquire/symbols"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// sealedSymbols makes the symbol files of images that are encrypted. What they are made of cannot be read again here, so each is made while that
// is in memory, as soon as its host is done and contained, one at a time, and is encrypted to the recipients of the image: it tells the
// kernel and where everything lies in it, as the image and what was collected do.
type sealedSymbols struct {
	s    *imageSymbols
	turn sync.Mutex // held by the one who makes one: that takes 100 MB

	mu    sync.Mutex
	hosts map[string]bool         // that want one
	kept  map[string]*sealedItems // by the name of the image
}

// sealedItems are what a symbol file is made of, some 6 MB, until it is made; then what came of it.
type sealedItems struct {
	host  string
	items *live.Collection
	to    []agefile.Recipient
	m     *symbolsMessage
	err   error
}

func newSealedSymbols(s *imageSymbols) *sealedSymbols {
	return &sealedSymbols{s: s, hosts: map[string]bool{}, kept: map[string]*sealedItems{}}
}

// keep keeps what a symbol file is made of, of hosts that want one. It is acquire's Options.Sealed.
func (x *sealedSymbols) keep(host, image string, c *live.Collection, to []agefile.Recipient) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.hosts[host] {
		x.kept[image] = &sealedItems{host: host, items: c.Only(symbols.Wants), to: to}
	}
}

// hook has a job's symbol file made once all else is done there.
func (x *sealedSymbols) hook(j *acquire.Job) {
	x.hosts[hostOf(*j)] = true
	after := j.After
	j.After = func(ctx context.Context, r *acquire.Result) {
		if after != nil {
			after(ctx, r)
		}
		x.make(ctx, r)
	}
}

// make makes one, if there is anything to make it of, and keeps nothing more of the host but what came of it.
func (x *sealedSymbols) make(ctx context.Context, r *acquire.Result) {
	x.mu.Lock()
	k := x.kept[r.Image.Name]
	for image, one := range x.kept {
		if one.host == r.Host && one != k {
			delete(x.kept, image) // of an image that another took the place of
		}
	}
	x.mu.Unlock()
	if k == nil {
		return
	}
	defer func() { k.items = nil }()
	if r.State == acquire.StateFailed || r.Image.Location == "" {
		k.err = errors.New("the image is not stored")
		return
	}
	x.turn.Lock()
	defer x.turn.Unlock()
	if k.err = context.Cause(ctx); k.err == nil {
		k.m, k.err = x.s.seal(ctx, r.Image.Location, k)
	}
}

// of is what came of an image's symbol file. An image that an earlier run took may have one.
func (x *sealedSymbols) of(ctx context.Context, s *imageSymbols, r acquire.Result) (*symbolsMessage, error) {
	x.mu.Lock()
	k := x.kept[r.Image.Name]
	x.mu.Unlock()
	if k != nil {
		return k.m, k.err
	}
	if !r.KeptFrom.IsZero() {
		there, err := storedSymbols(ctx, r.Image.Location, s.access)
		if err == nil {
			there.Close()
			return nil, fs.ErrExist
		}
	}
	return nil, &hinted{errors.New("what was collected is encrypted, and cannot be read here again"), "where the key is: shotglass symbols --identity KEY " + strings.TrimSuffix(r.Image.Location, sink.PartialSuffix)}
}

// seal makes the symbol file of an image, and stores it beside it, encrypted.
func (s *imageSymbols) seal(ctx context.Context, name string, k *sealedItems) (*symbolsMessage, error) {
	name = strings.TrimSuffix(name, sink.PartialSuffix)
	where, base, err := place(ctx, name, s.access)
	if err != nil {
		return nil, err
	}
	store, ok := where.(sink.Sink)
	if !ok {
		return nil, fmt.Errorf("%s: nothing can be written there", name)
	}
	content := map[string][]byte{}
	for i, it := range k.items.Items {
		if content[it.File], err = k.items.Content(i); err != nil {
			return nil, fmt.Errorf("%s: %w", it.File, err)
		}
	}
	in, err := symbols.Collected(func(file string) []byte { return content[file] })
	if err != nil {
		s.c.warn("%s: %v", name, err)
	}
	in.Version = toolInfo().Version
	rep, file, err := s.make(name, in)
	if err != nil {
		return nil, err
	}
	var sealed bytes.Buffer
	w, err := agefile.NewWriter(&sealed, k.to, len(file))
	if err == nil {
		_, err = w.Write(file)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	sum := sha256.Sum256(sealed.Bytes())
	m := &symbolsMessage{File: name + symbolsSuffix + agefile.Suffix, Found: []symbols.Found{}, Report: rep}
	m.Encrypted = &acquire.Digest{Bytes: int64(sealed.Len()), SHA256: hex.EncodeToString(sum[:])}
	return m, storeNew(ctx, store, base+symbolsSuffix+agefile.Suffix, sealed.Bytes())
}

// maxSymbolFile bounds a symbol file that is read, in bytes: those of distributions have 2 MB, dwarf2json's 36.
const maxSymbolFile = 256 << 20

// storedSymbols opens the symbol file beside an image, encrypted or not; fs.ErrNotExist: there is none.
func storedSymbols(ctx context.Context, name string, access s3.Options) (r sink.Reader, err error) {
	where, base, err := place(ctx, strings.TrimSuffix(name, sink.PartialSuffix), access)
	if err != nil {
		return nil, err
	}
	var first error
	for _, suffix := range []string{"", agefile.Suffix} {
		if r, err = where.Open(ctx, base+symbolsSuffix+suffix); err == nil {
			return r, nil
		}
		if first == nil && !errors.Is(err, fs.ErrNotExist) { // without s3:ListBucket, what is not there is denied
			first = err
		}
	}
	if first != nil {
		err = first
	}
	return nil, err
}

// besideSymbols reads the symbol file beside an image, decrypted; fs.ErrNotExist: there is none. No manifest vouches for it.
func besideSymbols(ctx context.Context, name string, access s3.Options, ids []age.Identity) ([]byte, error) {
	r, err := storedSymbols(ctx, name, access)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return plainSymbols(r, r.Size(), ids)
}

// plainSymbols reads a symbol file, encrypted or not.
func plainSymbols(r io.ReaderAt, size int64, ids []age.Identity) ([]byte, error) {
	if size > maxSymbolFile {
		return nil, fmt.Errorf("the symbol file has %d bytes, more than %d", size, maxSymbolFile)
	}
	data, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil || !agefile.Is(data[:min(len(data), 64)]) {
		return data, err
	}
	plain, err := agefile.Open(bytes.NewReader(data), size, ids...)
	if errors.Is(err, agefile.ErrNoMatch) {
		return nil, &hinted{fmt.Errorf("the symbol file: %w", err), identityHint}
	}
	if err != nil {
		return nil, fmt.Errorf("the symbol file: %w", err)
	}
	if t := plain.Tail(); t != nil {
		return nil, fmt.Errorf("the symbol file: %w", t)
	}
	return io.ReadAll(io.NewSectionReader(plain, 0, plain.Size()))
}

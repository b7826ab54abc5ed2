package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	memory "github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const viewsText = `The image may be in any form that shotglass stores: plain, zstd, s2, encrypted (--identity), s3://bucket/key, partial. Parts are decoded as they are read,
and held against the digests that the manifest vouches for; a damaged part is an I/O error in its place, and told.`

// viewFlags say how an image is opened to be read in place.
func viewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "signers", TakesFile: true, Usage: "`FILE` of allowed signers: only an image that one of them signed", EnvVars: env("SIGNERS")},
		&cli.BoolFlag{Name: "unchecked", Usage: "look at no manifest and no digest: for an image that does not agree with them", DisableDefaultText: true},
		&cli.StringFlag{Name: "cache", EnvVars: env("CACHE"), Usage: "keep `SIZE` of what was decoded in memory", Value: "256MiB"},
		&cli.DurationFlag{Name: "read-timeout", EnvVars: env("READ_TIMEOUT"), Usage: "give up a read after this `TIME`; the next tries again", Value: 30 * time.Second},
		jsonFlag(),
	}
}

// viewed is an image with its views.
type viewed struct {
	*memory.Image
	views    []shown
	symbols  []byte // of the symbol file beside the image; nil: there is none
	patience time.Duration
	say      *nagger
}

// shown is a view under a name.
type shown struct {
	Name string `json:"name"` // of a file
	What string `json:"what"`
	*memory.View
	Bytes int64 `json:"bytes"`
}

// openViews opens the image that the command is about, and says what vouches for it.
func openViews(ctx context.Context, c *console, cc *cli.Context, name string) (*viewed, error) {
	v := &viewed{patience: cc.Duration("read-timeout"), say: &nagger{c: c, said: map[string]time.Time{}}}
	o := memory.Options{Unchecked: cc.Bool("unchecked"), Damaged: v.say.damage}
	var err error
	if o.Cache, err = parseSize(cc.String("cache")); err != nil || o.Cache < 1<<20 {
		return nil, usagef("--cache %q: want a size of 1MiB or more", cc.String("cache"))
	}
	if v.patience <= 0 {
		return nil, usagef("--read-timeout %s: want a time above 0", v.patience)
	}
	if file := cc.String("signers"); file != "" {
		if o.Unchecked {
			return nil, usagef("--signers and --unchecked exclude each other")
		}
		if o.Signers, err = readSigners(file); err != nil {
			return nil, err
		}
	}
	if o.Identities, err = readIdentities(c, cc); err != nil {
		return nil, err
	}
	access := s3Access(cc)
	access.ReadWithin = v.patience - v.patience/5 // so that who reads is told why, and not just that it took too long
	access.Warn = func(text string) { c.warn("%s", text) }
	if v.Image, err = openMemory(ctx, name, access, o); err != nil {
		return nil, fmt.Errorf("%s: %w", name, viewError(err))
	}
	v.trust(c, o.Unchecked)
	var note []byte
	if v.Trust().Converted == nil { // its record vouches for no archive, and one that lies there by its name is anybody's
		note, err = vmcoreinfo(ctx, name, access, o.Identities, v.Trust().Manifest)
	}
	if err != nil { // memory is there all the same
		c.warn("%s: VMCOREINFO is left out of the ELF core: what was collected beside the image: %v", name, err)
	}
	var direct uint64
	if note != nil {
		if direct, err = v.directMap(ctx, note); err != nil {
			c.warn("%s: the ELF core has no virtual addresses (p_vaddr is 0): %v", name, err)
		}
	}
	if v.symbols, err = besideSymbols(ctx, name, access, o.Identities); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.warn("%s: its symbol file is left out: %v", name, err)
	}
	base := viewBase(name)
	v.views = []shown{{Name: base + ".lime", What: "the LiME stream, as captured", View: v.Lime()}}
	for _, more := range []struct {
		suffix, what string
		open         func() (*memory.View, error)
	}{
		{".raw", "memory by physical address, zeros where there is none", v.Raw},
		{".elf", elfWhat(note, direct), func() (*memory.View, error) { return v.ELF(v.Machine(), note, direct) }},
	} {
		w, err := more.open()
		if err != nil {
			c.warn("%s: no view %s: %v", name, more.suffix, err)
			continue
		}
		v.views = append(v.views, shown{Name: base + more.suffix, What: more.what, View: w})
	}
	for i := range v.views {
		v.views[i].Bytes = v.views[i].Size()
	}
	return v, nil
}

// directMap is where the kernel mapped memory. Who mounts waits for that, within --read-timeout.
func (v *viewed) directMap(ctx context.Context, note []byte) (uint64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, v.patience, fmt.Errorf("nothing came within %s", v.patience))
	defer cancel()
	return v.DirectMap(ctx, v.Machine(), note)
}

func elfWhat(note []byte, direct uint64) string {
	switch {
	case note == nil:
		return "ELF core, without VMCOREINFO"
	case direct == 0:
		return "ELF core, with VMCOREINFO"
	}
	return fmt.Sprintf("ELF core, with VMCOREINFO, the direct map at %#x", direct)
}

// openMemory opens an image at a location. One on disk may have any name; then it has no manifest.
func openMemory(ctx context.Context, name string, access s3.Options, o memory.Options) (*memory.Image, error) {
	if !s3.IsURL(name) {
		info, err := os.Lstat(name)
		odd := sink.ValidName(strings.TrimSuffix(filepath.Base(name), sink.PartialSuffix)) != nil
		if err == nil && (odd || info.Mode()&fs.ModeSymlink != 0) {
			return openOdd(ctx, name, o)
		}
	}
	where, base, err := place(ctx, name, access)
	if err != nil {
		return nil, err
	}
	return memory.Open(ctx, where, base, o)
}

// openOdd opens a file that our sinks have no name for. A link is followed, to where the manifest is.
func openOdd(ctx context.Context, name string, o memory.Options) (*memory.Image, error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	if sink.ValidName(strings.TrimSuffix(filepath.Base(target), sink.PartialSuffix)) == nil {
		disk, err := sink.NewDisk(filepath.Dir(target))
		if err != nil {
			return nil, err
		}
		return memory.Open(ctx, disk, filepath.Base(target), o)
	}
	f, err := os.Open(target)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	img, err := memory.OpenFile(ctx, f, info.Size(), name, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	context.AfterFunc(ctx, func() { f.Close() })
	return img, nil
}

// viewError adds what helps, and the exit code.
func viewError(err error) error {
	var mismatch *memory.MismatchError
	switch {
	case errors.As(err, &mismatch):
		return &exitError{exitMismatch, &hinted{err, "shotglass verify tells everything that differs; --unchecked reads the image all the same"}}
	case errors.Is(err, memory.ErrUntrusted):
		return &exitError{exitMismatch, &hinted{err, signersHint}}
	case errors.Is(err, agefile.ErrNoMatch):
		return &hinted{err, identityHint}
	case errors.Is(err, memory.ErrSequential):
		return &hinted{err, "unpack it once: shotglass cat IMAGE > image.lime"}
	case errors.Is(err, frame.ErrFormat):
		return &hinted{err, formatHint}
	}
	return err
}

// formatHint is for a file that is no LiME, and may be memory all the same.
const formatHint = "of an ELF core, AVML or a raw image make LiME first: shotglass convert --form zstd IMAGE"

// trust says what vouches for the image, and what is missing of it.
func (v *viewed) trust(c *console, unchecked bool) {
	t, at := v.Trust(), v.Location()
	paper := "manifest"
	if t.Converted != nil {
		paper = "record of its conversion"
	}
	complete, reasons, vouched := v.claim()
	switch {
	case unchecked:
		c.warn("%s: nothing is checked (--unchecked)", at)
	case !vouched:
		c.warn("%s: there is no manifest: nothing vouches for the image", at)
	case !t.Signature.Present:
		c.warn("%s: the %s is not signed: whoever could change the image could change it too", at, paper)
	case !t.Signature.Trusted:
		c.warn("%s: signed by %s, whom nobody named as trusted (--signers)", at, t.Signature.Fingerprint)
	}
	if vouched && !t.Digests {
		c.warn("%s: the %s has no digests of parts: shotglass verify checks the whole", at, paper)
	}
	if !complete {
		c.warn("%s: the image is partial: %s", at, printable(strings.Join(reasons, "; ")))
	}
	for _, err := range []error{v.Tail(), v.Defect()} {
		if err != nil {
			c.warn("%s: %v; what lies before it is shown", at, err)
		}
	}
}

// claim is what manifest or record say of the image, if there is one: whether it is complete, and why not. An image for which nothing vouches
// is not called partial.
func (v *viewed) claim() (complete bool, reasons []string, vouched bool) {
	switch t := v.Trust(); {
	case t.Manifest != nil:
		return t.Manifest.Complete, t.Manifest.Reasons, true
	case t.Converted != nil:
		return t.Converted.Complete, t.Converted.Reasons, true
	}
	return true, nil, false
}

// code is the exit code that what was met deserves.
func (v *viewed) code() int {
	complete, _, _ := v.claim()
	switch {
	case v.say.damages() > 0:
		return exitMismatch
	case v.Tail() != nil, v.Defect() != nil, !complete:
		return exitPartial
	}
	return exitOK
}

// viewBase is the name of an image without what says how it is stored.
func viewBase(name string) string {
	name = path.Base(filepath.ToSlash(name))
	for _, suffix := range []string{acquire.ManifestSuffix, sink.PartialSuffix, agefile.Suffix, frame.Suffix(frame.Zstd), frame.Suffix(frame.S2), ".lime"} {
		name = strings.TrimSuffix(name, suffix)
	}
	if name == "" || name == "." || name == "/" {
		return "memory"
	}
	return name
}

// A nagger tells of reads that fail, and of the same failure once in a while only: who reads tries often.
type nagger struct {
	c *console

	mu   sync.Mutex
	said map[string]time.Time
	bad  int
	lost int
}

// nagEvery is how often the same is told again.
const nagEvery = 30 * time.Second

// damage is told of a damaged frame once.
func (n *nagger) damage(err error) {
	n.mu.Lock()
	n.bad++
	many := n.bad > 100
	n.mu.Unlock()
	if !many {
		n.c.fail("", fmt.Errorf("damaged: %w", err))
	}
}

func (n *nagger) damages() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad
}

// failures counts the reads that failed, but for those of damaged parts.
func (n *nagger) failures() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lost
}

// failed is told of a read that failed. Damage has been told.
func (n *nagger) failed(file string, off int64, err error) {
	if memory.Damage(err) {
		return
	}
	n.mu.Lock()
	n.lost++
	last, ok := n.said[err.Error()]
	if ok && time.Since(last) < nagEvery || len(n.said) > 1000 {
		n.mu.Unlock()
		return
	}
	n.said[err.Error()] = time.Now()
	n.mu.Unlock()
	n.c.fail("", fmt.Errorf("%s: read at %d failed: %w; whoever read it was told, and may try again", file, off, err))
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

var errAbsent = fmt.Errorf("not there: %w", fs.ErrNotExist)

// PublishOptions say how a repository is published. Signer is required.
type PublishOptions struct {
	Signer Signer
	// Trust are keys that may vouch for what is published there now, beside the signer's own: those before
	// it. What nobody vouches for is not built upon.
	Trust *Pins
	// Manifest is the list to publish, which need not be there yet; empty means DefaultManifest. Others stay as they are; each must be
	// there with its digest, and a key that did not sign the state before wants them to be empty.
	Manifest string
	// Cache is as that of Options: it remembers revisions, so that an older state that somebody
	// put there again is not signed anew. What is there is never taken from it.
	Cache string
	// Packager is what the list says of who made the modules.
	Packager string
	// Replace lets a module take the place of another one for the same kernel.
	Replace bool
	// Withdraw are kernel releases whose modules are no longer to be listed. Their files stay.
	Withdraw []string
	// Check judges a module before it is published, beside what this package checks; nil: nothing more.
	Check func(*kernelmodules.Module) error
	Log   *slog.Logger // nil discards

	now func() time.Time
}

// A Publication is what a repository has now.
type Publication struct {
	URL      string    `json:"url"`
	Revision uint64    `json:"revision"`
	Key      string    `json:"key"`              // fingerprint of the primary key that vouches for it
	Expires  time.Time `json:"expires,omitzero"` // when that stops
	// Modules are what the list names, in its order, and what is no longer in it, last.
	Modules []PublishedModule `json:"-"`
}

// A PublishedModule is a module of a publication.
type PublishedModule struct {
	Entry
	State string // one of the values below
}

// States of a PublishedModule.
const (
	StateAdded     = "added"
	StateKept      = "kept"      // was there
	StateReplaced  = "replaced"  // another one for its kernel is listed in its place
	StateWithdrawn = "withdrawn" // is listed no more
)

// Publish makes modules part of the repository in d, which need not be there yet, and signs it. It refuses
// to do anything if one of the modules is bad, or one that is there.
//
// Whoever reads the repository meanwhile sees the old state or the new, each whole, also when Publish is
// killed, and when two publish at once: then one of them gets ErrChanged or ErrBusy, having changed nothing that is
// listed. All that is new goes under names that held nothing, so that no module's bytes ever change under its name. What leads to it
// changes last, see commit.
func Publish(ctx context.Context, d Depot, modules []*kernelmodules.Module, o PublishOptions) (*Publication, error) {
	if o.Manifest == "" {
		o.Manifest = DefaultManifest
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.now == nil {
		o.now = time.Now
	}
	p := &publisher{d: d, o: o}
	if err := p.check(modules); err != nil {
		return nil, err
	}
	if err := p.openKey(ctx); err != nil {
		return nil, err
	}
	release, err := d.Lock(ctx)
	if err != nil {
		return nil, fmt.Errorf("repository %s: %w", d, err)
	}
	defer release()
	for _, step := range []func(context.Context) error{
		p.look,
		func(ctx context.Context) error { return p.merge(modules) },
		p.checkOthers, p.checkKept, p.store, p.compose, p.rehearse, p.commit,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return p.read(ctx)
}

// A publisher is a publication under way.
type publisher struct {
	d Depot
	o PublishOptions

	key     *openpgp.Entity
	pins    *Pins // that key
	expires time.Time

	there map[string]*stored // the files that change, as they were
	old   *Store             // what was there; nil: nothing
	was   *contents          // its contents
	lists map[string]list    // its lists

	entries []Entry
	fresh   map[string]*kernelmodules.Module // of entries, by checksum: those to store
	gone    []PublishedModule

	revision               uint64
	repomd, signature, asc []byte // as they are to be
}

// stored is a file as it was looked at.
type stored struct {
	data    []byte // nil: not there
	version string
}

// check refuses modules that nobody should load. All that is wrong is told.
func (p *publisher) check(modules []*kernelmodules.Module) error {
	var errs []error
	seen := map[string]*kernelmodules.Module{}
	for _, m := range modules {
		release := m.Release()
		k := kernelmodules.Kernel{Release: release, Machine: m.Machine}
		err := m.Check(k)
		if err == nil {
			err = m.CheckImports(nil)
		}
		if err == nil && p.o.Check != nil {
			err = p.o.Check(m)
		}
		if _, perr := safePath("modules/" + fileName(release, m.Machine)); err == nil && perr != nil {
			err = fmt.Errorf("module %s: the release %q cannot be part of a file's name", m.Origin, release)
		}
		other := seen[release+" "+m.Machine]
		if err == nil && other != nil && other.SHA256 != m.SHA256 {
			err = fmt.Errorf("%s and %s are for one kernel, %s (%s), and differ: publish one of them", other.Origin, m.Origin, release, m.Machine)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		seen[release+" "+m.Machine] = m
	}
	return errors.Join(errs...)
}

// openKey proves that the key makes signatures that readers accept: afterwards would be too late.
func (p *publisher) openKey(ctx context.Context) error {
	raw, err := p.o.Signer.Key(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeys(raw)
	if err != nil {
		return fmt.Errorf("the public key %w", err)
	}
	if len(keys) != 1 || keys[0].PrivateKey != nil {
		return fmt.Errorf("the public key is %d keys, or a private one", len(keys))
	}
	p.key, p.pins = keys[0], &Pins{}
	cfg := &packet.Config{Time: p.o.now, RejectHashAlgorithms: weak}
	if _, err := p.key.VerifyPrimaryKey(p.o.now(), cfg); err != nil {
		return fmt.Errorf("readers would refuse what is signed with it: it %w", keyTrouble(p.key, err, cfg))
	}
	p.pins.add(fingerprintOf(p.key))
	if p.asc, err = armored(p.key); err != nil {
		return err
	}
	test := []byte("shotglass: does this key sign?\n")
	sig, err := p.sign(ctx, "a test", test)
	if err != nil {
		return err
	}
	if sigs, err := readSignatures(sig); err == nil {
		p.expires = expiry(p.key, sigs[0], p.o.now())
	}
	return nil
}

// sign signs, and checks the signature as readers will.
func (p *publisher) sign(ctx context.Context, name string, data []byte) ([]byte, error) {
	sig, err := p.o.Signer.Sign(ctx, data)
	if err != nil {
		return nil, err
	}
	if err := p.ours(data, sig); err != nil {
		return nil, fmt.Errorf("readers would refuse the signature of %s: it %w", name, err)
	}
	return sig, nil
}

// ours says whether our key signed data.
func (p *publisher) ours(data, sig []byte) error {
	ring, err := p.pins.ring(p.asc, nil)
	if err == nil {
		_, err = verify(ring, data, sig, p.o.now())
	}
	return err
}

// look reads what is there now, and refuses to build upon what nobody vouches for. It looks twice, as readers
// do: between two of the files somebody else may have published.
func (p *publisher) look(ctx context.Context) (err error) {
	for range 2 {
		if err = p.lookOnce(ctx); !errors.Is(err, ErrUntrusted) {
			break
		}
	}
	return err
}

func (p *publisher) lookOnce(ctx context.Context) error {
	p.there = map[string]*stored{}
	files := map[string][]byte{}
	for _, f := range []struct {
		name  string
		limit int64
	}{{repomdFile, maxRepomd}, {repomdFile + ".sig", maxSignature}, {keyFile, maxKey}, {keyJSON, maxKey}} {
		data, version, err := p.d.Look(ctx, f.name, f.limit)
		if err != nil {
			return &FileError{Repository: p.d.String(), File: f.name, Err: fmt.Errorf("cannot be read: %w", err)}
		}
		p.there[f.name] = &stored{data, version}
		files[f.name] = data
		if version == "" {
			files[f.name] = nil
		}
	}
	if p.there[repomdFile].version == "" {
		return p.vacant()
	}
	if p.there[repomdFile+".sig"].version == "" {
		delete(files, repomdFile+".sig") // the reader looks for another
	}
	trust := &Pins{fingerprints: slices.Clone(p.pins.fingerprints)}
	if p.o.Trust != nil {
		trust.files = p.o.Trust.files
		for _, f := range p.o.Trust.fingerprints {
			trust.add(f)
		}
	}
	var err error
	if p.old, err = New(&overlay{p.d, files}, Options{Pins: trust, Manifest: p.o.Manifest, Cache: p.o.Cache, Reread: true, Log: p.o.Log, lacks: true, now: p.o.now}); err != nil {
		return err
	}
	if p.was, err = p.old.load(ctx); err != nil {
		return fmt.Errorf("what is there now is not built upon: %w", err)
	}
	md, err := parseRepomd(p.there[repomdFile].data)
	if err != nil {
		return err
	}
	p.lists = md.lists
	if _, ok := p.lists[p.o.Manifest]; !ok {
		p.o.Log.Warn("the list is new: who reads the repository has to ask for it by its name", "repository", p.d.String(), "list", p.o.Manifest,
			"others", quoted(slices.Sorted(maps.Keys(p.lists))))
	}
	return nil
}

// vacant looks at a place without a repository.
func (p *publisher) vacant() error {
	p.lists = map[string]list{}
	if data := p.there[keyFile].data; data != nil {
		if keys, err := parseKeys(data); err != nil || !slices.ContainsFunc(keys, func(k *openpgp.Entity) bool { return fingerprintOf(k) == fingerprintOf(p.key) }) {
			return &FileError{Repository: p.d.String(), File: keyFile, Err: errors.New("is there, is not the key to sign with, and there is no repository: is this the right place?")}
		}
	}
	return nil
}

// merge says what is to be listed.
func (p *publisher) merge(modules []*kernelmodules.Module) error {
	p.fresh = map[string]*kernelmodules.Module{}
	var old []Entry
	if p.was != nil {
		old = slices.Clone(p.was.entries)
	}
	var errs []error
	for _, release := range p.o.Withdraw {
		n := len(old)
		old = slices.DeleteFunc(old, func(e Entry) bool {
			if e.Release == release {
				p.gone = append(p.gone, PublishedModule{e, StateWithdrawn})
			}
			return e.Release == release
		})
		if len(old) == n {
			errs = append(errs, fmt.Errorf("no module for %q is listed: it cannot be withdrawn", release))
		}
	}
	for _, m := range modules {
		same := func(e Entry) bool { return e.Release == m.Release() && machine(e.Arch) == m.Machine }
		if slices.ContainsFunc(old, func(e Entry) bool { return same(e) && e.Checksum == m.SHA256 }) {
			continue
		}
		old = slices.DeleteFunc(old, func(e Entry) bool {
			if same(e) && p.o.Replace {
				p.gone = append(p.gone, PublishedModule{e, StateReplaced})
			} else if same(e) {
				errs = append(errs, &TakenError{p.d.String(), e, m})
			}
			return same(e) && p.o.Replace
		})
		if p.fresh[m.SHA256] == nil {
			p.fresh[m.SHA256] = m
			p.entries = append(p.entries, Entry{
				Name: fileName(m.Release(), m.Machine), Release: m.Release(), Arch: m.Machine, Checksum: m.SHA256,
				Packager: strings.TrimSpace(p.o.Packager), Platform: "linux",
			})
		}
	}
	p.entries = append(p.entries, old...)
	return errors.Join(errs...)
}

// A TakenError is about a kernel for which the repository has another module.
type TakenError struct {
	Repository string
	Have       Entry
	Module     *kernelmodules.Module
}

func (e *TakenError) Error() string {
	return fmt.Sprintf("repository %s: %s is another module for %q (%s): its sha256 is %s, that of %s is %s",
		e.Repository, e.Have.Path, e.Have.Release, e.Have.Arch, e.Have.Checksum, e.Module.Origin, e.Module.SHA256)
}

// Hint says what to do.
func (e *TakenError) Hint() string {
	return "leave it out, or pass --replace to list the new one in its place; the old file stays"
}

// checkOthers checks that the lists which are not ours to change are there as they were signed: they are named
// under a new signature. Their modules are vouched for as before. But another key did not vouch for
// them, and nobody here judges them.
func (p *publisher) checkOthers(ctx context.Context) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(p.lists)) {
		if name == p.o.Manifest {
			continue
		}
		l := p.lists[name]
		packed, err := p.old.packed(ctx, l)
		if err != nil {
			if f, ok := errors.AsType[*FileError](err); ok {
				f.Advice = "put the file back as it was signed, or publish to another place"
			}
			errs = append(errs, fmt.Errorf("the list %q is bad: %w", name, err))
			continue
		}
		if !p.goesOver() {
			continue
		}
		if entries, err := p.old.unpacked(l, packed); err == nil && len(entries) == 0 {
			continue
		}
		errs = append(errs, &FileError{Repository: p.d.String(), File: repomdFile,
			Err:    fmt.Errorf("names the list %q, too, of which this key signed nothing: signing it would vouch for what nobody read", name),
			Advice: fmt.Sprintf("publish to another place with this key; or, if %q is a list of modules, withdraw them all with the key before, go over with the empty list, and publish them again: --repository-manifest %[1]q", name)})
	}
	return errors.Join(errs...)
}

// goesOver says that another key than ours vouches for what was there.
func (p *publisher) goesOver() bool { return p.was != nil && p.was.signer.key != fingerprintOf(p.key) }

// checkKept checks each module that stays, as the repository has it now: what is signed anew is vouched
// for anew.
func (p *publisher) checkKept(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	errs := make([]error, len(p.entries))
	for i, e := range p.entries {
		if p.fresh[e.Checksum] != nil {
			continue
		}
		g.Go(func() error {
			_, errs[i] = p.old.Get(gctx, e)
			return gctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("a module that is listed is bad (--withdraw RELEASE takes it off the list): %w", err)
	}
	return nil
}

// atOnce is how many files are read at once.
const atOnce = 8

// read reads what was published, as others do, which also remembers its revision.
func (p *publisher) read(ctx context.Context) (*Publication, error) {
	s, err := New(p.d, Options{Pins: p.pins, Manifest: p.o.Manifest, Cache: p.o.Cache, Reread: true, Log: p.o.Log, now: p.o.now})
	if err != nil {
		return nil, err
	}
	c, err := s.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("revision %d is published, but reading it again fails: %w", p.revision, err)
	}
	out := &Publication{URL: p.d.String(), Revision: c.revision, Key: c.signer.key, Expires: p.expires}
	for _, e := range c.entries {
		state := StateKept
		if p.fresh[e.Checksum] != nil {
			state = StateAdded
		}
		out.Modules = append(out.Modules, PublishedModule{e, state})
	}
	out.Modules = append(out.Modules, p.gone...)
	return out, nil
}

// others are the lists that are not ours to change.
func (p *publisher) others() map[string]list { return maps.Clone(p.lists) }

// short names a digest in a file's name.
func short(digest string) string { return strings.ToLower(digest[:12]) }

package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// store stores what is new: modules and their signatures, and new signatures of those that
// another key signed. Nothing leads to it yet.
func (p *publisher) store(ctx context.Context) error {
	for i := range p.entries {
		e := &p.entries[i]
		m := p.fresh[e.Checksum]
		switch {
		case m != nil:
			base := "modules/" + e.Name
			var err error
			if e.Path, err = p.put(ctx, m.Data, kernelmodules.MaxSize, nil, base, base[:len(base)-len(".ko")]+"-"+short(e.Checksum)+".ko"); err != nil {
				return err
			}
		case e.Signature == "": // was published without
			continue
		default:
			if !p.goesOver() {
				continue
			}
			var err error
			if m, err = p.old.Get(ctx, *e); err != nil {
				return err
			}
		}
		sig, err := p.sign(ctx, e.Path, m.Data)
		if err != nil {
			return err
		}
		good := func(have []byte) bool { return p.ours(m.Data, have) == nil }
		if e.Signature, err = p.put(ctx, sig, maxSignature, good, e.Path+".sig", e.Path+"."+short(digestOf(sig))+".sig"); err != nil {
			return err
		}
	}
	return nil
}

// put stores data under the first of names that holds nothing, or holds the same, or what is as good.
func (p *publisher) put(ctx context.Context, data []byte, limit int64, good func([]byte) bool, names ...string) (string, error) {
	for _, name := range names {
		for try := 0; ; try++ {
			have, version, err := p.d.Look(ctx, name, limit)
			if _, long := errors.AsType[refusal](err); long {
				break // is taken
			}
			if err != nil {
				return "", &FileError{Repository: p.d.String(), File: name, Err: fmt.Errorf("cannot be read: %w", err)}
			}
			if version != "" {
				if bytes.Equal(have, data) || good != nil && good(have) {
					return name, nil
				}
				break // is taken
			}
			_, err = p.d.Put(ctx, name, data, "")
			if errors.Is(err, ErrChanged) && try == 0 {
				continue // another publisher was faster, perhaps with the same
			}
			if err != nil {
				return "", &FileError{Repository: p.d.String(), File: name, Err: fmt.Errorf("cannot be written: %w", err)}
			}
			return name, nil
		}
	}
	return "", &FileError{Repository: p.d.String(), File: names[len(names)-1], Err: errors.New("is there, and different: nothing is overwritten")}
}

// compose makes and stores the list, and makes what leads to it.
func (p *publisher) compose(ctx context.Context) error {
	sortEntries(p.entries)
	data := composeList(p.entries)
	packed, err := pack(data)
	if err != nil {
		return err
	}
	l := list{checksum: digestOf(packed), open: digestOf(data), size: int64(len(packed)), openSize: int64(len(data))}
	base := "-" + p.o.Manifest + ".xml.gz"
	// Another program packs the same list into other bytes.
	good := func(have []byte) bool {
		out, err := unpackList(have, l.openSize)
		if err != nil || digestOf(out) != l.open {
			return false
		}
		l.checksum, l.size = digestOf(have), int64(len(have))
		return true
	}
	if l.href, err = p.put(ctx, packed, maxPacked, good, "repodata/"+l.open+base, "repodata/"+l.checksum+base); err != nil {
		return err
	}
	p.revision = uint64(p.o.now().Unix())
	if p.was != nil {
		p.revision = max(p.revision, p.was.revision+1)
	}
	md := &repomd{revision: p.revision, lists: p.others()}
	md.lists[p.o.Manifest] = l
	p.repomd = composeRepomd(md, p.o.now())
	p.signature, err = p.sign(ctx, repomdFile, p.repomd)
	if err == nil {
		p.asc, err = p.keys()
	}
	return err
}

// keys is the key file as it is to be: our key, and the one that vouches for the state before, for those
// who read that meanwhile.
func (p *publisher) keys() ([]byte, error) {
	list := []*openpgp.Entity{p.key}
	if p.goesOver() {
		served, err := parseKeys(p.there[keyFile].data)
		if err == nil {
			for _, k := range served {
				if fingerprintOf(k) == p.was.signer.key {
					list = append(list, k)
				}
			}
		}
	}
	return armored(list...)
}

// rehearse reads the repository as it would be, of what is stored already, as somebody does who
// pinned our fingerprint and has seen nothing before.
func (p *publisher) rehearse(ctx context.Context) error {
	s, err := New(&overlay{p.d, map[string][]byte{repomdFile: p.repomd, repomdFile + ".sig": p.signature, keyFile: p.asc}},
		Options{Pins: p.pins, Manifest: p.o.Manifest, Log: p.o.Log, now: p.o.now})
	if err != nil {
		return err
	}
	c, err := s.load(ctx)
	if err == nil && !slices.Equal(c.entries, p.entries) {
		err = errors.New("its list is read as another one")
	}
	if err != nil {
		return fmt.Errorf("nothing is published: what would be cannot be read: %w", err)
	}
	for _, e := range p.entries {
		if m := p.fresh[e.Checksum]; m == nil && !p.goesOver() {
			continue // checkKept read it as it is
		}
		if _, err := s.Get(ctx, e); err != nil {
			return fmt.Errorf("nothing is published: what would be cannot be read: %w", err)
		}
	}
	return nil
}

// maxPending is how many signatures of publications that were cut off are kept.
const maxPending = maxSignatures - 2

// commit switches from the old state to the new. Two files must change, the list of lists and its
// signature, and no place changes two at once. But a signature file may hold several signatures, of which
// one that is good is enough. So
//
//  1. the new signature is added to those that are there,
//  2. repomd.xml is replaced,
//  3. the other signatures are taken away, for programs that want each to be good, such as gpg.
//
// Cut off after any of these, the repository is good. Each is done only if the file is still the one that was
// looked at: signatures that others added meanwhile are never dropped, and of two who publish at once only the
// first gets through step 2.
func (p *publisher) commit(ctx context.Context) error {
	name := repomdFile + ".sig"
	both, err := p.joined(ctx)
	if err != nil {
		return err
	}
	keys, err := composeKeyJSON(p.key)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		data []byte
	}{{keyFile, p.asc}, {keyJSON, keys}} {
		if _, err := p.replace(ctx, f.name, f.data); err != nil {
			return err
		}
	}
	version, err := p.replace(ctx, name, both)
	if err != nil {
		return err
	}
	if _, err := p.replace(ctx, repomdFile, p.repomd); err != nil {
		return err
	}
	if bytes.Equal(both, p.signature) {
		return nil
	}
	if _, err := p.d.Put(ctx, name, p.signature, version); err != nil {
		p.o.Log.Warn("the repository is published; its signature file still holds signatures of other states too, which GnuPG calls bad; publishing again mends that",
			"repository", p.d.String(), "error", err)
	}
	return nil
}

// replace replaces a file that was looked at, unless it is the same.
func (p *publisher) replace(ctx context.Context, name string, data []byte) (version string, err error) {
	was := p.there[name]
	if was.version != "" && bytes.Equal(was.data, data) {
		return was.version, nil
	}
	version, err = p.d.Put(ctx, name, data, was.version)
	if err != nil {
		return "", &FileError{Repository: p.d.String(), File: name, Err: fmt.Errorf("cannot be written: %w", err),
			Advice: "the repository is as good as before; publish again"}
	}
	return version, nil
}

// joined is the signature file of step 1.
func (p *publisher) joined(ctx context.Context) ([]byte, error) {
	old := p.there[repomdFile+".sig"].data
	if old == nil && p.was != nil { // under another name
		var err error
		if old, err = p.old.fetchSignature(ctx, repomdFile); err != nil {
			return nil, err
		}
	}
	pending, err := splitSignatures(old)
	if err != nil && p.was != nil {
		return nil, err // it was read before, so that cannot be
	}
	// More of them are from publications that were cut off long ago.
	for len(pending) > maxPending {
		i := slices.IndexFunc(pending, func(sig []byte) bool { return p.was == nil || !p.vouches(sig) })
		pending = slices.Delete(pending, max(0, i), max(0, i)+1)
	}
	both := bytes.Join(append(pending, p.signature), nil)
	err = p.ours(p.repomd, both)
	if err == nil && p.was != nil {
		_, err = p.old.vouched(repomdFile, p.there[repomdFile].data, both, p.there[keyFile].data)
	}
	if err != nil {
		return nil, fmt.Errorf("nothing is published: the signature file would not be good for the old state and the new: %w", err)
	}
	return both, nil
}

// splitSignatures takes a signature file apart, into those that a reader finds in it. It is safe to use on any
// bytes.
func splitSignatures(data []byte) (list [][]byte, err error) {
	sigs, err := readSignatures(data)
	if err != nil {
		return nil, err
	}
	for _, sig := range sigs {
		var b bytes.Buffer
		if err := sig.Serialize(&b); err != nil {
			return nil, err
		}
		list = append(list, b.Bytes())
	}
	return list, nil
}

// vouches says whether a signature is good for the state before.
func (p *publisher) vouches(sig []byte) bool {
	_, err := p.old.vouched(repomdFile, p.there[repomdFile].data, sig, p.there[keyFile].data)
	return err == nil
}

package repository

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

func fuzzRepo(f *testing.F) *repositorytest.Repo {
	return repositorytest.New(f, repositorytest.NewKey(f, nil), repositorytest.Module{Release: "6.1.0", Data: []byte("x"), Signed: true})
}

func FuzzRepomd(f *testing.F) {
	f.Add(fuzzRepo(f).Files[repomdFile])
	f.Add([]byte(`<?xml version="1.0"?><metadata xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision></metadata>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		md, err := parseRepomd(data)
		if err != nil {
			return
		}
		for _, l := range md.lists {
			if p, err := safePath(l.href); err != nil || p != l.href || len(l.checksum) != 64 || len(l.open) != 64 || l.size > maxPacked {
				t.Errorf("list %+v", l)
			}
		}
	})
}

func FuzzList(f *testing.F) {
	repo := fuzzRepo(f)
	for name, data := range repo.Files {
		if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
			list, err := unpackList(data, -1)
			if err != nil {
				f.Fatal(name, err)
			}
			f.Add(list)
		}
	}
	f.Add([]byte(`<modules/>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, err := parseList(data)
		if err != nil {
			return
		}
		for _, e := range entries {
			if p, err := safePath(e.Path); err != nil || p != e.Path || len(e.Checksum) != 64 {
				t.Errorf("entry %+v", e)
			}
		}
	})
}

// FuzzSignature: no bytes but the signer's pass, and none crash.
func FuzzSignature(f *testing.F) {
	repo := fuzzRepo(f)
	data, key := repo.Files[repomdFile], repo.Files[keyFile]
	good := repo.Files[repomdFile+".sig"]
	f.Add(good, key)
	f.Add([]byte("-----BEGIN PGP SIGNATURE-----\n\n"), key)
	pins := &Pins{fingerprints: []string{repositorytest.Fingerprint(repo.Key)}}
	other := append(bytes.Clone(data), ' ')
	f.Fuzz(func(t *testing.T, signature, served []byte) {
		ring, err := pins.ring(served, nil)
		if err != nil {
			return
		}
		if by, err := verify(ring, other, signature, time.Now()); err == nil {
			t.Errorf("accepted for another file: %+v", by)
		}
	})
}

// FuzzSnapshot: a cache may be damaged, or another's. What is read of it is checked as what a server says.
func FuzzSnapshot(f *testing.F) {
	repo := fuzzRepo(f)
	good, err := json.Marshal(snapshot{URL: repo.String(), Repomd: repo.Files[repomdFile], Signature: repo.Files[repomdFile+".sig"], Key: repo.Files[keyFile]})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"repomd":"eA=="}`))
	dir := f.TempDir()
	pins := &Pins{fingerprints: []string{repositorytest.Fingerprint(repo.Key)}}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := New(repo, Options{Pins: pins, Cache: dir, Offline: true})
		if err != nil {
			t.Fatal(err)
		}
		if err := replaceFile(s.cache.snapshotPath(repo.String(), true, 1), data); err != nil {
			t.Fatal(err)
		}
		snap, by, err := s.proven(t.Context())
		if err == nil && (by == nil || !bytes.Equal(snap.Repomd, repo.Files[repomdFile])) {
			t.Errorf("%q passes for %q", snap.Repomd, data)
		}
		if _, err := Prune(t.Context(), dir, PruneOptions{MaxSize: 1}); err != nil {
			t.Error(err)
		}
	})
}

// FuzzCompose: what is written for a list is read as that list, or the list is not read at all.
func FuzzCompose(f *testing.F) {
	f.Add("lime-6.1.0.ko", "x86_64", "6.1.0", "modules/lime-6.1.0.ko", "modules/lime-6.1.0.ko.sig", "me <me@example.org> & \"you\"")
	f.Add("a", "b", "]]>", "c", "", "\x00\r\n\t")
	f.Fuzz(func(t *testing.T, name, arch, release, path, signature, packager string) {
		e := Entry{Name: name, Arch: arch, Release: release, Path: path, Signature: signature, Packager: packager, Platform: "linux", Checksum: digestOf([]byte(name))}
		read, err := parseList(composeList([]Entry{e}))
		if err != nil {
			return // Publish reads what it wrote before anybody else does
		}
		if len(read) != 1 || read[0].Checksum != e.Checksum || read[0].Path != strings.TrimPrefix(path, "./") || read[0].Signature != strings.TrimPrefix(signature, "./") {
			t.Errorf("%+v is read as %+v", e, read)
		}
	})
}

// FuzzPending: a signature file is taken apart into what its reader finds in it.
func FuzzPending(f *testing.F) {
	repo := fuzzRepo(f)
	sig := repo.Files[repomdFile+".sig"]
	f.Add(sig)
	f.Add(append(bytes.Clone(sig), sig...))
	f.Add(sig[:len(sig)-1])
	f.Fuzz(func(t *testing.T, data []byte) {
		sigs, rerr := readSignatures(data)
		split, err := splitSignatures(data)
		if rerr != nil {
			return
		}
		if err != nil || len(split) != len(sigs) {
			t.Fatalf("%d signatures, taken apart into %d: %v", len(sigs), len(split), err)
		}
		again, err := readSignatures(bytes.Join(split, nil))
		if err != nil || len(again) != len(sigs) {
			t.Errorf("%d signatures, put together again %d: %v", len(sigs), len(again), err)
		}
	})
}

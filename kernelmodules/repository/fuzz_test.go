package repository

import (
	"bytes"
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

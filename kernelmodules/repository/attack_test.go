package repository_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

// TestTampering: whatever is changed in a repository is refused, naming the file.
func TestTampering(t *testing.T) {
	const list = "repodata/repomd.xml"
	path := "modules/lime-" + release + ".ko"
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	primary := func(r *repositorytest.Repo) string {
		for name := range r.Files {
			if strings.HasSuffix(name, "-primary.xml.gz") {
				return name
			}
		}
		panic("no list")
	}
	for _, tt := range []struct {
		name string
		do   func(r *repositorytest.Repo)
		says []string
	}{
		{"list of lists", func(r *repositorytest.Repo) {
			r.Files[list] = bytes.Replace(r.Files[list], []byte("<revision>1"), []byte("<revision>2"), 1)
		}, []string{list, "does not fit the file"}},
		{"its signature", func(r *repositorytest.Repo) { r.Files[list+".sig"] = flip(r.Files[list+".sig"]) }, []string{list}},
		{"its signature cut", func(r *repositorytest.Repo) { r.Files[list+".sig"] = r.Files[list+".sig"][:20] }, []string{list, "truncated"}},
		{"its signature empty", func(r *repositorytest.Repo) { r.Files[list+".sig"] = nil }, []string{list, "empty"}},
		{"its signature missing", func(r *repositorytest.Repo) { delete(r.Files, list+".sig") }, []string{list + ".sig"}},
		{"its signature huge", func(r *repositorytest.Repo) { r.Files[list+".sig"] = make([]byte, 1<<20) }, []string{list + ".sig", "more than"}},
		{"a web page for a signature", func(r *repositorytest.Repo) { r.Files[list+".sig"] = []byte("<html>login") }, []string{"web page"}},
		{"a key for a signature", func(r *repositorytest.Repo) { r.Files[list+".sig"] = r.Files["REPO_SIGNING_KEY.asc"] }, []string{"PUBLIC KEY"}},
		{"the signature of another file", func(r *repositorytest.Repo) { r.Files[list+".sig"] = r.Sign([]byte("other")) }, []string{"does not fit"}},
		{"key missing", func(r *repositorytest.Repo) { delete(r.Files, "REPO_SIGNING_KEY.asc") }, []string{"REPO_SIGNING_KEY.asc"}},
		{"key damaged", func(r *repositorytest.Repo) { r.Files["REPO_SIGNING_KEY.asc"] = []byte("-----BEGIN PGP") }, []string{"REPO_SIGNING_KEY.asc"}},
		{"key huge", func(r *repositorytest.Repo) { r.Files["REPO_SIGNING_KEY.asc"] = make([]byte, 2<<20) }, []string{"REPO_SIGNING_KEY.asc", "more than"}},
		{"key served by the attacker", func(r *repositorytest.Repo) {
			r.Key = repositorytest.NewKey(r.T(), nil)
			r.Build()
		}, []string{"REPO_SIGNING_KEY.asc", "not pinned"}},
		{"attacker's signature under the good key", func(r *repositorytest.Repo) {
			good := r.Files["REPO_SIGNING_KEY.asc"]
			r.Key = repositorytest.NewKey(r.T(), nil)
			r.Build()
			r.Files["REPO_SIGNING_KEY.asc"] = good
		}, []string{list, "no pinned key"}},
		{"both keys served", func(r *repositorytest.Repo) {
			good := r.Key
			r.Key = repositorytest.NewKey(r.T(), nil)
			r.Build()
			r.Files["REPO_SIGNING_KEY.asc"] = repositorytest.Armor(r.T(), r.Key, good)
		}, []string{list, "no pinned key"}},
		{"list", func(r *repositorytest.Repo) { r.Files[primary(r)] = flip(r.Files[primary(r)]) }, []string{"primary.xml.gz", "was changed"}},
		{"list cut", func(r *repositorytest.Repo) { r.Files[primary(r)] = r.Files[primary(r)][:50] }, []string{"primary.xml.gz", "cut short"}},
		{"list missing", func(r *repositorytest.Repo) { delete(r.Files, primary(r)) }, []string{"primary.xml.gz"}},
		{"module swapped", func(r *repositorytest.Repo) { r.Files[path] = r.Files["modules/lime-5.10.0-20-amd64.ko"] }, []string{path, "was changed"}},
		{"module cut", func(r *repositorytest.Repo) { r.Files[path] = r.Files[path][:500] }, []string{path, "cut short"}},
		{"module missing", func(r *repositorytest.Repo) { delete(r.Files, path) }, []string{path}},
		{"module huge", func(r *repositorytest.Repo) { r.Files[path] = make([]byte, kernelmodules.MaxSize+1) }, []string{path, "more than"}},
		{"module's signature", func(r *repositorytest.Repo) { r.Files[path+".sig"] = r.Sign([]byte("other")) }, []string{path, "does not fit"}},
		{"module's signature missing", func(r *repositorytest.Repo) { delete(r.Files, path+".sig") }, []string{path + ".sig"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			repo, o := signedRepo(t)
			tt.do(repo)
			m, err := open(t, repo, o).Find(t.Context(), kernel)
			if m != nil {
				t.Fatalf("accepted: %s", m.Origin)
			}
			says(t, err, append(tt.says, repo.String())...)
		})
	}
}

// TestSignedNonsense: a signature does not excuse what is wrong with the content.
func TestSignedNonsense(t *testing.T) {
	zeros := func(n int) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		w.Write(make([]byte, n))
		w.Close()
		return b.Bytes()
	}
	entry := func(more string) []byte {
		return fmt.Appendf(nil, `<modules><module type="lime"><name>lime.ko</name><arch>x86_64</arch><checksum>%s</checksum><version>%s</version>%s</module></modules>`,
			repositorytest.Sum(lime(release)), release, more)
	}
	repomd := func(inner string) []byte {
		return []byte(`<metadata><revision>1</revision>` + inner + `</metadata>`)
	}
	sum := strings.Repeat("ab", 32)
	data := func(href string) string {
		return `<data type="primary"><checksum>` + sum + `</checksum><open_checksum>` + sum + `</open_checksum><location href="` + href + `"/></data>`
	}
	for name, tt := range map[string]struct {
		do   func(r *repositorytest.Repo)
		says string
	}{
		"zip bomb": {func(r *repositorytest.Repo) {
			r.SetPacked([]byte("<modules/>"), zeros(64<<20), "repodata/bomb.gz")
		}, "unpacks to more than"},
		"zip bomb without a size": {func(r *repositorytest.Repo) {
			r.SetPacked([]byte("<modules/>"), zeros(64<<20), "repodata/bomb.gz")
			r.SetRepomd(bytes.Replace(r.Files["repodata/repomd.xml"], []byte("<open_size>10</open_size>"), nil, 1))
		}, "unpacks to more than"},
		"list cut before it was signed": {func(r *repositorytest.Repo) {
			z := zeros(10)
			r.SetPacked(make([]byte, 10), z[:len(z)-6], "repodata/cut.gz")
		}, "truncated"},
		"no gzip":             {func(r *repositorytest.Repo) { r.SetPacked([]byte("<modules/>"), []byte("<modules/>"), "x") }, "not packed with gzip"},
		"another list inside": {func(r *repositorytest.Repo) { r.SetPacked([]byte("<modulez/>"), packed("<modules/>"), "x") }, "unpacks to sha256"},
		"entities": {func(r *repositorytest.Repo) {
			r.SetList([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><modules>&a;</modules>`))
		}, "document type"},
		"deep": {func(r *repositorytest.Repo) { r.SetList([]byte("<modules>" + strings.Repeat("<a>", 5000))) }, "deeper"},
		"too many": {func(r *repositorytest.Repo) {
			r.SetList([]byte("<modules>" + strings.Repeat(`<module type="lime"/>`, 100_001) + "</modules>"))
		}, "more than 100000 entries"},
		"two documents":  {func(r *repositorytest.Repo) { r.SetList([]byte("<modules/><modules/>")) }, "2 documents"},
		"cut xml":        {func(r *repositorytest.Repo) { r.SetList([]byte("<modules><module>")) }, "cannot be used"},
		"not a list":     {func(r *repositorytest.Repo) { r.SetList([]byte("<html/>")) }, "cannot be used"},
		"path out":       {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="../../etc/passwd"/>`)) }, "leads out"},
		"absolute path":  {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="/etc/passwd"/>`)) }, "leads out"},
		"another server": {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="https://evil/x.ko"/>`)) }, "leads out"},
		"backslash":      {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="..\..\x.ko"/>`)) }, "leads out"},
		"escaped path":   {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="%2e%2e/x.ko"/>`)) }, "leads out"},
		"query":          {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="x.ko?a=b"/>`)) }, "leads out"},
		"hidden":         {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="modules/.x.ko"/>`)) }, "starts with a dot"},
		"signature path": {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="x.ko"/><signature href="../x"/>`)) }, "leads out"},
		"two places":     {func(r *repositorytest.Repo) { r.SetList(entry(`<location href="x.ko"/><location href="y.ko"/>`)) }, "2 values for location"},
		"two checksums": {func(r *repositorytest.Repo) {
			r.SetList(entry(`<location href="x.ko"/><checksum>` + sum + `</checksum>`))
		}, "2 values for checksum"},
		"no place": {func(r *repositorytest.Repo) { r.SetList(entry("")) }, "0 values for location"},
		"one file, two sums": {func(r *repositorytest.Repo) {
			r.Modules = append(r.Modules, repositorytest.Module{Release: "6", Data: lime("6"), Path: "modules/lime-" + release + ".ko"})
			r.Build()
		}, "is there twice"},
		"no revision":        {func(r *repositorytest.Repo) { r.SetRepomd([]byte("<metadata>" + data("x") + "</metadata>")) }, "0 values for revision"},
		"revision no number": {func(r *repositorytest.Repo) { r.SetRepomd([]byte("<metadata><revision>-1</revision></metadata>")) }, "not a number"},
		"revision too large": {func(r *repositorytest.Repo) {
			r.SetRepomd([]byte("<metadata><revision>18446744073709551615</revision></metadata>"))
		}, "not a number"},
		"no list":        {func(r *repositorytest.Repo) { r.SetRepomd(repomd("")) }, "it has none"},
		"list twice":     {func(r *repositorytest.Repo) { r.SetRepomd(repomd(data("x") + data("y"))) }, "is there twice"},
		"list leads out": {func(r *repositorytest.Repo) { r.SetRepomd(repomd(data("../x"))) }, "leads out"},
		"md5": {func(r *repositorytest.Repo) {
			r.SetRepomd(repomd(strings.ReplaceAll(data("x"), "<checksum>", `<checksum type="md5">`)))
		}, "want sha256"},
		"short checksum": {func(r *repositorytest.Repo) { r.SetRepomd(repomd(strings.ReplaceAll(data("x"), sum, "abcd"))) }, "no SHA-256"},
		"size of the list": {func(r *repositorytest.Repo) {
			r.SetRepomd(repomd(strings.Replace(data("x"), "</data>", "<size>99999999999</size></data>", 1)))
		}, "not a number up to"},
		"wrong size": {func(r *repositorytest.Repo) {
			r.SetRepomd(bytes.Replace(r.Files["repodata/repomd.xml"], []byte("<size>"), []byte("<size>1"), 1))
		}, "repomd.xml says"},
		"module is a web page": {func(r *repositorytest.Repo) { r.Modules[1].Data = []byte("<html>"); r.Build() }, "web page"},
		"module for a different kernel": {func(r *repositorytest.Repo) {
			r.Modules[1].Data = lime("6.1.0-57-cloud-amd64")
			r.Build()
		}, "built for the release"},
		"module for a different machine": {func(r *repositorytest.Repo) {
			r.Modules[1].Data = moduletest.Fake{Machine: 183, Info: moduletest.LiMEInfo(release + " SMP ")}.Bytes()
			r.Build()
		}, "built for aarch64"},
		"no LiME": {func(r *repositorytest.Repo) {
			r.Modules[1].Data = moduletest.Fake{Info: []string{"name=rootkit", "vermagic=" + release + " SMP "}}.Bytes()
			r.Build()
		}, "rootkit"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, o := signedRepo(t)
			tt.do(repo)
			m, err := open(t, repo, o).Find(t.Context(), kernel)
			if m != nil {
				t.Fatalf("accepted: %s", m.Origin)
			}
			says(t, err, tt.says)
		})
	}
}

func packed(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.Bytes()
}

// TestSameReleaseTwice: two builds for one kernel are tried in turn.
func TestSameReleaseTwice(t *testing.T) {
	repo, o := signedRepo(t)
	repo.Modules = append([]repositorytest.Module{{Release: release, Data: lime("6.0.0"), Path: "modules/first.ko"}, {Release: release, Arch: "arm64", Data: lime(release), Path: "modules/arm.ko"}}, repo.Modules...)
	repo.Build()
	m, err := open(t, repo, o).Find(t.Context(), kernel)
	if err != nil || !strings.HasSuffix(m.Origin, "/modules/lime-"+release+".ko") {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	repo.Modules = append(repo.Modules[:2], repositorytest.Module{Release: release, Data: lime("6.0.1"), Path: "modules/second.ko"})
	repo.Build()
	_, err = open(t, repo, o).Find(t.Context(), kernel)
	if !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Errorf("error %v", err)
	}
	says(t, err, "modules/first.ko", "6.0.0", "modules/arm.ko", "arm64", "modules/second.ko", "6.0.1")
}

// at makes a config whose clock stands.
func at(when time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return when }}
}

// TestKeys: a key that is pinned, but cannot be trusted today, and what a good one may be.
func TestKeys(t *testing.T) {
	now := time.Now()
	past := now.Add(-1000 * time.Hour)
	for name, tt := range map[string]struct {
		make func(r *repositorytest.Repo) // it calls Build when the signatures are to be made
		says string                       // empty: accepted
	}{
		"good": {make: func(*repositorytest.Repo) {}},
		"expired": {func(r *repositorytest.Repo) {
			c := at(past)
			c.KeyLifetimeSecs = 3600
			r.Key, r.Config = repositorytest.NewKey(r.T(), c), at(past)
			r.Build()
		}, "expired on " + past.Add(time.Hour).UTC().Format(time.DateOnly)},
		"signature expired": {func(r *repositorytest.Repo) {
			r.Key, r.Config = repositorytest.NewKey(r.T(), at(past)), at(past)
			r.Config.SigLifetimeSecs = 3600
			r.Build()
		}, "expired on " + past.Add(time.Hour).UTC().Format(time.DateOnly)},
		"revoked": {func(r *repositorytest.Repo) {
			r.Build()
			if err := r.Key.Revoke(packet.KeyCompromised, "stolen", nil); err != nil {
				r.T().Fatal(err)
			}
			r.Files["REPO_SIGNING_KEY.asc"] = repositorytest.Armor(r.T(), r.Key)
		}, `revoked on ` + now.UTC().Format(time.DateOnly) + ` ("stolen")`},
		"retired": {func(r *repositorytest.Repo) {
			if err := r.Key.Revoke(packet.KeyRetired, "", at(now.Add(-time.Minute))); err != nil {
				r.T().Fatal(err)
			}
			r.Files["REPO_SIGNING_KEY.asc"] = repositorytest.Armor(r.T(), r.Key)
		}, "revoked"},
		"signed in the future": {func(r *repositorytest.Repo) { r.Config = at(now.Add(48 * time.Hour)); r.Build() }, "in the future"},
		// GnuPG makes a real one in TestGnuPG; the library here refuses to.
		"sha1": {func(r *repositorytest.Repo) {
			sig := r.Files["repodata/repomd.xml.sig"]
			i := bytes.Index(sig, []byte{4, byte(packet.SigTypeBinary), byte(packet.PubKeyAlgoEdDSA)})
			sig[i+3] = 2 // SHA-1
		}, "SHA-1"},
		"subkey": {make: func(r *repositorytest.Repo) {
			if err := r.Key.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
				r.T().Fatal(err)
			}
			r.Build()
		}},
		"subkey expired": {func(r *repositorytest.Repo) {
			r.Key = repositorytest.NewKey(r.T(), at(past))
			c := at(past)
			c.Algorithm, c.KeyLifetimeSecs = packet.PubKeyAlgoEdDSA, 3600
			if err := r.Key.AddSigningSubkey(c); err != nil {
				r.T().Fatal(err)
			}
			r.Config = at(past.Add(time.Minute))
			r.Build()
		}, "subkey"},
		"subkey revoked": {func(r *repositorytest.Repo) {
			if err := r.Key.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
				r.T().Fatal(err)
			}
			r.Build()
			sub := &r.Key.Subkeys[len(r.Key.Subkeys)-1]
			if err := sub.Revoke(packet.KeyCompromised, "", nil); err != nil {
				r.T().Fatal(err)
			}
			r.Files["REPO_SIGNING_KEY.asc"] = repositorytest.Armor(r.T(), r.Key)
		}, "revoked"},
		"subkey of another key": {func(r *repositorytest.Repo) {
			thief := repositorytest.NewKey(r.T(), nil)
			if err := thief.AddSigningSubkey(&packet.Config{Algorithm: packet.PubKeyAlgoEdDSA}); err != nil {
				r.T().Fatal(err)
			}
			good := r.Key
			r.Key = thief
			r.Build()
			// The good key with the thief's subkey glued on, and the thief's binding signature.
			good.Subkeys = append(good.Subkeys, thief.Subkeys[len(thief.Subkeys)-1])
			r.Files["REPO_SIGNING_KEY.asc"] = repositorytest.Armor(r.T(), good)
		}, "not"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, _ := signedRepo(t)
			pinned := repositorytest.Fingerprint(repo.Key)
			tt.make(repo)
			if name != "subkey of another key" {
				pinned = repositorytest.Fingerprint(repo.Key)
			}
			m, err := open(t, repo, repository.Options{Pins: pins(t, pinned)}).Find(t.Context(), kernel)
			if tt.says == "" {
				if err != nil || !m.Verified() {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			if m != nil {
				t.Fatalf("accepted: %s", m.Origin)
			}
			says(t, err, tt.says)
		})
	}
}

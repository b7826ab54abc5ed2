// Package repositorytest makes module repositories for tests, byte for byte in the form
// in which lime-compiler writes them with Nokogiri.
package repositorytest

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// Revision is that of a new repository: a time, as lime-compiler takes it.
const Revision = 1488700000

// A Repo is a repository in memory. Change Files, or the other fields and Build again, to
// break it. It implements repository.Fetcher.
type Repo struct {
	t        testing.TB
	Key      *openpgp.Entity // nil: unsigned
	Config   *packet.Config  // for signing
	Revision int64
	Modules  []Module

	mu      sync.Mutex
	Files   map[string][]byte // by path
	Fetched map[string]int    // how often each was asked for
}

// A Module is one entry of the list.
type Module struct {
	Release, Arch string
	Data          []byte
	Signed        bool   // has a signature of its own
	Path          string // empty: as lime-compiler names it
}

// NewKey makes an OpenPGP key with an Ed25519 primary key that signs.
func NewKey(t testing.TB, config *packet.Config) *openpgp.Entity {
	t.Helper()
	if config == nil {
		config = &packet.Config{}
	}
	config.Algorithm = packet.PubKeyAlgoEdDSA
	e, err := openpgp.NewEntity("LiME modules", "", "modules@example.org", config)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Fingerprint is that of the primary key, in upper-case hexadecimal.
func Fingerprint(key *openpgp.Entity) string {
	return strings.ToUpper(hex.EncodeToString(key.PrimaryKey.Fingerprint))
}

// Armor is the public key as REPO_SIGNING_KEY.asc holds it.
func Armor(t testing.TB, keys ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, "PGP PUBLIC KEY BLOCK", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := k.Serialize(w); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// New makes a repository of modules, signed by key unless that is nil.
func New(t testing.TB, key *openpgp.Entity, modules ...Module) *Repo {
	t.Helper()
	r := &Repo{t: t, Key: key, Revision: Revision, Modules: modules}
	r.Build()
	return r
}

// Build makes Files anew.
func (r *Repo) Build() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Files, r.Fetched = map[string][]byte{}, map[string]int{}
	var list strings.Builder
	list.WriteString("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<modules>\n")
	for _, m := range r.Modules {
		name := "lime-" + m.Release + ".ko"
		if m.Path == "" {
			m.Path = "modules/" + name
		}
		if m.Arch == "" {
			m.Arch = "x86_64" // lime-compiler knows no other
		}
		r.Files[m.Path] = m.Data
		signature := ""
		if m.Signed {
			signature = m.Path + ".sig"
			r.Files[signature] = r.Sign(m.Data)
		}
		fmt.Fprintf(&list, `  <module type="lime">
    <name>%s</name>
    <arch>%s</arch>
    <checksum>%s</checksum>
    <version>%s</version>
    <packager>lime-compiler info@threatresponse.cloud</packager>
    <location href="%s"/>
    <signature href="%s"/>
    <platform>linux</platform>
  </module>
`, escape(name), m.Arch, Sum(m.Data), escape(m.Release), escape(m.Path), escape(signature))
	}
	list.WriteString("</modules>\n")
	r.SetList([]byte(list.String()))
}

// SetList makes the list and what leads to it.
func (r *Repo) SetList(list []byte) {
	name := Sum(list) + "-primary.xml"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Name, w.ModTime = name, time.Unix(r.Revision, 0)
	w.Write(list)
	w.Close()
	r.SetPacked(list, packed.Bytes(), "repodata/"+name+".gz")
}

// SetPacked makes what leads to a packed list.
func (r *Repo) SetPacked(list, packed []byte, path string) {
	r.Files[path] = packed
	r.SetRepomd(fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?>
<metadata>
  <revision>%d</revision>
  <data type="primary">
    <checksum>%s</checksum>
    <open_checksum>%s</open_checksum>
    <location href="%s"/>
    <timestamp>%d</timestamp>
    <size>%d</size>
    <open_size>%d</open_size>
  </data>
</metadata>
`, r.Revision, Sum(packed), Sum(list), escape(path), r.Revision, len(packed), len(list)))
}

// SetRepomd sets and signs repodata/repomd.xml.
func (r *Repo) SetRepomd(data []byte) {
	r.Files["repodata/repomd.xml"] = data
	if r.Key != nil {
		r.Files["repodata/repomd.xml.sig"] = r.Sign(data)
		r.Files["REPO_SIGNING_KEY.asc"] = Armor(r.t, r.Key)
		r.Files["REPO_SIGNING_KEY.json"] = fmt.Appendf(nil, `{"uids":["LiME modules <modules@example.org>"],"fingerprint":"%s"}`, Fingerprint(r.Key))
	}
}

// Sign makes a detached binary signature.
func (r *Repo) Sign(data []byte) []byte {
	r.t.Helper()
	if r.Key == nil {
		return nil
	}
	var out bytes.Buffer
	if err := openpgp.DetachSign(&out, []*openpgp.Entity{r.Key}, bytes.NewReader(data), r.Config); err != nil {
		r.t.Fatal(err)
	}
	return out.Bytes()
}

// T is the test that the repository is for.
func (r *Repo) T() testing.TB { return r.t }

// String is the repository's URL.
func (r *Repo) String() string { return "https://modules.example.org/lime" }

// Fetch returns a file.
func (r *Repo) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Fetched[name]++
	data, ok := r.Files[name]
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case !ok:
		return nil, fmt.Errorf("file %s: %w", name, fs.ErrNotExist)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("has more than %d bytes", limit)
	}
	return data, nil
}

// Fetches returns how often each file was asked for.
func (r *Repo) Fetches() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.Fetched)
}

// Write writes the repository to a folder.
func (r *Repo) Write(dir string) {
	r.t.Helper()
	for name, data := range r.Files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
}

// Sum is a SHA-256 in hexadecimal.
func Sum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// A Signer signs with a key in memory. It implements repository.Signer.
type Signer struct{ Private *openpgp.Entity }

// Key returns the public key.
func (s Signer) Key(context.Context) ([]byte, error) {
	var b bytes.Buffer
	err := s.Private.Serialize(&b)
	return b.Bytes(), err
}

// Sign makes a detached binary signature.
func (s Signer) Sign(_ context.Context, data []byte) ([]byte, error) {
	var b bytes.Buffer
	err := openpgp.DetachSign(&b, []*openpgp.Entity{s.Private}, bytes.NewReader(data), &packet.Config{DefaultHash: crypto.SHA256})
	return b.Bytes(), err
}

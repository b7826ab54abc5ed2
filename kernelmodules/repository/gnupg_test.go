package repository_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

// gnupg is a real GnuPG with a folder of its own.
type gnupg struct {
	t    *testing.T
	home string
}

func newGnuPG(t *testing.T) *gnupg {
	t.Helper()
	if _, err := exec.LookPath("gpg"); err != nil {
		t.Skip("gpg is not there")
	}
	home, err := os.MkdirTemp("", "gpg") // its sockets have short names only
	if err != nil {
		t.Fatal(err)
	}
	g := &gnupg{t, home}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	return g
}

// run runs gpg on stdin, and returns what it prints.
func (g *gnupg) run(stdin []byte, args ...string) []byte {
	g.t.Helper()
	cmd := exec.Command("gpg", append([]string{"--homedir", g.home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		g.t.Fatalf("gpg %q: %v\n%s", args, err, errs.String())
	}
	return out
}

// key makes a key and returns its fingerprint.
func (g *gnupg) key(uid, algo, usage, expire string, more ...string) string {
	g.t.Helper()
	g.run(nil, append(more, "--quick-generate-key", uid, algo, usage, expire)...)
	for line := range strings.Lines(string(g.run(nil, "--with-colons", "--list-keys", uid))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			return f[9]
		}
	}
	g.t.Fatal("gpg made no key")
	return ""
}

// TestGnuPG: what real GnuPG signs is accepted and refused as GnuPG itself would.
func TestGnuPG(t *testing.T) {
	g := newGnuPG(t)
	unsigned := repositorytest.New(t, nil, modules()...)
	repomd := unsigned.Files["repodata/repomd.xml"]
	sign := []string{"--detach-sign", "--output", "-"}
	for _, tt := range []struct {
		name, algo, usage, expire string
		when                      string   // --faked-system-time, empty for now
		after                     []string // what is done to the key before signing; FPR stands for it
		signing                   []string
		then                      []string // what is done to it after signing
		says                      string   // empty: accepted
	}{
		{name: "ed25519", algo: "ed25519", usage: "sign", expire: "1y"},
		{name: "rsa, as lime-compiler had", algo: "rsa2048", usage: "sign", expire: "never"},
		{name: "nistp256", algo: "nistp256", usage: "sign", expire: "never"},
		{name: "armored", algo: "ed25519", usage: "sign", expire: "1y", signing: []string{"--armor"}},
		{name: "sha512", algo: "rsa2048", usage: "sign", expire: "1y", signing: []string{"--digest-algo", "SHA512"}},
		{name: "subkey", algo: "ed25519", usage: "cert", expire: "1y", after: []string{"--quick-add-key", "FPR", "ed25519", "sign", "1y"}},
		{name: "renewed", algo: "ed25519", usage: "sign", expire: "2016-12-01", when: "20160101T000000", then: []string{"--quick-set-expire", "FPR", "0"}},
		{name: "expired", algo: "ed25519", usage: "sign", expire: "2016-12-01", when: "20160101T000000", says: "expired on 2016-12-01"},
		{name: "sha1", algo: "rsa2048", usage: "sign", expire: "1y", signing: []string{"--digest-algo", "SHA1"}, says: "SHA-1"},
		{name: "sha1 in the key", algo: "rsa2048", usage: "sign", expire: "1y", after: []string{"--cert-digest-algo", "SHA1", "--force-sign-key", "--quick-set-expire", "FPR", "2y"}, says: "by SHA-1 only"},
		{name: "text mode", algo: "ed25519", usage: "sign", expire: "1y", signing: []string{"--textmode"}, says: "binary file"},
		{name: "signature expired", algo: "ed25519", usage: "sign", expire: "never", when: "20200101T000000", signing: []string{"--default-sig-expire", "2020-02-01"}, says: "expired on 2020-0"},
		{name: "dsa", algo: "dsa2048", usage: "sign", expire: "1y", says: "too weak"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g.t = t
			uid := strings.ReplaceAll(tt.name, " ", "-") + "@example.org"
			var clock []string
			if tt.when != "" {
				clock = []string{"--faked-system-time", tt.when}
			}
			fpr := g.key(uid, tt.algo, tt.usage, tt.expire, clock...)
			do := func(args []string) {
				if args != nil {
					g.run(nil, strings.Split(strings.ReplaceAll(strings.Join(args, "\x00"), "FPR", fpr), "\x00")...)
				}
			}
			do(tt.after)
			args := append(append(append([]string{"--local-user", fpr}, clock...), tt.signing...), sign...)
			repo := repositorytest.New(t, nil, modules()...)
			repo.Files["repodata/repomd.xml.sig"] = g.run(repomd, args...)
			path := "modules/lime-" + release + ".ko"
			repo.Files[path+".sig"] = g.run(repo.Files[path], args...)
			do(tt.then)
			repo.Files["REPO_SIGNING_KEY.asc"] = g.run(nil, "--armor", "--export", fpr)

			m, err := open(t, repo, repository.Options{Pins: pins(t, fpr)}).Find(t.Context(), kernel)
			if tt.says != "" {
				if m != nil {
					t.Fatalf("accepted: %s", m.Origin)
				}
				says(t, err, tt.says)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if m.Repository.Key != fpr || (tt.name == "subkey") == (m.Repository.SigningKey == fpr) {
				t.Errorf("signed by %s (%s), pinned %s", m.Repository.Key, m.Repository.SigningKey, fpr)
			}
			// The same with the key as a file, in binary, and the server's lost; with blanks in the pin.
			file := filepath.Join(t.TempDir(), "key.gpg")
			if err := os.WriteFile(file, g.run(nil, "--export", fpr), 0o600); err != nil {
				t.Fatal(err)
			}
			delete(repo.Files, "REPO_SIGNING_KEY.asc")
			if _, err := open(t, repo, repository.Options{Pins: pins(t, file)}).Find(t.Context(), kernel); err != nil {
				t.Errorf("with a key file: %v", err)
			}
		})
	}
}

// TestGnuPGReadsOurs: GnuPG accepts the signatures that these tests make.
func TestGnuPGReadsOurs(t *testing.T) {
	g := newGnuPG(t)
	repo, _ := signedRepo(t)
	g.run(repo.Files["REPO_SIGNING_KEY.asc"], "--import")
	sig := filepath.Join(t.TempDir(), "sig")
	if err := os.WriteFile(sig, repo.Files["repodata/repomd.xml.sig"], 0o600); err != nil {
		t.Fatal(err)
	}
	g.run(repo.Files["repodata/repomd.xml"], "--verify", sig, "-")
}

// TestGnuPGRevoked: a revocation that GnuPG made counts, wherever the copy of the key comes from.
func TestGnuPGRevoked(t *testing.T) {
	g := newGnuPG(t)
	fpr := g.key("revoked@example.org", "ed25519", "sign", "never")
	repo := repositorytest.New(t, nil, modules()[0], repositorytest.Module{Release: release, Data: lime(release)})
	repo.Files["repodata/repomd.xml.sig"] = g.run(repo.Files["repodata/repomd.xml"], "--local-user", fpr, "--detach-sign", "--output", "-")
	file := filepath.Join(t.TempDir(), "old.asc")
	if err := os.WriteFile(file, g.run(nil, "--armor", "--export", fpr), 0o600); err != nil {
		t.Fatal(err)
	}
	repo.Files["REPO_SIGNING_KEY.asc"] = g.run(nil, "--armor", "--export", fpr)
	o := repository.Options{Pins: pins(t, file)}
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	cert, err := os.ReadFile(filepath.Join(g.home, "openpgp-revocs.d", fpr+".rev"))
	if err != nil {
		t.Fatal(err)
	}
	g.run(bytes.Replace(cert, []byte(":-----BEGIN"), []byte("-----BEGIN"), 1), "--import")
	repo.Files["REPO_SIGNING_KEY.asc"] = g.run(nil, "--armor", "--export", fpr)
	_, err = open(t, repo, o).Find(t.Context(), kernel)
	says(t, err, fpr, "revoked on")
}

// TestSigningByHand runs what docs/modules.md tells to sign a repository by hand.
func TestSigningByHand(t *testing.T) {
	g := newGnuPG(t)
	doc, err := os.ReadFile("../../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(doc), "## Signing a repository by hand\n")
	var script strings.Builder
	script.WriteString("set -e\n")
	for line := range strings.Lines(section) {
		if code, is := strings.CutPrefix(line, "    "); is {
			script.WriteString(code)
		} else if line == "\n" {
			script.WriteString(line)
		}
	}
	if !ok || !strings.Contains(script.String(), "gpg --local-user") {
		t.Fatalf("docs/modules.md has no such section: %s", script.String())
	}
	for name, text := range map[string]string{"empty": "\n", "gpg.conf": "batch\npinentry-mode loopback\npassphrase-file " + filepath.Join(g.home, "empty") + "\n"} {
		if err := os.WriteFile(filepath.Join(g.home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	repositorytest.New(t, nil, repositorytest.Module{Release: release, Data: lime(release)}).Write(filepath.Join(dir, "repo"))
	os.RemoveAll(filepath.Join(dir, "repo", "repodata"))
	if err := os.Mkdir(filepath.Join(dir, "repo", "repodata"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(script.String()), append(os.Environ(), "GNUPGHOME="+g.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := repository.NewFolder(filepath.Join(dir, "repo"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := open(t, f, repository.Options{Pins: pins(t, filepath.Join(dir, "repo", "REPO_SIGNING_KEY.asc"))}).Find(t.Context(), kernel)
	if err != nil || !m.Verified() {
		t.Fatalf("Find: %v", err)
	}
}

// TestPublishGnuPG: gpg signs what is published, as its agent or from an exported key, and stock gpg verifies each signature.
func TestPublishGnuPG(t *testing.T) {
	g := newGnuPG(t)
	t.Setenv("GNUPGHOME", g.home)
	// The agent answers for gpg, without a passphrase.
	if err := os.WriteFile(filepath.Join(g.home, "gpg.conf"), []byte("pinentry-mode loopback\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fpr := g.key("publisher@example.org", "ed25519", "cert", "1y")
	g.run(nil, "--quick-add-key", fpr, "ed25519", "sign", "1y")
	exported := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(exported, g.run(nil, "--export-secret-keys", fpr), 0o600); err != nil {
		t.Fatal(err)
	}
	locked := g.key("locked@example.org", "rsa2048", "sign", "1y")
	cmd := exec.Command("gpg", "--homedir", g.home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "hunter2", "--export-secret-keys", locked)
	g.run(nil, "--passphrase", "hunter2", "--change-passphrase", locked)
	lockedFile := filepath.Join(t.TempDir(), "locked")
	if out, err := cmd.Output(); err != nil {
		t.Fatal(err)
	} else if err := os.WriteFile(lockedFile, out, 0o600); err != nil {
		t.Fatal(err)
	}

	agent, err := repository.NewGnuPG(fpr)
	if err != nil {
		t.Fatal(err)
	}
	file, err := repository.OpenKey(exported, nil)
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	secret, err := repository.OpenKey(lockedFile, func() ([]byte, error) { asked++; return []byte("hunter2"), nil })
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		signer repository.Signer
		fpr    string
	}{"agent": {agent, fpr}, "key file": {file, fpr}, "key file with a passphrase": {secret, locked}} {
		t.Run(name, func(t *testing.T) {
			g.t = t
			dir := t.TempDir()
			d := folderDepot(t, dir)
			o := repository.PublishOptions{Signer: tt.signer}
			p := mustPublish(t, d, o, module(t, "6.1.0-1", "a"))
			if left := time.Until(p.Expires); left < 300*24*time.Hour || left > 366*24*time.Hour {
				t.Errorf("the key expires on %s", p.Expires)
			}
			mustPublish(t, d, o, module(t, "6.1.0-2", "a"))
			if _, sums, err := readAll(t, d, tt.fpr); err != nil || len(sums) != 2 {
				t.Fatalf("%v, %v", sums, err)
			}
			// A GnuPG that knows nothing but the key of the repository.
			other := newGnuPG(t)
			other.run(nil, "--import", filepath.Join(dir, "REPO_SIGNING_KEY.asc"))
			for _, f := range []string{"repodata/repomd.xml", "modules/lime-6.1.0-1.ko", "modules/lime-6.1.0-2.ko"} {
				path := filepath.Join(dir, filepath.FromSlash(f))
				other.run(nil, "--verify", path+".sig", path)
			}
			asMargarita(t, dir)
		})
	}
	if asked != 1 {
		t.Errorf("asked for the passphrase %d times", asked)
	}
	nobody, err := repository.NewGnuPG(strings.Repeat("AB", 20))
	if err != nil {
		t.Fatal(err)
	}
	_, err = repository.Publish(t.Context(), newMemory(), nil, repository.PublishOptions{Signer: nobody})
	says(t, err, "gpg has no key "+strings.Repeat("AB", 20))
}

// asMargarita reads a repository as Margarita Shotgun does: by the names of files and elements that its
// repository.py knows, in Python.
func asMargarita(t *testing.T, dir string) {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		return // an extra: all names are checked by layout, too
	}
	cmd := exec.Command("python3", "-", dir)
	cmd.Stdin = strings.NewReader(`
import gzip, hashlib, json, os, sys, xml.etree.ElementTree as ET
root = sys.argv[1]
read = lambda name: open(os.path.join(root, name), 'rb').read()
sha = lambda data: hashlib.sha256(data).hexdigest()
key = json.loads(read('REPO_SIGNING_KEY.json'))
assert key['uids'] and len(key['fingerprint']) == 40, key
md = ET.fromstring(read('repodata/repomd.xml'))
assert md.tag == 'metadata' and int(md.find('revision').text) > 0
for data in md.findall('data'):
    assert data.get('type') == 'primary'
    packed = read(data.find('location').get('href'))
    assert sha(packed) == data.find('checksum').text and len(packed) == int(data.find('size').text)
    lst = gzip.decompress(packed)
    assert sha(lst) == data.find('open_checksum').text and len(lst) == int(data.find('open_size').text)
    int(data.find('timestamp').text)
found = {}
for m in ET.fromstring(lst).findall('module'):
    assert m.get('type') == 'lime' and m.find('platform').text == 'linux' and m.find('arch').text == 'x86_64'
    data = read(m.find('location').get('href'))
    assert sha(data) == m.find('checksum').text and read(m.find('signature').get('href'))
    assert m.find('name').text == 'lime-%s.ko' % m.find('version').text
    found[m.find('version').text] = data
print(' '.join(sorted(found)))
`)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "6.1.0-1 6.1.0-2\n" {
		t.Errorf("as Margarita Shotgun reads it: %v: %s", err, out)
	}
}

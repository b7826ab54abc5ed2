package repository_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

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

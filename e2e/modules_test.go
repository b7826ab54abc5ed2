//go:build e2e

package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/e2e/lab"
	"github.com/shotglass-ir/shotglass/kernelmodules"
)

// A signedRepository is a folder in lime-compiler's form with the guest's module, published by us and signed by
// real GnuPG.
type signedRepository struct {
	dir, fingerprint string
	home             string // of GnuPG
}

func newRepository(t *testing.T) *signedRepository {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // its sockets have short names only
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	r := &signedRepository{dir: t.TempDir(), home: home}
	r.gpg(t, "--quick-generate-key", "LiME modules <modules@example.org>", "rsa2048", "sign", "1y")
	for line := range strings.Lines(string(r.gpg(t, "--with-colons", "--list-keys"))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			r.fingerprint = f[9]
		}
	}
	// gpg's agent has the key, without a passphrase.
	if err := os.WriteFile(filepath.Join(home, "gpg.conf"), []byte("pinentry-mode loopback\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.publish(t, nil, r.dir, "--module", parts.Module, "--module", parts.OtherModule).want(0, time.Minute, "2 modules, signed by "+r.fingerprint)
	for _, f := range []string{"repodata/repomd.xml", "modules/lime-" + parts.KernelRelease + ".ko"} {
		r.gpg(t, "--verify", filepath.Join(r.dir, f+".sig"), filepath.Join(r.dir, f))
	}
	return r
}

// publish starts a publication with the key that gpg has.
func (r *signedRepository) publish(t *testing.T, env []string, to string, more ...string) *run {
	t.Helper()
	return start(t, append(env, "GNUPGHOME="+r.home), append([]string{"modules", "publish", "--to", to, "--sign-with", r.fingerprint}, more...)...)
}

func (r *signedRepository) gpg(t *testing.T, args ...string) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd := exec.Command("gpg", append([]string{"--homedir", r.home, "--batch", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", ""}, args...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("gpg %q: %v\n%s", args, err, errs.String())
	}
	return out
}

// serve serves the folder on loopback with TLS. ca is the file with its certificate.
func (r *signedRepository) serve(t *testing.T) (server *httptest.Server, ca string) {
	t.Helper()
	dir := t.TempDir()
	ca = filepath.Join(dir, "ca.pem")
	if _, err := lab.SelfSigned(ca, filepath.Join(dir, "key.pem")); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(ca, filepath.Join(dir, "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	server = httptest.NewUnstartedServer(http.FileServer(http.Dir(r.dir)))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, ca
}

// TestRepository: a file as Margarita Shotgun reads it captures a guest with the module of a
// signed repository, given known_hosts and the pin of the key. Without the pin it is refused,
// as is a repository that somebody changed.
func TestRepository(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	repo := newRepository(t)
	server, ca := repo.serve(t)
	config := filepath.Join(r.home, "margarita.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `hosts:
  - addr:     127.0.0.1
    port:     %s
    username: ops
    key:      %s
workers: auto
repository:
  enabled:    true
  url:        %s/
  ca:         %s
  gpg_verify: true
  manifest:   primary
`, r.guest.Port(), parts.Key, server.URL, ca), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(cache, command string, args ...string) *run {
		return start(t, []string{"SHOTGLASS_MODULE_CACHE=" + cache}, append([]string{command, "-c", config,
			"--ssh-config", "none", "--no-agent", "--known-hosts", r.known()}, args...)...)
	}
	cache := t.TempDir()
	evidence := []string{"--case", "e2e", "--sign-key", r.signKey(), "--output", r.dir, "--progress", "lines"}
	run(cache, "capture", evidence...).want(64, time.Minute, "no key is pinned", "--repository-key")
	// Without --method lime, /proc/kcore would be read in place of a module that is refused.
	run(cache, "plan", "--method", "lime", "--repository-key", strings.Repeat("AB", 20)).want(1, time.Minute, "REPO_SIGNING_KEY.asc", repo.fingerprint)

	pin := []string{"--repository-key", repo.fingerprint}
	p := run(cache, "capture", append(pin, evidence...)...)
	p.want(0, 8*time.Minute)
	r.clean(30 * time.Second)
	m := r.manifest()
	if !m.Complete || m.Module.Signature != kernelmodules.SignedRepository || m.Module.SHA256 != sha256File(t, parts.Module) {
		t.Errorf("complete %t, module %+v", m.Complete, m.Module)
	}
	from := m.Module.Repository
	if from == nil || from.Key != repo.fingerprint || from.URL != server.URL || from.Revision == 0 || from.Checksum != m.Module.SHA256 {
		t.Errorf("from %+v", from)
	}
	for _, s := range m.Options {
		if s.Name == "repository" && (s.Value != server.URL+"/" || s.Origin != "file "+config) {
			t.Errorf("setting %+v", s)
		}
	}
	start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(0, time.Minute)

	// Without the server: what was fetched is enough.
	path := filepath.Join(repo.dir, "modules", "lime-"+parts.KernelRelease+".ko")
	if err := os.WriteFile(path, []byte("\x7fELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	pin = append(pin, "--method", "lime")
	run(t.TempDir(), "plan", pin...).want(1, time.Minute, "lime-"+parts.KernelRelease+".ko has sha256", "was changed")
	server.Close()
	run(cache, "plan", pin...).want(1, time.Minute, "cannot be read", "--offline")
	offline := run(cache, "plan", append(pin, "--offline")...)
	offline.want(0, time.Minute)
	if out := offline.stdout.String(); !strings.Contains(out, repo.fingerprint) || !strings.Contains(out, "signed repository") {
		t.Errorf("plan:\n%s", out)
	}

	t.Run("installed", func(t *testing.T) { installedModule(t, rigOf(t, r.guest)) })
}

// TestRepositoryInS3 reads a repository from a real S3 server.
func TestRepositoryInS3(t *testing.T) {
	t.Parallel()
	srv := startS3(t)
	repo := newRepository(t)
	put := func(name string) {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(repo.dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		key := "lime/" + name
		if _, err := srv.Client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &srv.Bucket, Key: &key, Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := filepath.WalkDir(repo.dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			name, _ := filepath.Rel(repo.dir, path)
			put(filepath.ToSlash(name))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	modules := func(what, url string, more ...string) *run {
		return start(t, srv.Env(), append([]string{"modules", what, "--s3-endpoint", srv.Endpoint, "--s3-path-style",
			"--repository", url, "--repository-key", repo.fingerprint}, more...)...)
	}
	url := "s3://" + srv.Bucket + "/lime/"
	p := modules("check", url)
	p.want(0, time.Minute, repo.fingerprint)
	if out := p.stdout.String(); strings.Count(out, "good\t") != 2 || !strings.Contains(out, "s3://"+srv.Bucket+"/lime/modules/lime-"+parts.KernelRelease+".ko") {
		t.Errorf("stdout:\n%s", out)
	}
	out := t.TempDir()
	modules("fetch", url, "-o", out, parts.KernelRelease).want(0, time.Minute)
	if have := sha256File(t, filepath.Join(out, "lime-"+parts.KernelRelease+"-x86_64.ko")); have != sha256File(t, parts.Module) {
		t.Errorf("fetched %s", have)
	}
	modules("list", "s3://"+srv.Bucket+"/nothing").want(1, time.Minute, "repodata/repomd.xml cannot be read")
	if err := os.WriteFile(filepath.Join(repo.dir, "repodata", "repomd.xml"), []byte("<metadata/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	put("repodata/repomd.xml")
	modules("list", url).want(4, time.Minute, "repodata/repomd.xml is not to be trusted")

	publishedInS3(t, srv, repo)
}

// publishedInS3 publishes into a real S3 server: two publishers at once, and what they leave is read back.
func publishedInS3(t *testing.T, srv *lab.S3, repo *signedRepository) {
	url := "s3://" + srv.Bucket + "/published"
	access := []string{"--s3-endpoint", srv.Endpoint, "--s3-path-style", "--module-cache", t.TempDir()}
	publish := func(module string) *run {
		return repo.publish(t, srv.Env(), url, append([]string{"--module", module}, access...)...)
	}
	publish(parts.OtherModule).want(0, time.Minute, "1 modules, signed by "+repo.fingerprint)
	at := []string{"--repository", url, "--repository-key", repo.fingerprint}
	check := func(n int) {
		t.Helper()
		p := start(t, srv.Env(), append(append([]string{"modules", "check"}, access...), at...)...)
		p.want(0, time.Minute)
		if out := p.stdout.String(); strings.Count(out, "good\t") != n {
			t.Errorf("want %d modules:\n%s", n, out)
		}
	}
	check(1)
	a, b := publish(parts.Module), publish(parts.OtherModule)
	for _, p := range []*run{a, b} {
		select {
		case <-p.done:
		case <-time.After(time.Minute):
			t.Fatal("a publisher does not end")
		}
		if p.err != nil && !strings.Contains(p.stderr.String(), "changed meanwhile") {
			t.Errorf("%v: %s", p.err, p.stderr.String())
		}
	}
	if a.err != nil && b.err != nil {
		t.Errorf("none of two publishers got through:\n%s\n%s", a.stderr.String(), b.stderr.String())
	}
	publish(parts.Module).want(0, time.Minute)
	check(2)
	out := t.TempDir()
	start(t, srv.Env(), append(append(append([]string{"modules", "fetch", "-o", out}, access...), at...), parts.KernelRelease)...).want(0, time.Minute)
	if have := sha256File(t, filepath.Join(out, "lime-"+parts.KernelRelease+"-x86_64.ko")); have != sha256File(t, parts.Module) {
		t.Errorf("fetched %s", have)
	}
}

package repository_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

const release = "6.1.0-56-cloud-amd64"

var kernel = kernelmodules.Kernel{Release: release, Machine: "x86_64"}

func lime(release string) []byte {
	return moduletest.LiME(release + " SMP preempt mod_unload modversions ")
}

// modules are what the repositories of the tests hold.
func modules() []repositorytest.Module {
	return []repositorytest.Module{
		{Release: "5.10.0-20-amd64", Data: lime("5.10.0-20-amd64")},
		{Release: release, Data: lime(release), Signed: true},
		{Release: "6.1.0-57-cloud-amd64", Data: lime("6.1.0-57-cloud-amd64")},
	}
}

func pins(t *testing.T, values ...string) *repository.Pins {
	t.Helper()
	p, err := repository.ParsePins(values)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, from repository.Fetcher, o repository.Options) *repository.Store {
	t.Helper()
	s, err := repository.New(from, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// signedRepo is a good repository and the options that trust it.
func signedRepo(t *testing.T) (*repositorytest.Repo, repository.Options) {
	t.Helper()
	key := repositorytest.NewKey(t, nil)
	return repositorytest.New(t, key, modules()...), repository.Options{Pins: pins(t, repositorytest.Fingerprint(key)), Cache: t.TempDir()}
}

// says fails unless err holds all texts.
func says(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", texts)
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

func TestFind(t *testing.T) {
	repo, o := signedRepo(t)
	s := open(t, repo, o)
	m, err := s.Find(t.Context(), kernel)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Verified() || m.Signature != kernelmodules.SignedRepository || m.SHA256 != repositorytest.Sum(lime(release)) || string(m.Data) != string(lime(release)) {
		t.Errorf("module %+v", m)
	}
	if want := repo.String() + "/modules/lime-" + release + ".ko"; m.Origin != want {
		t.Errorf("origin %s, want %s", m.Origin, want)
	}
	p := m.Repository
	if fingerprint := repositorytest.Fingerprint(repo.Key); p == nil || p.Key != fingerprint || p.SigningKey != fingerprint || p.Revision != repositorytest.Revision ||
		p.URL != repo.String() || p.Manifest != "primary" || p.Checksum != m.SHA256 || p.SignedAt.IsZero() || p.Offline {
		t.Errorf("provenance %+v", p)
	}
	_, err = s.Find(t.Context(), kernelmodules.Kernel{Release: "6.1.0-99-cloud-amd64", Machine: "x86_64"})
	if !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Errorf("Find for another kernel: %v", err)
	}
	says(t, err, "3 modules", "the nearest are", release)
	_, err = s.Find(t.Context(), kernelmodules.Kernel{Release: release, Machine: "aarch64"})
	if !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Errorf("Find for another machine: %v", err)
	}
	says(t, err, `is for "x86_64"`)
}

// TestOneModule: Margarita Shotgun could not read a list of one module.
func TestOneModule(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	repo := repositorytest.New(t, key, modules()[1])
	if _, err := open(t, repo, repository.Options{Pins: pins(t, repositorytest.Fingerprint(key))}).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	empty := repositorytest.New(t, key)
	_, err := open(t, empty, repository.Options{Pins: pins(t, repositorytest.Fingerprint(key))}).Find(t.Context(), kernel)
	if !errors.Is(err, kernelmodules.ErrNoModule) {
		t.Errorf("an empty repository: %v", err)
	}
}

// TestFetchedOnce: fifty hosts with one kernel cost one download.
func TestFetchedOnce(t *testing.T) {
	repo, o := signedRepo(t)
	s := open(t, repo, o)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if m, err := s.Find(t.Context(), kernel); err != nil {
				t.Error(err)
			} else {
				m.Signature = "changed" // is the caller's own
			}
		})
	}
	wg.Wait()
	if m, err := s.Find(t.Context(), kernel); err != nil || !m.Verified() {
		t.Errorf("Find: %+v, %v", m, err)
	}
	for name, n := range repo.Fetches() {
		if n != 1 {
			t.Errorf("%s was fetched %d times", name, n)
		}
	}
	// Another process takes the module from the cache, but asks what is current.
	again := open(t, repo, o)
	if _, err := again.Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	for name, n := range repo.Fetches() {
		if want := map[bool]int{true: 2, false: 1}[strings.HasPrefix(name, "repodata/repomd.xml") || strings.HasPrefix(name, "REPO")]; n != want {
			t.Errorf("with the cache %s was fetched %d times, want %d", name, n, want)
		}
	}
}

// slow is a repository whose first file takes until released.
type slow struct {
	repository.Fetcher
	asked   chan struct{}
	release chan struct{}
}

func (s *slow) Fetch(ctx context.Context, name string, limit int64) ([]byte, error) {
	select {
	case s.asked <- struct{}{}:
	default:
	}
	select {
	case <-s.release:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Fetcher.Fetch(ctx, name, limit)
}

// TestImpatient: one host that gives up spoils nothing for the others.
func TestImpatient(t *testing.T) {
	repo, o := signedRepo(t)
	f := &slow{repo, make(chan struct{}, 1), make(chan struct{})}
	s := open(t, f, o)
	ctx, cancel := context.WithCancel(t.Context())
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { _, err := s.Find(ctx, kernel); first <- err }()
	<-f.asked
	go func() { _, err := s.Find(t.Context(), kernel); second <- err }()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	close(f.release)
	if err := <-second; err != nil {
		t.Errorf("the second: %v", err)
	}
}

// down is a server that is away.
type down struct{ asked int }

func (d *down) String() string { return "https://down.example.org" }
func (d *down) Fetch(context.Context, string, int64) ([]byte, error) {
	d.asked++
	return nil, errors.New("connection refused")
}

// TestDown: hosts do not each wait for a server that is down.
func TestDown(t *testing.T) {
	d := &down{}
	s := open(t, d, repository.Options{Pins: pins(t, strings.Repeat("AB", 20))})
	for range 3 {
		_, err := s.Find(t.Context(), kernel)
		says(t, err, "https://down.example.org", "repodata/repomd.xml", "connection refused")
	}
	if d.asked != 1 {
		t.Errorf("asked %d times", d.asked)
	}
}

func TestOffline(t *testing.T) {
	repo, o := signedRepo(t)
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, &gone{repo}, o).Find(t.Context(), kernel)
	says(t, err, "is away")
	if hint := err.(interface{ Hint() string }).Hint(); !strings.Contains(hint, "--offline") {
		t.Errorf("hint %q", hint)
	}
	o.Offline = true
	s := open(t, &gone{repo}, o)
	m, err := s.Find(t.Context(), kernel)
	if err != nil {
		t.Fatal(err)
	}
	if !m.Verified() || !m.Repository.Offline || m.Repository.Revision != repositorytest.Revision {
		t.Errorf("offline: %+v, %+v", m, m.Repository)
	}
	_, err = s.Find(t.Context(), kernelmodules.Kernel{Release: "5.10.0-20-amd64", Machine: "x86_64"})
	says(t, err, "lime-5.10.0-20-amd64.ko", "not in the cache")

	o.Cache = t.TempDir()
	_, err = open(t, repo, o).Find(t.Context(), kernel)
	says(t, err, "not in the cache", "nothing is kept")
	o.Cache = ""
	if _, err := repository.New(repo, o); err == nil {
		t.Error("offline without a cache")
	}
}

// gone fails every fetch, under the name of another repository.
type gone struct{ repo *repositorytest.Repo }

func (g *gone) String() string { return g.repo.String() }
func (g *gone) Fetch(context.Context, string, int64) ([]byte, error) {
	return nil, errors.New("is away")
}

// TestCacheIsNotTrusted: what others changed in the cache is found.
func TestCacheIsNotTrusted(t *testing.T) {
	repo, o := signedRepo(t)
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(o.Cache, "sha256", repositorytest.Sum(lime(release)))
	if err := os.WriteFile(path, lime("6.1.0-evil"), 0o600); err != nil {
		t.Fatal(err)
	}
	off := o
	off.Offline = true
	_, err := open(t, repo, off).Find(t.Context(), kernel)
	says(t, err, "not in the cache")
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Errorf("fetched anew: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(o.Cache, "repositories", "*", "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("snapshots %v, %v", files, err)
	}
	other := repositorytest.New(t, repositorytest.NewKey(t, nil), modules()...)
	p := repository.Options{Pins: pins(t, repositorytest.Fingerprint(other.Key)), Cache: t.TempDir()}
	if _, err := open(t, other, p).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	forged, _ := filepath.Glob(filepath.Join(p.Cache, "repositories", "*", "*.json"))
	data, err := os.ReadFile(forged[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, repo, off).Find(t.Context(), kernel)
	says(t, err, "not pinned", repositorytest.Fingerprint(other.Key))
}

// TestCacheShared: several processes that start at once leave one good cache.
func TestCacheShared(t *testing.T) {
	repo, o := signedRepo(t)
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s, err := repository.New(repo, o)
			if err == nil {
				_, err = s.Find(t.Context(), kernel)
			}
			if err != nil {
				t.Errorf("store %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	filepath.WalkDir(o.Cache, func(path string, d os.DirEntry, err error) error {
		if strings.HasPrefix(d.Name(), ".new-") {
			t.Errorf("%s is left", path)
		}
		return err
	})
	o.Offline = true
	if _, err := open(t, &gone{repo}, o).Find(t.Context(), kernel); err != nil {
		t.Error(err)
	}
}

// TestCacheUnwritable: a capture works without a cache.
func TestCacheUnwritable(t *testing.T) {
	repo, o := signedRepo(t)
	o.Cache = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(o.Cache, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if m, err := open(t, repo, o).Find(t.Context(), kernel); err != nil || !m.Verified() {
		t.Errorf("Find: %+v, %v", m, err)
	}
}

func TestRollback(t *testing.T) {
	repo, o := signedRepo(t)
	old := repositorytest.New(t, repo.Key, modules()...)
	repo.Revision++
	repo.Build()
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	_, err := open(t, old, o).Find(t.Context(), kernel)
	var back *repository.RollbackError
	if !errors.As(err, &back) || back.Have != repositorytest.Revision || back.Seen != repositorytest.Revision+1 {
		t.Fatalf("an older revision: %v", err)
	}
	says(t, err, fmt.Sprint(repositorytest.Revision), fmt.Sprint(repositorytest.Revision+1), repo.String())
	if !strings.Contains(back.Hint(), "--insecure-accept-rollback") {
		t.Errorf("hint %q", back.Hint())
	}
	// Refused also when the newest state has left the network, and the first one stays usable.
	off := o
	off.Offline = true
	if m, err := open(t, old, off).Find(t.Context(), kernel); err != nil || m.Repository.Revision != repositorytest.Revision+1 {
		t.Errorf("offline: %v", err)
	}
	if err := open(t, old, o).AcceptRollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, err := open(t, old, o).Find(t.Context(), kernel); err != nil || m.Repository.Revision != repositorytest.Revision {
		t.Errorf("after accepting: %v", err)
	}
	// Others pass: a cache of its own, and the same revision twice.
	o.Cache = t.TempDir()
	if _, err := open(t, old, o).Find(t.Context(), kernel); err != nil {
		t.Error(err)
	}
}

// TestUnsigned: without pins nothing is verified, but checksums are.
func TestUnsigned(t *testing.T) {
	repo := repositorytest.New(t, nil, modules()[0], repositorytest.Module{Release: release, Data: lime(release)})
	m, err := open(t, repo, repository.Options{Cache: t.TempDir()}).Find(t.Context(), kernel)
	if err != nil || m.Verified() || m.Signature != kernelmodules.UnsignedRepo || m.Repository.Key != "" {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	repo.Files["modules/lime-"+release+".ko"] = lime("6.1.0-evil")
	_, err = open(t, repo, repository.Options{}).Find(t.Context(), kernel)
	says(t, err, "modules/lime-"+release+".ko", "was changed")
	_, err = open(t, repo, repository.Options{Pins: pins(t, strings.Repeat("AB", 20))}).Find(t.Context(), kernel)
	says(t, err, "repomd.xml.sig")
	if hint := err.(interface{ Hint() string }).Hint(); !strings.Contains(hint, "--gpg-no-verify") {
		t.Errorf("hint %q", hint)
	}
}

func TestManifestName(t *testing.T) {
	repo, o := signedRepo(t)
	o.Manifest = "secondary"
	_, err := open(t, repo, o).Find(t.Context(), kernel)
	says(t, err, `no list "secondary"`, `"primary"`)
}

func TestListAndGet(t *testing.T) {
	repo, o := signedRepo(t)
	repo.Modules = append(repo.Modules, repositorytest.Module{Release: "6.6.0", Data: lime("6.6.1")})
	repo.Build()
	s := open(t, repo, o)
	l, err := s.List(t.Context())
	if err != nil || len(l.Modules) != 4 || l.Key != repositorytest.Fingerprint(repo.Key) || time.Since(l.Fetched) > time.Hour {
		t.Fatalf("List: %+v, %v", l, err)
	}
	if e := l.Modules[1]; e.Release != release || e.Arch != "x86_64" || e.Packager == "" || e.Platform != "linux" || e.Signature == "" {
		t.Errorf("entry %+v", e)
	}
	if _, err := s.Get(t.Context(), l.Modules[0]); err != nil {
		t.Error(err)
	}
	// The list promises another kernel than the module was built for.
	_, err = s.Get(t.Context(), l.Modules[3])
	says(t, err, "6.6.1", "6.6.0")
}

package repository_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

// filled is a cache with all modules of a repository, which were used so many days ago.
func filled(t *testing.T, days map[string]int) (dir string, repo *repositorytest.Repo, o repository.Options) {
	t.Helper()
	repo, o = signedRepo(t)
	s := open(t, repo, o)
	l, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l.Modules {
		if _, err := s.Get(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().AddDate(-1, 0, 0)
	all, _ := filepath.Glob(filepath.Join(o.Cache, "sha256", "*"))
	for _, path := range all { // the lists, too
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range l.Modules {
		used := time.Now().AddDate(0, 0, -days[e.Release])
		if err := os.Chtimes(filepath.Join(o.Cache, "sha256", e.Checksum), used, used); err != nil {
			t.Fatal(err)
		}
	}
	return o.Cache, repo, o
}

func TestPrune(t *testing.T) {
	days := map[string]int{"5.10.0-20-amd64": 300, release: 10, "6.1.0-57-cloud-amd64": 0}
	size := int64(len(lime(release)))
	for name, tt := range map[string]struct {
		o    repository.PruneOptions
		left []string // releases that can be had offline
	}{
		"nothing asked":  {repository.PruneOptions{}, []string{"5.10.0-20-amd64", release, "6.1.0-57-cloud-amd64"}},
		"by age":         {repository.PruneOptions{Unused: 100 * 24 * time.Hour}, []string{release, "6.1.0-57-cloud-amd64"}},
		"by size":        {repository.PruneOptions{MaxSize: 3*size + 100}, []string{release, "6.1.0-57-cloud-amd64"}},
		"all that may":   {repository.PruneOptions{MaxSize: 1}, []string{"6.1.0-57-cloud-amd64"}}, // used within the hour
		"only said":      {repository.PruneOptions{MaxSize: 1, DryRun: true}, []string{"5.10.0-20-amd64", release, "6.1.0-57-cloud-amd64"}},
		"nothing is due": {repository.PruneOptions{Unused: 1000 * 24 * time.Hour, MaxSize: 1 << 30}, []string{"5.10.0-20-amd64", release, "6.1.0-57-cloud-amd64"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, repo, o := filled(t, days)
			unfinished := filepath.Join(dir, "sha256", ".new-1")
			recent := filepath.Join(dir, "sha256", ".new-2")
			for _, path := range []string{unfinished, recent} {
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			old := time.Now().Add(-48 * time.Hour)
			os.Chtimes(unfinished, old, old)
			p, err := repository.Prune(t.Context(), dir, tt.o)
			if err != nil {
				t.Fatal(err)
			}
			// The state of the repository is never forgotten.
			offline := o
			offline.Offline = true
			s := open(t, repo, offline)
			var left []string
			for _, r := range []string{"5.10.0-20-amd64", release, "6.1.0-57-cloud-amd64"} {
				if _, err := s.Find(t.Context(), kernelmodules.Kernel{Release: r, Machine: "x86_64"}); err == nil {
					left = append(left, r)
				}
			}
			if !slices.Equal(left, tt.left) {
				t.Errorf("left %q, want %q", left, tt.left)
			}
			if l, err := s.List(t.Context()); err != nil || len(l.Modules) != 3 {
				t.Errorf("the list: %v", err)
			}
			want := 3 - len(tt.left) + 1
			if tt.o.DryRun {
				want = 3
			}
			if p.Removed != want || p.RemovedBytes <= 0 || p.KeptBytes <= 0 {
				t.Errorf("%+v, want %d removed", p, want)
			}
			if _, err := os.Stat(recent); err != nil {
				t.Error("what another process writes was removed")
			}
			if _, err := os.Stat(unfinished); (err == nil) != tt.o.DryRun {
				t.Errorf("what nobody finished: %v", err)
			}
		})
	}
	if p, err := repository.Prune(t.Context(), filepath.Join(t.TempDir(), "none"), repository.PruneOptions{MaxSize: 1}); err != nil || p.Removed != 0 {
		t.Errorf("of no cache: %+v, %v", p, err)
	}
}

// TestPruneTouched: what is used again counts from then.
func TestPruneTouched(t *testing.T) {
	dir, repo, o := filled(t, map[string]int{"5.10.0-20-amd64": 300, release: 300, "6.1.0-57-cloud-amd64": 300})
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Fatal(err)
	}
	if p, err := repository.Prune(t.Context(), dir, repository.PruneOptions{Unused: 30 * 24 * time.Hour}); err != nil || p.Removed != 2 {
		t.Fatalf("%+v, %v", p, err)
	}
	o.Offline = true
	if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
		t.Errorf("what is used was removed: %v", err)
	}
}

// TestPruneTogether: readers that are online find every module while it is removed under them.
func TestPruneTogether(t *testing.T) {
	dir, repo, o := filled(t, map[string]int{"5.10.0-20-amd64": 300, release: 300, "6.1.0-57-cloud-amd64": 300})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				if _, err := open(t, repo, o).Find(t.Context(), kernel); err != nil {
					t.Error(err)
					return
				}
			}
		})
		wg.Go(func() {
			for range 50 {
				old := time.Now().AddDate(0, 0, -300)
				os.Chtimes(filepath.Join(dir, "sha256", repositorytest.Sum(lime(release))), old, old)
				if _, err := repository.Prune(t.Context(), dir, repository.PruneOptions{MaxSize: 1}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

package repository_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
)

func TestFolder(t *testing.T) {
	repo, o := signedRepo(t)
	dir := t.TempDir()
	repo.Write(dir)
	f, err := repository.NewFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	m, err := open(t, f, o).Find(t.Context(), kernel)
	if err != nil || !m.Verified() || m.Repository.URL != dir {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	path := filepath.Join(dir, "modules", "lime-"+release+".ko")
	o.Cache = ""
	for name, replace := range map[string]func() error{
		"link out of the folder": func() error {
			outside := filepath.Join(t.TempDir(), "lime.ko")
			if err := os.WriteFile(outside, lime(release), 0o600); err != nil {
				return err
			}
			return os.Symlink(outside, path)
		},
		"folder":  func() error { return os.Mkdir(path, 0o700) },
		"nothing": func() error { return nil },
	} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		if err := replace(); err != nil {
			if runtime.GOOS == "windows" {
				continue
			}
			t.Fatal(err)
		}
		_, err := open(t, f, o).Find(t.Context(), kernel)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		says(t, err, "modules/lime-"+release+".ko", dir)
	}
	if f, err = repository.NewFolder(filepath.Join(dir, "missing")); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, f, o).Find(t.Context(), kernel); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
}

// serve serves a repository below /lime/.
func serve(repo *repositorytest.Repo) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := repo.Fetch(r.Context(), strings.TrimPrefix(r.URL.Path, "/lime/"), 1<<30)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		if strings.HasSuffix(r.URL.Path, ".gz") {
			w.Header().Set("Content-Encoding", "gzip") // as Apache does; the bytes stay packed
		}
		w.Write(data)
	})
}

func TestWeb(t *testing.T) {
	repo, o := signedRepo(t)
	plus := "6.1.0+"
	repo.Modules = append(repo.Modules, repositorytest.Module{Release: plus, Data: lime(plus)})
	repo.Build()
	var asked []string
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		serve(repo).ServeHTTP(w, r)
	}))
	defer server.Close()
	w, err := repository.NewWeb(server.URL+"/lime/", repository.WebOptions{Transport: server.Client().Transport})
	if err != nil {
		t.Fatal(err)
	}
	m, err := open(t, w, o).Find(t.Context(), kernelmodules.Kernel{Release: plus, Machine: "x86_64"})
	if err != nil || !m.Verified() || m.Origin != server.URL+"/lime/modules/lime-6.1.0+.ko" {
		t.Fatalf("Find: %+v, %v", m, err)
	}
	if last := asked[len(asked)-1]; last != "/lime/modules/lime-6.1.0%2B.ko" {
		t.Errorf("asked for %s: S3 would take the plus for a blank", last)
	}
	// An unknown certificate is refused.
	w, err = repository.NewWeb(server.URL+"/lime/", repository.WebOptions{Transport: &http.Transport{TLSClientConfig: &tls.Config{}}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(t, w, o).Find(t.Context(), kernel)
	says(t, err, "certificate")
}

func TestWebAddresses(t *testing.T) {
	for address, why := range map[string]string{
		"http://modules.example.org/":          "http to another machine",
		"ftp://modules.example.org/":           "neither https nor http",
		"https://":                             "names no host",
		"https://me:secret@example.org/":       "password",
		"https://example.org/?token=1":         "query",
		"https://example.org/%zz":              "no valid URL",
		"https://example.org/":                 "",
		"http://127.0.0.1:8000/lime":           "",
		"http://[::1]/":                        "",
		"http://localhost/":                    "",
		"http://localhost.evil.example.org/":   "http to another machine",
		"http://127.0.0.1.evil.example.org/":   "http to another machine",
		"https://example.org/a/../repository/": "",
	} {
		_, err := repository.NewWeb(address, repository.WebOptions{})
		if why == "" && err != nil {
			t.Errorf("%s: %v", address, err)
		} else if why != "" {
			if err == nil || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, want %q", address, err, why)
			}
		}
	}
	if _, err := repository.NewWeb("http://modules.example.org/", repository.WebOptions{InsecureHTTP: true}); err != nil {
		t.Errorf("allowed: %v", err)
	}
}

func TestWebFaults(t *testing.T) {
	var count atomic.Int32
	var handler http.HandlerFunc
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		handler(w, r)
	}))
	defer server.Close()
	w, err := repository.NewWeb(server.URL, repository.WebOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.SetWait(time.Millisecond)
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		says    string // empty: "good" comes
		is      error
		tries   int32
	}{
		"good":                  {func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("good")) }, "", nil, 1},
		"missing":               {http.NotFound, "404", fs.ErrNotExist, 1},
		"S3's word for missing": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, "403", fs.ErrPermission, 1},
		"broken, then good": {func(w http.ResponseWriter, r *http.Request) {
			if count.Load() < 3 {
				w.WriteHeader(503)
				return
			}
			w.Write([]byte("good"))
		}, "", nil, 3},
		"broken": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, "tried 3 times", nil, 3},
		"broken off": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("good"))
		}, "broken off", nil, 3},
		"too long": {func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 101)) }, "more than 100 bytes", nil, 1},
		"too long, without an end": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}, "more than 100 bytes", nil, 1},
		"redirect here": {func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/elsewhere" {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			w.Write([]byte("good"))
		}, "", nil, 2},
		"redirect away": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example.org/", http.StatusFound)
		}, "another host, evil.example.org", nil, 1},
		"redirect in clear": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://evil.example.org/", http.StatusFound)
		}, "http to another machine", nil, 1},
		"redirect for ever": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "redirects", nil, 6},
	} {
		t.Run(name, func(t *testing.T) {
			count.Store(0)
			handler = tt.handler
			data, err := w.Fetch(t.Context(), "x", 100)
			switch {
			case tt.says == "" && (err != nil || string(data) != "good"):
				t.Errorf("%q, %v", data, err)
			case tt.says != "":
				says(t, err, tt.says)
				if data != nil || tt.is != nil && !errors.Is(err, tt.is) {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			}
			if n := count.Load(); n != tt.tries {
				t.Errorf("asked %d times, want %d", n, tt.tries)
			}
		})
	}
	t.Run("hangs", func(t *testing.T) {
		handler = func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := w.Fetch(ctx, "x", 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
	})
}

func TestPins(t *testing.T) {
	fpr := "80DA92CB09161F241C8F9BC918BA980367172B17" // ThreatResponse's, expired in 2018
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := repositorytest.NewKey(t, nil)
	for value, want := range map[string]string{
		fpr: fpr, "0x" + strings.ToLower(fpr): fpr,
		"80DA 92CB 0916 1F24 1C8F  9BC9 18BA 9803 6717 2B17": fpr,
		write("key.asc", repositorytest.Armor(t, key)):       repositorytest.Fingerprint(key),
	} {
		if p := pins(t, value); len(p.Fingerprints()) != 1 || p.Fingerprints()[0] != want {
			t.Errorf("%q is %v, want %s", value, p.Fingerprints(), want)
		}
	}
	for value, why := range map[string]string{
		"67172B17":                         "key ID",
		"0x18BA980367172B17":               "key ID",
		"d41d8cd98f00b204e9800998ecf8427e": "version 3",
		fpr + "00":                         "42 hexadecimal digits",
		filepath.Join(dir, "missing"):      "no such file",
		dir:                                "not a regular file",
		write("empty", nil):                "empty",
		write("text", []byte("hello")):     "no OpenPGP key",
		write("page", []byte("<html>")):    "web page",
		write("long", make([]byte, 2<<20)): "more than",
		write("cut", repositorytest.Armor(t, key)[:200]): "key",
	} {
		if _, err := repository.ParsePins([]string{value}); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", value, err, why)
		}
	}
	if _, err := repository.ParsePins(nil); err == nil {
		t.Error("no pin at all is accepted")
	}
	// A pinned subkey: the primary key is what to pin.
	repo := repositorytest.New(t, key, modules()...)
	sub := key.Subkeys[0].PublicKey.Fingerprint
	_, err := open(t, repo, repository.Options{Pins: pins(t, strings.ToUpper(hex.EncodeToString(sub)))}).Find(t.Context(), kernel)
	says(t, err, "is a subkey of "+repositorytest.Fingerprint(key))
}

// TestPrivateCA: with a CA of its own a repository is believed by that alone.
func TestPrivateCA(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("good")) }))
	defer srv.Close()
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	for name, tt := range map[string]struct {
		roots *x509.CertPool
		ok    bool
	}{"its own": {pool, true}, "the system's": {nil, false}, "others": {x509.NewCertPool(), false}} {
		w, err := repository.NewWeb(srv.URL, repository.WebOptions{Roots: tt.roots})
		if err != nil {
			t.Fatal(err)
		}
		w.SetWait(0)
		data, err := w.Fetch(t.Context(), "x", 100)
		if tt.ok != (err == nil) || tt.ok != (string(data) == "good") {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

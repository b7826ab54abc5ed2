package main

import (
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/moduletest"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository"
	"github.com/shotglass-ir/shotglass/kernelmodules/repository/repositorytest"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// objects is as much of S3 as a depot needs, with what servers may do wrong. A real server is in package e2e.
type objects struct {
	mu      sync.Mutex
	files   map[string][]byte
	blind   bool   // passes over If-Match
	lose    string // the answer to a PUT of this name is lost, once, after it took place
	refuse  string // a PUT of this name is answered with 403
	written []string
}

func (o *objects) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/modules/")
	data, there := o.files[name]
	etag := fmt.Sprintf(`"%x"`, md5.Sum(data))
	fail := func(status int, code string) {
		w.WriteHeader(status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>no</Message></Error>", code)
	}
	switch {
	case r.Method == http.MethodHead: // the bucket
	case r.Method == http.MethodGet && !there:
		fail(404, "NoSuchKey")
	case r.Method == http.MethodGet:
		w.Header().Set("ETag", etag)
		w.Write(data)
	case r.Method == http.MethodPut:
		body, _ := io.ReadAll(r.Body)
		match := r.Header.Get("If-Match")
		switch {
		case name == o.refuse:
			fail(403, "AccessDenied")
			return
		case r.Header.Get("If-None-Match") == "*" && there, match != "" && there && match != etag && !o.blind:
			fail(412, "PreconditionFailed")
			return
		case match != "" && !there:
			fail(404, "NoSuchKey")
			return
		}
		o.files[name] = body
		o.written = append(o.written, name)
		if name == o.lose {
			o.lose = ""
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, md5.Sum(body)))
	default:
		fail(501, "NotImplemented")
	}
}

func newObjects(t *testing.T) (*objects, func() repository.Depot) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1", "AWS_PROFILE": "", "AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
	o := &objects{files: map[string][]byte{}}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	return o, func() repository.Depot {
		d, err := newBucketDepot(t.Context(), "s3://modules/lime", s3.Options{Endpoint: srv.URL, PathStyle: true})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func publishTo(t *testing.T, d repository.Depot, s repository.Signer, release string) error {
	t.Helper()
	m, err := kernelmodules.Parse(moduletest.LiME(release+" SMP modversions "), release)
	if err != nil {
		t.Fatal(err)
	}
	_, err = repository.Publish(context.Background(), d, []*kernelmodules.Module{m}, repository.PublishOptions{Signer: s})
	return err
}

// TestBucketDepot: what servers and networks do does not make a repository half published.
func TestBucketDepot(t *testing.T) {
	key := repositorytest.NewKey(t, nil)
	signer := repositorytest.Signer{Private: key}
	pins, err := repository.ParsePins([]string{repositorytest.Fingerprint(key)})
	if err != nil {
		t.Fatal(err)
	}
	count := func(from repository.Fetcher) int {
		t.Helper()
		s, err := repository.New(from, repository.Options{Pins: pins})
		if err != nil {
			t.Fatal(err)
		}
		l, err := s.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range l.Modules {
			if _, err := s.Get(t.Context(), e); err != nil {
				t.Error(err)
			}
		}
		return len(l.Modules)
	}
	t.Run("good", func(t *testing.T) {
		o, depot := newObjects(t)
		for i, release := range []string{"6.1.0-1", "6.1.0-2"} {
			if err := publishTo(t, depot(), signer, release); err != nil {
				t.Fatal(err)
			}
			if n := count(depot()); n != i+1 {
				t.Errorf("%d modules", n)
			}
		}
		if o.files["lime/modules/lime-6.1.0-1.ko"] == nil {
			t.Errorf("written: %q", o.written)
		}
	})
	t.Run("an answer is lost", func(t *testing.T) {
		for _, name := range []string{"modules/lime-6.1.0-2.ko", "repodata/repomd.xml.sig", "repodata/repomd.xml"} {
			o, depot := newObjects(t)
			if err := publishTo(t, depot(), signer, "6.1.0-1"); err != nil {
				t.Fatal(err)
			}
			o.lose = "lime/" + name
			if err := publishTo(t, depot(), signer, "6.1.0-2"); err != nil || o.lose != "" {
				t.Errorf("that to %s: %v", name, err)
			}
			if n := count(depot()); n != 2 {
				t.Errorf("that to %s: %d modules", name, n)
			}
		}
	})
	t.Run("somebody else was faster", func(t *testing.T) {
		_, depot := newObjects(t)
		if err := publishTo(t, depot(), signer, "6.1.0-1"); err != nil {
			t.Fatal(err)
		}
		_, version, err := depot().Look(t.Context(), "repodata/repomd.xml", 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := publishTo(t, depot(), signer, "6.1.0-2"); err != nil {
			t.Fatal(err)
		}
		if _, err := depot().Put(t.Context(), "repodata/repomd.xml", []byte("late"), version); !errors.Is(err, repository.ErrChanged) {
			t.Errorf("a late write: %v", err)
		}
		if _, err := depot().Put(t.Context(), "repodata/repomd.xml", []byte("late"), ""); !errors.Is(err, repository.ErrChanged) {
			t.Errorf("a write for none: %v", err)
		}
		if _, err := depot().Put(t.Context(), "repodata/gone", []byte("late"), version); !errors.Is(err, repository.ErrChanged) {
			t.Errorf("a write over what is gone: %v", err)
		}
		if n := count(depot()); n != 2 {
			t.Errorf("%d modules", n)
		}
	})
	t.Run("a server without conditions", func(t *testing.T) {
		o, depot := newObjects(t)
		if err := publishTo(t, depot(), signer, "6.1.0-1"); err != nil {
			t.Fatal(err)
		}
		o.blind = true
		before := string(o.files["lime/repodata/repomd.xml"]) + string(o.files["lime/repodata/repomd.xml.sig"])
		if err := publishTo(t, depot(), signer, "6.1.0-2"); err == nil || !strings.Contains(err.Error(), "If-Match") {
			t.Errorf("published: %v", err)
		}
		if string(o.files["lime/repodata/repomd.xml"])+string(o.files["lime/repodata/repomd.xml.sig"]) != before {
			t.Error("it was changed")
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		o, depot := newObjects(t)
		if err := publishTo(t, depot(), signer, "6.1.0-1"); err != nil {
			t.Fatal(err)
		}
		o.refuse = "lime/repodata/repomd.xml"
		err := publishTo(t, depot(), signer, "6.1.0-2")
		if err == nil || !strings.Contains(err.Error(), "repodata/repomd.xml cannot be written") || errors.Is(err, repository.ErrChanged) {
			t.Errorf("%v", err)
		}
		if n := count(depot()); n != 1 {
			t.Errorf("%d modules", n)
		}
	})
}

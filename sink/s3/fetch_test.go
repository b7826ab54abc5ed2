package s3

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// weather is what becomes of the reading of a fake's objects.
type weather struct {
	*fake
	// how answers a GET; nil: as ever. It is told the original.
	how atomic.Pointer[func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)]
}

func newWeather(t *testing.T) *weather {
	isolate(t)
	f := &weather{fake: newFake(t)}
	serve := f.Config.Handler.ServeHTTP
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if how := f.how.Load(); how != nil && r.Method == http.MethodGet {
			(*how)(w, r, serve)
			return
		}
		serve(w, r)
	})
	return f
}

func (f *weather) change(how func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc)) {
	if how == nil {
		f.how.Store(nil)
		return
	}
	f.how.Store(&how)
}

// The ways in which a server is not there.
func (f *weather) down(http.ResponseWriter, *http.Request, http.HandlerFunc) {
	panic(http.ErrAbortHandler)
}
func (f *weather) silent(_ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
	<-r.Context().Done()
}
func (f *weather) broken(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
	apiError(w, 503, "SlowDown")
}
func (f *weather) stuck(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
	from, n := rangeOf(r.Header)
	w.Header().Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(206)
	w.Write(pattern(100)[from:][:n/2])
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func (f *weather) open(t *testing.T, change ...func(*Options)) sink.Reader {
	t.Helper()
	r, err := f.sink(t, change...).Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// A server that is away, in any manner, is an error in time that says why, and it is read from as soon as it is back.
func TestReadWhileAway(t *testing.T) {
	const within = 1500 * time.Millisecond
	f := newWeather(t)
	data := pattern(100)
	f.store("case-1/image.lime", "x", data)
	for _, c := range []struct {
		name string
		how  func(http.ResponseWriter, *http.Request, http.HandlerFunc)
		says string
	}{
		{"down", f.down, "EOF"},
		{"silent", f.silent, "no answer within"},
		{"broken", f.broken, "SlowDown"},
		{"stuck", f.stuck, "no answer within"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, p := f.open(t, func(o *Options) { o.ReadWithin = within }), make([]byte, len(data))
			f.change(c.how)
			begin := time.Now()
			n, err := r.ReadAt(p, 0)
			if took := time.Since(begin); n != 0 || err == nil || !strings.Contains(err.Error(), c.says) || took > 10*within {
				t.Errorf("%d, %v in %s; want an error with %q", n, err, took, c.says)
			}
			f.change(nil)
			if n, err := r.ReadAt(p, 0); n != len(data) || err != nil || !bytes.Equal(p, data) {
				t.Errorf("back again: %d, %v", n, err)
			}
		})
		// It comes back while a read waits.
		t.Run(c.name+" for a while", func(t *testing.T) {
			r, p := f.open(t, func(o *Options) { o.ReadWithin = 10 * within }), make([]byte, len(data))
			var asked atomic.Int32
			f.change(func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
				if asked.Add(1) > 2 {
					serve(w, q)
					return
				}
				ctx, stop := context.WithTimeout(q.Context(), within/2) // whoever is silent has died
				defer stop()
				c.how(w, q.WithContext(ctx), serve)
				panic(http.ErrAbortHandler)
			})
			defer f.change(nil)
			if n, err := r.ReadAt(p, 0); n != len(data) || err != nil || !bytes.Equal(p, data) || asked.Load() < 3 {
				t.Errorf("%d, %v after %d requests", n, err, asked.Load())
			}
		})
	}
}

// Close ends reads that wait for a server that is silent.
func TestCloseWhileAway(t *testing.T) {
	f := newWeather(t)
	f.store("case-1/image.lime", "x", pattern(100))
	r, err := f.sink(t).Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{}, 1)
	f.change(func(w http.ResponseWriter, q *http.Request, serve http.HandlerFunc) {
		asked <- struct{}{}
		f.silent(w, q, serve)
	})
	read := make(chan error, 1)
	go func() {
		_, err := r.ReadAt(make([]byte, 10), 0)
		read <- err
	}()
	<-asked
	begin := time.Now()
	if err := r.Close(); err != nil || time.Since(begin) > 5*time.Second {
		t.Errorf("Close: %v after %s", err, time.Since(begin))
	}
	if err := <-read; !errors.Is(err, context.Canceled) && !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the read that waited: %v", err)
	}
}

// Whatever becomes of the object, what is read is what was opened, or an error.
func TestReadOfAnother(t *testing.T) {
	was, other := pattern(2*blockSize), bytes.Repeat([]byte{0xee}, 2*blockSize)
	for _, c := range []struct {
		name      string
		versioned bool
		change    func(f *weather)
		err       error // nil: reading goes on
	}{
		{"replaced", false, func(f *weather) { f.store("case-1/image.lime", "y", other) }, ErrReplaced},
		{"deleted", false, func(f *weather) { delete(f.objects, "case-1/image.lime") }, fs.ErrNotExist},
		{"replaced, versions", true, func(f *weather) { f.store("case-1/image.lime", "y", other) }, nil},
		{"deleted, versions", true, func(f *weather) { delete(f.objects, "case-1/image.lime") }, nil},
		{"deleted, versions, and we may not list", true, func(f *weather) {
			delete(f.objects, "case-1/image.lime")
			f.fault = func(c call, w http.ResponseWriter) bool {
				if c.Op == "GetObject" && c.Query["versionId"] == nil {
					apiError(w, 403, "AccessDenied")
					return true
				}
				return false
			}
		}, nil},
		{"replaced, the version removed", true, func(f *weather) {
			clear(f.versions)
			f.store("case-1/image.lime", "y", other)
		}, ErrReplaced},
		{"replaced, versions not for us", true, func(f *weather) {
			f.store("case-1/image.lime", "y", other)
			f.fault = func(c call, w http.ResponseWriter) bool {
				if c.Query["versionId"] != nil {
					apiError(w, 403, "AccessDenied")
					return true
				}
				return false
			}
		}, ErrReplaced},
		{"replaced, and the server knows no conditions", false, func(f *weather) {
			f.store("case-1/image.lime", "y", other)
			f.fault = func(c call, _ http.ResponseWriter) bool {
				c.Header.Del("If-Match")
				return false
			}
		}, ErrReplaced},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newWeather(t)
			if c.versioned {
				f.versions = map[string]*stored{}
			}
			f.store("case-1/image.lime", "x", was)
			var warned []string
			r := f.open(t, func(o *Options) { o.Warn = func(text string) { warned = append(warned, text) } })
			f.mu.Lock()
			c.change(f)
			f.mu.Unlock()
			for range 2 {
				p := make([]byte, len(was))
				n, err := r.ReadAt(p, 0)
				if c.err != nil && (n != 0 || !errors.Is(err, c.err)) || c.err == nil && (err != nil || !bytes.Equal(p, was)) {
					t.Errorf("%d bytes, %v", n, err)
				}
			}
			r.Close() // who warns does so beside what is read
			if c.err == nil && (len(warned) != 1 || !strings.Contains(warned[0], "reading goes on with version v-etag-1")) || c.err != nil && len(warned) > 0 {
				t.Errorf("warnings %q", warned)
			}
		})
	}
}

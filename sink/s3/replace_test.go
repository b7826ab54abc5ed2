package s3

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// TestReplace: a small object is replaced only by who has seen it as it is.
func TestReplace(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t)
	if _, _, err := s.Look(t.Context(), "index", 100); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Look for nothing: %v", err)
	}
	if _, err := s.Replace(t.Context(), "index", []byte("x"), `"some"`); !errors.Is(err, sink.ErrExists) {
		t.Errorf("in place of what is not there: %v", err)
	}
	first, err := s.Replace(t.Context(), "index", []byte("one"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replace(t.Context(), "index", []byte("two"), ""); !errors.Is(err, sink.ErrExists) {
		t.Errorf("in place of nothing: %v", err)
	}
	second, err := s.Replace(t.Context(), "index", []byte("two"), first)
	if err != nil || second == first {
		t.Fatalf("%q, %v", second, err)
	}
	if _, err := s.Replace(t.Context(), "index", []byte("three"), first); !errors.Is(err, sink.ErrExists) {
		t.Errorf("in place of what is gone: %v", err)
	}
	data, etag, err := s.Look(t.Context(), "index", 3)
	if err != nil || !bytes.Equal(data, []byte("two")) || etag != second {
		t.Errorf("%q, %q, %v", data, etag, err)
	}
	if data, _, err := s.Look(t.Context(), "index", 2); !errors.Is(err, ErrTooLong) || data != nil {
		t.Errorf("of two bytes: %q, %v", data, err)
	}
	for _, name := range []string{"../index", "a/b", "x.partial"} {
		if _, err := s.Replace(t.Context(), name, nil, ""); err == nil {
			t.Errorf("%q was written", name)
		}
	}
	// What may pass is tried again; what is denied is told.
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "PutObject" && c.Nth < 9 {
			apiError(w, 503, "SlowDown")
			return true
		}
		return false
	}
	if _, err := s.Replace(t.Context(), "index", []byte("three"), second); err != nil {
		t.Errorf("after SlowDown: %v", err)
	}
	f.fault = func(c call, w http.ResponseWriter) bool { apiError(w, 403, "AccessDenied"); return true }
	if _, err := s.Replace(t.Context(), "index", []byte("four"), second); err == nil || errors.Is(err, sink.ErrExists) {
		t.Errorf("denied: %v", err)
	}
}

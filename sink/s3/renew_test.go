package s3

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadExpired: credentials of a profile end while an object is read: reads fail, and say so, until there are new ones in the profile.
func TestReadExpired(t *testing.T) {
	f := newWeather(t)
	file := filepath.Join(t.TempDir(), "credentials")
	session := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("[default]\naws_access_key_id = ASIA"+token+"\naws_secret_access_key = x\naws_session_token = "+token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(k, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	session("first")
	var said []string
	s := f.sink(t, func(o *Options) { o.Warn = func(text string) { said = append(said, text) } })
	data := pattern(8 * blockSize)
	f.fake.store(s.key("image.lime"), "", data)
	f.change(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Header.Get("X-Amz-Security-Token") == "first" {
			apiError(w, 400, "ExpiredToken")
			return
		}
		serve(w, r)
	})
	r, err := s.Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, 100)
	_, err = r.ReadAt(p, 0)
	var e *Error
	if !errors.As(err, &e) || e.Code != "ExpiredToken" || !strings.Contains(e.Hint(), "new credentials") || len(said) > 0 {
		t.Fatalf("with what has ended: %v, %q", err, said)
	}
	session("second")
	s.creds.mu.Lock()
	s.creds.last = time.Time{} // as if some seconds had passed
	s.creds.mu.Unlock()
	if n, err := r.ReadAt(p, 0); err != nil || !bytes.Equal(p[:n], data[:100]) {
		t.Fatalf("with new ones: %d bytes, %v", n, err)
	}
	if n, err := r.ReadAt(p, 6*blockSize); err != nil || !bytes.Equal(p[:n], data[6*blockSize:][:100]) {
		t.Errorf("elsewhere: %d bytes, %v", n, err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "new ones") {
		t.Errorf("it said %q", said)
	}
}

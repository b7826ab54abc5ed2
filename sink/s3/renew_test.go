package s3

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
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
	s.creds.nothing = time.Time{} // as if some seconds had passed
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

// TestReadExpiredAtOnce: credentials end while many blocks are under way. All of them go on with the new ones, which are asked for once.
func TestReadExpiredAtOnce(t *testing.T) {
	const blocks = 8
	f := newWeather(t)
	var said atomic.Int32
	s := f.sink(t, func(o *Options) { o.Warn = func(string) { said.Add(1) } })
	var asked atomic.Int32
	s.creds.load = func(context.Context) (aws.CredentialsProvider, error) {
		asked.Add(1)
		return credentials.NewStaticCredentialsProvider("ASIAsecond", "x", "second"), nil
	}
	data := pattern(blocks * runBlocks * blockSize)
	f.fake.store(s.key("image.lime"), "", data)
	all := make(chan struct{}) // every block has been asked for
	var under, read atomic.Int32
	half := make(chan struct{}) // half of them have been read anew
	f.change(func(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
		if r.Method != http.MethodGet {
			serve(w, r)
			return
		}
		if r.Header.Get("X-Amz-Security-Token") == "second" {
			serve(w, r)
			if read.Add(1) == blocks/2 {
				close(half)
			}
			return
		}
		n := under.Add(1)
		if n == blocks {
			close(all)
		}
		<-all
		if n > blocks/2 { // these learn of it after others have renewed
			<-half
		}
		apiError(w, 400, "ExpiredToken")
	})
	r, err := s.Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for i := range int64(blocks) {
		wg.Go(func() {
			p, at := make([]byte, 100), (blocks-1-i)*runBlocks*blockSize
			if n, err := r.ReadAt(p, at); err != nil || !bytes.Equal(p[:n], data[at:][:100]) {
				t.Errorf("at %d: %d bytes, %v", at, n, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 || said.Load() != 1 {
		t.Errorf("asked %d times, told %d times", asked.Load(), said.Load())
	}
}

// TestRenewNothing: a chain that has nothing new is not asked for each block that fails, and who stops waiting for it waits no longer.
func TestRenewNothing(t *testing.T) {
	old := credentials.NewStaticCredentialsProvider("ASIAfirst", "x", "first")
	asked := 0
	c := &renewable{now: old, told: func() { t.Error("told of nothing") }, load: func(context.Context) (aws.CredentialsProvider, error) {
		asked++
		return old, nil
	}}
	for range 3 {
		if c.renew(t.Context(), c.before()) {
			t.Error("it has others")
		}
	}
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	held := make(chan struct{})
	c = &renewable{now: old, told: func() {}, load: func(ctx context.Context) (aws.CredentialsProvider, error) {
		<-held
		return credentials.NewStaticCredentialsProvider("ASIAsecond", "x", "second"), ctx.Err()
	}}
	gone, stop := context.WithCancel(t.Context())
	stop()
	if c.renew(gone, 0) {
		t.Error("it waited")
	}
	close(held)
	if !c.renew(t.Context(), 0) || c.before() != 1 {
		t.Error("who stopped waiting ended it for the others")
	}
}

package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// hanging lets calls of op take no answer until the test ends; from is the first that hangs. Each
// that does is told.
func (f *fake) hanging(t *testing.T, op string, from int) <-chan struct{} {
	end, hung := make(chan struct{}), make(chan struct{}, 1000)
	t.Cleanup(func() { close(end) })
	f.fault = faulty(op, func(n int, _ http.ResponseWriter) bool {
		if n < from {
			return false
		}
		hung <- struct{}{}
		f.mu.Unlock()
		<-end
		f.mu.Lock()
		return true
	})
	return hung
}

// TestSilent: a server that takes parts and never answers is given up after three attempts,
// and what it had before is kept.
func TestSilent(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.hanging(t, "UploadPart", 2)
	s := f.sink(t, func(o *Options) { o.patient, o.Attempts, o.Concurrency = 400*time.Millisecond, 10, 1 })
	o, data := create(t, s, "image.lime"), pattern(4*minPartSize)
	_, err := o.Write(data)
	if err == nil {
		_, err = o.Commit(t.Context())
	}
	var slow *slowError
	if !errors.As(err, &slow) || !slow.last {
		t.Fatalf("error %v, want that of a silent server", err)
	}
	if n := len(f.of("UploadPart")); n > 1+2*maxSilent {
		t.Errorf("%d parts were sent to a server that is silent", n)
	}
	r, err := o.Keep(t.Context())
	if err != nil || r.Size != minPartSize {
		t.Fatalf("Keep = %+v, %v", r, err)
	}
	f.content(t, "image.lime", data[:minPartSize])
}

// TestSlow: a server that takes a part for much longer than silence is granted gets it in one attempt.
func TestSlow(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.pace = func(r *http.Request) io.Reader { return &drip{r.Body} }
	s := f.sink(t, func(o *Options) { o.patient, o.PartSize = 1500*time.Millisecond, 16<<20 })
	o, data := create(t, s, "image.lime"), pattern(17<<20)
	begin := time.Now()
	write(t, o, data)
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 3*time.Second {
		t.Fatalf("the server was not slow: %s", d)
	}
	if n := len(f.of("UploadPart")); n != 2 {
		t.Errorf("%d attempts for two parts", n)
	}
	f.content(t, "image.lime", data)
}

// A drip takes 16 MiB in four seconds or more.
type drip struct{ io.Reader }

func (d *drip) Read(p []byte) (int, error) {
	time.Sleep(4 * time.Millisecond)
	return d.Reader.Read(p[:min(len(p), 32<<10)])
}

// TestStopsReading: a server that takes a little of a part and then nothing.
func TestStopsReading(t *testing.T) {
	isolate(t)
	end := make(chan struct{})
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			io.CopyN(io.Discard, r.Body, 1<<20)
			<-end
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()
	defer close(end)
	s, err := New(t.Context(), Options{Bucket: bucket, Endpoint: srv.URL, PathStyle: true, HTTPClient: srv.Client(), PartSize: 64 << 20, patient: 200 * time.Millisecond, backoff: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	o := create(t, s, "image.lime")
	write(t, o, make([]byte, 32<<20)) // more than the kernels buffer
	begin := time.Now()
	_, err = o.Commit(t.Context())
	var slow *slowError
	// The time that 32 MiB take at the floor is 7.2 s here.
	if d := time.Since(begin); !errors.As(err, &slow) || d > 5*time.Second {
		t.Errorf("after %s: %v, want a slowError", d, err)
	}
}

// TestHasten: a Write that waits for a server that hangs ends when the user wants to leave, and so
// does Keep, with what the server has.
func TestHasten(t *testing.T) {
	isolate(t)
	f := newFake(t)
	hung := f.hanging(t, "UploadPart", 2)
	s := f.sink(t, func(o *Options) { o.Concurrency = 1 }) // patient for half a minute
	o, data := create(t, s, "image.lime"), pattern(6*minPartSize)
	go func() {
		<-hung
		o.(sink.Hastener).Hasten(100 * time.Millisecond)
	}()
	begin := time.Now()
	if _, err := o.Write(data); err == nil {
		t.Fatal("Write succeeded")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	r, err := o.Keep(ctx)
	if err != nil || r.Size != minPartSize {
		t.Errorf("Keep = %+v, %v", r, err)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %s to leave", d)
	}
	f.content(t, "image.lime", data[:minPartSize])
}

// TestSilentEverywhere: whatever call is not answered, the sink comes back with an error.
func TestSilentEverywhere(t *testing.T) {
	isolate(t)
	for _, op := range []string{"HeadObject", "CreateMultipartUpload", "CompleteMultipartUpload", "PutObject", "AbortMultipartUpload"} {
		f := newFake(t)
		f.hanging(t, op, 1)
		s := f.sink(t, func(o *Options) { o.patient = 50 * time.Millisecond })
		o, err := s.CreateSized(t.Context(), "image.lime", 1)
		size := minPartSize + 1
		if op == "PutObject" {
			size = 1
		}
		if err == nil {
			_, err = o.Write(pattern(size))
		}
		switch {
		case err != nil:
		case op == "AbortMultipartUpload":
			err = o.Abort(t.Context())
		default:
			_, err = o.Commit(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), "no answer within") {
			t.Errorf("%s: %v", op, err)
		}
	}
}

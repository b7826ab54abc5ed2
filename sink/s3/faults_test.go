package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// TestCompleteAnswers200 and an error in the body, as S3 does when it fails after it began to
// answer: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
func TestCompleteAnswers200(t *testing.T) {
	isolate(t)
	failing := func(n int, w http.ResponseWriter) bool {
		io.WriteString(w, "\n \n<Error><Code>InternalError</Code><Message>no</Message></Error>")
		return true
	}
	f := newFake(t)
	f.fault = faulty("CompleteMultipartUpload", upTo(2, failing))
	o, data := create(t, f.sink(t), "image.lime"), pattern(minPartSize+1)
	write(t, o, data)
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatalf("twice: %v", err)
	}
	f.content(t, "image.lime", data)

	f = newFake(t)
	f.fault = faulty("CompleteMultipartUpload", failing)
	o = create(t, f.sink(t), "image.lime")
	write(t, o, data)
	if _, err := o.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "InternalError") {
		t.Errorf("always: %v", err)
	}
}

// TestConflict: a 409 says that somebody else writes the same name just now. It passes.
func TestConflict(t *testing.T) {
	isolate(t)
	for _, op := range []string{"CompleteMultipartUpload", "PutObject"} {
		f := newFake(t)
		f.fault = faulty(op, upTo(2, replying(409, "ConditionalRequestConflict")))
		o, data := create(t, f.sink(t), "image.lime"), pattern(minPartSize+1)
		if op == "PutObject" {
			data = data[:9]
		}
		write(t, o, data)
		if _, err := o.Commit(t.Context()); err != nil {
			t.Errorf("%s: %v", op, err)
		}
		f.content(t, "image.lime", data)
	}
}

// TestSlowDown: S3 wants fewer requests. The pauses between attempts grow.
func TestSlowDown(t *testing.T) {
	isolate(t)
	f := newFake(t)
	var mu sync.Mutex
	var times []time.Time
	f.fault = faulty("UploadPart", func(n int, w http.ResponseWriter) bool {
		mu.Lock()
		defer mu.Unlock()
		times = append(times, time.Now())
		if n < 5 {
			apiError(w, 503, "SlowDown")
		}
		return n < 5
	})
	s := f.sink(t, func(o *Options) { o.backoff, o.Attempts, o.Concurrency = 4*time.Second, 10, 1 })
	o := create(t, s, "image.lime")
	write(t, o, pattern(minPartSize+1))
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The pauses have a random share of 1, 2, 4 and 4 s: all four below 50 ms is one chance in 10 million.
	if d := times[4].Sub(times[0]); d < 200*time.Millisecond {
		t.Errorf("five attempts within %s", d)
	}
}

// TestWrongSize: a server that sends no checksums, and holds something else.
func TestWrongSize(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.echo = func(_, _ string) string { return "" }
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "HeadObject" && f.objects[c.Key] != nil {
			w.Header().Set("Content-Length", "3")
			w.Header().Set("X-Amz-Meta-Shotglass-Id", f.objects[c.Key].id)
			return true
		}
		return false
	}
	o := create(t, f.sink(t), "image.lime")
	write(t, o, pattern(minPartSize+1))
	if _, err := o.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "stored with 3 bytes") {
		t.Errorf("error %v", err)
	}
}

// TestKeyDenied: the key's policy refuses in the middle.
func TestKeyDenied(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = faulty("UploadPart", func(n int, w http.ResponseWriter) bool {
		if n > 1 {
			w.WriteHeader(403)
			io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>User: x is not authorized to perform: kms:GenerateDataKey on this resource</Message></Error>")
		}
		return n > 1
	})
	s := f.sink(t, func(o *Options) { o.KMSKey, o.Concurrency = "alias/evidence", 1 })
	o, data := create(t, s, "image.lime"), pattern(5*minPartSize)
	_, err := o.Write(data)
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "kms:GenerateDataKey") || !strings.Contains(e.Hint(), "--s3-kms-key") {
		t.Fatalf("Write: %v", err)
	}
	if r, err := o.Keep(t.Context()); err != nil || r.Size != minPartSize {
		t.Errorf("Keep = %+v, %v", r, err)
	}
}

// TestSkew: the SDK corrects a clock that is wrong; where that does not help, we say by how much it is.
func TestSkew(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = func(c call, w http.ResponseWriter) bool {
		w.Header().Set("Date", time.Now().Add(2*time.Hour).UTC().Format(http.TimeFormat))
		apiError(w, 403, "RequestTimeTooSkewed")
		return true
	}
	err := f.sink(t).Check(t.Context(), "image.lime")
	if err == nil || !strings.Contains(err.Error(), "2h0m0s behind") {
		t.Errorf("error %v", err)
	}
}

// A fakeSTS gives credentials that end soon.
type fakeSTS struct {
	*httptest.Server
	mu    sync.Mutex
	calls []url.Values
	lives time.Duration
	deny  bool
}

func newFakeSTS(t *testing.T, lives time.Duration) *fakeSTS {
	s := &fakeSTS{lives: lives}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls = append(s.calls, r.PostForm)
		if s.deny {
			w.WriteHeader(403)
			io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ASIA%d</AccessKeyId>`+
			`<SecretAccessKey>x</SecretAccessKey><SessionToken>token-%d</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
			len(s.calls), len(s.calls), time.Now().Add(s.lives).UTC().Format(time.RFC3339Nano))
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ENDPOINT_URL_STS", s.URL)
	return s
}

// TestRole: the role is assumed under its external id, and again before its credentials end.
func TestRole(t *testing.T) {
	isolate(t)
	const role = "arn:aws:iam::123456789012:role/evidence"
	sts := newFakeSTS(t, 5*time.Minute+time.Second) // a second more than the margin
	f := newFake(t)
	s := f.sink(t, func(o *Options) { o.RoleARN, o.ExternalID, o.Concurrency = role, "case-42", 1 })
	o, data := create(t, s, "image.lime"), pattern(3*minPartSize)
	write(t, o, data[:minPartSize+1])
	time.Sleep(1500 * time.Millisecond) // the credentials are too old by now
	write(t, o, data[minPartSize+1:])
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.content(t, "image.lime", data)
	if len(sts.calls) < 2 {
		t.Errorf("the role was assumed %d times", len(sts.calls))
	}
	for _, c := range sts.calls {
		if c.Get("RoleArn") != role || c.Get("ExternalId") != "case-42" || c.Get("RoleSessionName") != "shotglass" {
			t.Errorf("AssumeRole %v", c)
		}
	}
	tokens := map[string]bool{}
	for _, c := range f.calls {
		tokens[c.Header.Get("X-Amz-Security-Token")] = true
	}
	if !tokens["token-1"] || !tokens["token-2"] || tokens[""] {
		t.Errorf("calls were made with the tokens %v", tokens)
	}
}

func TestRoleDenied(t *testing.T) {
	isolate(t)
	sts := newFakeSTS(t, time.Hour)
	sts.deny = true
	s := newFake(t).sink(t, func(o *Options) { o.RoleARN = "arn:aws:iam::123456789012:role/evidence" })
	err := s.Check(t.Context(), "image.lime")
	var e *Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "AccessDenied") || !strings.Contains(e.Hint(), "docs/s3.md") {
		t.Errorf("error %v", err)
	}
	if errors.Is(err, sink.ErrExists) {
		t.Error("taken for a name that is taken")
	}
}

//go:build e2e

package e2e

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// A lyingProxy stands before the real server, under its certificate, and answers some calls by
// itself.
type lyingProxy struct {
	*httptest.Server
	mu    sync.Mutex
	parts int // of images, so far
	// answer may answer a call; n counts the parts of images.
	answer func(w http.ResponseWriter, r *http.Request, n int) bool
	// alter may change the real server's answer.
	alter func(*http.Response)
}

func newLyingProxy(t *testing.T, srv *lab.S3) *lyingProxy {
	t.Helper()
	to, err := url.Parse(srv.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(srv.CA, srv.Key)
	if err != nil {
		t.Fatal(err)
	}
	p := &lyingProxy{}
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host
			r.Out.Host = r.In.Host // it is signed
		},
		Transport: srv.Client.Options().HTTPClient.(*http.Client).Transport,
		ModifyResponse: func(r *http.Response) error {
			if p.alter != nil {
				p.alter(r)
			}
			return nil
		},
	}
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		image := strings.HasSuffix(r.URL.Path, "-mem.lime")
		if image && isPart(r) {
			p.parts++
		}
		n := p.parts
		p.mu.Unlock()
		if image && p.answer != nil && p.answer(w, r, n) {
			return
		}
		forward.ServeHTTP(w, r)
	}))
	p.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func isPart(r *http.Request) bool {
	return r.Method == http.MethodPut && r.URL.Query().Has("partNumber")
}

func isComplete(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Query().Has("uploadId")
}

func refuse(w http.ResponseWriter, status int, code, message string) bool {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, message)
	return true
}

// TestS3Faults: what the bucket does in the middle of a capture, and the exit code.
func TestS3Faults(t *testing.T) {
	t.Parallel()
	srv := startS3(t)
	guest := newRig(t).guest
	from := func(first int, status int, code, message string) func(http.ResponseWriter, *http.Request, int) bool {
		return func(w http.ResponseWriter, r *http.Request, n int) bool {
			return isPart(r) && n >= first && refuse(w, status, code, message)
		}
	}
	for _, tt := range []struct {
		name   string
		code   int
		says   string
		answer func(http.ResponseWriter, *http.Request, int) bool
		alter  func(*http.Response)
	}{
		{name: "key denied", code: 3, says: "kms:GenerateDataKey and kms:Decrypt", answer: from(3, 403, "AccessDenied", "not authorized to perform: kms:GenerateDataKey")},
		{name: "token expired", code: 3, says: "get new credentials", answer: from(3, 400, "ExpiredToken", "The provided token has expired.")},
		{name: "no permission at all", code: 1, says: "needs the policy of docs/s3.md", answer: func(w http.ResponseWriter, r *http.Request, _ int) bool {
			return r.Method != http.MethodHead && !isComplete(r) && refuse(w, 403, "AccessDenied", "Access Denied")
		}},
		{name: "slow down", code: 0, answer: func(w http.ResponseWriter, r *http.Request, n int) bool {
			return isPart(r) && n > 2 && n < 9 && refuse(w, 503, "SlowDown", "Please reduce your request rate.")
		}},
		{name: "completes with an error in a 200", code: 0, answer: func() func(http.ResponseWriter, *http.Request, int) bool {
			times := 0
			return func(w http.ResponseWriter, r *http.Request, _ int) bool {
				if !isComplete(r) || times == 2 {
					return false
				}
				times++
				return refuse(w, 200, "InternalError", "We encountered an internal error. Please try again.")
			}
		}()},
		{name: "wrong checksums", code: 1, says: "another checksum", alter: func(r *http.Response) {
			if isPart(r.Request) && r.Header.Get("X-Amz-Checksum-Crc64nvme") != "" && strings.HasSuffix(r.Request.URL.Path, "-mem.lime") {
				r.Header.Set("X-Amz-Checksum-Crc64nvme", "AAAAAAAAAAA=")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rigOf(t, guest)
			p := newLyingProxy(t, srv)
			p.answer, p.alter = tt.answer, tt.alter
			front := *srv
			front.Endpoint = p.URL
			prefix := strings.ReplaceAll(tt.name, " ", "-") + "/"
			out := start(t, srv.Env(), r.s3Args(&front, prefix)...)
			out.want(tt.code, 5*time.Minute)
			if !strings.Contains(out.stderr.String(), tt.says) {
				t.Errorf("stderr does not say %q:\n%s", tt.says, out.stderr.String())
			}
			r.clean(30 * time.Second)
			keys, err := srv.Keys(t.Context(), prefix)
			if err != nil {
				t.Fatal(err)
			}
			all := strings.Join(keys, " ")
			if whole, part := strings.Contains(all, "-mem.lime.json"), strings.Contains(all, "-mem.lime.partial.json"); whole != (tt.code == 0) || part == whole {
				t.Errorf("objects %q", keys)
			}
			if tt.code != 3 {
				noUploads(t, srv)
			}
		})
	}
}

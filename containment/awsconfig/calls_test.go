package awsconfig_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/shotglass-ir/shotglass/containment/awsconfig"
)

// A server that takes a request and is silent, from the start or in the middle of its answer, is given up; one that is slow is not.
func TestSilence(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	const answer = `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/a</Arn></GetCallerIdentityResult></GetCallerIdentityResponse>`
	var asked atomic.Int32
	how := map[string]func(http.ResponseWriter, <-chan struct{}){
		"no answer": func(_ http.ResponseWriter, end <-chan struct{}) { <-end },
		"half of one": func(w http.ResponseWriter, end <-chan struct{}) {
			time.Sleep(50 * time.Millisecond) // the transport closes the connection under an answer that is there before the request is done, now and then
			io.WriteString(w, answer[:20])
			w.(http.Flusher).Flush()
			<-end
		},
		"a slow one": func(w http.ResponseWriter, end <-chan struct{}) {
			for _, b := range strings.SplitAfter(answer, ">") {
				select {
				case <-end:
				case <-time.After(150 * time.Millisecond): // seven of them are longer than the patience
				}
				io.WriteString(w, b)
				w.(http.Flusher).Flush()
			}
		},
	}
	for name, serve := range how {
		t.Run(name, func(t *testing.T) {
			end := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				serve(w, end)
			}))
			defer s.Close()
			defer close(end)
			asked.Store(0)
			cfg, err := awsconfig.Load(t.Context(), "", "eu-west-1")
			if err != nil {
				t.Fatal(err)
			}
			c, ok := cfg.HTTPClient.(*awshttp.BuildableClient)
			if !ok {
				t.Fatalf("the client is a %T", cfg.HTTPClient)
			}
			if d, set := c.GetReadTimeout(); !set || d != time.Minute {
				t.Errorf("it waits for %s", d)
			}
			cfg.HTTPClient, cfg.BaseEndpoint = c.WithReadTimeout(700*time.Millisecond), aws.String(s.URL)
			cfg.APIOptions = []func(*middleware.Stack) error{awsconfig.Bounded(350 * time.Millisecond)}
			cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxBackoffDelay(awsconfig.Patient(), time.Millisecond) }
			out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
			if name == "a slow one" {
				if err != nil || aws.ToString(out.Arn) != "arn:aws:iam::111122223333:user/a" {
					t.Errorf("%v, %v", out, err)
				}
				return
			}
			if n := asked.Load(); !silent(err) || !strings.Contains(err.Error(), "no answer within ") || !strings.Contains(err.Error(), ", 3 times") || n < 3 || n > 3 && name == "no answer" {
				t.Errorf("after %d calls: %v", n, err)
			}
		})
	}
}

// Who has no credentials is told what to do, whatever is called; who calls in vain hears of it soon.
func TestNobody(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	cfg, err := awsconfig.Load(t.Context(), "", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "there are no credentials to call with: name a profile") {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	if cfg, err = awsconfig.Load(t.Context(), "", "eu-west-1"); err != nil {
		t.Fatal(err)
	}
	asked := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer s.Close()
	cfg.BaseEndpoint = aws.String(s.URL)
	cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxBackoffDelay(awsconfig.Patient(), time.Millisecond) }
	if _, err := (&awsconfig.Accounts{Base: cfg, NoIMDS: true}).Caller(t.Context()); err == nil || asked != 4 {
		t.Errorf("after %d calls: %v", asked, err)
	}
}

// A URL is signed as ever, for which nothing is called: EC2's CopySnapshot wants one.
func TestPresign(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	cfg, err := awsconfig.Load(t.Context(), "", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	r, err := sts.NewPresignClient(sts.NewFromConfig(cfg)).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || !strings.Contains(r.URL, "X-Amz-Signature=") {
		t.Errorf("%+v %v", r, err)
	}
}

// A connection that is closed at once under a call was not silent: the call is made again, as after any other loss. One that is closed late was.
func TestClosedConnection(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	for after, want := range map[time.Duration]int{0: 8, 50 * time.Second: 3} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg, err := awsconfig.Load(t.Context(), "", "eu-west-1")
				if err != nil {
					t.Fatal(err)
				}
				asked := 0
				cfg.HTTPClient = doer(func(*http.Request) (*http.Response, error) {
					asked++
					time.Sleep(after)
					return nil, fmt.Errorf("read tcp: %w", net.ErrClosed)
				})
				_, err = sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
				if asked != want || !errors.Is(err, net.ErrClosed) || silent(err) != (after > 0) {
					t.Errorf("after %d calls: %v", asked, err)
				}
			})
		})
	}
}

type doer func(*http.Request) (*http.Response, error)

func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// silent reports whether an error says that it is of a server that was silent.
func silent(err error) bool {
	var e interface{ Timeout() bool }
	return errors.As(err, &e) && e.Timeout()
}

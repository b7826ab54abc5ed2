package awsconfig_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/sts"

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
			cfg.Retryer = func() aws.Retryer { return retry.AddWithMaxBackoffDelay(awsconfig.Patient(), time.Millisecond) }
			out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
			if name == "a slow one" {
				if err != nil || aws.ToString(out.Arn) != "arn:aws:iam::111122223333:user/a" {
					t.Errorf("%v, %v", out, err)
				}
				return
			}
			if n := asked.Load(); err == nil || !strings.Contains(err.Error(), "no answer within ") || !strings.Contains(err.Error(), ", 3 times") || n != 3 {
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

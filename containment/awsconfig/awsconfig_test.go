package awsconfig_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	alice  = "arn:aws:iam::111122223333:user/ir/alice"
	member = "arn:aws:iam::444455556666:role/ir/responder"
)

func cloud(t *testing.T) *awsfake.Cloud {
	c := awsfake.New()
	t.Cleanup(c.Close)
	c.AddRole(member, awsfake.Trust{Principals: []string{alice}, ExternalID: "correct horse", SourceIdentity: true})
	return c
}

func target(t *testing.T, s string) containment.Target {
	t.Helper()
	tg, err := containment.ParseTarget(s)
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

// who asks STS who a configuration calls as, and where.
func who(t *testing.T, cfg aws.Config) string {
	t.Helper()
	out, err := sts.NewFromConfig(cfg).GetCallerIdentity(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.Arn) + " in " + cfg.Region
}

// Each target in its account and region; the role's session is named for the case, and begun once.
func TestAccounts(t *testing.T) {
	c := cloud(t)
	a := &awsconfig.Accounts{Base: c.Config(alice, "eu-west-1"), Role: "/ir/responder", ExternalID: "correct horse", Case: "case 42/ä", SourceIdentity: "alice"}
	for s, want := range map[string]string{
		"user/bob":                           alice + " in eu-west-1",
		"arn:aws:iam::111122223333:role/web": alice + " in eu-west-1",
		"arn:aws:lambda:us-west-2:111122223333:function:thumbs": alice + " in us-west-2",
		"arn:aws:iam::444455556666:role/web":                    "arn:aws:sts::444455556666:assumed-role/responder/shotglass-case-42-- in eu-west-1",
		"arn:aws:lambda:us-west-2:444455556666:function:thumbs": "arn:aws:sts::444455556666:assumed-role/responder/shotglass-case-42-- in us-west-2",
	} {
		cfg, err := a.Config(t.Context(), target(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if got := who(t, cfg); got != want {
			t.Errorf("%s by %s, want %s", s, got, want)
		}
	}
	n := 0
	for _, call := range c.Calls() {
		if call.Operation == "AssumeRole" {
			n++
			if got := call.Form.Get("SourceIdentity"); got != "alice" {
				t.Errorf("source identity %q", got)
			}
		}
	}
	if n != 1 {
		t.Errorf("the role was assumed %d times", n)
	}
	// One role by ARN: for its account alone, which short forms then mean.
	a = &awsconfig.Accounts{Base: c.Config(alice, "eu-west-1"), Role: member, ExternalID: "correct horse", SourceIdentity: "alice"}
	cfg, err := a.Config(t.Context(), target(t, "user/bob"))
	if err != nil {
		t.Fatal(err)
	}
	if got := who(t, cfg); !strings.Contains(got, "assumed-role/responder/shotglass ") {
		t.Errorf("by %s", got)
	}
}

// What is wrong is said, with what to do; secrets are not.
func TestRefused(t *testing.T) {
	c := cloud(t)
	base := c.Config(alice, "eu-west-1")
	nowhere := c.Config(alice, "")
	for _, x := range []struct {
		name, target string
		a            *awsconfig.Accounts
		says         string
	}{
		{"another account", "arn:aws:iam::444455556666:role/web", &awsconfig.Accounts{Base: base}, "is in account 444455556666, and you are in 111122223333"},
		{"another partition", "arn:aws-cn:iam::111122223333:role/web", &awsconfig.Accounts{Base: base}, "partition aws-cn"},
		{"a role of another account", "arn:aws:iam::777788889999:role/web", &awsconfig.Accounts{Base: base, Role: member}, "in 444455556666"},
		{"no role", "arn:aws:iam::444455556666:role/web", &awsconfig.Accounts{Base: base, Role: alice}, "no role to assume"},
		{"a wrong external id", "arn:aws:iam::444455556666:role/web", &awsconfig.Accounts{Base: base, Role: "ir/responder", ExternalID: "battery staple", SourceIdentity: "alice"}, "with the external id that you gave"},
		{"no external id", "arn:aws:iam::444455556666:role/web", &awsconfig.Accounts{Base: base, Role: "ir/responder", SourceIdentity: "alice"}, "without an external id"},
		{"no such role", "arn:aws:iam::444455556666:role/web", &awsconfig.Accounts{Base: base, Role: "responder"}, "role/responder: its trust policy must allow sts:AssumeRole for " + alice},
		{"no region", "function/thumbs", &awsconfig.Accounts{Base: nowhere}, "give its ARN, or a region"},
	} {
		_, err := x.a.Config(t.Context(), target(t, x.target))
		if err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%s: %v", x.name, err)
		} else if strings.Contains(err.Error(), "battery") {
			t.Errorf("%s: the external id is told: %v", x.name, err)
		}
	}
	// IAM needs no region.
	cfg, err := (&awsconfig.Accounts{Base: nowhere}).Config(t.Context(), target(t, "user/bob"))
	if err != nil || cfg.Region != "us-east-1" {
		t.Errorf("in %q: %v", cfg.Region, err)
	}
}

// The chain of a profile's roles, and the roles that are assumed for targets, are known to the guard rails; so is the
// instance that this runs on.
func TestCaller(t *testing.T) {
	c := cloud(t)
	for _, arn := range []string{"arn:aws:iam::111122223333:role/hub", "arn:aws:iam::111122223333:role/desk"} {
		c.AddRole(arn, awsfake.Trust{})
	}
	metadata := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			fmt.Fprint(w, "token")
		case "/latest/dynamic/instance-identity/document":
			json.NewEncoder(w).Encode(map[string]string{"instanceId": "i-0123456789abcdef0"}) //nolint:errcheck // the test would fail
		default:
			http.NotFound(w, r)
		}
	}))
	defer metadata.Close()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte("[profile desk]\nrole_arn = arn:aws:iam::111122223333:role/desk\nsource_profile = hub\n"+
		"[profile hub]\nrole_arn = arn:aws:iam::111122223333:role/hub\nsource_profile = alice\n[profile alice]\naws_access_key_id = "+
		c.Principal(alice).AccessKey+"\naws_secret_access_key = secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(k, "")
	}
	t.Setenv("AWS_ENDPOINT_URL", c.URL())
	t.Setenv("AWS_ENDPOINT_URL_STS", c.URL()) // which is all that the roles of a profile look at
	t.Setenv("AWS_CONFIG_FILE", file)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.URL)
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "")

	base, err := awsconfig.Load(t.Context(), "desk", "eu-west-1")
	if err != nil {
		t.Fatal(err)
	}
	a := &awsconfig.Accounts{Base: base, Role: "ir/responder"}
	got, err := a.Caller(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range got.Chain { // the SDK names the sessions
		got.Chain[i] = strings.Join(strings.Split(got.Chain[i], "/")[:2], "/")
	}
	got.ARN = strings.Join(strings.Split(got.ARN, "/")[:2], "/")
	want := containment.Identity{
		ARN: "arn:aws:sts::111122223333:assumed-role/desk", Account: "111122223333", Instance: "i-0123456789abcdef0",
		Chain:   []string{"arn:aws:iam::111122223333:user/ir", "arn:aws:sts::111122223333:assumed-role/hub"},
		Assumes: []string{"arn:aws:iam:::role/ir/responder"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}

	// In a function: its name, and no instance.
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "lockdown")
	if id, err := (&awsconfig.Accounts{Base: base}).Caller(t.Context()); err != nil || id.Instance != "" || id.Function != "lockdown" {
		t.Errorf("%+v, %v", id, err)
	}
	t.Setenv("AWS_LAMBDA_FUNCTION_NAME", "")

	// Not asked; not answering, which takes a second; and keys of the environment, which have no chain.
	if id, err := (&awsconfig.Accounts{Base: base, NoIMDS: true}).Caller(t.Context()); err != nil || id.Instance != "" {
		t.Errorf("%+v, %v", id, err)
	}
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", silent.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", c.Principal(alice).AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_PROFILE", "desk")
	if base, err = awsconfig.Load(t.Context(), "", "eu-west-1"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	id, err := (&awsconfig.Accounts{Base: base}).Caller(t.Context())
	if err != nil || id.ARN != alice || id.Chain != nil || id.Instance != "" {
		t.Errorf("%+v, %v", id, err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// What passes by itself is tried again; what does not is not.
func TestPatient(t *testing.T) {
	for code, again := range map[string]bool{
		"EntityTemporarilyUnmodifiable": true, "ConcurrentModification": true, "Throttling": true, "ResourceConflictException": true,
		"AccessDenied": false, "LimitExceeded": false, "NoSuchEntity": false,
	} {
		if awsconfig.Patient().IsErrorRetryable(&smithy.GenericAPIError{Code: code}) != again {
			t.Errorf("%s: tried again is not %t", code, again)
		}
	}
}

func TestExplain(t *testing.T) {
	for code, is := range map[string]error{
		"AccessDenied": containment.ErrDenied, "AccessDeniedException": containment.ErrDenied, "UnauthorizedOperation": containment.ErrDenied,
		"UnmodifiableEntity": containment.ErrRefused,
	} {
		err := fmt.Errorf("call: %w", &smithy.GenericAPIError{Code: code, Message: "what AWS says"})
		if got := awsconfig.Explain(err); !errors.Is(got, is) || !strings.Contains(got.Error(), "what AWS says") {
			t.Errorf("%s: %v", code, got)
		}
	}
	if awsconfig.Explain(nil) != nil {
		t.Error("no error is one")
	}
}

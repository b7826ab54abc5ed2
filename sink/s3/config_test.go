package s3

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestRegion(t *testing.T) {
	isolate(t)
	f := newFake(t)
	f.fault = func(c call, w http.ResponseWriter) bool {
		if c.Op == "HeadBucket" && !strings.Contains(c.Header.Get("Authorization"), "/ap-south-1/") {
			w.Header().Set("X-Amz-Bucket-Region", "ap-south-1")
			apiError(w, 301, "PermanentRedirect")
			return true
		}
		return false
	}
	s := f.sink(t)
	region, err := s.region(t.Context(), s.newClient("eu-central-1"))
	if region != "ap-south-1" || err != nil {
		t.Errorf("region %q, %v", region, err)
	}
}

// An instance whose role gives the credentials asks S3 of its own region first; nobody else asks the metadata service.
func TestMachineRegion(t *testing.T) {
	isolate(t)
	asked := 0
	machine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		switch r.URL.Path {
		case "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "60")
			io.WriteString(w, "token") //nolint:errcheck // the client sees it
		case "/latest/dynamic/instance-identity/document":
			io.WriteString(w, `{"region": "ap-south-1"}`) //nolint:errcheck // the client sees it
		default:
			http.NotFound(w, r)
		}
	}))
	defer machine.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.URL)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	region := func() string {
		t.Helper()
		s, err := New(t.Context(), Options{Bucket: bucket})
		if err != nil {
			t.Fatal(err)
		}
		return s.cfg.Region
	}
	t.Setenv("AWS_REGION", "")
	if r := region(); r != "us-east-1" || asked > 0 {
		t.Errorf("with a key of the environment: %s, %d requests", r, asked)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	if r := region(); r != "ap-south-1" {
		t.Errorf("with the role of the instance: %s", r)
	}
	machine.Close()
	if r := region(); r != "us-east-1" {
		t.Errorf("no metadata service: %s", r)
	}
}

func TestOptions(t *testing.T) {
	isolate(t)
	good := Options{Bucket: bucket}
	for name, change := range map[string]func(*Options){
		"bucket":            func(o *Options) { o.Bucket = "Evidence" },
		"http":              func(o *Options) { o.Endpoint = "http://192.0.2.1:9000" },
		"scheme":            func(o *Options) { o.Endpoint = "ftp://127.0.0.1" },
		"no URL":            func(o *Options) { o.Endpoint = "s3.example.org" },
		"owner":             func(o *Options) { o.BucketOwner = "12" },
		"external id":       func(o *Options) { o.ExternalID = "x" },
		"lock without time": func(o *Options) { o.LockMode = "GOVERNANCE" },
		"time without lock": func(o *Options) { o.RetainFor = time.Hour },
		"lock":              func(o *Options) { o.LockMode, o.RetainFor = "governance", time.Hour },
		"class":             func(o *Options) { o.StorageClass = "COLD" },
	} {
		o := good
		change(&o)
		if _, err := New(t.Context(), o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, endpoint := range []string{"http://127.0.0.1:9000", "http://localhost:1", "http://[::1]:9", "https://s3.example.org"} {
		o := good
		o.Endpoint = endpoint
		if _, err := New(t.Context(), o); err != nil {
			t.Error(err)
		}
	}
	// Wherever the address comes from.
	t.Setenv("AWS_ENDPOINT_URL_S3", "http://192.0.2.1:9")
	s, err := New(t.Context(), Options{Bucket: bucket, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "without TLS") {
		t.Errorf("plain http of the environment: %v", err)
	}
}

func TestParseURL(t *testing.T) {
	for in, want := range map[string]string{
		"s3://evidence": "evidence|", "s3://evidence/": "evidence|", "s3://evidence/case-42": "evidence|case-42/", "s3://evidence/a/b/": "evidence|a/b/",
	} {
		b, p, err := ParseURL(in)
		if b+"|"+p != want || err != nil {
			t.Errorf("%s: %q, %q, %v", in, b, p, err)
		}
	}
	for _, in := range []string{"", "evidence", "s3://", "s3:///x", "s3://E/x", "s3://evidence//x", "s3://evidence/../x", "s3://evidence/a b", "s3://evidence/?x", "s3://u:p@evidence/x"} {
		if b, p, err := ParseURL(in); err == nil {
			t.Errorf("%s: taken as %q, %q", in, b, p)
		}
	}
	b, p, n, err := ParseObjectURL("s3://evidence/a/b/c.lime")
	if b != "evidence" || p != "a/b/" || n != "c.lime" || err != nil {
		t.Errorf("%q %q %q %v", b, p, n, err)
	}
	for _, in := range []string{"s3://evidence", "s3://evidence/", "s3://evidence/a/", "x"} {
		if _, _, n, err := ParseObjectURL(in); err == nil {
			t.Errorf("%s: taken as %q", in, n)
		}
	}
}

// TestPolicy compares the policy of docs/s3.md with the calls that are made: not one action
// is missing, and not one is granted that nothing needs.
func TestPolicy(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t)
	if err := s.Check(t.Context(), "image.lime"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.region(t.Context(), s.api); err != nil {
		t.Fatal(err)
	}
	o := create(t, s, "image.lime")
	write(t, o, pattern(minPartSize+1))
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	o = create(t, s, "image.lime.json")
	write(t, o, []byte("{}"))
	if _, err := o.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	o = create(t, s, "other.lime")
	write(t, o, pattern(minPartSize+1))
	if err := o.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(t.Context(), "image.lime")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.ReadAt(make([]byte, 1), 0); err != nil {
		t.Fatal(err)
	}

	if _, err := s.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	var b breaker
	f.fault, s.opts.Spill, s.opts.backoff = b.fault, t.TempDir(), time.Millisecond
	b.from = 1 + len(f.of("UploadPart"))
	p := pieces(t, s, "spilled.lime", pattern(2*minPartSize), commit)
	b.on.Store(false)
	if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
		t.Fatal(err)
	}

	// https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
	actions := map[string]string{
		"HeadBucket": "s3:ListBucket", "HeadObject": "s3:GetObject", "GetObject": "s3:GetObject", "PutObject": "s3:PutObject",
		"CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject",
		"AbortMultipartUpload": "s3:AbortMultipartUpload", "ListParts": "s3:ListMultipartUploadParts", "GetBucketVersioning": "s3:GetBucketVersioning",
		"GetObjectLockConfiguration": "s3:GetBucketObjectLockConfiguration",
		"ListObjectsV2":              "s3:ListBucket", "ListMultipartUploads": "s3:ListBucketMultipartUploads",
	}
	needed := map[string]bool{}
	for _, c := range f.calls {
		a, ok := actions[c.Op]
		if !ok {
			t.Errorf("no action is known for %s", c.Op)
		}
		needed[a] = true
	}
	doc, err := os.ReadFile("../../docs/s3.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```json\n")
	text, _, _ := strings.Cut(rest, "```")
	var policy struct{ Statement []struct{ Action []string } }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		t.Fatal(err)
	}
	granted := map[string]bool{}
	for _, st := range policy.Statement {
		for _, a := range st.Action {
			granted[a] = true
		}
	}
	if have, want := slices.Sorted(maps.Keys(granted)), slices.Sorted(maps.Keys(needed)); !slices.Equal(have, want) {
		t.Errorf("docs/s3.md grants %q, the calls need %q", have, want)
	}
}

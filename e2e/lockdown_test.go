//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awsiam "github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/e2e/lab"
)

const (
	lockdownSecret = "correct-horse-battery-staple"
	lockdownTopic  = "arn:aws:sns:eu-west-1:" + lab.MotoAccount + ":lockdown"
	auditTopic     = "arn:aws:sns:eu-west-1:" + lab.MotoAccount + ":audit"
)

// The templates are what CloudFormation takes, as far as its linter knows; and the linter is one.
func TestTemplates(t *testing.T) {
	t.Parallel()
	lint, err := parts.CfnLint()
	if err != nil {
		t.Fatal(err)
	}
	templates, err := filepath.Glob("../cmd/shotglass-lambda/templates/*.yaml")
	if err != nil || len(templates) != 2 {
		t.Fatalf("%v, %v", templates, err)
	}
	templates = append(templates, "../cmd/internal/evidencebucket/template.yaml", "../cmd/internal/workstation/template.yaml")
	if out, err := exec.Command(lint, templates...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(templates[0])
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "main.yaml")
	if err := os.WriteFile(broken, bytes.Replace(b, []byte("Runtime: provided.al2023"), []byte("Runtime: go1.y"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(lint, broken).CombinedOutput(); err == nil || !strings.Contains(string(out), "go1.y") {
		t.Errorf("a runtime that there is not: %v\n%s", err, out)
	}
}

// A lockdown is the function's own program and its account, as an emulator has it that someone else wrote.
type lockdown struct {
	*testing.T
	iam  *awsiam.Client
	env  []string
	fn   *lab.Runtime
	moto *lab.Moto
	told chan map[string]any // what the audit topic delivers
	seen *watched
}

// What an analyst publishes, SNS delivers to the function's own program, run as Lambda runs it: contained, delivered again,
// released, and told to a topic, with the journal in a bucket.
func TestMotoLockdown(t *testing.T) {
	t.Parallel()
	l := newLockdown(t)
	const role = "arn:aws:iam::" + lab.MotoAccount + ":role/service/web"

	contain := l.ask(0, role, "--case", "moto", "--yes")
	if e := l.run(contain); e.Failed {
		t.Fatalf("contain: %s\n%s", e.Body, l.fn.Log())
	}
	l.wantTold("Entity Lockdown status: Started. Details: "+role, "Entity Lockdown status: Complete. Details: "+role, `"outcome":"held"`, `"journal":"s3://journals/lockdown/moto-role_web-`)
	l.wantLocked(true)
	if e := l.run(contain); e.Failed { // delivered again
		t.Fatalf("again: %s", e.Body)
	}
	l.wantTold("Started", "Complete", `"status":"holds"`)

	if e := l.run(l.ask(0, role, "--case", "moto", "--action", "release", "--yes")); e.Failed {
		t.Fatalf("release: %s\n%s", e.Body, l.fn.Log())
	}
	l.wantTold("release status: Started", "release status: Complete", `"outcome":"released"`)
	l.wantLocked(false)
	if e := l.run(contain); e.Failed { // and again, too late
		t.Fatalf("too late: %s", e.Body)
	}
	l.wantTold("Started", "Complete", "Delivered again")
	l.wantLocked(false)

	if e := l.run(l.ask(0, role, "--dry-run")); e.Failed {
		t.Fatalf("dry run: %s", e.Body)
	}
	l.wantTold("dry run status: Started", "dry run status: Complete", `"planned":["lock: `)
	l.wantLocked(false)

	// What is refused is an error, which has Lambda deliver it again and then give it to the dead-letter queue.
	l.env = append(l.env, "SHOTGLASS_LOCKDOWN_EXTERNAL_ID=another-horse-battery")
	if e := l.run(l.ask(0, role, "--yes")); !e.Failed || !strings.Contains(e.Body, `"errorType":"BadRequest"`) {
		t.Errorf("the wrong external id: %+v", e)
	}
	l.wantTold("Failed. Details: " + role + " - with error: the message's attribute ExternalId is missing or wrong")
	l.env = append(l.env, "SHOTGLASS_LOCKDOWN_EXTERNAL_ID="+lockdownSecret)
	if e := l.run(l.ask(0, "arn:aws:iam::999999999999:role/web", "--yes")); !e.Failed || !strings.Contains(e.Body, `"errorType":"Refused"`) {
		t.Errorf("another account: %+v", e)
	}
	l.wantTold("Started", "Failed", "SHOTGLASS_ACCOUNTS")

	// In a member account, by the role there.
	member := "arn:aws:iam::444455556666:role/batch"
	if e := l.run(l.ask(0, member, "--yes")); e.Failed {
		t.Errorf("member account: %s\n%s", e.Body, l.fn.Log())
	}
	l.wantTold("Started", "Complete", `"outcome":"held"`)

	if log := l.fn.Log(); strings.Contains(log, lockdownSecret) || strings.Contains(log, "another-horse") || !strings.Contains(log, `"msg":"ended"`) {
		t.Errorf("log:\n%s", log)
	}
	l.wantCalls()
}

func newLockdown(t *testing.T) *lockdown {
	moto, err := parts.StartMoto(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { moto.Close() })
	l := &lockdown{T: t, moto: moto, told: make(chan map[string]any, 16)}
	base := moto.Config("eu-west-1")
	l.iam = awsiam.NewFromConfig(base)
	topics := sns.NewFromConfig(base)
	buckets := s3.NewFromConfig(moto.Config("us-east-1"), func(o *s3.Options) { o.UsePathStyle = true })
	got(buckets.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("journals")}))(t)
	for _, name := range []string{"lockdown", "audit"} {
		got(topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name}))(t)
	}
	// A queue for requests: over HTTP moto delivers no attributes.
	l.queue("CreateQueue", map[string]any{"QueueName": "requests"})
	got(topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: aws.String(lockdownTopic), Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:eu-west-1:" + lab.MotoAccount + ":requests")}))(t)
	audit := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m map[string]any
		if json.NewDecoder(r.Body).Decode(&m) == nil && m["Type"] == "Notification" {
			l.told <- m
		}
	}))
	t.Cleanup(audit.Close)
	got(topics.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: aws.String(auditTopic), Protocol: aws.String("http"), Endpoint: &audit.URL}))(t)
	got(l.iam.CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: aws.String("web"), Path: aws.String("/service/"), AssumeRolePolicyDocument: aws.String(trustEC2)}))(t)
	there := base.Copy() // moto's accounts are told apart by the role that was assumed
	session := got(sts.NewFromConfig(base).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::444455556666:role/setup"), RoleSessionName: aws.String("setup")}))(t).Credentials
	there.Credentials = credentials.NewStaticCredentialsProvider(*session.AccessKeyId, *session.SecretAccessKey, *session.SessionToken)
	got(awsiam.NewFromConfig(there).CreateRole(t.Context(), &awsiam.CreateRoleInput{RoleName: aws.String("batch"), AssumeRolePolicyDocument: aws.String(trustEC2)}))(t)

	bin := filepath.Join(t.TempDir(), "bootstrap")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/shotglass-lambda").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	l.seen = watch(t, moto.Endpoint)
	digest := sha256.Sum256([]byte(lockdownSecret))
	env := append(moto.Env("eu-west-1"), "AWS_ENDPOINT_URL="+l.seen.url, "AWS_ENDPOINT_URL_STS="+l.seen.url,
		"SHOTGLASS_EXTERNAL_ID_SHA256="+hex.EncodeToString(digest[:]), "SHOTGLASS_AUDIT_TOPIC="+auditTopic, "SHOTGLASS_JOURNAL=s3://journals/lockdown/",
		"SHOTGLASS_AWS_ROLE=shotglass-lockdown-member", "SHOTGLASS_AWS_EXTERNAL_ID=member-accounts", "SHOTGLASS_ACCOUNTS=444455556666", "SHOTGLASS_CONTAIN_WATCH=1s")
	if l.fn, err = lab.StartFunction(bin, env, 3*time.Minute); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.fn.Close() })
	l.env = append(moto.Env("eu-west-1"), "SHOTGLASS_LOCKDOWN_TOPIC="+lockdownTopic, "SHOTGLASS_LOCKDOWN_EXTERNAL_ID="+lockdownSecret)
	return l
}

// ask has the program publish, and returns what SNS delivers, as the event that Lambda makes of it.
func (l *lockdown) ask(code int, arn string, flags ...string) []byte {
	l.Helper()
	r := start(l.T, l.env, slices.Concat([]string{"lockdown"}, flags, []string{arn})...)
	if got := r.code(time.Minute); got != code {
		l.Fatalf("exit code %d\n%s%s", got, r.stdout.String(), r.stderr.String())
	}
	m := l.delivered()
	if !strings.Contains(r.stdout.String(), arn+"\t"+m["MessageId"].(string)) {
		l.Errorf("said %q, message %v", r.stdout.String(), m["MessageId"])
	}
	event, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": m}}})
	if err != nil {
		l.Fatal(err)
	}
	return event
}

func (l *lockdown) run(event []byte) lab.Ended {
	l.Helper()
	e, err := l.fn.Invoke(l.Context(), event)
	if err != nil {
		l.Fatalf("%v\n%s", err, l.fn.Log())
	}
	if strings.Contains(e.Body, lockdownSecret) {
		l.Errorf("the external id was told: %s", e.Body)
	}
	return e
}

// queue calls SQS, which has a package of its own that nothing else here needs.
func (l *lockdown) queue(operation string, in any) (out map[string]any) {
	l.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		l.Fatal(err)
	}
	req, err := http.NewRequestWithContext(l.Context(), http.MethodPost, l.moto.Endpoint, bytes.NewReader(body))
	if err != nil {
		l.Fatal(err)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIALABLABLABLABLAB2/20261122/eu-west-1/sqs/aws4_request, SignedHeaders=host, Signature=none")
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("X-Amz-Target", "AmazonSQS."+operation)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		l.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		l.Fatalf("%s: %s: %s, %v", operation, res.Status, b, err)
	}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &out); err != nil {
			l.Fatalf("%s: %v: %s", operation, err, b)
		}
	}
	return out
}

// delivered is the next message that SNS delivers to those who subscribe to requests.
func (l *lockdown) delivered() (m map[string]any) {
	l.Helper()
	url := l.moto.Endpoint + "/" + lab.MotoAccount + "/requests"
	all, _ := l.queue("ReceiveMessage", map[string]any{"QueueUrl": url, "WaitTimeSeconds": 20})["Messages"].([]any)
	if len(all) != 1 {
		l.Fatalf("SNS delivered %v", all)
	}
	one := all[0].(map[string]any)
	l.queue("DeleteMessage", map[string]any{"QueueUrl": url, "ReceiptHandle": one["ReceiptHandle"]})
	if err := json.Unmarshal([]byte(one["Body"].(string)), &m); err != nil {
		l.Fatal(err)
	}
	return m
}

func receive(t *testing.T, from chan map[string]any) map[string]any {
	t.Helper()
	select {
	case m := <-from:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("SNS delivered nothing")
		return nil
	}
}

// wantTold takes what the audit topic delivered: one message for each of want that is about a status, the rest in the last.
func (l *lockdown) wantTold(want ...string) {
	l.Helper()
	var last string
	for _, w := range want {
		if strings.HasPrefix(w, `"`) || !strings.Contains(w, "Started") && !strings.Contains(w, "Complete") && !strings.Contains(w, "Failed") {
			if !strings.Contains(last, w) {
				l.Errorf("told no %q in\n%s", w, last)
			}
			continue
		}
		m := receive(l.T, l.told)
		last = m["Message"].(string)
		if first, _, _ := strings.Cut(last, "\n"); !strings.Contains(first, w) || m["Subject"] != "Entity Lockdown Notification" || strings.Contains(last, lockdownSecret) {
			l.Errorf("told %v: %q, want %q", m["Subject"], first, w)
		}
	}
}

func (l *lockdown) wantLocked(want bool) {
	l.Helper()
	attached := got(l.iam.ListAttachedRolePolicies(l.Context(), &awsiam.ListAttachedRolePoliciesInput{RoleName: aws.String("web")}))(l.T).AttachedPolicies
	inline := got(l.iam.ListRolePolicies(l.Context(), &awsiam.ListRolePoliciesInput{RoleName: aws.String("web")}))(l.T).PolicyNames
	if locked := len(attached) == 1 && len(inline) == 1; locked != want || !want && len(attached)+len(inline) > 0 {
		l.Errorf("attached %v, inline %v, want locked: %v", attached, inline, want)
	}
}

// watched is the way to the emulator, which notes the calls of S3, SNS and STS as actions of IAM.
type watched struct {
	url string

	mu      sync.Mutex
	actions []string
}

func watch(t *testing.T, endpoint string) *watched {
	to, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	w := &watched{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			rw.WriteHeader(http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if a := action(r, string(body)); a != "" {
			w.mu.Lock()
			w.actions = append(w.actions, a)
			w.mu.Unlock()
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	return w
}

func action(r *http.Request, body string) string {
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	if len(scope) < 5 {
		return "unsigned"
	}
	form, _ := url.ParseQuery(body) //nolint:errcheck // of other services
	q := r.URL.Query()
	switch service := scope[3]; {
	case service == "sns" || service == "sts":
		return service + ":" + form.Get("Action")
	case service != "s3":
		return "" // containment's own: its services' tests
	case q.Has("uploads"):
		return "s3:ListBucketMultipartUploads"
	case q.Has("list-type"):
		return "s3:ListBucket"
	case r.Method == http.MethodPut:
		return "s3:PutObject"
	case strings.Count(r.URL.Path, "/") > 1 && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return "s3:GetObject"
	}
	return "s3:" + r.Method + " " + r.URL.String()
}

// wantCalls compares what the function called with what its role may do by the template, but for what Lambda itself does by
// that role.
func (l *lockdown) wantCalls() {
	l.Helper()
	b, err := os.ReadFile("../cmd/shotglass-lambda/templates/main.yaml")
	if err != nil {
		l.Fatal(err)
	}
	var template struct {
		Resources map[string]struct {
			Properties struct {
				Policies []struct {
					PolicyDocument struct {
						Statement []struct {
							Action any `yaml:"Action"`
						} `yaml:"Statement"`
					} `yaml:"PolicyDocument"`
				} `yaml:"Policies"`
			} `yaml:"Properties"`
		} `yaml:"Resources"`
	}
	if err := yaml.Unmarshal(b, &template); err != nil {
		l.Fatal(err)
	}
	var allowed []string
	for _, s := range template.Resources["Role"].Properties.Policies[0].PolicyDocument.Statement {
		switch a := s.Action.(type) {
		case string:
			allowed = append(allowed, a)
		case []any:
			for _, x := range a {
				allowed = append(allowed, x.(string))
			}
		}
	}
	allowed = slices.DeleteFunc(allowed, func(a string) bool { return strings.HasPrefix(a, "logs:") || a == "sqs:SendMessage" })
	l.seen.mu.Lock()
	used := slices.DeleteFunc(slices.Clone(l.seen.actions), func(a string) bool { return a == "sts:GetCallerIdentity" }) // needs no permission
	l.seen.mu.Unlock()
	slices.Sort(used)
	slices.Sort(allowed)
	if diff := cmp.Diff(slices.Compact(used), allowed); diff != "" {
		l.Errorf("used (-) and allowed (+):\n%s", diff)
	}
}

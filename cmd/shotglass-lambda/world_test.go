package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/shotglass-ir/shotglass/cmd/internal/journals"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsconfig"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
	"github.com/shotglass-ir/shotglass/containment/lambda"
	"github.com/shotglass-ir/shotglass/sink"
)

const (
	account = "111122223333"
	member  = "444455556666"
	region  = "eu-west-1"
	self    = "arn:aws:iam::" + account + ":role/shotglass-lockdown"
	there   = "arn:aws:iam::" + member + ":role/shotglass-lockdown-member"
	secret  = "correct-horse-battery-staple"
	roleID  = "member-accounts"
)

// A world is two accounts with something of each kind, and the function in the first.
type world struct {
	*testing.T
	cloud *awsfake.Cloud
	reg   *awsfake.Region
	vpc   *awsfake.VPC
	eni   *awsfake.Interface
	host  *awsfake.Instance
	web   *awsfake.Role
	alice *awsfake.User
	key   *awsfake.Credential
	thumb *awsfake.Function
	bob   *awsfake.User // in the other account
	sns   *topic
	logs  bytes.Buffer
	place journals.Bucket
	f     *function
	told  []string // what Lambda was told

	dead func() error // says that the program was killed; nil: it lives
}

func newWorld(t *testing.T) *world {
	c := awsfake.New()
	t.Cleanup(c.Close)
	w := &world{T: t, cloud: c, sns: &topic{}}
	a := c.Account(account)
	w.web, w.alice = a.AddRole("/team/", "web"), a.AddUser("/team/", "alice")
	w.key = w.alice.AddKey("Active")
	w.reg = a.Region(region)
	w.thumb = w.reg.AddFunction("thumbs", a.AddRole("/", "thumbs").ARN)
	a.AddRole("/", "shotglass-lockdown")
	w.bob = c.Account(member).AddUser("/", "bob")
	c.AddRole(there, awsfake.Trust{Principals: []string{self}, ExternalID: roleID})
	c.Edit(func() {
		w.web.Profiles = []string{"web"}
		r := w.reg
		w.vpc = r.AddVPC(awsfake.VPC{IPv6: true})
		s := r.AddSubnet(w.vpc.ID, awsfake.Route{To: "0.0.0.0/0", Via: "igw-1"})
		g := r.AddGroup(w.vpc.ID, "web", append(awsfake.All(true), awsfake.TCP(false, 443, "0.0.0.0/0"))...)
		w.host = r.AddInstance(awsfake.Instance{Profile: "arn:aws:iam::" + account + ":instance-profile/team/web", ShutdownBehavior: "terminate"}, s.ID, g.ID)
		for _, i := range r.Interfaces {
			if i.Instance == w.host.ID {
				w.eni = i
			}
		}
	})
	disk, err := sink.NewDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w.place = journals.Bucket{Place: disk}
	short := 5 * time.Second
	w.f = &function{
		settings: settings{secret: sha256.Sum256([]byte(secret)), accounts: []string{member}, options: containment.Options{UntrackWait: &short}, watch: 15 * time.Second},
		journals: mortalJournals{w.place, w}, auditor: auditor{w.sns, "arn:aws:sns:eu-west-1:" + account + ":audit"}, now: c.Now,
		limit: func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		log:   slog.New(slog.NewJSONHandler(&w.logs, nil)),
	}
	w.f.engine = w.engine
	t.Cleanup(w.secretIsKept)
	return w
}

// engine is the function's, in virtual time.
func (w *world) engine(ctx context.Context, caseID, request string) (*containment.Engine, error) {
	base := w.cloud.Config(self, region)
	base.HTTPClient = mortalClient{w, base.HTTPClient}
	accounts := &awsconfig.Accounts{Base: base, Role: "shotglass-lockdown-member", ExternalID: roleID, Allow: w.f.reaches, Case: caseID, NoIMDS: true}
	who, err := accounts.Caller(ctx)
	if err != nil {
		return nil, err
	}
	roles := &iam.Service{Config: accounts.Config}
	return &containment.Engine{
		Services: []containment.Service{&ec2.Service{Config: accounts.Config, Roles: roles, Caller: who, Sleep: w.sleep}, roles, &lambda.Service{Config: accounts.Config, Roles: roles}},
		Journals: w.f.journals, Caller: who, Tool: tool(), Request: request, Now: w.cloud.Now, Sleep: w.sleep, Guard: containment.Guard{BreakGlass: w.f.glass},
	}, nil
}

var errKilled = errors.New("killed")

// sleep is that of the program: one that was killed does not wait.
func (w *world) sleep(ctx context.Context, d time.Duration) error {
	if w.dead != nil && w.dead() != nil {
		return errKilled
	}
	return w.cloud.Sleep(ctx, d)
}

type mortalClient struct {
	w *world
	aws.HTTPClient
}

func (m mortalClient) Do(r *http.Request) (*http.Response, error) {
	if m.w.dead != nil && m.w.dead() != nil {
		return nil, errKilled
	}
	return m.HTTPClient.Do(r)
}

// mortalJournals take nothing from a program that was killed.
type mortalJournals struct {
	journals.Bucket
	w *world
}

func (m mortalJournals) Open(ctx context.Context, name string) (containment.Journal, error) {
	j, err := m.Bucket.Open(ctx, name)
	return mortalJournal{j, m.w}, err
}

type mortalJournal struct {
	containment.Journal
	w *world
}

func (m mortalJournal) Append(ctx context.Context, seq int, line []byte) error {
	if m.w.dead != nil && m.w.dead() != nil {
		return errKilled
	}
	return m.Journal.Append(ctx, seq, line)
}

// topic is the audit topic.
type topic struct {
	mu    sync.Mutex
	sent  []*sns.PublishInput
	fails func(n int) error // of the n-th message, from 1
}

func (p *topic) Publish(_ context.Context, in *sns.PublishInput, _ ...func(*sns.Options)) (*sns.PublishOutput, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, in)
	if p.fails != nil {
		if err := p.fails(len(p.sent)); err != nil {
			return nil, err
		}
	}
	return &sns.PublishOutput{MessageId: aws.String("audit")}, nil
}

// lines are the first lines of all that was told.
func (p *topic) lines() (all []string) {
	for _, in := range p.sent {
		line, _, _ := strings.Cut(*in.Message, "\n")
		all = append(all, line)
	}
	return all
}

// last is the last report.
func (w *world) last() (r report) {
	w.Helper()
	body := strings.TrimSpace(*w.sns.sent[len(w.sns.sent)-1].Message)
	if err := json.Unmarshal([]byte(body[strings.LastIndexByte(body, '\n')+1:]), &r); err != nil {
		w.Fatalf("%v in\n%s", err, body)
	}
	return r
}

// secretIsKept looks for the secret in all that left the function.
func (w *world) secretIsKept() {
	all := w.logs.String() + strings.Join(w.told, "\n")
	for _, in := range w.sns.sent {
		all += fmt.Sprint(*in.Message, *in.Subject)
		for _, a := range in.MessageAttributes {
			all += *a.StringValue
		}
	}
	names, err := w.place.List(context.Background())
	if err != nil {
		w.Error(err)
	}
	for _, n := range names {
		b, err := w.place.Load(context.Background(), n)
		if err != nil {
			w.Error(err)
		}
		all += n + string(b)
	}
	if strings.Contains(all, secret) {
		w.Errorf("the external id was told:\n%s", all)
	}
}

// event is one message as Lambda hands it over, with attributes as pairs of name and value.
func (w *world) event(id string, attributes ...string) []byte {
	w.Helper()
	m := map[string]any{}
	for i := 0; i < len(attributes); i += 2 {
		m[attributes[i]] = map[string]string{"Type": "String", "Value": attributes[i+1]}
	}
	b, err := json.Marshal(map[string]any{"Records": []any{map[string]any{"EventSource": "aws:sns", "Sns": map[string]any{
		"MessageId": id, "Timestamp": w.cloud.Now().Format(time.RFC3339Nano), "MessageAttributes": m,
	}}}})
	if err != nil {
		w.Fatal(err)
	}
	return b
}

// ask is a message with the secret.
func (w *world) ask(id, arn string, more ...string) []byte {
	w.Helper()
	return w.event(id, append([]string{"Arn", arn, "ExternalId", secret}, more...)...)
}

// deliver has the function run, and returns the type and the text of its error.
func (w *world) deliver(payload []byte) (kind, text string) {
	w.Helper()
	_, err := w.f.Invoke(w.Context(), payload)
	if err == nil {
		return "", ""
	}
	b, e := json.Marshal(err)
	if e != nil {
		w.Fatal(e)
	}
	w.told = append(w.told, string(b))
	var m struct {
		Type string `json:"errorType"`
		Text string `json:"errorMessage"`
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Type == "" {
		w.Fatalf("%s: %v", b, err)
	}
	return m.Type, m.Text
}

func (w *world) want(payload []byte, kind, text string) {
	w.Helper()
	if k, t := w.deliver(payload); k != kind || !strings.Contains(t, text) {
		w.Errorf("error %s: %s; want %s: %s", k, t, kind, text)
	}
}

// state is what containment changes and release puts back, in both accounts; timeouts cannot be unset.
func (w *world) state() string {
	var s string
	w.cloud.Edit(func() {
		keys := fmt.Sprint(w.key.Status)
		if w.key.Status == "Inactive" { // they stay so
			keys = "Active"
		}
		reserved := "none"
		if w.thumb.Reserved != nil {
			reserved = fmt.Sprint(*w.thumb.Reserved)
		}
		s = fmt.Sprint(w.eni.Groups, w.host.TerminationProtection, w.host.StopProtection, w.host.ShutdownBehavior, w.host.Tags, w.web.Policies, w.web.Attached,
			w.alice.Policies, w.alice.Attached, keys, reserved, w.bob.Policies, w.bob.Attached)
	})
	return s
}

func (w *world) writes() (n int) {
	for _, c := range w.cloud.Calls() {
		if c.Write > 0 {
			n++
		}
	}
	return n
}

// entries are those of the one journal there is.
func (w *world) entries() []containment.Entry {
	w.Helper()
	names, err := w.place.List(w.Context())
	if err != nil || len(names) != 1 {
		w.Fatalf("journals %v, %v", names, err)
	}
	b, err := w.place.Load(w.Context(), names[0])
	if err != nil {
		w.Fatal(err)
	}
	entries, err := containment.ParseJournal(b)
	if err != nil {
		w.Fatalf("the journal is not whole: %v", err)
	}
	return entries
}

func (w *world) hostARN() string {
	return "arn:aws:ec2:" + region + ":" + account + ":instance/" + w.host.ID
}

func (w *world) wantLines(want ...string) {
	w.Helper()
	if got := w.sns.lines(); !slices.Equal(got, want) {
		w.Errorf("told\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

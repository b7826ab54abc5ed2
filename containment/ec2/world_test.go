package ec2_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/containment/ec2"
	"github.com/shotglass-ir/shotglass/containment/iam"
)

const (
	account   = "111122223333"
	responder = "arn:aws:sts::111122223333:assumed-role/responder/alice"
	caseID    = "case-42"
)

var (
	home     = netip.MustParseAddr("198.51.100.7")    // the attacker's server
	home6    = netip.MustParseAddr("2001:db8:bad::1") // and its IPv6 address
	customer = netip.MustParseAddr("203.0.113.80")
)

// A world is an account with an instance to contain, and an engine that does it.
type world struct {
	t      *testing.T
	cloud  *awsfake.Cloud
	region *awsfake.Region
	vpc    *awsfake.VPC
	subnet *awsfake.Subnet
	web    *awsfake.Group
	host   *awsfake.Instance
	role   *awsfake.Role
	logs   *memory
	target containment.Target
	caller containment.Identity
}

// newWorld makes a web server in a VPC with both families: with a public address, in an Auto Scaling group, behind a load
// balancer, with a role.
func newWorld(t *testing.T) *world {
	c := awsfake.New()
	t.Cleanup(c.Close)
	w := &world{t: t, cloud: c, region: c.Account(account).Region("eu-west-1"), logs: &memory{logs: map[string][]byte{}}, caller: containment.Identity{ARN: responder, Account: account}}
	w.role = c.Account(account).AddRole("/team/", "web")
	c.Account(account).AddRole("/ir/", "responder")
	c.Edit(func() {
		w.role.Profiles = []string{"web"}
		r := w.region
		w.vpc = r.AddVPC(awsfake.VPC{IPv6: true})
		w.subnet = r.AddSubnet(w.vpc.ID, awsfake.Route{To: "0.0.0.0/0", Via: "igw-1"}, awsfake.Route{To: "::/0", Via: "igw-1"})
		w.web = r.AddGroup(w.vpc.ID, "web", append(awsfake.All(true), awsfake.TCP(false, 443, "0.0.0.0/0"), awsfake.TCP(false, 22, "192.0.2.0/24"))...)
		w.host = r.AddInstance(awsfake.Instance{Profile: "arn:aws:iam::" + account + ":instance-profile/team/web", ShutdownBehavior: "terminate"}, w.subnet.ID, w.web.ID)
		w.eni().IPv6 = []string{"2001:db8::10"}
		r.AddAddress("203.0.113.10", w.eni().ID)
		r.AddScaling(awsfake.ScalingGroup{Name: "web-asg", Min: 1, Max: 4, HealthPort: 443}, w.host.ID)
		r.AddTargetGroup("web", w.vpc.ID, "HTTPS", awsfake.Registered{ID: w.host.ID, Port: 443})
	})
	w.target = containment.Target{Kind: containment.Instance, Region: "eu-west-1", Name: w.host.ID}
	return w
}

// eni is the instance's first interface.
func (w *world) eni() *awsfake.Interface {
	for _, i := range w.region.Interfaces {
		if i.Instance == w.host.ID && !i.Secondary && i.Type == "interface" && !i.Managed {
			return i
		}
	}
	panic("no interface")
}

// engine is a new run of the program.
func (w *world) engine() *containment.Engine {
	config := func(_ context.Context, t containment.Target) (aws.Config, error) {
		cfg := w.cloud.Config(responder, t.Region)
		cfg.HTTPClient = mortal{w, cfg.HTTPClient}
		cfg.RetryMaxAttempts = 8 // as awsconfig has it
		return cfg, nil
	}
	roles := &iam.Service{Config: config}
	return &containment.Engine{
		Journals: w.logs, Now: w.cloud.Now, Sleep: w.sleep, Tool: "test",
		Caller:   w.caller,
		Services: []containment.Service{&ec2.Service{Config: config, Roles: roles, Sleep: w.cloud.Sleep, Caller: w.caller}, roles},
	}
}

// mortal is the HTTP client of a program that can be killed: it then reaches nobody.
type mortal struct {
	w *world
	aws.HTTPClient
}

func (m mortal) Do(r *http.Request) (*http.Response, error) {
	if dead := m.w.logs.dead; dead != nil && dead() != nil {
		return nil, errKilled
	}
	return m.HTTPClient.Do(r)
}

// sleep is that of the program: one that was killed does not wait for answers.
func (w *world) sleep(ctx context.Context, d time.Duration) error {
	if dead := w.logs.dead; dead != nil && dead() != nil {
		return errKilled
	}
	return w.cloud.Sleep(ctx, d)
}

func (w *world) plan(o containment.Options) *containment.Plan {
	w.t.Helper()
	o.Case = caseID
	p, err := w.engine().Plan(w.t.Context(), w.target, o)
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p
}

func (w *world) contain(o containment.Options, a containment.ApplyOptions) *containment.Result {
	w.t.Helper()
	res, err := w.engine().Apply(w.t.Context(), w.plan(o), a)
	if err != nil {
		w.t.Fatalf("contain: %v", err)
	}
	w.whole(res.Journal)
	return res
}

func (w *world) release(journal string, o containment.ReleaseOptions) *containment.Result {
	w.t.Helper()
	res, err := w.engine().Release(w.t.Context(), journal, o)
	if err != nil {
		w.t.Fatalf("release: %v", err)
	}
	w.whole(journal)
	return res
}

// memory is journals that cost no disk: what a disk does is containment's own test.
type memory struct {
	mu   sync.Mutex
	logs map[string][]byte
	open map[string]bool
	dead func() error // says that the program is, which writes no more; nil: it lives
}

func (m *memory) Open(_ context.Context, name string) (containment.Journal, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = map[string]bool{}
	}
	if m.open[name] {
		return nil, containment.ErrBusy
	}
	m.open[name] = true
	return &memoryJournal{m: m, name: name}, nil
}

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.logs[name]; ok {
		return bytes.Clone(b), nil
	}
	return nil, containment.ErrNoJournal
}

func (m *memory) List(context.Context) ([]string, error) { return nil, nil }
func (m *memory) String() string                         { return "memory" }

type memoryJournal struct {
	m    *memory
	name string
}

func (j *memoryJournal) Load(ctx context.Context) ([]byte, error) {
	b, err := j.m.Load(ctx, j.name)
	if errors.Is(err, containment.ErrNoJournal) {
		err = nil
	}
	return b, err
}

func (j *memoryJournal) Append(_ context.Context, _ int, line []byte) error {
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	if j.m.dead != nil {
		if err := j.m.dead(); err != nil {
			return err
		}
	}
	j.m.logs[j.name] = append(j.m.logs[j.name], line...)
	return nil
}

func (j *memoryJournal) Close() error {
	j.m.mu.Lock()
	defer j.m.mu.Unlock()
	delete(j.m.open, j.name)
	return nil
}

// whole checks that a journal can be read from end to end.
func (w *world) whole(name string) []containment.Entry {
	w.t.Helper()
	b, err := w.logs.Load(w.t.Context(), name)
	if err != nil {
		w.t.Fatalf("journal: %v", err)
	}
	entries, err := containment.ParseJournal(b)
	if err != nil {
		w.t.Fatalf("journal: %v", err)
	}
	return entries
}

// all is everything that can be asked for.
func (w *world) all() containment.Options {
	return containment.Options{Cuts: []string{ec2.CutPublicAddress, ec2.CutSubnet}, Addresses: []string{home.String(), "2001:db8:bad::/48"}, Forensic: "192.0.2.9"}
}

// snapshot is the region without what release leaves: our shared groups, timeouts that cannot be unset, and the capacity that
// ExitStandby adds.
func (w *world) snapshot() string {
	var v map[string]any
	if err := json.Unmarshal([]byte(w.region.Snapshot()), &v); err != nil {
		w.t.Fatal(err)
	}
	for id, g := range v["Groups"].(map[string]any) {
		if name := g.(map[string]any)["Name"].(string); strings.HasPrefix(name, "shotglass-") {
			delete(v["Groups"].(map[string]any), id)
		}
	}
	for id, a := range v["ACLs"].(map[string]any) {
		if a.(map[string]any)["Tags"].(map[string]any)["shotglass"] != nil {
			delete(v["ACLs"].(map[string]any), id)
		}
	}
	for _, i := range v["Interfaces"].(map[string]any) {
		i := i.(map[string]any)
		if fmt.Sprint(i["Timeouts"]) == "map[TCP:432000 UDP:30 UDPStream:180]" {
			i["Timeouts"] = nil
		}
	}
	for _, g := range v["Scaling"].(map[string]any) {
		delete(g.(map[string]any), "Desired")
	}
	for _, g := range v["Targets"].(map[string]any) {
		for _, t := range g.(map[string]any)["Registered"].([]any) {
			delete(t.(map[string]any), "Draining")
		}
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		w.t.Fatal(err)
	}
	policies := ""
	w.cloud.Edit(func() { policies = fmt.Sprint(w.role.Policies) })
	return string(b) + policies
}

// flow opens a connection, on the first interface unless another is named.
func (w *world) flow(f awsfake.Flow) *awsfake.Flow {
	var made *awsfake.Flow
	w.cloud.Edit(func() {
		if f.Interface == "" {
			f.Interface = w.eni().ID
		}
		if f.Port == 0 {
			f.Port = 443
		}
		made = w.region.AddFlow(f)
	})
	if !made.Alive {
		w.t.Fatalf("the flow was not let through before: %+v", f)
	}
	return made
}

func status(res *containment.Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", res.Outcome)
	for _, c := range res.Changes {
		fmt.Fprintf(&b, "  %-10s %-40s %s %s %s\n", c.Stage, c.Item, c.Status, c.Error, c.Note)
	}
	for _, r := range res.Residuals {
		fmt.Fprintf(&b, "  residual %s: %s\n", r.Path, r.What)
	}
	return b.String()
}

var errKilled = errors.New("killed")

// short is the wait of tests that do not need the longer one.
var short = func() *time.Duration { d := 5 * time.Second; return &d }()

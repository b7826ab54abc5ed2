package containment_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/containment"
)

// errCrash is what a call returns from where the program is killed. Nothing after it is allowed.
var errCrash = errors.New("killed")

// account is an AWS account as far as the engine sees one: items with states. The clock stands still but
// for sleeps.
type account struct {
	mu    sync.Mutex
	items map[string]string // by ID
	now   time.Time
	calls int

	crashAt int                   // the number of the call at which the program dies; 0: never
	after   bool                  // whether that call has had its effect
	dead    bool                  // it died
	deny    map[string]bool       // items that cannot be set
	fail    map[string]bool       // items whose call fails after it had its effect
	lose    func(id string) error // set: the error of a call that has its effect only when land is called; nil: it has it
	land    func()
	blind   map[string]bool // items that cannot be read after the next call for them, once
	undo    func(*account)  // an attacker, at each sleep
	extra   []containment.Change
	touches []containment.Target
	unread  string
	refuse  func(id, to string) bool // what cannot be set
	by      containment.Verification // "": ByState
}

func newAccount() *account {
	return &account{
		items: map[string]string{"eni-1": `["sg-web"]`, "eni-2": `["sg-db"]`, "policy": "null", "managed": "null", "key": `"Active"`, "term": "false", "group": "null"},
		now:   time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC), deny: map[string]bool{}, fail: map[string]bool{}, blind: map[string]bool{},
	}
}

func (a *account) Name() string                { return "mem" }
func (a *account) Targets() []containment.Kind { return []containment.Kind{containment.Instance} }
func (a *account) clock() time.Time            { a.mu.Lock(); defer a.mu.Unlock(); return a.now }
func item(id string) containment.Item {
	return containment.Item{Kind: "mem/" + strings.TrimRight(id, "-0123456789"), ID: id}
}
func state(s string, v ...any) containment.State { return containment.State(fmt.Sprintf(s, v...)) }

func (a *account) sleep(ctx context.Context, d time.Duration) error {
	a.mu.Lock()
	a.now = a.now.Add(d)
	undo := a.undo
	a.mu.Unlock()
	if undo != nil {
		undo(a)
	}
	return context.Cause(ctx)
}

func (a *account) Plan(_ context.Context, t containment.Target, o containment.Options) (*containment.Plan, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ch := func(id string, st containment.Stage, want string) containment.Change {
		return containment.Change{Item: item(id), Stage: st, Summary: id + " to " + want, Call: "mem:Set", Prior: state("%s", a.items[id]), Want: state("%s", want)}
	}
	p := &containment.Plan{Target: t, Touches: a.touches, Verification: cmp.Or(a.by, containment.ByState), Waits: []containment.Wait{{Before: containment.Isolate, For: time.Minute, Why: "flows"}}}
	group := ch("group", containment.Prepare, `"made"`)
	p.Changes = append(p.Changes, group, ch("term", containment.Protect, "true"))
	policy, managed, key := ch("policy", containment.Lock, `{"Deny":"*"}`), ch("managed", containment.Lock, `"DenyAll"`), ch("key", containment.Lock, `"Inactive"`)
	policy.OneOf, managed.OneOf, policy.Watch, key.Keep = "deny", "deny", true, "a compromised key stays off"
	p.Changes = append(p.Changes, policy, managed, key)
	for _, id := range slices.Sorted(maps.Keys(a.items)) {
		if strings.HasPrefix(id, "eni-") {
			un, iso := ch(id, containment.Untrack, `["sg-untrack"]`), ch(id, containment.Isolate, `["sg-isolate"]`)
			un.Needs, iso.Needs = []containment.Item{group.Item}, []containment.Item{group.Item}
			p.Changes = append(p.Changes, un, iso)
		}
	}
	p.Changes = append(p.Changes, a.extra...)
	return p, nil
}

func (a *account) Read(_ context.Context, _ containment.Target, i containment.Item) (containment.State, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unread == i.ID {
		a.unread = ""
		return nil, errors.New("throttled")
	}
	s, ok := a.items[i.ID]
	if !ok {
		return nil, fmt.Errorf("%s %w", i, containment.ErrGone)
	}
	return state("%s", s), nil
}

func (a *account) Set(_ context.Context, _ containment.Target, i containment.Item, from, to containment.State) (containment.Reply, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	if a.dead {
		return containment.Reply{}, errCrash
	}
	if a.calls == a.crashAt {
		a.dead = true
		if a.after {
			a.items[i.ID] = string(to)
		}
		return containment.Reply{}, errCrash
	}
	if a.deny[i.ID] || a.refuse != nil && a.refuse(i.ID, string(to)) {
		return containment.Reply{}, fmt.Errorf("set %s: %w", i, containment.ErrDenied)
	}
	if a.lose != nil {
		if err := a.lose(i.ID); err != nil {
			a.land = func() { a.items[i.ID] = string(to) }
			return containment.Reply{}, err
		}
	}
	a.items[i.ID] = string(to)
	if a.blind[i.ID] {
		a.unread = i.ID
	}
	if a.fail[i.ID] {
		return containment.Reply{}, errors.New("timed out")
	}
	return containment.Reply{RequestID: fmt.Sprint("r-", a.calls)}, nil
}

// journals dies with the account: nothing is written after the crash. It can die by itself, too.
type journals struct {
	containment.Dir
	a      *account
	diesAt int // the number of the append at which the program dies; 0: never
	n      int
}

func (j *journals) Open(ctx context.Context, name string) (containment.Journal, error) {
	f, err := j.Dir.Open(ctx, name)
	return &dying{f, j}, err
}

type dying struct {
	containment.Journal
	j *journals
}

func (d *dying) Append(ctx context.Context, seq int, line []byte) error {
	d.j.a.mu.Lock()
	d.j.n++
	if d.j.n == d.j.diesAt {
		d.j.a.dead = true
	}
	dead := d.j.a.dead
	d.j.a.mu.Unlock()
	if dead {
		return errCrash
	}
	return d.Journal.Append(ctx, seq, line)
}

var host = containment.Target{Kind: containment.Instance, Partition: "aws", Region: "eu-west-1", Account: "111122223333", Name: "i-0123456789abcdef0"}

// engine is an engine over an account and a folder of journals.
func engine(t *testing.T, a *account) (*containment.Engine, *journals) {
	j := &journals{Dir: containment.Dir(t.TempDir()), a: a}
	return &containment.Engine{
		Services: []containment.Service{a}, Journals: j, Now: a.clock, Sleep: a.sleep, Tool: "test",
		Caller: containment.Identity{ARN: "arn:aws:sts::111122223333:assumed-role/responder/alice", Account: "111122223333"},
	}, j
}

// alive is the engine after the crash: another process on the same account and journals.
func alive(a *account, j *journals, e *containment.Engine) *containment.Engine {
	a.crashAt, a.dead, j.diesAt = 0, false, 0
	again := *e
	return &again
}

package evidencebucket_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/evidencebucket"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	name    = "evidence"
	session = "arn:aws:sts::" + account + ":assumed-role/creator/me"
	creator = "arn:aws:iam::" + account + ":role/ir/creator"
	glass   = "arn:aws:iam::" + account + ":role/break-glass"
)

// A world is an account with a creator and a break-glass role.
type world struct {
	*testing.T
	cloud *awsfake.Cloud
}

func newWorld(t *testing.T) *world {
	w := &world{t, awsfake.New()}
	t.Cleanup(w.cloud.Close)
	a := w.cloud.Account(account)
	a.AddRole("/ir/", "creator")
	a.AddRole("/", "break-glass")
	w.as(session, creator)
	w.as("arn:aws:sts::"+account+":assumed-role/break-glass/x", glass)
	return w
}

// as makes a session of a role.
func (w *world) as(session, role string) {
	p := w.cloud.Principal(session)
	w.cloud.Edit(func() { p.Issuer = role })
}

func (w *world) maker(t evidencebucket.Terms) *evidencebucket.Maker {
	if t.Bucket == "" {
		t.Bucket = name
	}
	if t.BreakGlass == nil {
		t.BreakGlass = []string{creator, glass}
	}
	return &evidencebucket.Maker{Config: w.cloud.Config(session, region), Terms: t, Sleep: func(ctx context.Context, _ time.Duration) error { return ctx.Err() }}
}

// create makes a bucket, and returns what was done.
func (w *world) create(t evidencebucket.Terms) (*evidencebucket.Plan, error) {
	m := w.maker(t)
	plan, err := m.Plan(w.Context())
	if err != nil {
		return nil, err
	}
	return plan, m.Apply(w.Context(), plan, func(evidencebucket.Step) {})
}

func (w *world) must(t evidencebucket.Terms) *evidencebucket.Plan {
	w.Helper()
	plan, err := w.create(t)
	if err != nil {
		w.Fatal(err)
	}
	return plan
}

func (w *world) check(bucket string) []evidencebucket.Finding {
	return evidencebucket.Check(w.Context(), w.cloud.Config(session, region), evidencebucket.Place{Bucket: bucket})
}

// states are the findings by id.
func (w *world) states(bucket string) map[string]evidencebucket.State {
	m := map[string]evidencebucket.State{}
	for _, f := range w.check(bucket) {
		m[f.ID] = f.State
	}
	return m
}

func (w *world) good(bucket string) {
	w.Helper()
	list := w.check(bucket)
	if len(list) != 15 {
		w.Errorf("%d findings", len(list))
	}
	for _, f := range list {
		if f.State != evidencebucket.Pass || f.Fix != "" || f.Why == "" {
			w.Errorf("%+v", f)
		}
	}
	if !evidencebucket.Good(list) {
		w.Error("not good")
	}
}

// writes are the calls that changed something.
func (w *world) writes() (names []string) {
	for _, c := range w.cloud.Calls() {
		if c.Write > 0 {
			names = append(names, c.Operation)
		}
	}
	return names
}

func ids(p *evidencebucket.Plan) (list []string) {
	for _, s := range p.Steps {
		list = append(list, s.ID)
	}
	return list
}

func has(list []string, s string) bool { return slices.Contains(list, s) }

package journals_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/journals"
	"github.com/shotglass-ir/shotglass/containment"
	"github.com/shotglass-ir/shotglass/sink"
)

// one is a service with one item.
type one struct{ state string }

func (o *one) Name() string                { return "one" }
func (o *one) Targets() []containment.Kind { return []containment.Kind{containment.User} }

func (o *one) Plan(_ context.Context, t containment.Target, _ containment.Options) (*containment.Plan, error) {
	return &containment.Plan{Target: t, Changes: []containment.Change{{Item: containment.Item{Kind: "one/key", ID: "k"}, Stage: containment.Lock,
		Summary: "off", Call: "one:Set", Prior: containment.State(o.state), Want: containment.State(`"off"`)}}}, nil
}

func (o *one) Read(context.Context, containment.Target, containment.Item) (containment.State, error) {
	return containment.State(o.state), nil
}

func (o *one) Set(_ context.Context, _ containment.Target, _ containment.Item, _, to containment.State) (containment.Reply, error) {
	o.state = string(to)
	return containment.Reply{}, nil
}

var alice = containment.Target{Kind: containment.User, Account: "111122223333", Partition: "aws", Name: "alice"}

func bucket(t *testing.T, dir string) journals.Bucket {
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	return journals.Bucket{Place: d}
}

func contain(t *testing.T, s *one, j containment.Journals) (*containment.Result, error) {
	t.Helper()
	e := &containment.Engine{Services: []containment.Service{s}, Journals: j, Sleep: func(context.Context, time.Duration) error { return nil }}
	p, err := e.Plan(t.Context(), alice, containment.Options{Case: "c"})
	if err != nil {
		t.Fatal(err)
	}
	return e.Apply(t.Context(), p, containment.ApplyOptions{})
}

func freed(t *testing.T, s *one, j containment.Journals) {
	t.Helper()
	e := &containment.Engine{Services: []containment.Service{s}, Journals: j}
	names, err := j.List(t.Context())
	if err != nil || len(names) != 1 {
		t.Fatalf("journals %v, %v", names, err)
	}
	r, err := e.Release(t.Context(), names[0], containment.ReleaseOptions{})
	if err != nil || r.Outcome != containment.Released || s.state != `"on"` {
		t.Errorf("%+v, %v, state %s", r, err, s.state)
	}
}

func TestBucket(t *testing.T) {
	s, b := &one{`"on"`}, bucket(t, t.TempDir())
	if r, err := contain(t, s, b); err != nil || r.Outcome != containment.Held {
		t.Fatalf("%+v, %v", r, err)
	}
	freed(t, s, b)
}

// Two who contain at once: the one who comes second to a line is told, and changes nothing more.
func TestBucketBusy(t *testing.T) {
	s, b := &one{`"on"`}, bucket(t, t.TempDir())
	name := containment.JournalName("c", alice)
	first, err := b.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Append(t.Context(), 0, []byte("{}\n")); err != nil {
		t.Fatal(err)
	}
	if err := second.Append(t.Context(), 0, []byte("{}\n")); !errors.Is(err, containment.ErrBusy) {
		t.Errorf("got %v", err)
	}
	if s.state != `"on"` {
		t.Error("changed")
	}
}

// A copy that is lost or behind is made up for; release works from the other. Copies that differ are refused.
func TestBoth(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	s, both := &one{`"on"`}, journals.Both{First: containment.Dir(dir), Second: bucket(t, other)}
	if _, err := contain(t, s, both); err != nil {
		t.Fatal(err)
	}
	name := containment.JournalName("c", alice)
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(other)
	if err != nil || len(files) != 4 { // begin, intent, result, end
		t.Fatalf("%v, %v", files, err)
	}
	freed(t, s, both)
	if err := os.Remove(filepath.Join(other, files[len(files)-1].Name())); err != nil {
		t.Fatal(err)
	}
	if _, err := contain(t, s, both); !errors.Is(err, containment.ErrChain) {
		t.Errorf("a line is missing: got %v", err)
	}
}

// When the second place cannot be written, nothing is changed.
func TestSecondFails(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "x")
	s, both := &one{`"on"`}, journals.Both{First: containment.Dir(dir), Second: bucket(t, other)}
	if err := os.RemoveAll(other); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	if _, err := contain(t, s, both); err == nil || s.state != `"on"` {
		t.Errorf("got %v, state %s", err, s.state)
	}
}

// flaky fails to write one line, as a bucket that answers 503 once.
type flaky struct {
	containment.Journals
	fails int // the number of the line; 0: none
	also  func()
}

func (f *flaky) Open(ctx context.Context, name string) (containment.Journal, error) {
	j, err := f.Journals.Open(ctx, name)
	return &flakyJournal{j, f}, err
}

type flakyJournal struct {
	containment.Journal
	f *flaky
}

func (j *flakyJournal) Append(ctx context.Context, seq int, line []byte) error {
	if seq == j.f.fails && seq > 0 {
		j.f.fails = 0
		return errors.New("503 Slow Down")
	}
	if j.f.also != nil {
		j.f.also()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.Journal.Append(ctx, seq, line)
}

// One line that the second place does not take ends the run, and breaks nothing: the journal goes on.
func TestSecondFailsOnce(t *testing.T) {
	for n := 1; n <= 3; n++ { // intent, result, end
		s, f := &one{`"on"`}, &flaky{Journals: bucket(t, t.TempDir()), fails: n}
		both := journals.Both{First: containment.Dir(t.TempDir()), Second: f}
		if _, err := contain(t, s, both); err == nil || strings.Count(err.Error(), "503") != 1 {
			t.Errorf("line %d: got %v", n, err)
		}
		if n == 1 && s.state != `"on"` {
			t.Error("changed without its entry")
		}
		if r, err := contain(t, s, both); err != nil || r.Outcome != containment.Held {
			t.Fatalf("line %d: again: %+v, %v", n, r, err)
		}
		freed(t, s, both)
	}
}

// Ctrl-C while a line is written leaves both places whole.
func TestInterruptedLine(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &one{`"on"`}
	n := 0
	f := &flaky{Journals: bucket(t, t.TempDir()), also: func() {
		if n++; n == 2 { // the intent
			cancel()
		}
	}}
	both := journals.Both{First: containment.Dir(t.TempDir()), Second: f}
	e := &containment.Engine{Services: []containment.Service{s}, Journals: both}
	p, err := e.Plan(ctx, alice, containment.Options{Case: "c"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(ctx, p, containment.ApplyOptions{})
	if err == nil {
		err = ctx.Err()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, %+v", err, r)
	}
	if n != 4 {
		t.Errorf("%d lines, want 4", n)
	}
	freed(t, s, both)
}

// After an error the first place gets no line more either.
func TestBothSticky(t *testing.T) {
	dir := containment.Dir(t.TempDir())
	name := containment.JournalName("c", alice)
	j, err := journals.Both{First: dir, Second: &flaky{Journals: bucket(t, t.TempDir()), fails: 1}}.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for seq, want := range []bool{true, false, false} {
		if err := j.Append(t.Context(), min(seq, 1), []byte("{}\n")); (err == nil) != want {
			t.Errorf("line %d: %v", seq, err)
		}
	}
	if b, err := dir.Load(t.Context(), name); err != nil || string(b) != "{}\n{}\n" {
		t.Errorf("%q, %v", b, err)
	}
}

package containment_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/containment"
)

var contained = map[string]string{"eni-1": `["sg-isolate"]`, "eni-2": `["sg-isolate"]`, "policy": `{"Deny":"*"}`, "managed": `"DenyAll"`,
	"key": `"Inactive"`, "term": "true", "group": `"made"`}

// free is the account after a release: as before, but for the key, which stays off.
func free() map[string]string {
	m := maps.Clone(newAccount().items)
	m["key"] = `"Inactive"`
	return m
}

func contain(t *testing.T, e *containment.Engine, o containment.ApplyOptions) *containment.Result {
	t.Helper()
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func release(t *testing.T, e *containment.Engine, o containment.ReleaseOptions) *containment.Result {
	t.Helper()
	r, err := e.Release(t.Context(), containment.JournalName("case-42", host), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func want(t *testing.T, r *containment.Result, o containment.Outcome, a *account, items map[string]string) {
	t.Helper()
	if r.Outcome != o {
		t.Errorf("outcome %s, want %s: %+v", r.Outcome, o, r)
	}
	if d := cmp.Diff(items, a.items); d != "" {
		t.Errorf("the account differs (-want +got):\n%s", d)
	}
}

// Contained twice, released twice: the second of each changes nothing, and the prior state is that of before the first.
func TestContainContainRelease(t *testing.T) {
	a := newAccount()
	e, _ := engine(t, a)
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	calls := a.calls
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	if a.calls != calls {
		t.Errorf("the second contain made %d calls", a.calls-calls)
	}
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
	calls = a.calls
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
	if a.calls != calls {
		t.Errorf("the second release made %d calls", a.calls-calls)
	}
	// The key, when asked.
	want(t, release(t, e, containment.ReleaseOptions{Also: []string{"mem/key"}}), containment.Released, a, newAccount().items)
	// And all over again: a history of its own.
	a.items["eni-1"] = `["sg-new"]`
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	after := free()
	after["eni-1"] = `["sg-new"]`
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, after)
}

// Killed at any call, before or after its effect, and at any line of the journal: resume
// contains, release frees.
func TestCrashAnywhere(t *testing.T) {
	type crash struct {
		call, line int
		after      bool
	}
	var crashes []crash
	for n := 1; n <= 9; n++ {
		crashes = append(crashes, crash{call: n}, crash{call: n, after: true})
	}
	for n := 1; n <= 20; n++ {
		crashes = append(crashes, crash{line: n})
	}
	died := 0
	for _, c := range crashes {
		for _, way := range []string{"resume", "release", "resume, release"} {
			t.Run(fmt.Sprintf("%+v %s", c, way), func(t *testing.T) {
				a := newAccount()
				e, j := engine(t, a)
				p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
				if err != nil {
					t.Fatal(err)
				}
				a.crashAt, a.after, j.diesAt = c.call, c.after, c.line
				if _, err := e.Apply(t.Context(), p, containment.ApplyOptions{}); !errors.Is(err, errCrash) {
					t.Fatalf("it did not die: %v", err)
				}
				died++
				e = alive(a, j, e)
				name := containment.JournalName("case-42", host)
				began := c.line != 1 // nothing was journalled before the first line, and nothing done
				if !began {
					want(t, &containment.Result{Outcome: containment.Free}, containment.Free, a, newAccount().items)
					if _, err := e.Release(t.Context(), name, containment.ReleaseOptions{}); err == nil {
						t.Error("released what was never begun")
					}
					return
				}
				if way != "release" {
					r, err := e.Resume(t.Context(), name, containment.ApplyOptions{})
					if err != nil {
						t.Fatal(err)
					}
					want(t, r, containment.Held, a, contained)
				}
				if way != "resume" {
					if r := release(t, e, containment.ReleaseOptions{Also: []string{"mem/key"}}); r.Outcome != containment.Released {
						t.Errorf("outcome %s", r.Outcome)
					}
					want(t, &containment.Result{}, "", a, newAccount().items)
				}
			})
		}
	}
	if died != 3*len(crashes) {
		t.Errorf("died %d times of %d", died, 3*len(crashes))
	}
}

// Killed at any call or line of a release, another release ends it.
func TestReleaseCrash(t *testing.T) {
	for n := 1; n <= 14; n++ {
		for _, after := range []bool{false, true} {
			a := newAccount()
			e, j := engine(t, a)
			contain(t, e, containment.ApplyOptions{})
			if n <= 6 {
				a.crashAt, a.after = a.calls+n, after
			} else {
				j.diesAt = j.n + n - 6
			}
			if _, err := e.Release(t.Context(), containment.JournalName("case-42", host), containment.ReleaseOptions{}); !errors.Is(err, errCrash) {
				t.Fatalf("%d: it did not die: %v", n, err)
			}
			want(t, release(t, alive(a, j, e), containment.ReleaseOptions{}), containment.Released, a, free())
		}
	}
}

// A release leaves what someone else changed, and says what it found.
func TestConflict(t *testing.T) {
	a := newAccount()
	e, _ := engine(t, a)
	contain(t, e, containment.ApplyOptions{})
	a.items["eni-1"] = `["sg-evil"]`
	after := free()
	after["eni-1"] = `["sg-evil"]`
	r := release(t, e, containment.ReleaseOptions{})
	want(t, r, containment.Conflict, a, after)
	for _, c := range r.Changes {
		if (c.Status == "conflict") != (c.ID == "eni-1") {
			t.Errorf("%s: %s", c.ID, c.Status)
		}
	}
	s, err := e.Status(t.Context(), r.Journal)
	if err != nil || s.Outcome.Good() {
		t.Errorf("status %v, %v", s, err)
	}
	want(t, release(t, e, containment.ReleaseOptions{Force: true}), containment.Released, a, free())
}

// What cannot be set fails by itself; what needs it is not tried; one of several ways is enough.
func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		deny string
		want containment.Outcome
		diff map[string]string
	}{
		{"group", containment.Partial, map[string]string{"group": "null", "eni-1": `["sg-web"]`, "eni-2": `["sg-db"]`}},
		{"managed", containment.Held, map[string]string{"managed": "null"}},
		{"term", containment.Partial, map[string]string{"term": "false"}},
	} {
		a := newAccount()
		a.deny[tt.deny] = true
		e, _ := engine(t, a)
		m := maps.Clone(contained)
		maps.Copy(m, tt.diff)
		want(t, contain(t, e, containment.ApplyOptions{}), tt.want, a, m)
		want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
	}
	// A call that failed and had its effect.
	a := newAccount()
	a.fail["policy"] = true
	e, _ := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{})
	want(t, r, containment.Held, a, contained)
	a.fail = nil
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
}

// Someone undoes a change again and again: it is made again each time, and told.
func TestTampering(t *testing.T) {
	a := newAccount()
	n := 0
	a.undo = func(a *account) {
		if n++; n > 15 && n < 40 {
			a.mu.Lock()
			a.items["policy"] = "null"
			a.mu.Unlock()
		}
	}
	e, _ := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{Watch: time.Minute})
	want(t, r, containment.Tampered, a, contained)
	if r.Tampering != 24 {
		t.Errorf("tampering %d times, want 24", r.Tampering)
	}
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
}

// A key that was off before, and that the attacker switches on: it goes back to off, however much is released.
// And what never worked was not undone by anyone.
func TestTamperingWithWhatWas(t *testing.T) {
	a := newAccount()
	a.items["policy"] = contained["policy"]
	a.extra = []containment.Change{{Item: item("extra"), Stage: containment.Lock, Prior: containment.Absent, Want: state(`"x"`), Watch: true, Optional: true}}
	a.items["extra"] = "null"
	a.deny["extra"] = true
	n := 0
	a.undo = func(a *account) {
		if n++; n == 30 {
			a.mu.Lock()
			a.items["policy"] = "null"
			a.mu.Unlock()
		}
	}
	e, _ := engine(t, a)
	m := maps.Clone(contained)
	m["extra"] = "null"
	r := contain(t, e, containment.ApplyOptions{Watch: time.Minute})
	want(t, r, containment.Tampered, a, m)
	if r.Tampering != 1 {
		t.Errorf("tampering %d times, want 1", r.Tampering)
	}
	m = free()
	m["policy"], m["extra"] = contained["policy"], "null"
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, m)
}

// The guard rails look at those that a plan bears on, too.
func TestTouches(t *testing.T) {
	a := newAccount()
	a.touches = []containment.Target{{Kind: containment.Role, Account: "111122223333", Name: "responder"}}
	e, _ := engine(t, a)
	if _, err := e.Plan(t.Context(), host, containment.Options{}); !errors.Is(err, containment.ErrRefused) {
		t.Errorf("a plan that bears on the caller: %v", err)
	}
}

// An interface that is attached during the containment is contained too.
func TestAppears(t *testing.T) {
	a := newAccount()
	a.undo = func(a *account) { // while waiting for flows
		a.mu.Lock()
		defer a.mu.Unlock()
		if _, ok := a.items["eni-3"]; !ok {
			a.items["eni-3"] = `["sg-web"]`
		}
	}
	e, _ := engine(t, a)
	m := maps.Clone(contained)
	m["eni-3"] = `["sg-isolate"]`
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, m)
}

// Locked before a capture, isolated after it: two runs, one journal.
func TestStages(t *testing.T) {
	a := newAccount()
	e, _ := engine(t, a)
	m := maps.Clone(newAccount().items)
	m["policy"], m["managed"], m["key"] = contained["policy"], contained["managed"], contained["key"]
	want(t, contain(t, e, containment.ApplyOptions{Stages: []containment.Stage{containment.Lock}}), containment.Held, a, m)
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
}

// While one contains, another is told so.
func TestBusy(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	held, err := j.Dir.Open(t.Context(), containment.JournalName("case-42", host))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(t.Context(), p, containment.ApplyOptions{}); !errors.Is(err, containment.ErrBusy) || a.calls > 0 {
		t.Errorf("error %v after %d calls", err, a.calls)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	want(t, contain(t, e, containment.ApplyOptions{}), containment.Held, a, contained)
}

// TestReleaseWithoutAnAnswer: a call of release that had its effect, and then failed, has released.
func TestReleaseWithoutAnAnswer(t *testing.T) {
	a := newAccount()
	before := maps.Clone(a.items)
	e, _ := engine(t, a)
	p, err := e.Plan(t.Context(), host, containment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	res, err := e.Apply(t.Context(), p, containment.ApplyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for id := range a.items {
		a.fail[id] = true
	}
	rel, err := e.Release(t.Context(), res.Journal, containment.ReleaseOptions{Also: []string{"mem/key"}})
	if err != nil || rel.Outcome != containment.Released {
		t.Fatalf("%v: %+v", err, rel)
	}
	if !maps.Equal(before, a.items) {
		t.Errorf("before %v, after %v", before, a.items)
	}
	if again, err := e.Status(t.Context(), res.Journal); err != nil || again.Outcome != containment.Free {
		t.Errorf("status: %v, %+v", err, again)
	}
}

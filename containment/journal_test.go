package containment_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/containment"
)

// Any change of the journal, or a line of it dropped or swapped, is found, and nothing is then released by it.
func TestJournalChain(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{})
	path := filepath.Join(string(j.Dir), r.Journal)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(good, []byte("\n"))
	lines = lines[:len(lines)-1]
	for name, bad := range map[string][]byte{
		"altered": bytes.Replace(good, []byte("sg-web"), []byte("sg-wxb"), 1),
		"dropped": bytes.Join(append(append([][]byte{}, lines[:3]...), lines[4:]...), nil),
		"swapped": bytes.Join(append(append([][]byte{}, lines[0], lines[2], lines[1]), lines[3:]...), nil),
		"begun":   bytes.Join(lines[1:], nil),
		"garbage": append(bytes.Clone(good), "{}\n"...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		calls := a.calls
		if _, err := e.Release(t.Context(), r.Journal, containment.ReleaseOptions{}); err == nil || a.calls > calls {
			t.Errorf("%s: released: %v", name, err)
		}
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
}

// A line that a crash cut off is put aside; the journal goes on without it.
func TestTornLine(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{})
	path := filepath.Join(string(j.Dir), r.Journal)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"v":1,"seq":`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := e.Status(t.Context(), r.Journal); err != nil {
		t.Errorf("status: %v", err)
	}
	want(t, release(t, e, containment.ReleaseOptions{}), containment.Released, a, free())
	torn, err := os.ReadFile(path + ".torn")
	if err != nil || string(torn) != "{\"v\":1,\"seq\":\n" {
		t.Errorf("put aside: %q, %v", torn, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
}

func TestJournalNames(t *testing.T) {
	seen := map[string]string{}
	for _, s := range []string{"user/a", "role/a", "user/A", "i-01234567", "AKIAIOSFODNN7EXAMPLE", "user/a,b", "user/a=b", "role/" + strings.Repeat("x", 64)} {
		for _, c := range []string{"", "case-42", "case/42", "case_42", "../42", strings.Repeat("y", 200)} {
			target, err := containment.ParseTarget(s)
			if err != nil {
				t.Fatal(err)
			}
			n := containment.JournalName(c, target)
			if other := seen[n]; other != "" {
				t.Errorf("%q and %s + %s are one name: %s", other, c, s, n)
			}
			seen[n] = c + " + " + s
			if n != filepath.Base(n) || strings.HasPrefix(n, ".") || strings.HasPrefix(n, "-") || len(n) > 200 {
				t.Errorf("bad name %q", n)
			}
		}
	}
}

func TestNoJournal(t *testing.T) {
	e, _ := engine(t, newAccount())
	for _, err := range []error{
		func() error { _, err := e.Status(t.Context(), "none"+containment.JournalSuffix); return err }(),
		func() error {
			_, err := e.Release(t.Context(), "none"+containment.JournalSuffix, containment.ReleaseOptions{})
			return err
		}(),
	} {
		if !errors.Is(err, containment.ErrNoJournal) {
			t.Errorf("got %v", err)
		}
	}
}

func TestFind(t *testing.T) {
	e, _ := engine(t, newAccount())
	r := contain(t, e, containment.ApplyOptions{})
	for _, tt := range []struct {
		target, caseID string
		found          bool
	}{
		{host.ARN(), "case-42", true}, {host.Name, "", true}, {host.Name, "case-43", false},
		{"arn:aws:ec2:eu-west-2:111122223333:instance/" + host.Name, "", false}, {"i-0123456789abcdef1", "", false},
	} {
		target, err := containment.ParseTarget(tt.target)
		if err != nil {
			t.Fatal(err)
		}
		names, err := e.Find(t.Context(), target, tt.caseID)
		if err != nil || (len(names) == 1 && names[0] == r.Journal) != tt.found {
			t.Errorf("%s in %q: %v, %v", tt.target, tt.caseID, names, err)
		}
	}
	if p, err := e.Journaled(t.Context(), r.Journal); err != nil || p.Target != host {
		t.Errorf("%+v, %v", p, err)
	}
}

// A journal that cannot be read hides no other target's, but is not passed over where it may be the one.
func TestFindBesideBroken(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	r := contain(t, e, containment.ApplyOptions{})
	broken := func(name string) {
		if err := os.WriteFile(filepath.Join(string(j.Dir), name+containment.JournalSuffix), []byte("{}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	broken("case-42-user_alice-00000000")
	if names, err := e.Find(t.Context(), host, ""); err != nil || len(names) != 1 || names[0] != r.Journal {
		t.Errorf("found %q, %v", names, err)
	}
	other := host
	other.Name = "i-0ffffffffffffffff"
	if names, err := e.Find(t.Context(), other, ""); !strings.Contains(fmt.Sprint(err), "alice") {
		t.Errorf("found %q, %v", names, err)
	}
	broken("case-43-" + host.Name + "-00000000")
	if names, err := e.Find(t.Context(), host, ""); !strings.Contains(fmt.Sprint(err), "case-43") {
		t.Errorf("found %q, %v", names, err)
	}
}

// The journal says what asked for each run.
func TestRequest(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	e.Request = "message 1"
	res := contain(t, e, containment.ApplyOptions{})
	e.Request = "message 2"
	release(t, e, containment.ReleaseOptions{})
	b, err := j.Load(t.Context(), res.Journal)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := containment.ParseJournal(b)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	for _, en := range entries {
		if en.Request != "" {
			asked = append(asked, string(en.Kind)+": "+en.Request)
		}
	}
	if got := strings.Join(asked, ", "); got != "begin: message 1, release: message 2" {
		t.Errorf("asked for by %s", got)
	}
}

// A journal that took nothing, as on a full disk, is none to go on with: it is not named. One that had a plan before is.
func TestNothingJournalled(t *testing.T) {
	a := newAccount()
	e, j := engine(t, a)
	p, err := e.Plan(t.Context(), host, containment.Options{Case: "case-42"})
	if err != nil {
		t.Fatal(err)
	}
	j.diesAt = 1
	r, err := e.Apply(t.Context(), p, containment.ApplyOptions{})
	if !errors.Is(err, errCrash) || r.Journal != "" || r.Outcome != containment.Failed {
		t.Errorf("%+v, %v", r, err)
	}
	e = alive(a, j, e)
	contain(t, e, containment.ApplyOptions{})
	j.n, j.diesAt = 0, 1
	if r, err = e.Apply(t.Context(), p, containment.ApplyOptions{}); !errors.Is(err, errCrash) || r.Journal == "" {
		t.Errorf("%+v, %v", r, err)
	}
}

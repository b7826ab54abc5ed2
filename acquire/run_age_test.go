//go:build unix

package acquire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/sink"
)

// TestRunEncrypted: a run encrypts to its recipients, a job to its own; the names, the plan and the
// manifests say so, and no page of memory lies on the disk in clear.
func TestRunEncrypted(t *testing.T) {
	all, id := ageKey(t)
	own, ownID := ageKey(t)
	a, b := newFake(t), newFake(t)
	dir := t.TempDir()
	opts := a.options(dir)
	opts.Recipients, opts.Compression = all, "none"
	other := b.job("b")
	other.Recipients = own
	plan, err := NewPlan(t.Context(), []Job{a.job("a"), other}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	if s := plan.Steps; len(s[0].Recipients) != 1 || s[0].Recipients[0] != all[0].String() || s[1].Recipients[0] != own[0].String() {
		t.Errorf("plan: %q, %q", s[0].Recipients, s[1].Recipients)
	}
	disk, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, res := range plan.Run(t.Context()) {
		to, key, notKey := all, id, ownID
		if i == 1 {
			to, key, notKey = own, ownID, id
		}
		if res.State != StateComplete || !strings.HasSuffix(res.Image.Name, "-mem.lime.age") || len(res.Image.Recipients) != 1 || res.Image.Recipients[0] != to[0].String() {
			t.Fatalf("%s: %v, %+v", res.State, res.Err, res.Image)
		}
		stored, err := os.ReadFile(res.Image.Location)
		if err != nil {
			t.Fatal(err)
		}
		if !agefile.Is(stored) || strings.Contains(string(stored), "of range 100000") {
			t.Errorf("%s holds memory in clear", res.Image.Location)
		}
		name := filepath.Base(res.Image.Location)
		if rep, err := Verify(t.Context(), disk, name, VerifyOptions{Signers: allowed(t, ""), Identities: []age.Identity{key}}); err != nil || !rep.Decoded || len(rep.Problems) > 0 {
			t.Errorf("with the key: %v, %+v", err, rep)
		}
		if _, err := Verify(t.Context(), disk, name, VerifyOptions{Signers: allowed(t, ""), Identities: []age.Identity{notKey}}); err == nil {
			t.Error("the other's key opens it")
		}
	}
}

// TestResumeEncrypted: an encrypted image is kept without its key, by its stored bytes; not for one
// who could not read it.
func TestResumeEncrypted(t *testing.T) {
	all, _ := ageKey(t)
	more, _ := ageKey(t)
	dir := t.TempDir()
	a := newFake(t)
	o := a.resuming(dir)
	o.Recipients = all
	first := runJobs(t.Context(), t, o, a.job("a"))[0]
	if first.State != StateComplete || first.Image.Encryption != "age" {
		t.Fatalf("%+v", first)
	}
	if again := runJobs(t.Context(), t, o, a.job("a"))[0]; again.KeptFrom.IsZero() || again.Image.Location != first.Image.Location {
		t.Errorf("not kept: %+v", again)
	}
	o.Recipients = append(all[:1:1], more...)
	if other := runJobs(t.Context(), t, o, a.job("a"))[0]; other.State != StateComplete || !other.KeptFrom.IsZero() || len(other.Image.Recipients) != 2 {
		t.Errorf("not taken again: %+v", other)
	}
}

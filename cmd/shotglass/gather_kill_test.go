package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
)

// silent has CloudTrail, and what else is named, throttle everybody until it is undone.
func (g *gatherTest) silent(operations ...string) (undo func()) {
	g.cloud.Edit(func() {
		g.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
			for _, o := range append(operations, "LookupEvents") {
				if c.Operation == o {
					return awsfake.Fault{Error: &awsfake.Error{Code: "ThrottlingException", Message: "Rate exceeded", Status: 400}}
				}
			}
			return awsfake.Fault{}
		}
	})
	return func() { g.cloud.Edit(func() { g.cloud.Fault = nil }) }
}

// kill starts a run in a process of its own, and kills it, by SIGKILL, once done says so.
func (g *gatherTest) kill(done func() bool, args ...string) {
	g.Helper()
	program, err := exec.LookPath("shotglass") // this test binary, as testscript has it
	if err != nil {
		g.Fatal(err)
	}
	var story bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stderr = &story
	if err := cmd.Start(); err != nil {
		g.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }() //nolint:errcheck // it is killed
	for began := time.Now(); !done(); time.Sleep(200 * time.Microsecond) {
		select {
		case <-ended:
			g.Fatalf("it ended by itself:\n%s", &story)
		default:
		}
		if time.Since(began) > time.Minute {
			cmd.Process.Kill() //nolint:errcheck // it fails anyhow
			g.Fatalf("nothing to kill:\n%s", &story)
		}
	}
	cmd.Process.Kill() //nolint:errcheck // or it has ended
	<-ended
}

// afterwards holds what a killed run left against the items that it asked for: each is there whole, or missing, or has a name that says that it is not
// whole. It returns how many are there.
func (g *gatherTest) afterwards(begun string, there map[string][]byte, args ...string) int {
	g.Helper()
	whole := map[string]bool{}
	base := strings.TrimSuffix(filepath.Base(begun), cloudevidence.BegunSuffix)
	for name := range there {
		if item, ok := strings.CutPrefix(name, base+"-"); ok && strings.HasSuffix(item, cloudevidence.ArchiveSuffix) {
			whole[strings.TrimSuffix(item, cloudevidence.ArchiveSuffix)] = true
		}
	}
	out, _ := g.run(exitMismatch, append(append([]string{"verify", "--json", "--signers", g.signers}, args...), begun)...)
	var m struct {
		cloudevidence.Verification
		Verdict string `json:"verdict"`
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&m); err != nil {
		g.Fatal(err)
	}
	if m.Verdict != "untrusted" || !m.Unfinished || len(m.Problems) > 0 || len(m.Record.Asked) != len(cloudevidence.Kinds()) || len(m.Record.Items) != len(whole) {
		g.Errorf("%d are there: %s", len(whole), out)
	}
	for _, it := range m.Record.Items {
		if !whole[it.Name] {
			g.Errorf("%s: %s", it.Name, out)
		}
	}
	for _, name := range m.Record.Asked {
		if missing := strings.Contains(out, name+": it was not stored"); missing == whole[name] {
			g.Errorf("%s: there %v, missing %v", name, whole[name], missing)
		}
	}
	return len(whole)
}

// folder is what lies among the evidence.
func (g *gatherTest) folder() map[string][]byte {
	g.Helper()
	there := map[string][]byte{}
	for _, f := range g.files("") {
		b, err := os.ReadFile(f)
		if err != nil && !os.IsNotExist(err) {
			g.Fatal(err)
		}
		there[filepath.Base(f)] = b
	}
	return there
}

// A run that is killed, between whichever items, leaves each of them whole or not at all. The next overwrites nothing, and its record names what was left.
func TestGatherKilledBetweenItems(t *testing.T) {
	g := newGatherTest(t)
	undo := g.silent("GetConsoleOutput")
	seen := map[int]bool{}
	for round, least := range []int{0, 1, 2, 5, 8, 10} {
		g.out = filepath.Join(g.dir, fmt.Sprint("out", round))
		args := []string{"gather", "-o", g.out, "i-00000001"}
		g.kill(func() bool {
			return len(g.files(cloudevidence.BegunSuffix)) == 1 && len(g.files(cloudevidence.ArchiveSuffix)) >= least
		}, args...)
		before := g.folder()
		if n := g.afterwards(g.files(cloudevidence.BegunSuffix)[0], before); n < least {
			t.Errorf("%d items, want %d", n, least)
		} else {
			seen[n] = true
		}
		if n := len(g.files(cloudevidence.Suffix)); n != 0 {
			t.Errorf("%d records", n)
		}
	}
	if len(seen) < 3 {
		t.Errorf("killed at %v", seen)
	}
	page := g.page(exitMismatch, "--signers", g.signers, g.out)
	g.has("the page", page, "What AWS had of i-00000001", "the run that began this has not recorded what came of it", "missing: trail: it was not stored", "its archive was not read")
	archive := g.files(cloudevidence.ArchiveSuffix)[0]
	out, _ := g.run(exitMismatch, "verify", "--signers", g.signers, archive)
	g.has("the verdict", out, " stored, of 14\n", "  stored: "+filepath.Base(archive)+" of ", " bytes with sha256 ")
	out, errs := g.run(exitFailed, "verify", filepath.Join(g.out, "i-00000001-20200101T000000Z-cloud.gathered"))
	if g.has("nothing", errs, "no such file"); out != "" {
		t.Error(out)
	}
	before := g.folder()
	for time.Now().UTC().Format("-20060102T150405Z") <= filepath.Base(g.files(cloudevidence.BegunSuffix)[0])[len("i-00000001"):][:17] {
		time.Sleep(50 * time.Millisecond) // a run of the same second counts as this one
	}
	undo()
	out, errs = g.run(exitOK, "gather", "-o", g.out, "i-00000001")
	g.has("the result", out, "i-00000001\tcomplete\t14/14")
	begun := ""
	for name, b := range before {
		if strings.HasSuffix(name, cloudevidence.BegunSuffix) {
			begun = name
		}
		if now, err := os.ReadFile(filepath.Join(g.out, name)); err != nil || !bytes.Equal(now, b) {
			t.Errorf("%s was changed: %v", name, err)
		}
	}
	g.has("the story", errs, "was ended before its record", "of its 14 items lie in "+g.out, "shotglass verify "+filepath.Join(g.out, begun))
	record := g.files(cloudevidence.Suffix)
	if len(record) != 1 {
		t.Fatalf("%q", record)
	}
	out, _ = g.run(exitOK, "verify", "--signers", g.signers, record[0])
	g.has("the verdict", out, ": verified; ")
	g.has("the page", g.page(exitMismatch, "--verify", "--signers", g.signers, g.out), "Left by another run", begun) // nobody signed the log of the killed run
	text, err := os.ReadFile(record[0])
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if cloudevidence.Is(name) {
			g.has("the record", string(text), `"name": "`+name+`"`)
		}
	}
}

// In a bucket it is the same: what was put before the kill is whole, and stays.
func TestGatherKilledBucket(t *testing.T) {
	g := newGatherTest(t)
	s := newShelf(t)
	for _, kv := range g.cloud.Env(responderARN, "eu-west-1") {
		k, v, _ := strings.Cut(kv, "=")
		t.Setenv(k, v)
	}
	os.Unsetenv("SHOTGLASS_OUTPUT")
	bucket := []string{"--s3-endpoint", s.url, "--s3-path-style"}
	count := func(suffix string) (n int, last string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for name := range s.objects {
			if strings.HasSuffix(name, suffix) {
				n, last = n+1, name
			}
		}
		return n, last
	}
	undo := g.silent()
	gather := append([]string{"gather", "--to", "s3://evidence/"}, append(bucket, "i-00000001")...)
	g.kill(func() bool { n, _ := count(cloudevidence.ArchiveSuffix); return n >= 4 }, gather...)
	s.mu.Lock()
	before := maps.Clone(s.objects)
	s.mu.Unlock()
	_, begun := count(cloudevidence.BegunSuffix)
	if n := g.afterwards("s3://evidence/"+begun, before, bucket...); n < 4 {
		t.Errorf("%d items", n)
	}
	for _, place := range []string{"", begun, cloudevidence.RecordOf(begun)} { // there is nothing else in the case
		g.has("the page of "+place, g.page(exitMismatch, append(bucket, "s3://evidence/"+place)...), "What AWS had of i-00000001", "the run that began this has not recorded what came of it")
	}
	undo()
	time.Sleep(1100 * time.Millisecond) // a run of the same second counts as this one
	out, errs := g.run(exitOK, gather...)
	g.has("the result", out, "i-00000001\tcomplete\t14/14")
	g.has("the story", errs, "was ended before its record", "shotglass verify s3://evidence/"+begun)
	for name, b := range before {
		if !bytes.Equal(s.objects[name], b) {
			t.Errorf("%s was changed", name)
		}
	}
	_, record := count(cloudevidence.Suffix)
	_, archive := count(cloudevidence.ArchiveSuffix)
	_, errs = g.run(exitFailed, append(append([]string{"report"}, bucket...), "s3://evidence/x-"+archive)...)
	g.has("the refusal", errs, "there is no x-", cloudevidence.Suffix)
	out, _ = g.run(exitOK, append(append([]string{"verify", "--signers", g.signers}, bucket...), "s3://evidence/"+record)...)
	g.has("the verdict", out, ": verified; ")
}

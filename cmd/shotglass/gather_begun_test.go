package main

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/sink"
)

// A run that is killed once snapshots were made, while AWS leaves other questions open, left the tag of their set.
func TestGatherKilledAfterSnapshots(t *testing.T) {
	g := newGatherTest(t)
	undo := g.silent()
	g.kill(func() bool { return g.count("CreateSnapshots") > 0 }, "gather", "--items", "trail,snapshots", "i-00000001")
	set := ""
	g.cloud.Edit(func() {
		for _, s := range g.region.Snapshots {
			set = s.Tags["shotglass-set"]
		}
	})
	begun := g.files(cloudevidence.BegunSuffix)
	if len(begun) != 1 || set == "" || len(g.files(cloudevidence.Suffix)) != 0 {
		t.Fatalf("%q %q", begun, set)
	}
	out, _ := g.run(exitMismatch, "verify", "--signers", g.signers, begun[0])
	g.has("the verdict", out, "missing: snapshots: UNKNOWN whether any was made; what was has the tag shotglass-set="+set)
	g.has("the page", g.page(exitMismatch, "--signers", g.signers, g.out), "shotglass-set="+set)
	undo()
	time.Sleep(1100 * time.Millisecond) // a run of the same second counts as this one
	_, errs := g.run(exitOK, "gather", "--items", "snapshots", "i-00000001")
	g.has("the story", errs, "of an earlier run of this case found", "0 of its 1 items lie in "+g.out, "if it made snapshots they have the tag shotglass-set="+set)
	for _, record := range g.files(cloudevidence.Suffix) {
		out, _ = g.run(exitOK, "verify", "--signers", g.signers, record)
		g.has("the verdict", out, "left by another run: "+filepath.Base(begun[0])+", begun 20", ", snapshots with the tag shotglass-set="+set+", 1 file\n")
	}
	if n := g.count("CreateSnapshots"); n != 1 {
		t.Errorf("%d sets", n)
	}
}

// held takes nothing whose name ends so until it is let go.
type held struct {
	sink.Sink
	suffix string
	free   chan struct{}
}

func (h held) Create(ctx context.Context, name string) (sink.Object, error) {
	if strings.HasSuffix(name, h.suffix) {
		select {
		case <-h.free:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.Sink.Create(ctx, name)
}

// Snapshots wait until it is stored that they are to be made, but not for ever; and are in the log before the rest has been read.
func TestGatherBegun(t *testing.T) {
	g := newGatherTest(t)
	for name, patience := range map[string]time.Duration{"a slow place": time.Hour, "a place that does not answer": time.Millisecond} {
		o := mustParse(t, "--gather", "console,trail,snapshots", "--snapshot-again", "i-00000001")
		all, one := o.gather, o.gather.list[0]
		all.recorded = patience
		for range trailParallel { // CloudTrail is not asked
			all.slow <- struct{}{}
		}
		place := held{one.place.Sink, cloudevidence.BegunSuffix, make(chan struct{})}
		one.place.Sink = place
		logged := make(chan audit.Entry, 100)
		read, early := g.count("GetConsoleOutput"), false
		files := len(g.files(cloudevidence.BegunSuffix))
		g.cloud.Edit(func() {
			g.cloud.Fault = func(c *awsfake.Call) awsfake.Fault {
				early = early || c.Operation == "CreateSnapshots" && len(g.files(cloudevidence.BegunSuffix)) == files
				return awsfake.Fault{}
			}
		})
		all.start(t.Context(), func(string) {}, func(e audit.Entry) { logged <- e })
		if patience == time.Hour {
			for began := time.Now(); g.count("GetConsoleOutput") == read && time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
			}
			close(place.free)
		} else if e := <-logged; e.Event != "gather-late" || !strings.Contains(e.Message, "the tag of their set is "+one.snap.Set) {
			t.Errorf("%s: %+v", name, e)
		}
		e := <-logged
		for e.Event == "gather-item" { // the console's, which waits for nobody
			e = <-logged
		}
		if e.Event != "snapshotted" || early != (patience != time.Hour) || !strings.Contains(e.Message, one.snap.Set) {
			t.Errorf("%s: before what was begun is stored: %v; %+v", name, early, e)
		}
		if patience != time.Hour {
			close(place.free)
		}
		for range trailParallel {
			<-all.slow
		}
		if code := all.finish(); code != exitOK {
			t.Errorf("%s: exit code %d %v", name, code, one.errs)
		}
		if one.set.Set != one.snap.Set {
			t.Errorf("%s: made %s, and wrote %s", name, one.set.Set, one.snap.Set)
		}
	}
}

// That another place is taken is said and logged when it happens, and each item in the log with its place.
func TestGatherKeptLogged(t *testing.T) {
	g := newGatherTest(t)
	o := mustParse(t, "--gather", "console", "i-00000001")
	state := filepath.Join(g.dir, "state", "shotglass")
	o.gather.list[0].place.Sink = g.brokenDisk(nil)
	var events []string
	var story strings.Builder
	o.gather.start(t.Context(), func(s string) { story.WriteString(s + "\n") }, func(e audit.Entry) {
		switch events = append(events, e.Event); {
		case e.Event == "gather-left": // what lies in a place that is broken is not known
			events = events[:len(events)-1]
		case e.Event == "gather-kept" && (e.Location != state || e.Error == ""):
			t.Errorf("%+v", e)
		case e.Event == "gather-item" && (filepath.Dir(e.Location) != state || !strings.Contains(e.Message, state)):
			t.Errorf("%+v", e)
		}
	})
	if code := o.gather.finish(); code != exitPartial || strings.Join(events, " ") != "gather-kept gather-item gathered" {
		t.Errorf("exit code %d %q", code, events)
	}
	g.has("the story", story.String(), "i-00000001: error: its place did not take all of it, so that it lies in "+state)
}

// mute is a key that signs nothing, as that of an agent that is gone.
type mute struct{ ssh.Signer }

func (mute) Sign(io.Reader, []byte) (*ssh.Signature, error) {
	return nil, errors.New("the agent is gone")
}

func (mute) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	return nil, errors.New("the agent is gone")
}

// Where nothing can be signed the record stands without a signature, wherever it lies, and a second copy is named.
func TestGatherUnsignedTwice(t *testing.T) {
	g := newGatherTest(t)
	state := filepath.Join(g.dir, "state", "shotglass")
	for name, broken := range map[string]bool{"a second copy": false, "the only one": true} {
		o := mustParse(t, "--gather", "console", "i-00000001")
		key, err := o.openSigner(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer key.Close()
		o.Engine.Signer = mute{o.Engine.Signer}
		one := o.gather.list[0]
		if broken {
			one.place.Sink = g.brokenDisk(nil)
		}
		o.gather.start(t.Context(), func(string) {}, func(audit.Entry) {})
		code, text := o.gather.finish(), errors.Join(one.errs...).Error()
		if code != exitPartial || one.record == nil || !strings.Contains(text, "without its signature") || !strings.Contains(text, state) {
			t.Errorf("%s: exit code %d: %s", name, code, text)
		}
		if dir := filepath.Dir(one.stored.Location); (dir == state) != broken {
			t.Errorf("%s: %s", name, one.stored.Location)
		}
	}
}

// What a record does not know of what was left is said.
func TestLeftFact(t *testing.T) {
	for want, l := range map[string]cloudevidence.Leftover{
		"nobody knows": {Error: "nobody knows"},
		"a.gathering, begun 2026-01-02T03:04:05Z, 2 files, 1 of them without a digest, which could not be read then and are not checked; a.tar.zst could not be read": {
			Name: "a.gathering", Begun: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Error: "a.tar.zst could not be read",
			Files: []records.Named{{Name: "a.gathering", Digest: records.DigestOf(nil)}, {Name: "a.tar.zst"}},
		},
	} {
		if got := leftFact(l); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
	var out strings.Builder
	printGathered(&out, "x", &cloudevidence.Verification{Record: &cloudevidence.Record{Left: []cloudevidence.Leftover{{Error: "nobody knows"}}}})
	if !strings.Contains(out.String(), "left by another run: nobody knows\n") {
		t.Error(out.String())
	}
}

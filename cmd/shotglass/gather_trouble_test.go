package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/sink"
)

// A refusing sink takes nothing whose name ends so.
type refusing struct {
	sink.Sink
	suffix string
}

func (r refusing) Create(ctx context.Context, name string) (sink.Object, error) {
	if strings.HasSuffix(name, r.suffix) {
		return nil, errors.New("the bucket is gone")
	}
	return r.Sink.Create(ctx, name)
}

// gather gathers of one instance, into place, if set.
func (g *gatherTest) gather(place func(sink.Sink) sink.Sink, args ...string) (*gathering, int) {
	g.Helper()
	o := mustParse(g.T, append(args, "i-00000001")...)
	key, err := o.openSigner(g.Context())
	if err != nil {
		g.Fatal(err)
	}
	defer key.Close()
	one := o.gather.list[0]
	one.place.Sink = place(one.place.Sink)
	o.gather.start(g.Context(), func(string) {}, func(audit.Entry) {})
	return one, o.gather.finish()
}

// inFile is a folder that cannot be made.
func (g *gatherTest) inFile() string {
	file := filepath.Join(g.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		g.Fatal(err)
	}
	return filepath.Join(file, "folder")
}

func (g *gatherTest) brokenDisk(sink.Sink) sink.Sink {
	d, err := sink.NewDisk(g.inFile())
	if err != nil {
		g.Fatal(err)
	}
	return d
}

// What was read is kept on this machine when its place does not take it, be it a bucket or a disk.
func TestGatherKept(t *testing.T) {
	g := newGatherTest(t)
	for name, place := range map[string]func(sink.Sink) sink.Sink{
		"a bucket": func(s sink.Sink) sink.Sink { return refusing{s, ""} }, "a disk": g.brokenDisk, "no signature": func(s sink.Sink) sink.Sink { return refusing{s, ".sig"} },
	} {
		state := filepath.Join(g.dir, strings.ReplaceAll(name, " ", "_"))
		t.Setenv("XDG_STATE_HOME", state)
		one, code := g.gather(place, "--gather", "console")
		if code != exitPartial || len(one.errs) != 1 || !strings.Contains(one.errs[0].Error(), "it lies in "+state) || one.record == nil {
			t.Errorf("%s: exit code %d: %v", name, code, one.errs)
		}
		if kept, err := filepath.Glob(filepath.Join(state, "shotglass", "*")); err != nil || len(kept) != 4 {
			t.Errorf("%s: %q %v", name, kept, err)
		}
	}
}

// Where nothing takes what was read the images stand all the same, snapshots are waited for, and are told. A record without a signature is one.
func TestGatherLost(t *testing.T) {
	g := newGatherTest(t)
	t.Setenv("XDG_STATE_HOME", g.inFile())
	one, code := g.gather(g.brokenDisk, "--gather", "console,snapshots", "--snapshot-copy-key", "key-1")
	if code != exitPartial || one.record != nil || g.count("CopySnapshot") != 1 || !strings.Contains(errors.Join(one.errs...).Error(), "there is no record of it") {
		t.Errorf("exit code %d: %v", code, one.errs)
	}
	var out, errs strings.Builder
	if err := one.all.tell(newConsole(strings.NewReader(""), &out, &errs)); err != nil || one.set == nil || one.set.Snapshots[0].Copy == nil {
		t.Errorf("%v %+v", err, one.set)
	}
	g.has("the story", errs.String(), "what became of the snapshots could not be stored")
	one, code = g.gather(func(s sink.Sink) sink.Sink { return refusing{s, ".sig"} }, "--gather", "tags")
	if code != exitPartial || one.record == nil || !strings.Contains(errors.Join(one.errs...).Error(), "it was stored without its signature") || len(g.files(".gathered")) != 1 {
		t.Errorf("exit code %d: %v", code, one.errs)
	}
}

// CloudTrail, which takes minutes, keeps nobody waiting, however many instances there are.
func TestGatherManyTrails(t *testing.T) {
	g := newGatherTest(t)
	o := mustParse(t, "--gather", "tags,trail", "i-00000001")
	all := o.gather
	first := all.list[0]
	for range gatherParallel {
		all.add(first.host, first.about.Instance, first.access, first.gatherOptions).place = first.place
	}
	for range trailParallel { // it answers nobody
		all.slow <- struct{}{}
	}
	all.start(t.Context(), func(string) {}, func(audit.Entry) {})
	limit := time.After(time.Minute)
	for n, x := range all.list {
		select {
		case <-x.read:
		case <-limit:
			t.Errorf("instance %d waits for CloudTrail", n)
		}
	}
	if n := g.count("LookupEvents"); n != 0 {
		t.Errorf("%d questions to CloudTrail", n)
	}
	for range trailParallel {
		<-all.slow
	}
	if code := all.finish(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
}

// Who changes something waits for all instances, and nobody for ever.
func TestGatherLate(t *testing.T) {
	all := newGatherings(&captureOptions{})
	var told []audit.Entry
	all.log = func(e audit.Entry) { told = append(told, e) }
	all.began, all.patience = time.Now(), time.Millisecond
	a := &gathering{all: all, host: "a", read: make(chan struct{})}
	b := &gathering{all: all, host: "b", read: make(chan struct{})}
	all.list = []*gathering{a, b}
	close(a.read)
	did := 0
	captures, contains, after := acquire.Job{Host: "a"}, acquire.Job{Host: "a", Before: func(context.Context) { did++ }}, acquire.Job{Host: "c", After: func(context.Context, *acquire.Result) { did++ }}
	all.before(&captures, a)
	all.before(&contains, a)
	all.before(&after, nil)
	if captures.Before(t.Context()); len(told) != 0 {
		t.Errorf("%+v", told)
	}
	if contains.Before(t.Context()); len(told) != 1 || told[0].Event != "gather-late" || !strings.Contains(told[0].Message, "a: error: it goes on before AWS has answered on b, after 1ms") {
		t.Errorf("%+v", told)
	}
	if after.After(t.Context(), nil); len(told) != 2 || told[1].Host != "c" || did != 2 || after.Before != nil {
		t.Errorf("%d %+v", did, told)
	}
}

// Who does not wait for snapshots does not know what became of them.
func TestGatherUnwaited(t *testing.T) {
	g := newGatherTest(t)
	out, errs := g.run(exitPartial, "gather", "--items", "tags,snapshots", "--snapshot-wait", "0", "i-00000001")
	g.has("the result", out, "i-00000001\tpartial\t1/1\tsnap-")
	g.has("the story", errs, "nobody recorded that they were stored", "to go on: shotglass gather --items snapshots ")
}

// A place that has nothing but the record of snapshots, as one that took the rest for another, is a page and a verdict, which say what is missing.
func TestGatherSnapshotsAlone(t *testing.T) {
	g := newGatherTest(t)
	g.run(exitOK, "gather", "--items", "tags,snapshots", "i-00000001")
	alone := t.TempDir()
	names := g.files(cloudevidence.SnapshotsSuffix)
	for _, name := range append(names, names[0]+".sig") {
		if err := os.Rename(name, filepath.Join(alone, filepath.Base(name))); err != nil {
			t.Fatal(err)
		}
	}
	record := filepath.Join(alone, filepath.Base(names[0]))
	for _, place := range []string{alone, record, record + ".sig"} {
		g.has(place, g.page(exitMismatch, "--signers", g.signers, place), "Snapshots of ", "snap-", "with SHA-256", "which is missing")
	}
	out, _ := g.run(exitMismatch, "verify", "--signers", g.signers, record)
	g.has("the verdict", out, "mismatch; no record, but one of snapshots, of ", "snapshots, their record:", "which is missing")
	// Beside what its run set out to gather it is told with that.
	begun := filepath.Join(alone, strings.TrimSuffix(filepath.Base(names[0]), cloudevidence.SnapshotsSuffix)+cloudevidence.BegunSuffix)
	if err := os.Rename(g.files(cloudevidence.BegunSuffix)[0], begun); err != nil {
		t.Fatal(err)
	}
	g.has("the page", g.page(exitMismatch, "--signers", g.signers, alone), "What AWS had of ", "Snapshots of ", "tags: it was not stored", "which is missing")
}

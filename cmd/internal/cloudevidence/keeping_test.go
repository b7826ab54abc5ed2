package cloudevidence_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

// begin stores items of a run that is ended before its record.
func (w *world) begin(words ...string) (base string) {
	w.Helper()
	rec := w.record(words...)
	base = cloudevidence.BaseName("web", w.cloud.Now())
	k := cloudevidence.NewKeeping(base, *rec)
	var mu sync.Mutex
	stored := 0
	w.gatherer.Read(w.Context(), w.target, w.kinds(words...), func(it cloudevidence.Item, content []byte) {
		f, err := k.Item(w.Context(), w.place, it, content)
		if err != nil || f.Stored.Bytes != int64(len(w.file(f.Name))) {
			w.Errorf("%s: %+v %v", it.Name, f, err)
		}
		mu.Lock()
		stored++
		mu.Unlock()
	}, nil)
	if stored != len(words) {
		w.Errorf("%d items stored", stored)
	}
	return base
}

func (w *world) left() []cloudevidence.Leftover {
	return cloudevidence.Find(w.Context(), w.place.Sink, true).Of(w.Context(), "web", cloudevidence.Instance{ID: victim}, cloudevidence.BaseName("web", w.cloud.Now()))
}

// What lies there without a record is told complete from damaged, from missing and from another's, and a later run's record names it by its digest.
func TestUnfinished(t *testing.T) {
	w := newWorld(t)
	w.fault(denied, "GetConsoleScreenshot")
	base := w.begin("user-data", "tags", "screenshot")
	w.Setenv("TZ", "UTC")
	v := w.verify(base + ".gathered")
	reasons := strings.Join(v.Reasons, "\n")
	if v.Verdict != acquire.VerdictUntrusted || !v.Unfinished || len(v.Problems) > 0 || len(v.Record.Items) != 3 || !strings.Contains(reasons, "has not recorded") || !strings.Contains(reasons, "screenshot: UNKNOWN") {
		t.Errorf("%+v", v)
	}
	if list := w.left(); len(list) != 0 {
		t.Errorf("a run finds its own: %+v", list)
	}
	w.cloud.Sleep(t.Context(), time.Hour) //nolint:errcheck // the fake's
	left := w.left()
	if len(left) != 1 || left[0].Name != base+".gathering" || len(left[0].Files) != 4 || left[0].Error != "" || len(left[0].Asked) != 3 || left[0].Begun.IsZero() {
		t.Fatalf("%+v", left)
	}
	rec := w.record("tags")
	rec.Left = left
	c, _, _ := w.read("tags")
	s, err := cloudevidence.NewKeeping(cloudevidence.BaseName("web", w.cloud.Now()), *rec).Store(t.Context(), w.place, rec, c)
	if err != nil {
		t.Fatal(err)
	}
	want := func(verdict, name, problem string) {
		t.Helper()
		if v := w.verify(name); v.Verdict != verdict || !strings.Contains(strings.Join(append(v.Problems, v.Reasons...), "\n"), problem) || len(v.Problems) > 1 {
			t.Errorf("%s %q %q, want %s", v.Verdict, v.Problems, v.Reasons, problem)
		}
	}
	want(acquire.VerdictOK, s.Name, "")
	tags, user := base+"-tags.tar.zst", base+"-user-data.tar.zst"
	whole := w.file(tags)
	w.replace(tags, whole[:len(whole)-1])
	want(acquire.VerdictMismatch, base+".gathered", tags+": the archive is not what")
	want(acquire.VerdictMismatch, s.Name, tags+", which another run left, has SHA-256")
	w.replace(tags, w.file(user))
	want(acquire.VerdictMismatch, base+".gathered", `"user-data.item.json" lies where "tags.item.json" should`)
	os.Remove(filepath.Join(w.folder(), tags))
	want(acquire.VerdictUntrusted, base+".gathered", "tags: it was not stored")
	want(acquire.VerdictMismatch, s.Name, "which another run left, is missing")
	w.replace(tags, bytes.Replace(whole, nil, nil, 0))
	want(acquire.VerdictOK, s.Name, "")
	w.replace(user, []byte("not read"))
	v, err = cloudevidence.Verify(t.Context(), w.place.Sink.(sink.Opener), base+".gathered", cloudevidence.VerifyOptions{RecordsOnly: true})
	if err != nil || len(v.Problems) > 0 || len(v.Record.Items) != 3 || v.Record.Items[0].Archive.Stored != (acquire.Digest{Bytes: 8}) || v.Record.Items[0].SHA256 != "" {
		t.Errorf("not read: %+v %v", v, err)
	}
	os.Remove(filepath.Join(w.folder(), base+".gathering"))
	if v, err := cloudevidence.Verify(t.Context(), w.place.Sink.(sink.Opener), base+".gathered", cloudevidence.VerifyOptions{}); !os.IsNotExist(err) || v != nil {
		t.Errorf("nothing is there: %v", err)
	}
}

// A record of snapshots speaks for itself where the record that it belongs to is gone, and what the run set out to gather, too; and says what is gone.
func TestSnapshotsAlone(t *testing.T) {
	w := newWorld(t)
	base := w.begin("tags")
	rec := w.record("tags")
	set := w.gatherer.Start(t.Context(), w.target, cloudevidence.SnapshotOptions{Case: "42"})
	later := cloudevidence.SnapshotRecord{About: rec.About, Gathered: records.Named{Name: base + ".gathered", Digest: records.DigestOf([]byte("gone"))}, Snapshots: set}
	if _, err := w.place.StoreSnapshots(t.Context(), &later); err != nil {
		t.Fatal(err)
	}
	gone := base + ".snapshots is of the record \"" + base + ".gathered\" with SHA-256 " + later.Gathered.SHA256 + ", which is missing"
	for _, begun := range []bool{true, false} {
		v := w.verify(base + ".gathered")
		if v.Verdict != acquire.VerdictMismatch || len(v.Problems) != 1 || v.Problems[0] != gone || v.Unfinished != begun || (v.Record != nil) != begun || v.Signature.Present || v.Later == nil || !v.Later.Trusted ||
			v.Snapshots == nil || len(v.Snapshots.Snapshots.Snapshots) != 2 || v.LaterDigest.SHA256 != records.DigestOf(w.file(base+".snapshots")).SHA256 {
			t.Errorf("begun: %v: %+v", begun, v)
		}
		if reasons := strings.Join(v.Reasons, "\n"); strings.Contains(reasons, "UNKNOWN whether any was made") || !strings.Contains(reasons, "pending, 0%") {
			t.Errorf("begun: %v: %s", begun, reasons)
		}
		os.Remove(filepath.Join(w.folder(), base+".gathering"))
	}
	w.replace(base+".snapshots", []byte("{}"))
	if v := w.verify(base + ".gathered"); v.Verdict != acquire.VerdictMismatch || v.Snapshots != nil || len(v.Problems) != 1 || !strings.Contains(v.Problems[0], "it has no snapshots") {
		t.Errorf("%+v", v)
	}
}

// Encrypted items without a record are told apart with the key; a second run of the same second takes another name.
func TestUnfinishedEncrypted(t *testing.T) {
	w := newWorld(t)
	id := w.encrypt()
	base := w.begin("user-data", "tags")
	w.begin("user-data", "tags")
	for _, name := range []string{base, base + "-2"} {
		v := w.verify(name + ".gathered")
		if v.Verdict != acquire.VerdictUntrusted || len(v.NotChecked) != 2 || len(v.Record.Items) != 2 || v.Record.Items[0].Archive.Stored != records.DigestOf(w.file(name+"-user-data.tar.zst.age")) {
			t.Errorf("%+v", v)
		}
		v, err := cloudevidence.Verify(t.Context(), w.place.Sink.(sink.Opener), name+".gathered", cloudevidence.VerifyOptions{Identities: []age.Identity{id}})
		if err != nil || len(v.Record.Items) != 2 || len(v.Problems) > 0 || v.Record.Items[0].Archive.Encryption != "age" {
			t.Errorf("%+v %v", v, err)
		}
	}
}

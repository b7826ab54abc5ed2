package cloudevidence_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
)

// later is the record of a run an hour after, which names what was left.
func (w *world) later(left []cloudevidence.Leftover) string {
	w.Helper()
	rec := w.record("tags")
	rec.Left = left
	c, _, _ := w.read("tags")
	s, err := cloudevidence.NewKeeping(cloudevidence.BaseName("web", w.cloud.Now()), *rec).Store(w.Context(), w.place, rec, c)
	if err != nil {
		w.Fatal(err)
	}
	return s.Name
}

// What was left is found by the instance that the run named, whatever it called it; by its name only where it cannot be read.
func TestLeftOf(t *testing.T) {
	w := newWorld(t)
	base := w.begin("tags")
	w.cloud.Sleep(t.Context(), time.Hour) //nolint:errcheck // the fake's
	left := func(host, id, account string) int {
		found := cloudevidence.Find(t.Context(), w.place.Sink, true)
		return len(found.Of(t.Context(), host, cloudevidence.Instance{ID: id, Account: account}, cloudevidence.BaseName(host, w.cloud.Now())))
	}
	begun := base + ".gathering"
	text := w.file(begun)
	for n, tt := range []struct {
		host, id, account string
		want              int
	}{{"web", victim, "", 1}, {victim, victim, "", 1}, {"web", "i-00000002", "", 0}, {"we", "i-00000002", "", 0}} {
		if got := left(tt.host, tt.id, tt.account); got != tt.want {
			t.Errorf("%d: %d, want %d", n, got, tt.want)
		}
	}
	w.replace(begun, bytes.Replace(text, []byte(`"id": "`+victim+`"`), []byte(`"id": "`+victim+`", "account": "111122223333"`), 1))
	if a, b, c := left("web", victim, "444455556666"), left("x", victim, "111122223333"), left("x", victim, ""); a != 0 || b != 1 || c != 1 {
		t.Errorf("by account: %d %d %d", a, b, c)
	}
	w.replace(begun, []byte("{"))
	if a, b := left("web", "i-00000002", ""), left(victim, victim, ""); a != 1 || b != 0 {
		t.Errorf("by name: %d %d", a, b)
	}
}

// A record without its signature is left, too, and so is that of snapshots, unless nobody can sign for them.
func TestLeftUnsigned(t *testing.T) {
	w := newWorld(t)
	c, _, _ := w.read("tags")
	s := w.store(c, nil)
	about := cloudevidence.About{Host: "web", Instance: cloudevidence.Instance{ID: victim}}
	if _, err := w.place.StoreSnapshots(t.Context(), &cloudevidence.SnapshotRecord{About: about, Gathered: s.Named, Snapshots: &cloudevidence.SnapshotSet{Set: "00112233445566ff"}}); err != nil {
		t.Fatal(err)
	}
	w.cloud.Sleep(t.Context(), time.Hour) //nolint:errcheck // the fake's
	if left := w.left(); len(left) != 0 {
		t.Errorf("all is signed: %+v", left)
	}
	base := strings.TrimSuffix(s.Name, ".gathered")
	os.Remove(filepath.Join(w.folder(), base+".snapshots.sig"))
	left := w.left()
	if len(left) != 1 || left[0].Name != base+".snapshots" || len(left[0].Files) != 1 || left[0].Set != "00112233445566ff" {
		t.Fatalf("%+v", left)
	}
	os.Remove(filepath.Join(w.folder(), s.Name+".sig"))
	left = w.left()
	if len(left) != 1 || left[0].Name != s.Name || len(left[0].Files) != 4 || left[0].Archives() != 1 || left[0].Error != "" {
		t.Fatalf("%+v", left)
	}
	signed := w.later(left)
	if v := w.verify(signed); v.Verdict != acquire.VerdictOK {
		t.Errorf("%+v", v)
	}
	w.replace(s.Name, append(w.file(s.Name), ' '))
	if v := w.verify(signed); v.Verdict != acquire.VerdictMismatch {
		t.Errorf("%+v", v)
	}
	if left := cloudevidence.Find(t.Context(), w.place.Sink, false).Of(t.Context(), "web", cloudevidence.Instance{ID: victim}, "x"); len(left) != 0 {
		t.Errorf("who has no key: %+v", left)
	}
}

// What somebody else put there does not make the record of a run one that cannot be read again.
func TestLeftHostile(t *testing.T) {
	w := newWorld(t)
	at := func(n int) string { return fmt.Sprintf("web-20200101T0000%02dZ-cloud", n) }
	big, err := json.Marshal(map[string]any{"v": 2, "instance": map[string]string{"id": victim}, "asked": []string{"tags", "console" + strings.Repeat("x", 40<<20)}})
	if err != nil {
		t.Fatal(err)
	}
	w.replace(at(1)+".gathering", big)
	w.replace(at(2)+".gathering", []byte(`{"v":2,"instance":{"id":"`+victim+`"},"asked":["tags","`+strings.Repeat("x", 1000)+`"],"snapshots":{"set":"`+strings.Repeat("a", 1000)+`"}}`))
	w.replace(at(3)+".gathering", []byte(`{"v":2,"instance":{"id":"`+victim+`"}}`))
	for n := range 300 {
		w.replace(fmt.Sprintf("%s-tags-%d.tar.zst", at(3), n+2), nil)
	}
	w.replace(at(3)+"-console.tar.zst.partial", nil)
	left := w.left()
	if len(left) != 3 || len(left[0].Asked) != 0 || !strings.Contains(left[0].Error, "could not be read") || fmt.Sprint(left[1].Asked) != "[tags]" || left[1].Set != "" {
		t.Fatalf("%.2000v", left)
	}
	if n := len(left[2].Files); n != 100 || left[2].Archives() >= n || !strings.Contains(left[2].Error, "it has 302 files: only 100") {
		t.Errorf("%d files, %d archives, %s", n, left[2].Archives(), left[2].Error)
	}
	name := w.later(left)
	if v := w.verify(name); v.Verdict != acquire.VerdictOK || len(w.file(name)) > 1<<20 {
		t.Errorf("%d bytes, %s %q", len(w.file(name)), v.Verdict, v.Problems)
	}
	for n := range 250 {
		w.replace(fmt.Sprintf("other-20200101T%02d%02d00Z-cloud.gathering", n/60, n%60), []byte(`{"v":2,"instance":{"id":"i-00000002"}}`))
	}
	if left := w.left(); len(left) == 0 || !strings.Contains(left[len(left)-1].Error, "more than 200 runs") {
		t.Errorf("%.2000v", left)
	}
}

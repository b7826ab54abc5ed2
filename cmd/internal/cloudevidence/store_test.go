package cloudevidence_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/cmd/internal/records"
	"github.com/shotglass-ir/shotglass/sink"
)

func (w *world) folder() string { return fmt.Sprint(w.place.Sink) }

func (w *world) file(name string) []byte {
	w.Helper()
	b, err := os.ReadFile(filepath.Join(w.folder(), name))
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func (w *world) replace(name string, data []byte) {
	w.Helper()
	if err := os.WriteFile(filepath.Join(w.folder(), name), data, 0o600); err != nil {
		w.Fatal(err)
	}
}

// What was read is an archive for each item that stock tools open, and one signed record; a second run overwrites nothing.
func TestStore(t *testing.T) {
	w := newWorld(t)
	c, items, texts := w.read("all")
	s := w.store(c, nil)
	v := w.verify(s.Name)
	if v.Verdict != acquire.VerdictOK || !v.Record.Complete || v.SHA256 != s.SHA256 || len(v.Record.Items) != len(c.Items) {
		t.Fatalf("%+v", v)
	}
	for _, it := range v.Record.Items {
		dec, err := zstd.NewReader(bytes.NewReader(w.file(it.Archive.Name)))
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for r := tar.NewReader(dec); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			b := new(bytes.Buffer)
			if _, err := b.ReadFrom(r); err != nil || h.Mode != 0o600 {
				t.Errorf("%s: %o %v", h.Name, h.Mode, err)
			}
			files[h.Name] = b.String()
		}
		if len(files) != 2 || files[it.File] != texts[it.Name] || !strings.Contains(files[it.Name+".item.json"], items[it.Name].SHA256) {
			t.Errorf("%s: %q", it.Name, files)
		}
	}
	second := w.store(c, nil)
	if second.Name == s.Name || w.verify(second.Name).Verdict != acquire.VerdictOK || w.verify(s.Name).Verdict != acquire.VerdictOK {
		t.Errorf("%s and %s", s.Name, second.Name)
	}
	files, err := os.ReadDir(w.folder())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if i, err := f.Info(); err != nil || i.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f.Name(), i.Mode(), err)
		}
		if strings.HasSuffix(f.Name(), ".gathered") && strings.Contains(string(w.file(f.Name())), "hunter2") {
			t.Error("a secret in the record")
		}
	}
	if len(files) != 2*(len(c.Items)+3) { // beside archives what was begun, a record and a signature
		t.Errorf("%v", files)
	}
}

// An archive for recipients is intact without the key, and verified with it.
func TestEncrypted(t *testing.T) {
	w := newWorld(t)
	id := w.encrypt()
	c, _, _ := w.read("user-data")
	s := w.store(c, nil)
	v := w.verify(s.Name)
	if v.Verdict != acquire.VerdictIntact || len(v.NotChecked) != 1 || !strings.HasSuffix(v.Record.Items[0].Archive.Name, ".tar.zst.age") || v.Record.Items[0].Archive.Recipients[0] != id.Recipient().String() {
		t.Errorf("%+v", v)
	}
	if bytes.Contains(w.file(v.Record.Items[0].Archive.Name), []byte("hunter2")) {
		t.Error("not encrypted")
	}
	o := cloudevidence.VerifyOptions{Signers: w.signers, Identities: []age.Identity{id}}
	if v, err := cloudevidence.Verify(t.Context(), w.place.Sink.(sink.Opener), s.Name, o); err != nil || v.Verdict != acquire.VerdictOK {
		t.Errorf("%+v %v", v, err)
	}
}

// Each thing that was altered, is missing or is another's is told.
func TestVerify(t *testing.T) {
	for name, tt := range map[string]struct {
		do      func(*world, records.Stored, *cloudevidence.Verification)
		verdict string
		want    string
	}{
		"nothing": {func(*world, records.Stored, *cloudevidence.Verification) {}, acquire.VerdictOK, ""},
		"archive": {func(w *world, _ records.Stored, v *cloudevidence.Verification) {
			b := w.file(v.Record.Items[0].Archive.Name)
			b[len(b)/2] ^= 1
			w.replace(v.Record.Items[0].Archive.Name, b)
		}, acquire.VerdictMismatch, "has SHA-256"},
		"archive cut": {func(w *world, _ records.Stored, v *cloudevidence.Verification) {
			w.replace(v.Record.Items[0].Archive.Name, w.file(v.Record.Items[0].Archive.Name)[:100])
		}, acquire.VerdictMismatch, "has 100 bytes"},
		"archive gone": {func(w *world, _ records.Stored, v *cloudevidence.Verification) {
			os.Remove(filepath.Join(w.folder(), v.Record.Items[0].Archive.Name))
		}, acquire.VerdictMismatch, "is missing"},
		"record": {func(w *world, s records.Stored, _ *cloudevidence.Verification) {
			w.replace(s.Name, bytes.Replace(w.file(s.Name), []byte(`"complete": true`), []byte(`"complete": null`), 1))
		}, acquire.VerdictMismatch, "signature"},
		"no signature": {func(w *world, s records.Stored, _ *cloudevidence.Verification) {
			os.Remove(filepath.Join(w.folder(), s.Name+".sig"))
		}, acquire.VerdictUntrusted, ""},
		"nobody trusted": {func(w *world, _ records.Stored, _ *cloudevidence.Verification) { w.signers = nil }, acquire.VerdictUntrusted, ""},
		"another's snapshots": {func(w *world, s records.Stored, v *cloudevidence.Verification) {
			r := &cloudevidence.SnapshotRecord{Gathered: s.Named, Snapshots: &cloudevidence.SnapshotSet{}}
			r.Gathered.SHA256 = strings.Repeat("0", 64)
			if _, err := w.place.StoreSnapshots(w.Context(), r); err != nil {
				w.Fatal(err)
			}
		}, acquire.VerdictMismatch, "is of another record"},
		"snapshots not signed": {func(w *world, s records.Stored, v *cloudevidence.Verification) {
			w.place.Signer = nil
			if _, err := w.place.StoreSnapshots(w.Context(), &cloudevidence.SnapshotRecord{Gathered: s.Named, Snapshots: &cloudevidence.SnapshotSet{}}); err != nil {
				w.Fatal(err)
			}
		}, acquire.VerdictUntrusted, ""},
	} {
		w := newWorld(t)
		c, _, _ := w.read("user-data", "tags")
		s := w.store(c, nil)
		tt.do(w, s, w.verify(s.Name))
		v := w.verify(s.Name)
		if v.Verdict != tt.verdict || !strings.Contains(strings.Join(v.Problems, "\n")+v.Signature.Detail, tt.want) {
			t.Errorf("%s: %s %q, want %s", name, v.Verdict, v.Problems, tt.verdict)
		}
	}
}

// An archive whose stored digest is right, as its signer lied or erred, is held against its items one by one.
func TestVerifyItems(t *testing.T) {
	for name, change := range map[string]func(*cloudevidence.Record){
		"digest": func(r *cloudevidence.Record) { r.Items[0].SHA256 = strings.Repeat("0", 64) },
		"size":   func(r *cloudevidence.Record) { r.Items[0].Bytes++ },
		"another's": func(r *cloudevidence.Record) {
			r.Items[0].Archive, r.Items[1].Archive = r.Items[1].Archive, r.Items[0].Archive
		},
		"beside":  func(r *cloudevidence.Record) { r.Items[0].File = "" },
		"another": func(r *cloudevidence.Record) { r.Items[0].File = "more" },
	} {
		w := newWorld(t)
		c, _, _ := w.read("user-data", "tags")
		w.place.Signer = nil
		s := w.store(c, nil)
		rec, err := cloudevidence.ParseRecord(w.file(s.Name))
		if err != nil {
			t.Fatal(err)
		}
		change(rec)
		b, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		w.replace(s.Name, b)
		if v := w.verify(s.Name); v.Verdict != acquire.VerdictMismatch || !strings.Contains(strings.Join(v.Problems, ""), "the archive is not what the record says") {
			t.Errorf("%s: %s %q", name, v.Verdict, v.Problems)
		}
	}
}

// What is missing makes a record partial: an item, a snapshot that failed, and the end of snapshots that nobody saw.
func TestPartial(t *testing.T) {
	w := newWorld(t)
	w.fault(denied, "GetConsoleScreenshot")
	c, _, _ := w.read("all")
	if v := w.verify(w.store(c, nil).Name); v.Verdict != acquire.VerdictPartial || len(v.Reasons) != 1 || !strings.Contains(v.Reasons[0], "screenshot: UNKNOWN") {
		t.Errorf("%+v", v)
	}
	w.instance.Devices[0].SnapshotFails = "no room"
	set := w.start(cloudevidence.SnapshotOptions{})
	c, _, _ = w.read("tags")
	s := w.store(c, set)
	if v := w.verify(s.Name); v.Verdict != acquire.VerdictPartial || !v.Record.Complete || !strings.Contains(v.Reasons[0], "nobody saw the end of the snapshots") {
		t.Errorf("%+v", v)
	}
	later := set.Clone()
	w.await(later, cloudevidence.SnapshotOptions{})
	if _, err := w.place.StoreSnapshots(t.Context(), &cloudevidence.SnapshotRecord{Gathered: s.Named, Snapshots: later}); err != nil {
		t.Fatal(err)
	}
	if set.Snapshots[0].State != "pending" {
		t.Error("the clone is not one")
	}
	if v := w.verify(s.Name); v.Verdict != acquire.VerdictPartial || len(v.Reasons) != 1 || !strings.Contains(v.Reasons[0], `vol-00000001: error: "no room"`) || v.Later == nil {
		t.Errorf("%+v", v)
	}
}

func TestRecordOf(t *testing.T) {
	for name, want := range map[string]string{
		"i-1-20261122T030000Z-cloud-tags.tar.zst":                 "i-1-20261122T030000Z-cloud.gathered",
		"i-1-20261122T030000Z-cloud-console.tar.zst":              "i-1-20261122T030000Z-cloud.gathered",
		"i-1-20261122T030000Z-cloud-console-latest.tar.zst":       "i-1-20261122T030000Z-cloud.gathered",
		"i-1-20261122T030000Z-cloud-2-network-acls-2.tar.zst.age": "i-1-20261122T030000Z-cloud-2.gathered",
		"i-1-20261122T030000Z-cloud.tar.zst":                      "",
		"a-cloud.gathering":                                       "a-cloud.gathered",
		"a-cloud.gathered":                                        "a-cloud.gathered",
		"a-cloud.gathered.sig":                                    "a-cloud.gathered",
		"a-cloud.snapshots":                                       "a-cloud.gathered",
		"a-cloud.snapshots.sig":                                   "a-cloud.gathered",
		"web-mem.lime.zst.live.tar.zst":                           "",
		"web-mem.lime.zst.json.sig":                               "",
		".gathered":                                               "",
	} {
		if got := cloudevidence.RecordOf(name); got != want || cloudevidence.Is(name) != (want != "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// A record and an archive may be anybody's.
func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"v":2,"items":[{"name":"tags","file":"tags.json","archive":{"name":"a-cloud-tags.tar.zst"}}],"asked":["tags","x"],"left_by_others":[{"files":[{"name":"../x","sha256":"1"}]}],"snapshots":{"snapshots":[{"id":"snap-1","copy":{}}]}}`), []byte("x"))
	f.Add([]byte(`{"v":2,"snapshots":{"snapshots":[null]}}`), []byte{})
	f.Fuzz(func(t *testing.T, record, archive []byte) {
		disk, err := sink.NewDisk(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		rec, err := cloudevidence.ParseRecord(record)
		if err == nil && len(rec.Items) > 0 && rec.Items[0].Archive != nil {
			rec.Items[0].Archive.Stored = records.DigestOf(archive)
			if record, err = json.Marshal(rec); err != nil {
				return
			}
			if _, err := records.Put(t.Context(), disk, rec.Items[0].Archive.Name, archive); err != nil {
				return
			}
		}
		for name, data := range map[string][]byte{"a-cloud.gathered": record, "a-cloud.snapshots": record, "b-cloud.gathering": record, "b-cloud-tags.tar.zst": archive} {
			if _, err := records.Put(t.Context(), disk, name, data); err != nil {
				return // the archive's name
			}
		}
		for _, name := range []string{"a-cloud.gathered", "b-cloud.gathered"} {
			v, err := cloudevidence.Verify(t.Context(), disk, name, cloudevidence.VerifyOptions{})
			if err == nil && v.Verdict != acquire.VerdictUntrusted && v.Verdict != acquire.VerdictMismatch {
				t.Errorf("nobody signed it, and it is %s", v.Verdict)
			}
		}
		if rec != nil && rec.Snapshots != nil {
			rec.Snapshots.Progress()
			rec.Snapshots.Needs()
		}
	})
}

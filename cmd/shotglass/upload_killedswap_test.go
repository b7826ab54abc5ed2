package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// TestUploadBegun: a capture was killed once it had begun an upload, and before any byte was durable. That is told, with what ends the upload.
func TestUploadBegun(t *testing.T) {
	s, spill := newShelf(t), t.TempDir()
	folder := filepath.Join(spill, "x-mem.lime.spill")
	head := `{"type":"shotglass-journal","v":1,"name":"x-mem.lime","bucket":"evidence","prefix":"case/","upload":"U-1"}` + "\n"
	if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "journal"), []byte(head), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{spill, folder} {
		code, out, errs := s.run(t, "upload", dir)
		if code != exitFailed || out != "" || !strings.Contains(errs, `bucket "evidence", key "case/x-mem.lime", upload ID "U-1"`) || !strings.Contains(errs, "abort-multipart-upload") {
			t.Errorf("%d: %s%s", code, out, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(folder, "journal")); err != nil {
		t.Error(err)
	}
}

// TestUploadKilledSwap: a capture was killed while it read swap. Its image, which waits too, becomes readable first, and the manifest is that of the image
// of which the note tells, whatever lies under the name that swap would have by itself.
func TestUploadKilledSwap(t *testing.T) {
	s, dir := newShelf(t), t.TempDir()
	const image, other, swap = "web1.lime", "web1-mem.lime", "web1-swap-1.raw"
	theirs := []byte(`{"type":"shotglass-manifest","v":1,"complete":true,"image":{"name":"web1-mem.lime"}}`)
	s.objects[other+".json"] = theirs
	spill, file := filepath.Join(dir, "spill"), filepath.Join(dir, "data")
	data := shelfImage(t, 34<<20)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s.down = func(r *http.Request) bool { return r.Method == http.MethodPut } // uploads are begun, and take nothing
	place, err := s3.New(t.Context(), s3.Options{Bucket: "evidence", Endpoint: s.url, PathStyle: true, PartSize: 5 << 20, SegmentSize: 20 << 20, Concurrency: 1, Attempts: 1, Spill: spill})
	if err != nil {
		t.Fatal(err)
	}
	o, err := sink.CreateSized(t.Context(), place, image, int64(len(data)))
	if err == nil {
		_, err = o.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r, err := o.Commit(t.Context()); err != nil || r.Pending == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	note := fmt.Sprintf(`{"type":"shotglass-manifest","v":1,"complete":true,"created":"2026-01-31T10:11:12Z","image":{"name":%q},
		"target":{"host":"web1","facts":{"hostname":"web1"}},"swap_images":[{"image":{"name":%q,"format":"raw"}}]}`, image, swap)
	s.spillAndKill(t, spill, swap, file, note)
	if folders, _ := filepath.Glob(filepath.Join(spill, "*.segments.spill")); len(folders) != 1 {
		t.Fatalf("the image's list does not wait: %q", folders)
	}

	s.down = nil
	code, out, errs := s.run(t, "upload", spill)
	m, err := acquire.ParseManifest(s.objects[image+".partial.json"])
	if code != exitPartial || err != nil || !strings.Contains(out, swap+"\tpartial\t") {
		t.Fatalf("upload: %d, %v\n%s%s", code, err, out, errs)
	}
	if x := m.SwapImages; m.Complete || len(x) != 1 || x[0].Complete || x[0].Image.Stored.Bytes != int64(len(s.objects[swap])) || m.Rescued == nil {
		t.Errorf("manifest %+v", m)
	}
	if !bytes.Equal(s.objects[other+".json"], theirs) || s.objects[other+".partial.json"] != nil {
		t.Error("the manifest of another image was touched")
	}
	left, err := os.ReadDir(spill)
	for _, e := range left { // a part that was being written
		if !strings.HasSuffix(e.Name(), ".partial") {
			t.Errorf("%s is left, %v", e.Name(), err)
		}
	}
}

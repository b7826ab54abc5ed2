package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/convert"
	memory "github.com/shotglass-ir/shotglass/acquire/image"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

var startTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// TestCatSegments prints an image that lies in several objects, and says which one is missing.
func TestCatSegments(t *testing.T) {
	s := newShelf(t)
	data := shelfImage(t, 13<<20)
	s.put(t, "mem.lime", data, 6<<20)
	if keys := s.keys(); !slices.Equal(keys, []string{"mem.lime.000", "mem.lime.001", "mem.lime.002", "mem.lime.segments"}) {
		t.Fatalf("objects %q", keys)
	}
	code, out, errs := s.run(t, "cat", "s3://evidence/mem.lime")
	if code != exitOK || out != string(data) {
		t.Errorf("code %d, %d bytes of %d: %s", code, len(out), len(data), errs)
	}
	delete(s.objects, "mem.lime.001")
	code, out, errs = s.run(t, "cat", "s3://evidence/mem.lime")
	if code != exitFailed || out != "" || !strings.Contains(errs, "mem.lime.001, segment 2 of 3, is missing") {
		t.Errorf("one is missing: code %d, %d bytes: %s", code, len(out), errs)
	}
}

// TestConvertInS3 converts from a bucket to a bucket, in one object and in segments. What lies there at any time, which is what kill -9
// leaves, says complete of nothing that is not all there.
func TestConvertInS3(t *testing.T) {
	for name, segment := range map[string]int64{"one object": 0, "segments": 6 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t)
			data := shelfImage(t, 22<<20)
			s.put(t, "mem.lime", data, segment)
			states := 0
			s.after = func(objects map[string][]byte) {
				states++
				paper := objects["out/mem.lime.zst.json"]
				if paper == nil {
					return
				}
				r, err := convert.ParseRecord(paper)
				if err != nil {
					t.Error(err)
				} else if n := len(objects["out/mem.lime.zst"]); int64(n) != r.Image.Stored.Bytes || objects["out/mem.lime.zst.frames"] == nil {
					t.Errorf("the record is there, and of the image %d bytes of %d", n, r.Image.Stored.Bytes)
				}
			}
			if code, _, errs := s.run(t, "convert", "--unsigned", "--form", "zstd", "--to", "s3://evidence/out/", "s3://evidence/mem.lime"); code != exitOK {
				t.Fatalf("code %d: %s", code, errs)
			}
			if states < 5 {
				t.Errorf("%d requests changed something", states)
			}
			code, out, errs := s.run(t, "cat", "s3://evidence/out/mem.lime.zst")
			if code != exitOK || out != string(data) {
				t.Errorf("code %d, %d bytes of %d: %s", code, len(out), len(data), errs)
			}
			// Nobody signed it: all agrees, and nobody vouches.
			code, out, _ = s.run(t, "verify", "--json", "s3://evidence/out/mem.lime.zst")
			var v struct{ Verdict string }
			if err := json.Unmarshal([]byte(strings.Split(out, "\n")[0]), &v); err != nil || v.Verdict != "untrusted" || code != exitMismatch {
				t.Errorf("verify: code %d, %v: %s", code, err, out)
			}
			// It opens in place, and nothing vouches for it there: its record is no manifest, and none that is wrong.
			img, err := openMemory(t.Context(), "s3://evidence/out/mem.lime.zst", s3.Options{Endpoint: s.url, PathStyle: true}, memory.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(data))
			if _, err := img.Lime().ReadAt(got, 0); err != nil || !bytes.Equal(got, data) || img.Trust().Manifest != nil {
				t.Errorf("in place: %v, trust %+v", err, img.Trust())
			}
			if err := img.Close(); err != nil {
				t.Error(err)
			}
			// Nothing is overwritten.
			if code, _, errs := s.run(t, "convert", "--unsigned", "--form", "zstd", "--to", "s3://evidence/out/", "s3://evidence/mem.lime"); code != exitFailed || !strings.Contains(errs, "exists") {
				t.Errorf("again: code %d: %s", code, errs)
			}
		})
	}
}

// TestConvertInS3Cancelled: a conversion that is interrupted leaves no object, and no upload.
func TestConvertInS3Cancelled(t *testing.T) {
	s := newShelf(t)
	s.put(t, "mem.lime", shelfImage(t, 40<<20), 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var once sync.Once
	s.after = func(map[string][]byte) {
		if len(s.parts) > 0 {
			once.Do(cancel)
		}
	}
	var out, errs bytes.Buffer
	code := run(ctx, []string{"shotglass", "convert", "--s3-endpoint", s.url, "--s3-path-style", "--unsigned", "--form", "zstd", "--to", "s3://evidence/out/", "s3://evidence/mem.lime"}, strings.NewReader(""), &out, &errs)
	if code == exitOK {
		t.Fatalf("it was not interrupted: %s", &errs)
	}
	if keys := s.keys(); !slices.Equal(keys, []string{"mem.lime"}) || len(s.parts) > 0 {
		t.Errorf("objects %q, %d parts", keys, len(s.parts))
	}
}

package s3

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSpillLost: what is lost with the upload is told, and what is not stays.
func TestSpillLost(t *testing.T) {
	data := pattern(5*minPartSize + 1)
	for name, lose := range map[string]func(*uploading, map[string]*uploading){
		"aborted":     func(_ *uploading, all map[string]*uploading) { clear(all) },
		"a part":      func(u *uploading, _ map[string]*uploading) { delete(u.parts, 1) },
		"another one": func(u *uploading, _ map[string]*uploading) { u.parts[1] = []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			f, s, b, _ := spilling(t, 3)
			s.opts.Concurrency = 1 // so that the first parts are the ones that are stored
			p := pieces(t, s, "image.lime", data, commit)
			b.on.Store(false)
			for _, u := range f.uploads {
				lose(u, f.uploads)
			}
			_, err := Finish(t.Context(), folderOf(p), f.options())
			if err == nil || !strings.Contains(err.Error(), "the first is part 1") || !strings.Contains(err.Error(), folderOf(p)) {
				t.Fatalf("error %v", err)
			}
			if _, _, err := ReadPieces(folderOf(p)); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("nothing was in it", func(t *testing.T) {
		f, s, b, _ := spilling(t, 1)
		p := pieces(t, s, "image.lime", data, commit)
		b.on.Store(false)
		clear(f.uploads)
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", data)
	})
	t.Run("a file was altered", func(t *testing.T) {
		f, s, b, _ := spilling(t, 3)
		p := pieces(t, s, "image.lime", data, commit)
		b.on.Store(false)
		file := filepath.Join(folderOf(p), "part-00005")
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		content[77] ^= 1
		os.WriteFile(file, content, 0o600)
		if _, err := Finish(t.Context(), folderOf(p), f.options()); !errors.Is(err, ErrAltered) || !strings.Contains(err.Error(), "part-00005") {
			t.Fatalf("error %v", err)
		}
		if len(f.keys()) > 0 {
			t.Error("an altered image was completed")
		}
		content[77] ^= 1
		os.WriteFile(file, content, 0o600)
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", data)
	})
	t.Run("tried again", func(t *testing.T) {
		f, s, b, dir := spilling(t, 0)
		b.on.Store(true)
		p := pieces(t, s, "image.lime", data, commit)
		b.on.Store(false)
		begun := len(f.of("CreateMultipartUpload"))
		for n := range 3 { // cut off at each part
			f.fault = func(c call, w http.ResponseWriter) bool {
				if c.Op != "UploadPart" || c.Query["partNumber"][0] == fmt.Sprint(n) {
					return false
				}
				apiError(w, 500, "InternalError")
				return true
			}
			if _, err := Finish(t.Context(), folderOf(p), f.options()); err == nil {
				t.Fatal("no error")
			}
		}
		f.fault = nil
		if n := len(f.of("CreateMultipartUpload")) - begun; n != 1 {
			t.Errorf("%d uploads were begun", n)
		}
		// The service has dropped it meanwhile.
		clear(f.uploads)
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", data)
		f.noUploads(t)
		nothingIn(t, dir)
	})
	for name, data := range map[string][]byte{"one part": []byte("{}"), "many parts": data} {
		t.Run("cut off while it is removed, "+name, func(t *testing.T) {
			f, s, b, dir := spilling(t, 0)
			b.on.Store(true)
			p := pieces(t, s, "image.lime", data, commit)
			b.on.Store(false)
			kept := filepath.Join(t.TempDir(), "kept")
			if err := os.CopyFS(kept, os.DirFS(folderOf(p))); err != nil {
				t.Fatal(err)
			}
			if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
				t.Fatal(err)
			}
			// As it is when only the first file was removed.
			if err := os.Remove(filepath.Join(kept, "part-00001")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(kept, folderOf(p)); err != nil {
				t.Fatal(err)
			}
			r, err := Finish(t.Context(), folderOf(p), f.options())
			if err != nil || r.Size != int64(len(data)) {
				t.Fatalf("%+v, %v", r, err)
			}
			f.content(t, "image.lime", data)
			nothingIn(t, dir)
		})
	}
	t.Run("completed before", func(t *testing.T) {
		f, s, b, dir := spilling(t, 3)
		p := pieces(t, s, "image.lime", data, commit)
		b.on.Store(false)
		f.fault = func(c call, w http.ResponseWriter) bool {
			if c.Op == "CompleteMultipartUpload" {
				f.complete(&nowhere{http.Header{}}, c, f.uploads[c.Query["uploadId"][0]], nil)
				panic(http.ErrAbortHandler)
			}
			return c.Op == "HeadObject" && func() bool { apiError(w, 500, "InternalError"); return true }()
		}
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err == nil {
			t.Fatal("no error")
		}
		f.fault = nil
		if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
			t.Fatal(err)
		}
		f.content(t, "image.lime", data)
		nothingIn(t, dir)
	})
}

func TestReadPieces(t *testing.T) {
	f, s, _, _ := spilling(t, 2)
	_ = f
	p := pieces(t, s, "image.lime", pattern(3*minPartSize), commit)
	file := filepath.Join(folderOf(p), piecesName)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"shotglass-pieces"`, `"x"`}, {`"v": 1`, `"v": 2`}, {`"image.lime"`, `"../x"`}, {`"number": 2`, `"number": 3`},
		{`"part-0`, `"../part-0`}, {`"file": "part`, `"x": "part`}, {`"size": 5242880`, `"size": 5242881`},
		{`"crc64nvme": "`, `"crc64nvme": "!`}, {`"id": "`, `"id": "", "was": "`},
	} {
		bad := strings.Replace(string(good), change[0], change[1], -1)
		if bad == string(good) {
			t.Errorf("%q does not stand in the description", change[0])
		}
		os.WriteFile(file, []byte(bad), 0o600)
		if _, _, err := ReadPieces(folderOf(p)); err == nil {
			t.Errorf("%q was taken", change[1])
		}
	}
}

// TestWaiting: what waits in the folder is listed, and nothing else.
func TestWaiting(t *testing.T) {
	f, s, b, dir := spilling(t, 0)
	if l, err := s.Waiting(); err != nil || len(l) != 0 {
		t.Errorf("without a folder: %v, %v", l, err)
	}
	if l, err := f.sink(t).Waiting(); err != nil || len(l) != 0 {
		t.Errorf("without a spill: %v, %v", l, err)
	}
	b.on.Store(true)
	p := pieces(t, s, "image.lime", pattern(minPartSize+1), commit)
	for _, name := range []string{"empty.spill", "other"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l, err := s.Waiting()
	if err != nil || len(l) != 1 || l[0].Name != "image.lime" || l[0].Location != folderOf(p) || l[0].Size <= minPartSize || l[0].Time.IsZero() {
		t.Errorf("%+v, %v", l, err)
	}
}

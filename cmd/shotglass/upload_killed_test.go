package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// spiller is a process to be killed: it writes a file to a bucket, and then waits. spiller URL SPILL NAME FILE [NOTE]
func spiller() {
	err := func(url, spill, name, file string) error {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		ctx := context.Background()
		s, err := s3.New(ctx, s3.Options{Bucket: "evidence", Endpoint: url, PathStyle: true, PartSize: 5 << 20, Concurrency: 1, Attempts: 1, Spill: spill})
		if err != nil {
			return err
		}
		o, err := sink.CreateSized(ctx, s, name, int64(len(data)))
		if err != nil {
			return err
		}
		if len(os.Args) > 5 {
			err = o.(sink.Noter).Note([]byte(os.Args[5]))
		}
		if err == nil {
			_, err = o.Write(data)
		}
		if err == nil {
			time.Sleep(time.Hour)
		}
		return err
	}(os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// spillAndKill kills a process by SIGKILL once it has spilled some parts of an object.
func (s *shelf) spillAndKill(t *testing.T, spill, name, file string, note ...string) {
	t.Helper()
	program, err := exec.LookPath("spiller")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{s.url, spill, name, file}, note...)...)
	var story bytes.Buffer
	cmd.Stderr = &story
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(spill, name+".spill")
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
		if data, _ := os.ReadFile(filepath.Join(folder, "journal")); bytes.Count(data, []byte("\n")) >= 5 {
			break
		}
	}
	// While it lives nothing is taken from it.
	if code, _, errs := s.run(t, "upload", folder); code != exitFailed || !strings.Contains(errs, "its capture still writes it") {
		t.Errorf("while it writes: %d\n%s", code, errs)
	}
	cmd.Process.Kill() //nolint:errcheck // told by Wait
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("it ended by itself: %v\n%s", err, &story)
	}
}

// TestUploadKilled: of captures that were killed in the middle of a spill, all that was durable is stored, as partial and as nothing else.
func TestUploadKilled(t *testing.T) {
	s, dir := newShelf(t), t.TempDir()
	key, signers := filepath.Join(dir, "key"), filepath.Join(dir, "signers")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	pub, err := os.ReadFile(key + ".pub")
	if err == nil {
		err = os.WriteFile(signers, append([]byte("alice "), pub...), 0o600)
	}
	data, file := shelfImage(t, 34<<20), filepath.Join(dir, "data")
	if err == nil {
		err = os.WriteFile(file, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	const image, unsigned, swap = "web1-20260131T101112Z-mem.lime", "web2-20260131T101112Z-mem.lime", "web1-20260131T101112Z-swap-1.raw"
	spill := filepath.Join(dir, "spill")
	s.down = func(r *http.Request) bool { return r.URL.Query().Get("partNumber") > "2" } // two are in the bucket
	for _, name := range []string{image, swap} {
		s.spillAndKill(t, spill, name, file)
	}
	s.down = nil

	code, out, errs := s.run(t, "upload", "--sign-key", key, spill)
	if code != exitPartial || !strings.Contains(out, image+"\tpartial\t") || !strings.Contains(out, swap+"\tpartial\t") || strings.Contains(out, "stored") {
		t.Fatalf("upload: %d\n%s%s", code, out, errs)
	}
	for _, want := range []string{image + ".partial.json says so", swap + ": the capture was killed", "no manifest speaks for them"} {
		if !strings.Contains(errs, want) {
			t.Errorf("%q is missing:\n%s", want, errs)
		}
	}
	for _, name := range []string{image, swap} {
		if got := s.objects[name]; len(got) < 20<<20 || len(got) >= len(data) || !bytes.Equal(got, data[:len(got)]) {
			t.Errorf("%s has %d bytes that are not the start of what was written", name, len(got))
		}
	}
	if _, complete := s.objects[image+".json"]; complete {
		t.Error("there is a manifest of a complete image")
	}
	code, out, errs = s.run(t, "verify", "--signers", signers, "s3://evidence/"+image)
	if code != exitPartial || !strings.Contains(out, ": partial") {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}

	// Signed by nobody, it is nobody's word; another key does not make it whole.
	s.down = func(r *http.Request) bool { return r.URL.Query().Has("uploads") } // none is begun
	s.spillAndKill(t, spill, unsigned, file)
	s.down = nil
	if code, _, errs := s.run(t, "upload", "--signers", signers, filepath.Join(spill, unsigned+".spill")); code != exitMismatch || s.objects[unsigned] != nil {
		t.Errorf("with --signers: %d\n%s", code, errs)
	}
	if code, _, errs := s.run(t, "upload", filepath.Join(spill, unsigned+".spill")); code != exitPartial || !strings.Contains(errs, "is not signed") {
		t.Errorf("without a key: %d\n%s", code, errs)
	}
	if code, out, _ := s.run(t, "verify", "--signers", signers, "s3://evidence/"+unsigned); code != exitMismatch || !strings.Contains(out, ": untrusted") {
		t.Errorf("verify: %d\n%s", code, out)
	}

	// What the capture knew of the host is in the manifest, and whose word that is.
	const known = "web3-20260131T101112Z-mem.lime"
	note := fmt.Sprintf(`{"type":"shotglass-manifest","v":1,"case":"case-42","complete":true,"created":"2026-01-31T10:11:12Z","image":{"name":%q},
		"target":{"host":"web3","facts":{"hostname":"web3","kernel":"6.1.0-56-cloud-amd64","version":"Linux version 6.1.0-56-cloud-amd64\n"}},"method":{"source":"kcore"}}`, known)
	s.down = func(r *http.Request) bool { return r.URL.Query().Get("partNumber") > "2" }
	s.spillAndKill(t, spill, known, file, note)
	s.down = nil
	code, out, errs = s.run(t, "upload", "--sign-key", key, spill)
	if code != exitPartial || !strings.Contains(out, known+"\tpartial\t") || !strings.Contains(errs, `of the host, "web3", what was recorded before, at 2026-01-31T10:11:12Z`) {
		t.Errorf("upload: %d\n%s%s", code, out, errs)
	}
	m, err := acquire.ParseManifest(s.objects[known+".partial.json"])
	if err != nil {
		t.Fatal(err)
	}
	if m.Complete || m.Case != "case-42" || m.Method.Source != "kcore" || m.Target.Facts.Kernel != "6.1.0-56-cloud-amd64" || m.Rescued == nil || m.Rescued.Tool.Name == "" || m.Image.Raw.Bytes == 0 {
		t.Errorf("manifest %+v", m)
	}
	code, out, errs = s.run(t, "verify", "--signers", signers, "s3://evidence/"+known)
	if code != exitPartial || !strings.Contains(out, ": partial") || !strings.Contains(out, "rescued: the capture was killed; what is said of the host was recorded at 2026-01-31T10:11:12Z") {
		t.Errorf("verify: %d\n%s%s", code, out, errs)
	}

	// A swap area gets its place in a manifest of the image beside which it lies.
	const beside, area = "web4-20260131T101112Z-mem.lime", "web4-20260131T101112Z-swap-1.raw"
	note = strings.ReplaceAll(note, known, beside)
	note = strings.TrimSuffix(note, "}") + fmt.Sprintf(`,"swap_images":[{"name":"/dev/sda2","image":{"name":%q,"format":"raw"}}]}`, area)
	s.objects[beside] = data
	s.down = func(r *http.Request) bool { return r.URL.Query().Get("partNumber") > "2" }
	s.spillAndKill(t, spill, area, file, note)
	s.down = nil
	code, out, errs = s.run(t, "upload", "--sign-key", key, spill)
	if code != exitPartial || !strings.Contains(out, area+"\tpartial\t") || !strings.Contains(errs, "stored as a partial swap area; ") {
		t.Errorf("upload: %d\n%s%s", code, out, errs)
	}
	if m, err = acquire.ParseManifest(s.objects[beside+".partial.json"]); err != nil {
		t.Fatal(err)
	}
	if x := m.SwapImages; m.Complete || len(x) != 1 || x[0].Complete || x[0].Image.Stored.Bytes != int64(len(s.objects[area])) || !x[0].Image.Partial || m.Case != "case-42" {
		t.Errorf("manifest %+v", m)
	}
	left, err := os.ReadDir(spill)
	for _, e := range left { // parts that were being written
		if !strings.HasSuffix(e.Name(), ".partial") {
			t.Errorf("%s is left, %v", e.Name(), err)
		}
	}
}

// TestUploadAlone: an image that nothing speaks for is not stored without a word.
func TestUploadAlone(t *testing.T) {
	const image = "web1-20260131T101112Z-mem.lime"
	for what, papers := range map[string][]string{"alone": nil, "with its manifest": {image + ".json"}, "with an interim one": {image + ".interim"}} {
		t.Run(what, func(t *testing.T) {
			s, spill := newShelf(t), filepath.Join(t.TempDir(), "spill")
			s.down = func(*http.Request) bool { return true }
			place, err := s3.New(t.Context(), s3.Options{Bucket: "evidence", Endpoint: s.url, PathStyle: true, Attempts: 1, Spill: spill})
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range append([]string{image}, papers...) {
				o, err := place.Create(t.Context(), name)
				if err == nil {
					_, err = o.Write([]byte(name))
				}
				if err != nil {
					t.Fatal(err)
				}
				if r, err := o.Commit(t.Context()); err != nil || r.Pending == nil {
					t.Fatalf("%+v, %v", r, err)
				}
			}
			s.down = nil
			code, out, errs := s.run(t, "upload", spill)
			if code != exitOK || s.objects[image] == nil || strings.Contains(errs, "no manifest lies beside it") != (papers == nil) {
				t.Errorf("%d: %s\n%s", code, out, errs)
			}
		})
	}
}

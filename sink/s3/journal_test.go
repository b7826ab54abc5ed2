package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// TestMain is the process that TestSpillKilled kills, when the environment names a server.
func TestMain(m *testing.M) {
	if url := os.Getenv("SHOTGLASS_TEST_SPILLER"); url != "" {
		fmt.Fprintln(os.Stderr, spiller(context.Background(), url, os.Getenv("SHOTGLASS_TEST_SPILL")))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// killable is what spiller writes: as much as no test waits for.
var killable = 40 * minPartSize

// killedNote is what the process that is killed knows.
const killedNote = `{"host":"web1","banner":"<a&b> \\u2028"}`

func spiller(ctx context.Context, url, dir string) error {
	s, err := New(ctx, Options{
		Bucket: bucket, Prefix: "case-1/", Endpoint: url, PathStyle: true, PartSize: minPartSize, Concurrency: 1,
		Attempts: 2, backoff: time.Millisecond, Spill: dir,
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}, // the fake's is its own
	})
	if err != nil {
		return err
	}
	o, err := s.CreateSized(ctx, "image.lime", 1<<20)
	if err == nil {
		err = o.(sink.Noter).Note([]byte(killedNote))
	}
	if err != nil {
		return err
	}
	for data := pattern(int(killable)); len(data) > 0; data = data[1<<20:] {
		if _, err := o.Write(data[:1<<20]); err != nil {
			return err
		}
	}
	return errors.New("nobody killed it")
}

// TestSpillKilled: of a process that is killed in the middle of a spill, all that it had made durable becomes the object, as a partial one.
func TestSpillKilled(t *testing.T) {
	for _, from := range []int{1, 3} {
		t.Run(fmt.Sprint("from part ", from), func(t *testing.T) {
			isolate(t)
			f, dir := newFake(t), filepath.Join(t.TempDir(), "spill")
			b := &breaker{from: from}
			f.fault = b.fault
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SHOTGLASS_TEST_SPILLER="+f.URL, "SHOTGLASS_TEST_SPILL="+dir)
			var story bytes.Buffer
			cmd.Stderr = &story
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(dir, "image.lime.spill")
			listed := 0
			for began := time.Now(); listed < from+4 && time.Since(began) < time.Minute; time.Sleep(time.Millisecond) {
				data, _ := os.ReadFile(filepath.Join(folder, journalName))
				listed = bytes.Count(data, []byte("\n"))
			}
			if _, _, err := ReadPieces(folder); !errors.Is(err, ErrWriting) {
				t.Errorf("while it writes: %v", err)
			}
			cmd.Process.Kill() //nolint:errcheck // told by Wait
			if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
				t.Fatalf("it ended by itself: %v\n%s", err, &story)
			}
			b.on.Store(false)
			d, _, err := ReadPieces(folder)
			if err != nil || !d.Partial || !d.Killed || len(d.Parts) < from+3 || string(d.Note) != killedNote {
				t.Fatalf("%+v, %v", d, err)
			}
			// Whatever fails before the folder goes leaves it.
			asked := errors.New("not yet")
			if r, err := FinishThen(t.Context(), folder, f.options(), func(*Sink, sink.Receipt) error { return asked }); err != asked || r.Size != d.Size {
				t.Fatalf("%+v, %v", r, err)
			}
			r, err := Finish(t.Context(), folder, f.options())
			if err != nil || !r.Partial || r.Size != d.Size || r.Size < int64(from+3)*minPartSize {
				t.Fatalf("%+v of %d, %v", r, d.Size, err)
			}
			f.content(t, "image.lime", pattern(int(killable))[:r.Size])
			f.noUploads(t)
			left, _ := os.ReadDir(dir)
			for _, e := range left { // the part that was being written
				if want := "image.lime." + partName(int32(len(d.Parts)+1)) + sink.PartialSuffix; e.Name() != want {
					t.Errorf("%s is left", e.Name())
				}
			}
		})
	}
}

// spilled is a folder as a kill leaves it: of an object of six parts, with the first two in the bucket.
func spilled(t *testing.T) (f *fake, folder string, data []byte) {
	f, s, b, dir := spilling(t, 3)
	s.opts.Concurrency = 1
	o := create(t, s, "image.lime")
	data = pattern(6 * minPartSize)
	write(t, o, data)
	write(t, o, []byte("x")) // so that the sixth goes
	folder = filepath.Join(t.TempDir(), "image.lime.spill")
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(dir, "image.lime.spill"))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Abort(context.Background()) }) //nolint:errcheck // its upload may be gone
	b.on.Store(false)
	return f, folder, data
}

// TestJournalDamaged: what cannot be relied upon is not taken for captured, and what can be is not lost.
func TestJournalDamaged(t *testing.T) {
	change := func(t *testing.T, file string, how func([]byte) []byte) {
		t.Helper()
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, how(data), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	lines := func(b []byte) [][]byte { return bytes.SplitAfter(bytes.TrimSuffix(b, []byte("\n")), []byte("\n")) }
	for _, tt := range []struct {
		name   string
		file   string
		how    func([]byte) []byte
		parts  int // that become the object
		reads  string
		finish error
	}{
		{"whole", journalName, func(b []byte) []byte { return b }, 6, "", nil},
		{"torn line", journalName, func(b []byte) []byte { return b[:len(b)-20] }, 6, "", nil}, // its file is there
		{"torn line, zeros", journalName, func(b []byte) []byte { return append(b[:len(b)-20], make([]byte, 4096)...) }, 6, "", nil},
		{"lines lost", journalName, func(b []byte) []byte { return bytes.Join(lines(b)[:3], nil) }, 6, "", nil},
		{"a line of the bucket's parts lost", journalName, func(b []byte) []byte { return bytes.Join(lines(b)[:2], nil) }, 1, "", nil},
		{"a line out of order", journalName, func(b []byte) []byte {
			l := lines(b)
			return bytes.Join(append(l[:2:2], l[3:]...), nil)
		}, 1, "", nil},
		{"head torn", journalName, func(b []byte) []byte { return b[:50] }, 0, "cut short", nil},
		{"another's", journalName, func(b []byte) []byte { return []byte("{}\n") }, 0, "want shotglass-journal", nil},
		{"nothing in it", journalName, func(b []byte) []byte { return nil }, 0, "cut short", nil},
		{"a part shorter than listed", partName(5), func(b []byte) []byte { return b[:len(b)-1] }, 0, "", ErrAltered},
		{"a part longer than listed", partName(5), func(b []byte) []byte { return append(b, 'x') }, 0, "", ErrAltered},
		{"another part", partName(6), func(b []byte) []byte { b[9] ^= 1; return b }, 0, "", ErrAltered},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, folder, data := spilled(t)
			change(t, filepath.Join(folder, tt.file), tt.how)
			_, _, err := ReadPieces(folder)
			if (tt.reads != "") != (err != nil) || err != nil && !strings.Contains(err.Error(), tt.reads) {
				t.Fatalf("ReadPieces: %v", err)
			}
			r, err := Finish(t.Context(), folder, f.options())
			if tt.parts == 0 {
				if err == nil || tt.finish != nil && !errors.Is(err, tt.finish) || len(f.keys()) > 0 {
					t.Errorf("Finish = %+v, %v, objects %q", r, err, f.keys())
				}
				return
			}
			if err != nil || !r.Partial || r.Size != int64(tt.parts)*minPartSize {
				t.Fatalf("Finish = %+v, %v", r, err)
			}
			f.content(t, "image.lime", data[:r.Size])
		})
	}
}

// TestJournalStopsNothing: a journal that cannot be written is told once, and the object is as ever.
func TestJournalStopsNothing(t *testing.T) {
	f, s, b, dir := spilling(t, 2)
	var warned []string
	s.opts.Warn = func(text string) { warned = append(warned, text) }
	s.opts.folder = func(in string) (folder, error) {
		if err := os.Mkdir(filepath.Join(in, journalName), 0o700); err != nil {
			return nil, err
		}
		return sink.NewDisk(in)
	}
	data := pattern(9 * minPartSize)
	p := pieces(t, s, "image.lime", data, commit)
	if len(warned) != 2 || !strings.Contains(warned[1], "should this process be killed") {
		t.Errorf("%q", warned)
	}
	b.on.Store(false)
	if _, err := Finish(t.Context(), folderOf(p), f.options()); err != nil {
		t.Fatal(err)
	}
	f.content(t, "image.lime", data)
	nothingIn(t, dir)
}

// A watchedFolder calls first before its first file is created.
type watchedFolder struct {
	*sink.Disk
	first func()
}

func (d *watchedFolder) Create(ctx context.Context, name string) (sink.Object, error) {
	if d.first != nil {
		d.first()
		d.first = nil
	}
	return d.Disk.Create(ctx, name)
}

// TestJournalFirst: what is known of an object lies in the journal before the first part comes, and such a journal alone is no object.
func TestJournalFirst(t *testing.T) {
	f, s, _, _ := spilling(t, 1)
	alone := filepath.Join(t.TempDir(), "image.lime.spill")
	s.opts.folder = func(in string) (folder, error) {
		d, err := sink.NewDisk(in)
		return &watchedFolder{d, func() {
			if err := os.CopyFS(alone, os.DirFS(in)); err != nil {
				t.Error(err)
			}
		}}, err
	}
	o := create(t, s, "image.lime")
	note := []byte(`"` + strings.Repeat("<", sink.MaxNote-2) + `"`)
	if err := o.(sink.Noter).Note(note); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"too long": append(bytes.Clone(note), ' '), "no JSON": []byte("{")} {
		if err := o.(sink.Noter).Note(bad); err == nil {
			t.Errorf("a note that is %s was taken", name)
		}
	}
	write(t, o, pattern(minPartSize+1))
	r, err := o.Commit(t.Context())
	if err != nil || r.Pending == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	data, err := os.ReadFile(filepath.Join(alone, journalName))
	if left, _ := os.ReadDir(alone); err != nil || len(left) != 1 {
		t.Fatalf("before the first part: %v, %v", left, err)
	}
	d, _, err := parseJournal(data)
	if err != nil || !bytes.Equal(d.Note, note) || len(d.Parts) != 0 {
		t.Errorf("a note of %d bytes is one of %d, with %d parts, %v", len(note), len(d.Note), len(d.Parts), err)
	}
	if _, _, err := ReadPieces(alone); !errors.Is(err, sink.ErrNothing) {
		t.Errorf("ReadPieces: %v", err)
	}
	if _, err := Finish(t.Context(), alone, f.options()); !errors.Is(err, sink.ErrNothing) || len(f.keys()) > 0 {
		t.Errorf("Finish: %v, objects %q", err, f.keys())
	}
	if d, _, err := ReadPieces(folderOf(r.Pending)); err != nil || d.Note != nil {
		t.Errorf("described, it has a manifest of its own: %v, note of %d bytes", err, len(d.Note))
	}
}

// TestNoteSegments: each segment has the note, since any of them may be the one that waits.
func TestNoteSegments(t *testing.T) {
	isolate(t)
	f := newFake(t)
	s := f.sink(t, func(o *Options) { o.SegmentSize = minPartSize })
	o, err := s.CreateSized(t.Context(), "image.lime", 3*minPartSize)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.(sink.Noter).Note([]byte(killedNote)); err != nil {
		t.Fatal(err)
	}
	write(t, o, pattern(2*minPartSize+1))
	g := o.(*segmented)
	for i, seg := range append(g.full[:2:2], g.cur) {
		if string(seg.note) != killedNote {
			t.Errorf("segment %d has the note %q", i, seg.note)
		}
	}
	if err := o.Abort(t.Context()); err != nil {
		t.Log(err) // segments that are stored stay
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"type":"shotglass-journal","v":1,"name":"x","id":"i"}` + "\n" + `{"number":1,"size":5,"crc64nvme":"AAAAAAAAAAA=","file":"part-00001","crc64nvme_total":"AAAAAAAAAAA="}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, _, err := parseJournal(data)
		if err != nil {
			return
		}
		if !d.Partial || !d.Killed {
			t.Error("it passes for whole")
		}
		if d.valid() != nil {
			return
		}
		for i, p := range d.Parts {
			if p.Number != int32(i+1) || strings.ContainsAny(p.File, `/\`) {
				t.Errorf("part %d is %+v", i+1, p)
			}
		}
	})
}

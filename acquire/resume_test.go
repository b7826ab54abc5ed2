//go:build unix

package acquire

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// resuming are options that resume the case "c", signed by alice, in dir.
func (f *fakeTarget) resuming(dir string) Options {
	o := f.options(dir)
	o.Case, o.Signer = "c", alice
	o.Resume = &Resume{Signers: allowed(f.t, "")}
	return o
}

// snapshot is the content of a folder.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(data)
	}
	return files
}

// TestResumeKeeps: a host that has its image is not touched, the other is taken.
func TestResumeKeeps(t *testing.T) {
	dir := t.TempDir()
	a, b := newFake(t), newFake(t)
	o := a.resuming(dir)
	first := runJobs(t.Context(), t, o, a.job("a"))[0]
	if first.State != StateComplete || !first.KeptFrom.IsZero() {
		t.Fatalf("%+v", first)
	}
	before := snapshot(t, dir)
	var reread atomic.Int64
	o.Observer = func(e Event) {
		if _, ok := e.(Rereading); ok {
			reread.Add(1)
		}
	}
	res := runJobs(t.Context(), t, o, a.job("a"), b.job("b"))
	if res[0].State != StateComplete || res[0].KeptFrom.IsZero() || res[0].Image.Raw != first.Image.Raw ||
		res[0].Image.Location != first.Image.Location || res[0].Manifest != first.Manifest || res[0].Signature != first.Signature {
		t.Errorf("kept: %+v\nwant %+v", res[0], first)
	}
	if res[1].State != StateComplete || !res[1].KeptFrom.IsZero() {
		t.Errorf("taken: %+v", res[1])
	}
	if a.agents != 1 || b.agents != 1 || reread.Load() != 1 {
		t.Errorf("%d and %d captures, %d images read again", a.agents, b.agents, reread.Load())
	}
	after := snapshot(t, dir)
	for name, data := range before {
		if after[name] != data {
			t.Errorf("%s was changed", name)
		}
	}
	if len(after) != len(before)+4 {
		t.Errorf("%d files, had %d", len(after), len(before))
	}
	// Once more, and nothing is left to do.
	for _, r := range runJobs(t.Context(), t, o, a.job("a"), b.job("b")) {
		if r.State != StateComplete || r.KeptFrom.IsZero() {
			t.Errorf("%+v", r)
		}
	}
}

// TestResumeTakes: what is not whole, not trusted, not of this case or not of this machine is
// taken anew, under a name of its own, and the reason is told.
func TestResumeTakes(t *testing.T) {
	t.Parallel()
	find := func(t *testing.T, dir, suffix string) string {
		t.Helper()
		m, _ := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if len(m) != 1 {
			t.Fatalf("%s: %q", suffix, m)
		}
		return m[0]
	}
	alter := func(file string, change func([]byte) []byte) func(*testing.T, *fakeTarget, string, *Options) {
		return func(t *testing.T, _ *fakeTarget, dir string, _ *Options) {
			name := find(t, dir, file)
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if data = change(data); data == nil {
				err = os.Remove(name)
			} else {
				err = os.WriteFile(name, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	flip := func(b []byte) []byte { b[len(b)/2] ^= 1; return b }
	for name, tt := range map[string]struct {
		first func(*fakeTarget, *Options)
		then  func(*testing.T, *fakeTarget, string, *Options)
		note  string
	}{
		"damaged": {then: alter(".zst", flip), note: "it is not intact (mismatch)"},
		"cut":     {then: alter(".zst", func(b []byte) []byte { return b[:len(b)-1] }), note: "its manifest says"},
		"gone":    {then: alter(".zst", func([]byte) []byte { return nil }), note: "the image is not"},
		"index":   {then: alter(".frames", flip), note: "it is not intact"},
		"forged": {then: alter(".json", func(b []byte) []byte {
			return []byte(strings.Replace(string(b), `"operator": ""`, `"operator": "x"`, 1))
		}), note: "nobody who is trusted"},
		"unsigned": {then: alter(".sig", func([]byte) []byte { return nil }), note: "nobody who is trusted"},
		"stranger": {first: func(_ *fakeTarget, o *Options) { o.Signer = mallory }, note: "nobody who is trusted"},
		"partial": {
			first: func(f *fakeTarget, _ *Options) { f.serve = func(c net.Conn, image []byte) { c.Write(image[:3<<20]) } },
			then:  func(_ *testing.T, f *fakeTarget, _ string, _ *Options) { f.serve = nil },
			note:  "it is partial",
		},
		"other case": {then: func(_ *testing.T, _ *fakeTarget, _ string, o *Options) { o.Case = "d" }},
		"other machine": {
			then: func(_ *testing.T, f *fakeTarget, _ string, _ *Options) {
				f.tempered = func(s string) string {
					return replaceSection(s, "machine_id", strings.Repeat("7", 32)+"\n")
				}
			},
			note: "another machine answers",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := newFake(t)
			o := f.resuming(dir)
			if tt.first != nil {
				tt.first(f, &o)
			}
			j := f.job("a")
			j.Name = "db.lime.zst" // asked for by name: also then nothing is replaced
			first := runJobs(t.Context(), t, o, j)[0]
			o.Signer = alice
			if tt.then != nil {
				tt.then(t, f, dir, &o)
			}
			before := snapshot(t, dir)
			second := runJobs(t.Context(), t, o, j)[0]
			if second.State != StateComplete || !second.KeptFrom.IsZero() || second.Image.Name != "db-2.lime.zst" || f.agents != 2 {
				t.Errorf("%+v", second)
			}
			if notes := strings.Join(second.Notes, "\n"); !strings.Contains(notes, tt.note) || tt.note == "" && notes != "" || tt.note != "" && !strings.Contains(notes, "db.lime.zst is not kept") {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
			after := snapshot(t, dir)
			for name, data := range before {
				if after[name] != data {
					t.Errorf("%s was changed", name)
				}
			}
			if len(after) != len(before)+4 || first.Host != second.Host {
				t.Errorf("%d files, had %d", len(after), len(before))
			}
			f.clean()
		})
	}
}

// TestResumeIdentity: what the host says now decides whether its image may stand for it.
func TestResumeIdentity(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*fakeTarget, *Job)
		kept   bool
		note   string
		err    func(error) bool
	}{
		"rebooted": {kept: true, note: "rebooted", change: func(f *fakeTarget, _ *Job) {
			f.tempered = func(s string) string {
				return replaceSection(s, "boot_id", "00000000-1111-2222-3333-444444444444\n")
			}
		}},
		"away": {kept: true, note: "was not checked", change: func(f *fakeTarget, _ *Job) { f.server.Close() }},
		"no sudo": {kept: true, note: "was not checked", change: func(f *fakeTarget, _ *Job) {
			f.tempered = func(string) string { return "sorry" }
		}},
		"another machine, no sudo": {note: "another machine may answer", change: func(_ *fakeTarget, j *Job) {
			other := newFake(t)
			other.tempered = func(string) string { return "sorry" }
			j.Target = other.job("a").Target
		}, err: func(err error) bool { return true }},
		"wrong host key": {note: "is not known", change: func(f *fakeTarget, j *Job) {
			j.Target.HostKey.Fingerprints = []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
		}, err: func(err error) bool { _, ok := err.(*transport.HostKeyError); return ok }},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			f := newFake(t)
			o := f.resuming(dir)
			o.ConnectAttempts = 1
			j := f.job("a")
			if r := runJobs(t.Context(), t, o, j)[0]; r.State != StateComplete {
				t.Fatal(r.Err)
			}
			tt.change(f, &j)
			r := runJobs(t.Context(), t, o, j)[0]
			if kept := r.State == StateComplete && !r.KeptFrom.IsZero(); kept != tt.kept {
				t.Errorf("kept %t: %+v", kept, r)
			}
			if !tt.kept && (r.State != StateFailed || !tt.err(r.Err)) {
				t.Errorf("%s: %v", r.State, r.Err)
			}
			if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, tt.note) {
				t.Errorf("notes %q", notes)
			}
			if f.agents != 1 {
				t.Errorf("%d captures", f.agents)
			}
		})
	}
}

// TestPriorDiffers: clones share a machine id, so that the host key counts too.
func TestPriorDiffers(t *testing.T) {
	was := Prior{machine: "m", boot: "b", keyType: "ssh-ed25519", key: "K"}
	for name, tt := range map[string]struct {
		machine, boot, keyType, key string
		differs                     bool
	}{
		"same":          {"m", "b", "ssh-ed25519", "K", false},
		"rebooted":      {"m", "x", "ssh-ed25519", "K", false},
		"machine":       {"x", "b", "ssh-ed25519", "K", true},
		"clone":         {"m", "x", "ssh-ed25519", "X", true},
		"another key":   {"m", "b", "ssh-rsa", "X", false},
		"no machine id": {"", "b", "ssh-ed25519", "K", true},
	} {
		now := transport.Info{HostKeyType: tt.keyType, HostKey: tt.key}
		if why := was.differs(now, &Facts{MachineID: tt.machine, BootID: tt.boot}); (why != "") != tt.differs {
			t.Errorf("%s: %q", name, why)
		}
	}
	none := Prior{boot: "b", keyType: "ssh-rsa", key: "K"}
	if none.differs(transport.Info{HostKeyType: "ssh-ed25519", HostKey: "X"}, &Facts{BootID: "b"}) != "" {
		t.Error("the same boot is another machine")
	}
	if none.differs(transport.Info{HostKeyType: "ssh-ed25519", HostKey: "X"}, &Facts{BootID: "x"}) == "" {
		t.Error("nothing shows that it is the same machine")
	}
}

// TestPriorUnreadable: zeros that an earlier run accepted are no memory for one that does not.
func TestPriorUnreadable(t *testing.T) {
	m := &Manifest{Case: "c", Unreadable: &Unreadable{Pages: 5, Accepted: 5}}
	m.Target.Host = "a"
	for accept, kept := range map[int64]bool{0: false, 4: false, 5: true} {
		s := &Step{Host: "a", opts: &Options{Case: "c", AcceptUnreadable: accept}}
		err := new(Prior).kept(&VerifyReport{Verdict: VerdictOK, Manifest: m}, s)
		if (err == nil) != kept {
			t.Errorf("accepting %d: %v", accept, err)
		}
	}
}

// waitingSink is one in whose other place something waits.
type waitingSink struct{ *sink.Disk }

func (waitingSink) Waiting() ([]sink.Listed, error) {
	return []sink.Listed{{Name: "e.lime", Location: "spill/e.lime.spill"}}, nil
}

// TestResumeLeftovers: what a killed run left is named and stays.
func TestResumeLeftovers(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a-20260101T000000Z-mem.lime.zst.partial", "b-20260101T000000Z-mem.lime.zst", "c.lime.frames", "notes.txt", "other.json", "e.lime",
		"d-20260101T000000Z-mem.lime.zst", "d-20260101T000000Z-mem.lime.zst.interim", "d-20260101T000000Z-swap-1.raw.zst.partial"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := newFake(t)
	o := f.resuming(dir)
	o.Sink = waitingSink{o.Sink.(*sink.Disk)}
	p, err := NewPlan(t.Context(), []Job{f.job("a")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var names []string
	for _, l := range p.Leftovers {
		names = append(names, l.Name)
	}
	want := []string{"a-20260101T000000Z-mem.lime.zst.partial", "b-20260101T000000Z-mem.lime.zst", "c.lime.frames", "d-20260101T000000Z-swap-1.raw.zst.partial", "e.lime"}
	if !slices.Equal(names, want) {
		t.Errorf("leftovers %q, want %q", names, want)
	}
	if r := p.Run(t.Context()); r[0].State != StateComplete {
		t.Error(r[0].Err)
	}
	for _, name := range want {
		if data, err := os.ReadFile(filepath.Join(dir, name)); string(data) != "{}" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestResumeNeedsReading: a place that cannot be read back is refused before any connection.
func TestResumeNeedsReading(t *testing.T) {
	f := newFake(t)
	o := f.resuming(t.TempDir())
	o.Sink = &sink.Discard{}
	if _, err := NewPlan(t.Context(), []Job{f.job("a")}, o); err == nil || !strings.Contains(err.Error(), "read back") {
		t.Errorf("%v", err)
	}
	if f.server.Seen() != 0 {
		t.Error("a connection was made")
	}
}

// TestResumeAwaitsUnload: LiME of a run that was killed a moment ago is waited for.
func TestResumeAwaitsUnload(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var looks atomic.Int64
	f.tempered = func(s string) string {
		if looks.Add(1) == 1 {
			return replaceSection(s, "lime_loaded", "lime 16384 0 - Live 0x0 (OE)\n")
		}
		return s
	}
	o := f.resuming(t.TempDir())
	var waits atomic.Int64
	o.Observer = func(e Event) {
		if _, ok := e.(Waiting); ok {
			waits.Add(1)
		}
	}
	begin := time.Now()
	if r := runJobs(t.Context(), t, o, f.job("a"))[0]; r.State != StateComplete || waits.Load() != 1 {
		t.Errorf("%d waits, %+v", waits.Load(), r)
	}
	if time.Since(begin) > unloadPatience {
		t.Error("it waited to the end")
	}
}

// TestResumeKcoreDoesNotWait: who reads /proc/kcore does not mind LiME.
func TestResumeKcoreDoesNotWait(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.facts = func(s string) string { return replaceSection(s, "lime_loaded", "lime 16384 0 - Live 0x0 (OE)\n") }
	dir := t.TempDir()
	var waits atomic.Int64
	f.complete(dir, f.capture(t.Context(), dir, func(o *Options) {
		o.Signer, o.Resume = alice, &Resume{Signers: allowed(t, "")}
		o.Observer = func(e Event) {
			if _, ok := e.(Waiting); ok {
				waits.Add(1)
			}
		}
	}))
	if waits.Load() != 0 {
		t.Error("it waited for LiME to be unloaded")
	}
}

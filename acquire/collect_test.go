//go:build unix

package acquire

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink"
)

// collects makes the options ask for items.
func collects(t *testing.T, words ...string) func(*Options) {
	kinds, err := live.Parse(words)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Collect = kinds }
}

// addNote gives /proc/kcore the note of VMCOREINFO.
func (f *fakeKcore) addNote(text string) {
	f.t.Helper()
	file, err := os.OpenFile(f.path("kcore"), os.O_RDWR, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	defer file.Close()
	head := make([]byte, 4*page)
	file.ReadAt(head, 0)
	le := binary.LittleEndian
	n := int(le.Uint16(head[56:]))
	ph := head[64+56*n:]
	le.PutUint16(head[56:], uint16(n+1))
	le.PutUint32(ph, 4)
	note := le.AppendUint32(nil, 5)
	note = le.AppendUint32(note, 6000) // taskstruct: more than is read for the facts
	note = le.AppendUint32(note, 4)
	note = append(note, "CORE\x00\x00\x00\x00"...)
	note = append(note, make([]byte, 6000)...)
	note = le.AppendUint32(note, 11)
	note = le.AppendUint32(note, uint32(len(text)))
	note = le.AppendUint32(note, 0)
	note = append(note, "VMCOREINFO\x00\x00"...)
	note = append(note, text...)
	le.PutUint64(ph[8:], 2*page)
	le.PutUint64(ph[32:], uint64(len(note)))
	if _, err := file.WriteAt(head[:2*page], 0); err != nil {
		f.t.Fatal(err)
	}
	if _, err := file.WriteAt(append(note, make([]byte, 200<<10)...), 2*page); err != nil {
		f.t.Fatal(err)
	}
}

// filesOf are those of an archive.
func filesOf(t *testing.T, data []byte) map[string]string {
	t.Helper()
	files := map[string]string{}
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(b)
	}
}

func itemOf(t *testing.T, l *Live, name string, s live.Stage) live.Item {
	t.Helper()
	i := slices.IndexFunc(l.Items, func(it live.Item) bool { return it.Name == name && it.Stage == s })
	if i < 0 {
		t.Fatalf("no item %s %s in %+v", name, s, l.Items)
	}
	return l.Items[i]
}

// TestCollect: what is collected lies beside the image, in the manifest, and verify reads it.
func TestCollect(t *testing.T) {
	t.Parallel()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	key, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, ids := range map[string][]age.Identity{"plain": nil, "encrypted": {id}} {
		t.Run(name, func(t *testing.T) { noLeak(t); testCollect(t, key, ids) })
	}
}

func testCollect(t *testing.T, key agefile.Recipient, ids []age.Identity) {
	f := newKcore(t)
	f.addNote("OSRELEASE=6.1.0\nKERNELOFFSET=0\n")
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		collects(t, "clock", "kernel")(o)
		if ids != nil {
			o.Recipients = []agefile.Recipient{key}
		}
	})
	if res.State != StateComplete || res.Err != nil {
		t.Fatalf("%+v", res)
	}
	m := manifestIn(t, dir)
	l := m.Live
	if l == nil || !l.Complete || l.Image.Format != "tar" || l.Image.Name != LiveName(m.Image.Name, ids != nil) || l.Image.Frames != nil {
		t.Fatalf("%+v", l)
	}
	var who age.Identity
	if ids != nil {
		who = ids[0]
	}
	files := filesOf(t, unpack(t, l.Image.Location, who))
	version, err := os.ReadFile("/proc/version")
	if err != nil {
		t.Fatal(err)
	}
	if got := files["proc/version"]; got != string(version) {
		t.Errorf("version %q, want %q", got, version)
	}
	if got := files["vmcoreinfo"]; got != "OSRELEASE=6.1.0\nKERNELOFFSET=0\n" {
		t.Errorf("vmcoreinfo of %d bytes, %.60q", len(got), got)
	}
	for _, s := range []live.Stage{live.Before, live.After} {
		if got := files[string(s)+"/clock"]; !strings.Contains(got, "\nbtime ") {
			t.Errorf("clock %s: %q", s, got)
		}
	}
	if itemOf(t, l, "clock", live.Before).Begun.After(m.Reads[0].First) || itemOf(t, l, "clock", live.After).Begun.Before(m.Reads[0].Last) {
		t.Error("state was not read before and after memory")
	}
	if it := itemOf(t, l, "version", live.After); it.SHA256 == "" || it.Bytes != int64(len(version)) || it.How != "/proc/version" {
		t.Errorf("%+v", it)
	}
	rep := verifyIn(t, dir, m, ids...)
	if rep.Live == nil || len(rep.Problems) > 0 || !rep.Live.Decoded || rep.Live.Items != len(l.Items) || rep.Live.Verdict != VerdictUntrusted {
		t.Errorf("verify: %+v, %+v", rep, rep.Live)
	}
	if ids != nil {
		if rep := verifyIn(t, dir, m); rep.Live.Decoded || len(rep.Problems) > 0 {
			t.Errorf("verify without the key: %+v", rep)
		}
	}
	// Archives that the manifest does not know, and that would be taken for the one that it does.
	stray := filepath.Join(dir, LiveName(m.Image.Name, ids == nil))
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verifyIn(t, dir, m, ids...); len(rep.Problems) != 1 || rep.Problems[0].What != mismatchLive || rep.Problems[0].File != filepath.Base(stray) || rep.Verdict != VerdictMismatch {
		t.Errorf("verify beside a stray archive: %+v", rep.Problems)
	}
	if err := os.Remove(stray); err != nil {
		t.Fatal(err)
	}
	// One byte of it is another.
	b, err := os.ReadFile(l.Image.Location)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	os.Chmod(l.Image.Location, 0o600)
	if err := os.WriteFile(l.Image.Location, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if rep := verifyIn(t, dir, m, ids...); len(rep.Problems) == 0 || rep.Problems[0].File != l.Image.Name {
		t.Errorf("verify of a damaged archive: %+v", rep.Problems)
	}
	if err := os.Remove(l.Image.Location); err != nil {
		t.Fatal(err)
	}
	if rep := verifyIn(t, dir, m, ids...); len(rep.Problems) != 1 || rep.Problems[0].What != mismatchLive {
		t.Errorf("verify without the archive: %+v", rep.Problems)
	}
}

// TestCollectPlanned: a plan lists what would be collected, and what that costs; nothing asked for is
// nothing done.
func TestCollectPlanned(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.facts = func(text string) string {
		return replaceSection(text, "sizes", "-r--r--r-- 1 0 0 5000000 Nov 22 10:00 /sys/kernel/btf/vmlinux\n-r--r--r-- 1 0 0 7000 Nov 22 10:00 /sys/kernel/btf/vsock\nprocesses 100\n  42 /proc/modules\n")
	}
	o := (&fakeTarget{t: t}).options(t.TempDir())
	o.Method = MethodKcore
	collects(t, "all")(&o)
	target := f.server.Target()
	p, err := NewPlan(t.Context(), []Job{{Target: target}, {Target: target, Host: "b", Collect: []live.Kind{}}}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	got := map[string]PlannedItem{}
	for _, x := range p.Steps[0].Collect {
		got[x.Name] = x
	}
	if x := got["btf"]; x.Bytes != 5000000 || x.About || x.Missing || x.Time < 400e6 {
		t.Errorf("btf: %+v", x)
	}
	if x := got["btf-modules"]; x.Bytes != 7100 || x.Missing {
		t.Errorf("BTF of modules: %+v", x)
	}
	if x := got["processes"]; x.Bytes != 2*100*400 || !x.About || len(x.Stages) != 2 {
		t.Errorf("processes: %+v", x)
	}
	if x := got["system-map"]; !x.Missing {
		t.Errorf("System.map: %+v", x)
	}
	if n := p.Steps[0].needed() - p.Steps[1].needed(); n < 17000000 {
		t.Errorf("the plan keeps %d bytes for it", n)
	}
	if len(p.Steps[1].Collect) != 0 || f.scripts["?"] != 0 {
		t.Errorf("%+v, scripts %v", p.Steps[1].Collect, f.scripts)
	}
}

// TestCollectFails: whatever goes wrong with it, the image is what it is.
func TestCollectFails(t *testing.T) {
	t.Parallel()
	t.Run("endless", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		f.stdout = func(name string, w io.Writer) io.Writer {
			if name != "?" {
				return w
			}
			return feed(func(p []byte) (int, error) {
				i := bytes.Index(p, []byte(" + version\n"))
				if i < 0 {
					return w.Write(p)
				}
				w.Write(p[:i+11])
				junk := bytes.Repeat([]byte("endless\n"), 8<<10)
				for range 200 { // 13 MB, of 4 KiB that are kept
					if _, err := w.Write(junk); err != nil {
						return 0, err
					}
				}
				_, err := w.Write(p[i+11:])
				return len(p), err
			})
		}
		dir := t.TempDir()
		m := f.complete(dir, f.capture(t.Context(), dir, collects(t, "version", "cmdline")))
		if it := itemOf(t, m.Live, "version", live.After); !strings.Contains(it.Error, "more than 4096 bytes") || it.Bytes != 4096 {
			t.Errorf("%+v", it)
		}
		if it := itemOf(t, m.Live, "cmdline", live.After); it.Error != "" {
			t.Errorf("%+v", it)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 || rep.Live.Missing != 1 {
			t.Errorf("verify: %+v", rep)
		}
	})
	t.Run("cut short", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		f.stdout = func(name string, w io.Writer) io.Writer {
			if name != "?" {
				return w
			}
			return feed(func(p []byte) (int, error) {
				if i := bytes.Index(p, []byte(" + cmdline\n")); i >= 0 {
					w.Write(p[:i+11])
					return 0, errors.New("killed")
				}
				return w.Write(p)
			})
		}
		dir := t.TempDir()
		m := f.complete(dir, f.capture(t.Context(), dir, collects(t, "version", "cmdline", "iomem")))
		if n := len(m.Live.Items); n != 3 {
			t.Errorf("%d items: %+v", n, m.Live.Items)
		}
		for name, want := range map[string]string{"version": "", "cmdline": "cut", "iomem": ""} {
			if it := itemOf(t, m.Live, name, live.After); !strings.Contains(it.Error, want) || (want == "") != (it.Error == "") {
				t.Errorf("%s: %+v", name, it)
			}
		}
	})
	t.Run("the sink refuses it", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		dir := t.TempDir()
		told := 0
		res := f.capture(t.Context(), dir, func(o *Options) {
			collects(t, "version")(o)
			o.Sink = refusing{o.Sink, LiveSuffix}
			o.Observer = func(e Event) {
				if p, ok := e.(Problem); ok && strings.Contains(p.Err.Error(), "collected") {
					told++
				}
			}
		})
		m := f.complete(dir, res)
		if m.Live.Complete || len(m.Live.Reasons) != 1 || told != 1 {
			t.Errorf("%+v, told %d times", m.Live, told)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 || rep.Live.Verdict != VerdictUntrusted {
			t.Errorf("verify: %+v %+v", rep, rep.Live)
		}
		if err := os.WriteFile(filepath.Join(dir, LiveName(m.Image.Name, false)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) != 1 || rep.Problems[0].What != mismatchLive {
			t.Errorf("verify beside an archive, of which nothing was stored: %+v", rep.Problems)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f.exec = func(name string) {
			if name == "read" {
				cancel()
			}
		}
		res := f.capture(ctx, dir, collects(t, "clock", "version"))
		if res.State == StateComplete {
			t.Fatalf("%+v", res)
		}
		m := manifestIn(t, dir)
		if it := itemOf(t, m.Live, "clock", live.Before); it.Error != "" || it.Bytes == 0 {
			t.Errorf("%+v", it)
		}
		if it := itemOf(t, m.Live, "version", live.After); !strings.Contains(it.Error, "interrupted") {
			t.Errorf("%+v", it)
		}
		if !m.Live.Complete {
			t.Errorf("%+v", m.Live)
		}
	})
}

// refusing is a sink that takes no file whose name has an ending.
type refusing struct {
	sink.Sink
	suffix string
}

func (s refusing) Create(ctx context.Context, name string) (sink.Object, error) {
	if strings.HasSuffix(name, s.suffix) {
		return nil, errors.New("no such files here")
	}
	return s.Sink.Create(ctx, name)
}

// TestLiveStray: an archive beside an image beside which nothing was collected is told.
func TestLiveStray(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	dir := t.TempDir()
	m := f.complete(dir, f.capture(t.Context(), dir, func(*Options) {}))
	for _, encrypted := range []bool{false, true} {
		if err := os.WriteFile(filepath.Join(dir, LiveName(m.Image.Name, encrypted)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if rep := verifyIn(t, dir, m); m.Live != nil || len(rep.Problems) != 2 || rep.Problems[0].What != mismatchLive || rep.Live != nil {
		t.Errorf("verify: %+v", rep)
	}
}

// TestLiveNames: a file with what was collected belongs to its image.
func TestLiveNames(t *testing.T) {
	for _, name := range []string{"a-mem.lime.zst.live.tar.zst", "a-mem.lime.zst.live.tar.zst.age", "a-mem.lime.zst.live.tar.zst.partial"} {
		if got := imageOf(name); got != "a-mem.lime.zst" {
			t.Errorf("imageOf(%q) is %q", name, got)
		}
	}
	if ValidImageName("x.live.tar.zst") == nil {
		t.Error("an image may be called as what lies beside another")
	}
	dir := t.TempDir()
	for _, name := range []string{"a-mem.lime.zst.json", "a-mem.lime.zst.live.tar.zst", "b-mem.lime.live.tar.zst"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := d.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := leftovers(l); len(left) != 1 || left[0].Name != "b-mem.lime.live.tar.zst" {
		t.Errorf("left: %+v", left)
	}
}

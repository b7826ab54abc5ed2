package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// A place is a folder with the log of a run: three hosts, one manifest.
type place struct {
	t       *testing.T
	dir     string
	disk    *sink.Disk
	log     *Log
	signer  ssh.Signer
	signers *signature.AllowedSigners
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	var err error
	if p.disk, err = sink.NewDisk(p.dir); err != nil {
		t.Fatal(err)
	}
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	if p.signer, err = ssh.NewSignerFromKey(key); err != nil {
		t.Fatal(err)
	}
	line := `me namespaces="` + signature.Namespaces + `" ` + string(ssh.MarshalAuthorizedKey(p.signer.PublicKey()))
	if p.signers, err = signature.ParseAllowedSigners(strings.NewReader(line), "signers"); err != nil {
		t.Fatal(err)
	}
	p.log = Start(t.Context(), Options{Case: "2026-042", Live: p.disk, Problem: func(err error) { t.Errorf("problem: %v", err) }})
	p.log.Add(Entry{Event: EventStart, Message: "a run starts", Location: p.disk.String(), Options: []acquire.Setting{{Name: "case", Value: "2026-042", Origin: "flag"}}})
	return p
}

// manifest writes a manifest that names the log's head, and tells the log.
func (p *place) manifest(host string) {
	m := &acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Previous: p.log.Head()}
	data, err := m.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	sig, err := signature.Sign(data, p.signer)
	if err != nil {
		p.t.Fatal(err)
	}
	name := host + "-mem.lime.zst.json"
	p.write(name, data)
	p.write(name+".sig", sig)
	p.log.Observe(finishedEvent(&acquire.Result{Host: host, State: acquire.StateComplete, Manifest: filepath.Join(p.dir, name),
		ManifestDigest: acquire.Digest{Bytes: int64(len(data)), SHA256: sum(data)}}))
}

// finishedEvent is what the engine sends; its host cannot be set from outside.
func finishedEvent(r *acquire.Result) acquire.Event { return acquire.Finished{Result: r} }

func (p *place) write(name string, data []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) read(name string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

func (p *place) close() Saved {
	p.t.Helper()
	code := 0
	s, err := p.log.Close(p.t.Context(), p.disk, p.signer, Entry{Message: "the run ends", Code: &code})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func (p *place) verify() *Report {
	p.t.Helper()
	r, err := Verify(p.t.Context(), p.disk, p.log.Name(), VerifyOptions{Signers: p.signers})
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func TestLog(t *testing.T) {
	p := newPlace(t)
	p.log.Add(Entry{Event: "problem", Host: "web1", Message: "evil \x1b[31m\u202e\xff host"})
	p.manifest("web1")
	s := p.close()
	r := p.verify()
	if r.Verdict != acquire.VerdictOK || r.Lines != 6 || !r.Ended || *r.Code != 0 || r.Anchored != 2 || len(r.Manifests) != 1 || r.Manifests[0].Found != FoundGood {
		t.Fatalf("%+v", r)
	}
	data := p.read(p.log.Name())
	if s.SHA256 != sum(data) || s.Lines != 6 || s.Location != filepath.Join(p.dir, p.log.Name()) || s.Signature == "" {
		t.Errorf("%+v", s)
	}
	if want := `evil \x1b[31m\u202e\xff host`; r.Entries[1].Message != want {
		t.Errorf("message %q, want %q", r.Entries[1].Message, want)
	}
	if bytes.ContainsAny(data, "\x1b\x7f") || bytes.Contains(data, []byte("\u202e")) {
		t.Error("the log drives terminals")
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*.partial")); left != nil {
		t.Errorf("left: %q", left)
	}
}

// TestTimesketch holds the log against what Timesketch's importer (read_and_validate_jsonl and
// the index mapping) asks for: the mandatory fields, microseconds, one type for a field.
func TestTimesketch(t *testing.T) {
	p := newPlace(t)
	for _, r := range []*acquire.Result{
		{Host: "a", State: acquire.StateFailed, Err: errors.New("no way in")},
		{Host: "b", State: acquire.StatePartial, Reasons: []string{"records: cut"}, Left: []string{"lime"}, Fix: "rmmod lime", Manifest: "/x/b.json",
			Image:          acquire.Image{Raw: acquire.Digest{Bytes: 5, SHA256: "aa"}, Stored: acquire.Digest{Bytes: 3, SHA256: "bb"}},
			ManifestDigest: acquire.Digest{Bytes: 1, SHA256: "cc"}},
	} {
		p.log.Observe(finishedEvent(r))
	}
	p.close()
	kinds := map[string]string{}
	var kind func(path string, v any)
	kind = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			for k, e := range v {
				kind(path+"."+k, e)
			}
			return
		case []any:
			for _, e := range v {
				kind(path, e)
			}
			return
		}
		if k := fmt.Sprintf("%T", v); kinds[path] != "" && kinds[path] != k {
			t.Errorf("%s is %s and %s", path, kinds[path], k)
		} else {
			kinds[path] = k
		}
	}
	for line := range bytes.Lines(p.read(p.log.Name())) {
		var e map[string]any
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		for _, f := range []string{"message", "datetime", "timestamp_desc", "data_type"} {
			if s, _ := e[f].(string); s == "" {
				t.Errorf("no %s in %s", f, line)
			}
		}
		at, err := time.Parse("2006-01-02T15:04:05.999999-07:00", e["datetime"].(string))
		if err != nil || at.UnixMicro() != int64(e["timestamp"].(float64)) {
			t.Errorf("datetime %v, timestamp %v: %v", e["datetime"], e["timestamp"], err)
		}
		kind("", e)
	}
	if filepath.Ext(p.log.Name()) != ".jsonl" {
		t.Errorf("the importer goes by the extension, the name is %s", p.log.Name())
	}
}

// TestTampering alters a good log in every way, signs it again or not, and wants the line.
func TestTampering(t *testing.T) {
	lines := func(d []byte) [][]byte { return bytes.SplitAfter(bytes.TrimSuffix(d, []byte("\n")), []byte("\n")) }
	for _, tt := range []struct {
		name string
		do   func(l [][]byte) [][]byte
		line int
		want string
	}{
		{"altered", func(l [][]byte) [][]byte { l[1] = bytes.Replace(l[1], []byte("two"), []byte("six"), 1); return l }, 3, "chain is broken"},
		{"dropped", func(l [][]byte) [][]byte { return append(l[:2:2], l[3:]...) }, 3, "chain is broken"},
		{"put in", func(l [][]byte) [][]byte { return append(l[:2:2], append([][]byte{l[1]}, l[2:]...)...) }, 3, "chain is broken"},
		{"swapped", func(l [][]byte) [][]byte { l[1], l[2] = l[2], l[1]; return l }, 2, "chain is broken"},
		{"without its start", func(l [][]byte) [][]byte { return l[1:] }, 1, "start of the log is missing"},
		{"no JSON", func(l [][]byte) [][]byte { l[1] = []byte("x\n"); return l }, 2, "not an entry"},
		{"cut in a line", func(l [][]byte) [][]byte { l[3] = l[3][:20]; return l[:4] }, 4, "cut off after 20 bytes"},
		{"appended", func(l [][]byte) [][]byte {
			last := l[len(l)-1]
			var e Entry
			json.Unmarshal(last, &e)
			e.Seq++
			more, _ := e.encode(time.Now(), sum(append(last, '\n')))
			return append(l[:len(l)-1:len(l)-1], append(last, '\n'), more)
		}, 7, "follows the end"},
		{"empty", func(l [][]byte) [][]byte { return nil }, 0, "empty"},
		{"another end", func(l [][]byte) [][]byte {
			var e Entry
			json.Unmarshal(l[5], &e)
			e.Manifests = nil
			end, _ := e.encode(time.Now(), e.Previous)
			l[5] = end
			return l
		}, 6, "names 0 manifests"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPlace(t)
			p.log.Add(Entry{Event: "problem", Message: "two"})
			p.manifest("web1")
			p.close()
			data := bytes.Join(tt.do(lines(p.read(p.log.Name()))), nil)
			p.write(p.log.Name(), data)
			sig, err := signature.SignIn(signature.LogNamespace, data, p.signer) // by the key's owner
			if err != nil {
				t.Fatal(err)
			}
			p.write(p.log.Name()+".sig", sig)
			r := p.verify()
			if r.Verdict != acquire.VerdictMismatch {
				t.Fatalf("%s: %+v", r.Verdict, r)
			}
			if got := r.Problems[0]; got.Line != tt.line || !strings.Contains(got.Detail, tt.want) {
				t.Errorf("problem %+v, want line %d, %q", got, tt.line, tt.want)
			}
		})
	}
}

// TestRewritten: whoever computes the chain anew is found out by the signed manifests.
func TestRewritten(t *testing.T) {
	p := newPlace(t)
	p.log.Add(Entry{Event: "problem", Message: "two"})
	p.manifest("web1")
	p.close()
	var out []byte
	previous, n := none, 0
	for line := range bytes.Lines(p.read(p.log.Name())) {
		if n++; n == 2 {
			line = bytes.Replace(line, []byte("two"), []byte("six"), 1)
		}
		var e Entry
		if err := json.Unmarshal(line, &e); err != nil {
			t.Fatal(err)
		}
		again, err := e.encode(time.UnixMicro(e.Timestamp), previous)
		if err != nil {
			t.Fatal(err)
		}
		out, previous = append(out, again...), sum(again)
	}
	p.write(p.log.Name(), out)
	os.Remove(filepath.Join(p.dir, p.log.Name()+".sig"))
	r := p.verify()
	if len(r.Problems) != 1 || r.Problems[0].Line != 2 || !strings.Contains(r.Problems[0].Detail, "manifest web1-mem.lime.zst.json says") {
		t.Errorf("%+v", r.Problems)
	}
}

func TestSignature(t *testing.T) {
	p := newPlace(t)
	p.close()
	name := p.log.Name()
	data, good := p.read(name), p.read(name+".sig")
	if r, err := Verify(t.Context(), p.disk, name+".sig", VerifyOptions{}); err != nil || r.Verdict != acquire.VerdictUntrusted || !r.Signature.Valid {
		t.Errorf("nobody is trusted: %+v, %v", r, err)
	}
	foreign, _ := signature.Sign(data, p.signer) // the namespace of manifests
	p.write(name+".sig", foreign)
	if r := p.verify(); r.Verdict != acquire.VerdictMismatch || !strings.Contains(r.Problems[0].Detail, "namespace") {
		t.Errorf("%+v", r)
	}
	p.write(name+".sig", good)
	p.write(name, append(data, data...))
	if r := p.verify(); r.Verdict != acquire.VerdictMismatch {
		t.Errorf("%+v", r)
	}
	os.Remove(filepath.Join(p.dir, name+".sig"))
	p.write(name, data)
	if r := p.verify(); r.Verdict != acquire.VerdictUntrusted || r.Signature.Present {
		t.Errorf("%+v", r)
	}
}

func TestManifests(t *testing.T) {
	p := newPlace(t)
	for _, h := range []string{"web1", "web2", "web3"} {
		p.manifest(h)
	}
	p.log.Observe(finishedEvent(&acquire.Result{Host: "far", State: acquire.StateComplete, Manifest: "/other/far.json", ManifestDigest: acquire.Digest{Bytes: 1, SHA256: "00"}}))
	p.close()
	p.write("web1-mem.lime.zst.json", append(p.read("web1-mem.lime.zst.json"), '\n'))
	os.Remove(filepath.Join(p.dir, "web2-mem.lime.zst.json"))
	r := p.verify()
	var found []string
	for _, m := range r.Manifests {
		found = append(found, m.Found)
	}
	if fmt.Sprint(found) != "[altered missing good elsewhere]" || len(r.Problems) != 2 || r.Verdict != acquire.VerdictMismatch {
		t.Errorf("%q, %+v", found, r.Problems)
	}
}

// TestKilled: what was added before a crash is on the disk, and is called cut short.
func TestKilled(t *testing.T) {
	p := newPlace(t)
	p.manifest("web1")
	live := filepath.Join(p.dir, p.log.Name()+sink.PartialSuffix)
	deadline := time.Now().Add(10 * time.Second)
	for bytes.Count(p.read(filepath.Base(live)), []byte("\n")) < 4 {
		if time.Now().After(deadline) {
			t.Fatal("the lines did not reach the disk")
		}
		time.Sleep(time.Millisecond)
	}
	r := p.verify()
	if r.Ended || r.Verdict != acquire.VerdictUntrusted || len(r.Problems) != 0 || r.Anchored != 1 || r.Log != live {
		t.Errorf("%+v", r)
	}
	p.close()
}

// A fullSink takes n bytes and then no more, until more is true.
type fullSink struct {
	*sink.Disk
	mu   sync.Mutex
	n    int
	more bool
}

func (s *fullSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Disk.Create(ctx, name)
	return &fullObject{o, s}, err
}

type fullObject struct {
	sink.Object
	s *fullSink
}

func (o *fullObject) Write(p []byte) (int, error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.s.n -= len(p); o.s.n < 0 && !o.s.more {
		return 0, errors.New("no space left on device")
	}
	return o.Object.Write(p)
}

// TestDiskFull: the run goes on, the user is told once, and the whole log is written at
// the end, when there may be room again.
func TestDiskFull(t *testing.T) {
	for _, later := range []bool{true, false} {
		p := newPlace(t)
		p.close()
		dir := t.TempDir()
		disk, _ := sink.NewDisk(dir)
		full := &fullSink{Disk: disk, n: 500}
		told := make(chan error, 10)
		l := Start(t.Context(), Options{Live: full, Problem: func(err error) { told <- err }})
		l.Add(Entry{Event: EventStart, Message: strings.Repeat("x", 600)})
		if err := <-told; !strings.Contains(err.Error(), "no space") {
			t.Error(err)
		}
		l.Add(Entry{Event: "problem", Message: "later"})
		full.mu.Lock()
		full.more = later
		full.mu.Unlock()
		s, err := l.Close(t.Context(), full, p.signer, Entry{Message: "end"})
		if len(told) != 0 {
			t.Errorf("told again: %v", <-told)
		}
		if !later {
			if err == nil {
				t.Error("no error")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r, err := Verify(t.Context(), disk, filepath.Base(s.Location), VerifyOptions{Signers: p.signers})
		if err != nil || r.Verdict != acquire.VerdictOK || r.Lines != 3 {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// A pendingSink has every object in pieces.
type pendingSink struct {
	*sink.Disk
	names []string
}

func (s *pendingSink) Create(ctx context.Context, name string) (sink.Object, error) {
	s.names = append(s.names, name)
	o, err := s.Disk.Create(ctx, name)
	return &pendingObject{o}, err
}

type pendingObject struct{ sink.Object }

func (o *pendingObject) Commit(ctx context.Context) (sink.Receipt, error) {
	r, err := o.Object.Commit(ctx)
	r.Pending = &sink.Pending{}
	return r, err
}

// TestElsewhere: a log on its way to another place lies here until it is there.
func TestElsewhere(t *testing.T) {
	p := newPlace(t)
	far, _ := sink.NewDisk(t.TempDir())
	s, err := p.log.Close(t.Context(), far, p.signer, Entry{Message: "end"})
	if err != nil || filepath.Dir(s.Location) != far.String() {
		t.Fatalf("%+v, %v", s, err)
	}
	if left, _ := os.ReadDir(p.dir); len(left) != 0 {
		t.Errorf("left here: %v", left)
	}
	// There it cannot be written: it stays here, whole, and the error says where.
	q := newPlace(t)
	s, err = q.log.Close(t.Context(), &fullSink{Disk: far}, q.signer, Entry{Message: "end"})
	if err == nil || s.Location != filepath.Join(q.dir, q.log.Name()) || !strings.Contains(err.Error(), s.Location) {
		t.Fatalf("%+v, %v", s, err)
	}
	if r := q.verify(); r.Verdict != acquire.VerdictOK || s.Signature != s.Location+".sig" {
		t.Errorf("%+v, %+v", r, s)
	}
	// So it does when there was no time left for that place.
	late := newPlace(t)
	ended, stop := context.WithCancel(t.Context())
	stop()
	other, _ := sink.NewDisk(t.TempDir())
	if s, err = late.log.Close(ended, other, late.signer, Entry{Message: "end"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", s, err)
	}
	if r := late.verify(); r.Verdict != acquire.VerdictOK || s.Location != filepath.Join(late.dir, late.log.Name()) {
		t.Errorf("%+v, %+v", r, s)
	}
	// It waits there in pieces: its signature waits with it, and both are here too.
	w := newPlace(t)
	pieces := &pendingSink{Disk: other}
	s, err = w.log.Close(t.Context(), pieces, w.signer, Entry{Message: "end"})
	if pending, ok := errors.AsType[*acquire.PendingError](err); !ok || strings.Count(err.Error(), "is not there yet") != 1 {
		t.Fatalf("%+v, %v, %v", s, pending, err)
	}
	if r := w.verify(); r.Verdict != acquire.VerdictOK {
		t.Errorf("%+v", r)
	}
	if name := w.log.Name(); !slices.Equal(pieces.names, []string{name, name + ".sig"}) {
		t.Errorf("what waits: %q", pieces.names)
	}
}

func TestSameSecond(t *testing.T) {
	disk, _ := sink.NewDisk(t.TempDir())
	at := time.Date(2026, 11, 22, 4, 48, 7, 0, time.UTC)
	o := Options{Case: "../a b", Live: disk, Now: func() time.Time { return at }, Problem: func(err error) { t.Error(err) }}
	a, b := Start(t.Context(), o), Start(t.Context(), o)
	for _, l := range []*Log{a, b} {
		l.Add(Entry{Event: EventStart, Message: "x"})
		if _, err := l.Close(t.Context(), disk, nil, Entry{Message: "end"}); err != nil {
			t.Error(err)
		}
	}
	if a.Name() != "_a_b-20261122T044807Z-audit.jsonl" || b.Name() != b.Run()+"-"+a.Name() {
		t.Errorf("%q, %q", a.Name(), b.Name())
	}
}

func TestConcurrent(t *testing.T) {
	p := newPlace(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				p.log.Add(Entry{Event: "problem", Message: "x"})
				p.log.Head()
			}
		})
	}
	wg.Wait()
	p.close()
	if r := p.verify(); r.Verdict != acquire.VerdictOK || r.Lines != 402 {
		t.Errorf("%+v", r)
	}
}

func FuzzVerify(f *testing.F) {
	e := Entry{Event: EventStart, Seq: 1}
	line, _ := e.encode(time.Unix(1, 0), none)
	f.Add(line)
	f.Add([]byte("{}\n{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		disk, _ := sink.NewDisk(t.TempDir())
		name := "x" + Suffix
		if err := os.WriteFile(filepath.Join(disk.String(), name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := Verify(t.Context(), disk, name, VerifyOptions{})
		if err != nil || r.Verdict == acquire.VerdictOK {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// TestManyEnds: only the first end is compared with all lines before it, so that a log of nothing but
// ends costs what its size costs.
func TestManyEnds(t *testing.T) {
	p := newPlace(t)
	p.manifest("web1")
	p.close()
	line := []byte(`{"event":"end"}` + "\n")
	p.write(p.log.Name(), append(p.read(p.log.Name()), bytes.Repeat(line, 10)...))
	told := 0
	for _, one := range p.verify().Problems {
		if strings.Contains(one.Detail, "the end names") {
			told++
		}
	}
	if told != 0 {
		t.Errorf("%d lines after the end were taken for it", told)
	}
}

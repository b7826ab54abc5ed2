package convert

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// TestInterim: an image that has its interim manifest alone is held against it, and what is made of it is not complete.
func TestInterim(t *testing.T) {
	interim := func(t *testing.T) *place {
		p := newPlace(t)
		p.image("a.lime.zst", frame.Zstd, stream())
		m, err := acquire.ParseManifest(p.get("a.lime.zst.json"))
		if err != nil {
			t.Fatal(err)
		}
		m.Interim = "written before swap was read"
		data, err := m.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signature.Sign(data, p.signer)
		if err != nil {
			t.Fatal(err)
		}
		p.put("a.lime.zst.interim", data)
		p.put("a.lime.zst.interim.sig", sig)
		for _, name := range []string{"a.lime.zst.json", "a.lime.zst.json.sig"} {
			if err := os.Remove(filepath.Join(p.dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	p := interim(t)
	res, err := p.run("a.lime.zst", Options{Form: forms.Gzip})
	if err != nil || res.Complete || res.Mismatch || len(res.Reasons) != 1 || !strings.Contains(res.Reasons[0], "interim") {
		t.Fatalf("%v, %+v", err, res)
	}
	if s := res.Source.Manifest; s == nil || !s.Interim || s.Name != "a.lime.zst.interim" || !s.Signature.Trusted {
		t.Errorf("%+v", s)
	}
	p.verify("a.lime.gz", acquire.VerdictPartial)
	for _, name := range []string{"a.lime.zst.interim", "a.lime.zst.interim.sig"} {
		if got := imageOf(name); got != "a.lime.zst" {
			t.Errorf("%s belongs to %s", name, got)
		}
	}

	p = interim(t)
	other := stream()
	other[1<<20] ^= 1
	q := newPlace(t)
	q.image("a.lime.zst", frame.Zstd, other)
	p.put("a.lime.zst", q.get("a.lime.zst"))
	if res, err := p.run("a.lime.zst", Options{Form: forms.Gzip}); err != nil || !res.Mismatch {
		t.Errorf("another image: %v, %+v", err, res)
	}
}

// TestCutBehindHeader makes every form of an image that ends with the header of a record.
func TestCutBehindHeader(t *testing.T) {
	p := newPlace(t)
	raw := stream()
	p.image("a.lime.zst", frame.Zstd, raw[:lime.Total(ranges[:2])+lime.HeaderSize])
	for _, f := range forms.All {
		name := "b" + f.Suffix()
		res, err := p.run("a.lime.zst.partial", Options{Form: f, Name: name})
		if err != nil || res.Complete || res.Mismatch {
			t.Errorf("%s: %v, %+v", f, err, res)
			continue
		}
		p.verify(name+".partial", acquire.VerdictPartial)
		if res, err := p.run(name+".partial", Options{Form: forms.ELF, Name: string(f) + ".elf"}); err != nil || res.Complete || res.Mismatch {
			t.Errorf("%s to elf: %v, %+v", f, err, res)
		}
	}
	p.image("none.lime", frame.None, raw[:lime.HeaderSize])
	if _, err := p.run("none.lime.partial", Options{Form: forms.ELF}); !errors.Is(err, forms.ErrForm) {
		t.Errorf("a core without memory: %v", err)
	}
}

// TestMachine carries over of which machine and kernel an image is, whatever lies between capture and core.
func TestMachine(t *testing.T) {
	p := newPlace(t)
	p.image("a.lime.zst", frame.Zstd, stream())
	m, err := acquire.ParseManifest(p.get("a.lime.zst.json"))
	if err != nil {
		t.Fatal(err)
	}
	m.Target.Facts = &acquire.Facts{Machine: "aarch64", Kernel: "6.1.0-test"}
	data, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := signature.Sign(data, p.signer)
	if err != nil {
		t.Fatal(err)
	}
	p.put("a.lime.zst.json", data)
	p.put("a.lime.zst.json.sig", sig)
	machine := func(name string) elf.Machine {
		f, err := elf.NewFile(bytes.NewReader(p.get(name)))
		if err != nil {
			t.Fatal(err)
		}
		return f.Machine
	}
	run := func(from, to string, o Options) {
		t.Helper()
		o.Name = to
		res, err := p.run(from, o)
		if err != nil || !res.Complete || res.Machine != "aarch64" || res.Release != "6.1.0-test" {
			t.Fatalf("%s: %v, %+v", to, err, res)
		}
		if o.Form == forms.ELF && machine(to) != elf.EM_AARCH64 {
			t.Errorf("%s is of %v", to, machine(to))
		}
	}
	run("a.lime.zst", "b.lime.gz", Options{Form: forms.Gzip})
	run("b.lime.gz", "c.elf", Options{Form: forms.ELF})
	run("c.elf", "d.raw", Options{Form: forms.Raw})
	run("d.raw", "e.elf", Options{Form: forms.ELF})
	p.signers = nil
	run("c.elf", "f.elf", Options{Form: forms.ELF, Unchecked: true}) // by its own header
}

// TestBesideTaken does no work that could not be kept.
func TestBesideTaken(t *testing.T) {
	for _, taken := range []string{".frames", ".json", ".json.sig"} {
		p := newPlace(t)
		p.image("a.lime", frame.None, stream())
		p.put("b.lime.gz"+taken, []byte("mine"))
		begun := false
		_, err := p.run("a.lime", Options{Form: forms.Gzip, Name: "b.lime.gz", Progress: func(int64, int64) { begun = true }})
		if !errors.Is(err, sink.ErrExists) || begun {
			t.Errorf("%s: %v, begun: %t", taken, err, begun)
		}
		if _, err := os.Stat(filepath.Join(p.dir, "b.lime.gz")); err == nil {
			t.Errorf("%s: the image is there", taken)
		}
	}
	p := newPlace(t)
	p.image("a.lime", frame.None, stream())
	if _, err := p.run("a.lime", Options{Form: forms.Gzip, Name: "b.json"}); err == nil {
		t.Error("an image called as a manifest is")
	}
}

// A failing sink's objects cannot be ended, and perhaps not be removed.
type failing struct {
	sink.Sink
	stays bool
}

var errFull = errors.New("the disk is full")

func (f failing) Create(ctx context.Context, name string) (sink.Object, error) {
	obj, err := f.Sink.Create(ctx, name)
	return failingObject{obj, f.stays}, err
}

type failingObject struct {
	sink.Object
	stays bool
}

func (failingObject) Commit(context.Context) (sink.Receipt, error) { return sink.Receipt{}, errFull }

func (o failingObject) Abort(ctx context.Context) error {
	if o.stays {
		return errors.New("no route to the disk")
	}
	return o.Object.Abort(ctx)
}

// TestLeft says that bytes are left where, and only where, they are.
func TestLeft(t *testing.T) {
	for _, stays := range []bool{false, true} {
		p := newPlace(t)
		p.image("a.lime", frame.None, stream())
		_, err := Run(t.Context(), p.disk, "a.lime", Options{Form: forms.Gzip, Sink: failing{p.disk, stays}})
		var left *LeftError
		if !errors.Is(err, errFull) || errors.As(err, &left) != stays {
			t.Errorf("stays: %t, %v", stays, err)
		}
		_, there := os.Stat(filepath.Join(p.dir, "a.lime.gz.partial"))
		if (there == nil) != stays || strings.Contains(err.Error(), "a.lime.gz.partial") != stays {
			t.Errorf("stays: %t, %v, and the file: %v", stays, err, there)
		}
	}
}

// TestHostileRecord does not follow a record to the end of its numbers.
func TestHostileRecord(t *testing.T) {
	for _, ranges := range [][]lime.Range{{{Start: 0, End: 1<<61 - 1}}, {{Start: 0, End: 1<<62 - 1}, {Start: 0, End: 1<<62 - 1}, {Start: 0, End: 1<<62 - 1}, {Start: 0, End: 1<<62 - 1}, {Start: 0, End: 1}}} {
		p := newPlace(t)
		p.image("a.lime", frame.None, stream())
		if _, err := p.run("a.lime", Options{Form: forms.Raw}); err != nil {
			t.Fatal(err)
		}
		r, err := ParseRecord(p.get("a.raw.json"))
		if err != nil {
			t.Fatal(err)
		}
		r.Ranges = ranges
		data, err := r.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		p.put("a.raw.json", data)
		if err := os.Remove(filepath.Join(p.dir, "a.raw.json.sig")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		v, err := Verify(ctx, p.disk, "a.raw", acquire.VerifyOptions{Signers: p.signers})
		if err != nil || v.Verdict != acquire.VerdictMismatch {
			t.Errorf("%v, %+v", err, v)
		}
		if _, err := Run(ctx, p.disk, "a.raw", Options{Form: forms.Zstd, Sink: p.disk}); !errors.Is(err, ErrManifest) {
			t.Errorf("%v", err)
		}
		cancel()
	}
	p := newPlace(t)
	p.image("a.lime", frame.None, stream())
	if _, err := p.run("a.lime", Options{Form: forms.Raw}); err != nil {
		t.Fatal(err)
	}
	p.put("a.raw.json", append(p.get("a.raw.json"), '\n')) // another than was signed
	if v := p.verify("a.raw", acquire.VerdictMismatch); v.Decoded {
		t.Error("a record that nobody vouches for was followed")
	}
}

// TestBelieved: a record that no trusted key signed has no more read than its stored bytes can be believed to hold.
func TestBelieved(t *testing.T) {
	p := newPlace(t)
	p.image("a.lime.zst", frame.Zstd, stream())
	for _, c := range []struct {
		name string
		form forms.Form
		lie  func(r *Record)
		says string
	}{
		{"memory that is not stored", forms.AVML1, func(r *Record) {
			r.Ranges = append(r.Ranges, lime.Range{Start: 1 << 40, End: 1<<40 + 1<<49 - 1})
			r.Memory.Bytes = lime.Total(r.Ranges)
		}, "the record lists 5629"},
		{"a file with holes", forms.Raw, func(r *Record) {
			name := filepath.Join(p.dir, r.Image.Name)
			if err := os.Truncate(name, 8<<40); err != nil {
				t.Skip(err)
			}
			r.Image.Stored.Bytes = 8 << 40
		}, "the file is 8796093022208 bytes long"},
	} {
		t.Run(c.name, func(t *testing.T) {
			res, err := p.run("a.lime.zst", Options{Form: c.form})
			if err != nil {
				t.Fatal(err)
			}
			r := res.Record
			c.lie(r)
			r.Source.Manifest.Memory = r.Memory
			data, err := r.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			paper := r.Image.Name + ".json"
			p.put(paper, data)
			if err := os.Remove(filepath.Join(p.dir, paper+".sig")); err != nil {
				t.Fatal(err)
			}
			for _, sign := range []bool{false, true} {
				if sign { // by a key that is not trusted
					sig, err := signature.Sign(data, newPlace(t).signer)
					if err != nil {
						t.Fatal(err)
					}
					p.put(paper+".sig", sig)
				}
				ctx, stop := context.WithTimeout(t.Context(), time.Minute)
				defer stop()
				v, err := Verify(ctx, p.disk, r.Image.Name, acquire.VerifyOptions{Signers: p.signers})
				if err != nil {
					t.Fatal(err)
				}
				if v.Verdict != acquire.VerdictUntrusted || v.Decoded || v.Stored > 0 || len(v.NotChecked) != 1 || !strings.Contains(v.NotChecked[0], c.says) {
					t.Errorf("%+v", v)
				}
			}
		})
	}
	// Trusted, it is followed.
	v := &Verification{Record: &Record{Ranges: []lime.Range{{Start: 0, End: 1<<49 - 1}}}}
	f, err := p.disk.Open(t.Context(), "a.lime.zst")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if v.tooMuch(f) == "" {
		t.Error("unsigned, and believed")
	}
	if v.Signature.Trusted = true; v.tooMuch(f) != "" {
		t.Error("trusted, and not believed")
	}
}

package convert

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

// A place is a folder of evidence, and a key.
type place struct {
	t       *testing.T
	dir     string
	disk    *sink.Disk
	signer  ssh.Signer
	signers *signature.AllowedSigners
}

func newPlace(t *testing.T) *place {
	dir := t.TempDir()
	disk, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	list, err := signature.ParseAllowedSigners(strings.NewReader("me "+string(ssh.MarshalAuthorizedKey(s.PublicKey()))), "signers")
	if err != nil {
		t.Fatal(err)
	}
	return &place{t, dir, disk, s, list}
}

var ranges = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x2fffff}, {Start: 0x2000000, End: 0x21fffff}}

const info = "OSRELEASE=6.1.0-test\nPAGESIZE=4096\nSYMBOL(init_uts_ns)=ffffffff82615200\n"

// stream is a LiME stream with VMCOREINFO in it.
func stream() []byte {
	var b bytes.Buffer
	w := lime.NewWriter(&b)
	r := rand.New(rand.NewPCG(1, 2))
	for i, x := range ranges {
		w.Begin(x)
		data := make([]byte, x.Size())
		if i < 2 {
			for j := range data {
				data[j] = byte(r.IntN(4)) * 'a'
			}
		} else {
			copy(data[1<<20:], info)
		}
		w.Write(data)
	}
	return b.Bytes()
}

// image stores a stream as a capture does, with manifest, signature and frame index.
func (p *place) image(name, compression string, raw []byte, to ...agefile.Recipient) {
	p.t.Helper()
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	var out bytes.Buffer
	walker := lime.NewWalker(lime.WalkerOptions{})
	res, err := pipeline.Run(p.t.Context(), bytes.NewReader(raw), &out, pipeline.Options{Pool: pool, Compression: compression, Walker: walker, Recipients: to})
	if err != nil {
		p.t.Fatal(err)
	}
	rep, werr := walker.Finish()
	m := &acquire.Manifest{Type: acquire.ManifestType, Version: acquire.ManifestVersion, Complete: werr == nil, Stream: rep, RAM: ranges}
	if werr != nil {
		m.Reasons = []string{"cut"}
	}
	m.Image = acquire.Image{
		Name: name, Format: "lime", Compression: compression, Encryption: encryptionNone,
		Raw: acquire.Digest{Bytes: res.Raw.Bytes, SHA256: res.Raw.SHA256.String()}, Stored: acquire.Digest{Bytes: res.Stored.Bytes, SHA256: res.Stored.SHA256.String()},
	}
	if len(to) > 0 {
		m.Image.Encryption = encryptionAge
	}
	var index bytes.Buffer
	if _, err := res.Index.WriteTo(&index); err != nil {
		p.t.Fatal(err)
	}
	sum := sha256.Sum256(index.Bytes())
	m.Image.Frames = &acquire.Frames{Name: name + acquire.FramesSuffix, Digest: acquire.Digest{Bytes: int64(index.Len()), SHA256: hex.EncodeToString(sum[:])}}
	data, err := m.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	sig, err := signature.Sign(data, p.signer)
	if err != nil {
		p.t.Fatal(err)
	}
	file := name
	if !m.Complete {
		file += sink.PartialSuffix
	}
	for name, b := range map[string][]byte{file: out.Bytes(), name + ".frames": index.Bytes(), name + ".json": data, name + ".json.sig": sig} {
		p.put(name, b)
	}
}

func (p *place) put(name string, b []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), b, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

func (p *place) get(name string) []byte {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

func (p *place) run(name string, o Options) (*Result, error) {
	o.Sink, o.Signer, o.Signers = p.disk, p.signer, p.signers
	return Run(p.t.Context(), p.disk, name, o)
}

func (p *place) verify(name string, want string, ids ...age.Identity) *Verification {
	p.t.Helper()
	v, err := Verify(p.t.Context(), p.disk, name, acquire.VerifyOptions{Signers: p.signers, Identities: ids})
	if err != nil {
		p.t.Fatal(err)
	}
	if v.Verdict != want {
		p.t.Errorf("%s is %s, want %s: %+v", name, v.Verdict, want, v)
	}
	return v
}

// TestEveryForm goes from a capture to every form, from that to every other, and back: the digest stays, and every step
// verifies.
func TestEveryForm(t *testing.T) {
	p := newPlace(t)
	raw := stream()
	p.image("a.lime.zst", frame.Zstd, raw)
	sum := sha256.Sum256(raw)
	want := acquire.Digest{Bytes: int64(len(raw)), SHA256: hex.EncodeToString(sum[:])}
	for _, f := range forms.All {
		t.Run(string(f), func(t *testing.T) {
			name := "b" + f.Suffix()
			res, err := p.run("a.lime.zst", Options{Form: f, Name: name})
			if err != nil || !res.Complete || res.Mismatch || res.Memory != want {
				t.Fatalf("%v, %+v", err, res)
			}
			paper := sha256.Sum256(p.get("a.lime.zst.json"))
			if s := res.Source.Manifest; s.SHA256 != hex.EncodeToString(paper[:]) || !s.Signature.Trusted {
				t.Errorf("source %+v", s)
			}
			if v := p.verify(name, acquire.VerdictOK); !v.Decoded || v.Memory != want.Bytes {
				t.Errorf("%+v", v)
			}
			if f == forms.ELF && (res.Core.VMCoreInfo != "memory" || res.Core.Release != "6.1.0-test" || !bytes.Contains(p.get(name)[:8192], []byte(info))) {
				t.Errorf("core %+v", res.Core)
			}
			if _, err := acquire.ParseManifest(p.get(name + ".json")); err == nil {
				t.Error("the record passes for the manifest of a capture")
			}
			for _, g := range forms.All {
				next := "c-" + string(f) + g.Suffix()
				res, err := p.run(name, Options{Form: g, Name: next})
				if err != nil || !res.Complete || res.Mismatch || res.Memory != want {
					t.Errorf("%s: %v, %+v", g, err, res)
				}
				if g == forms.Lime && !bytes.Equal(p.get(next), raw) {
					t.Error("another LiME stream")
				}
			}
		})
	}
}

// TestHoles puts no zeros on the disk where the file may have holes.
func TestHoles(t *testing.T) {
	p := newPlace(t)
	p.image("a.lime.zst", frame.Zstd, stream())
	res, err := p.run("a.lime.zst", Options{Form: forms.Raw})
	if err != nil || res.Image.Name != "a.raw" {
		t.Fatalf("%v, %+v", err, res)
	}
	if info, err := os.Stat(filepath.Join(p.dir, "a.raw")); err != nil || info.Size() != 0x2200000 || res.Image.Stored.Bytes != info.Size() {
		t.Fatalf("%v, %v", info, err)
	}
	if n := blocks(t, filepath.Join(p.dir, "a.raw")); n > 6<<20 {
		t.Errorf("the file takes %d bytes", n)
	}
}

func TestEncrypted(t *testing.T) {
	p := newPlace(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	to, err := agefile.ParseRecipient(id.Recipient().String())
	if err != nil {
		t.Fatal(err)
	}
	raw := stream()
	p.image("a.lime.zst.age", frame.Zstd, raw, to)
	if _, err := p.run("a.lime.zst.age", Options{Form: forms.Gzip}); !errors.Is(err, ErrEncrypted) {
		t.Errorf("without a key: %v", err)
	}
	for _, f := range forms.All {
		res, err := p.run("a.lime.zst.age", Options{Form: f, Identities: []age.Identity{id}, Recipients: []agefile.Recipient{to}, Name: "b" + f.Suffix() + ".age"})
		if err != nil || !res.Complete {
			t.Fatalf("%s: %v, %+v", f, err, res)
		}
		if !agefile.Is(p.get(res.Image.Name)) {
			t.Errorf("%s is not encrypted", f)
		}
		p.verify(res.Image.Name, acquire.VerdictIntact)
		p.verify(res.Image.Name, acquire.VerdictOK, id)
		back, err := p.run(res.Image.Name, Options{Form: forms.Lime, Identities: []age.Identity{id}, Name: string(f) + ".lime"})
		if err != nil || !back.Complete || !bytes.Equal(p.get(string(f)+".lime"), raw) {
			t.Errorf("%s: %v, %+v", f, err, back)
		}
	}
}

// TestAltered never calls complete what is not what the manifest says.
func TestAltered(t *testing.T) {
	raw := stream()
	for name, alter := range map[string]func(p *place){
		"a byte of memory": func(p *place) {
			b := p.get("a.lime")
			b[1<<20] ^= 1
			p.put("a.lime", b)
		},
		"another image": func(p *place) {
			b := bytes.Clone(raw)
			b[1<<20] ^= 1
			q := newPlace(t)
			q.image("a.lime", frame.None, b)
			p.put("a.lime", b)
			p.put("a.lime.frames", q.get("a.lime.frames"))
		},
		"cut short": func(p *place) { p.put("a.lime", raw[:len(raw)-5000]) },
		"appended":  func(p *place) { p.put("a.lime", append(bytes.Clone(raw), "more than a header, so that it is one"...)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.image("a.lime", frame.None, raw)
			alter(p)
			for _, f := range forms.All {
				res, err := p.run("a.lime", Options{Form: f, Name: "b" + f.Suffix()})
				if err != nil || res.Complete || !res.Mismatch || len(res.Reasons) == 0 {
					t.Fatalf("%s: %v, %+v", f, err, res)
				}
				if _, err := os.Stat(filepath.Join(p.dir, "b"+f.Suffix()+".partial")); err != nil {
					t.Errorf("%s: %v", f, err)
				}
				p.verify("b"+f.Suffix(), acquire.VerdictPartial)
			}
		})
	}
}

// TestPartial carries over what a partial image has, and that it is partial.
func TestPartial(t *testing.T) {
	p := newPlace(t)
	raw := stream()
	p.image("a.lime.zst", frame.Zstd, raw[:len(raw)-1<<20-5])
	for _, f := range forms.All {
		res, err := p.run("a.lime.zst.partial", Options{Form: f, Name: "b" + f.Suffix()})
		if err != nil || res.Complete || res.Mismatch {
			t.Fatalf("%s: %v, %+v", f, err, res)
		}
		p.verify("b"+f.Suffix()+".partial", acquire.VerdictPartial)
		// On from there.
		back, err := p.run("b"+f.Suffix()+".partial", Options{Form: forms.Lime, Name: string(f) + ".lime"})
		if err != nil || back.Complete {
			t.Errorf("%s and back: %v, %+v", f, err, back)
		}
		n := lime.Total(ranges[:2]) + lime.HeaderSize
		if got := p.get(string(f) + ".lime.partial"); !bytes.Equal(got[n:], raw[n:len(got)]) {
			t.Errorf("%s and back: other memory", f)
		}
	}
}

// TestNothingIsLeft leaves nothing of a conversion that failed.
func TestNothingIsLeft(t *testing.T) {
	p := newPlace(t)
	p.image("a.lime", frame.None, stream())
	before := p.names()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	_, err := Run(ctx, p.disk, "a.lime", Options{Form: forms.Zstd, Sink: p.disk, Progress: func(int64, int64) { cancel(why) }})
	if !errors.Is(err, why) {
		t.Errorf("cancelled: %v", err)
	}
	if _, err := p.run("a.lime", Options{Form: forms.Lime}); !errors.Is(err, sink.ErrExists) {
		t.Errorf("onto itself: %v", err)
	}
	if _, err := p.run("a.lime", Options{Form: forms.Raw, MaxPadding: 1 << 20}); !errors.Is(err, forms.ErrPadding) {
		t.Errorf("too much padding: %v", err)
	}
	if after := p.names(); after != before {
		t.Errorf("before: %s\nafter: %s", before, after)
	}
}

func (p *place) names() string {
	var names []string
	list, _ := os.ReadDir(p.dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestUntrusted(t *testing.T) {
	p := newPlace(t)
	p.image("a.lime", frame.None, stream())
	p.signers = newPlace(t).signers
	if _, err := p.run("a.lime", Options{Form: forms.Zstd}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("%v", err)
	}
	p.put("a.lime.json", []byte("{"))
	p.signers = nil
	if _, err := p.run("a.lime", Options{Form: forms.Zstd}); !errors.Is(err, ErrManifest) {
		t.Errorf("%v", err)
	}
	if res, err := p.run("a.lime", Options{Form: forms.Zstd, Unchecked: true}); err != nil || !res.Complete || res.Source.Manifest != nil {
		t.Errorf("%v, %+v", err, res)
	}
}

// TestVerifyFinds finds what was altered in a converted image or its record.
func TestVerifyFinds(t *testing.T) {
	for name, alter := range map[string]func(p *place){
		"image":   func(p *place) { b := p.get("a.elf"); b[len(b)/2] ^= 1; p.put("a.elf", b) },
		"shorter": func(p *place) { b := p.get("a.elf"); p.put("a.elf", b[:len(b)-1]) },
		"frames":  func(p *place) { b := p.get("a.elf.frames"); b[len(b)-5] ^= 1; p.put("a.elf.frames", b) },
		"record": func(p *place) {
			p.put("a.elf.json", bytes.Replace(p.get("a.elf.json"), []byte(`"complete": true`), []byte(`"complete": false`), 1))
		},
		"no record": func(p *place) { p.put("a.elf.json", []byte(`{"type":"shotglass-conversion"}`)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.image("a.lime", frame.None, stream())
			if _, err := p.run("a.lime", Options{Form: forms.ELF}); err != nil {
				t.Fatal(err)
			}
			p.verify("a.elf", acquire.VerdictOK)
			alter(p)
			p.verify("a.elf", acquire.VerdictMismatch)
		})
	}
}

func TestName(t *testing.T) {
	for in, want := range map[string]string{
		"h-mem.lime.zst": "h-mem.lime.gz", "h-mem.lime.zst.age.partial": "h-mem.lime.gz", "x": "x.lime.gz", "x.avml2": "x.lime.gz", "a.b.elf.gz": "a.b.lime.gz", ".raw": ".raw.lime.gz",
	} {
		if got := Name(in, forms.Gzip, false); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if got := Name("a.lime", forms.ELF, true); got != "a.elf.age" {
		t.Error(got)
	}
}

// TestForeignAVML joins what AVML cut, where nobody says what it was.
func TestForeignAVML(t *testing.T) {
	p := newPlace(t)
	x := lime.Range{Start: 0x1000, End: 0x1000 + 40<<20 - 1}
	for name, f := range map[string]forms.Form{"a.avml1": forms.AVML1, "a.avml2": forms.AVML2} {
		var b bytes.Buffer
		w, err := forms.NewWriter(&b, f, forms.WriteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w.Begin(x)
		w.Write(bytes.Repeat([]byte("memory "), 6<<20)[:x.Size()])
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		p.put(name, b.Bytes())
		p.signers = nil
		res, err := p.run(name, Options{Form: forms.Zstd, Name: name + ".lime.zst"})
		if err != nil || !res.Complete || len(res.Ranges) != 1 || res.Ranges[0] != x {
			t.Errorf("%s: %v, %+v", name, err, res)
		}
	}
}

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

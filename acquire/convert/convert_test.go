package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
)

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

package acquire

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
)

const (
	verifyName   = "web1-mem.lime"
	verifyFrame  = 64 << 10
	verifyBanner = "Linux version 6.1.0-40-amd64 (debian-kernel@lists.debian.org) #1 SMP\n"
)

var (
	verifyRAM    = []lime.Range{{Start: 0x1000, End: 0x9fbff}, {Start: 0x100000, End: 0x17ffff}}
	verifyKernel = uint64(0x123456) // where the banner lies
	verifyTime   = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

// verifyRaw returns the image of a target with verifyRAM.
func verifyRaw(seed uint64) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	var b []byte
	for _, r := range verifyRAM {
		mem := make([]byte, r.Size())
		for at := 0; at < len(mem); at += 3 * 4096 { // a third of the pages is in use
			for i := at; i < min(len(mem), at+4096); i++ {
				mem[i] = byte(rnd.Uint32() & 15)
			}
		}
		if verifyKernel >= r.Start && verifyKernel <= r.End {
			copy(mem[verifyKernel-r.Start:], verifyBanner+"\x00")
		}
		b = append(lime.AppendHeader(b, r), mem...)
	}
	return b
}

func verifySigner(seed byte) ssh.Signer {
	s, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	return s
}

var alice, mallory = verifySigner(1), verifySigner(2)

// allowed trusts alice.
func allowed(t testing.TB, options string) *signature.AllowedSigners {
	t.Helper()
	line := "alice@example.org " + options + string(ssh.MarshalAuthorizedKey(alice.PublicKey()))
	s, err := signature.ParseAllowedSigners(strings.NewReader(line), "allowed_signers")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A verifyCapture says how the image of a test comes about.
type verifyCapture struct {
	compression string
	raw         []byte
	srcErr      error // after raw, instead of io.EOF
	full        int64 // the sink takes no more; 0 is no limit
	to          []agefile.Recipient
	lose        int64 // the sink says that it took all, and keeps so much; 0 is all
}

// take captures into dir the way Run does, but for the target.
func (vc verifyCapture) take(t testing.TB, dir string) Result {
	t.Helper()
	disk, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	opts := Options{Sink: disk, Compression: vc.compression, Recipients: vc.to, Signer: alice, Now: func() time.Time { return verifyTime }}.withDefaults()
	facts := &Facts{Kernel: "6.1.0-40-amd64", Machine: "x86_64", Version: verifyBanner, RAM: verifyRAM, BannerAddress: verifyKernel}
	for _, r := range verifyRAM {
		facts.RAMBytes += int64(r.Size())
	}
	h := &remote{name: "web1", opts: &opts, facts: facts}
	src := io.Reader(bytes.NewReader(vc.raw))
	if vc.srcErr != nil {
		src = io.MultiReader(src, failingReader{vc.srcErr})
	}
	obj, err := disk.Create(t.Context(), verifyName)
	if err != nil {
		t.Fatal(err)
	}
	if vc.full > 0 {
		obj = &fullObject{obj, vc.full}
	}
	if vc.lose > 0 {
		obj = &losingObject{obj, vc.lose}
	}
	c := &capture{
		step: &Step{Host: "web1", Name: verifyName, Facts: facts, Source: "lime"},
		h:    h, opts: &opts, obj: obj, src: fakeStream{src}, clean: &Cleanup{Clean: true},
	}
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	walker := lime.NewWalker(lime.WalkerOptions{Needles: needles(facts), Now: opts.Now})
	c.out, err = pipeline.Run(t.Context(), c.src, c.obj, pipeline.Options{
		Pool: pool, Compression: vc.compression, FrameSize: verifyFrame, Walker: walker, Recipients: vc.to,
	})
	var se *pipeline.SourceError
	if errors.As(err, &se) {
		c.srcErr = se
	}
	var de *pipeline.SinkError
	if errors.As(err, &de) {
		c.sinkErr = de
	}
	c.rep, c.walkErr = walker.Finish()
	return c.seal(t.Context(), false)
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

type fakeStream struct{ io.Reader }

func (fakeStream) Interrupt()                       {}
func (fakeStream) Cleanup(context.Context) *Cleanup { return &Cleanup{Clean: true} }
func (fakeStream) Record(m *Manifest)               { m.Method.Parameters = []string{"timeout=0"} }

// A fullObject takes so many bytes and no more.
type fullObject struct {
	sink.Object
	left int64
}

func (o *fullObject) Write(p []byte) (int, error) {
	if int64(len(p)) <= o.left {
		o.left -= int64(len(p))
		return o.Object.Write(p)
	}
	n, _ := o.Object.Write(p[:o.left])
	o.left = 0
	return n, errors.New("disk full")
}

// A losingObject takes everything and keeps so many bytes.
type losingObject struct {
	sink.Object
	left int64
}

func (o *losingObject) Write(p []byte) (int, error) {
	n := min(int64(len(p)), o.left)
	o.left -= n
	if n, err := o.Object.Write(p[:n]); err != nil {
		return n, err
	}
	return len(p), nil
}

func (o *losingObject) Commit(context.Context) (sink.Receipt, error) {
	return sink.Receipt{}, errors.New("the last part did not arrive")
}

// A verifySet is a captured image with its files, to damage.
type verifySet struct {
	testing.TB
	dir string
}

func newVerifySet(t testing.TB, vc verifyCapture) verifySet {
	t.Helper()
	if vc.raw == nil {
		vc.raw = verifyRaw(7)
	}
	s := verifySet{t, t.TempDir()}
	vc.take(t, s.dir)
	return s
}

// copy returns a copy for a subtest.
func (s verifySet) copy(t testing.TB) verifySet {
	t.Helper()
	c := verifySet{t, filepath.Join(t.TempDir(), "set")}
	if err := os.CopyFS(c.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (s verifySet) path(name string) string { return filepath.Join(s.dir, name) }

func (s verifySet) read(name string) []byte {
	s.Helper()
	b, err := os.ReadFile(s.path(name))
	if err != nil {
		s.Fatal(err)
	}
	return b
}

func (s verifySet) write(name string, b []byte) {
	s.Helper()
	if err := os.WriteFile(s.path(name), b, 0o600); err != nil {
		s.Fatal(err)
	}
}

func (s verifySet) remove(name string) {
	s.Helper()
	if err := os.Remove(s.path(name)); err != nil {
		s.Fatal(err)
	}
}

func (s verifySet) rename(from, to string) {
	s.Helper()
	if err := os.Rename(s.path(from), s.path(to)); err != nil {
		s.Fatal(err)
	}
}

// flip changes one bit.
func (s verifySet) flip(name string, at int) {
	s.Helper()
	b := s.read(name)
	b[at] ^= 1
	s.write(name, b)
}

// edit changes the manifest, and signs it unless by is nil.
func (s verifySet) edit(by ssh.Signer, change func(*Manifest)) {
	s.Helper()
	name := verifyName + ManifestSuffix
	m, err := ParseManifest(s.read(name))
	if err != nil {
		s.Fatal(err)
	}
	change(m)
	data, err := m.Marshal()
	if err != nil {
		s.Fatal(err)
	}
	s.write(name, data)
	if by == nil {
		return
	}
	sig, err := signature.Sign(data, by)
	if err != nil {
		s.Fatal(err)
	}
	s.write(name+SignatureSuffix, sig)
}

func (s verifySet) disk() *sink.Disk {
	s.Helper()
	d, err := sink.NewDisk(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	return d
}

func (s verifySet) verify() *VerifyReport {
	s.Helper()
	rep, err := Verify(s.Context(), s.disk(), verifyName, VerifyOptions{Signers: allowed(s, "")})
	if err != nil {
		s.Fatal(err)
	}
	return rep
}

// whats lists what a report's mismatches are about, each once.
func whats(r *VerifyReport) string {
	var w []string
	for _, p := range r.Problems {
		w = append(w, p.What)
	}
	slices.Sort(w)
	return strings.Join(slices.Compact(w), ", ")
}

func (s verifySet) want(verdict, problems string) *VerifyReport {
	s.Helper()
	rep := s.verify()
	if rep.Verdict != verdict || whats(rep) != problems {
		s.Errorf("verdict %q with problems %q, want %q with %q:\n%s", rep.Verdict, whats(rep), verdict, problems, problemText(rep))
	}
	return rep
}

func problemText(r *VerifyReport) string {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %+v\n", p)
	}
	return b.String()
}

const (
	vManifest = verifyName + ManifestSuffix
	vSig      = vManifest + SignatureSuffix
	vFrames   = verifyName + FramesSuffix
	vPartial  = verifyName + sink.PartialSuffix
)

func eachCompression(t *testing.T, vc verifyCapture, test func(t *testing.T, s verifySet)) {
	for _, c := range frame.Compressions {
		t.Run(c, func(t *testing.T) {
			t.Parallel() // each capture waits for the disk
			vc := vc
			vc.compression = c
			test(t, newVerifySet(t, vc))
		})
	}
}

func TestVerifyGood(t *testing.T) {
	eachCompression(t, verifyCapture{}, func(t *testing.T, s verifySet) {
		raw := int64(len(verifyRaw(7)))
		for _, name := range []string{verifyName, vPartial, vManifest, vFrames, vSig, verifyName + SignatureSuffix} {
			var done, total int64
			rep, err := Verify(t.Context(), s.disk(), name, VerifyOptions{
				Signers: allowed(t, ""), Workers: 2, Progress: func(d, n int64) { done, total = d, n },
			})
			if err != nil {
				t.Fatal(err)
			}
			if rep.Verdict != VerdictOK || len(rep.Problems) > 0 {
				t.Errorf("%s: %s\n%s", name, rep.Verdict, problemText(rep))
			}
			stored := int64(len(s.read(verifyName)))
			if rep.Raw != raw || rep.Stored != stored || rep.Frames != int((raw+verifyFrame-1)/verifyFrame) || rep.Duration <= 0 {
				t.Errorf("%s: raw %d, stored %d, frames %d, in %s", name, rep.Raw, rep.Stored, rep.Frames, rep.Duration)
			}
			if done != stored || total != stored {
				t.Errorf("%s: progress ended with %d of %d", name, done, total)
			}
			if want := s.path(verifyName); filepath.Clean(rep.Image) != want {
				t.Errorf("%s: image %q, want %q", name, rep.Image, want)
			}
			sig := rep.Signature
			if !sig.Present || !sig.Valid || !sig.Trusted || sig.Principal != "alice@example.org" ||
				sig.Fingerprint != ssh.FingerprintSHA256(alice.PublicKey()) || sig.Source != "allowed_signers:1" {
				t.Errorf("%s: signature %+v", name, sig)
			}
			if rep.Manifest == nil || !rep.Manifest.Complete {
				t.Errorf("%s: no complete manifest", name)
			}
		}
	})
}

func TestVerifyGoodPartial(t *testing.T) {
	raw := verifyRaw(7)
	for name, vc := range map[string]verifyCapture{
		"source failed":         {raw: raw[:len(raw)/2], srcErr: errors.New("connection lost")},
		"source ended early":    {raw: raw[:len(raw)-1]},
		"ended in a header":     {raw: raw[:lime.HeaderSize+verifyRAM[0].Size()+7]},
		"whole records missing": {raw: raw[:lime.HeaderSize+verifyRAM[0].Size()]},
		"no image at all":       {raw: []byte("insmod: out of luck")},
		"sink full":             {full: 3*verifyFrame/8 + 1000},
		"sink full in frame 0":  {full: 100},
		"sink full at byte 2":   {full: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachCompression(t, vc, func(t *testing.T, s verifySet) {
				rep := s.want(VerdictPartial, "")
				if filepath.Base(rep.Image) != vPartial {
					t.Errorf("image %q", rep.Image)
				}
				if t.Failed() {
					return
				}
				t.Run("flipped", func(t *testing.T) {
					s := s.copy(t)
					s.flip(vPartial, len(s.read(vPartial))/2)
					if rep := s.verify(); rep.Verdict != VerdictMismatch {
						t.Error(rep.Verdict)
					}
				})
				t.Run("truncated", func(t *testing.T) {
					s := s.copy(t)
					s.write(vPartial, s.read(vPartial)[:1])
					if rep := s.verify(); rep.Verdict != VerdictMismatch {
						t.Error(rep.Verdict)
					}
				})
				t.Run("no index", func(t *testing.T) {
					s := s.copy(t)
					if os.Remove(s.path(vFrames)) == nil {
						s.want(VerdictMismatch, "frames")
					}
				})
				t.Run("called complete by its name", func(t *testing.T) {
					s := s.copy(t)
					s.rename(vPartial, verifyName)
					s.want(VerdictMismatch, "name")
				})
			})
		})
	}
}

// Every byte of every file matters, and the frame that it lies in is named.
func TestVerifyFlippedByte(t *testing.T) {
	eachCompression(t, verifyCapture{}, func(t *testing.T, good verifySet) {
		s := good.copy(t)
		f, err := os.Open(good.path(vFrames))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, err := frame.ParseIndex(f)
		if err != nil {
			t.Fatal(err)
		}
		walked := good.verify().Manifest.Stream.Ranges
		image := good.read(verifyName)
		step := len(image)/40 + 1
		for at := 0; at < len(image); at += step {
			s.write(verifyName, image)
			s.flip(verifyName, at)
			rep := s.verify()
			if rep.Verdict != VerdictMismatch || !strings.Contains(whats(rep), "stored digest") {
				t.Fatalf("byte %d: %s, %s", at, rep.Verdict, whats(rep))
			}
			i := slices.IndexFunc(rep.Problems, func(m Mismatch) bool { return m.What == "frame" })
			want := slices.IndexFunc(x.Entries, func(e frame.Entry) bool { return int64(at) < e.StoredOffset+e.StoredSize })
			switch {
			case want < 0:
				if !strings.Contains(whats(rep), "seek table") {
					t.Errorf("byte %d, in the seek table: %s", at, whats(rep))
				}
			case i < 0:
				t.Errorf("byte %d: no frame named, %s", at, whats(rep))
			default:
				p, e := rep.Problems[i], x.Entries[want]
				addr := addressAt(walked, e.RawOffset)
				if p.Frame != want || p.StoredOffset != e.StoredOffset || p.RawOffset != e.RawOffset || p.Address != addr || addr == "" {
					t.Errorf("byte %d: %+v, want frame %d, %+v, address %s", at, p, want, e, addr)
				}
			}
		}
		s.write(verifyName, image)
		s.want(VerdictOK, "")

		for name, want := range map[string]string{vFrames: "frames", vManifest: "signature", vSig: "signature"} {
			b := good.read(name)
			for at := 0; at < len(b); at += len(b)/25 + 1 {
				s.flip(name, at)
				rep := s.verify()
				if rep.Verdict != VerdictMismatch || !strings.Contains(whats(rep), want) {
					t.Errorf("%s, byte %d: %s, %s", name, at, rep.Verdict, whats(rep))
				}
				if rep.Signature.Trusted != (name == vFrames) || !rep.Signature.Present {
					t.Errorf("%s, byte %d: signature %+v", name, at, rep.Signature)
				}
				if name != vManifest && whats(rep) != want {
					t.Errorf("%s, byte %d: %s", name, at, whats(rep))
				}
				s.write(name, b)
			}
		}
	})
}

func TestVerifyAddress(t *testing.T) {
	first := int64(lime.HeaderSize + verifyRAM[0].Size())
	var ranges []lime.RangeReport
	for off, i := int64(0), 0; i < len(verifyRAM); i++ {
		ranges = append(ranges, lime.RangeReport{Range: verifyRAM[i], Offset: off, Bytes: verifyRAM[i].Size()})
		off += lime.HeaderSize + int64(verifyRAM[i].Size())
	}
	for off, want := range map[int64]string{
		-1: "", 0: "0x1000", 31: "0x1000", 32: "0x1000", 33: "0x1001", first - 1: "0x9fbff",
		first: "0x100000", first + 32 + 4096: "0x101000", int64(len(verifyRaw(7))) - 1: "0x17ffff", int64(len(verifyRaw(7))): "",
	} {
		if got := addressAt(ranges, off); got != want {
			t.Errorf("addressAt(%d) = %q, want %q", off, got, want)
		}
	}
}

func TestVerifyDamage(t *testing.T) {
	other := verifyRaw(8)
	type tests []struct {
		name     string
		damage   func(s verifySet)
		verdict  string
		problems string // by compression none; "zstd|none" when they differ
		detail   string // in some problem
	}
	raw := verifyRaw(7)
	eachCompression(t, verifyCapture{}, func(t *testing.T, good verifySet) {
		o := newVerifySet(t, verifyCapture{compression: good.verify().Manifest.Image.Compression, raw: other})
		swap := func(s verifySet) { s.write(verifyName, o.read(verifyName)) }
		for _, c := range (tests{
			{"truncated", func(s verifySet) { b := s.read(verifyName); s.write(verifyName, b[:len(b)/2]) },
				VerdictMismatch, "banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|banner, complete, frame, ranges, raw digest, stored digest, structure", "file ends before the end of the frame"},
			{"last byte gone", func(s verifySet) { b := s.read(verifyName); s.write(verifyName, b[:len(b)-1]) },
				VerdictMismatch, "seek table, stored digest|complete, frame, ranges, raw digest, stored digest, structure", ""},
			{"emptied", func(s verifySet) { s.write(verifyName, nil) },
				VerdictMismatch, "banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|banner, complete, frame, ranges, raw digest, stored digest, structure", ""},
			{"byte appended", func(s verifySet) { s.write(verifyName, append(s.read(verifyName), 0)) },
				VerdictMismatch, "appended, stored digest", "1 bytes follow"},
			{"image swapped", swap,
				VerdictMismatch, "appended, banner, complete, frame, ranges, raw digest, seek table, stored digest, structure|frame, raw digest, stored digest", "SHA-256 of the stored bytes differs"},
			{"image and index swapped", func(s verifySet) {
				swap(s)
				s.write(vFrames, o.read(vFrames))
			}, VerdictMismatch, "frames, raw digest, stored digest", ""},
			{"set swapped, signed by another", func(s verifySet) {
				swap(s)
				s.edit(mallory, func(m *Manifest) {
					b := s.read(verifyName)
					m.Image.Stored = digestOf(b)
					m.Image.Raw = digestOf(other)
					m.Image.Frames = nil
				})
			}, VerdictUntrusted, "", ""},
			{"index missing", func(s verifySet) { s.remove(vFrames) },
				VerdictMismatch, "frames", "there is no " + vFrames},
			{"index missing, image damaged", func(s verifySet) { s.remove(vFrames); s.flip(verifyName, len(s.read(verifyName))*2/3) },
				VerdictMismatch, "frame, frames, raw digest, stored digest|frames, raw digest, stored digest", ""},
			{"index truncated", func(s verifySet) { b := s.read(vFrames); s.write(vFrames, b[:len(b)-10]) },
				VerdictMismatch, "frames", ""},
			{"index without digests of the manifest's size", func(s verifySet) {
				s.write(vFrames, bytes.Repeat([]byte{'x'}, len(s.read(vFrames))))
			}, VerdictMismatch, "frames", ""},
			{"seek table cut, index gone", func(s verifySet) {
				b := s.read(verifyName)
				s.write(verifyName, b[:len(b)-9])
				s.remove(vFrames)
			}, VerdictMismatch, "frames, seek table, stored digest|complete, frames, ranges, raw digest, stored digest, structure", ""},
			{"signature missing", func(s verifySet) { s.remove(vSig) }, VerdictUntrusted, "", ""},
			{"signature empty", func(s verifySet) { s.write(vSig, nil) }, VerdictMismatch, "signature", ""},
			{"signature too large", func(s verifySet) { s.write(vSig, make([]byte, MaxSignature+1)) }, VerdictMismatch, "signature", "too large"},
			{"signature by another", func(s verifySet) { s.edit(mallory, func(*Manifest) {}) }, VerdictUntrusted, "", ""},
			{"edited, signed by another", func(s verifySet) { s.edit(mallory, func(m *Manifest) { m.Case = "another" }) }, VerdictUntrusted, "", ""},
			{"edited, not signed again", func(s verifySet) { s.edit(nil, func(m *Manifest) { m.Case = "another" }) }, VerdictMismatch, "signature", ""},
			{"digests edited, signed by another", func(s verifySet) {
				s.edit(mallory, func(m *Manifest) {
					m.Image.Raw.SHA256, m.Image.Stored.SHA256 = strings.Repeat("0", 64), strings.Repeat("1", 64)
				})
			}, VerdictMismatch, "raw digest, stored digest", strings.Repeat("1", 64)},
			{"digest in capitals", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Raw.SHA256 = strings.ToUpper(m.Image.Raw.SHA256) })
			}, VerdictMismatch, "raw digest", ""},
			{"sizes edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Raw.Bytes++; m.Image.Stored.Bytes = -1 })
			}, VerdictMismatch, "frames, raw digest, stored digest", ""},
			{"manifest of another image", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Name = "web2-mem.lime"; m.Image.Frames.Name = "web2-mem.lime.frames" })
			}, VerdictMismatch, "name", `"web2-mem.lime"`},
			{"manifest not JSON", func(s verifySet) { s.write(vManifest, []byte("{\n \"type\": }")) },
				VerdictMismatch, "manifest, signature", "line 2"},
			{"manifest of a later version", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Version = 2 }) },
				VerdictMismatch, "manifest", "version 2"},
			{"manifest too large", func(s verifySet) {
				if err := os.Truncate(s.path(vManifest), MaxManifest+1); err != nil {
					s.Fatal(err)
				}
			}, VerdictMismatch, "manifest", "too large"},
			{"both forms", func(s verifySet) { s.write(vPartial, raw) },
				VerdictMismatch, "name", "both"},
			{"only the partial form", func(s verifySet) { s.rename(verifyName, vPartial) },
				VerdictMismatch, "name", "only " + vPartial + " is there"},
			{"contradicts itself", func(s verifySet) {
				s.edit(alice, func(m *Manifest) {
					m.Image.Partial = true
					m.Reasons = []string{"stream: lost"}
					m.Checks[0].Result = Fail
				})
			}, VerdictMismatch, "manifest", "stream: lost"},
			{"compression unknown", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Compression = "lz4"; m.Image.Frames = nil })
			},
				VerdictMismatch, "banner, complete, manifest, ranges, raw digest, structure", `"lz4"`},
			{"compression, encryption and format edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Image.Compression, m.Image.Encryption, m.Image.Format = "gzip", "aes", "raw" })
			}, VerdictMismatch, "frames, manifest", `"aes"`},
			{"records edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Ranges[1].Range.Start += 4096 })
			}, VerdictMismatch, "structure", "record 1 is 0x100000-0x17ffff"},
			{"record left out", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Ranges = m.Stream.Ranges[:1] })
			}, VerdictMismatch, "structure", ""},
			{"no records", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Stream = nil }) },
				VerdictMismatch, "manifest", ""},
			{"System RAM edited", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.RAM = append(m.RAM, lime.Range{Start: 0x200000, End: 0x2fffff}) })
			}, VerdictMismatch, "ranges", "0x200000-0x2fffff"},
			{"banner moved", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Stream.Found[0].Addrs[0] += 16 })
			}, VerdictMismatch, "banner", "0x123466"},
			{"banner of another kernel", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Target.Facts.BannerAddress += 16 })
			}, VerdictMismatch, "banner", "is not at 0x123466"},
			{"version that starts with a zero byte", func(s verifySet) {
				s.edit(alice, func(m *Manifest) { m.Target.Facts.Version = "\x00" + verifyBanner })
			}, VerdictMismatch, "banner", ""},
			{"no facts", func(s verifySet) { s.edit(alice, func(m *Manifest) { m.Target.Facts = nil }) },
				VerdictMismatch, "manifest", ""},
		}) {
			t.Run(c.name, func(t *testing.T) {
				s := good.copy(t)
				c.damage(s)
				zstd, none, ok := strings.Cut(c.problems, "|")
				if ok && strings.HasSuffix(filepath.Dir(t.Name()), frame.None) {
					zstd = none
				}
				rep := s.want(c.verdict, zstd)
				if !strings.Contains(problemText(rep), c.detail) {
					t.Errorf("no problem says %q:\n%s", c.detail, problemText(rep))
				}
				for _, p := range rep.Problems {
					if p.Detail == "" || (p.Frame >= 0) != (p.What == "frame") {
						t.Errorf("%+v", p)
					}
				}
			})
		}
	})
}

func digestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest{int64(len(b)), hex.EncodeToString(sum[:])}
}

// A manifest that calls a short image complete is caught, whoever signed it and
// however well its digests fit.
func TestVerifyLyingManifest(t *testing.T) {
	raw := verifyRaw(7)
	one := lime.HeaderSize + int(verifyRAM[0].Size())
	for _, c := range []struct {
		name     string
		raw      []byte
		lie      func(*Manifest)
		problems string
	}{
		{"cut short", raw[:len(raw)-4096], func(*Manifest) {}, "complete, ranges"},
		{"cut short, RAM too", raw[:len(raw)-4096], func(m *Manifest) {
			m.RAM = slices.Clone(m.RAM)
			m.RAM[1].End -= 4096
		}, "complete"},
		{"cut short, records too", raw[:len(raw)-4096], func(m *Manifest) {
			m.Stream.Complete, m.Stream.Problems = true, nil
		}, "complete, ranges, structure"},
		{"a record left out", raw[:one], func(*Manifest) {}, "banner, ranges"},
		{"bytes at the end", append(slices.Clone(raw), 1, 2, 3), func(*Manifest) {}, "complete"},
		{"no record", []byte("LiME, honestly"), func(*Manifest) {}, "banner, complete, ranges"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			eachCompression(t, verifyCapture{raw: c.raw}, func(t *testing.T, s verifySet) {
				s.want(VerdictPartial, "")
				s.edit(alice, func(m *Manifest) {
					m.Complete, m.Reasons, m.Image.Partial = true, nil, false
					m.Image.Location = strings.TrimSuffix(m.Image.Location, sink.PartialSuffix)
					for i := range m.Checks {
						m.Checks[i].Result = Pass
					}
					c.lie(m)
				})
				s.rename(vPartial, verifyName)
				s.want(VerdictMismatch, c.problems)
			})
		})
	}
}

func TestVerifyErrors(t *testing.T) {
	good := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	o := VerifyOptions{Signers: allowed(t, "")}
	t.Run("no manifest", func(t *testing.T) {
		s := good.copy(t)
		s.remove(vManifest)
		rep, err := Verify(t.Context(), s.disk(), verifyName, o)
		if rep != nil || !errors.Is(err, fs.ErrNotExist) ||
			!strings.Contains(err.Error(), "no manifest, no evidence") || !strings.Contains(err.Error(), vManifest) {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("no image", func(t *testing.T) {
		s := good.copy(t)
		s.remove(verifyName)
		rep, err := Verify(t.Context(), s.disk(), vManifest, o)
		if rep != nil || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no image") {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("image is a folder", func(t *testing.T) {
		s := good.copy(t)
		s.remove(verifyName)
		if err := os.Mkdir(s.path(verifyName), 0o700); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(t.Context(), s.disk(), verifyName, o); rep != nil || err == nil {
			t.Errorf("%v, %v", rep, err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if rep, err := Verify(ctx, good.disk(), verifyName, o); rep != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("before: %v, %v", rep, err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		defer cancel()
		o := o
		o.Progress = func(int64, int64) { cancel() }
		if rep, err := Verify(ctx, good.disk(), verifyName, o); rep != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("midway: %v, %v", rep, err)
		}
	})
}

// A watchingOpener knows which files were asked for.
type watchingOpener struct {
	sink.Opener
	names map[string]bool
}

func (o watchingOpener) Open(ctx context.Context, name string) (sink.Reader, error) {
	o.names[name] = true
	return o.Opener.Open(ctx, name)
}

func TestVerifyTraversal(t *testing.T) {
	good := newVerifySet(t, verifyCapture{compression: frame.None})
	for _, name := range []string{
		"", ".", "..", ".json", ".partial", ".json.sig", "../" + verifyName, "/etc/passwd", "a/" + verifyName, `..\` + verifyName, "x\x00", "-x",
		"../" + vManifest, strings.Repeat("x", sink.MaxName+1),
	} {
		w := watchingOpener{good.disk(), map[string]bool{}}
		if rep, err := Verify(t.Context(), w, name, VerifyOptions{}); rep != nil || err == nil || len(w.names) > 0 {
			t.Errorf("%q: %v, %v, opened %v", name, rep, err, w.names)
		}
	}
	for _, name := range []string{"../../etc/passwd", "/etc/passwd", "other", ""} {
		s := good.copy(t)
		s.edit(alice, func(m *Manifest) {
			m.Image.Name, m.Image.Location, m.Image.Frames.Name = name, name+sink.PartialSuffix, name+"/frames"
		})
		w := watchingOpener{s.disk(), map[string]bool{}}
		rep, err := Verify(t.Context(), w, verifyName, VerifyOptions{Signers: allowed(t, "")})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != VerdictMismatch || whats(rep) != "name" {
			t.Errorf("%q: %s, %s", name, rep.Verdict, whats(rep))
		}
		for opened := range w.names {
			if !strings.HasPrefix(opened, verifyName) {
				t.Errorf("%q: opened %q", name, opened)
			}
		}
	}
}

func TestVerifyTime(t *testing.T) {
	s := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	for _, c := range []struct {
		options string
		at      time.Time
		want    string
	}{
		{"", time.Time{}, VerdictOK},
		{`valid-before="20200101Z" `, time.Time{}, VerdictUntrusted}, // now, whatever the manifest says
		{`valid-before="20270101Z" `, verifyTime, VerdictOK},
		{`valid-before="20270101Z" `, verifyTime.AddDate(1, 0, 0), VerdictUntrusted},
		{`valid-after="20270101Z" `, verifyTime, VerdictUntrusted},
		{`namespaces="file" `, verifyTime, VerdictUntrusted},
	} {
		rep, err := Verify(t.Context(), s.disk(), verifyName, VerifyOptions{Signers: allowed(t, c.options), At: c.at})
		if err != nil {
			t.Fatal(err)
		}
		if rep.Verdict != c.want || !rep.Signature.Valid || rep.Signature.Trusted != (c.want == VerdictOK) {
			t.Errorf("%q at %v: %s, %+v", c.options, c.at, rep.Verdict, rep.Signature)
		}
	}
	rep, err := Verify(t.Context(), s.disk(), verifyName, VerifyOptions{})
	if err != nil || rep.Verdict != VerdictUntrusted || !rep.Signature.Valid || rep.Signature.Fingerprint == "" {
		t.Errorf("no signers: %+v, %v", rep, err)
	}
}

// Where nothing can be renamed, a partial image lies under its final name.
func TestVerifyPartialUnderFinalName(t *testing.T) {
	raw := verifyRaw(7)
	s := newVerifySet(t, verifyCapture{compression: frame.Zstd, raw: raw[:len(raw)/3]})
	s.rename(vPartial, verifyName)
	s.edit(alice, func(m *Manifest) { m.Image.Location = "s3://evidence/" + verifyName })
	s.want(VerdictPartial, "")
}

// TestVerifyPartialManifest: a sink that cannot rename tells a partial image by the name of
// its manifest.
func TestVerifyPartialManifest(t *testing.T) {
	raw := verifyRaw(7)
	good := newVerifySet(t, verifyCapture{compression: frame.Zstd, raw: raw[:len(raw)/3]})
	good.rename(vPartial, verifyName)
	good.edit(alice, func(m *Manifest) { m.Image.Location = "s3://evidence/" + verifyName })
	good.rename(verifyName+ManifestSuffix, verifyName+PartialManifestSuffix)
	good.rename(verifyName+ManifestSuffix+SignatureSuffix, verifyName+PartialManifestSuffix+SignatureSuffix)
	good.want(VerdictPartial, "")
	for _, name := range []string{verifyName + PartialManifestSuffix, verifyName + PartialManifestSuffix + SignatureSuffix} {
		if r, err := Verify(t.Context(), good.disk(), name, VerifyOptions{Signers: allowed(t, "")}); err != nil || r.Verdict != VerdictPartial {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}

	both := good.copy(t)
	both.write(verifyName+ManifestSuffix, both.read(verifyName+PartialManifestSuffix))
	both.write(verifyName+ManifestSuffix+SignatureSuffix, both.read(verifyName+PartialManifestSuffix+SignatureSuffix))
	both.want(VerdictMismatch, mismatchName)

	whole := newVerifySet(t, verifyCapture{compression: frame.Zstd})
	whole.rename(verifyName+ManifestSuffix, verifyName+PartialManifestSuffix)
	whole.rename(verifyName+ManifestSuffix+SignatureSuffix, verifyName+PartialManifestSuffix+SignatureSuffix)
	whole.want(VerdictMismatch, mismatchName)
}

// memoryOpener holds files for fuzzing.
type memoryOpener map[string][]byte

func (o memoryOpener) Open(_ context.Context, name string) (sink.Reader, error) {
	b, ok := o[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memoryReader{bytes.NewReader(b)}, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// manifests returns manifests to start from.
func manifests(f *testing.F) (memoryOpener, [][]byte) {
	raw := verifyRaw(7)
	files := memoryOpener{}
	var seeds [][]byte
	for _, vc := range []verifyCapture{
		{compression: frame.Zstd}, {compression: frame.None}, {compression: frame.None, raw: raw[:9999]}, {compression: frame.Zstd, full: 5000},
	} {
		s := newVerifySet(f, vc)
		seeds = append(seeds, s.read(vManifest))
		if len(files) == 0 {
			files[verifyName], files[vFrames], files[vSig] = s.read(verifyName), s.read(vFrames), s.read(vSig)
		}
	}
	seeds = append(seeds, []byte(`{"type":"shotglass-manifest","v":1}`),
		[]byte(`{"type":"shotglass-manifest","v":1,"complete":true,"image":{"name":"web1-mem.lime","compression":"zstd","frames":{}},"target":{"facts":{"version":"\u0000x"}},"stream":{"ranges":[{"offset":-9223372036854775808,"bytes":18446744073709551615,"range":{"start":"0xffffffffffffffff","end":"0x0"}}]},"ram":[{"start":"0x0","end":"0xffffffffffffffff"}]}`))
	return files, seeds
}

func FuzzParseManifest(f *testing.F) {
	_, seeds := manifests(f)
	for _, s := range seeds {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseManifest(data)
		if err != nil {
			if m != nil || err.Error() == "" {
				t.Fatalf("%v with an error: %v", m, err)
			}
			return
		}
		if m.Type != ManifestType || m.Version != ManifestVersion {
			t.Fatalf("type %q, version %d", m.Type, m.Version)
		}
		first, err := m.Marshal()
		if err != nil {
			t.Skip(err) // such as a year of five digits
		}
		again, err := ParseManifest(first)
		if err != nil {
			t.Fatalf("%v, after Marshal:\n%s", err, first)
		}
		if second, err := again.Marshal(); err != nil || !bytes.Equal(first, second) {
			t.Fatalf("Marshal is not stable (%v):\n%s\n%s", err, first, second)
		}
	})
}

// Whatever a manifest says that nobody signed, it verifies nothing.
func FuzzVerifyManifest(f *testing.F) {
	files, seeds := manifests(f)
	for _, s := range seeds {
		f.Add(s)
	}
	signers := allowed(f, "")
	signed := seeds[0]
	f.Fuzz(func(t *testing.T, data []byte) {
		where := memoryOpener{vManifest: data}
		for name, b := range files {
			where[name] = b
		}
		rep, err := Verify(t.Context(), where, verifyName, VerifyOptions{Signers: signers, Workers: 1})
		if err != nil {
			t.Fatal(err)
		}
		want := VerdictMismatch
		if bytes.Equal(data, signed) {
			want = VerdictOK
		}
		if rep.Verdict != want {
			t.Fatalf("verdict %q, want %q", rep.Verdict, want)
		}
		if !slices.IsSortedFunc(rep.Problems, func(a, b Mismatch) int {
			if a.What != "frame" || b.What != "frame" {
				return 0
			}
			return cmp.Compare(a.Frame, b.Frame)
		}) {
			t.Fatal("frames out of order")
		}
	})
}

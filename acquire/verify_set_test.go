package acquire

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
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

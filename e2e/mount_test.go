//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// A shown image is mounted.
type shown struct {
	*run
	dir string
}

// mount shows an image; args are flags and the image. It is unmounted when the test ends.
func mount(t *testing.T, env []string, args ...string) *shown {
	t.Helper()
	return mountAt(t, env, t.TempDir(), args...)
}

// mountAt is [mount] on a folder that is there.
func mountAt(t *testing.T, env []string, dir string, args ...string) *shown {
	t.Helper()
	m := &shown{dir: dir}
	m.run = start(t, env, slices.Concat([]string{"mount", "--json"}, args, []string{m.dir})...)
	t.Cleanup(func() { syscall.Unmount(m.dir, syscall.MNT_DETACH) }) // before the program is killed; mostly there is nothing to do
	m.says("mounted")
	return m
}

// says waits for a line of JSON.
func (r *run) says(kind string) {
	r.t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(r.stdout.String(), `"message_type":"`+kind+`"`); time.Sleep(20 * time.Millisecond) {
		select {
		case <-r.done:
			r.t.Fatalf("the program ended: %s", r.stderr.String())
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("it does not say %q", kind)
		}
	}
}

// file is the view with a suffix.
func (m *shown) file(suffix string) string {
	m.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.dir, "*"+suffix))
	if err != nil || len(found) != 1 {
		m.t.Fatalf("files with %s: %q, %v", suffix, found, err)
	}
	return found[0]
}

// end unmounts, and wants an exit code.
func (m *shown) end(code int) {
	m.t.Helper()
	m.cmd.Process.Signal(syscall.SIGINT)
	m.want(code, 20*time.Second)
	if entries, err := os.ReadDir(m.dir); err != nil || len(entries) > 0 {
		m.t.Errorf("after unmounting there are %d files, %v", len(entries), err)
	}
}

// mountPlain shows what TestCapture took, beside the same unpacked.
func (r *rig) mountPlain(t *testing.T, m *acquire.Manifest, raw string) {
	image := m.Image.Location
	s := mount(t, nil, "--signers", r.signers(), image)
	var readers sync.WaitGroup
	for _, form := range []string{"sequence", "jumps"} { // two that read at once
		readers.Go(func() {
			if form == "sequence" {
				if out, err := exec.Command("cmp", raw, s.file(".lime")).CombinedOutput(); err != nil {
					t.Errorf("cmp: %v: %s", err, out)
				}
				return
			}
			sameHereAndThere(t, raw, s.file(".lime"))
		})
	}
	readers.Wait()
	for _, suffix := range []string{".lime", ".raw", ".elf"} {
		out, err := exec.Command(parts.Volatility, "-q", "-f", s.file(suffix), "banners.Banners").CombinedOutput()
		want := fmt.Sprintf("0x%x\tLinux version %s", m.Target.Facts.BannerAddress, parts.KernelRelease)
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: Volatility does not say %q: %v\n%s", suffix, want, err, out)
		}
	}
	if head, err := exec.Command("head", "-c", "65536", s.file(".elf")).Output(); err != nil || m.Live != nil && !bytes.Contains(head, []byte("OSRELEASE="+parts.KernelRelease)) {
		t.Errorf("ELF core: %v, or no VMCOREINFO", err)
	}
	if paper, err := os.ReadFile(filepath.Join(s.dir, "manifest.json")); err != nil || !bytes.Contains(paper, []byte(m.Image.Raw.SHA256)) {
		t.Errorf("manifest.json: %v", err)
	}
	if err := os.WriteFile(s.file(".raw"), []byte("x"), 0o600); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writing: %v", err)
	}
	start(t, nil, "mount", image, s.dir).want(1, time.Minute, "the folder is not empty")
	s.end(0)

	// Killed: the folder is stale, and the next who mounts there frees it.
	s = mount(t, nil, "--signers", r.signers(), image)
	s.cmd.Process.Kill()
	<-s.done
	s = mountAt(t, nil, s.dir, "--signers", r.signers(), image)
	if head, err := exec.Command("cmp", "-n", "65536", raw, s.file(".lime")).CombinedOutput(); err != nil {
		t.Errorf("cmp: %v: %s", err, head)
	}
	s.end(0)
	s.want(0, time.Second, "was still mounted by a shotglass that was killed, and was freed")

	// In use: it waits a while, and leaves all the same.
	s = mount(t, nil, "--signers", r.signers(), image)
	f, err := os.Open(s.file(".raw"))
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.want(0, 30*time.Second, "was still in use")
	if _, err := f.ReadAt(make([]byte, 10), 1<<20+5); !errors.Is(err, syscall.ENOTCONN) && !errors.Is(err, syscall.EIO) {
		t.Errorf("reading on: %v", err)
	}
	f.Close()
}

// sameHereAndThere reads pages of two files in disorder.
func sameHereAndThere(t *testing.T, a, b string) {
	var f [2]*os.File
	for i, name := range []string{a, b} {
		var err error
		if f[i], err = os.Open(name); err != nil {
			t.Error(err)
			return
		}
		defer f[i].Close()
	}
	info, err := f[0].Stat()
	if err != nil {
		t.Error(err)
		return
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		off, n := rnd.Int64N(info.Size()), 1+rnd.IntN(20000)
		var p [2][]byte
		for i := range f {
			p[i] = make([]byte, n)
			got, err := f[i].ReadAt(p[i], off)
			if err != nil && err != io.EOF {
				t.Errorf("at %d: %v", off, err)
			}
			p[i] = p[i][:got]
		}
		if !bytes.Equal(p[0], p[1]) {
			t.Errorf("%d bytes at %d differ", n, off)
			return
		}
	}
}

// mountDamaged shows a copy with a flipped byte: its frame cannot be read, and all else can.
func (r *rig) mountDamaged(t *testing.T, m *acquire.Manifest, raw string) {
	dir := t.TempDir()
	image := filepath.Join(dir, m.Image.Name)
	for _, suffix := range []string{"", acquire.FramesSuffix, acquire.ManifestSuffix, acquire.ManifestSuffix + acquire.SignatureSuffix} {
		data, err := os.ReadFile(m.Image.Location + suffix)
		if err == nil {
			err = os.WriteFile(image+suffix, data, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	side, err := os.Open(image + acquire.FramesSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer side.Close()
	x, err := frame.ParseIndex(side)
	if err != nil {
		t.Fatal(err)
	}
	e := x.Entries[len(x.Entries)/2]
	f, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, e.StoredOffset+e.StoredSize/2); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 1}, e.StoredOffset+e.StoredSize/2); err != nil {
		t.Fatal(err)
	}
	s := mount(t, nil, "--signers", r.signers(), image)
	want, err := os.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	got, err := os.Open(s.file(".lime"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	bad := 0
	p, q := make([]byte, 4096), make([]byte, 4096)
	for off := int64(0); off < m.Image.Raw.Bytes; off += int64(len(p)) {
		n, err := got.ReadAt(p, off)
		k, _ := want.ReadAt(q, off)
		hurt := off+int64(len(p)) > e.RawOffset && off < e.RawOffset+e.RawSize
		switch {
		case errors.Is(err, syscall.EIO) && hurt:
			bad++
		case err != nil && err != io.EOF || hurt || !bytes.Equal(p[:n], q[:k]):
			t.Fatalf("page at %d: %d bytes, %v; the damage lies from %d to %d", off, n, err, e.RawOffset, e.RawOffset+e.RawSize)
		}
	}
	if bad == 0 {
		t.Error("the damage was not met")
	}
	got.Close()
	s.end(4)
	if !strings.Contains(s.stderr.String(), "damaged: frame ") {
		t.Errorf("the frame is not named: %s", s.stderr.String())
	}
}

// serveImage has real clients of NBD read what TestCapture took.
func (r *rig) serveImage(t *testing.T, m *acquire.Manifest, raw string) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "sock")
	p := start(t, nil, "serve-image", "--json", "--signers", r.signers(), "--listen", "unix:"+socket, m.Image.Location)
	p.says("serving")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	uri := func(export string) string { return "nbd+unix:///" + export + "?socket=" + socket }
	tool := func(args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
		return string(out)
	}
	if out := tool("nbdinfo", "--list", uri("")); !strings.Contains(out, `"lime"`) || !strings.Contains(out, `"raw"`) || !strings.Contains(out, `"elf"`) || !strings.Contains(out, "is_read_only: true") {
		t.Errorf("nbdinfo: %s", out)
	}
	tool("nbdcopy", uri("lime"), filepath.Join(dir, "copy"))
	if got := sha256File(t, filepath.Join(dir, "copy")); got != m.Image.Raw.SHA256 {
		t.Errorf("nbdcopy gives %s, the manifest says %s", got, m.Image.Raw.SHA256)
	}
	// QEMU rounds sizes up to sectors.
	tool("qemu-img", "convert", "-O", "raw", uri("lime"), filepath.Join(dir, "converted"))
	tool("cmp", "-n", fmt.Sprint(m.Image.Raw.Bytes), raw, filepath.Join(dir, "converted"))
	start(t, nil, "serve-image", "--listen", "unix:"+socket, m.Image.Location).want(1, time.Minute, "hint: ")
	p.cmd.Process.Signal(syscall.SIGTERM)
	p.want(0, 20*time.Second)
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is still there")
	}
}

// mountS3 shows an encrypted image in S3, while the server dies, hangs, and gets another object in the image's place.
func mountS3(t *testing.T, srv *lab.S3, m *acquire.Manifest, flags ...string) {
	const patience = 5 * time.Second
	flags = append(flags, "--cache", "4MiB", "--read-timeout", patience.String(), m.Image.Location)
	s := mount(t, srv.Env(), flags...)
	f, err := os.Open(s.file(".lime"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, 4096)
	read := func(what string, off int64, want error) {
		t.Helper()
		begin := time.Now()
		_, err := f.ReadAt(page, off)
		if took := time.Since(begin); !errors.Is(err, want) || took > 3*patience {
			t.Errorf("%s: %v after %s, want %v", what, err, took.Round(time.Millisecond), want)
		}
	}
	// missing reads here and there until something is not held yet: the page tables of anywhere were read to begin with.
	missing := func(what string) int64 {
		t.Helper()
		const parts = 64
		for i := range int64(parts) {
			off, begin := m.Image.Raw.Bytes/parts*(parts/2+i)%m.Image.Raw.Bytes, time.Now()
			if _, err := f.ReadAt(page, off); err == nil {
				continue
			} else if took := time.Since(begin); !errors.Is(err, syscall.EIO) || took > 3*patience {
				t.Errorf("%s: %v after %s, want %v", what, err, took.Round(time.Millisecond), syscall.EIO)
			}
			return off
		}
		t.Fatalf("%s: all is read", what)
		return 0
	}
	read("before", 0, nil)
	srv.Kill()
	off := missing("the server is dead")
	if err := srv.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	read("it is back", off, nil)
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	off = missing("it hangs")
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the kernel asks twice, and is told the same at once
	read("it goes on", off, nil)

	// Another object takes the image's place: what was opened is read on.
	key := strings.TrimPrefix(m.Image.Location, "s3://"+srv.Bucket+"/")
	other, err := srv.Client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &srv.Bucket, Key: &key, Body: bytes.NewReader(page)})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil || hex.EncodeToString(sum.Sum(nil)) != m.Image.Raw.SHA256 {
		t.Errorf("read through the mount: %v, or not the image", err)
	}
	f.Close()
	s.end(0)
	for _, text := range []string{"connection refused", "no answer within", "reading goes on with version " + m.Image.VersionID} {
		if !strings.Contains(s.stderr.String(), text) {
			t.Errorf("it does not say %q: %s", text, s.stderr.String())
		}
	}
	if _, err := srv.Client.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &srv.Bucket, Key: &key, VersionId: other.VersionId}); err != nil {
		t.Fatal(err)
	}

	// Unmounting waits for no server.
	s = mount(t, srv.Env(), flags...)
	if f, err = os.Open(s.file(".lime")); err != nil {
		t.Fatal(err)
	}
	if err := srv.Freeze(); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(make([]byte, 4096), off)
		failed <- err
	}()
	s.cmd.Process.Signal(syscall.SIGINT)
	s.want(0, 4*patience)
	if err := srv.Thaw(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-failed:
		if err == nil {
			t.Error("a read succeeded without a server")
		}
	case <-time.After(4 * patience):
		t.Error("a read hangs after unmounting")
	}
	f.Close()
}

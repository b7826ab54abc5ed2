//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func sha256File(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestCapture takes a guest's memory and has strangers look at it: ssh-keygen,
// zstd, sha256sum, Volatility 3.
func TestCapture(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// A text that is in memory because we put it there.
	marker := make([]byte, 32)
	rand.Read(marker)
	text := "shotglass-marker-" + hex.EncodeToString(marker)
	r.ssh("printf %s " + text[:20] + " >/dev/shm/marker; printf %s " + text[20:] + " >>/dev/shm/marker")

	r.workload()
	before := r.truth()
	work := r.work()

	p := start(t, []string{"SHOTGLASS_COLLECT=all"}, r.capture("ops")...)
	p.want(0, 5*time.Minute)
	r.clean(30 * time.Second)
	m := r.manifest()
	if !m.Complete || m.Image.Partial || !m.Footprint.Clean || m.Case != "e2e" {
		t.Fatalf("manifest: complete %t %q, partial %t, clean %t", m.Complete, m.Reasons, m.Image.Partial, m.Footprint.Clean)
	}
	for _, c := range m.Checks {
		if c.Result != "pass" {
			t.Errorf("check %q: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	// When memory was read: every 64 MiB, within the time of the stream.
	first, last := m.ReadSpan()
	if want := int(m.RAM[len(m.RAM)-1].End>>26) + 1; len(m.Reads) != want || m.Method.Buffered < 2<<20 || m.Method.Buffered > 64<<20 {
		t.Errorf("%d times of reading, want %d; buffered %d", len(m.Reads), want, m.Method.Buffered)
	}
	if d := m.Duration - last.Sub(first); d < 0 || d > m.Duration/2 {
		t.Errorf("memory came within %s of a stream of %s", last.Sub(first), m.Duration)
	}
	if out := p.stdout.String(); !strings.Contains(out, m.Image.Raw.SHA256) || !strings.Contains(out, "complete") {
		t.Errorf("stdout %q", out)
	}
	image := m.Image.Location

	t.Run("verify", func(t *testing.T) {
		start(t, nil, "verify", "--signers", r.signers(), image).want(0, time.Minute)
		// Without a file of signers nobody is trusted.
		start(t, nil, "verify", image).want(4, time.Minute)
		other := filepath.Join(t.TempDir(), "other")
		keygen(t, other)
		pub, _ := os.ReadFile(other + ".pub")
		os.WriteFile(other+".signers", append([]byte("stranger "), pub...), 0o600)
		start(t, nil, "verify", "--signers", other+".signers", image).want(4, time.Minute)
	})
	t.Run("collected", func(t *testing.T) { collected(t, r, m) })
	t.Run("triage", func(t *testing.T) { triaged(t, r, m, work, triaging{read: "in place"}) })
	t.Run("ssh-keygen", func(t *testing.T) {
		data, err := os.Open(image + ".json")
		if err != nil {
			t.Fatal(err)
		}
		defer data.Close()
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", r.signers(), "-I", "investigator", "-n", "manifest@shotglass-ir", "-s", image+".json.sig")
		cmd.Stdin = data
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("audit log", func(t *testing.T) {
		logs, _ := filepath.Glob(filepath.Join(r.dir, "e2e-*-audit.jsonl"))
		if len(logs) != 1 {
			t.Fatalf("logs: %q", logs)
		}
		p := start(t, nil, "verify", "--signers", r.signers(), logs[0])
		p.want(0, time.Minute)
		if out := p.stdout.String(); !strings.Contains(out, "1 of 1 as the log says") {
			t.Errorf("verify prints %q", out)
		}
		if m.Previous == nil || m.Previous.Name != filepath.Base(logs[0]) || m.Previous.Line < 5 {
			t.Errorf("the manifest names %+v", m.Previous)
		}
		log, err := os.Open(logs[0])
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-f", r.signers(), "-I", "investigator", "-n", "audit-log@shotglass-ir", "-s", logs[0]+".sig")
		cmd.Stdin = log
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	raw := filepath.Join(t.TempDir(), "raw.lime")
	t.Run("cat", func(t *testing.T) {
		f, err := os.Create(raw)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd := exec.Command(program, "cat", image)
		cmd.Stdout = f
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if got := sha256File(t, raw); got != m.Image.Raw.SHA256 {
			t.Errorf("cat gives %s, the manifest says %s", got, m.Image.Raw.SHA256)
		}
		plain, err := exec.Command("sh", "-c", "zstd -dc "+image+" | sha256sum").Output()
		if err != nil || !strings.HasPrefix(string(plain), m.Image.Raw.SHA256) {
			t.Errorf("zstd -d gives %q, %v", plain, err)
		}
		if got := sha256File(t, image); got != m.Image.Stored.SHA256 {
			t.Errorf("stored digest %s, the manifest says %s", got, m.Image.Stored.SHA256)
		}
		data, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte(text)) {
			t.Error("the marker is not in the image")
		}
	})
	t.Run("plugins", func(t *testing.T) {
		symbols, after := r.symbols(t, image), r.truth()
		plain := lookInto(t, raw, symbols, nil)
		plain.agrees(before, after, work.hidden)
		s := mount(t, nil, "--signers", r.signers(), image)
		lookInto(t, s.file(".lime"), symbols, nil).same(plain)
		s.end(0)
	})
	t.Run("kcore, encrypted in S3", func(t *testing.T) { r.kcoreInS3(t, work) })
	t.Run("inspect", func(t *testing.T) {
		p := start(t, nil, "inspect", image)
		p.want(0, time.Minute)
		if !strings.Contains(p.stdout.String(), "Linux version "+parts.KernelRelease) {
			t.Errorf("inspect shows no banner:\n%s", p.stdout.String())
		}
	})
	t.Run("volatility", func(t *testing.T) {
		out, err := exec.Command(parts.Volatility, "-q", "-f", raw, "banners.Banners").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := fmt.Sprintf("0x%x\tLinux version %s", m.Target.Facts.BannerAddress, parts.KernelRelease)
		if m.Target.Facts.BannerAddress == 0 || !strings.Contains(string(out), want) {
			t.Errorf("Volatility does not say %q:\n%s", want, out)
		}
	})
	t.Run("converted", func(t *testing.T) { converted(t, r, image, m) })
	t.Run("mount", func(t *testing.T) { r.mountPlain(t, m, raw) })
	t.Run("mount damaged", func(t *testing.T) { r.mountDamaged(t, m, raw) })
	t.Run("serve-image", func(t *testing.T) { r.serveImage(t, m, raw) })
	t.Run("flipped byte", func(t *testing.T) {
		f, err := os.OpenFile(image, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		const at = 5 << 20
		b := make([]byte, 1)
		if _, err := f.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{b[0] ^ 1}, at); err != nil {
			t.Fatal(err)
		}
		p := start(t, nil, "verify", "--signers", r.signers(), image)
		p.want(4, time.Minute)
		if out := p.stdout.String() + p.stderr.String(); !strings.Contains(out, "frame ") {
			t.Errorf("the damaged frame is not named:\n%s", out)
		}
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
		start(t, nil, "verify", "--signers", r.signers(), image).want(0, time.Minute)
	})
	t.Run("re-signed", func(t *testing.T) {
		// Who alters a case can sign it again, but not with the investigator's key.
		dir := t.TempDir()
		for _, f := range r.files() {
			if err := os.Link(filepath.Join(r.dir, f), filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, filepath.Base(image))
		data, err := os.ReadFile(name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		os.Remove(name + ".json")
		os.Remove(name + ".json.sig")
		altered := bytes.Replace(data, []byte(`"case": "e2e"`), []byte(`"case": "other"`), 1)
		if bytes.Equal(altered, data) {
			t.Fatal("nothing was altered")
		}
		os.WriteFile(name+".json", altered, 0o600)
		start(t, nil, "verify", "--signers", r.signers(), name).want(4, time.Minute)
		forger := filepath.Join(dir, "forger")
		keygen(t, forger)
		if out, err := exec.Command("ssh-keygen", "-Y", "sign", "-f", forger, "-n", "manifest@shotglass-ir", name+".json").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		start(t, nil, "verify", "--signers", r.signers(), name).want(4, time.Minute)
	})
	t.Run("second capture", func(t *testing.T) {
		// Nothing is overwritten: the same name is refused, and the first image stays.
		before := sha256File(t, image)
		start(t, nil, r.capture("ops", "--name", filepath.Base(image))...).want(1, 2*time.Minute, "exist")
		if sha256File(t, image) != before {
			t.Error("the first image was changed")
		}
		r.clean(10 * time.Second)
	})
}

// TestSudoPassword captures as a user whom sudo asks for a password, without compression, and with a module that
// modules build made.
func TestSudoPassword(t *testing.T) {
	t.Parallel()
	module := builtModule(t)
	r := newRig(t)
	r.module = module
	start(t, []string{"SHOTGLASS_SUDO_PASSWORD=" + parts.Password}, r.capture("opspw", "--compress", "none")...).want(0, 5*time.Minute)
	r.clean(30 * time.Second)
	m := r.manifest()
	if !m.Complete || m.Method.Privilege != "sudo with password" || m.Image.Raw != m.Image.Stored {
		t.Errorf("complete %t, privilege %q, raw %v, stored %v", m.Complete, m.Method.Privilege, m.Image.Raw, m.Image.Stored)
	}
	if m.Module == nil || m.Module.SHA256 != sha256File(t, module) || m.Module.Origin != module {
		t.Errorf("module %+v", m.Module)
	}
	start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(0, time.Minute)
	for _, f := range r.files() {
		data, err := os.ReadFile(filepath.Join(r.dir, f))
		if err != nil {
			t.Fatal(err)
		}
		if f != m.Image.Name && bytes.Contains(data, []byte(parts.Password)) {
			t.Errorf("%s holds the password", f)
		}
	}
}

// TestPlan reads only.
func TestPlan(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	args := append([]string{"plan"}, r.target("root")...)
	args = append(args, "--output", r.dir, "--module", parts.Module, "--insecure-unverified-module", "127.0.0.1")
	p := start(t, nil, args...)
	p.want(0, time.Minute)
	if out := p.stdout.String(); !strings.Contains(out, parts.KernelRelease) || !strings.Contains(out, "lime") {
		t.Errorf("plan:\n%s", out)
	}
	if f := r.files(); len(f) != 0 {
		t.Errorf("the plan wrote %v", f)
	}
	r.clean(time.Second)
	if taint := strings.TrimSpace(r.ssh("cat /proc/sys/kernel/tainted")); taint != "0" {
		t.Errorf("the kernel is tainted: %s", taint)
	}
}

//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
)

// ageKeygen makes a key pair with stock age-keygen.
func ageKeygen(t *testing.T, dir string) (key, recipient string) {
	t.Helper()
	key = filepath.Join(dir, "age-"+hex.EncodeToString(random(4)))
	if out, err := exec.Command("age-keygen", "-o", key).CombinedOutput(); err != nil {
		t.Fatalf("age-keygen: %v\n%s", err, out)
	}
	out, err := exec.Command("age-keygen", "-y", key).Output()
	if err != nil {
		t.Fatalf("age-keygen -y: %v", err)
	}
	return key, strings.TrimSpace(string(out))
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// TestEncrypted takes a guest's memory encrypted to a key of age and one of SSH, made by
// stock tools, and has stock age, zstd and sha256sum read it.
func TestEncrypted(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text := "shotglass-marker-" + hex.EncodeToString(random(16))
	r.ssh("printf %s " + text[:20] + " >/dev/shm/marker; printf %s " + text[20:] + " >>/dev/shm/marker")
	key, recipient := ageKeygen(t, r.home)
	wrong, _ := ageKeygen(t, r.home)
	sshKey := filepath.Join(r.home, "reader")
	keygen(t, sshKey)
	recipients := filepath.Join(r.home, "recipients")
	pub, err := os.ReadFile(sshKey + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recipients, append([]byte("# who may read\n"), pub...), 0o600); err != nil {
		t.Fatal(err)
	}

	p := start(t, nil, r.capture("ops", "--recipient", recipient, "--recipients-file", recipients)...)
	p.want(0, 5*time.Minute)
	r.clean(30 * time.Second)
	m := r.manifest()
	image := m.Image.Location
	if !m.Complete || m.Image.Encryption != "age" || len(m.Image.Recipients) != 2 || m.Image.Recipients[0] != recipient ||
		!strings.HasPrefix(m.Image.Recipients[1], "ssh-ed25519 SHA256:") || !strings.HasSuffix(image, "-mem.lime.zst.age") {
		t.Fatalf("complete %t %q, image %+v", m.Complete, m.Reasons, m.Image)
	}
	if got := sha256File(t, image); got != m.Image.Stored.SHA256 {
		t.Errorf("stored digest %s, the manifest says %s", got, m.Image.Stored.SHA256)
	}

	stock := func(t *testing.T, image, key, want string) {
		t.Helper()
		out, err := exec.Command("bash", "-o", "pipefail", "-c", `age -d -i "$1" "$2" | zstd -dc | sha256sum`, "-", key, image).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("age -d | zstd -dc | sha256sum: %q, %v, the manifest says %s", out, err, want)
		}
	}
	verify := func(t *testing.T, image string, code int, says string, more ...string) {
		t.Helper()
		p := start(t, nil, append(append([]string{"verify", "--signers", r.signers()}, more...), image)...)
		p.want(code, time.Minute)
		if !strings.Contains(p.stdout.String(), says) {
			t.Errorf("verify does not say %q:\n%s", says, p.stdout.String())
		}
	}
	t.Run("stock age", func(t *testing.T) {
		stock(t, image, key, m.Image.Raw.SHA256)
		stock(t, image, sshKey, m.Image.Raw.SHA256)
	})
	t.Run("without the key", func(t *testing.T) {
		verify(t, image, 0, ": intact; encrypted with age")
		verify(t, image, 0, "not checked: the raw image: it was not decrypted")
		verify(t, image, 0, `"decoded":false,"not_checked":[`, "--json")
		// Without signers it is as any other.
		start(t, nil, "verify", image).want(4, time.Minute)
	})
	t.Run("with the key", func(t *testing.T) {
		verify(t, image, 0, ": verified; ", "-i", key)
		verify(t, image, 0, ": verified; ", "--identity", sshKey)
		verify(t, image, 0, `"decoded":true`, "--json", "-i", wrong, "-i", key)
	})
	t.Run("with the wrong key", func(t *testing.T) {
		p := start(t, nil, "verify", "--signers", r.signers(), "-i", wrong, image)
		p.want(1, time.Minute, "none of the identities can decrypt this file", "hint: name the secret key", recipient)
		if !strings.Contains(p.stdout.String(), ": intact; encrypted") {
			t.Errorf("stdout %q", p.stdout.String())
		}
		start(t, nil, "cat", "-i", wrong, image).want(1, time.Minute, "none of the identities")
		start(t, nil, "cat", image).want(1, time.Minute, "encrypted with age", "--identity FILE")
	})
	t.Run("cat and inspect", func(t *testing.T) {
		var raw bytes.Buffer
		cmd := exec.Command(program, "cat", "-i", key, image)
		cmd.Stdout = &raw
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		if int64(raw.Len()) != m.Image.Raw.Bytes || !bytes.Contains(raw.Bytes(), []byte(text)) {
			t.Errorf("cat gives %d bytes, the manifest says %d, or the marker is not there", raw.Len(), m.Image.Raw.Bytes)
		}
		p := start(t, nil, "inspect", "-i", key, image)
		p.want(0, time.Minute)
		if !strings.Contains(p.stdout.String(), "zstd encrypted with age") || !strings.Contains(p.stdout.String(), "Linux version "+parts.KernelRelease) {
			t.Errorf("inspect shows:\n%s", p.stdout.String())
		}
	})

	stored, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	head, err := agefile.Header(bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	// altered is the evidence with another image.
	altered := func(t *testing.T, b []byte) string {
		dir := filepath.Join(t.TempDir(), "evidence")
		if err := os.CopyFS(dir, os.DirFS(r.dir)); err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.Base(image))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Run("flipped byte", func(t *testing.T) {
		b := bytes.Clone(stored)
		b[len(b)/2] ^= 1
		name := altered(t, b)
		verify(t, name, 4, "mismatch: piece ")
		verify(t, name, 4, "does not decrypt", "-i", key)
		verify(t, name, 4, "physical address 0x")
		b[len(b)/2] ^= 1
		b[head-20] ^= 1 // in the header's MAC
		name = altered(t, b)
		verify(t, name, 4, "the header, without which nothing can be decrypted")
		verify(t, name, 4, "the header", "-i", key)
	})
	t.Run("truncated", func(t *testing.T) {
		for _, n := range []int{len(stored) - 1, int(head) + 100*65552} {
			name := altered(t, stored[:n])
			verify(t, name, 4, "mismatch: stored digest")
			verify(t, name, 4, "cut short", "-i", key)
			p := start(t, nil, "inspect", "-i", key, name)
			p.want(3, time.Minute)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		r := rigOf(t, r.guest)
		p := start(t, nil, r.capture("ops", "--compress", "none", "--recipient", recipient)...)
		r.streaming(p)
		p.cmd.Process.Signal(syscall.SIGINT)
		p.want(130, time.Minute)
		r.clean(30 * time.Second)
		m := r.partial() // verifies it without the key
		// It is a whole age file: age takes it without a word.
		out, err := exec.Command("bash", "-o", "pipefail", "-c", `age -d -i "$1" "$2" | sha256sum`, "-", key, m.Image.Location).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), m.Image.Raw.SHA256) {
			t.Errorf("age -d | sha256sum: %q, %v, the manifest says %s", out, err, m.Image.Raw.SHA256)
		}
		start(t, nil, "verify", "--signers", r.signers(), "-i", key, m.Image.Location).want(3, time.Minute)
	})
}

//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/elf"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// A moduleKey signs kernel modules.
type moduleKey struct {
	key, cert string // PEM files
	der       []byte // the certificate
}

func newModuleKey(t *testing.T) moduleKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shotglass e2e modules"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	k := moduleKey{filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem"), cert}
	for path, block := range map[string]*pem.Block{k.key: {Type: "PRIVATE KEY", Bytes: der}, k.cert: {Type: "CERTIFICATE", Bytes: cert}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

// sign returns a signed copy of the module, made by the kernel's own program.
func (k moduleKey) sign(t *testing.T, module string) string {
	t.Helper()
	program, err := parts.SignFile()
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "lime.ko")
	if text, err := exec.Command(program, "sha256", k.key, k.cert, module, out).CombinedOutput(); err != nil {
		t.Fatalf("sign-file: %v: %s", err, text)
	}
	return out
}

// wrongCRC returns a copy of the module that asks for another version of one symbol.
func wrongCRC(t *testing.T, module, symbol string) string {
	t.Helper()
	data, err := os.ReadFile(module)
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section("__versions")
	if s == nil {
		t.Fatal("the module has no __versions")
	}
	// struct modversion_info: a CRC in 8 bytes and a name in 56.
	for at := s.Offset; at < s.Offset+s.Size; at += 64 {
		if name, _, _ := bytes.Cut(data[at+8:at+64], []byte{0}); string(name) == symbol {
			data[at] ^= 1
			out := filepath.Join(t.TempDir(), "lime.ko")
			if err := os.WriteFile(out, data, 0o600); err != nil {
				t.Fatal(err)
			}
			return out
		}
	}
	t.Fatalf("the module does not use %s", symbol)
	return ""
}

// with are the flags of a command with a module of ours.
func (r *rig) with(command, module string, more ...string) []string {
	args := append([]string{command}, r.target("ops")...)
	args = append(args, "--module", module, "--module-sha256", sha256File(r.t, module))
	if command == "capture" {
		args = append(args, "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(), "--progress", "lines")
	}
	return append(append(args, more...), "127.0.0.1")
}

// taint is what the guest's kernel says of itself.
func (r *rig) taint() string { return strings.TrimSpace(r.ssh("cat /proc/sys/kernel/tainted")) }

// foreseen: the plan says what LiME lacks and goes on with kcore; without it there is nothing
// to go on with. The target is not touched.
func (r *rig) foreseen(module string, says ...string) {
	r.t.Helper()
	before := r.taint()
	p := start(r.t, nil, r.with("plan", module)...)
	p.want(0, time.Minute)
	for _, s := range append(says, "memory is read through kcore") {
		if out := p.stdout.String() + p.stderr.String(); !strings.Contains(out, s) {
			r.t.Errorf("plan does not say %q:\n%s", s, out)
		}
	}
	start(r.t, nil, r.with("plan", module, "--method", "lime")...).want(1, time.Minute, says...)
	start(r.t, nil, r.with("capture", module, "--method", "lime")...).want(1, time.Minute, says...)
	if f := r.files(); len(f) != 0 {
		r.t.Errorf("left here: %v", f)
	}
	r.clean(time.Second)
	if after := r.taint(); after != before {
		r.t.Errorf("taint %s, before %s", after, before)
	}
}

// refused: the kernel refuses the module when it sees it, which no plan could know. The capture,
// asked for LiME alone, fails, and its manifest says what was done to the target. taint is the kernel's
// after that.
func refused(t *testing.T, g *lab.Guest, module, taint string, says ...string) {
	r := rigOf(t, g)
	p := start(t, nil, r.with("plan", module, "--method", "lime")...)
	p.want(0, time.Minute)
	start(t, nil, r.with("capture", module, "--method", "lime")...).want(1, 2*time.Minute, append(says, "the kernel refuses the module")...)
	r.clean(5 * time.Second)
	r.recorded(module, taint)
	if m := r.manifest(); m.Complete || m.Image.Raw.Bytes != 0 {
		t.Errorf("complete %t, %d bytes", m.Complete, m.Image.Raw.Bytes)
	}
}

// fellBack: the kernel refuses the module, and with --method auto kcore is read in its place.
func fellBack(t *testing.T, g *lab.Guest, module, taint string, says ...string) {
	r := rigOf(t, g)
	says = append(says, "the kernel refuses the module")
	start(t, nil, r.with("capture", module)...).want(0, 8*time.Minute, append(says, "going on with kcore")...)
	r.clean(5 * time.Second)
	r.recorded(module, taint)
	m := r.manifest()
	if !m.Complete || m.Method.Source != acquire.MethodKcore {
		t.Errorf("complete %t %q, method %+v", m.Complete, m.Reasons, m.Method)
	}
	for _, c := range m.Method.Candidates {
		for _, s := range says {
			if c.Source == acquire.MethodLime && (c.OK || !strings.Contains(c.Reason, s)) {
				t.Errorf("the manifest says of LiME: %t, %q, not %q", c.OK, c.Reason, s)
			}
		}
	}
	start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(0, time.Minute)
}

// recorded fails unless the manifest says that the module was pushed, that nothing of it is left, and
// what the kernel says of its taint.
func (r *rig) recorded(module, taint string) {
	r.t.Helper()
	m := r.manifest()
	f := m.Footprint
	if m.Module == nil || m.Module.SHA256 != sha256File(r.t, module) || f.BytesPushed != m.Module.Size || !f.Clean {
		r.t.Errorf("module %+v, footprint %+v", m.Module, f)
	}
	if now := r.taint(); f.TaintAfter != taint || now != taint {
		r.t.Errorf("taint %s in the manifest, %s on the guest, want %s", f.TaintAfter, now, taint)
	}
}

// TestModuleUnfit: modules of another release, and of another build of this one.
func TestModuleUnfit(t *testing.T) {
	t.Parallel()
	r := bootRig(t, parts, lab.Options{MemoryMiB: 160})
	t.Run("another release", func(t *testing.T) {
		rigOf(t, r.guest).foreseen(parts.OtherModule, "does not fit", parts.KernelRelease)
	})
	t.Run("layout of struct module", func(t *testing.T) {
		// The first that the kernel looks at: nothing is tainted yet.
		refused(t, r.guest, wrongCRC(t, parts.Module, "module_layout"), "0", "disagrees about version of symbol module_layout")
	})
	t.Run("another symbol", func(t *testing.T) {
		// The kernel is tainted by a module that it refuses.
		fellBack(t, r.guest, wrongCRC(t, parts.Module, "kernel_sendmsg"), "12288", "disagrees about version of symbol kernel_sendmsg")
	})
}

// TestSignatureEnforced: a kernel that takes only modules signed with a key that it trusts,
// and then none at all.
func TestSignatureEnforced(t *testing.T) {
	t.Parallel()
	r := bootRig(t, parts, lab.Options{MemoryMiB: 160, KernelArgs: "module.sig_enforce=1"})
	signed := newModuleKey(t).sign(t, parts.Module)
	t.Run("unsigned", func(t *testing.T) {
		rigOf(t, r.guest).foreseen(parts.Module, "the kernel takes only signed modules", "module.sig_enforce true")
	})
	t.Run("signed by a stranger", func(t *testing.T) {
		refused(t, r.guest, signed, "0", "signed with a key it trusts")
		fellBack(t, r.guest, signed, "0")
	})
	t.Run("modules disabled", func(t *testing.T) {
		r.ssh("echo 1 >/proc/sys/kernel/modules_disabled")
		rigOf(t, r.guest).foreseen(signed, "kernel.modules_disabled is 1")
	})
}

// TestSignatureTrusted: the same kernel takes a module that is signed with a key in the
// variable db of its UEFI firmware.
func TestSignatureTrusted(t *testing.T) {
	t.Parallel()
	key := newModuleKey(t)
	r := bootRig(t, parts, lab.Options{MemoryMiB: 192, KernelArgs: "module.sig_enforce=1", ModuleKey: key.der})
	rigOf(t, r.guest).foreseen(parts.Module, "the kernel takes only signed modules")
	signed := key.sign(t, parts.Module)
	before, err := strconv.Atoi(r.taint()) // the firmware's settings may taint it at boot
	if err != nil {
		t.Fatal(err)
	}
	start(t, nil, r.with("capture", signed)...).want(0, 8*time.Minute)
	r.clean(5 * time.Second)
	m := r.manifest()
	if !m.Complete || m.Method.Source != acquire.MethodLime || !m.Module.Signed || !m.Target.Facts.SigEnforce {
		t.Errorf("complete %t %q, method %+v, module %+v", m.Complete, m.Reasons, m.Method, m.Module)
	}
	r.recorded(signed, strconv.Itoa(before|4096)) // out of the kernel's tree, but not unsigned
}

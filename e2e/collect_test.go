//go:build e2e

package e2e

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
)

// collected compares what lies beside an image with what the guest says itself.
func collected(t *testing.T, r *rig, m *acquire.Manifest) {
	l := m.Live
	if l == nil || !l.Complete {
		t.Fatalf("collected: %+v", l)
	}
	for _, it := range l.Items {
		t.Logf("%-18s %-6s %8d bytes in %-12s %s %s", it.Name, it.Stage, it.Bytes, it.Took.Round(time.Millisecond), it.How, it.Error)
	}
	dir := filepath.Join(t.TempDir(), "live")
	start(t, nil, "live", "--output", dir, m.Image.Location).want(0, time.Minute)
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	sum := func(name string) string { return sha256File(t, filepath.Join(dir, filepath.FromSlash(name))) }
	// What does not change is the same to the byte.
	for name, file := range map[string]string{
		"proc/version": "/proc/version", "proc/cmdline": "/proc/cmdline", "etc/os-release": "/etc/os-release", "boot/config": "/boot/config-*",
		"sys/kernel/btf/vmlinux": "/sys/kernel/btf/vmlinux",
	} {
		if want, _, _ := strings.Cut(r.ssh("sha256sum "+file), " "); sum(name) != want {
			t.Errorf("%s is not the guest's %s", name, file)
		}
	}
	modules, err := live.ReadModulesTar([]byte(read("sys/kernel/btf-modules.tar")))
	if err != nil || len(modules) == 0 {
		t.Errorf("BTF of %d modules: %v", len(modules), err)
	}
	for line := range strings.Lines(r.ssh("cd /sys/kernel/btf && sha256sum $(ls | grep -vx vmlinux)")) {
		want, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256(modules[name])); got != want {
			t.Errorf("BTF of module %s: sha256 %s, of %d bytes, want %s", name, got, len(modules[name]), want)
		}
	}
	if want := r.ssh("sudo grep ' linux_banner$' /proc/kallsyms"); !strings.Contains(read("proc/kallsyms"), strings.TrimSpace(want)) {
		t.Errorf("kallsyms has no line %q", want)
	}
	if info := read("vmcoreinfo"); !strings.HasPrefix(info, "OSRELEASE="+m.Target.Facts.Kernel+"\n") || !strings.Contains(info, "SYMBOL(swapper_pg_dir)=") {
		t.Errorf("vmcoreinfo: %.100q", info)
	}
	for name, text := range map[string]string{"before/ps": "sshd", "before/sockets": "/proc/net/tcp:", "before/mounts": " /proc ", "before/processes": "(sshd)", "after/processes": "(sshd)", "before/executables": "/sshd", "before/modules": "virtio"} {
		if !strings.Contains(read(name), text) {
			t.Errorf("%s has no %q", name, text)
		}
	}
	p := start(t, nil, "verify", "--signers", r.signers(), m.Image.Location)
	p.want(0, time.Minute)
	if out := p.stdout.String(); !strings.Contains(out, "  collected: verified; ") {
		t.Errorf("verify prints %q", out)
	}
}

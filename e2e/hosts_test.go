//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestHostsFile captures two guests at once from a hosts file, with a third host that is
// dead: its failure is its own, exit code 3.
func TestHostsFile(t *testing.T) {
	t.Parallel()
	a, b := newRig(t), newRig(t)
	pin := sha256File(t, parts.Module)
	file := filepath.Join(a.home, "hosts.yml")
	text := fmt.Sprintf(`case: two-hosts
defaults:
  username: ops
  key: %s
  module: %s
  module_sha256: %s
hosts:
- {addr: 127.0.0.1, port: %s, name: web1, known_hosts: %s, labels: {role: web}, output: web}
- {addr: 127.0.0.1, port: %s, name: db1, known_hosts: %s, username: opspw, sudo_password: {env: DB_SUDO}, output: db}
- {addr: 127.0.0.1, port: 1, name: dead, known_hosts: %s, output: web}
`, parts.Key, parts.Module, pin, a.guest.Port(), a.known(), b.guest.Port(), b.known(), a.known())
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, nil, "hosts", "check", file).want(0, time.Minute)
	p := start(t, []string{"DB_SUDO=" + parts.Password}, "capture", "-c", file, "--ssh-config", "none", "--no-agent",
		"--sign-key", a.signKey(), "--progress", "lines")
	p.want(3, 8*time.Minute, "dead")
	a.clean(30 * time.Second)
	b.clean(30 * time.Second)
	if out := p.stdout.String(); strings.Count(out, "\tcomplete\t") != 2 || !strings.Contains(out, "dead\tfailed") {
		t.Errorf("stdout:\n%s", out)
	}
	a.dir, b.dir = filepath.Join(a.home, "web"), filepath.Join(a.home, "db")
	m := a.manifest()
	if !m.Complete || m.Case != "two-hosts" || m.Labels["role"] != "web" {
		t.Errorf("web1: complete %t, case %q, labels %v", m.Complete, m.Case, m.Labels)
	}
	if m := b.manifest(); !m.Complete || m.Method.Privilege != "sudo with password" {
		t.Errorf("db1: complete %t, %s", m.Complete, m.Method.Privilege)
	}
	start(t, nil, "verify", "--signers", a.signers(), m.Image.Location, b.manifest().Image.Location).want(0, time.Minute)
	t.Run("runbook", func(t *testing.T) { runbook(t, a, b) })
	t.Run("ec2", func(t *testing.T) { instances(t, a, b) })
}

//go:build unix

package transport_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// TestOpenSSHCertificates logs in with a certificate that stock ssh-keygen made, to the real sshd,
// which shows one itself.
func TestOpenSSHCertificates(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("no ssh-keygen: install openssh-client to test against the real one")
	}
	dir := t.TempDir()
	keygen := func(args ...string) {
		t.Helper()
		cmd := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen %v: %v: %s", args, err, out)
		}
	}
	read := func(name string) string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, name := range []string{"ca", "host", "user", "expired", "stranger"} {
		keygen("-t", "ed25519", "-N", "", "-f", name)
	}
	daemon := func(principal string) *transporttest.Daemon {
		t.Helper()
		keygen("-s", "ca", "-h", "-I", "a host", "-n", principal, "-V", "+1h", "host.pub")
		cert := filepath.Join(t.TempDir(), "host-cert.pub")
		if err := os.WriteFile(cert, []byte(read("host-cert.pub")), 0o600); err != nil {
			t.Fatal(err)
		}
		return transporttest.OpenSSHD(t, "HostKey "+filepath.Join(dir, "host"), "HostCertificate "+cert,
			"HostKeyAlgorithms ssh-ed25519-cert-v01@openssh.com", "TrustedUserCAKeys "+filepath.Join(dir, "ca.pub"))
	}
	d, elsewhere := daemon("127.0.0.1"), daemon("elsewhere")
	user := d.Target().User
	keygen("-s", "ca", "-I", "a user", "-n", user, "-V", "+1h", "user.pub")
	keygen("-s", "ca", "-I", "a user of old", "-n", user, "-V", "20200101:20200102", "expired.pub")
	keygen("-s", "stranger", "-I", "a user of another", "-n", user, "-V", "+1h", "stranger.pub")
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte("@cert-authority * "+read("ca.pub")), 0o600); err != nil {
		t.Fatal(err)
	}
	login := func(d *transporttest.Daemon, key string) (transport.Conn, error) {
		target := d.Target()
		target.Auth = transport.Auth{KeyFiles: []string{filepath.Join(dir, key)}, NoAgent: true}
		target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{known}}
		return transporttest.Dialer(t).Dial(t.Context(), target)
	}
	c, err := login(d, "user")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"true"}}); err != nil {
		t.Error(err)
	}
	if how := c.Info().HostKeyTrust; how != "cert-authority" {
		t.Errorf("the host key was accepted by %q, want its authority", how)
	}
	for _, key := range []string{"expired", "stranger"} {
		if c, err := login(d, key); !errors.Is(err, transport.ErrAuth) {
			t.Errorf("%s: %v", key, err)
			if err == nil {
				c.Close()
			}
		}
	}
	c, err = login(elsewhere, "user")
	if err == nil {
		c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "host certificate of") || errors.Is(err, transport.ErrAuth) {
		t.Errorf("a certificate for another host: %v", err)
	}
}

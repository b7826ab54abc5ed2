//go:build unix

package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestHostKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed, other, ca := newSigner(t, edKey(t)), newSigner(t, edKey(t)).PublicKey(), newSigner(t, edKey(t))
	// The server prefers none: it presents what the client asks for first.
	s := (&transporttest.Server{HostKeys: []ssh.Signer{ed, newSigner(t, ec)}}).Start(t)
	ecKey := newSigner(t, ec).PublicKey()
	name := knownhosts.Normalize(s.Addr())

	certified := func(principal string) *transporttest.Server {
		cert := &ssh.Certificate{Key: ed.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{principal}, ValidBefore: ssh.CertTimeInfinity}
		if err := cert.SignCert(rand.Reader, ca); err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewCertSigner(cert, ed)
		if err != nil {
			t.Fatal(err)
		}
		return (&transporttest.Server{HostKeys: []ssh.Signer{signer, ed}}).Start(t)
	}
	good, bad := certified("127.0.0.1"), certified("elsewhere")

	const (
		ok      = "ok"
		unknown = "unknown"
		changed = "changed"
		revoked = "revoked"
		invalid = "invalid"
	)
	line := func(host string, key ssh.PublicKey) string {
		return host + " " + string(ssh.MarshalAuthorizedKey(key))
	}
	for _, test := range []struct {
		name, file, want, trust string
		server                  *transporttest.Server
	}{
		{"plain", line(name, ed.PublicKey()), ok, "known_hosts", s},
		{"other type on record", line(name, ecKey), ok, "known_hosts", s},
		{"hashed", line(knownhosts.HashHostname(name), ed.PublicKey()), ok, "known_hosts", s},
		{"wildcard", line("127.0.0.*", ed.PublicKey()), ok, "known_hosts", s},
		{"without port", line("127.0.0.1", ed.PublicKey()), ok, "known_hosts", s},
		{"negated", line("!127.0.0.1,*", ed.PublicKey()), unknown, "", s},
		{"empty", "", unknown, "", s},
		{"changed", "# comment\n" + line(name, other), changed, "", s},
		{"revoked", line(name, ed.PublicKey()) + line("@revoked *", ed.PublicKey()), revoked, "", s},
		{"authority", line("@cert-authority *", ca.PublicKey()), ok, "cert-authority", good},
		{"authority revoked", line("@cert-authority *", ca.PublicKey()) + line("@revoked *", ca.PublicKey()), revoked, "", good},
		{"wrong principal", line("@cert-authority *", ca.PublicKey()), invalid, "", bad},
		{"wrong authority", line("@cert-authority "+knownhosts.Normalize(good.Addr()), other), changed, "", good},
		{"no authority", line("elsewhere", other), unknown, "", good},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			target := test.server.Target()
			target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{file}}
			c, err := transporttest.Dialer(t).Dial(t.Context(), target)
			if err == nil {
				defer c.Close()
			}
			if test.want == ok {
				if err != nil || c.Info().HostKeyTrust != test.trust {
					t.Errorf("got %v", err)
				}
				return
			}
			e, is := errors.AsType[*transport.HostKeyError](err)
			if test.want == invalid {
				if err == nil || is || !strings.Contains(err.Error(), "not valid") {
					t.Errorf("got %v", err)
				}
				return
			}
			if !is || e.Revoked != (test.want == revoked) || (len(e.Want) > 0) != (test.want == changed) || !strings.HasPrefix(e.Got, "SHA256:") || e.Hint() == "" {
				t.Fatalf("got %v", err)
			}
			if test.name == "changed" && (e.Where[0] != file+":2" || e.Want[0] != ssh.FingerprintSHA256(other) || e.Got != ssh.FingerprintSHA256(ed.PublicKey())) {
				t.Errorf("got %+v", e)
			}
			if len(e.Where) == 0 || !strings.HasPrefix(e.Where[0], file) {
				t.Errorf("where: %q", e.Where)
			}
		})
	}

	t.Run("pinned, second type", func(t *testing.T) {
		target := s.Target()
		target.HostKey.Fingerprints = []string{ssh.FingerprintSHA256(ecKey)}
		if c := dial(t, transporttest.Dialer(t), target); c.Info().HostKeyTrust != "pinned" || c.Info().HostKeyType != ecKey.Type() {
			t.Errorf("got %+v", c.Info())
		}
		target.HostKey.Fingerprints = []string{ssh.FingerprintSHA256(other)}
		_, err := transporttest.Dialer(t).Dial(t.Context(), target)
		if e, ok := errors.AsType[*transport.HostKeyError](err); !ok || len(e.Want) != 1 {
			t.Errorf("got %v", err)
		}
		target.HostKey.Fingerprints = []string{"SHA256:short"}
		if _, err := transporttest.Dialer(t).Dial(t.Context(), target); err == nil {
			t.Error("a malformed fingerprint was accepted")
		}
	})
	t.Run("insecure", func(t *testing.T) {
		target := s.Target()
		target.HostKey = transport.HostKeyPolicy{InsecureIgnore: true}
		if c := dial(t, transporttest.Dialer(t), target); c.Info().HostKeyTrust != "insecure" {
			t.Errorf("got %+v", c.Info())
		}
	})
	t.Run("broken file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "known_hosts")
		os.WriteFile(file, []byte("# fine\nhost ssh-ed25519 !!!\n"), 0o600)
		target := s.Target()
		target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{file}}
		if _, err := transporttest.Dialer(t).Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), file+":2") {
			t.Errorf("got %v", err)
		}
		target.HostKey.KnownHosts = []string{file + ".none"}
		if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("alias, StrictHostKeyChecking no", func(t *testing.T) {
		d := transporttest.Dialer(t)
		file := filepath.Join(d.Home, "kh")
		os.WriteFile(file, []byte(line("the-alias", ed.PublicKey())), 0o600)
		conf := filepath.Join(d.Home, "conf")
		d.ConfigFiles = []string{conf}
		target := s.Target()
		target.HostKey = transport.HostKeyPolicy{}
		os.WriteFile(conf, fmt.Appendf(nil, "StrictHostKeyChecking no\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\n", file), 0o600)
		_, err := d.Dial(t.Context(), target)
		if _, ok := errors.AsType[*transport.HostKeyError](err); !ok {
			t.Errorf("got %v", err)
		}
		os.WriteFile(conf, fmt.Appendf(nil, "HostKeyAlias the-alias\nUserKnownHostsFile %s\nGlobalKnownHostsFile none\n", file), 0o600)
		dial(t, d, target)
	})
	t.Run("ssh-keygen -H", func(t *testing.T) {
		if _, err := exec.LookPath("ssh-keygen"); err != nil {
			t.Skip("no ssh-keygen")
		}
		file := filepath.Join(t.TempDir(), "known_hosts")
		os.WriteFile(file, []byte(line(name, ed.PublicKey())), 0o600)
		if out, err := exec.Command("ssh-keygen", "-H", "-f", file).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		target := s.Target()
		target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{file}}
		dial(t, transporttest.Dialer(t), target)
	})
}

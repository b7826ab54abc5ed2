//go:build unix

package transport_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

func acceptPassword(want string) func(*ssh.ServerConfig) {
	return func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = nil
		c.PasswordCallback = func(_ ssh.ConnMetadata, pw []byte) (*ssh.Permissions, error) {
			if string(pw) == want {
				return nil, nil
			}
			return nil, errors.New("wrong")
		}
	}
}

func acceptKey(key ssh.PublicKey) func(*ssh.ServerConfig) {
	return func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if string(k.Marshal()) == string(key.Marshal()) {
				return nil, nil
			}
			return nil, errors.New("unknown key")
		}
	}
}

func secret(s string) transport.SecretFunc {
	return func(context.Context, string) ([]byte, error) { return []byte(s), nil }
}

func newSigner(t *testing.T, key any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func edKey(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestKeyTypes(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed := edKey(t)
	for name, test := range map[string]struct {
		signer ssh.Signer
		path   string
	}{
		"ed25519":   {newSigner(t, ed), transporttest.WriteKey(t, &ed, "")},
		"ecdsa":     {newSigner(t, ec), transporttest.WriteKey(t, ec, "")},
		"rsa":       {newSigner(t, rs), transporttest.WriteKey(t, rs, "")},
		"encrypted": {lockedSigner(t), locked},
	} {
		t.Run(name, func(t *testing.T) {
			s := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
				acceptKey(test.signer.PublicKey())(c)
				c.PublicKeyAuthAlgorithms = ssh.SupportedAlgorithms().PublicKeyAuths // no SHA-1
			}}).Start(t)
			target := s.Target()
			target.Auth.KeyFiles = []string{test.path}
			target.Auth.Passphrase = secret("sesame")
			c := dial(t, transporttest.Dialer(t), target)
			if c.Info().Auth != "publickey" || c.Info().AuthKey != ssh.FingerprintSHA256(test.signer.PublicKey()) {
				t.Errorf("got %+v", c.Info())
			}
		})
	}
}

// locked is encrypted with one round of bcrypt: the usual 16 take seconds
// under the race detector.
const locked = "testdata/locked_ed25519"

func lockedSigner(t *testing.T) ssh.Signer {
	t.Helper()
	data, err := os.ReadFile(locked)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.ParsePrivateKeyWithPassphrase(data, []byte("sesame"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBadKeyFile(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	os.WriteFile(garbage, []byte("hello"), 0o600)
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such file", garbage: "no key found"} {
		target := s.Target()
		target.Auth.KeyFiles = append(target.Auth.KeyFiles, path)
		if _, err := transporttest.Dialer(t).Dial(t.Context(), target); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if s.Seen() != 0 {
		t.Error("dialled in spite of a bad key")
	}
	s = (&transporttest.Server{Configure: acceptKey(lockedSigner(t).PublicKey())}).Start(t)
	target := s.Target()
	target.Auth.KeyFiles = []string{locked}
	for _, test := range []struct {
		ask  transport.SecretFunc
		want string
	}{{secret("wrong"), "wrong passphrase"}, {nil, "needs a passphrase"}} {
		target.Auth.Passphrase = test.ask
		_, err := transporttest.Dialer(t).Dial(t.Context(), target)
		if !errors.Is(err, transport.ErrAuth) || !strings.Contains(err.Error(), locked) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v", err)
		}
	}
}

func TestAuthError(t *testing.T) {
	s := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		acceptPassword("right-secret")(c)
		acceptKey(newSigner(t, edKey(t)).PublicKey())(c)
		c.BannerCallback = func(ssh.ConnMetadata) string { return "go \x1b[31maway" }
	}}).Start(t)
	target := s.Target()
	target.Auth.Password = secret("wrong-secret")
	_, err := transporttest.Dialer(t).Dial(t.Context(), target)
	if !errors.Is(err, transport.ErrAuth) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{`"tester"`, s.Addr(), "publickey", "password", "SHA256:", target.Auth.KeyFiles[0], `\x1b[31m`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("a secret or an escape sequence in %q", err)
	}
	if h, ok := errors.AsType[transport.Hinter](err); !ok || h.Hint() == "" {
		t.Error("no hint")
	}
}

func TestPasswords(t *testing.T) {
	s := (&transporttest.Server{Configure: acceptPassword("pw")}).Start(t)
	target := s.Target()
	target.Auth.Password = secret("pw")
	if c := dial(t, transporttest.Dialer(t), target); c.Info().Auth != "password" || c.Info().AuthKey != "" {
		t.Errorf("got %+v", c.Info())
	}
	s = (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = nil
		c.KeyboardInteractiveCallback = func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
			if a, err := ask("", "", []string{"Code: "}, []bool{false}); err != nil || a[0] != "pw" {
				return nil, errors.New("wrong")
			}
			return nil, nil
		}
	}}).Start(t)
	target = s.Target()
	var prompt string
	target.Auth.Password = func(_ context.Context, p string) ([]byte, error) { prompt = p; return []byte("pw"), nil }
	if c := dial(t, transporttest.Dialer(t), target); c.Info().Auth != "keyboard-interactive" || !strings.Contains(prompt, `"Code:"`) {
		t.Errorf("got %+v, prompt %q", c.Info(), prompt)
	}
	broken := errors.New("terminal gone")
	target.Auth.Password = func(context.Context, string) ([]byte, error) { return nil, broken }
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	target.Auth.Password = func(context.Context, string) ([]byte, error) { return nil, transport.ErrNoSecret }
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, transport.ErrAuth) {
		t.Errorf("got %v", err)
	}
}

func TestHumanIsNotTimed(t *testing.T) {
	s := (&transporttest.Server{Configure: acceptPassword("pw")}).Start(t)
	d := transporttest.Dialer(t)
	d.DialTimeout = 2 * time.Second
	target := s.Target()
	target.Auth.Password = func(ctx context.Context, _ string) ([]byte, error) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(d.DialTimeout + 100*time.Millisecond): // a slow typist
			return []byte("pw"), nil
		}
	}
	dial(t, d, target)
}

// startAgent serves an agent with n useless keys and then key.
func startAgent(t *testing.T, n int, key any) string {
	t.Helper()
	ring := agent.NewKeyring()
	for range n {
		ring.Add(agent.AddedKey{PrivateKey: edKey(t)})
	}
	if key != nil {
		ring.Add(agent.AddedKey{PrivateKey: key})
	}
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { agent.ServeAgent(ring, c); c.Close() }()
		}
	}()
	return path
}

func TestAgent(t *testing.T) {
	key := edKey(t)
	signer := newSigner(t, key)
	s := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		acceptKey(signer.PublicKey())(c)
		c.MaxAuthTries = 6
	}}).Start(t)
	target := s.Target()
	target.Auth = transport.Auth{}
	t.Setenv("SSH_AUTH_SOCK", startAgent(t, 2, key))
	if c := dial(t, transporttest.Dialer(t), target); c.Info().AuthKey != ssh.FingerprintSHA256(signer.PublicKey()) {
		t.Errorf("got %+v", c.Info())
	}
	target.Auth.NoAgent = true
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, transport.ErrAuth) {
		t.Errorf("NoAgent: %v", err)
	}
	// A full agent does not use up the tries before the key that was named.
	t.Setenv("SSH_AUTH_SOCK", startAgent(t, 20, nil))
	target.Auth = transport.Auth{KeyFiles: []string{transporttest.WriteKey(t, &key, "")}}
	dial(t, transporttest.Dialer(t), target)
	target.Auth = transport.Auth{}
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, transport.ErrAuth) {
		t.Errorf("a full agent alone: %v", err)
	}
	// IdentityAgent, IdentitiesOnly and a public key that selects the agent's.
	d := transporttest.Dialer(t)
	pub := filepath.Join(d.Home, "k.pub")
	os.WriteFile(pub, ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600)
	file := filepath.Join(d.Home, "config")
	os.WriteFile(file, []byte("IdentityAgent "+startAgent(t, 20, key)+"\nIdentitiesOnly yes\nIdentityFile "+pub+"\n"), 0o600)
	d.ConfigFiles = []string{file}
	dial(t, d, target)
}

func TestUserCertificate(t *testing.T) {
	key, ca := edKey(t), newSigner(t, edKey(t))
	path := transporttest.WriteKey(t, &key, "")
	cert := &ssh.Certificate{Key: newSigner(t, key).PublicKey(), CertType: ssh.UserCert, ValidPrincipals: []string{"tester"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path+"-cert.pub", ssh.MarshalAuthorizedKey(cert), 0o600)
	s := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		checker := ssh.CertChecker{IsUserAuthority: func(k ssh.PublicKey) bool { return string(k.Marshal()) == string(ca.PublicKey().Marshal()) }}
		c.PublicKeyCallback = checker.Authenticate
	}}).Start(t)
	target := s.Target()
	target.Auth = transport.Auth{KeyFiles: []string{path}, NoAgent: true}
	dial(t, transporttest.Dialer(t), target)
	target.User = "somebody"
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, transport.ErrAuth) || !strings.Contains(err.Error(), `is for ["tester"]`) {
		t.Errorf("got %v", err)
	}
}

package signature_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/shotglass-ir/shotglass/acquire/signature"
)

// keygen runs the real ssh-keygen in dir.
func keygen(t *testing.T, dir string, stdin []byte, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ssh-keygen", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TZ=UTC", "SSH_AUTH_SOCK=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func mustKeygen(t *testing.T, dir string, stdin []byte, args ...string) string {
	t.Helper()
	out, err := keygen(t, dir, stdin, args...)
	if err != nil {
		t.Fatalf("ssh-keygen %q: %v\n%s", args, err, out)
	}
	return out
}

func needKeygen(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip(err)
	}
}

func put(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func get(t *testing.T, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestOpenSSH exchanges signatures with ssh-keygen, in both directions.
func TestOpenSSH(t *testing.T) {
	needKeygen(t)
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			mustKeygen(t, dir, nil, "-q", "-t", kind, "-N", "", "-C", "laptop", "-f", "id")
			line := `*@example.org namespaces="manifest@*",valid-after="20200101Z" ` + string(get(t, dir, "id.pub"))
			put(t, dir, "signers", []byte(line))
			trusted := allowed(t, line)

			// Ours, checked by ssh-keygen.
			s, err := signature.LoadSigner(filepath.Join(dir, "id"), nil)
			if err != nil {
				t.Fatal(err)
			}
			put(t, dir, "ours.sig", sign(t, s))
			verify := func(data []byte, sig, principal string) error {
				out, err := keygen(t, dir, data, "-Y", "verify", "-f", "signers", "-I", principal, "-n", signature.Namespace, "-s", sig)
				if err != nil {
					err = fmt.Errorf("%w: %s", err, out)
				}
				return err
			}
			if err := verify(manifest, "ours.sig", "alice@example.org"); err != nil {
				t.Errorf("ssh-keygen -Y verify: %v", err)
			}
			if verify(append(manifest, 'x'), "ours.sig", "alice@example.org") == nil {
				t.Error("ssh-keygen verified other content")
			}
			if verify(manifest, "ours.sig", "alice@example.com") == nil {
				t.Error("ssh-keygen verified another principal")
			}
			if out := mustKeygen(t, dir, nil, "-Y", "find-principals", "-f", "signers", "-s", "ours.sig"); out != "*@example.org\n" {
				t.Errorf("ssh-keygen -Y find-principals: %q", out)
			}

			// Theirs, checked by us.
			for _, hash := range []string{"sha512", "sha256"} {
				put(t, dir, hash, manifest)
				mustKeygen(t, dir, nil, "-q", "-Y", "sign", "-O", "hashalg="+hash, "-f", "id", "-n", signature.Namespace, hash)
				id, err := signature.Verify(manifest, get(t, dir, hash+".sig"), trusted, time.Now())
				if err != nil || !id.Is("alice@example.org") || id.Is("alice@example.com") {
					t.Errorf("Verify of ssh-keygen's %s: %+v, %v", hash, id, err)
				} else if id.HashAlgorithm != hash {
					t.Logf("ssh-keygen does not know -O hashalg: it used %s", id.HashAlgorithm)
				}
				if _, err := signature.Verify([]byte("x"), get(t, dir, hash+".sig"), trusted, time.Now()); !errors.Is(err, signature.ErrBadSignature) {
					t.Errorf("Verify of other content: %v", err)
				}
			}
			put(t, dir, "file", manifest)
			mustKeygen(t, dir, nil, "-q", "-Y", "sign", "-f", "id", "-n", "file", "file")
			if _, err := signature.Verify(manifest, get(t, dir, "file.sig"), trusted, time.Now()); !errors.Is(err, signature.ErrBadSignature) {
				t.Errorf("Verify of a signature for files: %v", err)
			}
		})
	}
}

// TestOpenSSHAgrees holds our reading of allowed-signers files against theirs.
func TestOpenSSHAgrees(t *testing.T) {
	needKeygen(t)
	s, dir := signer(t, "ed25519"), t.TempDir()
	key, sig := authorized(s.PublicKey()), sign(t, s)
	put(t, dir, "sig", sig)
	for _, line := range []string{
		"alice@x " + key,
		"  alice@x\t" + key + " a comment",
		`"alice@x,bob@x" ` + key,
		"# alice@x " + key,
		"bob@x " + key,
		"*@x " + key,
		"*@x,!alice@x " + key,
		"!alice@x,*@x " + key,
		"ALICE@x " + key,
		"?lice@? " + key,
		"bob@x,alice@x " + key,
		"alice@x " + authorized(signer(t, "rsa").PublicKey()),
		"alice@x cert-authority " + key,
		`alice@x namespaces="file" ` + key,
		`alice@x namespaces="file,manifest@shotglass-ir" ` + key,
		`alice@x namespaces="manifest@*" ` + key,
		`alice@x namespaces="*,!manifest@*" ` + key,
		`alice@x NAMESPACES="manifest@*" ` + key,
		`alice@x namespaces=manifest@shotglass-ir ` + key,
		`alice@x namespaces="a",namespaces="manifest@*" ` + key,
		`alice@x unknown ` + key,
		`alice@x valid-after="20260301" ` + key,
		`alice@x valid-after="202603011200" ` + key,
		`alice@x valid-after="20260301120000Z" ` + key,
		`alice@x valid-after="20260301120001Z" ` + key,
		`alice@x valid-before="20260301120000Z" ` + key,
		`alice@x valid-before="20260301115959Z" ` + key,
		`alice@x valid-before="2026030112Z" ` + key,
		`alice@x valid-after="20260101",valid-before="20270101",namespaces="manifest@*" ` + key,
		`alice@x valid-after="20270101",valid-before="20260101" ` + key,
		`alice@x ` + strings.Replace(key, "ssh-ed25519", "ssh-rsa", 1),
	} {
		put(t, dir, "signers", []byte(line+"\n"))
		_, theirs := keygen(t, dir, manifest, "-Y", "verify", "-f", "signers", "-I", "alice@x",
			"-n", signature.Namespace, "-s", "sig", "-O", "verify-time=20260301120000Z")
		ours := false
		if a, err := signature.ParseAllowedSigners(strings.NewReader(line), "signers"); err == nil {
			id, err := signature.Verify(manifest, sig, a, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
			ours = err == nil && id.Is("alice@x")
		}
		if ours != (theirs == nil) {
			t.Errorf("%q: trusted by us: %t, by ssh-keygen: %t", line, ours, theirs == nil)
		}
	}
}

func TestOpenSSHCertificate(t *testing.T) {
	needKeygen(t)
	for _, kind := range []string{"ed25519", "rsa"} {
		dir := t.TempDir()
		for _, name := range []string{"ca", "id"} {
			mustKeygen(t, dir, nil, "-q", "-t", kind, "-N", "", "-f", name)
		}
		mustKeygen(t, dir, nil, "-q", "-s", "ca", "-I", "alice", "-n", "alice@example.org,root", "-V", "-1h:+1h", "id.pub")
		put(t, dir, "m", manifest)
		mustKeygen(t, dir, nil, "-q", "-Y", "sign", "-f", "id-cert.pub", "-n", signature.Namespace, "m")
		trusted := allowed(t, "*@example.org cert-authority "+string(get(t, dir, "ca.pub")))
		id, err := signature.Verify(manifest, get(t, dir, "m.sig"), trusted, time.Now())
		if err != nil || !id.Is("alice@example.org") || id.Is("root") || id.Authority == "" {
			t.Errorf("%s: Verify of a certificate: %+v, %v", kind, id, err)
		}
		if _, err := signature.Verify(manifest, get(t, dir, "m.sig"), trusted, time.Now().Add(2*time.Hour)); !errors.Is(err, signature.ErrUntrusted) {
			t.Errorf("%s: Verify of an expired certificate: %v", kind, err)
		}
	}
}

func TestLoadSigner(t *testing.T) {
	needKeygen(t)
	dir := t.TempDir()
	mustKeygen(t, dir, nil, "-q", "-t", "ed25519", "-N", "secret", "-a", "1", "-f", "id")
	mustKeygen(t, dir, nil, "-q", "-t", "rsa", "-b", "1024", "-N", "", "-f", "weak")
	id := filepath.Join(dir, "id")

	asked := ""
	right := func(path string) ([]byte, error) { asked = path; return []byte("secret"), nil }
	s, err := signature.LoadSigner(id, right)
	if err != nil || asked != id {
		t.Fatalf("LoadSigner: %v, asked for %q", err, asked)
	}
	sign(t, s)

	boom := errors.New("boom")
	put(t, dir, "text", []byte("not a key"))
	put(t, dir, "big", bytes.Repeat([]byte("x"), 100_000))
	for _, tt := range []struct {
		path string
		ask  func(string) ([]byte, error)
		is   error
		want string
	}{
		{"id", nil, nil, "ssh-add"},
		{"id", func(string) ([]byte, error) { return []byte("wrong"), nil }, signature.ErrPassphrase, ""},
		{"id", func(string) ([]byte, error) { return nil, boom }, boom, ""},
		{"id.pub", right, signature.ErrPublicKey, "agent"},
		{"weak", right, nil, "1024 bits"},
		{"text", right, nil, "no key found"},
		{"big", right, nil, "not a key"},
		{"missing", right, os.ErrNotExist, ""},
		{".", right, nil, ""},
	} {
		_, err := signature.LoadSigner(filepath.Join(dir, tt.path), tt.ask)
		if err == nil || tt.is != nil && !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("LoadSigner(%s): %v, want %q", tt.path, err, tt.want)
		}
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(id, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := signature.LoadSigner(id, right); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("LoadSigner of a key that is open to others: %v", err)
		}
	}
}

// serveAgent is an agent that holds keys, at the other end of the connection.
func serveAgent(t *testing.T, names ...string) (agent.Agent, net.Conn) {
	t.Helper()
	ring := agent.NewKeyring()
	for _, name := range names {
		if err := ring.Add(agent.AddedKey{PrivateKey: keys()[name]}); err != nil {
			t.Fatal(err)
		}
	}
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		agent.ServeAgent(ring, theirs)
	}()
	t.Cleanup(func() {
		ours.Close()
		<-done
	})
	return agent.NewClient(ours), ours
}

func TestAgentSigner(t *testing.T) {
	names := []string{"ed25519", "ecdsa", "rsa", "weak"}
	for _, name := range names {
		pub := signer(t, name).PublicKey()
		path := put(t, t.TempDir(), "id.pub", ssh.MarshalAuthorizedKey(pub))
		loaded, err := signature.LoadPublicKey(path)
		if err != nil {
			t.Fatal(err)
		}
		client, _ := serveAgent(t, names...)
		s, err := signature.AgentSigner(client, loaded)
		if name == "weak" {
			if err == nil {
				t.Error("AgentSigner took a weak key")
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := signature.Verify(manifest, sign(t, s), allowed(t, "alice "+authorized(pub)), time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	two, _ := serveAgent(t, "rsa", "ecdsa")
	_, err := signature.AgentSigner(two, signer(t, "ed25519").PublicKey())
	if err == nil || !strings.Contains(err.Error(), "does not hold the key SHA256:") || !strings.Contains(err.Error(), "2 others") {
		t.Errorf("AgentSigner of another key: %v", err)
	}
	dead, conn := serveAgent(t)
	conn.Close()
	if _, err := signature.AgentSigner(dead, signer(t, "rsa").PublicKey()); err == nil {
		t.Error("AgentSigner over a dead connection succeeded")
	}
	if _, err := signature.LoadPublicKey(put(t, t.TempDir(), "x", []byte("x"))); err == nil {
		t.Error("LoadPublicKey took text")
	}
}

// TestRealAgent signs with ssh-agent, from a .pub file, as ssh-keygen does.
func TestRealAgent(t *testing.T) {
	needKeygen(t)
	for _, tool := range []string{"ssh-agent", "ssh-add"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir, err := os.MkdirTemp("", "agent") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	mustKeygen(t, dir, nil, "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", "id")
	mustKeygen(t, dir, nil, "-q", "-s", "id", "-I", "x", "-n", "alice", "id.pub") // ssh-add adds it too
	sock := filepath.Join(dir, "sock")
	server := exec.CommandContext(t.Context(), "ssh-agent", "-D", "-a", sock)
	if err := server.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	var conn net.Conn
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if conn, err = net.Dial("unix", sock); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	add := exec.CommandContext(t.Context(), "ssh-add", "-q", filepath.Join(dir, "id"))
	add.Env = append(os.Environ(), "SSH_AUTH_SOCK="+sock)
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("ssh-add: %v\n%s", err, out)
	}
	client := agent.NewClient(conn)
	for _, name := range []string{"id.pub", "id-cert.pub"} {
		pub, err := signature.LoadPublicKey(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		s, err := signature.AgentSigner(client, pub)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signature.Verify(manifest, sign(t, s), allowed(t, "alice "+authorized(pub)), time.Now()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

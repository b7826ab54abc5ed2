package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/signature"
)

var manifest = []byte(`{"v":1,"complete":true}` + "\n")

// keys are made once: RSA takes its time.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	must := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			panic(err)
		}
		return k
	}
	rsaKey := func(bits int) crypto.Signer { return must(rsa.GenerateKey(rand.Reader, bits)) }
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	return map[string]crypto.Signer{
		"ed25519":  must(ed, err),
		"ecdsa":    must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"ecdsa521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"rsa":      rsaKey(2048),
		"weak":     rsaKey(1024),
	}
})

func signer(t testing.TB, name string) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromSigner(keys()[name])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func allowed(t testing.TB, lines ...string) *signature.AllowedSigners {
	t.Helper()
	a, err := signature.ParseAllowedSigners(strings.NewReader(strings.Join(lines, "\n")), "allowed_signers")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// authorized returns a key as lines of OpenSSH hold it.
func authorized(pub ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

func sign(t testing.TB, s ssh.Signer) []byte {
	t.Helper()
	armored, err := signature.Sign(manifest, s)
	if err != nil {
		t.Fatal(err)
	}
	return armored
}

func TestSignVerify(t *testing.T) {
	for _, name := range []string{"ed25519", "ecdsa", "ecdsa521", "rsa"} {
		s := signer(t, name)
		trusted := allowed(t, "# signers", "", "alice@example.org,ir-*@example.org "+authorized(s.PublicKey())+" laptop")
		id, err := signature.Verify(manifest, sign(t, s), trusted, time.Now())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if id.Fingerprint != ssh.FingerprintSHA256(s.PublicKey()) || id.KeyType != s.PublicKey().Type() ||
			id.HashAlgorithm != "sha512" || id.Source != "allowed_signers:3" || id.Authority != "" {
			t.Errorf("%s: %+v", name, id)
		}
		for principal, want := range map[string]bool{
			"alice@example.org": true, "ir-7@example.org": true, "mallory@example.org": false, "": false,
		} {
			if id.Is(principal) != want {
				t.Errorf("%s: Is(%q) = %t", name, principal, !want)
			}
		}
	}
}

// TestVerifyFlippedBytes alters each byte of the content and of the signature
// file, bit by bit.
func TestVerifyFlippedBytes(t *testing.T) {
	s := signer(t, "ed25519")
	armored, trusted := sign(t, s), allowed(t, "alice "+authorized(s.PublicKey()))
	for what, b := range map[string][]byte{"content": bytes.Clone(manifest), "signature": bytes.Clone(armored)} {
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				data, sig := manifest, b
				if what == "content" {
					data, sig = b, armored
				}
				if _, err := signature.Verify(data, sig, trusted, time.Now()); !errors.Is(err, signature.ErrBadSignature) {
					t.Fatalf("%s with bit %d of byte %d flipped (%q): %v", what, bit, i, b, err)
				}
				b[i] ^= 1 << bit
			}
		}
	}
	if _, err := signature.Verify(manifest, armored, trusted, time.Now()); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyArmor(t *testing.T) {
	s := signer(t, "ed25519")
	armored, trusted := string(sign(t, s)), allowed(t, "alice "+authorized(s.PublicKey()))
	for name, tt := range map[string]struct {
		text string
		good bool
	}{
		"as written":        {armored, true},
		"no final newline":  {strings.TrimSuffix(armored, "\n"), true},
		"CRLF":              {strings.ReplaceAll(armored, "\n", "\r\n"), true},
		"empty":             {"", false},
		"text before":       {"hello\n" + armored, false},
		"text after":        {armored + "hello\n", false},
		"two":               {armored + armored, false},
		"header":            {strings.Replace(armored, "\n", "\nComment: x\n\n", 1), false},
		"another block":     {strings.ReplaceAll(armored, "SSH SIGNATURE", "PGP SIGNATURE"), false},
		"lone CR":           {strings.ReplaceAll(armored, "\n", "\r"), false},
		"cut":               {armored[:len(armored)/2], false},
		"larger than a key": {armored + strings.Repeat("\n", 100_000), false},
		"begin only":        {"-----BEGIN SSH SIGNATURE-----\n", false},
		"empty block":       {"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", false},
	} {
		_, err := signature.Verify(manifest, []byte(tt.text), trusted, time.Now())
		if tt.good != (err == nil) || !tt.good && !errors.Is(err, signature.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// wire is the blob of PROTOCOL.sshsig.
type wire struct {
	Magic     [6]byte
	Version   uint32
	PublicKey string
	Namespace string
	Reserved  string
	Hash      string
	Signature string
}

func TestVerifyWire(t *testing.T) {
	s := signer(t, "ed25519")
	trusted := allowed(t, "alice "+authorized(s.PublicKey()))
	block, _ := pem.Decode(sign(t, s))
	for name, alter := range map[string]func(*wire){
		"none":           func(*wire) {},
		"reserved":       func(w *wire) { w.Reserved = "x" },
		"version":        func(w *wire) { w.Version = 2 },
		"magic":          func(w *wire) { w.Magic[0] = 's' },
		"hash":           func(w *wire) { w.Hash = "sha256" },
		"weak hash":      func(w *wire) { w.Hash = "sha1" },
		"namespace":      func(w *wire) { w.Namespace = "file" },
		"key":            func(w *wire) { w.PublicKey = string(signer(t, "ecdsa").PublicKey().Marshal()) },
		"no key":         func(w *wire) { w.PublicKey = "" },
		"no signature":   func(w *wire) { w.Signature = "" },
		"long signature": func(w *wire) { w.Signature += "x" },
	} {
		var w wire
		if err := ssh.Unmarshal(block.Bytes, &w); err != nil {
			t.Fatal(err)
		}
		alter(&w)
		armored := pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: ssh.Marshal(w)})
		_, err := signature.Verify(manifest, armored, trusted, time.Now())
		if name == "none" != (err == nil) || err != nil && !errors.Is(err, signature.ErrBadSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVerifyForeign: what other tools make of the same keys.
func TestVerifyForeign(t *testing.T) {
	foreign := func(s ssh.Signer, h sshsig.HashAlgorithm, namespace string) []byte {
		sig, err := sshsig.Sign(bytes.NewReader(manifest), s, h, namespace)
		if err != nil {
			t.Fatal(err)
		}
		return sshsig.Armor(sig)
	}
	s, weak := signer(t, "rsa"), signer(t, "weak")
	trusted := allowed(t, "alice "+authorized(s.PublicKey()), "weak "+authorized(weak.PublicKey()))
	for name, tt := range map[string]struct {
		armored []byte
		want    error
		text    string
	}{
		"sha256":    {foreign(s, sshsig.HashSHA256, signature.Namespace), nil, ""},
		"sha512":    {foreign(s, sshsig.HashSHA512, signature.Namespace), nil, ""},
		"namespace": {foreign(s, sshsig.HashSHA512, "file"), signature.ErrBadSignature, `namespace "file"`},
		"weak":      {foreign(weak, sshsig.HashSHA512, signature.Namespace), signature.ErrUntrusted, "1024 bits"},
	} {
		_, err := signature.Verify(manifest, tt.armored, trusted, time.Now())
		if !errors.Is(err, tt.want) || err != nil && !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := signature.Sign(manifest, weak); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("Sign with a weak key: %v", err)
	}
}

func TestVerifyUntrusted(t *testing.T) {
	s, other := signer(t, "ed25519"), signer(t, "ecdsa")
	armored, key := sign(t, s), authorized(s.PublicKey())
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		line string
		want string // "" means trusted
	}{
		"other key":         {"alice " + authorized(other.PublicKey()), "is not known"},
		"authority":         {"alice cert-authority " + key, "is not known"},
		"namespace":         {`alice namespaces="file,git" ` + key, "do not include"},
		"negated namespace": {`alice namespaces="*,!manifest@*" ` + key, "do not include"},
		"our namespace":     {`alice namespaces="file,manifest@shotglass-ir" ` + key, ""},
		"pattern":           {`alice NameSpaces="manifest@*" ` + key, ""},
		"not yet":           {`alice valid-after="20260302Z" ` + key, "valid only from 2026-03-02T00:00:00Z"},
		"expired":           {`alice valid-before="20260301Z" ` + key, "valid until 2026-03-01T00:00:00Z"},
		"expired a second":  {`alice valid-before="20260301115959Z" ` + key, "valid until"},
		"last second":       {`alice valid-before="20260301120000Z" ` + key, ""},
		"first second":      {`alice valid-after="202603011200Z" ` + key, ""},
		"in time":           {`alice valid-after="20260101Z",valid-before="20270101Z",namespaces="*" ` + key, ""},
	} {
		id, err := signature.Verify(manifest, armored, allowed(t, tt.line), now)
		if tt.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, signature.ErrUntrusted) || !strings.Contains(err.Error(), tt.want) ||
			!strings.Contains(err.Error(), ssh.FingerprintSHA256(s.PublicKey())) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if id.Fingerprint != ssh.FingerprintSHA256(s.PublicKey()) || id.Principals != nil {
			t.Errorf("%s: %+v", name, id)
		}
	}
	// A later line may still vouch; and nothing vouches by default.
	two := allowed(t, `old valid-before="20250101Z" `+key, "new "+key)
	if id, err := signature.Verify(manifest, armored, two, now); err != nil || !id.Is("new") || id.Is("old") {
		t.Errorf("two lines: %+v, %v", id, err)
	}
	for _, none := range []*signature.AllowedSigners{nil, {}, allowed(t)} {
		if _, err := signature.Verify(manifest, armored, none, now); !errors.Is(err, signature.ErrUntrusted) {
			t.Errorf("no signers: %v", err)
		}
	}
}

func TestVerifyCertificate(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ca, key := signer(t, "ecdsa"), signer(t, "ed25519")
	issue := func(alter func(*ssh.Certificate)) ssh.Signer {
		cert := &ssh.Certificate{
			Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "alice", ValidPrincipals: []string{"alice@example.org", "root"},
			ValidAfter: uint64(now.Unix() - 60), ValidBefore: uint64(now.Unix() + 60),
		}
		alter(cert)
		if cert.Signature == nil {
			if err := cert.SignCert(rand.Reader, ca); err != nil {
				t.Fatal(err)
			}
		}
		s, err := ssh.NewCertSigner(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	verify := func(s ssh.Signer, lines ...string) (signature.Identity, error) {
		// Sign takes plain keys only; ssh-keygen takes certificates too.
		sig, err := sshsig.Sign(bytes.NewReader(manifest), s, sshsig.HashSHA512, signature.Namespace)
		if err != nil {
			t.Fatal(err)
		}
		return signature.Verify(manifest, sshsig.Armor(sig), allowed(t, lines...), now)
	}
	trust := "*@example.org cert-authority " + authorized(ca.PublicKey())
	same := func(*ssh.Certificate) {}

	id, err := verify(issue(same), trust)
	if err != nil || !id.Is("alice@example.org") || id.Is("root") || id.Is("bob@example.org") ||
		id.Authority != ssh.FingerprintSHA256(ca.PublicKey()) || id.Fingerprint != ssh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("certificate: %+v, %v", id, err)
	}
	if _, err := signature.Sign(manifest, issue(same)); err == nil {
		t.Error("Sign took a certificate")
	}
	for name, alter := range map[string]func(*ssh.Certificate){
		"host":           func(c *ssh.Certificate) { c.CertType = ssh.HostCert },
		"no principals":  func(c *ssh.Certificate) { c.ValidPrincipals = nil },
		"others":         func(c *ssh.Certificate) { c.ValidPrincipals = []string{"root"} },
		"pattern":        func(c *ssh.Certificate) { c.ValidPrincipals = []string{"*@example.org"} },
		"expired":        func(c *ssh.Certificate) { c.ValidBefore = uint64(now.Unix() - 1) },
		"not yet":        func(c *ssh.Certificate) { c.ValidAfter = uint64(now.Unix() + 1) },
		"critical":       func(c *ssh.Certificate) { c.CriticalOptions = map[string]string{"x@y": ""} },
		"other CA":       func(c *ssh.Certificate) { c.SignCert(rand.Reader, signer(t, "ecdsa521")) },
		"forged":         func(c *ssh.Certificate) { c.SignCert(rand.Reader, ca); c.ValidPrincipals = []string{"bob@example.org"} },
		"signed by weak": func(c *ssh.Certificate) { c.SignCert(rand.Reader, signer(t, "weak")) },
	} {
		id, err := verify(issue(alter), trust, "*@example.org cert-authority "+authorized(signer(t, "weak").PublicKey()))
		if !errors.Is(err, signature.ErrUntrusted) || id.Principals != nil {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
	if _, err := verify(issue(same), "alice@example.org "+authorized(key.PublicKey())); !errors.Is(err, signature.ErrUntrusted) {
		t.Errorf("the plain key is listed, and a certificate signed: %v", err)
	}
	if _, err := verify(issue(same), "*@example.org "+authorized(ca.PublicKey())); !errors.Is(err, signature.ErrUntrusted) {
		t.Errorf("the authority's key without cert-authority: %v", err)
	}
}

// lyingSigner returns the signature of something else.
type lyingSigner struct{ ssh.Signer }

func (s lyingSigner) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	return s.Signer.Sign(r, append(data, 'x'))
}

func TestSignChecksItself(t *testing.T) {
	if _, err := signature.Sign(manifest, lyingSigner{signer(t, "ed25519")}); err == nil || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("Sign with a broken signer: %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	s := signer(f, "ed25519")
	trusted := allowed(f, "alice "+authorized(s.PublicKey()))
	good := sign(f, s)
	f.Add(good)
	f.Add(sign(f, signer(f, "rsa")))
	f.Add(sign(f, signer(f, "ecdsa")))
	f.Add([]byte("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----\n"))
	f.Fuzz(func(t *testing.T, armored []byte) {
		id, err := signature.Verify(manifest, armored, trusted, time.Now())
		if err == nil && id.Source != "allowed_signers:1" {
			t.Fatalf("%+v", id)
		}
		if err != nil && !errors.Is(err, signature.ErrBadSignature) && !errors.Is(err, signature.ErrUntrusted) {
			t.Fatal(err)
		}
		if _, err := signature.Verify([]byte("other content"), armored, trusted, time.Now()); err == nil {
			t.Fatal("good for other content")
		}
	})
}

func ExampleVerify() {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	signer, _ := ssh.NewSignerFromSigner(key)
	armored, _ := signature.Sign([]byte("manifest"), signer)

	line := "alice@example.org " + string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
	trusted, _ := signature.ParseAllowedSigners(strings.NewReader(line), "allowed_signers")
	id, err := signature.Verify([]byte("manifest"), armored, trusted, time.Now())
	fmt.Println(id.Principals, err)
	// Output: [alice@example.org] <nil>
}

// TestWith: a key is trusted beside a file's, and the file's lines keep their places.
func TestWith(t *testing.T) {
	own, other := signer(t, "ed25519"), signer(t, "rsa")
	file, err := signature.ParseAllowedSigners(strings.NewReader("# x\nbob "+string(ssh.MarshalAuthorizedKey(other.PublicKey()))), "signers")
	if err != nil {
		t.Fatal(err)
	}
	both := file.With(own.PublicKey(), "the signing key")
	for source, s := range map[string]ssh.Signer{"the signing key": own, "signers:2": other} {
		sig, err := signature.Sign([]byte("x"), s)
		if err != nil {
			t.Fatal(err)
		}
		id, err := signature.Verify([]byte("x"), sig, both, time.Now())
		if err != nil || id.Source != source {
			t.Errorf("%s: %+v, %v", source, id, err)
		}
		if _, err := signature.Verify([]byte("x"), sig, (*signature.AllowedSigners)(nil).With(own.PublicKey(), "me"), time.Now()); (err == nil) != (s == own) {
			t.Errorf("%s alone: %v", source, err)
		}
	}
	sig, err := signature.Sign([]byte("x"), own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signature.Verify([]byte("x"), sig, file, time.Now()); !errors.Is(err, signature.ErrUntrusted) {
		t.Errorf("the file was changed: %v", err)
	}
}

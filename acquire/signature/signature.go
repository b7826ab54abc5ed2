// Package signature signs manifests, and checks who signed one.
//
// A signature is an SSHSIG in a namespace of our own, made with the operator's
// SSH key, so that stock OpenSSH checks it too:
//
//	ssh-keygen -Y verify -f allowed_signers -I alice@example.org \
//	    -n manifest@shotglass-ir -s image.json.sig < image.json
//
// [Verify] answers two questions apart: is the signature good, and is its key
// one that the reader trusts. Trust comes from an allowed-signers file alone,
// never from the key that the signature carries.
package signature

import (
	"bytes"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Namespaces are the domains that signatures are good for (PROTOCOL.sshsig of
// OpenSSH): one made for files or mail does not pass for one of a manifest, nor
// one of a manifest for one of an audit log.
const (
	Namespace    = "manifest@shotglass-ir"
	LogNamespace = "audit-log@shotglass-ir"
)

// Namespaces is the pattern of all of them, for the namespaces option of an allowed-signers file.
const Namespaces = "*@shotglass-ir"

// ErrBadSignature is wrapped by errors about a signature that does not hold:
// the content or the signature was altered, or it was made for something else.
var ErrBadSignature = errors.New("bad signature")

// ErrUntrusted is wrapped by errors about a signature whose key the
// allowed-signers file does not vouch for.
var ErrUntrusted = errors.New("untrusted signer")

const (
	minRSA     = 2048
	maxRSA     = 16384 // as OpenSSH; larger keys only cost time
	maxArmored = 64 << 10
)

// Identity says whose signature it is.
type Identity struct {
	// Principals are the names that the allowed-signers file gives the key; they
	// may be patterns. For a certificate they are its principals that the file
	// admits.
	Principals    []string `json:"principals,omitempty"`
	Fingerprint   string   `json:"fingerprint"` // SHA256:..., of the key that signed
	KeyType       string   `json:"key_type"`
	Authority     string   `json:"authority,omitempty"` // fingerprint of the CA of a certificate
	HashAlgorithm string   `json:"hash_algorithm"`
	Source        string   `json:"source,omitempty"` // file:line that vouches for the key
}

// Is reports whether principal is one of the identity's names, as -I of
// ssh-keygen does.
func (id Identity) Is(principal string) bool {
	return matchList(principal, strings.Join(id.Principals, ","))
}

// Sign signs a manifest and returns the armored signature. It checks what the signer
// returned: an agent, or a token, may fail silently.
func Sign(data []byte, signer ssh.Signer) ([]byte, error) { return SignIn(Namespace, data, signer) }

// SignIn is Sign in a namespace.
func SignIn(namespace string, data []byte, signer ssh.Signer) ([]byte, error) {
	pub := signer.PublicKey()
	if err := usable(pub); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if isCertificate(pub.Type()) {
		return nil, errors.New("sign: the key is a certificate: sign with its plain key")
	}
	sig, err := sshsig.Sign(bytes.NewReader(data), signer, sshsig.HashSHA512, namespace)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	armored := sshsig.Armor(sig)
	if _, err := check(namespace, data, armored); err != nil {
		return nil, fmt.Errorf("sign: the signer returned a signature that does not hold: %w", err)
	}
	return armored, nil
}

// Verify checks the signature of a manifest, and that signers vouched for its key at
// the given time. The error wraps ErrBadSignature or ErrUntrusted; with
// ErrUntrusted the Identity says whose key it is.
func Verify(data, armored []byte, signers *AllowedSigners, at time.Time) (Identity, error) {
	return VerifyIn(Namespace, data, armored, signers, at)
}

// VerifyIn is Verify in a namespace.
func VerifyIn(namespace string, data, armored []byte, signers *AllowedSigners, at time.Time) (Identity, error) {
	sig, err := check(namespace, data, armored)
	if err != nil {
		return Identity{}, fmt.Errorf("%w: %w", ErrBadSignature, err)
	}
	id := Identity{
		Fingerprint:   fingerprint(sig.PublicKey),
		KeyType:       sig.PublicKey.Type(),
		HashAlgorithm: sig.HashAlgorithm.String(),
	}
	if err := usable(sig.PublicKey); err != nil {
		return id, fmt.Errorf("%w: %w", ErrUntrusted, err)
	}
	if err := signers.admit(&id, namespace, sig.PublicKey, at); err != nil {
		return id, fmt.Errorf("%w: the signature is good, but %w", ErrUntrusted, err)
	}
	return id, nil
}

// check returns the signature if it holds for data, whoever made it.
func check(namespace string, data, armored []byte) (*sshsig.Signature, error) {
	sig, err := dearmor(armored)
	if err != nil {
		return nil, err
	}
	if sig.Namespace != namespace {
		return nil, fmt.Errorf("it was made for the namespace %q, not for %q", sig.Namespace, namespace)
	}
	if err := formatFits(sig.PublicKey, sig.Signature); err != nil {
		return nil, err
	}
	if err := sshsig.Verify(bytes.NewReader(data), sig, sig.PublicKey, sig.HashAlgorithm, namespace); err != nil {
		return nil, fmt.Errorf("content and signature do not belong together: %w", err)
	}
	return sig, nil
}

const (
	armorBegin = "-----BEGIN SSH SIGNATURE-----\n"
	armorEnd   = "\n-----END SSH SIGNATURE-----"
)

// dearmor takes exactly what Armor and ssh-keygen write. encoding/pem would skip
// text around the block and spare bits of base64, so that a file could be
// altered and still pass.
func dearmor(armored []byte) (*sshsig.Signature, error) {
	if len(armored) > maxArmored {
		return nil, fmt.Errorf("signature has more than %d bytes", maxArmored)
	}
	text := strings.ReplaceAll(string(armored), "\r\n", "\n")
	body, begins := strings.CutPrefix(text, armorBegin)
	body, ends := strings.CutSuffix(strings.TrimSuffix(body, "\n"), armorEnd)
	if !begins || !ends || strings.Contains(body, "\r") {
		return nil, errors.New("not an armored SSH signature")
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(body)
	if err != nil {
		return nil, fmt.Errorf("not an armored SSH signature: %w", err)
	}
	sig, err := sshsig.ParseSignature(raw)
	if err != nil {
		return nil, err
	}
	// What parsing skips (the reserved field) must be empty.
	if !bytes.Equal(sig.Marshal(), raw) {
		return nil, errors.New("signature is not encoded as OpenSSH does")
	}
	return sig, nil
}

// formatFits refuses what the libraries would take: SHA-1 by a certificate of an RSA
// key, and bytes after a signature that has none.
func formatFits(pub ssh.PublicKey, sig *ssh.Signature) error {
	switch plain(pub).Type() {
	case ssh.KeyAlgoRSA:
		if sig.Format != ssh.KeyAlgoRSASHA512 && sig.Format != ssh.KeyAlgoRSASHA256 {
			return fmt.Errorf("algorithm %q is not accepted for an RSA key", sig.Format)
		}
	case ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256:
		return nil // flags and a counter follow
	}
	if len(sig.Rest) > 0 {
		return errors.New("bytes follow the signature")
	}
	return nil
}

// keyTypes are the plain keys that every OpenSSH since 8.2 can check.
var keyTypes = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA,
	ssh.KeyAlgoSKED25519, ssh.KeyAlgoSKECDSA256,
}

// usable returns an error for a key, or a certificate with a key, that is too weak
// to be evidence of anything.
func usable(pub ssh.PublicKey) error {
	pub = plain(pub)
	if !slices.Contains(keyTypes, pub.Type()) {
		return fmt.Errorf("key type %q is not accepted", pub.Type())
	}
	if pub.Type() != ssh.KeyAlgoRSA {
		return nil
	}
	c, ok := pub.(ssh.CryptoPublicKey)
	if !ok {
		return fmt.Errorf("cannot tell the size of the RSA key %s", fingerprint(pub))
	}
	key, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("cannot tell the size of the RSA key %s", fingerprint(pub))
	}
	if n := key.N.BitLen(); n < minRSA || n > maxRSA {
		return fmt.Errorf("RSA key %s has %d bits: %d to %d are accepted", fingerprint(pub), n, minRSA, maxRSA)
	}
	return nil
}

// plain returns the key of a certificate, and any other key as it is, parsed
// from its wire form if it is an agent's.
func plain(pub ssh.PublicKey) ssh.PublicKey {
	if _, ok := pub.(ssh.CryptoPublicKey); !ok {
		if parsed, err := ssh.ParsePublicKey(pub.Marshal()); err == nil {
			pub = parsed
		}
	}
	if cert, ok := pub.(*ssh.Certificate); ok {
		return cert.Key
	}
	return pub
}

func isCertificate(keyType string) bool { return strings.Contains(keyType, "-cert-v0") }

// fingerprint is that of the plain key, as ssh-keygen -l shows it.
func fingerprint(pub ssh.PublicKey) string { return ssh.FingerprintSHA256(plain(pub)) }

package transport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// A keyFile is a private key on disk, or a public one whose private half the
// agent holds.
type keyFile struct {
	path     string
	explicit bool // named by the user: it must be usable

	public    ssh.PublicKey // nil when only the passphrase reveals it
	signer    ssh.Signer    // nil when encrypted, or public only
	encrypted []byte
	certs     []*ssh.Certificate
}

// A keyError says why a key file is of no use.
type keyError struct {
	path string
	err  error
	hint string
}

func (e *keyError) Error() string { return fmt.Sprintf("key %s: %v", e.path, e.err) }
func (e *keyError) Unwrap() error { return e.err }

// Hint implements Hinter.
func (e *keyError) Hint() string {
	if e.hint != "" {
		return e.hint
	}
	return "check the file with: ssh-keygen -y -f " + Quote(e.path)
}

// loadKey reads a key file, the certificate beside it and, for a key whose
// public half is encrypted too, the NAME.pub beside it.
func loadKey(path string, explicit bool) (*keyFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		// The path is in the message already.
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, &keyError{path: path, err: err, hint: "name a private key that this user can read"}
	}
	k := &keyFile{path: path, explicit: explicit}
	raw, err := ssh.ParseRawPrivateKey(data)
	switch missing := (*ssh.PassphraseMissingError)(nil); {
	case err == nil:
		if k.signer, err = ssh.NewSignerFromKey(raw); err != nil {
			return nil, &keyError{path: path, err: err}
		}
		k.public = k.signer.PublicKey()
	case errors.As(err, &missing):
		k.encrypted, k.public = data, missing.PublicKey
		if k.public == nil {
			k.public = readPublic(path + ".pub")
		}
	default:
		if k.public, _, _, _, _ = ssh.ParseAuthorizedKey(data); k.public == nil {
			return nil, parseError(path, data, err)
		}
		path = strings.TrimSuffix(path, ".pub")
	}
	if cert, err := readCert(path + "-cert.pub"); err == nil {
		k.certs = append(k.certs, cert)
	}
	return k, nil
}

func parseError(path string, data []byte, err error) error {
	hint := ""
	switch {
	case bytes.HasPrefix(data, []byte("PuTTY-")):
		hint = "convert the PuTTY key: puttygen " + Quote(path) + " -O private-openssh -o NEWFILE"
	case bytes.Contains(data, []byte("BEGIN ENCRYPTED PRIVATE KEY")):
		hint = "convert a copy of the key to OpenSSH's format: ssh-keygen -p -f COPY"
	}
	return &keyError{path: path, err: err, hint: hint}
}

func readPublic(path string) ssh.PublicKey {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return key
}

func readCert(path string) (*ssh.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", path, err)
	}
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("certificate %s: it holds a plain key", path)
	}
	return cert, nil
}

// unlock decrypts the key. It asks again as long as the answer is a new one:
// a human mistypes, a stored passphrase does not.
func (k *keyFile) unlock(ask func(prompt string) ([]byte, error)) (ssh.Signer, error) {
	var last []byte
	for try := 0; ; try++ {
		secret, err := ask("passphrase for key " + k.path)
		if err != nil {
			hint := ""
			if errors.Is(err, ErrNoSecret) {
				err = fmt.Errorf("needs a passphrase: %w", err)
				hint = "give its passphrase, or load it into an agent: ssh-add " + Quote(k.path)
			}
			return nil, &keyError{path: k.path, err: err, hint: hint}
		}
		if try > 0 && bytes.Equal(secret, last) {
			return nil, &keyError{path: k.path, err: errors.New("wrong passphrase")}
		}
		raw, err := ssh.ParseRawPrivateKeyWithPassphrase(k.encrypted, secret)
		if errors.Is(err, x509.IncorrectPasswordError) {
			if try < 2 {
				last = secret
				continue
			}
			return nil, &keyError{path: k.path, err: errors.New("wrong passphrase")}
		}
		if err != nil {
			return nil, &keyError{path: k.path, err: err}
		}
		signer, err := ssh.NewSignerFromKey(raw)
		if err != nil {
			return nil, &keyError{path: k.path, err: err}
		}
		if k.public != nil && !sameKey(signer.PublicKey(), k.public) {
			return nil, &keyError{path: k.path, err: fmt.Errorf("%s.pub belongs to another key", k.path)}
		}
		k.signer, k.public = signer, signer.PublicKey()
		return signer, nil
	}
}

func sameKey(a, b ssh.PublicKey) bool { return bytes.Equal(a.Marshal(), b.Marshal()) }

// certNote says what is wrong with a certificate, as far as that can be seen here.
func certNote(c *ssh.Certificate, user string, now time.Time) string {
	unix := uint64(now.Unix())
	switch {
	case c.CertType != ssh.UserCert:
		return "is no user certificate"
	case unix >= c.ValidBefore:
		return "expired at " + time.Unix(int64(c.ValidBefore), 0).UTC().Format(time.RFC3339)
	case unix < c.ValidAfter:
		return "is valid only from " + time.Unix(int64(c.ValidAfter), 0).UTC().Format(time.RFC3339)
	}
	for _, p := range c.ValidPrincipals {
		if p == user {
			return ""
		}
	}
	return fmt.Sprintf("is for %q", c.ValidPrincipals)
}

// defaultIdentities are what ssh tries when nothing is configured.
func defaultIdentities(home string) []string {
	var paths []string
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		paths = append(paths, filepath.Join(home, ".ssh", name))
	}
	return paths
}

// A signer is one key to offer. It notes that it was offered and that it signed,
// which x/crypto/ssh does not tell, and restricts RSA to SHA-2.
type signer struct {
	public  ssh.PublicKey
	name    string // for messages
	legacy  bool
	signing func() (ssh.Signer, error) // may ask for a passphrase
	offered func()
	signed  func(error)
}

var _ ssh.MultiAlgorithmSigner = (*signer)(nil)

func (s *signer) PublicKey() ssh.PublicKey {
	s.offered()
	return s.public
}

// Algorithms implements ssh.MultiAlgorithmSigner.
func (s *signer) Algorithms() []string {
	plain := s.public
	if cert, ok := plain.(*ssh.Certificate); ok {
		plain = cert.Key
	}
	if plain.Type() != ssh.KeyAlgoRSA {
		return []string{plain.Type()}
	}
	algos := []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	if s.legacy {
		algos = append(algos, ssh.KeyAlgoRSA)
	}
	return algos
}

func (s *signer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(rand, data, s.Algorithms()[0])
}

func (s *signer) SignWithAlgorithm(rand io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	sig, err := s.sign(rand, data, algo)
	s.signed(err)
	return sig, err
}

func (s *signer) sign(rand io.Reader, data []byte, algo string) (*ssh.Signature, error) {
	key, err := s.signing()
	if err != nil {
		return nil, err
	}
	if as, ok := key.(ssh.AlgorithmSigner); ok {
		return as.SignWithAlgorithm(rand, data, algo)
	}
	return key.Sign(rand, data)
}

package agefile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// MaxIdentity bounds an identity file, in bytes.
const MaxIdentity = 1 << 20

// ParseIdentities reads the content of an identity file: secret keys of age, one a line, with empty
// lines and # comments; the same encrypted with a passphrase by age -p; or an SSH
// private key. passphrase is called for what needs one. No error shows any of the content.
func ParseIdentities(data []byte, passphrase func() ([]byte, error)) ([]age.Identity, error) {
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(data) > MaxIdentity:
		return nil, fmt.Errorf("more than %d bytes are no identity file", MaxIdentity)
	case Is(data), IsArmored(trimmed):
		plain, err := openIdentities(data, trimmed, passphrase)
		if err != nil {
			return nil, err
		}
		return parseLines(plain)
	case bytes.HasPrefix(trimmed, []byte("-----BEGIN")):
		return parsePEM(data, passphrase)
	}
	return parseLines(data)
}

func openIdentities(data, trimmed []byte, passphrase func() ([]byte, error)) ([]byte, error) {
	var src io.Reader = bytes.NewReader(data)
	if IsArmored(trimmed) {
		src = armor.NewReader(bytes.NewReader(trimmed))
	}
	secret, err := passphrase()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(string(secret))
	if err != nil {
		return nil, errors.New("the passphrase is empty")
	}
	r, err := age.Decrypt(src, id)
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return nil, errors.New("the passphrase is wrong, or the file is not encrypted with one")
	case err != nil:
		return nil, fmt.Errorf("decrypt the identity file: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, MaxIdentity+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("decrypt the identity file: %w", err)
	case len(plain) > MaxIdentity:
		return nil, fmt.Errorf("more than %d bytes are no identity file", MaxIdentity)
	}
	return plain, nil
}

func parsePEM(data []byte, passphrase func() ([]byte, error)) ([]age.Identity, error) {
	key, err := ssh.ParseRawPrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		secret, perr := passphrase()
		if perr != nil {
			return nil, perr
		}
		if key, err = ssh.ParseRawPrivateKeyWithPassphrase(data, secret); err != nil {
			return nil, fmt.Errorf("SSH private key: the passphrase is wrong, or the key is damaged: %w", err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("SSH private key: %w", err)
	}
	var id age.Identity
	switch k := key.(type) {
	case *ed25519.PrivateKey:
		id, err = agessh.NewEd25519Identity(*k)
	case ed25519.PrivateKey:
		id, err = agessh.NewEd25519Identity(k)
	case *rsa.PrivateKey:
		id, err = agessh.NewRSAIdentity(k)
	default:
		return nil, errors.New("SSH private key: age decrypts with ssh-ed25519 and ssh-rsa keys only")
	}
	if err != nil {
		return nil, fmt.Errorf("SSH private key: %w", err)
	}
	return []age.Identity{id}, nil
}

func parseLines(data []byte) (ids []age.Identity, err error) {
	n := 0
	for line := range strings.Lines(string(data)) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "", line[0] == '#':
			continue
		case strings.HasPrefix(line, "age1"), strings.HasPrefix(line, "ssh-"):
			return nil, fmt.Errorf("line %d: this is a public key; to decrypt, the secret key is needed", n)
		case strings.HasPrefix(line, "AGE-PLUGIN-"):
			return nil, fmt.Errorf("line %d: identities of age plugins are not supported: decrypt with age itself", n)
		}
		one, perr := age.ParseIdentities(strings.NewReader(line))
		if perr != nil {
			return nil, fmt.Errorf("line %d: not a secret key of age (AGE-SECRET-KEY-...)", n)
		}
		ids = append(ids, one...)
	}
	if len(ids) == 0 {
		return nil, errors.New("it holds no identity")
	}
	return ids, nil
}

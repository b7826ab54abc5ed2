package signature

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// ErrPublicKey is wrapped by the error of LoadSigner for a public key: its
// private half must be in an agent (see LoadPublicKey, AgentSigner).
var ErrPublicKey = errors.New("is a public key")

// ErrPassphrase is wrapped by the error of LoadSigner for a wrong passphrase.
var ErrPassphrase = errors.New("wrong passphrase")

const maxKeyFile = 64 << 10

// LoadSigner reads a private key file. passphrase is called with its path if
// the key is encrypted; it may be nil, and its result is wiped. Like ssh,
// LoadSigner refuses a key of ours that others can read.
func LoadSigner(path string, passphrase func(path string) ([]byte, error)) (ssh.Signer, error) {
	signer, err := loadSigner(path, passphrase)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", path, err)
	}
	return signer, nil
}

func loadSigner(path string, passphrase func(string) ([]byte, error)) (ssh.Signer, error) {
	data, info, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	if _, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
		return nil, fmt.Errorf("%w: its private half must be in the agent", ErrPublicKey)
	}
	if err := private(info); err != nil {
		return nil, err
	}
	signer, err := ssh.ParsePrivateKey(data)
	var encrypted *ssh.PassphraseMissingError
	if errors.As(err, &encrypted) {
		if passphrase == nil {
			return nil, errors.New("is encrypted, and there is nobody to ask for the passphrase: load it with ssh-add, and name its .pub file")
		}
		var secret []byte
		if secret, err = passphrase(path); err != nil {
			return nil, err
		}
		defer clear(secret)
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, secret)
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, ErrPassphrase
		}
	}
	if err != nil {
		return nil, err
	}
	return signer, usable(signer.PublicKey())
}

// LoadPublicKey reads a public key file. Of a certificate it returns the key.
func LoadPublicKey(path string) (ssh.PublicKey, error) {
	data, _, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil, fmt.Errorf("public key %s: %w", path, err)
	}
	return plain(pub), nil
}

// AgentSigner returns the signer of an agent for pub, as ssh-keygen -Y sign -f
// KEY.pub finds it. It takes the agent and not a connection, since a second
// agent.NewClient on one connection waits for ever for the answers that the first
// one reads.
func AgentSigner(a agent.Agent, pub ssh.PublicKey) (ssh.Signer, error) {
	if err := usable(pub); err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	signers, err := a.Signers()
	if err != nil {
		return nil, fmt.Errorf("ssh agent: %w", err)
	}
	want := plain(pub).Marshal()
	for _, s := range signers {
		if bytes.Equal(s.PublicKey().Marshal(), want) {
			return s, nil
		}
	}
	return nil, fmt.Errorf("the ssh agent does not hold the key %s (it has %d others): add it with ssh-add", fingerprint(pub), len(signers))
}

func readKeyFile(path string) ([]byte, os.FileInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxKeyFile {
		return nil, nil, fmt.Errorf("has more than %d bytes: not a key", maxKeyFile)
	}
	return data, info, nil
}

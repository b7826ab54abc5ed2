package repository

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

// A Signer signs what is published, with an OpenPGP key. It is used by one goroutine at a time.
type Signer interface {
	// Key returns the public key, binary or armored.
	Key(ctx context.Context) ([]byte, error)
	// Sign returns a detached binary signature.
	Sign(ctx context.Context, data []byte) ([]byte, error)
}

// ErrPassphrase is wrapped by the error of OpenKey for a wrong passphrase.
var ErrPassphrase = errors.New("wrong passphrase")

// OpenKey returns the signer of a private key in a file, as gpg --export-secret-keys writes it.
// passphrase is asked if the key is encrypted; its result is wiped. A key that others can read is refused.
func OpenKey(path string, passphrase func() ([]byte, error)) (Signer, error) {
	s, err := openKey(path, passphrase)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %w", path, err)
	}
	return s, nil
}

func openKey(path string, passphrase func() ([]byte, error)) (*keySigner, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	data, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	keys, err := parseKeys(data)
	if err != nil {
		return nil, err
	}
	if len(keys) != 1 {
		return nil, fmt.Errorf("holds %d keys, want one", len(keys))
	}
	key := keys[0]
	if key.PrivateKey == nil {
		return nil, errors.New("is a public key; gpg --export-secret-keys writes the private one, and a fingerprint uses the one that gpg has")
	}
	if err := private(info); err != nil {
		return nil, err
	}
	if encrypted(key) {
		secret, err := passphrase()
		if err != nil {
			return nil, err
		}
		defer clear(secret)
		if err := key.DecryptPrivateKeys(secret); err != nil {
			return nil, ErrPassphrase
		}
	}
	return &keySigner{key}, nil
}

func encrypted(key *openpgp.Entity) bool {
	locked := key.PrivateKey.Encrypted
	for _, sub := range key.Subkeys {
		locked = locked || sub.PrivateKey != nil && sub.PrivateKey.Encrypted
	}
	return locked
}

// A keySigner holds the private key.
type keySigner struct{ key *openpgp.Entity }

var _ Signer = (*keySigner)(nil)

func (s *keySigner) Key(context.Context) ([]byte, error) {
	var out bytes.Buffer
	err := s.key.Serialize(&out)
	return out.Bytes(), err
}

func (s *keySigner) Sign(_ context.Context, data []byte) ([]byte, error) {
	var out bytes.Buffer
	cfg := &packet.Config{DefaultHash: crypto.SHA512, Time: time.Now}
	if err := openpgp.DetachSign(&out, []*openpgp.Entity{s.key}, bytes.NewReader(data), cfg); err != nil {
		return nil, fmt.Errorf("sign with %s: %w", fingerprintOf(s.key), err)
	}
	return out.Bytes(), nil
}

// NewGnuPG returns the signer of a key that gpg has, of that full fingerprint. Its agent asks
// for the passphrase, or has it on a card.
func NewGnuPG(fingerprint string) (Signer, error) {
	f, isHex, err := parseFingerprint(fingerprint)
	if err != nil || !isHex {
		return nil, fmt.Errorf("key %q: %w", fingerprint, errors.Join(err, errors.New("is not the full fingerprint of a key")))
	}
	return &gnuPG{f}, nil
}

type gnuPG struct{ fingerprint string }

var _ Signer = (*gnuPG)(nil)

func (g *gnuPG) Key(ctx context.Context) ([]byte, error) {
	data, err := g.run(ctx, nil, "--export-options", "export-minimal", "--export", g.fingerprint)
	if err == nil && len(data) == 0 {
		err = fmt.Errorf("gpg has no key %s", g.fingerprint)
	}
	return data, err
}

func (g *gnuPG) Sign(ctx context.Context, data []byte) ([]byte, error) {
	return g.run(ctx, data, "--local-user", g.fingerprint, "--digest-algo", "SHA512", "--no-armor", "--detach-sign", "--output", "-")
}

// run runs gpg. Its agent may wait for a passphrase as long as its owner does.
func (g *gnuPG) run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "gpg", append([]string{"--batch", "--quiet", "--no-tty"}, args...)...)
	cmd.WaitDelay = time.Second // the agent that it starts keeps its standard error open
	cmd.Stdin = bytes.NewReader(stdin)
	var out bytes.Buffer
	errs := &tail{}
	cmd.Stdout, cmd.Stderr = &out, errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return nil, fmt.Errorf("gpg: %w: %q", err, errs.String())
	}
	return out.Bytes(), nil
}

// A tail keeps the last bytes written to it.
type tail struct{ b []byte }

var _ io.Writer = (*tail)(nil)

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-1024):]
	return len(p), nil
}

func (t *tail) String() string { return strings.TrimSpace(string(t.b)) }

// expiry is when the key with which a signature was made stops being good; zero: never.
func expiry(key *openpgp.Entity, sig *packet.Signature, now time.Time) (end time.Time) {
	cfg := &packet.Config{Time: func() time.Time { return now }}
	sooner := func(made time.Time, lifetime *uint32) {
		if lifetime == nil || *lifetime == 0 {
			return
		}
		if t := made.Add(time.Duration(*lifetime) * time.Second); end.IsZero() || t.Before(end) {
			end = t
		}
	}
	if self, err := key.PrimarySelfSignature(now, cfg); err == nil {
		sooner(key.PrimaryKey.CreationTime, self.KeyLifetimeSecs)
	}
	if sub := subkey(key, sig); sub != nil {
		if binding, err := sub.LatestValidBindingSignature(now, cfg); err == nil {
			sooner(sub.PublicKey.CreationTime, binding.KeyLifetimeSecs)
		}
	}
	sooner(sig.CreationTime, sig.SigLifetimeSecs)
	return end.UTC()
}

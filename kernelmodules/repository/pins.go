package repository

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	maxKey  = 1 << 20 // bytes of a key, with all that others signed on it
	maxKeys = 16      // in one file
)

// Pins are the OpenPGP keys that may vouch for a repository. Nil: none.
type Pins struct {
	fingerprints []string // of primary keys, upper-case hex
	files        [][]byte // keys that were given as files
}

// ParsePins reads what a user pinned: full fingerprints, or files with public keys. A key
// that a repository hands over counts only if its fingerprint is here.
func ParsePins(values []string) (*Pins, error) {
	p := &Pins{}
	for _, v := range values {
		f, isHex, err := parseFingerprint(v)
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", v, err)
		}
		if isHex {
			p.add(f)
			continue
		}
		data, err := readKeyFile(v)
		var keys openpgp.EntityList
		if err == nil {
			keys, err = parseKeys(data)
		}
		if err != nil {
			return nil, fmt.Errorf("key file %s: %w", v, err)
		}
		p.files = append(p.files, data)
		for _, k := range keys {
			if k.PrivateKey != nil {
				return nil, fmt.Errorf("key file %s: holds a private key: pin the public one, as gpg --export writes it", v)
			}
			p.add(fingerprintOf(k))
		}
	}
	if len(p.fingerprints) == 0 {
		return nil, errors.New("no key is pinned")
	}
	return p, nil
}

func (p *Pins) add(fingerprint string) {
	if !slices.Contains(p.fingerprints, fingerprint) {
		p.fingerprints = append(p.fingerprints, fingerprint)
	}
}

// Fingerprints returns the fingerprints of the pinned keys, in upper-case hexadecimal.
func (p *Pins) Fingerprints() []string { return slices.Clone(p.fingerprints) }

func (p *Pins) String() string { return strings.Join(p.fingerprints, ", ") }

// parseFingerprint reads a fingerprint as gpg prints it, with or without blanks. What is
// not hexadecimal is none; what is too short is an error.
func parseFingerprint(s string) (fingerprint string, isHex bool, err error) {
	f := strings.ToUpper(strings.Join(strings.Fields(s), ""))
	f = strings.TrimPrefix(f, "0X")
	if len(f) < 8 || strings.Trim(f, "0123456789ABCDEF") != "" {
		return "", false, nil
	}
	switch len(f) {
	case 40, 64:
		return f, true, nil
	case 8, 16:
		return "", true, errors.New("is a key ID: anybody can make another key with the same one. Pin the full fingerprint, as gpg --fingerprint prints it")
	case 32:
		return "", true, errors.New("is the fingerprint of a version 3 key (MD5), which cannot be trusted any more")
	}
	return "", true, fmt.Errorf("has %d hexadecimal digits; a fingerprint has 40 or 64 (a file of that name is ./%s)", len(f), s)
}

func readKeyFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, errors.Unwrap(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadAtMost(f, maxKey)
}

// parseKeys reads public keys, binary or armored. It is safe to use on any bytes.
func parseKeys(data []byte) (openpgp.EntityList, error) {
	if len(data) > maxKey {
		return nil, fmt.Errorf("has more than %d bytes", maxKey)
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("is empty")
	}
	data, err := dearmor(data, "PGP PUBLIC KEY BLOCK", "PGP PRIVATE KEY BLOCK")
	if err != nil {
		return nil, err
	}
	keys, err := openpgp.ReadKeyRing(bytes.NewReader(data))
	switch {
	case err != nil:
		return nil, fmt.Errorf("is no OpenPGP key that can be read: %w", err)
	case len(keys) == 0:
		return nil, errors.New("holds no key")
	case len(keys) > maxKeys:
		return nil, fmt.Errorf("holds %d keys, more than %d", len(keys), maxKeys)
	}
	return keys, nil
}

// ring returns the pinned keys, the caller's own: those of files, and those that served
// holds. served may be nil; servedErr is why it is.
func (p *Pins) ring(served []byte, servedErr error) (openpgp.EntityList, error) {
	var ring openpgp.EntityList
	for _, data := range p.files {
		keys, err := parseKeys(data)
		if err != nil {
			return nil, err
		}
		ring = append(ring, keys...)
	}
	var refused []string
	if servedErr == nil {
		keys, err := parseKeys(served)
		servedErr = err
		for _, k := range keys {
			if slices.Contains(p.fingerprints, fingerprintOf(k)) {
				ring = append(ring, k)
				continue
			}
			refused = append(refused, fingerprintOf(k))
			for _, sub := range k.Subkeys {
				if f := fingerprint(sub.PublicKey.Fingerprint); slices.Contains(p.fingerprints, f) {
					return nil, fmt.Errorf("the pinned %s is a subkey of %s: pin that", f, fingerprintOf(k))
				}
			}
		}
	}
	switch {
	case len(ring) > 0:
		return ring, nil
	case servedErr != nil:
		return nil, servedErr
	}
	return nil, fmt.Errorf("is not pinned: it is %s, pinned is %s", strings.Join(refused, ", "), p)
}

package repository

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	maxSignature  = 64 << 10 // bytes of a signature file
	maxSignatures = 16       // in it
	// A clock may be wrong by this much before a signature counts as made in the future.
	maxAhead = time.Hour
)

// weak are the digests that can be forged.
var weak = map[crypto.Hash]bool{crypto.SHA1: true, crypto.MD5: true, crypto.RIPEMD160: true}

// A signer is who made a good signature.
type signer struct {
	key     string // fingerprint of the primary key
	signing string // of the key or subkey that signed
	made    time.Time
}

// verify checks a detached signature, binary or armored, of data by one of the keys of
// ring. The key must be good now, not only when it signed: a key that was renewed since has no
// trace of how it was then. Errors say what is wrong with the signature, or with the key. verify
// is safe to use on any bytes, and marks the keys: they must be the caller's own.
func verify(ring openpgp.EntityList, data, signature []byte, now time.Time) (*signer, error) {
	sigs, err := readSignatures(signature)
	if err != nil {
		return nil, err
	}
	cfg := &packet.Config{Time: func() time.Time { return now }, RejectHashAlgorithms: weak, RejectMessageHashAlgorithms: weak}
	var reasons []error
	var by []string
	for _, sig := range sigs {
		known := false
		for _, key := range ring {
			if issuer(key, sig) == "" {
				continue
			}
			known = true
			err := verifyOne(ring, key, sig, data, cfg)
			if err == nil {
				return &signer{fingerprintOf(key), issuer(key, sig), sig.CreationTime.UTC()}, nil
			}
			reasons = append(reasons, err)
		}
		if !known {
			by = append(by, named(sig))
		}
	}
	if len(reasons) > 0 {
		return nil, reasons[0] // others are about other copies of the same key
	}
	return nil, fmt.Errorf("is made by %s, which is no pinned key", strings.Join(by, " and "))
}

// named is whom a signature names.
func named(sig *packet.Signature) string {
	if len(sig.IssuerFingerprint) > 0 {
		return fingerprint(sig.IssuerFingerprint)
	}
	if sig.IssuerKeyId != nil {
		return fmt.Sprintf("key ID %016X", *sig.IssuerKeyId)
	}
	return "nobody"
}

// verifyOne checks one signature by a key that it names.
func verifyOne(ring openpgp.EntityList, key *openpgp.Entity, sig *packet.Signature, data []byte, cfg *packet.Config) error {
	if err := usable(sig, cfg.Now()); err != nil {
		return err
	}
	if err := trustworthy(ring, key, sig, cfg); err != nil {
		return err
	}
	var id uint64
	if key.PrimaryKey.KeyId != 0 && issuer(key, sig) == fingerprintOf(key) {
		id = key.PrimaryKey.KeyId
	} else if sub := subkey(key, sig); sub != nil {
		id = sub.PublicKey.KeyId
	}
	k, ok := key.SigningKeyById(cfg.Now(), id, cfg)
	if !ok || id == 0 || fingerprint(k.PublicKey.Fingerprint) != issuer(key, sig) {
		return fmt.Errorf("is by the key %s, which is not for signing, or too weak (of a kind or a length that is given up)", issuer(key, sig))
	}
	if sig.CreationTime.Before(k.PublicKey.CreationTime) {
		return fmt.Errorf("is older than the key %s that should have made it", issuer(key, sig))
	}
	h, err := sig.PrepareVerify()
	if err != nil {
		return fmt.Errorf("cannot be checked: %w", err)
	}
	h.Write(data)
	if err := k.PublicKey.VerifySignature(h, sig); err != nil {
		return fmt.Errorf("does not fit the file: one of them was changed or damaged, or both were published anew this very moment (%w)", err)
	}
	return nil
}

// readSignatures takes a signature file apart.
func readSignatures(data []byte) (sigs []*packet.Signature, err error) {
	switch {
	case len(data) > maxSignature:
		return nil, fmt.Errorf("has more than %d bytes", maxSignature)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errors.New("is empty")
	}
	raw, err := dearmor(data, "PGP SIGNATURE")
	if err != nil {
		return nil, err
	}
	packets := packet.NewReader(bytes.NewReader(raw))
	for {
		p, err := packets.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("is no signature that can be read: it is damaged, truncated or of an unknown kind (%w)", err)
		}
		sig, ok := p.(*packet.Signature)
		if !ok {
			return nil, errors.New("is not a detached signature: it holds something else, too")
		}
		if sigs = append(sigs, sig); len(sigs) > maxSignatures {
			return nil, fmt.Errorf("holds more than %d signatures", maxSignatures)
		}
	}
	if len(sigs) == 0 {
		return nil, errors.New("holds no signature")
	}
	return sigs, nil
}

// dearmor returns the binary of data, which may be in binary already. kinds are the
// blocks that are wanted.
func dearmor(data []byte, kinds ...string) ([]byte, error) {
	text := bytes.TrimSpace(data)
	if !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		if bytes.HasPrefix(text, []byte("<")) {
			return nil, errors.New("is a web page or an error message, not OpenPGP")
		}
		return data, nil
	}
	block, err := armor.Decode(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("has a damaged armor: %w", err)
	}
	for _, kind := range kinds {
		if block.Type == kind {
			out, err := io.ReadAll(block.Body)
			if err != nil {
				return nil, fmt.Errorf("has a damaged armor: %w", err)
			}
			return out, nil
		}
	}
	return nil, fmt.Errorf("is a %.40q, want a %s", block.Type, kinds[0])
}

// issuer returns the fingerprint of the key or subkey that sig names, or nothing.
func issuer(key *openpgp.Entity, sig *packet.Signature) string {
	if sig.CheckKeyIdOrFingerprint(key.PrimaryKey) {
		return fingerprintOf(key)
	}
	if sub := subkey(key, sig); sub != nil {
		return fingerprint(sub.PublicKey.Fingerprint)
	}
	return ""
}

// subkey returns the subkey that sig names, or nil.
func subkey(key *openpgp.Entity, sig *packet.Signature) *openpgp.Subkey {
	for i := range key.Subkeys {
		if sig.CheckKeyIdOrFingerprint(key.Subkeys[i].PublicKey) {
			return &key.Subkeys[i]
		}
	}
	return nil
}

// usable looks at what a signature says of itself.
func usable(sig *packet.Signature, now time.Time) error {
	switch {
	case weak[sig.Hash]:
		return fmt.Errorf("is made over %s, which can be forged; whoever publishes must sign with SHA-256 or better (gpg --digest-algo SHA256)", sig.Hash)
	case sig.SigType != packet.SigTypeBinary:
		return errors.New("is not one of a binary file (gpg --detach-sign without --textmode makes one)")
	case sig.CreationTime.After(now.Add(maxAhead)):
		return fmt.Errorf("is made on %s, which is in the future: is the clock of this machine right?", date(sig.CreationTime))
	case slices.ContainsFunc(sig.Notations, func(n *packet.Notation) bool { return n.IsCritical }):
		return errors.New("has a critical notation, which is not understood")
	case sig.SigExpired(now):
		return fmt.Errorf("expired on %s", date(sig.CreationTime.Add(time.Duration(*sig.SigLifetimeSecs)*time.Second)))
	}
	return nil
}

// trustworthy says whether the key that sig names can be trusted now. A revocation in any
// copy of it counts.
func trustworthy(ring openpgp.EntityList, key *openpgp.Entity, sig *packet.Signature, cfg *packet.Config) error {
	now := cfg.Now()
	for _, copy := range ring {
		if fingerprintOf(copy) != fingerprintOf(key) {
			continue
		}
		if copy.Revoked(now) {
			return revoked(copy)
		}
		if sub := subkey(copy, sig); sub != nil {
			if binding, err := sub.LatestValidBindingSignature(now, cfg); err == nil && sub.Revoked(binding, now) {
				return fmt.Errorf("is by the subkey %s, which was revoked", fingerprint(sub.PublicKey.Fingerprint))
			}
		}
	}
	if _, err := key.VerifyPrimaryKey(now, cfg); err != nil {
		return keyTrouble(key, err, cfg)
	}
	sub := subkey(key, sig)
	if sub == nil {
		return nil
	}
	binding, err := sub.LatestValidBindingSignature(now, cfg)
	trouble := ""
	switch {
	case err != nil:
		trouble = "for which the key " + fingerprintOf(key) + " does not vouch"
	case sub.Expired(binding, now):
		trouble = "which has expired" + expiredAdvice
	case !binding.FlagSign:
		trouble = "which is not for signing"
	case binding.EmbeddedSignature == nil || weak[binding.EmbeddedSignature.Hash]:
		trouble = "which does not vouch for its key, or does so by a digest that can be forged"
	default:
		return nil
	}
	return fmt.Errorf("is by the subkey %s, %s", fingerprint(sub.PublicKey.Fingerprint), trouble)
}

const expiredAdvice = "; ask whoever publishes for the key with a new expiry date, from a place that you trust, and pin that file"

// keyTrouble says in words why the library finds that a primary key is not good.
func keyTrouble(key *openpgp.Entity, err error, cfg *packet.Config) error {
	if errors.Is(err, pgperrors.ErrKeyExpired) {
		when := ""
		if self, err := key.PrimarySelfSignature(cfg.Now(), cfg); err == nil && self.KeyLifetimeSecs != nil {
			when = " on " + date(key.PrimaryKey.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs)*time.Second))
		}
		return fmt.Errorf("is by the key %s, which expired%s%s", fingerprintOf(key), when, expiredAdvice)
	}
	for _, id := range key.Identities {
		for _, c := range id.SelfCertifications {
			if weak[c.Packet.Hash] {
				return fmt.Errorf("is by the key %s, which is bound to its owner by %s only, which can be forged; its owner must sign it anew with SHA-256", fingerprintOf(key), c.Packet.Hash)
			}
		}
	}
	return fmt.Errorf("is by the key %s, which cannot be trusted: %w", fingerprintOf(key), err)
}

func revoked(key *openpgp.Entity) error {
	for _, r := range key.Revocations {
		if r.Packet != nil {
			why := ""
			if r.Packet.RevocationReasonText != "" {
				why = fmt.Sprintf(" (%.100q)", r.Packet.RevocationReasonText)
			}
			return fmt.Errorf("is by the key %s, which was revoked on %s%s: do not trust it; get a new key and pin that", fingerprintOf(key), date(r.Packet.CreationTime), why)
		}
	}
	return fmt.Errorf("is by the key %s, which was revoked", fingerprintOf(key))
}

// fingerprint is one in words, upper-case hexadecimal.
func fingerprint(f []byte) string { return strings.ToUpper(hex.EncodeToString(f)) }

func fingerprintOf(e *openpgp.Entity) string { return fingerprint(e.PrimaryKey.Fingerprint) }

func date(t time.Time) string { return t.UTC().Format(time.DateOnly) }

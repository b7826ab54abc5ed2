package transport

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// checkPins holds a key against the pins, and against known_hosts if that is to agree with them. It returns how the key came to be
// trusted, or "" and has the refusal say why it is not.
func (c *hostKeyChecker) checkPins(key ssh.PublicKey, refusal *HostKeyError) (trust string) {
	_, cert := key.(*ssh.Certificate)
	pinned := !cert && slices.Contains(c.pins, refusal.Got)
	var record []xknownhosts.KnownKey
	if c.db != nil {
		if c.changed = c.revoked(key, refusal); c.changed {
			return ""
		}
		record = c.plainKeys()
	}
	if len(record) == 0 {
		if pinned {
			return c.pinned
		}
		refusal.Want, refusal.Where = c.pins, []string{c.pinned}
		return ""
	}
	sameType := false
	for _, k := range record {
		sameType = sameType || k.Key.Type() == key.Type()
		refusal.Want = append(refusal.Want, ssh.FingerprintSHA256(k.Key))
		refusal.Where = append(refusal.Where, fmt.Sprintf("%s:%d", k.Filename, k.Line))
	}
	recorded := slices.Contains(refusal.Want, refusal.Got)
	if pinned && recorded {
		return trustKnownHosts + " and " + c.pinned
	}
	c.changed = sameType && !recorded // a key of another type that agrees would not make up for it
	agree := slices.ContainsFunc(refusal.Want, func(k string) bool { return slices.Contains(c.pins, k) })
	if pinned || recorded || !agree {
		refusal.Told, refusal.Source = c.pins, c.pinned
		switch {
		case !agree:
		case pinned && !sameType:
			refusal.alone = sourceAlone
		case recorded && len(c.pinTypes) > 0 && !slices.Contains(c.pinTypes, TypeName(key.Type())):
			refusal.alone = recordAlone
		}
	}
	return ""
}

// TypeName is the type of a key ("ssh-ed25519") as ssh-keygen prints it beside a fingerprint ("ED25519"), where all curves of ECDSA are
// one; empty: another one.
func TypeName(algorithm string) string {
	switch {
	case algorithm == ssh.KeyAlgoED25519:
		return "ED25519"
	case algorithm == ssh.KeyAlgoRSA:
		return "RSA"
	case strings.HasPrefix(algorithm, "ecdsa-sha2-nistp"):
		return "ECDSA"
	}
	return ""
}

// plainKeys are the keys that known_hosts has for the host. Those of authorities are not among them: they speak for certificates, which
// are not asked for where there are pins.
func (c *hostKeyChecker) plainKeys() (record []xknownhosts.KnownKey) {
	for _, l := range c.lookups {
		authorities := map[string]bool{}
		for _, k := range c.db.HostKeys(l) {
			if k.Cert {
				authorities[ssh.FingerprintSHA256(k)] = true
			}
		}
		record = slices.DeleteFunc(c.onRecord(l), func(k xknownhosts.KnownKey) bool { return authorities[ssh.FingerprintSHA256(k.Key)] })
		if len(record) > 0 {
			break
		}
	}
	return record
}

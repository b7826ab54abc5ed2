package transport

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// How a host key came to be trusted; Info.HostKeyTrust.
const (
	trustKnownHosts = "known_hosts"
	trustPinned     = "pinned"
	trustCA         = "cert-authority"
	trustInsecure   = "insecure"
)

// A hostKeyChecker decides on the host key of one hop.
type hostKeyChecker struct {
	host     string // as looked up, for messages
	pins     []string
	pinTypes []string // of them; empty: not known
	pinned   string   // whence they are
	insecure bool

	db      *knownhosts.HostKeyDB
	files   []string
	lookups []string // host:port, the one that counts first

	legacy  bool     // algorithms that rest on SHA-1 too
	exclude []string // key types that were presented and do not fit a pin
	changed bool     // known_hosts speaks against a key that was presented

	key   ssh.PublicKey // accepted
	trust string
}

func newHostKeyChecker(h *hop, legacy bool) (*hostKeyChecker, error) {
	c := &hostKeyChecker{host: xknownhosts.Normalize(h.lookup), legacy: legacy}
	if len(h.hostKey.Fingerprints) > 0 {
		c.pinned, c.pinTypes = firstOf(h.hostKey.Trust, trustPinned), h.hostKey.Types
		for _, p := range h.hostKey.Fingerprints {
			pin, err := parsePin(p)
			if err != nil {
				return nil, err
			}
			c.pins = append(c.pins, pin)
		}
		if !h.hostKey.HoldKnownHosts || h.hostKey.InsecureIgnore {
			return c, nil
		}
	}
	if h.hostKey.InsecureIgnore {
		c.insecure = true
		return c, nil
	}
	named := len(h.hostKey.KnownHosts) > 0
	for _, f := range h.knownHosts {
		switch _, err := os.Stat(f); {
		case err == nil:
			c.files = append(c.files, f)
		case named || !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("read known_hosts: %w", err)
		}
	}
	db, err := knownhosts.NewDB(c.files...)
	if err != nil {
		// The error names file and line. A line that cannot be read may be the
		// one that revokes a key, so it is not skipped.
		return nil, fmt.Errorf("read known_hosts: %w", err)
	}
	c.db = db
	c.lookups = []string{h.lookup}
	if host, port, err := net.SplitHostPort(h.lookup); err == nil && port != "22" && !h.alias {
		// As ssh does: a key on record for the host without a port will do.
		c.lookups = append(c.lookups, net.JoinHostPort(host, "22"))
	}
	return c, nil
}

// parsePin checks a fingerprint and writes it as ssh.FingerprintSHA256 does.
func parsePin(s string) (string, error) {
	sum, ok := strings.CutPrefix(s, "SHA256:")
	sum = strings.TrimRight(sum, "=")
	raw, err := base64.RawStdEncoding.DecodeString(sum)
	if !ok || err != nil || len(raw) != 32 {
		return "", fmt.Errorf("host key fingerprint %q is none: want SHA256: and 43 characters, as ssh-keygen -l prints it", s)
	}
	return "SHA256:" + sum, nil
}

// algorithms are what to ask the host for: first the kinds of key on record,
// or it would show another of its keys; then all others, so that a host with new
// keys is recognised as changed. Certificates only where an authority is on record.
func (c *hostKeyChecker) algorithms() []string {
	known := ssh.SupportedAlgorithms().HostKeys
	if c.legacy {
		known = append(known, ssh.InsecureAlgorithms().HostKeys...)
	}
	var algos []string
	add := func(a string) {
		if slices.Contains(known, a) && !slices.Contains(algos, a) && !slices.Contains(c.exclude, a) {
			algos = append(algos, a)
		}
	}
	for _, l := range c.lookups {
		for _, a := range c.db.HostKeyAlgorithms(l) {
			if len(c.pins) == 0 || !strings.Contains(a, certificate) { // a pin is of a plain key
				add(a)
			}
		}
		if len(algos) > 0 {
			break
		}
	}
	// Then Ed25519 first: it is what people note down.
	for _, a := range append([]string{ssh.KeyAlgoED25519}, known...) {
		if !strings.Contains(a, certificate) {
			add(a)
		}
	}
	return algos
}

// another excludes the kind of key that err is about, to ask for one that may
// fit a pin: a fingerprint does not tell the kind. It reports whether
// there is any left to ask for.
func (c *hostKeyChecker) another(err *HostKeyError) bool {
	if len(c.pins) == 0 || c.changed {
		return false
	}
	c.exclude = append(c.exclude, err.KeyType)
	if err.KeyType == ssh.KeyAlgoRSA {
		c.exclude = append(c.exclude, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512)
	}
	return len(c.algorithms()) > 0
}

// certificate is in the names of algorithms whose keys are certificates.
const certificate = "-cert-v01"

// placeholder stands for addresses where known_hosts is asked for names only.
var placeholder = &net.TCPAddr{IP: net.IPv4zero}

// check is an ssh.HostKeyCallback.
func (c *hostKeyChecker) check(_ string, _ net.Addr, key ssh.PublicKey) error {
	plain := key
	cert, _ := key.(*ssh.Certificate)
	if cert != nil {
		plain = cert.Key
	}
	refusal := &HostKeyError{Host: c.host, KeyType: key.Type(), Got: ssh.FingerprintSHA256(plain)}
	accept := func(trust string) error {
		c.key, c.trust = key, trust
		return nil
	}
	switch {
	case len(c.pins) > 0:
		trust := c.checkPins(key, refusal)
		if trust == "" {
			return refusal
		}
		return accept(trust)
	case c.insecure:
		return accept(trustInsecure)
	}

	callback := c.db.HostKeyCallback()
	var first error
	for i, l := range c.lookups {
		err := callback(l, placeholder, key)
		if err == nil {
			if cert != nil {
				return accept(trustCA)
			}
			return accept(trustKnownHosts)
		}
		if i == 0 {
			first = err
		}
		if knownhosts.IsHostKeyChanged(err) {
			break
		}
	}
	candidates := []ssh.PublicKey{plain}
	if cert != nil {
		candidates = append(candidates, cert.SignatureKey)
	}
	for _, k := range candidates {
		if c.revoked(k, refusal) {
			return refusal
		}
	}
	if cert != nil {
		for _, l := range c.lookups {
			for _, k := range c.onRecord(l) {
				if string(k.Key.Marshal()) == string(cert.SignatureKey.Marshal()) {
					return fmt.Errorf("host certificate of %s is not valid: %w", c.host, first)
				}
			}
		}
	}
	on := c.onRecord(c.lookups[0])
	for _, k := range on {
		refusal.Want = append(refusal.Want, ssh.FingerprintSHA256(k.Key))
		refusal.Where = append(refusal.Where, fmt.Sprintf("%s:%d", k.Filename, k.Line))
	}
	if len(on) == 0 {
		refusal.Where = c.files
	}
	return refusal
}

// revoked says that known_hosts has a key as revoked, and the refusal then where.
func (c *hostKeyChecker) revoked(key ssh.PublicKey, refusal *HostKeyError) bool {
	e, ok := errors.AsType[*xknownhosts.RevokedError](c.db.HostKeyCallback()(c.lookups[0], placeholder, key))
	if ok {
		refusal.Revoked = true
		refusal.Where = []string{fmt.Sprintf("%s:%d", e.Revoked.Filename, e.Revoked.Line)}
	}
	return ok
}

// onRecord lists the keys that known_hosts has for a host:port.
func (c *hostKeyChecker) onRecord(lookup string) []xknownhosts.KnownKey {
	err := c.db.HostKeyCallback()(lookup, placeholder, noKey{})
	if e, ok := errors.AsType[*xknownhosts.KeyError](err); ok {
		return e.Want
	}
	return nil
}

// noKey is a key that no record holds.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

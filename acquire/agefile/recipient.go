package agefile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"golang.org/x/crypto/ssh"
)

// A Recipient is a public key to encrypt to.
type Recipient struct {
	key  age.Recipient
	name string
}

// String returns what a manifest records: the public key of age itself, or type and
// fingerprint of an SSH key.
func (r Recipient) String() string { return r.name }

// ParseRecipient reads a recipient as age takes it: age1..., age1pq1... (post-quantum), or
// an SSH public key, ssh-ed25519 or ssh-rsa. Errors about a secret key wrap ErrSecretKey;
// none shows more than the start of what was given.
func ParseRecipient(s string) (Recipient, error) {
	s = strings.TrimSpace(s)
	switch upper := strings.ToUpper(s); {
	case s == "":
		return Recipient{}, errors.New("the recipient is empty")
	case strings.HasPrefix(upper, "AGE-SECRET-KEY-"), strings.HasPrefix(upper, "AGE-PLUGIN-"), strings.Contains(upper, "PRIVATE KEY"):
		return Recipient{}, ErrSecretKey
	case strings.HasPrefix(s, "ssh-"):
		return parseSSH(s)
	case strings.HasPrefix(s, "age1pq1"):
		k, err := age.ParseHybridRecipient(s)
		if err != nil {
			return Recipient{}, fmt.Errorf("recipient %s: %w", start(s), errMalformed)
		}
		return Recipient{k, k.String()}, nil
	case strings.HasPrefix(s, "age1") && strings.Count(s, "1") > 1 && strings.LastIndex(s, "1") > 4:
		return Recipient{}, fmt.Errorf("recipient %s is one of an age plugin, which are not supported: use the age1... key of age-keygen", start(s))
	case strings.HasPrefix(s, "age1"):
		k, err := age.ParseX25519Recipient(s)
		if err != nil {
			return Recipient{}, fmt.Errorf("recipient %s: %w", start(s), errMalformed)
		}
		return Recipient{k, k.String()}, nil
	}
	return Recipient{}, fmt.Errorf("recipient %s is neither age1..., ssh-ed25519 nor ssh-rsa", start(s))
}

var errMalformed = errors.New("not a whole key: a letter is wrong or missing")

func parseSSH(s string) (Recipient, error) {
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s))
	if err != nil {
		return Recipient{}, fmt.Errorf("recipient %s: not a whole SSH public key", start(s))
	}
	k, err := agessh.ParseRecipient(s)
	if err != nil {
		return Recipient{}, fmt.Errorf("recipient %s: %w; want ssh-ed25519, or ssh-rsa of 2048 bits or more", start(s), err)
	}
	return Recipient{k, pub.Type() + " " + ssh.FingerprintSHA256(pub)}, nil
}

// start is enough of a text to find it, and too little of a key that was not
// meant to be shown.
func start(s string) string {
	if len(s) > 16 {
		return fmt.Sprintf("%q...", s[:16])
	}
	return fmt.Sprintf("%q", s)
}

// maxRecipientsFile bounds a recipients file.
const maxRecipientsFile = 1 << 20

// ParseRecipients reads a recipients file: one recipient a line; empty lines and those
// that start with # are skipped. All errors come at once, each with its line; a
// file without any recipient is one.
func ParseRecipients(r io.Reader) (out []Recipient, err error) {
	var errs []error
	in := bufio.NewScanner(io.LimitReader(r, maxRecipientsFile+1))
	in.Buffer(nil, 64<<10)
	read := 0
	for n := 1; in.Scan(); n++ {
		read += len(in.Bytes()) + 1
		line := strings.TrimSpace(in.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		one, err := ParseRecipient(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		out = append(out, one)
	}
	switch err := in.Err(); {
	case err != nil:
		errs = append(errs, err)
	case read > maxRecipientsFile+1:
		errs = append(errs, fmt.Errorf("more than %d bytes are no recipients file", maxRecipientsFile))
	case len(errs) == 0 && len(out) == 0:
		errs = append(errs, errors.New("it names no recipient"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return out, nil
}

// Join returns all recipients, each once, if one file can be encrypted to them: age does
// not mix post-quantum recipients with others, which would undo their worth.
func Join(lists ...[]Recipient) (out []Recipient, err error) {
	seen := map[string]bool{}
	for _, list := range lists {
		for _, r := range list {
			if !seen[r.name] {
				seen[r.name] = true
				out = append(out, r)
			}
		}
	}
	if len(out) == 0 {
		return nil, nil
	}
	if _, err := age.Encrypt(io.Discard, keys(out)...); err != nil {
		pq := 0
		for _, r := range out {
			if strings.HasPrefix(r.name, "age1pq1") {
				pq++
			}
		}
		if pq > 0 && pq < len(out) {
			return nil, fmt.Errorf("post-quantum recipients (age1pq1...) cannot be mixed with others: who breaks the others' keys could decrypt all the same")
		}
		return nil, fmt.Errorf("these recipients cannot be encrypted to: %w", err)
	}
	return out, nil
}

func keys(rs []Recipient) (out []age.Recipient) {
	for _, r := range rs {
		out = append(out, r.key)
	}
	return out
}

// Names returns what a manifest records of recipients.
func Names(rs []Recipient) (out []string) {
	for _, r := range rs {
		out = append(out, r.name)
	}
	return out
}

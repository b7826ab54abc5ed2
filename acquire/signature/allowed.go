package signature

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	maxSigners = 1 << 20  // bytes of a file
	maxLine    = 64 << 10 // bytes of a line
)

// AllowedSigners is an allowed-signers file: see ALLOWED SIGNERS in
// ssh-keygen(1). Its zero value trusts nobody.
type AllowedSigners struct {
	name    string
	entries []entry
}

// entry is one line of the file.
type entry struct {
	line       int
	source     string // in place of file and line
	principals string // pattern list
	key        ssh.PublicKey
	options
}

type options struct {
	authority  bool
	namespaces string // pattern list; "" means all
	after      int64  // seconds since 1970; 0 means always
	before     int64
}

// ParseAllowedSigners reads an allowed-signers file; name is for messages. A
// line that it does not understand is an error: leaving it out could widen
// what another line allows.
func ParseAllowedSigners(r io.Reader, name string) (*AllowedSigners, error) {
	signers := &AllowedSigners{name: name}
	limited := &io.LimitedReader{R: r, N: maxSigners + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	n := 0
	for lines.Scan() {
		n++
		line := strings.Trim(lines.Text(), " \t")
		if line == "" || line[0] == '#' {
			continue
		}
		e, err := parseEntry(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		e.line = n
		signers.entries = append(signers.entries, e)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if limited.N <= 0 {
		return nil, fmt.Errorf("%s: has more than %d bytes", name, maxSigners)
	}
	return signers, nil
}

// With returns a that also trusts key, under a name for messages, such as that of who runs
// the program. A nil a trusts nobody else.
func (a *AllowedSigners) With(key ssh.PublicKey, name string) *AllowedSigners {
	both := &AllowedSigners{name: name}
	if a != nil {
		both.name = a.name + " and " + name
		both.entries = slices.Clone(a.entries)
		for i := range both.entries {
			both.entries[i].source = both.entries[i].at(a.name)
		}
	}
	both.entries = append(both.entries, entry{principals: name, key: key, source: name})
	return both
}

// at is the place of the entry in the file called name.
func (e *entry) at(name string) string { return cmp.Or(e.source, fmt.Sprintf("%s:%d", name, e.line)) }

// parseEntry reads "principals [options] keytype base64 [comment]".
func parseEntry(line string) (entry, error) {
	var e entry
	var err error
	rest := line
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		if e.principals, rest, ok = strings.Cut(quoted, `"`); !ok {
			return e, errors.New("principals: no closing quote")
		}
	} else if i := strings.IndexAny(line, " \t"); i >= 0 {
		e.principals, rest = line[:i], line[i:]
	} else {
		return e, errors.New("no key after the principals")
	}
	if e.principals == "" {
		return e, errors.New("no principals")
	}
	rest = strings.TrimLeft(rest, " \t")
	if !isKeyType(firstWord(rest)) {
		if e.options, rest, err = parseOptions(rest); err != nil {
			return e, err
		}
	}
	words := strings.Fields(rest)
	if len(words) < 2 {
		return e, errors.New("no key after the principals and options")
	}
	e.key, err = parseKey(words[0], words[1])
	return e, err
}

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i]
	}
	return s
}

// isKeyType tells a key type from options.
func isKeyType(word string) bool {
	//lint:ignore SA1019 DSA is named in order to be refused
	return isCertificate(word) || slices.Contains(keyTypes, word) || word == ssh.InsecureKeyAlgoDSA
}

func parseKey(keyType, encoded string) (ssh.PublicKey, error) {
	if !isKeyType(keyType) {
		return nil, fmt.Errorf("unknown key type %.60q", keyType)
	}
	if isCertificate(keyType) {
		return nil, errors.New("the key is a certificate: list the plain key, or its authority with the option cert-authority")
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	key, err := ssh.ParsePublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if key.Type() != keyType {
		return nil, fmt.Errorf("key is of type %q, the line says %q", key.Type(), keyType)
	}
	return key, nil
}

// parseOptions reads comma-separated options, up to white space outside of
// quotes, and returns what follows them.
func parseOptions(s string) (o options, rest string, err error) {
	seen := make(map[string]bool)
	for {
		end := strings.IndexAny(s, "=, \t")
		if end < 0 {
			end = len(s)
		}
		name := strings.ToLower(s[:end])
		s = s[end:]
		value := ""
		hasValue := strings.HasPrefix(s, "=")
		if hasValue {
			if value, s, err = unquote(s[1:]); err != nil {
				return o, "", fmt.Errorf("option %q: %w", name, err)
			}
		}
		if seen[name] {
			return o, "", fmt.Errorf("option %q is given twice", name)
		}
		seen[name] = true
		if err := o.set(name, value, hasValue); err != nil {
			return o, "", err
		}
		switch {
		case s == "" || s[0] == ' ' || s[0] == '\t':
			if o.after != 0 && o.before != 0 && o.before <= o.after {
				return o, "", errors.New("valid-before is not later than valid-after")
			}
			return o, s, nil
		case s[0] != ',':
			return o, "", fmt.Errorf("option %q: %q follows it", name, s[0])
		}
		s = s[1:]
	}
}

func (o *options) set(name, value string, hasValue bool) (err error) {
	switch {
	case name == "cert-authority" && !hasValue:
		o.authority = true
	case name == "namespaces" && hasValue && value != "":
		o.namespaces = value
	case name == "valid-after" && hasValue:
		o.after, err = parseTime(value, time.Local)
	case name == "valid-before" && hasValue:
		o.before, err = parseTime(value, time.Local)
	case slices.Contains([]string{"cert-authority", "namespaces", "valid-after", "valid-before"}, name):
		return fmt.Errorf("option %q: needs a value, or must have none", name)
	default:
		return fmt.Errorf("unknown option or key type %.60q", name)
	}
	if err != nil {
		return fmt.Errorf("option %q: %w", name, err)
	}
	return nil
}

// unquote reads a value in double quotes, in which \" is a quote.
func unquote(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		return "", "", errors.New("its value must be in double quotes")
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
			b.WriteByte('"')
		case s[i] == '"':
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("no closing quote")
}

// parseTime reads YYYYMMDD[Z] and YYYYMMDDHHMM[SS][Z]. Like OpenSSH it takes
// a time without Z in the time zone of this system.
func parseTime(s string, zone *time.Location) (int64, error) {
	digits := s
	if n := len(s); n > 0 && (s[n-1] == 'Z' || s[n-1] == 'z') {
		digits, zone = s[:n-1], time.UTC
	}
	layouts := map[int]string{8: "20060102", 12: "200601021504", 14: "20060102150405"}
	t, err := time.ParseInLocation(layouts[len(digits)], digits, zone)
	if err != nil || layouts[len(digits)] == "" || t.Unix() <= 0 {
		return 0, fmt.Errorf("time %q: must be YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]", s)
	}
	return t.Unix(), nil
}

// admit completes id if a line vouches for the key at the given time. If not,
// the error says what the lines that know the key object to.
func (a *AllowedSigners) admit(id *Identity, namespace string, key ssh.PublicKey, at time.Time) error {
	name := "no allowed-signers file was given"
	if a != nil {
		name = a.name
		var objections []error
		for _, e := range a.entries {
			principals, known, err := e.admits(namespace, key, at)
			if !known {
				continue
			}
			if err != nil {
				objections = append(objections, fmt.Errorf("%s: %w", e.at(a.name), err))
				continue
			}
			id.Principals, id.Source = principals, e.at(a.name)
			if e.authority {
				id.Authority = fingerprint(e.key)
			}
			return nil
		}
		if objections != nil {
			return fmt.Errorf("its key %s is not allowed: %w", id.Fingerprint, errors.Join(objections...))
		}
		name = "it is not in " + name
	}
	return fmt.Errorf("its key %s (%s) is not known: %s", id.Fingerprint, id.KeyType, name)
}

// admits says whether the line is about the key, and if so for whom it
// vouches, or why it does not.
func (e *entry) admits(namespace string, key ssh.PublicKey, at time.Time) (principals []string, known bool, err error) {
	cert, _ := key.(*ssh.Certificate)
	switch {
	case e.authority:
		if cert == nil || !bytes.Equal(cert.SignatureKey.Marshal(), e.key.Marshal()) {
			return nil, false, nil
		}
	case cert != nil || !bytes.Equal(key.Marshal(), e.key.Marshal()):
		// As in OpenSSH, a certificate is trusted for its authority alone, even if
		// its plain key is listed.
		return nil, false, nil
	}
	now := at.Unix()
	switch {
	case e.namespaces != "" && !matchList(namespace, e.namespaces):
		return nil, true, fmt.Errorf("its namespaces %q do not include %s", e.namespaces, namespace)
	case e.after != 0 && now < e.after:
		return nil, true, fmt.Errorf("it is valid only from %s", stamp(e.after))
	case e.before != 0 && now > e.before:
		return nil, true, fmt.Errorf("it was valid until %s", stamp(e.before))
	}
	if !e.authority {
		return strings.Split(e.principals, ","), true, nil
	}
	principals, err = e.certified(cert, at)
	return principals, true, err
}

func stamp(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// certified checks a certificate of the authority e.key, and returns those of its
// principals that the line admits.
func (e *entry) certified(cert *ssh.Certificate, at time.Time) ([]string, error) {
	if err := usable(cert.SignatureKey); err != nil {
		return nil, err
	}
	if err := formatFits(cert.SignatureKey, cert.Signature); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if cert.CertType != ssh.UserCert {
		return nil, errors.New("the certificate is not a user's")
	}
	// x/crypto takes a certificate without principals as good for everybody.
	if len(cert.ValidPrincipals) == 0 {
		return nil, errors.New("the certificate names no principals")
	}
	checker := ssh.CertChecker{
		// These restrict logins, and say nothing of signatures.
		SupportedCriticalOptions: []string{"force-command", "source-address"},
		Clock:                    func() time.Time { return at },
	}
	var admitted []string
	for _, p := range cert.ValidPrincipals {
		if err := checker.CheckCert(p, cert); err != nil {
			return nil, err
		}
		// A pattern or a list in a certificate would match others' names.
		if !strings.ContainsAny(p, "*?!,") && matchList(p, e.principals) {
			admitted = append(admitted, p)
		}
	}
	if admitted == nil {
		return nil, fmt.Errorf("none of the certificate's principals %q is among %q", cert.ValidPrincipals, e.principals)
	}
	return admitted, nil
}

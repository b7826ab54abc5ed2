package transport

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// tokens are the %-tokens of ssh_config(5).
type tokens map[byte]string

// expand replaces %-tokens; an unknown one is an error, as it is to ssh.
func (t tokens) expand(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", fmt.Errorf("%q ends in a %%", s)
		}
		v, ok := t[s[i]]
		if s[i] == '%' {
			v, ok = "%", true
		}
		if !ok {
			return "", fmt.Errorf("%q: unknown token %%%c", s, s[i])
		}
		b.WriteString(v)
	}
	return b.String(), nil
}

// connectionHash is the token %C.
func connectionHash(localHost, host string, port, user, jump string) string {
	sum := sha1.Sum([]byte(localHost + host + port + user + jump))
	return hex.EncodeToString(sum[:])
}

var envPattern = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// expandPath expands ~, ${VARIABLE} and %-tokens.
func (t tokens) expandPath(path, home string) (string, error) {
	path, err := expandTilde(path, home)
	if err != nil {
		return "", err
	}
	path = envPattern.ReplaceAllStringFunc(path, func(m string) string {
		v, ok := os.LookupEnv(m[2 : len(m)-1])
		if !ok {
			err = fmt.Errorf("%q: %s is not set in the environment", path, m)
		}
		return strings.ReplaceAll(v, "%", "%%")
	})
	if err != nil {
		return "", err
	}
	return t.expand(path)
}

func expandTilde(path, home string) (string, error) {
	if path == "~" {
		return home, nil
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(home, rest), nil
	}
	if strings.HasPrefix(path, "~") {
		return "", fmt.Errorf("%q: the home folder of another user is not supported, write the whole path", path)
	}
	return path, nil
}

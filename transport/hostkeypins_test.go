//go:build unix

package transport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// TestPinsAndKnownHosts: pins that are not the user's own word let in what known_hosts does not speak against, and nothing else.
func TestPinsAndKnownHosts(t *testing.T) {
	ecPrivate, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edSigner, ecSigner := newSigner(t, edKey(t)), newSigner(t, ecPrivate)
	ed, ec, other, ca := edSigner.PublicKey(), ecSigner.PublicKey(), newSigner(t, edKey(t)).PublicKey(), newSigner(t, edKey(t)).PublicKey()
	rsaPrivate, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	gone := newSigner(t, rsaPrivate).PublicKey() // the host does not show it any more
	s := (&transporttest.Server{HostKeys: []ssh.Signer{edSigner, ecSigner}}).Start(t)
	name := knownhosts.Normalize(s.Addr())
	lines := func(prefix string, keys ...ssh.PublicKey) (text string) {
		for _, k := range keys {
			text += prefix + " " + string(ssh.MarshalAuthorizedKey(k))
		}
		return text
	}
	both := func(keys ...ssh.PublicKey) []ssh.PublicKey { return keys }
	const console = "console output of i-1"
	for _, test := range []struct {
		name, file string
		pins       []ssh.PublicKey
		trust      string // or
		refused    string // what the error says, with FILE for the file's name
	}{
		{"nothing on record", "", both(ed), console, ""},
		{"another host on record", lines("elsewhere", other), both(ed), console, ""},
		{"the same", lines(name, ed), both(ed, ec), "known_hosts and " + console, ""},
		{"the same, without port", lines("127.0.0.1", ed), both(ed, ec), "known_hosts and " + console, ""},
		{"a type that the host does not show first", lines(name, ec), both(ed, ec), "known_hosts and " + console, ""},
		{"only one that the pins have", lines(name, ec, ed), both(ed), "known_hosts and " + console, ""},
		{"an authority alone", lines("@cert-authority *", ca), both(ed), console, ""},
		{"another on record", lines(name, other), both(ed, ec), "", "known_hosts and the console output of i-1 contradict each other about the host key of " + name + ": on record is " + ssh.FingerprintSHA256(other) + " (FILE:1), the other has " + ssh.FingerprintSHA256(ed)},
		{"another in the pins", lines(name, ed, ec), both(other), "", "contradict each other about the host key of " + name + ": on record is " + ssh.FingerprintSHA256(ed) + " or " + ssh.FingerprintSHA256(ec)},
		{"types apart", lines(name, ec), both(ed), "", "contradict each other"},
		{"a type that agrees beside one that does not", lines(name, other, ec), both(ed, ec), "", "contradict each other"},
		{"a type that only the pins have", lines(name, gone), both(gone, ed, ec), "", "which the console output of i-1 alone has; known_hosts has none of that type (FILE:1 has " + ssh.FingerprintSHA256(gone) + ")"},
		{"a type that only known_hosts has", lines(name, gone, ed), both(gone), "", "host key of " + name + " is not confirmed: it presents ssh-ed25519 " + ssh.FingerprintSHA256(ed) + ", which known_hosts alone has (FILE:2); the " + console + " has none of that type (it has " + ssh.FingerprintSHA256(gone) + ")"},
		{"a type of which the pins have another", lines(name, gone, ed), both(gone, other), "", "contradict each other"},
		{"in neither, which agree", lines(name, other), both(other), "", "changed: it presents ssh-ed25519 " + ssh.FingerprintSHA256(ed) + ", on record is " + ssh.FingerprintSHA256(other) + " (FILE:1)"},
		{"in neither", lines(name, other), both(ca), "", "contradict each other"},
		{"revoked", lines("@revoked *", ed), both(ed, ec), "", "is revoked: ssh-ed25519 " + ssh.FingerprintSHA256(ed) + " (FILE:1)"},
		{"not the pins', nothing on record", "", both(other), "", "changed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "known_hosts")
			if err := os.WriteFile(file, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			target := s.Target()
			target.HostKey = transport.HostKeyPolicy{KnownHosts: []string{file}, Trust: console, HoldKnownHosts: true}
			for _, k := range test.pins {
				target.HostKey.Fingerprints = append(target.HostKey.Fingerprints, ssh.FingerprintSHA256(k))
				target.HostKey.Types = append(target.HostKey.Types, transport.TypeName(k.Type()))
			}
			c, err := transporttest.Dialer(t).Dial(t.Context(), target)
			if err == nil {
				defer c.Close()
				if test.refused != "" || c.Info().HostKeyTrust != test.trust {
					t.Errorf("let in by %q", c.Info().HostKeyTrust)
				}
				return
			}
			e, ok := errors.AsType[*transport.HostKeyError](err)
			if want := strings.ReplaceAll(test.refused, "FILE", file); !ok || test.refused == "" || !strings.Contains(err.Error(), want) {
				t.Fatalf("%v\nwant %s", err, want)
			}
			if e.Source != "" && !strings.Contains(e.Hint(), "ssh-keygen -lf") {
				t.Errorf("hint %q", e.Hint())
			}
			// Without the types of the pins a contradiction cannot be excluded.
			target.HostKey.Types = nil
			if _, err := transporttest.Dialer(t).Dial(t.Context(), target); strings.Contains(test.name, "only known_hosts") && !strings.Contains(fmt.Sprint(err), "contradict each other") || err == nil {
				t.Errorf("without types: %v", err)
			}
			// The user's own word is as it was, and so is no word at all.
			target.HostKey.HoldKnownHosts = false
			target.HostKey.Fingerprints = []string{ssh.FingerprintSHA256(ec)}
			dial(t, transporttest.Dialer(t), target)
			target.HostKey.HoldKnownHosts, target.HostKey.InsecureIgnore = true, true
			dial(t, transporttest.Dialer(t), target)
		})
	}
}

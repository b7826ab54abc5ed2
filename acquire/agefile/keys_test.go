package agefile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// sshKey returns a private key as PEM and its public line.
func sshKey(t testing.TB, key any, passphrase string) (private []byte, public string) {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), string(ssh.MarshalAuthorizedKey(signer.PublicKey()))
}

func ed25519Key(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func noPassphrase() ([]byte, error) { return nil, errors.New("asked") }

func says(s string) func() ([]byte, error) {
	return func() ([]byte, error) { return []byte(s), nil }
}

// TestKinds: every kind of recipient, and the identity files that open what it gets.
func TestKinds(t *testing.T) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	pq, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey := ed25519Key(t)
	ed, edPub := sshKey(t, edKey, "")
	edLocked, _ := sshKey(t, edKey, "open sesame")
	rs, rsPub := sshKey(t, rsaKey, "")

	locked := func(armored bool) []byte {
		r, err := age.NewScryptRecipient("open sesame")
		if err != nil {
			t.Fatal(err)
		}
		r.SetWorkFactor(2)
		var out, text bytes.Buffer
		w, err := age.Encrypt(&out, r)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("# mine\n" + x.String() + "\n"))
		w.Close()
		if !armored {
			return out.Bytes()
		}
		a := armor.NewWriter(&text)
		a.Write(out.Bytes())
		a.Close()
		return text.Bytes()
	}
	for _, c := range []struct {
		name, recipient string
		file            []byte
		passphrase      func() ([]byte, error)
	}{
		{"x25519", x.Recipient().String(), []byte("# comment\r\n\n" + x.String() + "\r\n"), noPassphrase},
		{"x25519 encrypted", x.Recipient().String(), locked(false), says("open sesame")},
		{"x25519 armored", x.Recipient().String(), locked(true), says("open sesame")},
		{"post-quantum", pq.Recipient().String(), []byte(pq.String()), noPassphrase},
		{"ed25519", strings.TrimSpace(edPub) + " someone@here", ed, noPassphrase},
		{"ed25519 encrypted", edPub, edLocked, says("open sesame")},
		{"rsa", rsPub, rs, noPassphrase},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := ParseRecipient(c.recipient)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(c.recipient, "ssh-") {
				pub, _, _, _, _ := ssh.ParseAuthorizedKey([]byte(c.recipient))
				if want := pub.Type() + " " + ssh.FingerprintSHA256(pub); r.String() != want {
					t.Errorf("called %q, want %q", r, want)
				}
			} else if r.String() != c.recipient {
				t.Errorf("called %q", r)
			}
			ids, err := ParseIdentities(c.file, c.passphrase)
			if err != nil {
				t.Fatal(err)
			}
			stored, _ := seal(t, []byte("evidence"), 100, 1, r)
			f, err := Open(bytes.NewReader(stored), int64(len(stored)), ids...)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 8)
			if _, err := f.ReadAt(got, 0); err != nil || string(got) != "evidence" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}

	mixed := []Recipient{}
	for _, s := range []string{x.Recipient().String(), pq.Recipient().String()} {
		r, err := ParseRecipient(s)
		if err != nil {
			t.Fatal(err)
		}
		mixed = append(mixed, r)
	}
	if _, err := Join(mixed); err == nil || !strings.Contains(err.Error(), "cannot be mixed") {
		t.Errorf("mixed: %v", err)
	}
	if all, err := Join(mixed[:1], mixed[:1]); err != nil || len(all) != 1 {
		t.Errorf("twice the same: %v, %v", Names(all), err)
	}
	if all, err := Join(); err != nil || all != nil {
		t.Errorf("none: %v, %v", all, err)
	}
}

func TestParseRecipientErrors(t *testing.T) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := sshKey(t, ed25519Key(t), "")
	_, ecPub := sshKey(t, ec, "")
	public := x.Recipient().String()
	typo := map[bool]string{true: "p", false: "q"}[strings.HasSuffix(public, "q")]
	for _, c := range []struct{ in, want string }{
		{"", "empty"},
		{x.String(), "secret key"},
		{strings.ToLower(x.String()), "secret key"},
		{string(private), "secret key"},
		{public[:40], "not a whole key"},
		{public[:len(public)-1] + typo, "not a whole key"},
		{"age1yubikey1q2w7u3vpya839jxxuq8g0sedh3d740d4xvn639sqhr95ejj8vu3hyfumptt", "plugin"},
		{"age1pq1qqqq", "not a whole key"},
		{"ssh-ed25519 AAAA", "SSH public key"},
		{"ssh-dss AAAA", "SSH public key"},
		{ecPub, "neither"},
		{"bob@example.org", "neither"},
	} {
		_, err := ParseRecipient(c.in)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.20q: %v, want %s", c.in, err, c.want)
		}
		if c.want == "secret key" && (!errors.Is(err, ErrSecretKey) || strings.Contains(err.Error(), "1")) {
			t.Errorf("%v", err)
		}
	}
}

func TestParseRecipients(t *testing.T) {
	a, _ := testKey(t)
	b, _ := testKey(t)
	got, err := ParseRecipients(strings.NewReader("# team\n\n  " + a.String() + "\r\n#" + b.String() + "\n" + b.String()))
	if err != nil || len(got) != 2 || got[0].String() != a.String() || got[1].String() != b.String() {
		t.Errorf("%v, %v", Names(got), err)
	}
	_, err = ParseRecipients(strings.NewReader("nobody\n" + a.String() + "\nage1short\n"))
	if err == nil || !strings.Contains(err.Error(), "line 1:") || !strings.Contains(err.Error(), "line 3:") {
		t.Errorf("all errors at once: %v", err)
	}
	for _, s := range []string{"", "# nobody yet\n", strings.Repeat("#\n", maxRecipientsFile), strings.Repeat("x", 70<<10)} {
		if got, err := ParseRecipients(strings.NewReader(s)); err == nil {
			t.Errorf("%.20q: %v", s, Names(got))
		}
	}
}

func TestParseIdentitiesErrors(t *testing.T) {
	x, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	locked, _ := sshKey(t, ed25519Key(t), "open sesame")
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, _ := sshKey(t, ec, "")
	to, _ := testKey(t)
	notLocked, _ := seal(t, []byte(x.String()), 100, 1, to)
	for _, c := range []struct {
		name string
		in   []byte
		pass func() ([]byte, error)
		want string
	}{
		{"empty", nil, noPassphrase, "no identity"},
		{"comments", []byte("# created: today\n"), noPassphrase, "no identity"},
		{"public", []byte("\n" + x.Recipient().String()), noPassphrase, "line 2: this is a public key"},
		{"typo", []byte(x.String()[:50]), noPassphrase, "line 1: not a secret key"},
		{"plugin", []byte("AGE-PLUGIN-YUBIKEY-1QQQ"), noPassphrase, "plugin"},
		{"wrong passphrase", locked, says("wrong"), "passphrase is wrong"},
		{"no passphrase", locked, noPassphrase, "asked"},
		{"ecdsa", ecKey, noPassphrase, "ssh-ed25519 and ssh-rsa"},
		{"no key", []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"), noPassphrase, "SSH private key"},
		{"not of a passphrase", notLocked, says("x"), "passphrase is wrong"},
		{"empty passphrase", notLocked, says(""), "empty"},
		{"long", make([]byte, MaxIdentity+1), noPassphrase, "more than"},
	} {
		ids, err := ParseIdentities(c.in, c.pass)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %d identities, %v, want %q", c.name, len(ids), err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "AGE-SECRET-KEY-1") {
			t.Errorf("%s: the error shows a key: %v", c.name, err)
		}
	}
}

// FuzzKeys: whatever is given for a key, no panic.
func FuzzKeys(f *testing.F) {
	to, id := testKey(f)
	f.Add([]byte(to.String()))
	f.Add([]byte(id.String()))
	private, public := sshKey(f, ed25519Key(f), "")
	f.Add(private)
	f.Add([]byte(public))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseRecipient(string(b)); err == nil {
			if _, err := Join([]Recipient{r}); err != nil {
				t.Errorf("%s is taken and cannot be encrypted to: %v", r, err)
			}
		}
		ParseRecipients(bytes.NewReader(b))
		if !bytes.Contains(b, []byte("-> scrypt")) { // the passphrase's cost is the file's choice
			ParseIdentities(b, says("x"))
		}
	})
}

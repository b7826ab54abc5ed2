package ec2connect_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/cmd/internal/ec2connect"
	"github.com/shotglass-ir/shotglass/containment/awsfake"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// keysBlock and printsBlock are what cloud-init writes, the one by itself, the other through syslog.
func keysBlock(keys ...ssh.PublicKey) string {
	text := "[   14.213] cloud-init[1371]: Cloud-init v. 22.2.2 running 'modules:final'\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n"
	for _, k := range keys {
		text += strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k))) + " root@ip-10-0-0-1.eu-west-1.compute.internal\r\n"
	}
	return text + "-----END SSH HOST KEY KEYS-----\r\n[   14.9] cloud-init[1371]: done\r\n"
}

func printsBlock(keys ...ssh.PublicKey) string {
	const log = "<14>Nov 22 03:00:07 cloud-init: "
	text := log + "#############################################################\n" + log + "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n"
	for _, k := range keys {
		name := map[string]string{ssh.KeyAlgoED25519: "ED25519", ssh.KeyAlgoRSA: "RSA"}[k.Type()]
		text += fmt.Sprintf("%s256 %s root@ip-10-0-0-1 (%s)\n", log, ssh.FingerprintSHA256(k), name)
	}
	return text + log + "-----END SSH HOST KEY FINGERPRINTS-----\n"
}

func newPublic(t testing.TB) ssh.PublicKey {
	s, _ := transporttest.NewKey(t)
	return s.PublicKey()
}

func ecdsaPublic(t testing.TB) ssh.PublicKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(&k.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return public
}

func TestParseConsole(t *testing.T) {
	a, b := newPublic(t), newPublic(t)
	print := ssh.FingerprintSHA256(a)
	line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(a)))
	for name, tt := range map[string]struct {
		text string
		want ec2connect.HostKeys
	}{
		"none":               {"Linux version 6.1\nlogin: ", ec2connect.HostKeys{}},
		"keys":               {keysBlock(a), ec2connect.HostKeys{"ED25519": print}},
		"fingerprints":       {printsBlock(a), ec2connect.HostKeys{"ED25519": print}},
		"both, twice":        {printsBlock(a) + keysBlock(a) + "reboot\n" + printsBlock(a), ec2connect.HostKeys{"ED25519": print}},
		"outside of a block": {line + "\n256 " + print + " x (ED25519)\n", ec2connect.HostKeys{}},
		"no end":             {strings.Split(keysBlock(a), "-----END")[0], ec2connect.HostKeys{}},
		"no beginning":       {strings.Split(keysBlock(a), "BEGIN")[1], ec2connect.HostKeys{}},
		"begun again":        {"-----BEGIN SSH HOST KEY KEYS-----\n" + keysBlock(a), ec2connect.HostKeys{"ED25519": print}},
		"garbage inside":     {strings.Replace(keysBlock(a), "ssh-ed25519 ", "ssh-ed25519 AAAA\nssh-rsa AAAAB3NzaC1yc2EAAAA=\n\x1b[31mssh-dss AAAA x\nssh-ed25519 ", 1), ec2connect.HostKeys{"ED25519": print}},
		"behind a prefix":    {"-----BEGIN SSH HOST KEY KEYS-----\n[  3.1] sh[7]: " + line + "\n-----END SSH HOST KEY KEYS-----", ec2connect.HostKeys{"ED25519": print}},
		"MD5":                {"-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 aa:bb:cc x (ED25519)\n-----END SSH HOST KEY FINGERPRINTS-----\n", ec2connect.HostKeys{}},
	} {
		got, err := ec2connect.ParseConsole(tt.text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for name, text := range map[string]string{"one block": keysBlock(a, b), "two blocks": keysBlock(a) + keysBlock(b), "keys and fingerprints": printsBlock(b) + keysBlock(a), "a type more": keysBlock(a) + keysBlock(a, ecdsaPublic(t)), "a type more, later": printsBlock(a) + keysBlock(ecdsaPublic(t))} {
		if keys, err := ec2connect.ParseConsole(text); !errors.Is(err, ec2connect.ErrContradiction) || keys != nil {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}

// Pins from the console let in to the machine that wrote them, and to no other.
func TestConsoleKeys(t *testing.T) {
	w := newWorld(t)
	i := w.region.Instances[instance]
	set := func(posted, latest string) {
		w.cloud.Edit(func() {
			i.Console = awsfake.Console{Posted: posted, Latest: latest, At: time.Date(2026, 11, 22, 3, 1, 2, 0, time.UTC)}
		})
	}
	own, other := w.sshd.HostKeys[0].PublicKey(), newPublic(t)
	want := func(from string, prints ...string) {
		t.Helper()
		keys, where, err := ec2connect.ConsoleKeys(t.Context(), w.cfg, instance)
		if err != nil || where != from || !cmp.Equal(keys.Fingerprints(), prints) {
			t.Errorf("%v from %q, %v; want %v from %q", keys, where, err, prints, from)
		}
	}
	want("")
	set(keysBlock(own), keysBlock(other))
	want("console output of 2026-11-22T03:01:02Z", ssh.FingerprintSHA256(own))
	set("booting\n", keysBlock(own))
	want("latest console output of 2026-11-22T03:01:02Z", ssh.FingerprintSHA256(own))
	set(keysBlock(own)+strings.Repeat("noise\n", 20000), "")
	want("") // scrolled away
	i.Type = "m4.large"
	want("") // Xen has no latest
	w.fault("GetConsoleOutput", &awsfake.Error{})
	_, _, err := ec2connect.ConsoleKeys(t.Context(), w.cfg, instance)
	if h, ok := errors.AsType[transport.Hinter](err); !ok || !strings.Contains(h.Hint(), "ec2:GetConsoleOutput") {
		t.Errorf("%v", err)
	}
	w.fault("", nil)
	set(keysBlock(own, other), "")
	if _, _, err := ec2connect.ConsoleKeys(t.Context(), w.cfg, instance); !errors.Is(err, ec2connect.ErrContradiction) {
		t.Errorf("%v", err)
	}
}

// FuzzParseConsole: whatever a machine writes, what comes of it are fingerprints.
func FuzzParseConsole(f *testing.F) {
	k := newPublic(f)
	f.Add(keysBlock(k))
	f.Add(printsBlock(k))
	f.Add(keysBlock(k) + printsBlock(k) + keysBlock(k, k))
	f.Add("-----BEGIN SSH HOST KEY KEYS-----\nssh-rsa AAAA=\n-----END SSH HOST KEY KEYS-----")
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := ec2connect.ParseConsole(text)
		if err != nil && !errors.Is(err, ec2connect.ErrContradiction) {
			t.Fatal(err)
		}
		for _, p := range keys.Fingerprints() {
			if len(p) != len("SHA256:")+43 {
				t.Fatalf("%q", p)
			}
		}
	})
}

// The argument vector of a session, as AWS documents it, and as a shell takes it.
func TestSSM(t *testing.T) {
	s := ec2connect.SSM{Instance: "i-0123456789abcdef0", Region: "eu-west-1", Profile: "case 42%", Endpoint: ""}
	want := []string{"aws", "ssm", "start-session", "--target", "i-0123456789abcdef0", "--document-name", "AWS-StartSSHSession", "--parameters", "portNumber=%p", "--region", "eu-west-1", "--profile", "case 42%%"}
	if diff := cmp.Diff(want, s.Argv()); diff != "" {
		t.Error(diff)
	}
	if got, want := s.ProxyCommand(), "aws ssm start-session --target i-0123456789abcdef0 --document-name AWS-StartSSHSession --parameters portNumber=%p --region eu-west-1 --profile 'case 42%%'"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

package transport

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a b", "it's", `\`, "$(id)", "\n", "if", "a=b", "\xff"} {
		f.Add(s, "x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		line, err := commandLine([]string{"x" + a, b, a})
		if strings.ContainsRune(a+b, 0) {
			if err == nil {
				t.Fatal("NUL was accepted")
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := unquote(t, line); !slices.Equal(got, []string{"x" + a, b, a}) {
			t.Fatalf("%q came back as %q", line, got)
		}
	})
}

// unquote takes a line apart as a POSIX shell does, and fails on anything that
// a shell would interpret.
func unquote(t *testing.T, line string) []string {
	var words []string
	var word strings.Builder
	for i := 0; i < len(line); i++ {
		switch c := line[i]; c {
		case '\'':
			end := strings.IndexByte(line[i+1:], '\'')
			if end < 0 {
				t.Fatalf("open quote in %q", line)
			}
			word.WriteString(line[i+1 : i+1+end])
			i += end + 1
		case '\\':
			i++
			word.WriteByte(line[i])
		case ' ':
			words = append(words, word.String())
			word.Reset()
		default:
			if !plain(string(c)) {
				t.Fatalf("bare %q in %q", c, line)
			}
			word.WriteByte(c)
		}
	}
	return append(words, word.String())
}

func TestQuoteReservedWord(t *testing.T) {
	if got := Quote("if", "if", "/bin/x"); got != "'if' if /bin/x" {
		t.Errorf("got %s", got)
	}
	out, err := exec.Command("sh", "-c", Quote("printf", "%s|", "a'b", "$x", "")).Output()
	if err != nil || string(out) != "a'b|$x||" {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestParseJumps(t *testing.T) {
	for _, test := range []struct {
		spec string
		want []Target
	}{
		{"none", nil},
		{"a", []Target{{Name: "a"}}},
		{"me@a:2222,b", []Target{{Name: "a", User: "me", Port: 2222}, {Name: "b"}}},
		{"[::1]:22,fe80::1", []Target{{Name: "::1", Port: 22}, {Name: "fe80::1"}}},
		{"ssh://me@[::1]:7", []Target{{Name: "::1", User: "me", Port: 7}}},
		{"me@corp@a", []Target{{Name: "a", User: "me@corp"}}},
	} {
		got, err := ParseJumps(test.spec)
		if err != nil || len(got) != len(test.want) {
			t.Errorf("%s: %v, %v", test.spec, got, err)
			continue
		}
		for i := range got {
			if got[i].Name != test.want[i].Name || got[i].User != test.want[i].User || got[i].Port != test.want[i].Port {
				t.Errorf("%s: %+v", test.spec, got[i])
			}
		}
	}
	for _, spec := range []string{"", "a,", "@a", "a:", "a:0", "a:65536", "a:x", "[::1", "[::1]x", "a b", "-oProxyCommand=x",
		"ssh://a:b@c", "ssh://a/b", "a/b", strings.Repeat("a,", 20) + "a"} {
		if got, err := ParseJumps(spec); err == nil {
			t.Errorf("%q was accepted: %+v", spec, got)
		}
	}
}

func FuzzParseJumps(f *testing.F) {
	for _, s := range []string{"a", "u@h:1,b", "[::1]:2", "ssh://u@h:3", "none"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		jumps, err := ParseJumps(s)
		if err != nil {
			return
		}
		for _, j := range jumps {
			if j.Name == "" || j.Port < 0 || j.Port > 65535 || strings.ContainsAny(j.Name, " \n@/") || j.Name[0] == '-' {
				t.Fatalf("%q gave %+v", s, j)
			}
		}
	})
}

func FuzzConfig(f *testing.F) {
	f.Add("Host a !b\n HostName = \"x\" # c\nMatch final all\nUser y\n")
	f.Add("Include *\nMatch host a,b !user c\nPort 1")
	f.Add("=\n\"\nHost\nMatch exec x")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "config")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d := &SSH{ConfigFiles: []string{path}, Home: dir}
		d.chain(Target{Name: "a"})
	})
}

func config(t *testing.T, files map[string]string) *SSH {
	t.Helper()
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &SSH{ConfigFiles: []string{filepath.Join(home, ".ssh", "config")}, Home: home}
}

func TestConfig(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "/run/agent")
	t.Setenv("KEYS", "/keys")
	d := config(t, map[string]string{
		"config": `
Include extra*
Host web
	HostName %h.example.com
	User = "deploy"
	Port 2222
	IdentityFile ~/.ssh/%r-%p
	IdentityFile ${KEYS}/b   # second
	IdentitiesOnly yes
	IdentityAgent none
	CertificateFile /certs/c-cert.pub
	UserKnownHostsFile ~/kh1 "/kh 2"
	GlobalKnownHostsFile none
	HostKeyAlias Alias
	ProxyJump b1.example,me@b2:2200
Host b1.*
	User first
Match host web.example.com user deploy
	User never
Match final all
	Port 99
	User late
Host px
	ProxyCommand nc -X %h %p %r %n %%
	ProxyJump ignored
Host *,!x
`,
		"extra.conf": "Host inc\nHostName from-include\n",
	})
	hops, err := d.chain(Target{Name: "web"})
	if err != nil {
		t.Fatal(err)
	}
	if len(hops) != 3 {
		t.Fatalf("%d hops", len(hops))
	}
	h := hops[2]
	want := []string{
		"deploy@web.example.com:2222", "alias:22", d.Home + "/.ssh/deploy-2222,/keys/b", "/certs/c-cert.pub",
		d.Home + "/kh1,/kh 2", "",
	}
	got := []string{h.login(), h.lookup, strings.Join(h.identities, ","), strings.Join(h.certificates, ","), strings.Join(h.knownHosts, ","), h.agent}
	if !slices.Equal(got, want) || !h.identitiesOnly {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if hops[0].login() != "first@b1.example:99" || hops[1].login() != "me@b2:2200" {
		t.Errorf("jumps %s, %s", hops[0].login(), hops[1].login())
	}
	if hops[0].agent != "/run/agent" {
		t.Errorf("agent %q", hops[0].agent)
	}

	hops, err = d.chain(Target{Name: "px", User: "u", Port: 7})
	if err != nil || len(hops) != 1 || hops[0].proxyCommand != "nc -X px 7 u px %" {
		t.Errorf("proxy command: %+v, %v", hops, err)
	}
	if hops, err = d.chain(Target{Name: "inc", NoJumps: true}); err != nil || hops[0].host != "from-include" {
		t.Errorf("include: %v", err)
	}
	if hops, err = d.chain(Target{Name: "web", Host: "10.0.0.1", NoJumps: true}); err != nil || hops[0].addr() != "10.0.0.1:2222" {
		t.Errorf("host override: %v", err)
	}
}

func TestConfigJumpSecrets(t *testing.T) {
	d := config(t, map[string]string{"config": "Host t\nProxyJump j\n"})
	ask := SecretFunc(nil)
	hops, err := d.chain(Target{Name: "t", Auth: Auth{KeyFiles: []string{"k"}, Password: ask}, HostKey: HostKeyPolicy{
		Fingerprints: []string{"x"}, InsecureIgnore: true, KnownHosts: []string{"kh"}}})
	if err != nil {
		t.Fatal(err)
	}
	j := hops[0]
	if j.auth.Password != nil || len(j.auth.KeyFiles) > 0 || j.hostKey.InsecureIgnore || len(j.hostKey.Fingerprints) > 0 || len(j.hostKey.KnownHosts) != 1 {
		t.Errorf("the jump host inherits %+v %+v", j.auth, j.hostKey)
	}
}

func TestConfigErrors(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"exec", "\nHost a\nMatch exec \"touch /tmp/x\"\nUser b", "config:3: \"exec\" is not supported"},
		{"no value", "User", "config:1:"},
		{"port", "Port 0", "config:1: port"},
		{"yes", "IdentitiesOnly maybe", "config:1: identitiesonly"},
		{"token", "HostName %q", "config:1: hostname"},
		{"quote", "UserKnownHostsFile \"a", "config:1: userknownhostsfile"},
		{"include itself", "Include config", "config:1: includes nest too deep"},
		{"equals", "=x", "config:1:"},
		{"loop", "Host *\nProxyJump b", "loop"},
		{"jump syntax", "Host a\nProxyJump b:x", "config:2: ProxyJump"},
		{"unset variable", "IdentityFile ${SHOTGLASS_NO_SUCH}/x", "not set"},
		{"other home", "IdentityFile ~bob/x", "another user"},
		{"proxy token", "ProxyCommand x %z", "config:1: ProxyCommand"},
	} {
		d := config(t, map[string]string{"config": test.text})
		_, err := d.chain(Target{Name: "a"})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	// What ssh would not evaluate does no harm.
	d := config(t, map[string]string{"config": "Match host zzz exec true\nUser b"})
	if _, err := d.chain(Target{Name: "a"}); err != nil {
		t.Error(err)
	}
	d = config(t, map[string]string{"config": "ProxyCommand nc %h %p"})
	if _, err := d.chain(Target{Name: "a;reboot"}); err == nil {
		t.Error("a host name with shell syntax reached a proxy command")
	}
	if _, err := (&SSH{ConfigFiles: []string{"/no/such/config"}, Home: "/"}).chain(Target{Name: "a"}); err == nil {
		t.Error("a configuration file that is missing was ignored")
	}
}

func TestChainTooLong(t *testing.T) {
	d := &SSH{ConfigFiles: []string{"none"}, Home: t.TempDir()}
	target := Target{Name: "t"}
	for i := range 9 {
		target.Jumps = append(target.Jumps, Target{Name: "j" + string(rune('a'+i))})
	}
	if _, err := d.chain(target); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("got %v", err)
	}
	target.Jumps = []Target{{Name: "a"}, {Name: "b"}, {Name: "a"}}
	if _, err := d.chain(target); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("got %v", err)
	}
	target.ProxyCommand = "nc"
	if _, err := d.chain(target); err == nil {
		t.Error("proxy command and jump hosts together")
	}
}

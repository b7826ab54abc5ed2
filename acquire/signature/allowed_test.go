package signature

import (
	"strings"
	"testing"
	"time"
)

const testKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2VnMxFBBsa52jeFgRTjVSRdKqlpmKfJMjaCvVVSVn8"

func parse(s string) (*AllowedSigners, error) {
	return ParseAllowedSigners(strings.NewReader(s), "allowed_signers")
}

func TestParseAllowedSigners(t *testing.T) {
	a, err := parse("# comment\r\n\r\n  \t# another\n" +
		"alice " + testKey + " comment with spaces\r\n" +
		"\tbob,carol@*  cert-authority,namespaces=\"a b,\\\"c\\\"\" \t" + testKey + "\n" +
		"\"dan,erin\" Valid-After=\"20260102Z\",VALID-BEFORE=\"20260102030405Z\" " + testKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(a.entries) != 3 {
		t.Fatalf("%d entries", len(a.entries))
	}
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	for i, want := range []entry{
		{line: 4, principals: "alice"},
		{line: 5, principals: "bob,carol@*", options: options{authority: true, namespaces: `a b,"c"`}},
		{line: 6, principals: "dan,erin", options: options{after: day.Unix(), before: day.Unix() + 3*3600 + 4*60 + 5}},
	} {
		got := a.entries[i]
		if got.line != want.line || got.principals != want.principals || got.options != want.options || got.key == nil {
			t.Errorf("entry %d: %+v, want %+v", i, got, want)
		}
	}
}

func TestParseAllowedSignersRefuses(t *testing.T) {
	rest := " " + testKey
	for line, want := range map[string]string{
		"alice":                        "no key after the principals",
		"alice ssh-ed25519":            "no key after",
		"alice namespaces=\"x\"":       "no key after",
		`"alice`:                       "no closing quote",
		`""` + rest:                    "no principals",
		"alice ssh-ed25519 !!!":        "illegal base64",
		"alice ssh-ed25519 AAAA":       "key:",
		"alice ssh-rsa" + testKey[11:]: `of type "ssh-ed25519"`,
		"alice ssh-ed25519-cert-v01@openssh.com x":                      "is a certificate",
		"alice restrict" + rest:                                         `unknown option or key type "restrict"`,
		"alice no-touch-required" + rest:                                "unknown option",
		"alice namespaces=file" + rest:                                  "double quotes",
		`alice namespaces="file` + rest:                                 "no closing quote",
		`alice namespaces=""` + rest:                                    "needs a value",
		"alice namespaces" + rest:                                       "needs a value",
		`alice cert-authority="x"` + rest:                               "must have none",
		`alice namespaces="a",namespaces="b"` + rest:                    "given twice",
		"alice cert-authority,cert-authority" + rest:                    "given twice",
		"alice cert-authority," + rest:                                  "unknown option",
		`alice namespaces="a"x` + rest:                                  "follows it",
		`alice valid-after="x"` + rest:                                  "must be YYYYMMDD",
		`alice valid-after=""` + rest:                                   "must be YYYYMMDD",
		`alice valid-after="Z"` + rest:                                  "must be YYYYMMDD",
		`alice valid-after="20260230Z"` + rest:                          "must be YYYYMMDD",
		`alice valid-after="2026010112Z"` + rest:                        "must be YYYYMMDD",
		`alice valid-after="19700101Z"` + rest:                          "must be YYYYMMDD",
		`alice valid-after="-2026010Z"` + rest:                          "must be YYYYMMDD",
		`alice valid-after="20260102Z",valid-before="20260102Z"` + rest: "not later",
		testKey:                             "unknown option or key type",
		strings.Repeat("a", maxLine) + rest: "token too long",
	} {
		_, err := parse("# first\n" + line + "\n")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "allowed_signers:2: ") {
			t.Errorf("%.60q: %v, want %q", line, err, want)
		}
	}
	if _, err := parse(strings.Repeat("# comment\n", maxSigners/10+1)); err == nil {
		t.Error("took a file that is too long")
	}
}

func TestParseTime(t *testing.T) {
	zone := time.FixedZone("", 3600)
	for s, want := range map[string]time.Time{
		"20260102":        time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"20260102Z":       time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC),
		"202601020304":    time.Date(2026, 1, 2, 3, 4, 0, 0, zone),
		"202601020304z":   time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC),
		"20260102030405":  time.Date(2026, 1, 2, 3, 4, 5, 0, zone),
		"20260102030405Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		if got, err := parseTime(s, zone); err != nil || got != want.Unix() {
			t.Errorf("%q = %d, %v, want %d", s, got, err, want.Unix())
		}
	}
}

func TestMatchList(t *testing.T) {
	for _, tt := range []struct {
		s, list string
		want    bool
	}{
		{"a", "a", true},
		{"a", "b,a", true},
		{"a", "b", false},
		{"a", "", false},
		{"", "", false},
		{"", "*", true},
		{"a", "A", false},
		{"abc", "a*c", true},
		{"abc", "a*d", false},
		{"abcbd", "a*b?", true},
		{"abc", "abc*", true},
		{"abc", "??", false},
		{"abc", "???", true},
		{"abc", "*,!abc", false},
		{"abc", "!abc,*", false},
		{"abc", "!abd,*", true},
		{"abc", "!abd", false},
		{"abc", "a**c", true},
		{strings.Repeat("a", 5000), strings.Repeat("a*", 500) + "b", false},
	} {
		if got := matchList(tt.s, tt.list); got != tt.want {
			t.Errorf("matchList(%.20q, %.20q) = %t", tt.s, tt.list, got)
		}
	}
}

func FuzzParseAllowedSigners(f *testing.F) {
	f.Add("alice " + testKey)
	f.Add(`"a,b" cert-authority,namespaces="x\"y",valid-after="20260102Z",valid-before="20260103" ` + testKey + " c")
	f.Add("# x\n\nalice ssh-rsa AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parse(s)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "allowed_signers:") {
				t.Fatalf("error without a line: %v", err)
			}
			return
		}
		for _, e := range a.entries {
			if e.principals == "" || e.key == nil || isCertificate(e.key.Type()) {
				t.Fatalf("%+v", e)
			}
			e.admits(Namespace, e.key, time.Now())
		}
	})
}

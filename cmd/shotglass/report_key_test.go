package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/acquire/report"
	"github.com/shotglass-ir/shotglass/cmd/internal/keytrail"
)

// signKey makes a signing key, and a file of signers that trusts it.
func signKey(t *testing.T) (key, signers string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	key, signers = filepath.Join(dir, "key"), filepath.Join(dir, "signers")
	for name, data := range map[string][]byte{key: pem.EncodeToMemory(block), signers: append([]byte("investigator "), ssh.MarshalAuthorizedKey(public)...)} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, signers
}

// The record of a key is signed, names its events, verifies, and has its place on the page; what was altered shows.
func TestKeyRecord(t *testing.T) {
	c := newCloudTest(t)
	stolenKey(c)
	c.out = t.TempDir()
	key, signers := signKey(t)
	out, _ := c.run(exitOK, "key", "--json", "-o", c.out, "--sign-key", key, c.key.ID)
	c.has("the result", out, `"message_type":"key_record"`, `"signed":true`)
	records, err := filepath.Glob(c.out + "/*.keytrail")
	if err != nil || len(records) != 1 {
		t.Fatal(records, err)
	}
	record := records[0]
	out, _ = c.run(exitOK, "verify", "--signers", signers, record)
	c.has("the verification", out, "verified; of "+c.key.ID+"; events as named")
	_, errs := c.run(exitMismatch, "verify", record)
	c.has("the refusal", errs, "allowed_signers")
	p := c.page(exitOK, "--signers", signers, c.out)
	c.has("the page", p, "Asked of the cloud", "it may do everything: AdministratorAccess", "turned off what records or warns: 1 call", "cloudtrail:StopLogging", "&lt;b&gt;main&lt;/b&gt;", `evil\x1b[2J`,
		"CreateUser of "+c.key.ID, "-n keytrail@shotglass-ir", ".events.jsonl.gz")
	c.page(exitOK, "--signers", signers, record)

	events := strings.TrimSuffix(record, keySuffix) + keyEventsSuffix
	data, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(events, data[1:], 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = c.run(exitMismatch, "verify", "--json", "--signers", signers, record)
	c.has("the verification", out, `"verdict":"mismatch"`, `"events":"differs"`)
	c.has("the page", c.page(exitMismatch, "--signers", signers, c.out), "differs", "Something does not agree")
	if err := os.Remove(events); err != nil {
		t.Fatal(err)
	}
	c.run(exitMismatch, "verify", "--signers", signers, record)
	data, err = os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(record, bytes.Replace(data, []byte("StopLogging"), []byte("ListUsers"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	c.run(exitMismatch, "verify", "--signers", signers, record)
	c.has("the page", c.page(exitMismatch, "--signers", signers, c.out), "nothing of the record is vouched for")
}

// A record that has only the first of the worst says so, and how many there are.
func TestKeyWorstOf(t *testing.T) {
	rec := &keyRecord{Trace: &keytrail.Found{}, Worst: make([]keytrail.Act, 2), WorstOf: 700}
	if title := keyInquiry(rec).Tables[0].Title; !strings.Contains(title, "2 of 700") {
		t.Error(title)
	}
	rec.WorstOf = 2
	if title := keyInquiry(rec).Tables[0].Title; strings.Contains(title, " of ") {
		t.Error(title)
	}
}

// Nothing that a record can hold makes the report, or verify, fall over.
func FuzzKeyRecord(f *testing.F) {
	f.Add([]byte(`{"v":1,"trace":{"target":"AKIAIOSFODNN7EXAMPLE","owner":{"arn":"x","key":{},"rights":{"can":[{"action":"a","on":["b"]}]}},"identities":[{"kind":"user"},{"via":{}}],"use":{"classes":{"hides":1}},"gaps":[{}]},"worst":[{}],"events":{"name":"../x"}}`))
	f.Add([]byte(`{"v":1,"trace":{"identities":[null]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		rec, err := parseKeyRecord(data)
		if err != nil {
			return
		}
		q := keyInquiry(rec)
		if q.Class == "good" && len(rec.Trace.Gaps) > 0 && rec.Trace.Blindness() > 0 {
			t.Errorf("%s: good", data)
		}
		c, err := report.Load(t.Context(), nil, report.Options{Inquiries: []*report.Inquiry{q}})
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := c.Write(&b); err != nil {
			t.Fatal(err)
		}
	})
}

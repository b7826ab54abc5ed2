package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda/messages"
)

// environment is a good one, but for what is changed in it.
func environment(change map[string]string) func(string) string {
	digest := sha256.Sum256([]byte(secret))
	env := map[string]string{
		envSecret: hex.EncodeToString(digest[:]), envAudit: "arn:aws:sns:eu-west-1:111122223333:audit", envJournal: "s3://evidence/lockdown/",
		envRole: "shotglass-lockdown-member", envRoleID: roleID, envAccounts: "444455556666, 555566667777", envGlass: "arn:aws:iam::111122223333:role/emergency,user/root-keeper",
		envForensic: "192.0.2.7/32", envTag: "ms-ir-quarantine", envUntrack: "80s", envWatch: "0s",
	}
	for k, v := range change {
		env[k] = v
	}
	return func(name string) string { return env[name] }
}

func TestSettings(t *testing.T) {
	s, err := readSettings(environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.secret != sha256.Sum256([]byte(secret)) || s.bucket.Bucket != "evidence" || s.bucket.Prefix != "lockdown/" || len(s.accounts) != 2 || len(s.glass) != 2 ||
		*s.options.UntrackWait != 80*time.Second || s.watch != 0 || s.options.Forensic != "192.0.2.7/32" || s.options.QuarantineTag != "ms-ir-quarantine" || s.roleID != roleID {
		t.Errorf("%+v", s)
	}
	if s, err := readSettings(environment(map[string]string{envUntrack: "", envWatch: "", envRole: "", envAccounts: ""})); err != nil || s.options.UntrackWait != nil || s.watch != time.Minute {
		t.Errorf("%+v, %v", s, err)
	}
}

// A function that is set up wrongly says so to each message, and does not say the secret that somebody put in place of its digest.
func TestMisconfigured(t *testing.T) {
	for name, bad := range map[string]string{
		envSecret: secret, envAudit: "audit", envJournal: "evidence/lockdown", envRole: "", envAccounts: "4444", envGlass: "emergency", envUntrack: "soon", envWatch: "20m",
	} {
		var log bytes.Buffer
		h := start(t.Context(), environment(map[string]string{name: bad}), &log)
		_, err := h.Invoke(t.Context(), []byte(`{}`))
		answer, ok := err.(messages.InvokeResponse_Error)
		if !ok || answer.Type != "Misconfigured" || !strings.Contains(answer.Message, name) || !strings.Contains(log.String(), name) {
			t.Errorf("%s=%q: %v\n%s", name, bad, err, &log)
		}
		if strings.Contains(answer.Message+log.String(), secret) {
			t.Errorf("the secret was told: %s", answer.Message)
		}
	}
	for _, name := range []string{envSecret, envAudit, envJournal} {
		if _, err := readSettings(environment(map[string]string{name: ""})); err == nil {
			t.Errorf("no %s, and no error", name)
		}
	}
}

// A good environment makes a function without a call to AWS.
func TestStart(t *testing.T) {
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	t.Setenv("AWS_REGION", "eu-west-1")
	if f, ok := start(context.Background(), environment(nil), &bytes.Buffer{}).(*function); !ok || f.journals.String() != "s3://evidence/lockdown/" {
		t.Errorf("%+v", f)
	}
}

// Whatever comes, only a message with the secret is accepted.
func FuzzEvent(f *testing.F) {
	f.Add([]byte(`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m","Timestamp":"2026-11-22T03:00:00.000Z","MessageAttributes":{"Arn":{"Type":"String","Value":"AKIAIOSFODNN7EXAMPLE"},"ExternalId":{"Type":"String","Value":"` + secret + `"}}}}]}`))
	f.Add([]byte(`{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"m","Timestamp":"2026-11-22T03:00:00.000Z","MessageAttributes":{"Arn":{"Type":"Binary","Value":"AA=="}}}}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		all, err := readEvent(payload)
		if err != nil {
			return
		}
		for _, m := range all {
			req, err := m.accept(sha256.Sum256([]byte(secret)))
			if err == nil && (m.Attributes["ExternalId"].Value != secret || req.Target.Name == "" || req.Action == "") {
				t.Errorf("accepted %+v as %+v", m, req)
			}
			r := (&function{now: time.Now}).report(m, req, failed)
			if err != nil {
				r.Error = err.Error()
			}
			body, e := r.body()
			if e != nil || !json.Valid([]byte(body[strings.LastIndexByte(strings.TrimSpace(body), '\n')+1:])) || err != nil && strings.Contains(body, secret) {
				t.Errorf("%v\n%s", e, body)
			}
		}
	})
}

// A report that is too long for SNS is cut, and its JSON stays whole.
func TestLongReport(t *testing.T) {
	r := &report{V: 1, Type: "lockdown", Status: complete, Error: strings.Repeat("x", 1<<10)}
	for range 10000 {
		r.Planned = append(r.Planned, strings.Repeat("y", 100))
	}
	body, err := r.body()
	if err != nil || len(body) > maxBody+10 {
		t.Fatalf("%d bytes, %v", len(body), err)
	}
	var back report
	lines := strings.Split(strings.TrimSpace(body), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &back); err != nil || !strings.Contains(back.Note, "Too long") || len(r.Planned) != 10000 {
		t.Errorf("%v: %.300s", err, lines[len(lines)-1])
	}
}

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// keyVerification is a "key_verification" line.
type keyVerification struct {
	File    string             `json:"file"`
	Code    int                `json:"code"`
	Verdict string             `json:"verdict,omitempty"` // verified, untrusted or mismatch
	Signer  signature.Identity `json:"signer,omitzero"`
	Target  string             `json:"target,omitempty"`
	// Events says what became of the events' file: "as named", "differs" or "not beside it".
	Events string `json:"events,omitempty"`
	Error  string `json:"error,omitempty"`
}

// verifyKey checks the record of a key: who signed it, and that the events beside it are those that it names. The error is that of
// printing.
func verifyKey(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	m := keyVerification{File: name}
	err := m.check(ctx, name, access, o)
	switch {
	case errors.Is(err, signature.ErrBadSignature), m.Events == "differs", m.Events == "not beside it":
		m.Verdict, m.Code = acquire.VerdictMismatch, exitMismatch
	case errors.Is(err, signature.ErrUntrusted):
		m.Verdict, m.Code = acquire.VerdictUntrusted, exitMismatch
	case err != nil:
		m.Code = exitFailed
	default:
		m.Verdict = acquire.VerdictOK
	}
	if err != nil {
		m.Error = err.Error()
	}
	if c.json {
		return m.Code, c.message("key_verification", m)
	}
	if m.Verdict != "" {
		fmt.Fprintf(c, "%s: %s; of %s; events %s\n", printable(name), m.Verdict, dash(m.Target), dash(m.Events))
	}
	if err != nil {
		c.fail(name, err)
		if m.Verdict == acquire.VerdictUntrusted {
			c.hint(signersHint)
		}
	}
	return m.Code, nil
}

func (m *keyVerification) check(ctx context.Context, name string, access s3.Options, o acquire.VerifyOptions) error {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return err
	}
	data, signer, trust := readSigned(ctx, where, base, keyNamespace, o)
	m.Signer = signer
	if data == nil {
		return trust
	}
	rec, err := parseKeyRecord(data)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: it is no record of a key: %w", signature.ErrBadSignature, err), trust)
	}
	m.Target = rec.Trace.Name
	if m.Events, err = eventsOf(ctx, where, rec.Events); err != nil {
		return errors.Join(err, trust)
	}
	if m.Events != "as named" {
		return errors.Join(fmt.Errorf("the events that it names, %q with sha256 %s: %s", rec.Events.Name, rec.Events.SHA256, m.Events), trust)
	}
	return trust
}

// eventsOf says whether the events that a record names lie beside it.
func eventsOf(ctx context.Context, where sink.Opener, e keyEvents) (string, error) {
	if sink.ValidName(e.Name) != nil {
		return "not beside it", nil
	}
	r, err := where.Open(ctx, e.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return "not beside it", nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return "", fmt.Errorf("read %s: %w", e.Name, err)
	}
	if r.Size() != e.Bytes || hex.EncodeToString(sum.Sum(nil)) != e.SHA256 {
		return "differs", nil
	}
	return "as named", nil
}

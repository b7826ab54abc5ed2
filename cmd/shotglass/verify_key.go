package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// keyVerification is a "key_verification" line.
type keyVerification struct {
	recordCheck
	Target string `json:"target,omitempty"`
	// Events says what became of the events' file: "as named", "differs" or "not beside it".
	Events string `json:"events,omitempty"`
	// NotContained are the identities that were to be contained and were not.
	NotContained []string `json:"not_contained,omitempty"`
}

// verifyKey checks the record of a key: who signed it, and that the events beside it are those that it names. The error is that of
// printing.
func verifyKey(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	m := keyVerification{}
	err := m.check(ctx, name, access, o)
	m.judge(name, err, m.Events == differs || m.Events == notBeside)
	return m.tell(c, err, func() error { return c.message("key_verification", m) }, func() {
		fmt.Fprintf(c, "%s: %s; of %s; events %s\n", printable(name), m.Verdict, dash(m.Target), dash(m.Events))
		for _, t := range m.NotContained {
			fmt.Fprintf(c, "  NOT CONTAINED: %s\n", printable(t))
		}
	})
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
	for _, t := range rec.Contained {
		if !t.Done {
			m.NotContained = append(m.NotContained, t.Target)
		}
	}
	if m.Events, err = beside(ctx, where, rec.Events.Name, rec.Events.Bytes, rec.Events.SHA256); err != nil {
		return errors.Join(err, trust)
	}
	if m.Events != asNamed {
		return errors.Join(fmt.Errorf("the events that it names, %q with sha256 %s: %s", rec.Events.Name, rec.Events.SHA256, m.Events), trust)
	}
	return trust
}

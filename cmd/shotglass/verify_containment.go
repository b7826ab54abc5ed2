package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// recordSuffix ends the names of containment records.
const recordSuffix = ".containment"

// recordMessage is a "containment_verification" line.
type recordMessage struct {
	recordCheck
	Host     string            `json:"host,omitempty"`
	Withheld string            `json:"withheld,omitempty"`
	Outcomes map[string]string `json:"outcomes,omitempty"` // of each target
	// Manifest says what became of the manifest that the record names: "as named", "differs", "not beside it", or
	// "none" where nothing was captured.
	Manifest string `json:"manifest,omitempty"`
}

// verifyRecord checks the record of a containment: who signed it, and that the manifest which it names is the one beside it. What
// AWS is like now is for status to say. The error is that of printing.
func verifyRecord(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	m := recordMessage{}
	err := m.check(ctx, name, access, o)
	m.judge(name, err, m.Manifest == differs)
	return m.tell(c, err, func() error { return c.message("containment_verification", m) }, func() {
		fmt.Fprintf(c, "%s: %s; manifest %s\n", printable(name), m.Verdict, m.Manifest)
		if m.Withheld != "" {
			fmt.Fprintf(c, "  not contained: %s\n", printable(m.Withheld))
		}
		for t, outcome := range m.Outcomes {
			fmt.Fprintf(c, "  %s: %s\n", printable(t), printable(outcome))
		}
	})
}

func (m *recordMessage) check(ctx context.Context, name string, access s3.Options, o acquire.VerifyOptions) error {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return err
	}
	data, signer, trust := readSigned(ctx, where, base, containmentNamespace, o)
	m.Signer = signer
	if data == nil {
		return trust
	}
	rec, err := parseRecord(data)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: it is no record of a containment: %w", signature.ErrBadSignature, err), trust)
	}
	m.Host, m.Withheld, m.Outcomes = rec.Host, rec.Withheld, map[string]string{}
	for _, r := range rec.Results {
		m.Outcomes[r.Target.String()] = string(r.Outcome)
	}
	if m.Manifest, err = manifestOf(ctx, where, rec); err != nil {
		return err
	}
	if m.Manifest == differs {
		return errors.Join(fmt.Errorf("the manifest beside it is not the one that it names, %s", rec.Manifest.SHA256), trust)
	}
	return trust
}

// manifestOf says whether the manifest that a record names lies beside it.
func manifestOf(ctx context.Context, where sink.Opener, rec *containmentRecord) (string, error) {
	if rec.Manifest.SHA256 == "" {
		return "none", nil
	}
	return beside(ctx, where, baseOf(rec.Place), -1, rec.Manifest.SHA256)
}

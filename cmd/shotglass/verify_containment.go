package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// recordSuffix ends the names of containment records.
const recordSuffix = ".containment"

// maxRecord bounds what is read of a record, and of what lies beside it.
const maxRecord = 64 << 20

// recordMessage is a "containment_verification" line.
type recordMessage struct {
	File     string             `json:"file"`
	Code     int                `json:"code"`
	Verdict  string             `json:"verdict,omitempty"` // verified, untrusted or mismatch
	Signer   signature.Identity `json:"signer,omitzero"`
	Host     string             `json:"host,omitempty"`
	Withheld string             `json:"withheld,omitempty"`
	Outcomes map[string]string  `json:"outcomes,omitempty"` // of each target
	// Manifest says what became of the manifest that the record names: "as named", "differs", "not beside it", or
	// "none" where nothing was captured.
	Manifest string `json:"manifest,omitempty"`
	Error    string `json:"error,omitempty"`
}

// verifyRecord checks the record of a containment: who signed it, and that the manifest which it names is the one beside it. What
// AWS is like now is for status to say. The error is that of printing.
func verifyRecord(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	m := recordMessage{File: name}
	err := m.check(ctx, name, access, o)
	switch {
	case errors.Is(err, signature.ErrBadSignature), m.Manifest == "differs":
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
		return m.Code, c.message("containment_verification", m)
	}
	if m.Verdict != "" {
		fmt.Fprintf(c, "%s: %s; manifest %s\n", printable(name), m.Verdict, m.Manifest)
		if m.Withheld != "" {
			fmt.Fprintf(c, "  not contained: %s\n", printable(m.Withheld))
		}
		for t, outcome := range m.Outcomes {
			fmt.Fprintf(c, "  %s: %s\n", printable(t), printable(outcome))
		}
	}
	if err != nil {
		c.fail(name, err)
		if m.Verdict == acquire.VerdictUntrusted {
			c.hint(signersHint)
		}
	}
	return m.Code, nil
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
	if m.Manifest == "differs" {
		return errors.Join(fmt.Errorf("the manifest beside it is not the one that it names, %s", rec.Manifest.SHA256), trust)
	}
	return trust
}

// readSigned reads a record and checks who signed it. Without the record's bytes the error is final; with them it says that they are not trusted.
func readSigned(ctx context.Context, where sink.Opener, base, namespace string, o acquire.VerifyOptions) ([]byte, signature.Identity, error) {
	var none signature.Identity
	data, err := readSmall(ctx, where, base)
	if err != nil {
		return nil, none, err
	}
	sig, err := readSmall(ctx, where, base+acquire.SignatureSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, none, fmt.Errorf("%w: there is no signature %s%s", signature.ErrUntrusted, base, acquire.SignatureSuffix)
	}
	if err != nil {
		return nil, none, err
	}
	at := o.At
	if at.IsZero() {
		at = time.Now()
	}
	signers := o.Signers
	if signers == nil {
		signers = &signature.AllowedSigners{}
	}
	who, err := signature.VerifyIn(namespace, data, sig, signers, at)
	if errors.Is(err, signature.ErrBadSignature) {
		return nil, who, err
	}
	return data, who, err
}

// manifestOf says whether the manifest that a record names lies beside it.
func manifestOf(ctx context.Context, where sink.Opener, rec *containmentRecord) (string, error) {
	if rec.Manifest.SHA256 == "" {
		return "none", nil
	}
	name := baseOf(rec.Place)
	data, err := readSmall(ctx, where, name)
	if errors.Is(err, fs.ErrNotExist) || sink.ValidName(name) != nil {
		return "not beside it", nil
	}
	if err != nil {
		return "", err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != rec.Manifest.SHA256 {
		return "differs", nil
	}
	return "as named", nil
}

// baseOf is the name of what lies at a place, on a disk or in a bucket.
func baseOf(place string) string { return path.Base(strings.ReplaceAll(place, `\`, "/")) }

// readSmall reads a whole object that is no image.
func readSmall(ctx context.Context, where sink.Opener, name string) ([]byte, error) {
	r, err := where.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() > maxRecord {
		return nil, fmt.Errorf("%s has %d bytes, more than a record or a manifest", name, r.Size())
	}
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

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
)

// maxRecord bounds what is read of a record, and of a manifest that lies beside it.
const maxRecord = 64 << 20

// A recordCheck is what the lines about signed records have in common.
type recordCheck struct {
	File    string             `json:"file"`
	Code    int                `json:"code"`
	Verdict string             `json:"verdict,omitempty"` // verified, untrusted or mismatch; empty: the record could not be read
	Signer  signature.Identity `json:"signer,omitzero"`
	Error   string             `json:"error,omitempty"`
}

// judge makes verdict and code of what the check of a record ended with, and of whether what it names was altered.
func (v *recordCheck) judge(name string, err error, altered bool) {
	v.File = name
	switch {
	case errors.Is(err, signature.ErrBadSignature), altered:
		v.Verdict, v.Code = acquire.VerdictMismatch, exitMismatch
	case errors.Is(err, signature.ErrUntrusted):
		v.Verdict, v.Code = acquire.VerdictUntrusted, exitMismatch
	case err != nil:
		v.Code = exitFailed
	default:
		v.Verdict = acquire.VerdictOK
	}
	if err != nil {
		v.Error = err.Error()
	}
}

// tell tells what judge found: by message with --json, else by print and the error. It returns the code; the error is that of printing.
func (v *recordCheck) tell(c *console, err error, message func() error, print func()) (int, error) {
	if c.json {
		return v.Code, message()
	}
	if v.Verdict != "" {
		print()
	}
	if err != nil {
		c.fail(v.File, err)
		if v.Verdict == acquire.VerdictUntrusted {
			c.hint(signersHint)
		}
	}
	return v.Code, nil
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

// What beside says of an object.
const (
	asNamed   = "as named"
	differs   = "differs"
	notBeside = "not beside it"
)

// beside says whether the object that a record names lies where the record does, with this SHA-256 and, unless -1, this size in bytes.
func beside(ctx context.Context, where sink.Opener, name string, size int64, sum string) (string, error) {
	if sink.ValidName(name) != nil {
		return notBeside, nil
	}
	r, err := where.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return notBeside, nil
	}
	if err != nil {
		return "", err
	}
	defer r.Close()
	if size >= 0 && r.Size() != size {
		return differs, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(r, 0, r.Size())); err != nil {
		return "", fmt.Errorf("read %s: %w", name, err)
	}
	if hex.EncodeToString(h.Sum(nil)) != sum {
		return differs, nil
	}
	return asNamed, nil
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

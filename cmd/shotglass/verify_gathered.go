package main

import (
	"context"
	"fmt"
	"io"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/cmd/internal/cloudevidence"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

// isGathered reports whether a file is of what was gathered of an instance.
func isGathered(name string) bool { return cloudevidence.Is(baseOf(name)) }

// gatheredVerification is a "gathered_verification" line.
type gatheredVerification struct {
	File string `json:"file"`
	Code int    `json:"code"`
	*cloudevidence.Verification
	Error string `json:"error,omitempty"`
}

// verifyGathered checks the record that a file belongs to, and what it speaks of. The error is that of printing.
func verifyGathered(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	where, base, err := place(ctx, name, access)
	var v *cloudevidence.Verification
	if err == nil {
		v, err = cloudevidence.Verify(ctx, where, cloudevidence.RecordOf(base), cloudevidence.VerifyOptions{Signers: o.Signers, At: o.At, Identities: o.Identities})
	}
	code := exitFailed
	if err == nil {
		code = verdictCode(&acquire.VerifyReport{Verdict: v.Verdict}, nil)
	}
	if c.json {
		m := gatheredVerification{File: name, Code: code, Verification: v}
		if err != nil {
			m.Error = err.Error()
		}
		if err := c.message("gathered_verification", m); err != nil {
			return code, err
		}
	} else if v != nil {
		printGathered(c, name, v)
	}
	if err != nil {
		c.fail(name, err)
	} else if v.Unfinished {
		c.hint("the run is still at work, or was ended: gather of the same instance into the same place signs a record that names what lies there")
	} else if v.Verdict == acquire.VerdictUntrusted {
		c.hint(signersHint)
	}
	return code, nil
}

func printGathered(out io.Writer, name string, v *cloudevidence.Verification) {
	what, bytes, sum := "record", v.Bytes, v.SHA256
	switch {
	case v.Unfinished:
		what = "no record, but what a run set out to gather,"
	case v.SHA256 == "":
		what, bytes, sum = "no record, but one of snapshots,", v.LaterDigest.Bytes, v.LaterDigest.SHA256
	}
	fmt.Fprintf(out, "%s: %s; %s of %d bytes with sha256 %s\n", printable(name), v.Verdict, what, bytes, sum)
	printSignature(out, v.Signature)
	if r := v.Record; r != nil {
		kept := 0
		for _, it := range r.Items {
			if it.File != "" {
				kept++
			}
		}
		gathered := fmt.Sprintf("%s of %q, %d items", r.Begun.UTC().Format("2006-01-02T15:04:05Z"), r.Instance.ID, len(r.Items))
		if !v.Unfinished {
			fmt.Fprintf(out, "  gathered: %s, %d of them kept\n", gathered, kept)
		} else {
			fmt.Fprintf(out, "  gathered: %s stored, of %d\n", gathered, len(r.Asked))
			for _, it := range r.Items { // nothing else says what they are
				fmt.Fprintf(out, "  stored: %s of %d bytes with sha256 %s\n", printable(it.Archive.Name), it.Archive.Stored.Bytes, it.Archive.Stored.SHA256)
			}
		}
	}
	if v.Record != nil {
		for _, l := range v.Record.Left {
			fmt.Fprintf(out, "  left by another run: %s\n", printable(leftFact(l)))
		}
	}
	if v.Later != nil {
		fmt.Fprintf(out, "  snapshots, their record:\n")
		printSignature(out, *v.Later)
	}
	for _, text := range v.NotChecked {
		fmt.Fprintf(out, "  not checked: %s\n", printable(text))
	}
	for _, text := range v.Reasons {
		fmt.Fprintf(out, "  missing: %s\n", printable(text))
	}
	for _, text := range v.Problems {
		fmt.Fprintf(out, "  mismatch: %s\n", printable(text))
	}
}

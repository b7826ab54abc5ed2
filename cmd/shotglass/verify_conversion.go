package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/convert"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
	"github.com/shotglass-ir/shotglass/transport"
)

// isConversion reports whether a file is of the set of a converted image. What cannot be read is told by who
// verifies it.
func isConversion(ctx context.Context, name string, access s3.Options) bool {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return false
	}
	is, err := convert.Is(ctx, where, base)
	return err == nil && is
}

// ofCaptured refuses a converted image for what only the captured one has beside it: the manifest and what was collected. command and what
// else there is to do are for the hint. It is nil of any other image, also of one about which nothing can be read: whoever opens it tells of that.
func ofCaptured(ctx context.Context, where sink.Opener, name, base, command, otherwise string) error {
	source, err := convert.SourceOf(ctx, where, base)
	if err != nil || source == nil {
		return nil
	}
	hint := fmt.Sprintf("the image that it was made of, by its record: %s %s%s", command, transport.Quote(printable(cmp.Or(source.Location, source.Name))), otherwise)
	return &hinted{fmt.Errorf("%s is a converted image: the manifest, and what was collected, lie beside the captured one", printable(name)), hint}
}

// conversionMessage is a "verification" line.
type conversionMessage struct {
	File string `json:"file"`
	Code int    `json:"code"`
	*convert.Verification
}

// verifyConversion checks one converted image, and returns its code.
func verifyConversion(ctx context.Context, c *console, name string, access s3.Options, o acquire.VerifyOptions) (int, error) {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return exitFailed, err
	}
	meter := newMeter(c, name)
	o.Progress = meter.show
	v, err := convert.Verify(ctx, where, base, o)
	meter.close()
	if err != nil {
		c.fail(name, err)
		return exitFailed, nil
	}
	code := verdictCode(&acquire.VerifyReport{Verdict: v.Verdict}, nil)
	if c.json {
		return code, c.message("verification", conversionMessage{name, code, v})
	}
	printVerification(c, name, v)
	if v.Verdict == acquire.VerdictUntrusted {
		c.hint(signersHint)
	}
	return code, nil
}

func printVerification(out io.Writer, name string, v *convert.Verification) {
	fmt.Fprintf(out, "%s: %s; a conversion, %d bytes stored, read in %s\n", printable(name), v.Verdict, v.Stored, short(v.Duration))
	printSignature(out, v.Signature)
	if r := v.Record; r != nil {
		from := "which has no manifest"
		if p := r.Source.Manifest; p != nil {
			from = fmt.Sprintf("of the manifest %s with sha256 %s", p.Name, p.SHA256)
		}
		fmt.Fprintf(out, "  record: %s, to %s from %q, %s; this vouches for no capture\n", r.Created.UTC().Format("2006-01-02T15:04:05Z"), r.Form, r.Source.Name, printable(from))
		fmt.Fprintf(out, "  memory: sha256 of the LiME stream %s (%d bytes, complete: %v)\n", printable(r.Memory.SHA256), r.Memory.Bytes, r.Complete)
		for _, reason := range r.Reasons {
			fmt.Fprintf(out, "  not complete: %s\n", printable(reason))
		}
		for _, text := range v.NotChecked {
			fmt.Fprintf(out, "  not checked: %s\n", printable(text))
		}
	}
	for _, p := range v.Problems {
		fmt.Fprintf(out, "  mismatch: %s\n", printable(p))
	}
}

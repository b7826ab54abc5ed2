package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/audit"
	"github.com/shotglass-ir/shotglass/acquire/signature"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const verifyText = `FILE is an image, its partial form or its manifest; image, manifest, signature and frame index lie in one folder.
It may be s3://bucket/key too. The image is read again in full, and the swap areas and what was collected beside it. Every mismatch is told, with its frame and its offsets.
FILE may also be the audit log of a run: its chain, its end, its signature and the manifests beside it are checked; or the record of
a containment, IMAGE.containment: its signature, and the manifest that it names; or the record of what AWS has of an instance,
....gathered, with its archive and what became of snapshots; or that of a key, KEY-TIME.keytrail: its signature, and the events beside it.

Whom to trust is said by --signers, never by the manifest: a file of allowed signers as in ssh-keygen(1), such as

  echo "alice@example.org namespaces=\"` + signature.Namespaces + `\" $(cat ~/.ssh/shotglass.pub)" >> allowed_signers

Of an encrypted image everything is checked that can be without the key: signature, manifest, and all stored bytes; what was
not is told. With --identity it is decrypted and checked as any other.

Exit code 0: complete, intact and signed by one of them. 3: intact, and known to be partial, or its swap is. 4: a mismatch, or no
trusted signature.`

func verifyCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check images against their manifests and signatures",
		ArgsUsage: "FILE...", Description: verifyText,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "signers", TakesFile: true, Usage: "`FILE` of allowed signers", EnvVars: env("SIGNERS")},
			&cli.StringFlag{Name: "at", Usage: "the signer must be trusted at this `TIME`, as 2006-01-02T15:04:05Z", DefaultText: "now"},
			&cli.IntFlag{Name: "workers", Usage: "check `N` frames at once", DefaultText: "one per CPU", EnvVars: env("WORKERS")},
			jsonFlag(),
		}, slices.Concat(identityFlags(), s3AccessFlags())...),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			o := acquire.VerifyOptions{Workers: ctx.Int("workers")}
			if ctx.NArg() == 0 {
				return usagef("no file")
			}
			if o.Workers < 0 {
				return usagef("--workers %d is negative", o.Workers)
			}
			if at := ctx.String("at"); at != "" {
				var err error
				if o.At, err = time.Parse(time.RFC3339, at); err != nil {
					return usagef("--at %q: want a time such as 2006-01-02T15:04:05Z", at)
				}
			}
			if name := ctx.String("signers"); name != "" {
				s, err := readSigners(name)
				if err != nil {
					return err
				}
				o.Signers = s
			}
			var err error
			if o.Identities, err = readIdentities(c, ctx); err != nil {
				return err
			}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			return verifyFiles(sctx, c, ctx.Args().Slice(), s3Access(ctx), o)
		},
	}
}

func readSigners(name string) (*signature.AllowedSigners, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("--signers: %v", err).fix("%s", signersHint)
	}
	defer f.Close()
	s, err := signature.ParseAllowedSigners(f, name)
	if err != nil {
		return nil, usagef("--signers: %v", err).fix("%s", signersHint)
	}
	return s, nil
}

const signersHint = `list whom you trust: echo "NAME namespaces=\"` + signature.Namespaces + `\" $(cat KEY.pub)" >> allowed_signers; then verify --signers allowed_signers`

// verifyMessage is a "verification" line.
type verifyMessage struct {
	File string `json:"file"`
	Code int    `json:"code"`
	*acquire.VerifyReport
	Error string `json:"error,omitempty"`
}

func verifyFiles(ctx context.Context, c *console, files []string, access s3.Options, o acquire.VerifyOptions) error {
	code := exitOK
	for _, name := range files {
		var check func(context.Context, *console, string, s3.Options, acquire.VerifyOptions) (int, error)
		switch {
		case audit.IsLog(name):
			check = verifyLog
		case strings.HasSuffix(name, recordSuffix):
			check = verifyRecord
		case isGathered(name):
			check = verifyGathered
		case strings.HasSuffix(name, keySuffix):
			check = verifyKey
		}
		if check != nil {
			one, err := check(ctx, c, name, access, o)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if code = worse(code, one); err != nil {
				return err
			}
			continue
		}
		if isConversion(ctx, name, access) {
			one, err := verifyConversion(ctx, c, name, access, o)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if code = worse(code, one); err != nil {
				return err
			}
			continue
		}
		meter := newMeter(c, name)
		o.Progress = meter.show
		rep, err := verifyFile(ctx, name, access, o)
		meter.close()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		one := verdictCode(rep, err)
		if rep != nil && err != nil { // what could be checked has an answer of its own
			one = worse(one, verdictCode(rep, nil))
		}
		code = worse(code, one)
		if c.json {
			m := verifyMessage{File: name, Code: one, VerifyReport: rep}
			if err != nil {
				m.Error = err.Error()
			}
			if err := c.message("verification", m); err != nil {
				return err
			}
		} else if rep != nil {
			printVerdict(c, name, rep)
		}
		if err != nil {
			c.fail(name, err)
		} else if rep.Verdict == acquire.VerdictUntrusted {
			c.hint(signersHint)
		}
	}
	if c.json {
		c.message("summary", struct {
			Code  int `json:"code"`
			Files int `json:"files"`
		}{code, len(files)})
	}
	return exitWith(code)
}

func verifyFile(ctx context.Context, name string, access s3.Options, o acquire.VerifyOptions) (*acquire.VerifyReport, error) {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return nil, err
	}
	rep, err := acquire.Verify(ctx, where, base, o)
	var locked *acquire.IdentityError
	switch {
	case errors.As(err, &locked):
		err = &hinted{err, identityHint}
	case errors.Is(err, fs.ErrNotExist):
		err = &hinted{err, "image, manifest (" + acquire.ManifestSuffix + "), signature and frame index lie in one folder; without a manifest there is nothing to verify against: shotglass inspect looks at the image alone"}
	}
	return rep, err
}

// A hinted error is an error with something that helps.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint says what helps.
func (h *hinted) Hint() string { return h.hint }

// verdictCode maps a verdict to an exit code. What is not known is failure.
func verdictCode(r *acquire.VerifyReport, err error) int {
	if err != nil || r == nil {
		return exitFailed
	}
	switch r.Verdict {
	case acquire.VerdictOK, acquire.VerdictIntact:
		for _, s := range r.Swap {
			if s.Verdict == acquire.VerdictPartial {
				return exitPartial
			}
		}
		return exitOK
	case acquire.VerdictPartial:
		return exitPartial
	case acquire.VerdictUntrusted, acquire.VerdictMismatch:
		return exitMismatch
	default:
		return exitFailed
	}
}

func printVerdict(out io.Writer, name string, r *acquire.VerifyReport) {
	speed := ""
	if r.Duration > 0 {
		speed = fmt.Sprintf(" in %s (%s raw)", short(r.Duration), rate(float64(r.Raw)/r.Duration.Seconds()))
	}
	if r.Encryption != "" && !r.Decoded {
		fmt.Fprintf(out, "%s: %s; encrypted with %s, %d bytes stored, %d pieces, read in %s\n", printable(name), r.Verdict, r.Encryption, r.Stored, r.Pieces, short(r.Duration))
	} else {
		fmt.Fprintf(out, "%s: %s; %d bytes raw, %d bytes stored, %d frames, read%s\n", printable(name), r.Verdict, r.Raw, r.Stored, r.Frames, speed)
	}
	for _, text := range r.NotChecked {
		fmt.Fprintf(out, "  not checked: %s\n", printable(text))
	}
	printSignature(out, r.Signature)
	if m := r.Manifest; m != nil {
		fmt.Fprintf(out, "  manifest: %s of %q, sha256 of the raw image %s (%d bytes, complete: %v)\n",
			m.Created.UTC().Format("2006-01-02T15:04:05Z"), m.Target.Connection.Target, printable(m.Image.Raw.SHA256), m.Image.Raw.Bytes, m.Complete)
		if m.Interim != "" {
			fmt.Fprintf(out, "  interim: %s\n", printable(m.Interim))
		}
		if m.Rescued != nil {
			fmt.Fprintf(out, "  rescued: %s\n", printable(m.Rescued.Text()))
		}
		for _, reason := range m.Reasons {
			fmt.Fprintf(out, "  not complete: %s\n", printable(reason))
		}
	}
	for _, s := range r.Swap {
		fmt.Fprintf(out, "  swap %q: %s; %s, %d bytes raw, %d bytes stored, read in %s\n", s.Device, s.Verdict, printable(s.File), s.Raw, s.Stored, short(s.Duration))
		for _, reason := range s.Reasons {
			fmt.Fprintf(out, "    not complete: %s\n", printable(reason))
		}
	}
	if l := r.Live; l != nil {
		printLiveVerdict(out, l)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(out, "  mismatch: %s\n", printable(mismatchLine(p)))
	}
}

func printSignature(out io.Writer, s acquire.SignatureState) {
	switch {
	case !s.Present:
		fmt.Fprintf(out, "  signature: none\n")
	case !s.Valid:
		fmt.Fprintf(out, "  signature: BAD%s\n", detail(s.Detail))
	case !s.Trusted:
		fmt.Fprintf(out, "  signature: good, by %s, whom nobody named as trusted%s\n", s.Fingerprint, detail(s.Detail))
	default:
		fmt.Fprintf(out, "  signature: good, by %q (%s), trusted by %s\n", s.Principal, s.Fingerprint, printable(s.Source))
	}
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return " (" + printable(s) + ")"
}

// mismatchLine names the place of a mismatch, as far as it is known.
func mismatchLine(m acquire.Mismatch) string {
	line := m.What
	if m.File != "" {
		line = m.File + ": " + line
	}
	if m.Frame >= 0 && (m.What == "frame" || m.What == "piece") {
		line += fmt.Sprintf(" %d", m.Frame)
	} else if m.Frame >= 0 {
		line += fmt.Sprintf(", frame %d", m.Frame)
	}
	if m.StoredOffset >= 0 {
		line += fmt.Sprintf(", stored offset %d", m.StoredOffset)
	}
	if m.RawOffset >= 0 {
		line += fmt.Sprintf(", raw offset %d", m.RawOffset)
	}
	if m.Address != "" {
		line += ", physical address " + m.Address
	}
	return line + ": " + m.Detail
}

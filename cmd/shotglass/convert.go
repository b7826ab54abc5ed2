package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/convert"
	"github.com/shotglass-ir/shotglass/acquire/forms"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const convertText = `Makes an image of another form: lime, zstd, s2 or gzip (LiME, compressed or not), avml1, avml2, raw (padded: offset is
physical address), elf (a core file for crash, drgn and gdb). It reads all of these, and LiME's compress=1 (zlib). FILE may be s3://bucket/key; an
encrypted image takes --identity. The source stays as it is.

What is read is held against the manifest beside FILE. Beside the new image come a frame index and a signed record, which names the
source's manifest by digest and claims no capture; verify takes it. What is damaged is passed by: zeros stand in, and the record
lists of which memory. An elf image reads FILE twice, to find VMCOREINFO first.

Exit code 0: all is converted. 3: the image is cut short, or damaged, or known to be partial: the result is kept as partial. 4: it is not what
its manifest says, which also is kept as partial; or no trusted signature, and nothing was done. 1: nothing was converted.`

func convertCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "convert", Usage: "make an image of another form, for another tool", ArgsUsage: "FILE", Description: convertText,
		Flags: slices.Concat(convertFlags(), []cli.Flag{jsonFlag()}, identityFlags(), s3AccessFlags(), withoutSpill(s3StoreFlags())),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() != 1 {
				return usagef("convert takes one file, there are %d", ctx.NArg())
			}
			return convertImage(c, ctx, ctx.Args().First())
		},
	}
}

func convertFlags() []cli.Flag {
	str := func(name, envName, usage string, file bool) cli.Flag {
		f := &cli.StringFlag{Name: name, Usage: usage, Category: groupEvidence, TakesFile: file}
		if envName != "" {
			f.EnvVars = env(envName)
		}
		return f
	}
	yes := func(name, usage string) cli.Flag {
		return &cli.BoolFlag{Name: name, Usage: usage, Category: groupEvidence, DisableDefaultText: true}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "form", Usage: "make this `FORM`: lime, zstd, s2, gzip, avml1, avml2, raw or elf", Category: groupOutput},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "put it into this folder: `DIR`", Category: groupOutput, TakesFile: true, DefaultText: "the folder of FILE"},
		&cli.StringFlag{Name: "to", Usage: "put it into a bucket: `s3://BUCKET/PREFIX/`", Category: groupOutput},
		&cli.StringFlag{Name: "name", Usage: "`NAME` of the new image", Category: groupOutput, DefaultText: "that of FILE, with the ending of the form"},
		&cli.StringFlag{Name: "compress-level", Usage: "of zstd: `fastest|default|better`", Value: frame.Levels[0], Category: groupOutput},
		&cli.StringFlag{Name: "max-padding", Usage: "refuse a raw image with more zeros between its ranges than this `SIZE`", Category: groupOutput, DefaultText: "16GiB where they take room, 1TiB where they are holes"},
		&cli.StringFlag{Name: "vmcoreinfo", Usage: "for elf: take VMCOREINFO from this `FILE`, or none", Category: groupOutput, TakesFile: true, DefaultText: "what is found in memory"},

		yes("from-raw", "FILE is a raw image, which nothing in it shows"),
		str("iomem", "", "FILE is to have the System RAM of this /proc/iomem: what AVML left out of it is zeros: `IOMEM`", true),
		yes("no-manifest", "do not look at the manifest beside FILE: one that is damaged, or another's"),
		str("signers", "SIGNERS", "only if the manifest of FILE is signed by one of this `SIGNERS` file of allowed signers", true),

		str("case", "CASE", "`ID` of the case, for the record", false),
		str("operator", "OPERATOR", "`NAME` of who converts, for the record", false),
		str("sign-key", "SIGN_KEY", "sign the record with this SSH key: a private key, or the .pub of a key that ssh-agent holds: `FILE`", true),
		str("key-passphrase-file", "KEY_PASSPHRASE_FILE", "read the passphrase of the key from the first line of `FILE`; or set SHOTGLASS_KEY_PASSPHRASE", true),
		yes("unsigned", "leave the record unsigned"),
		&cli.StringSliceFlag{Name: "recipient", EnvVars: env("RECIPIENT"), Usage: "encrypt the new image with age to this `KEY`", Category: groupEvidence},
		&cli.StringSliceFlag{Name: "recipients-file", EnvVars: env("RECIPIENTS_FILE"), Usage: "encrypt it to the keys in this `FILE`, one a line", Category: groupEvidence, TakesFile: true},
	}
}

// withoutSpill leaves out what is for captures: a conversion can be repeated.
func withoutSpill(flags []cli.Flag) []cli.Flag {
	return slices.DeleteFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == "spill" })
}

// convertMessage is a "conversion" line.
type convertMessage struct {
	File string `json:"file"`
	Code int    `json:"code"`
	*convert.Result
	Error string `json:"error,omitempty"`
}

func convertImage(c *console, ctx *cli.Context, name string) error {
	o, err := readConvert(c, ctx, name)
	if err != nil {
		return err
	}
	signing, closer, err := recordSigner(c, ctx)
	if err != nil {
		return err
	}
	defer closer.Close()
	o.Signer, o.Settings = signing.Engine.Signer, append(o.Settings, signing.Engine.Settings...)

	sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
	defer stop()
	defer outliveReader()()
	access := s3Access(ctx)
	where, base, err := place(sctx, name, access)
	if err != nil {
		return err
	}
	meter := newMeter(c, name)
	o.Progress = meter.show
	res, err := convert.Run(sctx, where, base, *o)
	meter.close()
	if sctx.Err() != nil && res == nil {
		var left *convert.LeftError
		if errors.As(err, &left) {
			c.warn("%s", printable(left.Error()))
		}
		return context.Cause(sctx)
	}
	code := convertCode(res, err)
	if res == nil {
		return &exitError{code, convertError(fmt.Errorf("%s: %w", printable(name), err))}
	}
	if c.json {
		m := convertMessage{File: name, Code: code, Result: res}
		if err != nil {
			m.Error = err.Error()
		}
		if err := c.message("conversion", m); err != nil {
			return err
		}
		c.message("summary", struct {
			Code int `json:"code"`
		}{code})
	} else {
		printConversion(c, res)
	}
	switch paper := res.Source.Manifest; {
	case o.Unchecked: // as asked for
	case paper == nil:
		c.warn("%s: there is no manifest beside it: it was held against nothing", printable(name))
	case !paper.Signature.Present:
		c.warn("%s: its manifest %s is not signed: nobody vouches for what it was held against", printable(name), printable(paper.Name))
	}
	for _, reason := range res.Reasons {
		c.warn("%s: %s", printable(name), printable(reason))
	}
	if err != nil {
		c.fail(name, err)
	}
	return exitWith(code)
}

// readConvert reads all flags but those of the key.
func readConvert(c *console, ctx *cli.Context, name string) (*convert.Options, error) {
	o := &convert.Options{
		Name: ctx.String("name"), Unchecked: ctx.Bool("no-manifest"), FromRaw: ctx.Bool("from-raw"),
		Case: ctx.String("case"), Operator: ctx.String("operator"), Tool: toolInfo(), Level: ctx.String("compress-level"),
	}
	if o.Operator == "" {
		o.Operator = operator()
	}
	var err error
	if o.Name != "" {
		if err := checkName(o.Name); err != nil {
			return nil, err
		}
	}
	if ctx.String("form") == "" {
		return nil, usagef("no --form").fix("%s", formHint)
	}
	if o.Form, err = forms.Parse(ctx.String("form")); err != nil {
		return nil, usagef("--form: %v", err).fix("%s", formHint)
	}
	switch {
	case !slices.Contains(frame.Levels, o.Level):
		return nil, usagef("--compress-level %q: want one of %s", o.Level, strings.Join(frame.Levels, ", "))
	case ctx.IsSet("compress-level") && o.Form != forms.Zstd:
		return nil, usagef("--compress-level is zstd's, and --form is %s", o.Form)
	case ctx.IsSet("vmcoreinfo") && o.Form != forms.ELF:
		return nil, usagef("--vmcoreinfo is elf's, and --form is %s", o.Form)
	case ctx.IsSet("max-padding") && o.Form != forms.Raw:
		return nil, usagef("--max-padding is raw's, and --form is %s", o.Form)
	case o.Unchecked && ctx.String("signers") != "" && ctx.IsSet("signers"):
		return nil, usagef("--no-manifest and --signers exclude each other")
	}
	if size := ctx.String("max-padding"); size != "" {
		n, err := parseSize(size)
		if err != nil {
			return nil, usagef("--max-padding: %v", err)
		}
		o.MaxPadding = uint64(n)
	}
	if file := ctx.String("vmcoreinfo"); file == "none" {
		o.NoVMCoreInfo = true
	} else if file != "" {
		if o.VMCoreInfo, err = smallFile(file, forms.MaxVMCoreInfo); err == nil {
			_, err = forms.ParseVMCoreInfo(o.VMCoreInfo)
		}
		if err != nil {
			return nil, usagef("--vmcoreinfo: %v", err)
		}
	}
	if file := ctx.String("iomem"); file != "" {
		data, err := smallFile(file, 16<<20)
		if err == nil {
			o.RAM, err = lime.ParseIOMem(strings.NewReader(string(data)))
		}
		if err != nil {
			return nil, usagef("--iomem: %v", err)
		}
	}
	if signers := ctx.String("signers"); signers != "" && !o.Unchecked {
		if o.Signers, err = readSigners(signers); err != nil {
			return nil, err
		}
	}
	if o.Recipients, err = readRecipients(ctx.StringSlice("recipient"), ctx.StringSlice("recipients-file")); err != nil {
		return nil, usagef("%v", err).fix("%s", recipientHint)
	}
	if o.Identities, err = readIdentities(c, ctx); err != nil {
		return nil, err
	}
	o.Sink, err = convertSink(c, ctx, name)
	return o, err
}

const formHint = "--form zstd is small and fast, gzip and lime are opened by Volatility 3, elf by crash, drgn and gdb; see shotglass convert --help"

func smallFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return data, err
}

// convertSink is where the new image goes.
func convertSink(c *console, ctx *cli.Context, name string) (sink.Sink, error) {
	to, dir := ctx.String("to"), ctx.String("output")
	switch {
	case to != "" && dir != "":
		return nil, usagef("--to and --output exclude each other")
	case s3.IsURL(dir):
		return nil, usagef("--output is for folders").fix("--to %s", dir)
	case to == "" && dir == "" && s3.IsURL(name):
		return nil, usagef("%s lies in a bucket: say where the new image goes", printable(name)).fix("--output DIR, or --to %s/", path.Dir(name))
	case to == "" && dir == "":
		dir = filepath.Dir(name)
	}
	if to == "" {
		if given := givenStoreFlags(ctx); given != "" {
			return nil, usagef("--%s is for evidence in S3, and that goes to the folder %q", given, dir).fix("--to s3://bucket/prefix/")
		}
		disk, err := sink.NewDisk(dir)
		if err != nil {
			return nil, usagef("--output: %v", err)
		}
		return disk, nil
	}
	if !s3.IsURL(to) {
		return nil, usagef("--to %q: want s3://bucket/prefix/", to)
	}
	terms, err := s3Store(ctx)
	if err != nil {
		return nil, err
	}
	if terms.Bucket, terms.Prefix, err = s3.ParseURL(to); err != nil {
		return nil, usagef("--to: %v", err)
	}
	terms.Warn = func(text string) { c.warn("%s", text) }
	s, err := s3.New(ctx.Context, terms)
	if err != nil {
		return nil, usagef("--to: %v", err)
	}
	return s, nil
}

// convertCode maps what became of it to an exit code.
func convertCode(res *convert.Result, err error) int {
	switch {
	case res == nil && (errors.Is(err, convert.ErrUntrusted) || errors.Is(err, convert.ErrManifest)):
		return exitMismatch
	case res == nil:
		return exitFailed
	case res.Mismatch:
		return exitMismatch
	case res.Partial, err != nil:
		return exitPartial
	}
	return exitOK
}

// convertError adds what helps.
func convertError(err error) error {
	var dense *forms.DenseError
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist) && errors.As(err, &path) && strings.HasSuffix(path.Path, sink.PartialSuffix):
		return &hinted{err, "nothing is overwritten: a partial image, or what a run left that was killed, which has no record (.json) beside it and can be removed if none runs; or choose another --name, --output or --to"}
	case errors.Is(err, convert.ErrEncrypted), errors.Is(err, agefile.ErrNoMatch):
		return &hinted{err, identityHint}
	case errors.Is(err, convert.ErrManifest):
		return &hinted{err, "--no-manifest converts the image by itself; then nothing is checked but what the form itself has"}
	case errors.Is(err, forms.ErrPadding):
		return &hinted{err, "--max-padding SIZE allows more; elf has none"}
	case errors.As(err, &dense):
		return err // it hints
	case errors.Is(err, forms.ErrForm):
		return &hinted{err, "if it is a raw image: --from-raw"}
	}
	return err
}

// printConversion prints the result: state, bytes of memory, stored bytes, digest of the memory, place.
func printConversion(out io.Writer, r *convert.Result) {
	state := "complete"
	if r.Partial {
		state = "partial"
	}
	fmt.Fprintf(out, "%s\t%s\t%d\t%d\tsha256:%s\t%s\n", r.Form, state, r.Memory.Bytes, r.Image.Stored.Bytes, r.Memory.SHA256, printable(r.Image.Location))
}

package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/agefile"
	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const inspectText = `Reads a LiME image of any origin, or a swap area, plain or compressed with zstd, s2 or gzip, and tells what it holds. It needs no manifest
and proves nothing about integrity: see verify. FILE may be s3://bucket/key. An encrypted image takes
--identity. If a manifest lies beside the image, it tells when memory was read, unchecked.

Exit code 0: the structure is whole. 3: the image is cut short. 4: not a valid LiME image. 1: it could not be read.`

func inspectCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "tell what a LiME image holds, whoever made it",
		ArgsUsage: "FILE...", Description: inspectText, Flags: slices.Concat([]cli.Flag{jsonFlag()}, identityFlags(), s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() == 0 {
				return usagef("no file")
			}
			ids, err := readIdentities(c, ctx)
			if err != nil {
				return err
			}
			defer exitOnSignal(c)()
			code := exitOK
			for _, name := range ctx.Args().Slice() {
				in := inspect(ctx.Context, c, name, s3Access(ctx), ids)
				code = worse(code, in.Code)
				if c.json {
					if err := c.message("inspection", in); err != nil {
						return err
					}
				} else if in.Swap != nil {
					printSwapInspection(c, in)
				} else if in.Report != nil {
					printInspection(c, in)
				}
				if in.err != nil {
					c.fail("", in.err)
				}
			}
			if c.json {
				c.message("summary", struct {
					Code  int `json:"code"`
					Files int `json:"files"`
				}{code, ctx.NArg()})
			}
			return exitWith(code)
		},
	}
}

// An inspection is what was found in one file.
type inspection struct {
	File      string       `json:"file"`
	Code      int          `json:"code"`
	Format    frame.Format `json:"format,omitempty"`
	Encrypted bool         `json:"encrypted,omitempty"`
	Stored    int64        `json:"stored_bytes"`
	Raw       int64        `json:"raw_bytes"`
	Memory    uint64       `json:"memory_bytes"` // without headers
	Pages     uint64       `json:"pages"`
	ZeroPages uint64       `json:"zero_pages"`
	Banners   []banner     `json:"banners"`
	Error     string       `json:"error,omitempty"`
	Report    *lime.Report `json:"structure,omitempty"`
	Reading   *readTimes   `json:"reading,omitempty"`
	// Swap is the header of a swap area, which has no other structure.
	Swap *acquire.SwapHeader `json:"swap,omitempty"`

	err error
}

func (in *inspection) fail(code int, err error) *inspection {
	in.Code, in.err, in.Error = code, err, err.Error()
	return in
}

// A readTimes is what a manifest beside the image says of when memory was read. Nobody checked it.
type readTimes struct {
	Source   string        `json:"source"`
	First    time.Time     `json:"first"`
	Last     time.Time     `json:"last"`
	Duration time.Duration `json:"duration_ns"`
	Buffered int64         `json:"buffered_bytes,omitempty"` // see acquire.Method
}

// readingOf looks for a manifest; nil if there is none that tells.
func readingOf(ctx context.Context, name string, access s3.Options) *readTimes {
	where, base, err := place(ctx, name, access)
	if err != nil {
		return nil
	}
	m, err := acquire.ManifestOf(ctx, where, base)
	if err != nil {
		return nil
	}
	first, last := m.ReadSpan()
	if first.IsZero() {
		return nil
	}
	return &readTimes{m.Method.Source, first, last, last.Sub(first), m.Method.Buffered}
}

func (r *readTimes) String() string {
	what := "was read"
	if r.Buffered > 0 {
		what = fmt.Sprintf("came (up to %s of it had been read before)", size(r.Buffered))
	}
	return fmt.Sprintf("%s %s from %s to %s, %s, as the manifest beside it says, unchecked",
		printable(r.Source), what, r.First.Format(time.RFC3339), r.Last.Format(time.RFC3339), short(r.Duration))
}

func inspect(ctx context.Context, c *console, name string, access s3.Options, ids []age.Identity) *inspection {
	in := &inspection{File: name, Banners: []banner{}}
	img, err := openImage(ctx, name, access, ids)
	switch {
	case errors.Is(err, frame.ErrFormat), errors.Is(err, agefile.ErrHeader):
		return in.fail(exitMismatch, err)
	case err != nil:
		return in.fail(exitFailed, err)
	}
	defer img.Close()
	in.Format, in.Stored, in.Encrypted = img.Format(), img.size, img.encrypted != nil
	whole, _ := img.Size()
	m := newMeter(c, name)
	defer m.close()
	if in.Swap = img.swapHeader(); in.Swap != nil {
		n := &counter{total: whole, show: m.show}
		_, err := img.WriteTo(n)
		in.Raw = n.n
		m.close()
		return in.swapFound(err)
	}
	walker, texts := lime.NewWalker(lime.WalkerOptions{}), newBannerFinder()
	readErr := func() error {
		_, err := img.WriteTo(io.MultiWriter(walker, texts, &counter{total: whole, show: m.show}))
		return err
	}()
	rep, walkErr := walker.Finish()
	in.Report, in.Raw, in.Memory = rep, rep.Bytes, rep.Size()
	in.Pages, in.ZeroPages = rep.Pages()
	in.Banners = texts.found(rep)
	in.Reading = readingOf(ctx, name, access)
	m.close()
	in.read(readErr)
	if code := structureCode(rep, walkErr); in.err == nil || code == exitMismatch {
		in.Code = worse(in.Code, code)
	}
	return in
}

// read says what an error in reading means.
func (in *inspection) read(err error) {
	var chunk *agefile.ChunkError
	var damaged *frame.FrameError
	switch {
	case cutShort(err):
		in.fail(exitPartial, fmt.Errorf("%s: %w", in.File, err))
	case errors.As(err, &damaged), errors.As(err, &chunk):
		in.fail(exitMismatch, fmt.Errorf("%s: %w", in.File, err))
	case errors.Is(err, io.ErrUnexpectedEOF):
		in.fail(exitPartial, fmt.Errorf("%s: %w", in.File, err))
	case err != nil:
		in.fail(exitFailed, fmt.Errorf("%s: %w", in.File, err))
	}
}

// swapFound ends the inspection of a swap area; err is of reading it.
func (in *inspection) swapFound(err error) *inspection {
	in.read(err)
	if in.err == nil && in.Raw < in.Swap.Bytes() {
		in.fail(exitPartial, fmt.Errorf("%s: it has %d bytes, and its header speaks of %d", in.File, in.Raw, in.Swap.Bytes()))
	}
	return in
}

// swapHeader is that of a swap area; nil if it is none.
func (i *image) swapHeader() *acquire.SwapHeader {
	head := make([]byte, acquire.MaxSwapPage)
	n, _ := i.ReadAt(head, 0) // what is wrong is met again
	if n >= 4 && binary.LittleEndian.Uint32(head) == lime.Magic {
		return nil
	}
	return acquire.ParseSwapHeader(head[:n])
}

// printSwapInspection prints what is known of a swap area.
func printSwapInspection(out io.Writer, in *inspection) {
	h, format := in.Swap, string(in.Format)
	if in.Encrypted {
		format += " encrypted with age"
	}
	fmt.Fprintf(out, "%s: a swap area, %s, %d bytes stored, %d bytes raw\n", printable(in.File), format, in.Stored, in.Raw)
	fmt.Fprintf(out, "  header: %s, version %d, %d pages of %d bytes, %d of them bad\n", h.Magic, h.Version, h.Pages, h.PageSize, h.BadPages)
	fmt.Fprintf(out, "  uuid: %s, label: %q\n", cmp.Or(h.UUID, "none"), h.Label)
}

// structureCode maps what the walker found: an image that only stops too early is partial.
func structureCode(rep *lime.Report, walkErr error) int {
	if walkErr == nil && rep.Complete {
		return exitOK
	}
	for _, p := range rep.Problems {
		if p.Kind != lime.ErrTruncatedHeader && p.Kind != lime.ErrTruncatedRecord {
			return exitMismatch
		}
	}
	if len(rep.Problems) == 0 {
		return exitMismatch
	}
	return exitPartial
}

func printInspection(out io.Writer, in *inspection) {
	rep := in.Report
	format := string(in.Format)
	if in.Encrypted {
		format += " encrypted with age"
	}
	fmt.Fprintf(out, "%s: %s, %d bytes stored, %d bytes raw\n", printable(in.File), format, in.Stored, in.Raw)
	for _, r := range rep.Ranges {
		cut := ""
		if r.Bytes < r.Range.Size() {
			cut = fmt.Sprintf(", CUT SHORT after %d", r.Bytes)
		}
		fmt.Fprintf(out, "  range %s: %d bytes%s, %s zero pages\n", r.Range, r.Range.Size(), cut, percent(int64(r.ZeroPages), int64(r.Pages)))
	}
	fmt.Fprintf(out, "  memory: %s (%d bytes) in %d ranges, %s zero pages\n", size(int64(in.Memory)), in.Memory, len(rep.Ranges), percent(int64(in.ZeroPages), int64(in.Pages)))
	for _, b := range in.Banners {
		fmt.Fprintf(out, "  banner: %q, %d times, first at %s\n", b.Text, b.Count, b.Address)
	}
	if len(in.Banners) == 0 {
		fmt.Fprintf(out, "  banner: none\n")
	}
	if in.Reading != nil {
		fmt.Fprintf(out, "  reading: %s\n", in.Reading)
	}
	for _, p := range rep.Problems {
		fmt.Fprintf(out, "  problem: %s\n", p)
	}
	if rep.More > 0 {
		fmt.Fprintf(out, "  problem: and %d more\n", rep.More)
	}
	verdict := map[int]string{exitOK: "whole", exitPartial: "cut short", exitMismatch: "not valid"}[in.Code]
	if verdict == "" {
		verdict = "not known: the file could not be read to its end"
	}
	fmt.Fprintf(out, "  structure: %s\n", strings.TrimSpace(verdict))
}

// A counter counts what passes and shows it.
type counter struct {
	n, total int64
	show     func(done, total int64)
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	c.show(c.n, c.total)
	return len(p), nil
}

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
	"sync"
	"text/tabwriter"
	"time"

	"filippo.io/age"
	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const liveText = `Lists what was collected from the host beside its memory, from the archive that lies beside IMAGE. With --output it is written into
a new folder: state before and after the image was taken in before/ and after/, files of the host under the paths that they had there. The digests in the archive are
checked, and held against the manifest, whose signature is checked too: with --signers by the keys that you trust. That the image is what the manifest says is for verify.
IMAGE may be s3://bucket/key, or the archive itself.

Exit code 4: manifest, signature and what was collected do not agree.`

func liveCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "live", Usage: "list or unpack what was collected beside an image",
		ArgsUsage: "IMAGE", Description: liveText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, TakesFile: true, Usage: "unpack into this folder, which must not be there yet: `DIR`"},
			jsonFlag(),
		}, voucherFlags(), identityFlags(), s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() != 1 {
				return usagef("live takes one image, there are %d", ctx.NArg())
			}
			ids, err := readIdentities(c, ctx)
			if err != nil {
				return err
			}
			defer exitOnSignal(c)()
			name := ctx.Args().First()
			m, err := vouchLive(ctx.Context, c, ctx, name)
			if err != nil {
				return err
			}
			return showLive(ctx.Context, c, name, ctx.String("output"), s3Access(ctx), ids, m)
		},
	}
}

// showLive lists what was collected, and unpacks it into folder unless that is empty.
func showLive(ctx context.Context, c *console, name, folder string, access s3.Options, ids []age.Identity, m *acquire.Manifest) error {
	if m != nil { // name may be another file of the set
		name = name[:len(name)-len(path.Base(filepath.ToSlash(name)))] + m.Image.Name
	}
	archive, err := openLive(ctx, name, access, ids, m)
	if err != nil {
		return err
	}
	defer archive.Close()
	items, err := unpackLive(archive, folder)
	if items != nil {
		printLive(c, liveMessage{File: archive.name, Folder: folder, Vouched: m != nil && err == nil && m.Live.Same(items), Items: items})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", archive.name, err)
	}
	if m != nil && !m.Live.Same(items) {
		what := "its list of items is not that of the manifest"
		if folder != "" {
			what += ": do not rely on " + folder
		}
		return &exitError{exitMismatch, &hinted{fmt.Errorf("%s: %s", archive.name, what), "shotglass verify tells everything that differs"}}
	}
	return nil
}

// liveMessage is what `live` prints.
type liveMessage struct {
	File   string `json:"file"`
	Folder string `json:"folder,omitempty"` // unpacked into
	// Vouched says that the items are those of a manifest; who signed that is told on the side.
	Vouched bool        `json:"vouched"`
	Items   []live.Item `json:"items"`
}

// openLive opens the archive beside an image, encrypted or not, or an archive by its own name. m is the manifest that
// vouches for the image: then it is the archive that m names, and none other. Nil: nobody vouches, and two archives
// are an error.
func openLive(ctx context.Context, name string, access s3.Options, ids []age.Identity, m *acquire.Manifest) (*image, error) {
	if m != nil {
		base := path.Base(filepath.ToSlash(name))
		n := m.Live.Archive(base)
		if n == "" {
			return nil, fmt.Errorf("the manifest of %s lists nothing stored that was collected: %w", name, fs.ErrNotExist)
		}
		img, err := openImage(ctx, name[:len(name)-len(base)]+n, access, ids)
		if errors.Is(err, fs.ErrNotExist) { // what is not whole is kept so on a disk
			if part, perr := openImage(ctx, name[:len(name)-len(base)]+n+sink.PartialSuffix, access, ids); !errors.Is(perr, fs.ErrNotExist) {
				return part, perr
			}
		}
		return img, err
	}
	names := []string{acquire.LiveName(name, false), acquire.LiveName(name, true)}
	if isArchive(name) {
		names = []string{name}
	} else if others, err := otherArchives(ctx, name, access); err == nil { // one that is not seen is as good as none
		names = append(names, others...)
	}
	var img *image
	var err error
	there := 0
	for _, n := range names {
		one, oneErr := openImage(ctx, n, access, ids)
		if errors.Is(oneErr, fs.ErrNotExist) {
			continue
		}
		if there++; there == 1 {
			img, err = one, oneErr
		} else if one != nil {
			one.Close()
		}
	}
	switch there {
	case 0:
		return nil, &hinted{fmt.Errorf("nothing was collected beside %s: there is no %s: %w", name, strings.Join(names, " and no "), fs.ErrNotExist), "the manifest says what was asked for, and what became of it (live)"}
	case 1:
		return img, err
	}
	if img != nil {
		img.Close()
	}
	return nil, &hinted{fmt.Errorf("both %s are there, and a capture stores one", strings.Join(names, " and ")), "shotglass verify says which one the manifest knows; give that one in place of the image"}
}

// readLive gives each item of an archive. When it returns, nothing reads the archive any more.
func readLive(archive io.WriterTo, each func(live.Item, io.Reader) error) ([]live.Item, error) {
	in, out := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := archive.WriteTo(out)
		out.CloseWithError(err)
	})
	defer wg.Wait()
	defer in.Close()
	return live.ReadArchive(in, each)
}

// unpackLive reads an archive, into folder unless that is empty. The items are those of its list.
func unpackLive(archive *image, folder string) ([]live.Item, error) {
	if folder != "" {
		if err := os.Mkdir(folder, 0o700); err != nil {
			return nil, err
		}
	}
	return readLive(archive, func(it live.Item, r io.Reader) error {
		if folder == "" || it.File == "" {
			return nil
		}
		path := filepath.Join(folder, filepath.FromSlash(it.File)) // live.Check has let it pass
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}

func printLive(c *console, m liveMessage) {
	if c.json {
		c.message("live", m)
		return
	}
	w := tabwriter.NewWriter(c, 0, 0, 2, ' ', 0)
	for _, it := range m.Items {
		what := it.File
		if what == "" {
			what = "-"
		}
		said := it.Error
		if len(it.Notes) > 0 {
			said = strings.TrimPrefix(said+"; "+strings.Join(it.Notes, "; "), "; ")
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", printable(it.Name), printable(string(it.Stage)), it.Bytes, printable(what), printable(said))
	}
	w.Flush()
}

// collectCost sums up what is to be collected.
func collectCost(items []acquire.PlannedItem) (bytes int64, d time.Duration) {
	for _, p := range items {
		bytes += p.Bytes
		d += p.Time
	}
	return bytes, d
}

// printCollect tells in a plan what is to be collected, and what it costs.
func printCollect(items []acquire.PlannedItem, row func(name, format string, args ...any)) {
	if len(items) == 0 {
		row("collects", "nothing beside memory")
		return
	}
	bytes, d := collectCost(items)
	row("collects", "about %s in %s beside memory (--collect)", size(bytes), short(d))
	for _, p := range items {
		about := ""
		if p.About {
			about = "about "
		}
		stages := make([]string, len(p.Stages))
		for i, s := range p.Stages {
			stages[i] = string(s)
		}
		if p.Missing {
			row("", "%s: %s: the host has none", p.Name, p.How)
		} else {
			row("", "%s: %s%s, %s, %s the image: %s", p.Name, about, size(p.Bytes), short(p.Time), strings.Join(stages, " and "), p.How)
		}
	}
}

// printLiveVerdict tells what verify found of what was collected.
func printLiveVerdict(out io.Writer, l *acquire.LiveReport) {
	fmt.Fprintf(out, "  collected: %s; %s, %s, %d not there or cut, %d bytes raw, %d bytes stored, read in %s\n", l.Verdict, printable(l.File), plural(l.Items, "item"), l.Missing, l.Raw, l.Stored, short(l.Duration))
	for _, reason := range l.Reasons {
		fmt.Fprintf(out, "    not complete: %s\n", printable(reason))
	}
}

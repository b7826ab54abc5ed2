package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/triage"
	"github.com/shotglass-ir/shotglass/sink/s3"
)

const triageText = `Takes the first look at a memory image: verifies it, runs plugins of Volatility 3, offline and several at once, each with its output in a file of its own,
and compares memory with what the live tools showed when the image was taken (capture --collect): processes, modules and sockets that only one of the two knows are named.
Symbols are made of what was collected, unless --symbols has some. Volatility is not part of shotglass: python3 -m venv vol && vol/bin/pip install volatility3

Results lie beside the image: IMAGE.triage, which report shows, and the output of the plugins in IMAGE.triage.d/. A second run makes IMAGE.triage-2; nothing is
overwritten. An image that is compressed, encrypted or in S3 is read in place, as mount shows it: nothing of it is unpacked to disk. Where nothing can be mounted, or with --unpack, a copy
is unpacked for the time of the run, beside the results, and the output says so.

Exit code 0: all plugins ran, and memory was compared; differences do not change it. 3: a plugin failed, a part of the image could not be read, or there was nothing to compare with. 4: the image does not agree with its
manifest, or no trusted key signed it; --unverified takes it all the same.`

const volatilityHint = "install it, on a machine with internet: python3 -m venv vol && vol/bin/pip install volatility3; then --volatility vol/bin/vol. Without internet: pip download volatility3 elsewhere, and pip install --no-index --find-links DIR volatility3 here"

func triageCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "triage", Usage: "run Volatility 3 on an image, and hold memory against the live tools",
		ArgsUsage: "IMAGE", Description: triageText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "signers", TakesFile: true, EnvVars: env("SIGNERS"), Usage: "`FILE` of allowed signers: the image must be signed by one of them"},
			&cli.BoolFlag{Name: "unverified", Usage: "do not verify the image before; the result says so", DisableDefaultText: true},
			&cli.StringFlag{Name: "volatility", TakesFile: true, EnvVars: env("VOLATILITY"), Usage: "Volatility 3's `PROGRAM` (default: vol in PATH)"},
			&cli.StringFlag{Name: "symbols", Aliases: []string{"s"}, TakesFile: true, EnvVars: env("SYMBOLS"), Usage: "`DIR` with symbol files, or one such file, which may be encrypted with age, in place of what was collected"},
			&cli.BoolFlag{Name: "unpack", Usage: "unpack the image for the time of the run, in place of reading it where it lies: takes its whole size on disk", DisableDefaultText: true},
			&cli.StringSliceFlag{Name: "plugin", Usage: "run this plugin, `NAME`, in place of the usual ones"},
			&cli.IntFlag{Name: "parallel", Usage: "run `N` plugins at once; each takes up to 2 GB of memory", DefaultText: "half of the cores"},
			&cli.DurationFlag{Name: "timeout", Usage: "give up a plugin after this `TIME`", Value: 30 * time.Minute},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, TakesFile: true, Usage: "write everything into this new folder in place of beside the image: `DIR`"},
			jsonFlag(),
		}, identityFlags(), s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() != 1 {
				return usagef("triage takes one image, there are %d", ctx.NArg())
			}
			if n := ctx.Int("parallel"); n < 0 {
				return usagef("--parallel %d: want a number from 1", n)
			}
			t := &triageRun{c: c, name: ctx.Args().First(), access: s3Access(ctx), unverified: ctx.Bool("unverified"), symbols: ctx.String("symbols"), unpack: ctx.Bool("unpack")}
			var err error
			if t.ids, err = readIdentities(c, ctx); err != nil {
				return err
			}
			if file := ctx.String("signers"); file != "" {
				if t.signers, err = readSigners(file); err != nil {
					return err
				}
			}
			t.o = triage.Options{Volatility: ctx.String("volatility"), Plugins: ctx.StringSlice("plugin"), Parallel: ctx.Int("parallel"), Timeout: ctx.Duration("timeout")}
			if err := t.places(ctx.String("output")); err != nil {
				return err
			}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			defer outliveReader()()
			return t.run(sctx)
		},
	}
}

// places says where results go.
func (t *triageRun) places(output string) error {
	if output != "" {
		t.o.Folder = output
		if _, err := os.Lstat(output); err == nil {
			return usagef("--output %s is there already", output)
		}
		return nil
	}
	base := t.name
	if s3.IsURL(base) {
		base = base[strings.LastIndexByte(base, '/')+1:]
	}
	for n := 1; n < 100; n++ {
		name := base + acquire.TriageSuffix
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		_, err := os.Lstat(name)
		_, err2 := os.Lstat(name + ".d")
		if errors.Is(err, fs.ErrNotExist) && errors.Is(err2, fs.ErrNotExist) {
			t.o.Report, t.o.Folder = name, name+".d"
			return nil
		}
	}
	return usagef("%s has been looked at 99 times", t.name).fix("use --output DIR")
}

// run does everything.
func (t *triageRun) run(ctx context.Context) error {
	rep := &triage.Report{Created: time.Now().UTC(), Image: filepath.Base(t.name)}
	if err := t.verify(ctx, rep); err != nil {
		return err
	}
	scratch, remove, err := t.scratch()
	if err != nil {
		return err
	}
	defer remove()
	if err := t.load(ctx, scratch, rep); err != nil {
		return err
	}
	end, err := t.readable(ctx, scratch, rep)
	if err != nil {
		return err
	}
	defer end()
	t.o.Event = func(s string) { t.c.info("%s", printable(s)) }
	err = triage.Run(ctx, t.o, rep)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if t.c.json {
		t.c.message("triage", rep)
	} else {
		printTriage(t.c, t.o, rep)
	}
	if failed := rep.Failed(); len(failed) > 0 || len(rep.NotCompared) > 0 || len(rep.Unread) > 0 {
		return &exitError{exitPartial, nil}
	}
	return nil
}

// volatilityError is why Volatility was not found.
func volatilityError(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, triage.ErrNone):
		return &hinted{err, volatilityHint}
	}
	return err
}

// printTriage tells what was found.
func printTriage(w io.Writer, o triage.Options, r *triage.Report) {
	where := o.Report
	if where == "" {
		where = filepath.Join(o.Folder, triage.ReportName)
	}
	fmt.Fprintf(w, "%s: %d processes, %d modules, %d sockets, %d commands of shells; Volatility %s\n", printable(r.Image), len(r.Processes), len(r.Modules), len(r.Sockets), len(r.History), printable(r.Volatility))
	if r.Verified == "" {
		fmt.Fprintf(w, "  the image was not verified\n")
	} else {
		fmt.Fprintf(w, "  image: %s\n", r.Verified)
	}
	if r.Read != "" {
		fmt.Fprintf(w, "  read: %s\n", r.Read)
	}
	for _, what := range r.Unread {
		fmt.Fprintf(w, "  could not be read: %s; what plugins say may lack it\n", printable(what))
	}
	for _, p := range r.Plugins {
		if p.Error != "" {
			fmt.Fprintf(w, "  failed: %s: %s\n", p.Name, printable(p.Error))
		}
		if p.Without != "" {
			fmt.Fprintf(w, "  %s: %s\n", p.Name, printable(p.Without))
		}
	}
	for _, why := range r.NotCompared {
		fmt.Fprintf(w, "  not compared: %s\n", printable(why))
	}
	for _, what := range r.Cut {
		fmt.Fprintf(w, "  cut: %s; the files of the plugins have everything\n", printable(what))
	}
	if cmp := r.Comparison; cmp != nil {
		fmt.Fprintf(w, "  memory and the live tools agree on %s\n", agreed(cmp.Both))
		known := map[triage.Class]int{}
		for _, d := range cmp.Differences {
			if !d.Class.Named() {
				known[d.Class]++
				continue
			}
			who := ""
			if d.PID != 0 {
				who = fmt.Sprintf(" %d", d.PID)
			}
			fmt.Fprintf(w, "  %s: %s%s %s, only in %s: %s\n", strings.ToUpper(string(d.Class)), d.Kind, who, printable(d.Name), d.In, printable(d.Detail))
		}
		for _, class := range []triage.Class{triage.Started, triage.Ended, triage.Ours, triage.Elsewhere, triage.Unowned, triage.Transitory} {
			if n := known[class]; n > 0 {
				fmt.Fprintf(w, "  %s: %s\n", class, plural(n, "difference"))
			}
		}
	}
	fmt.Fprintf(w, "  results: %s, output of plugins: %s\n", where, o.Folder)
}

// agreed is what both show. Of what was not compared they show nothing, which is told by itself.
func agreed(n triage.Counts) string {
	var all []string
	for _, x := range []struct {
		n    int
		what string
	}{{n.Processes, "processes"}, {n.Modules, "modules"}, {n.Sockets, "sockets"}} {
		if x.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if len(all) == 0 {
		return "nothing"
	}
	return strings.Join(all, ", ")
}

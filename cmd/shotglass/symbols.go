package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire/symbols"
	"github.com/shotglass-ir/shotglass/transport"
)

const symbolsText = `Writes the symbol file that Volatility 3 needs to read the memory of one kernel: types, symbols and banner, JSON in xz. Nothing is
downloaded, and no debug symbols are needed where the kernel has BTF.

DIR holds what was collected from the host, by shotglass (unpacked by shotglass live), by UAC or by hand. Found by their usual names
are /sys/kernel/btf/vmlinux (types), those of modules beside it, /proc/kallsyms or System.map (symbols), /proc/version (the banner) and the VMCOREINFO note.

Without BTF, --vmlinux takes types, and what else DIR lacks, from a vmlinux with debug information, which is the distribution's: in
Debian's linux-image-RELEASE-dbg, Ubuntu's linux-image-RELEASE-dbgsym (ddebs), Fedora's and RHEL's kernel-debuginfo. See docs/symbols.md.

Standard error tells what is missing and which plugins suffer. Exit code 1: there is no file.`

func symbolsCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "symbols", Usage: "write the symbol file that Volatility 3 needs for a kernel",
		ArgsUsage: " ", Description: symbolsText,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "from", TakesFile: true, Usage: "`DIR` with BTF, kallsyms, banner and VMCOREINFO of the kernel"},
			&cli.StringFlag{Name: "vmlinux", TakesFile: true, Usage: "`FILE` of the kernel with its debug information"},
			&cli.StringFlag{Name: "system-map", TakesFile: true, Usage: "System.map of the kernel: `FILE`"},
			&cli.StringFlag{Name: "banner", TakesFile: true, Usage: "`FILE` with the banner, as /proc/version has it"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, TakesFile: true, Usage: "write to this new `FILE`", DefaultText: "RELEASE.json.xz"},
			jsonFlag(),
		},
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() > 0 {
				return usagef("symbols takes no argument: %q", ctx.Args().First())
			}
			if ctx.String("from") == "" && ctx.String("vmlinux") == "" {
				return usagef("give --from DIR, --vmlinux FILE or both")
			}
			out := ctx.String("output")
			if _, err := os.Lstat(out); out != "" && err == nil {
				return usagef("-o: %s is there already, and nothing is ever overwritten", out)
			}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
			defer stop()
			return writeSymbols(sctx, c, ctx, out)
		},
	}
}

// symbolsMessage is what `symbols` prints.
type symbolsMessage struct {
	File  string          `json:"file"`
	Found []symbols.Found `json:"found"`
	symbols.Report
}

func writeSymbols(ctx context.Context, c *console, flags *cli.Context, out string) error {
	in, found, closeAll, err := symbolInputs(flags)
	defer closeAll()
	if err != nil {
		return err
	}
	in.Version = toolInfo().Version
	var file bytes.Buffer // a few megabytes
	rep, err := symbols.Write(&file, in)
	for _, n := range rep.Notes {
		c.warn("%s", printable(n))
	}
	if err != nil {
		if errors.Is(err, symbols.ErrNoTypes) {
			c.hint(debugHint(rep.Release))
		}
		return err
	}
	if out == "" {
		out = plainName(rep.Release) + ".json.xz"
	}
	if err := writeNew(ctx, out, file.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	for _, m := range rep.Missing {
		c.warn("missing: %s; less from %s", m.Name, strings.Join(m.Plugins, ", "))
	}
	if c.json {
		return c.message("symbols", symbolsMessage{out, found, rep})
	}
	fmt.Fprintf(c, "%s  %s  %d types from %s  %d symbols  sha256:%s\n", out, printable(rep.Release), rep.UserTypes+rep.Enums, rep.Types, rep.Symbols, rep.SHA256)
	c.info("vol --offline -s %s -f IMAGE linux.pslist", transport.Quote(filepath.Dir(out)))
	return nil
}

// symbolInputs reads what the flags name.
func symbolInputs(flags *cli.Context) (in symbols.Inputs, found []symbols.Found, closeAll func(), err error) {
	closeAll = func() {}
	found = []symbols.Found{}
	if dir := flags.String("from"); dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return in, found, closeAll, errors.Join(err, usagef("--from %s: want a folder", dir))
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return in, found, closeAll, err
		}
		defer root.Close()
		if in, found, err = symbols.ReadFolder(root.FS()); err != nil {
			return in, found, closeAll, fmt.Errorf("%s: %w", dir, err)
		}
		if len(found) == 0 {
			return in, found, closeAll, fmt.Errorf("%s: nothing of a kernel is there: want btf/vmlinux, kallsyms, version, vmcoreinfo or System.map", dir)
		}
	}
	for name, to := range map[string]*[]byte{"system-map": &in.SystemMap, "banner": &in.Banner} {
		if file := flags.String(name); file != "" {
			if *to, err = readBounded(file, symbols.MaxSymbolList); err != nil {
				return in, found, closeAll, fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	if name := flags.String("vmlinux"); name != "" {
		f, err := os.Open(name)
		if err != nil {
			return in, found, closeAll, fmt.Errorf("--vmlinux: %w", err)
		}
		in.Vmlinux, closeAll = f, func() { f.Close() }
	}
	return in, found, closeAll, nil
}

// readBounded reads a regular file that has a bound.
func readBounded(name string, limit int64) ([]byte, error) {
	st, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !st.Mode().IsRegular():
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	case st.Size() > limit:
		return nil, fmt.Errorf("%s has more than %d bytes", name, limit)
	}
	return os.ReadFile(name)
}

// debugHint names the package that has a kernel's debug information.
func debugHint(release string) string {
	return fmt.Sprintf("give --vmlinux FILE; on Debian: apt-get download linux-image-%s-dbg && dpkg-deb -x linux-image-*-dbg_*.deb x, then x/usr/lib/debug/boot/vmlinux-%[1]s",
		plainName(release))
}

// plainName makes a file name, and a word for a shell, of what a host said.
func plainName(s string) string {
	out := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._+~-", r) {
			return r
		}
		return '_'
	}, s)
	out = strings.TrimLeft(out, ".-")
	return out[:min(len(out), 100)]
}

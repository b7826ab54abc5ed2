package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/symbols"
	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/transport"
)

const symbolsText = `Writes the symbol file that Volatility 3 needs to read the memory of one kernel: types, symbols and banner, JSON in xz. Nothing is
downloaded, and no debug symbols are needed where the kernel has BTF.

Of each IMAGE, which may be s3://bucket/key, it is made of what was collected beside it, and lies there as IMAGE.isf.json.xz. That
what was collected is as it was taken is for verify to say: run it first.

DIR holds what was collected from the host, by shotglass (unpacked by shotglass live), by UAC or by hand. Found by their usual names
are /sys/kernel/btf/vmlinux (types), those of modules beside it, /proc/kallsyms or System.map (symbols), /proc/version (the banner) and the VMCOREINFO note.

Without BTF, --vmlinux takes types, and what else DIR lacks, from a vmlinux with debug information, which is the distribution's: the file, or the package that it is in:
Debian's linux-image-RELEASE-dbg, Ubuntu's linux-image-unsigned-RELEASE-dbgsym (ddebs), Fedora's and RHEL's kernel-debuginfo. --fetch gets that package from this machine's apt
or dnf, which check its signature, says first how large it is (300 MB to 1 GB), and keeps nothing of it. DWARF takes 200 MB of memory, more
where a kernel was built with LTO. See docs/symbols.md.

Standard error tells what is missing and which plugins suffer. Exit code 1: there is no file.`

func symbolsCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "symbols", Usage: "write the symbol file that Volatility 3 needs for a kernel",
		ArgsUsage: "[IMAGE...]", Description: symbolsText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "from", TakesFile: true, Usage: "`DIR` with BTF, kallsyms, banner and VMCOREINFO of the kernel"},
			&cli.StringFlag{Name: "vmlinux", TakesFile: true, Usage: "`FILE` of the kernel with its debug information, or the .deb, .ddeb or .rpm that holds it"},
			&cli.BoolFlag{Name: "fetch", Usage: "get the package with the kernel's debug information from this machine's apt or dnf"},
			&cli.StringFlag{Name: "release", Usage: "of --fetch and --vmlinux: the kernel is this `RELEASE`, as uname -r says there", DefaultText: "what DIR says"},
			&cli.StringFlag{Name: "machine", Usage: "of --fetch: for this `MACHINE`, x86_64 or aarch64", DefaultText: "what the release names, or this machine's"},
			&cli.StringFlag{Name: "apt-sources", TakesFile: true, Usage: "of --fetch: take packages from the sources in this `FILE`, in place of the machine's"},
			&cli.StringFlag{Name: "system-map", TakesFile: true, Usage: "System.map of the kernel: `FILE`"},
			&cli.StringFlag{Name: "banner", TakesFile: true, Usage: "`FILE` with the banner, as /proc/version has it"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, TakesFile: true, Usage: "write to this new `FILE`", DefaultText: "RELEASE.json.xz"},
			jsonFlag(),
		}, identityFlags(), s3AccessFlags()),
		Action: func(ctx *cli.Context) error {
			c.json = ctx.Bool("json")
			if ctx.NArg() > 0 {
				for _, f := range []string{"from", "vmlinux", "fetch", "release", "machine", "apt-sources", "system-map", "banner", "output"} {
					if ctx.IsSet(f) {
						return usagef("--%s goes with no IMAGE: of an image, its symbols are made of what was collected beside it, and lie there", f)
					}
				}
				ids, err := readIdentities(c, ctx)
				if err != nil {
					return err
				}
				sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() {})
				defer stop()
				return imagesSymbols(sctx, c, &imageSymbols{c: c, access: s3Access(ctx), ids: ids}, ctx.Args().Slice())
			}
			switch {
			case ctx.String("from") == "" && ctx.String("vmlinux") == "" && !ctx.Bool("fetch"):
				return usagef("give IMAGE, --from DIR, --vmlinux FILE, the latter both, or --fetch")
			case ctx.Bool("fetch") && ctx.String("vmlinux") != "":
				return usagef("--vmlinux is there, so --fetch has nothing to get")
			}
			out := ctx.String("output")
			if _, err := os.Lstat(out); out != "" && err == nil {
				return usagef("-o: %s is there already, and nothing is ever overwritten", out)
			}
			d := &debugSource{c: c, flags: ctx}
			sctx, stop := catchSignals(ctx.Context, c.exit, func(string) {}, func() { d.remove() })
			defer stop()
			err := writeSymbols(sctx, c, ctx, d, out)
			if rerr := d.remove(); rerr != nil {
				err = errors.Join(err, fmt.Errorf("temporary files are left: %w", rerr))
			}
			return err
		},
	}
}

// symbolsMessage is what `symbols` prints.
type symbolsMessage struct {
	File  string          `json:"file"`
	Found []symbols.Found `json:"found"`
	symbols.Report
	// Encrypted is of File, if that is encrypted to recipients; Bytes and SHA256 are of what is in it.
	Encrypted *acquire.Digest `json:"encrypted,omitempty"`
}

// stored is of the file.
func (m *symbolsMessage) stored() acquire.Digest {
	if m.Encrypted != nil {
		return *m.Encrypted
	}
	return acquire.Digest{Bytes: m.Bytes, SHA256: m.SHA256}
}

func writeSymbols(ctx context.Context, c *console, flags *cli.Context, d *debugSource, out string) error {
	in, found, err := symbolInputs(flags)
	if err != nil {
		return err
	}
	for _, x := range found {
		if len(x.Others) > 0 {
			c.warn("%s was taken for %s, and %s has another: of a folder with several hosts, or boots, name the one of the image", printable(x.Path), x.Input, printable(strings.Join(x.Others, ", ")))
		}
	}
	d.release = cmp.Or(flags.String("release"), in.Release())
	vmlinux, err := d.open(ctx)
	if err != nil {
		return err
	}
	if vmlinux != nil {
		defer vmlinux.Close()
		in.Vmlinux = vmlinux
	}
	in.Version = toolInfo().Version
	var file bytes.Buffer // a few megabytes
	rep, err := symbols.Write(&file, in)
	for _, n := range rep.Notes {
		c.warn("%s", printable(n))
	}
	if err != nil {
		if errors.Is(err, symbols.ErrNoTypes) {
			c.hint(fmt.Sprintf("add --fetch. Or: %s", headers.DebugAdvice(kernelmodules.Kernel{Release: plainName(rep.Release), Machine: headers.MachineOf(rep.Release)})))
		}
		return err
	}
	if out == "" {
		out = plainName(rep.Release) + ".json.xz"
	}
	if err := writeNew(ctx, out, file.Bytes()); err != nil {
		return fmt.Errorf("%s: %w", out, err)
	}
	m := &symbolsMessage{File: out, Found: found, Report: rep}
	m.warnMissing(c)
	if err := m.print(c); err != nil || c.json {
		return err
	}
	c.info("vol --offline -s %s -f IMAGE linux.pslist", transport.Quote(filepath.Dir(out)))
	return nil
}

// warnMissing tells what the symbol file lacks.
func (m *symbolsMessage) warnMissing(c *console) {
	for _, x := range m.Missing {
		c.warn("missing: %s; less from %s", x.Name, strings.Join(x.Plugins, ", "))
	}
}

// print prints a line about a symbol file.
func (m *symbolsMessage) print(c *console) error {
	if c.json {
		return c.message("symbols", m)
	}
	_, err := fmt.Fprintf(c, "%s  %s  %d types from %s  %d symbols  sha256:%s\n", printable(m.File), printable(m.Release), m.UserTypes+m.Enums, m.Types, m.Symbols, m.SHA256)
	return err
}

// symbolInputs reads what the flags name.
func symbolInputs(flags *cli.Context) (in symbols.Inputs, found []symbols.Found, err error) {
	found = []symbols.Found{}
	if dir := flags.String("from"); dir != "" {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			return in, found, errors.Join(err, usagef("--from %s: want a folder", dir))
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			return in, found, err
		}
		defer root.Close()
		if in, found, err = symbols.ReadFolder(root.FS()); err != nil {
			return in, found, fmt.Errorf("%s: %w", dir, err)
		}
		if len(found) == 0 {
			return in, found, fmt.Errorf("%s: nothing of a kernel is there: want btf/vmlinux, kallsyms, version, vmcoreinfo or System.map", dir)
		}
	}
	for name, to := range map[string]*[]byte{"system-map": &in.SystemMap, "banner": &in.Banner} {
		if file := flags.String(name); file != "" {
			if *to, err = readBounded(file, symbols.MaxSymbolList); err != nil {
				return in, found, fmt.Errorf("--%s: %w", name, err)
			}
		}
	}
	return in, found, nil
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

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/build"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
)

const modulesBuildText = `Compiles LiME for kernels, as uname -r names them, from their headers, on this machine. Headers come from --headers, or
from the packages of this machine's apt or dnf. Each module is checked against the headers (vermagic, the CRC of every symbol, parameters,
machine), and written to the folder as lime-RELEASE-MACHINE.ko with a record of how it was made, lime-RELEASE-MACHINE.ko.json. Without RELEASE, it is every
kernel that --headers has. Standard output gets one line per module, with tabs: kernel release, machine, SHA-256, place.
Compiling runs what the headers hold: take them from whom you trust. docs/modules.md has more.`

func modulesBuildCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "build", HelpName: "modules build", Usage: "compile LiME for kernels, from their headers", ArgsUsage: "[RELEASE...]", Description: modulesBuildText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "headers", Usage: "headers of kernels: a .deb or .rpm package, or a folder of packages or headers: `FILE|DIR`", Category: groupModule, TakesFile: true},
			&cli.StringSliceFlag{Name: "machine", Usage: "for this `MACHINE`, as uname -m prints it: x86_64 or aarch64", Category: groupModule, DefaultText: "what RELEASE names, or all that --headers has, or this machine's"},
			&cli.StringFlag{Name: "lime", Usage: "LiME's source: a folder, a tarball or a package: `FILE|DIR`", Category: groupModule, TakesFile: true, DefaultText: "the package lime-forensics-dkms"},
			&cli.StringSliceFlag{Name: "lime-sha256", Usage: "LiME's source must have this digest, of the file or of the tree: `HEX`", Category: groupModule},
			&cli.StringFlag{Name: "apt-sources", Usage: "take packages from the sources in this `FILE`, in place of the machine's", Category: groupModule, TakesFile: true},
			&cli.StringSliceFlag{Name: "compiler", Usage: "compile with this one: `[MACHINE=]PROGRAM`", Category: groupModule, DefaultText: "the kernel's, as far as it is there"},
		}, storeFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error { return modulesBuild(c, ctx) },
	}
}

// storeFlags are those of commands that put modules into a folder.
func storeFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the modules to this `DIR`, which --module can read", Category: groupOutput, TakesFile: true},
		&cli.StringFlag{Name: "kernel-key", Usage: "sign modules for kernels that enforce signatures, with this private key in PEM: `FILE`", Category: groupModule, TakesFile: true},
		&cli.StringFlag{Name: "kernel-cert", Usage: "certificate of --kernel-key, which the kernels trust: `FILE`", Category: groupModule, TakesFile: true},
		&cli.StringFlag{Name: "kernel-hash", Usage: "sign over `sha256|sha384|sha512`", Category: groupModule, Value: "sha256"},
	}
}

// readSigner reads the key that modules are signed with; nil: none was given.
func readSigner(ctx *cli.Context) (*build.Signer, error) {
	key, cert := ctx.String("kernel-key"), ctx.String("kernel-cert")
	if key == "" {
		return nil, nil
	}
	if cert == "" {
		return nil, usagef("--kernel-key wants --kernel-cert")
	}
	s, err := build.NewSigner(key, cert, ctx.String("kernel-hash"))
	if err != nil {
		return nil, usagef("--kernel-key: %v", err)
	}
	return s, nil
}

// readCompilers reads --compiler.
func readCompilers(values []string) (map[string]string, error) {
	compilers := make(map[string]string)
	for _, v := range values {
		machine, program, named := strings.Cut(v, "=")
		if !named {
			machine, program = build.HostMachine(), v
		}
		if program == "" || !slices.Contains(builtMachines, machine) {
			return nil, usagef("--compiler %q: want [MACHINE=]PROGRAM, with one of %s", v, strings.Join(builtMachines, ", "))
		}
		compilers[machine] = program
	}
	return compilers, nil
}

// builtMachines are those that modules can be built for.
var builtMachines = []string{"x86_64", "aarch64"}

// wantedKernels are the kernels that arguments and --machine name. Without a machine a release stands for any.
func wantedKernels(releases, machines []string) ([]kernelmodules.Kernel, error) {
	for _, m := range machines {
		if !slices.Contains(builtMachines, m) {
			return nil, usagef("--machine %q: want one of %s", m, strings.Join(builtMachines, ", "))
		}
	}
	var kernels []kernelmodules.Kernel
	add := func(k kernelmodules.Kernel) {
		if !slices.Contains(kernels, k) {
			kernels = append(kernels, k)
		}
	}
	for _, r := range releases {
		named := headers.MachineOf(r)
		if named != "" || len(machines) == 0 {
			add(kernelmodules.Kernel{Release: r, Machine: named})
			continue
		}
		for _, m := range machines {
			add(kernelmodules.Kernel{Release: r, Machine: m})
		}
	}
	return kernels, nil
}

// A builder is one run of modules build.
type builder struct {
	c       *console
	ctx     *cli.Context
	dir     string // temporary
	kernels []kernelmodules.Kernel
	apt     *headers.APT
	failed  int
	code    int
}

func (b *builder) fail(err error) {
	b.failed++
	b.c.fail("", err)
	b.code = worse(b.code, moduleErrorCode(err))
}

func modulesBuild(c *console, cctx *cli.Context) (err error) {
	c.json = cctx.Bool("json")
	b := &builder{c: c, ctx: cctx}
	paths := cctx.StringSlice("headers")
	if b.kernels, err = wantedKernels(cctx.Args().Slice(), cctx.StringSlice("machine")); err != nil {
		return err
	}
	switch {
	case cctx.String("output") == "":
		return usagef("modules build wants --output DIR")
	case len(b.kernels) == 0 && len(paths) == 0:
		return usagef("neither a kernel release nor --headers").fix("name the kernel as uname -r does there: shotglass modules build -o DIR 6.1.0-56-cloud-amd64")
	}
	compilers, err := readCompilers(cctx.StringSlice("compiler"))
	if err != nil {
		return err
	}
	signer, err := readSigner(cctx)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "shotglass-build"); err != nil {
		return err
	}
	ctx, stop := catchSignals(cctx.Context, c.exit, func(name string) {
		c.line("shotglass: " + name + ": stopping; nothing half stays")
	}, func() { os.RemoveAll(b.dir) })
	defer stop()
	defer func() {
		if rerr := os.RemoveAll(b.dir); rerr != nil {
			err = errors.Join(err, fmt.Errorf("temporary files are left: %w", rerr))
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	b.apt = &headers.APT{Dir: filepath.Join(b.dir, "apt"), Host: build.HostMachine(), Sources: cctx.String("apt-sources")}
	source, err := b.source(ctx)
	if err != nil {
		return err
	}
	trees, err := b.trees(ctx, paths)
	if err != nil {
		return err
	}
	tool := toolInfo()
	count, err := b.build(ctx, trees, build.Options{
		Source: source, Dir: b.dir, Compiler: compilers, Signer: signer, Tool: tool.Name + " " + tool.Version,
	})
	if err != nil {
		return err
	}
	return endModules(c, b.code, count, b.failed)
}

// source opens LiME's source, from the distribution unless the user has it.
func (b *builder) source(ctx context.Context) (*build.Source, error) {
	path := b.ctx.String("lime")
	if path == "" {
		if !headers.HaveAPT() {
			return nil, usagef("LiME's source is not given, and this machine has no apt to get it").fix("name it with --lime: a folder or a tarball of github.com/504ensicsLabs/LiME")
		}
		b.c.info("shotglass: getting LiME's source from apt")
		var err error
		if path, err = b.apt.Package(ctx, "lime-forensics-dkms"); err != nil {
			return nil, err
		}
	}
	s, err := build.OpenSource(ctx, b.dir, path, b.ctx.StringSlice("lime-sha256"))
	if err != nil {
		return nil, err
	}
	b.c.info("shotglass: LiME is %s %s, tree sha256 %s", s.Input.Name, s.Input.Version, s.Input.Tree)
	return s, nil
}

// trees gets the headers of the kernels ready. Kernels without any are told, and passed over.
func (b *builder) trees(ctx context.Context, paths []string) ([]*headers.Tree, error) {
	if len(paths) == 0 {
		for i, k := range b.kernels {
			if k.Machine == "" {
				b.kernels[i].Machine = build.HostMachine()
			}
		}
		dir, missing, err := b.fetch(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range missing {
			b.fail(m)
			b.kernels = slices.DeleteFunc(b.kernels, func(k kernelmodules.Kernel) bool { return k == m.Kernel })
		}
		if dir == "" {
			return nil, nil
		}
		paths = []string{dir}
	}
	b.c.info("shotglass: unpacking headers")
	dir := filepath.Join(b.dir, "headers")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	found, err := headers.Gather(ctx, dir, build.HostMachine(), paths)
	if err != nil {
		return nil, err
	}
	if len(b.kernels) == 0 {
		machines := b.ctx.StringSlice("machine")
		return slices.DeleteFunc(found, func(t *headers.Tree) bool {
			return len(machines) > 0 && !slices.Contains(machines, t.Kernel.Machine)
		}), nil
	}
	var trees []*headers.Tree
	for _, k := range b.kernels {
		n := len(trees)
		for _, t := range found {
			if t.Kernel == k || k.Machine == "" && t.Kernel.Release == k.Release {
				trees = append(trees, t)
			}
		}
		if len(trees) == n {
			b.fail(&noHeadersError{k, found})
		}
	}
	return trees, nil
}

// fetch gets the packages of the kernels with this machine's package manager.
func (b *builder) fetch(ctx context.Context) (dir string, missing []*headers.NotPackagedError, err error) {
	host := build.HostMachine()
	switch {
	case headers.HaveAPT():
		b.c.info("shotglass: getting headers from apt")
		return b.apt.Headers(ctx, b.kernels)
	case headers.HaveDNF():
		b.c.info("shotglass: getting headers from dnf")
		return (&headers.DNF{Dir: b.dir, Host: host}).Headers(ctx, b.kernels)
	}
	for _, k := range b.kernels {
		missing = append(missing, &headers.NotPackagedError{Kernel: k, Package: "with its headers", Manager: "this machine, without apt and dnf,", Host: host})
	}
	return "", missing, nil
}

// A noHeadersError is about a kernel that is not among those given.
type noHeadersError struct {
	kernel kernelmodules.Kernel
	found  []*headers.Tree
}

func (e *noHeadersError) Error() string {
	var have []string
	for _, t := range e.found {
		have = append(have, t.Kernel.Release+" ("+t.Kernel.Machine+")")
	}
	return fmt.Sprintf("the headers given are not those of %s %s: they are of %s", e.kernel.Release, e.kernel.Machine, strings.Join(have, ", "))
}

func (e *noHeadersError) Hint() string { return headers.Advice(e.kernel, build.HostMachine()) }

// build builds and stores modules, several at a time. A kernel's failure does not touch the others.
func (b *builder) build(ctx context.Context, trees []*headers.Tree, o build.Options) (count int, err error) {
	var mu sync.Mutex
	group := &errgroup.Group{}
	group.SetLimit(runtime.NumCPU())
	for _, t := range trees {
		group.Go(func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			b.c.info("shotglass: compiling for %s (%s)", t.Kernel.Release, t.Kernel.Machine)
			r, err := build.Build(ctx, t, o)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if ctx.Err() == nil {
					b.fail(err)
				}
				return nil
			}
			if r.Warning != "" {
				b.c.warn("%s", r.Warning)
			}
			path, err := storeModule(ctx, b.ctx.String("output"), r.Module, r.Record)
			if err != nil {
				b.fail(err)
				return nil
			}
			count++
			return moduleMessage{
				Release: t.Kernel.Release, Machine: t.Kernel.Machine, SHA256: r.Module.SHA256, Place: path, File: path, Record: kernelmodules.RecordName(path),
			}.print(b.c, t.Kernel.Release, t.Kernel.Machine, r.Module.SHA256, path)
		})
	}
	return count, group.Wait()
}

package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/build"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
)

const modulesAddText = `Puts LiME modules that somebody else built into a folder, after the checks that modules build does: against the headers of
their kernels (--headers), or at least their Module.symvers (--symvers). With --kernel-cert alone a module must bear a signature of that certificate; with
--kernel-key, too, it is signed. Standard output gets one line per module, with tabs: kernel release, machine, SHA-256, place.`

func modulesAddCommand(c *console) *cli.Command {
	return &cli.Command{
		Name: "add", HelpName: "modules add", Usage: "put modules that others built into a folder, once they pass", ArgsUsage: "FILE...", Description: modulesAddText,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringSliceFlag{Name: "headers", Usage: "headers of the kernels: a .deb or .rpm package, or a folder of packages or headers: `FILE|DIR`", Category: groupModule, TakesFile: true},
			&cli.StringFlag{Name: "symvers", Usage: "Module.symvers of the kernel, for a single module: `FILE`", Category: groupModule, TakesFile: true},
			&cli.BoolFlag{Name: "insecure-unchecked-symbols", Usage: "take modules without comparing their symbols with the kernel's. The record says so", Category: groupModule, DisableDefaultText: true},
		}, storeFlags(), []cli.Flag{jsonFlag()}),
		Action: func(ctx *cli.Context) error { return modulesAdd(c, ctx) },
	}
}

// An adder is one run of modules add.
type adder struct {
	trees   []*headers.Tree
	symvers *kernelmodules.Symvers
	signer  *build.Signer
	cert    *x509.Certificate
}

func modulesAdd(c *console, cctx *cli.Context) (err error) {
	c.json = cctx.Bool("json")
	paths, symvers, unchecked := cctx.StringSlice("headers"), cctx.String("symvers"), cctx.Bool("insecure-unchecked-symbols")
	switch {
	case cctx.NArg() == 0:
		return usagef("modules add wants FILE...")
	case cctx.String("output") == "":
		return usagef("modules add wants --output DIR")
	case len(paths) == 0 && symvers == "" && !unchecked:
		return usagef("nothing to compare the module's symbols with").fix("give the kernel's headers with --headers, or its Module.symvers with --symvers; or accept it with --insecure-unchecked-symbols")
	case symvers != "" && (cctx.NArg() > 1 || len(paths) > 0):
		return usagef("--symvers is of one kernel: give one module, and no --headers")
	}
	a := &adder{}
	if a.signer, err = readSigner(cctx); err != nil {
		return err
	}
	if name := cctx.String("kernel-cert"); name != "" && a.signer == nil {
		if a.cert, err = build.ReadCertificate(name); err != nil {
			return usagef("--kernel-cert: %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "shotglass-add")
	if err != nil {
		return err
	}
	ctx, stop := catchSignals(cctx.Context, c.exit, func(string) {}, func() { os.RemoveAll(dir) })
	defer stop()
	defer func() {
		err = errors.Join(err, os.RemoveAll(dir))
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	if len(paths) > 0 {
		if a.trees, err = headers.Gather(ctx, dir, build.HostMachine(), paths); err != nil {
			return err
		}
	}
	if symvers != "" {
		data, err := readUpTo(symvers, kernelmodules.MaxSymvers)
		if err == nil {
			a.symvers, err = kernelmodules.ParseSymvers(data)
		}
		if err != nil {
			return usagef("--symvers: %v", err)
		}
	}
	code, count, bad := exitOK, 0, 0
	for _, name := range cctx.Args().Slice() {
		m, record, err := a.check(name)
		path := ""
		if err == nil {
			path, err = storeModule(ctx, cctx.String("output"), m, record)
		}
		if err != nil {
			bad++
			c.fail("", err)
			code = worse(code, moduleErrorCode(err))
			continue
		}
		count++
		if record.Symvers == "" {
			c.warn("%s was not compared with a kernel: its record says so", path)
		}
		msg := moduleMessage{Release: record.Release, Machine: record.Machine, SHA256: m.SHA256, Place: path, File: path, Record: kernelmodules.RecordName(path)}
		if err := msg.print(c, msg.Release, msg.Machine, msg.SHA256, path); err != nil {
			return err
		}
	}
	return endModules(c, code, count, bad)
}

// check reads a module and holds it against what there is.
func (a *adder) check(name string) (*kernelmodules.Module, *kernelmodules.Record, error) {
	data, err := readUpTo(name, kernelmodules.MaxSize)
	if err != nil {
		return nil, nil, err
	}
	m, err := kernelmodules.Parse(data, name)
	if err != nil {
		return nil, nil, err
	}
	tool := toolInfo()
	kernel := kernelmodules.Kernel{Release: m.Release(), Machine: m.Machine}
	record := &kernelmodules.Record{
		How: kernelmodules.RecordAdded, Tool: tool.Name + " " + tool.Version, Time: time.Now().UTC(),
		Release: kernel.Release, Machine: kernel.Machine, Vermagic: m.Vermagic,
	}
	if record.Origin, err = filepath.Abs(name); err != nil {
		return nil, nil, err
	}
	// A release becomes part of a file's name.
	if kernel.Release == "" || !filepath.IsLocal(kernel.Release) || filepath.Base(kernel.Release) != kernel.Release {
		return nil, nil, fmt.Errorf("module %s: its vermagic %q names no kernel release", name, m.Vermagic)
	}
	switch i := slices.IndexFunc(a.trees, func(t *headers.Tree) bool { return t.Kernel == kernel }); {
	case i >= 0:
		t := a.trees[i]
		record.Symvers, record.Headers, record.KernelCompiler = t.Symvers.SHA256, t.Inputs, t.Config.Compiler()
		err = build.Check(m, t)
	case len(a.trees) > 0:
		return nil, nil, fmt.Errorf("module %s: %w", name, &noHeadersError{kernel, a.trees})
	default:
		if a.symvers != nil {
			record.Symvers = a.symvers.SHA256
		}
		if err = m.Check(kernel); err == nil {
			err = m.CheckImports(a.symvers)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case a.signer != nil:
		m, record.Signature, err = a.signer.Sign(m)
	case a.cert != nil:
		record.Signature, err = build.VerifySignature(m, a.cert)
	}
	if err != nil {
		return nil, nil, err
	}
	imports, err := m.Imports()
	record.Imports, record.SHA256, record.Size = len(imports), m.SHA256, m.Size
	return m, record, err
}

// readUpTo reads a regular file of at most max bytes.
func readUpTo(name string, max int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("%s has more than %d bytes", name, max)
	}
	return data, err
}

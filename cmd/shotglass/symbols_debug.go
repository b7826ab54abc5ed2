package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/kernelmodules/archive"
	"github.com/shotglass-ir/shotglass/kernelmodules/build"
	"github.com/shotglass-ir/shotglass/kernelmodules/headers"
	"github.com/shotglass-ir/shotglass/sink"
)

// maxVmlinux bounds a vmlinux, in bytes. Distributions' have 600 MB.
const maxVmlinux = 8 << 30

// A debugSource is where a kernel's vmlinux with debug information comes from: a file, a package, or the package manager
// of this machine.
type debugSource struct {
	c       *console
	flags   *cli.Context
	release string // of the kernel; empty: unknown
	dir     string // temporary; empty: none yet
}

// remove removes what was downloaded and unpacked.
func (d *debugSource) remove() error {
	if d.dir == "" {
		return nil
	}
	return os.RemoveAll(d.dir)
}

// open opens the vmlinux that the flags ask for; nil: they ask for none.
func (d *debugSource) open(ctx context.Context) (*os.File, error) {
	name := d.flags.String("vmlinux")
	if d.flags.Bool("fetch") {
		var err error
		if name, err = d.fetch(ctx); err != nil {
			return nil, err
		}
	}
	if name == "" {
		return nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("--vmlinux: %w", err)
	}
	magic := make([]byte, 4)
	if _, err := io.ReadFull(f, magic); err != nil || string(magic) != "!<ar" && string(magic) != "\xed\xab\xee\xdb" {
		return f, nil
	}
	f.Close()
	return d.unpack(ctx, name)
}

// scratch makes the temporary folder.
func (d *debugSource) scratch() (err error) {
	if d.dir == "" {
		d.dir, err = os.MkdirTemp("", "shotglass-symbols")
	}
	return err
}

// fetch has the package manager of this machine download the package with the kernel's debug information, and check its
// signature, as modules build does with headers.
func (d *debugSource) fetch(ctx context.Context) (string, error) {
	k := kernelmodules.Kernel{Release: d.flags.String("release"), Machine: d.flags.String("machine")}
	if k.Release == "" {
		k.Release = d.release
	}
	if k.Release == "" {
		return "", usagef("--fetch: of which kernel? --release RELEASE, as uname -r says there, or --from DIR with its banner")
	}
	if k.Machine == "" {
		k.Machine = headers.MachineOf(k.Release)
	}
	host := build.HostMachine()
	if k.Machine == "" {
		k.Machine = host
	}
	if err := d.scratch(); err != nil {
		return "", err
	}
	var p *headers.DebugPackage
	var err error
	switch {
	case headers.HaveAPT():
		d.c.info("shotglass: asking apt for the debug information of %s (%s)", k.Release, k.Machine)
		p, err = (&headers.APT{Dir: filepath.Join(d.dir, "apt"), Host: host, Sources: d.flags.String("apt-sources")}).Debug(ctx, k)
	case headers.HaveDNF():
		d.c.info("shotglass: asking dnf for the debug information of %s (%s)", k.Release, k.Machine)
		p, err = (&headers.DNF{Dir: d.dir, Host: host}).Debug(ctx, k)
	default:
		err = &headers.NoDebugError{Kernel: k}
	}
	if err != nil {
		return "", err
	}
	if err := d.room(ctx, p.Download+expectedVmlinux, "the package and the vmlinux in it take"); err != nil {
		return "", err
	}
	d.release = k.Release
	d.c.info("shotglass: downloading %s %s: %s; it holds %s, of which the vmlinux alone is unpacked, to %s",
		p.Name, p.Version, known(p.Download), known(p.Unpacked), d.dir)
	return p.Get(ctx)
}

// expectedVmlinux is what a vmlinux takes, about, before it is known, in bytes.
const expectedVmlinux = 700 << 20

// known is a size that may be unknown.
func known(n int64) string {
	if n == 0 {
		return "an unknown size"
	}
	return size(n)
}

// room makes sure that the temporary folder has room, where that can be told.
func (d *debugSource) room(ctx context.Context, n int64, what string) error {
	disk, err := sink.NewDisk(d.dir)
	if err != nil {
		return nil
	}
	if free, err := disk.Free(ctx); err == nil && free < n {
		return &hinted{fmt.Errorf("%s has %d MiB left, and %s %d MiB", d.dir, free>>20, what, n>>20), "name a folder with room in TMPDIR"}
	}
	return nil
}

// unpack takes the vmlinux alone out of a package.
func (d *debugSource) unpack(ctx context.Context, name string) (*os.File, error) {
	p, err := archive.OpenPackage(name)
	if err != nil {
		return nil, err
	}
	if err := d.scratch(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.dir, "vmlinux"), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	d.c.info("shotglass: unpacking the vmlinux of %s %s, sha256 %s", p.Name, p.Version, p.SHA256)
	inside, n, err := p.Extract(ctx, func(file string, bytes int64) (bool, error) {
		switch {
		case !headers.IsVmlinux(file, d.release):
			return false, nil
		case bytes > maxVmlinux:
			return false, fmt.Errorf("%s has %d bytes, as no kernel's", file, bytes)
		}
		return true, d.room(ctx, bytes, "the vmlinux takes")
	}, f)
	if err != nil {
		f.Close()
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%s holds no vmlinux%s with debug information", name, strings.TrimRight(" of "+d.release, " of"))
		}
		return nil, err
	}
	d.c.info("shotglass: %s, %s", inside, size(n))
	return f, nil
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options says how a guest is booted. The zero value is a good guest.
type Options struct {
	// MemoryMiB is the guest's memory; 0 is 192: small images keep tests short,
	// and Debian still has 120 MiB free.
	MemoryMiB int
	// CPUs is the number of processors; 0 is 2, so that LiME and sshd run at once.
	CPUs int
	// KernelArgs is appended to the kernel's command line.
	KernelArgs string
	// LogDir is where console.log goes; empty is a folder that Close removes.
	LogDir string
	// Timeout bounds Boot; 0 is 3 minutes. An idle machine needs 10 seconds.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.MemoryMiB == 0 {
		o.MemoryMiB = 192
	}
	if o.CPUs == 0 {
		o.CPUs = 2
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Minute
	}
	return o
}

// Guest is a running guest. Its methods may be called from any goroutine.
type Guest struct {
	Lab       *Lab
	MemoryMiB int

	dir     string // removed by Close
	console string
	addr    string
	machine *machine
	qmp     *qmp

	mu     sync.Mutex
	closed bool
	log    string // the console's last state, once closed
}

// Boot starts a guest of the lab that Open finds. See Lab.Boot.
func Boot(ctx context.Context, o Options) (*Guest, error) {
	l, err := Open()
	if err != nil {
		return nil, err
	}
	return l.Boot(ctx, o)
}

// Boot starts a guest and returns once it let root log in with a key. QEMU ends
// with Close, and with this process however that ends. When ctx is cancelled or
// the guest doesn't come up, nothing is left running and the error has the end
// of the console.
func (l *Lab) Boot(ctx context.Context, o Options) (*Guest, error) {
	o = o.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()

	dir, err := os.MkdirTemp("", "shotglass-lab-")
	if err != nil {
		return nil, fmt.Errorf("boot the guest: %w", err)
	}
	g := &Guest{Lab: l, MemoryMiB: o.MemoryMiB, dir: dir, console: filepath.Join(dir, "console.log")}
	if o.LogDir != "" {
		g.console = filepath.Join(o.LogDir, "console.log")
	}
	if err := g.start(ctx, o); err != nil {
		err = fmt.Errorf("boot the guest: %w%s", err, g.tail())
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Guest) start(ctx context.Context, o Options) error {
	if o.LogDir != "" {
		if err := os.MkdirAll(o.LogDir, 0o755); err != nil {
			return err
		}
	}
	m, conn, err := startQEMU(g.Lab.arguments(o, g.console))
	if err != nil {
		return err
	}
	g.machine = m
	if g.qmp, err = newQMP(ctx, conn); err != nil {
		return m.explain(ctx, err)
	}
	if g.addr, err = g.forwarded(ctx); err != nil {
		return m.explain(ctx, err)
	}
	return g.Ready(ctx)
}

// arguments is QEMU's command line. QEMU chooses the loopback port itself, which
// Boot then asks for: no other process can take it in between.
func (l *Lab) arguments(o Options, console string) []string {
	return []string{
		"-no-user-config", "-nodefaults", "-nographic",
		"-accel", "tcg,thread=multi",
		// Without la57, which Volatility does not read.
		"-cpu", "max,-la57",
		"-smp", fmt.Sprint(o.CPUs),
		"-m", fmt.Sprint(o.MemoryMiB),
		"-kernel", filepath.Join(l.guest, "vmlinuz"),
		"-initrd", filepath.Join(l.guest, "initrd.img"),
		// Mitigations cost an emulated processor much and protect nothing here.
		"-append", strings.TrimSpace("root=/dev/vda console=ttyS0 net.ifnames=0 mitigations=off audit=0 " +
			"loglevel=5 systemd.show_status=0 " + o.KernelArgs),
		"-drive", "if=virtio,format=raw,snapshot=on,file=" + strings.ReplaceAll(filepath.Join(l.guest, "root.img"), ",", ",,"),
		"-netdev", "user,id=" + netdev + ",restrict=on,hostfwd=tcp:127.0.0.1:0-:22",
		"-device", "virtio-net-pci,romfile=,netdev=" + netdev,
		"-device", "virtio-rng-pci",
		"-chardev", "file,id=console,path=" + strings.ReplaceAll(console, ",", ",,"),
		"-serial", "chardev:console",
		"-chardev", "socket,id=qmp,fd=3",
		"-mon", "chardev=qmp,mode=control",
	}
}

// Addr is the guest's sshd: "127.0.0.1:PORT".
func (g *Guest) Addr() string { return g.addr }

// Port is the port of Addr.
func (g *Guest) Port() string {
	_, port, _ := net.SplitHostPort(g.addr)
	return port
}

// ConsoleLog returns what the guest printed on its serial console, also after
// Close.
func (g *Guest) ConsoleLog() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return g.log
	}
	b, _ := os.ReadFile(g.console)
	return string(b)
}

// tail is the end of the console, for an error's text.
func (g *Guest) tail() string {
	b := bytes.TrimSpace([]byte(g.ConsoleLog()))
	if len(b) == 0 {
		return ""
	}
	if len(b) > 2000 {
		b = b[len(b)-2000:]
	}
	return "\nthe console ends:\n" + string(b)
}

// Close ends the guest without a shutdown, and returns when QEMU is gone. A
// second call does nothing.
func (g *Guest) Close() error {
	log := g.ConsoleLog()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.closed, g.log = true, log
	if g.qmp != nil {
		g.qmp.close()
	}
	if g.machine != nil {
		g.machine.kill()
	}
	if err := os.RemoveAll(g.dir); err != nil {
		return fmt.Errorf("close the guest: %w", err)
	}
	return nil
}

package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
	// LowMiB of the memory lie below 4 GiB, the rest above; 0 is all. Only for x86-64.
	LowMiB int
	// FiveLevel gives the processor five-level page tables (la57), which Volatility
	// does not read. Only for x86-64.
	FiveLevel bool
	// ModuleKey is a certificate in DER that the kernel trusts for modules: the guest boots
	// through UEFI firmware that has it. Only for x86-64.
	ModuleKey []byte
	// KernelArgs is appended to the kernel's command line.
	KernelArgs string
	// Disk is what a guest of Workstation boots from, and writes: a file in raw format. Before it, the machine finds Others.
	Disk   string
	Others []string
	// Loopback lets the guest reach ports of this machine's loopback interface, at 10.0.2.2; and with it, if nothing in the guest forbids it, other machines.
	Loopback bool
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

	banks   []bank
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
	g := &Guest{Lab: l, MemoryMiB: o.MemoryMiB, banks: l.banks(o), dir: dir, console: filepath.Join(dir, "console.log")}
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
	args := g.Lab.arguments(o, g.console)
	if o.ModuleKey != nil {
		more, err := firmware(g.dir, o.ModuleKey)
		if err != nil {
			return err
		}
		args = append(args, more...)
	}
	m, conn, err := startQEMU(g.Lab.qemu(), args)
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

//go:build e2e

package bench

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// netEnv says that the process has a network of its own.
const netEnv = "SHOTGLASS_BENCH_NETWORK"

// inOwnNetwork runs the tests again in a network namespace of their own, if it may: devices can be
// made there without touching the machine's, and nothing gets out. It reports whether it did.
func inOwnNetwork() (code int, done bool) {
	if os.Getenv(netEnv) != "" {
		if err := up("lo"); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1, true
		}
		return 0, false
	}
	if os.Getuid() != 0 {
		return 0, false
	}
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), netEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose end is what Pdeathsig means
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	switch exit := (*exec.ExitError)(nil); {
	case err == nil:
		return 0, true
	case errors.As(err, &exit):
		return max(1, exit.ExitCode()), true
	}
	fmt.Fprintln(os.Stderr, "bench: no network namespace, so nothing with a delay:", err)
	return 0, false
}

// up starts a device of this thread's network namespace, with more settings, which come first.
func up(name string, settings ...func(fd int, r *unix.Ifreq) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	for _, set := range append(settings, func(fd int, r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
	}) {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = set(fd, r)
		}
		if err != nil {
			return fmt.Errorf("set up %s: %w", name, err)
		}
	}
	return nil
}

func address(request uint, ip string) func(int, *unix.Ifreq) error {
	return func(fd int, r *unix.Ifreq) error {
		if err := r.SetInet4Addr(net.ParseIP(ip).To4()); err != nil {
			return err
		}
		return unix.IoctlIfreq(fd, request, r)
	}
}

func value(request uint, v uint32) func(int, *unix.Ifreq) error {
	return func(fd int, r *unix.Ifreq) error {
		r.SetUint32(v)
		return unix.IoctlIfreq(fd, request, r)
	}
}

// mtu is that of the two ends of a delayed link, and queue their length in packets: a window
// of SSH or TCP fits without loss.
const (
	mtu   = 9000
	queue = 10_000
)

// tun makes an end of a link in this thread's network namespace. The packets that are sent
// to it are read from the file, and what is written to the file is received. It goes with the file.
func tun(name, ip string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		err = up(name, value(unix.SIOCSIFMTU, mtu), value(unix.SIOCSIFTXQLEN, queue),
			address(unix.SIOCSIFADDR, ip), address(unix.SIOCSIFNETMASK, "255.255.255.252"))
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return f, nil
}

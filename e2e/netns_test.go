//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A network is what a program sees of the world in a network namespace of its own: nothing but these addresses, which are on its loopback device. Who connects
// to one is passed on to where it leads outside.
type network map[netip.AddrPort]string

// networkEnv makes this binary put itself into a network, which it describes as JSON, and then become the program that its arguments name.
const networkEnv = "SHOTGLASS_E2E_NETWORK"

// noNetwork is the exit code of who has a network namespace and may change nothing in it, as in a user namespace where AppArmor restricts these.
const noNetwork = 77

// inside is where the end of a socket pair is to which a program in a network sends its listeners.
const inside = 3

// start runs the program in the network, as start does outside.
func (n network) start(t *testing.T, env []string, args ...string) *run {
	t.Helper()
	addrs := []netip.AddrPort{}
	for a := range n {
		addrs = append(addrs, a)
	}
	text, err := json.Marshal(addrs)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	here, there := os.NewFile(uintptr(pair[0]), "network"), os.NewFile(uintptr(pair[1]), "network")
	defer here.Close()
	refuse := t.Skipf
	if os.Geteuid() == 0 { // as in CI, where nothing may go unseen
		refuse = t.Fatalf
	}
	var r *run
	for _, flags := range []uintptr{unix.CLONE_NEWNET, unix.CLONE_NEWNET | unix.CLONE_NEWUSER} { // who is not root may mostly make one all the same
		cmd := exec.Command("/proc/self/exe", append([]string{program}, args...)...)
		cmd.ExtraFiles = []*os.File{there}
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
		if flags&unix.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		if r, err = begin(t, cmd, append(slices.Clone(env), networkEnv+"="+string(text))); !mayNot(err) {
			break
		}
	}
	there.Close()
	if mayNot(err) {
		refuse("this machine lets us make no network namespace, as root or in a user namespace: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		l, err := takeListener(here)
		if err != nil {
			if r.code(time.Minute) == noNetwork {
				refuse("this machine lets us change nothing in a network namespace: %s", r.stderr.String())
			}
			t.Fatalf("the network has no %s: %v\n%s", a, err, r.stderr.String())
		}
		passOn(t, l, n[a])
	}
	return r
}

// mayNot reports whether a namespace was refused: none may be made here, or (ENOSPC) no more of them, or there are none (EINVAL).
func mayNot(err error) bool {
	return errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL)
}

// takeListener takes a listener from a program in a network.
func takeListener(from *os.File) (net.Listener, error) {
	oob := make([]byte, unix.CmsgSpace(4))
	_, k, _, _, err := unix.Recvmsg(int(from.Fd()), make([]byte, 1), oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, err
	}
	messages, err := unix.ParseSocketControlMessage(oob[:k])
	if err != nil || len(messages) != 1 {
		return nil, fmt.Errorf("the program there ended (%w)", errors.Join(io.ErrUnexpectedEOF, err))
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fds[0]), "listener")
	defer f.Close()
	return net.FileListener(f)
}

// enterNetwork makes the network that the environment describes, if there is one, and never returns then.
func enterNetwork() {
	text, there := os.LookupEnv(networkEnv)
	if !there {
		return
	}
	err := makeNetwork(text)
	made := err == nil
	if made {
		env := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, networkEnv+"=") })
		err = os.NewSyscallError("exec", unix.Exec(os.Args[1], os.Args[1:], env))
	}
	fmt.Fprintln(os.Stderr, "make a network:", err)
	if !made && errors.Is(err, syscall.EPERM) {
		os.Exit(noNetwork)
	}
	os.Exit(1)
}

// makeNetwork gives the loopback device of this namespace its addresses, and sends a listener for each out.
func makeNetwork(text string) error {
	var addrs []netip.AddrPort
	if err := json.Unmarshal([]byte(text), &addrs); err != nil {
		return err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(name string, request uint, fill func(*unix.Ifreq)) error {
		r, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		fill(r)
		return os.NewSyscallError("ioctl", unix.IoctlIfreq(s, request, r))
	}
	if err := set("lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING) }); err != nil {
		return err
	}
	for i, a := range addrs {
		if !a.Addr().IsLoopback() {
			if err := set(fmt.Sprintf("lo:%d", i), unix.SIOCSIFADDR, func(r *unix.Ifreq) { r.SetInet4Addr(a.Addr().AsSlice()) }); err != nil { //nolint:errcheck // it has four bytes
				return fmt.Errorf("%s: %w", a, err)
			}
			if err := set(fmt.Sprintf("lo:%d", i), unix.SIOCSIFNETMASK, func(r *unix.Ifreq) { r.SetInet4Addr([]byte{255, 255, 255, 255}) }); err != nil { //nolint:errcheck // so does this
				return fmt.Errorf("%s: %w", a, err)
			}
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(a))
		if err != nil {
			return err
		}
		f, err := l.File()
		if err != nil {
			return err
		}
		if err := unix.Sendmsg(inside, []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
	}
	unix.CloseOnExec(inside)
	return nil
}

// passOn passes on what connects to a listener, until the test ends.
func passOn(t *testing.T, l net.Listener, to string) {
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				far, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer far.Close()
				wg.Go(func() { io.Copy(far, c); far.Close() })
				io.Copy(c, far)
			})
		}
	})
}

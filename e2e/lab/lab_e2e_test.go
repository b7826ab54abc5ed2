//go:build e2e

package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func boot(t *testing.T, o Options) *Guest {
	t.Helper()
	g, err := Boot(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("console:\n%s", g.ConsoleLog())
		}
	})
	return g
}

func mustSSH(t *testing.T, g *Guest, user, script string) string {
	t.Helper()
	out, err := g.SSH(t.Context(), user, script)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// TestGuest runs everything on one guest: booting is what costs.
func TestGuest(t *testing.T) {
	g := boot(t, Options{KernelArgs: "loglevel=7 lab.test=1"})
	t.Run("system", func(t *testing.T) { testSystem(t, g) })
	t.Run("logins", func(t *testing.T) { testLogins(t, g) })
	t.Run("sudo", func(t *testing.T) { testSudo(t, g) })
	t.Run("capture", func(t *testing.T) { testCapture(t, g) })
	t.Run("other module", func(t *testing.T) { testOtherModule(t, g) })
	t.Run("link", func(t *testing.T) { testLink(t, g) })
	t.Run("pause", func(t *testing.T) { testPause(t, g) })
	t.Run("dump", func(t *testing.T) { testDump(t, g) })
	t.Run("reset", func(t *testing.T) { testReset(t, g) })
	t.Run("close", func(t *testing.T) { testClose(t, g) })
}

func testSystem(t *testing.T, g *Guest) {
	out := mustSSH(t, g, Root, `. /etc/os-release; echo "$ID $VERSION_ID"; uname -r; cat /proc/cmdline; systemctl --failed --no-legend`)
	lines := strings.Split(out, "\n")
	if len(lines) != 3 || lines[0] != "debian 12" || lines[1] != g.Lab.KernelRelease || !strings.HasSuffix(lines[2], " lab.test=1") {
		t.Errorf("the guest says %q, want Debian 12, %s, our argument and no failed unit", lines, g.Lab.KernelRelease)
	}
	if !strings.Contains(g.ConsoleLog(), "Linux version "+g.Lab.KernelRelease) {
		t.Errorf("the console lacks the kernel's banner:\n%s", g.ConsoleLog())
	}
}

func testLogins(t *testing.T, g *Guest) {
	for _, user := range []string{Root, Ops, OpsPW, NoSudo} {
		if got := mustSSH(t, g, user, "id -un"); got != user {
			t.Errorf("logged in as %q, want %q", got, user)
		}
	}
	login := func(name string, auth ssh.AuthMethod) {
		c, err := g.DialWith(t.Context(), OpsPW, auth)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		c.Close()
	}
	for _, path := range []string{g.Lab.KeyRSA, g.Lab.KeyECDSA, g.Lab.KeyEncrypted} {
		pem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.ParsePrivateKey(pem)
		if missing := (*ssh.PassphraseMissingError)(nil); errors.As(err, &missing) != (path == g.Lab.KeyEncrypted) {
			t.Errorf("parse %s: %v", path, err)
		}
		if path == g.Lab.KeyEncrypted {
			signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(Passphrase))
		}
		if err != nil {
			t.Fatal(err)
		}
		login(filepath.Base(path), ssh.PublicKeys(signer))
	}
	login("password", ssh.Password(Password))
	login("keyboard-interactive", ssh.KeyboardInteractive(func(_, _ string, questions []string, _ []bool) ([]string, error) {
		answers := make([]string, len(questions))
		for i := range answers {
			answers[i] = Password
		}
		return answers, nil
	}))

	// The known_hosts file is one that the library accepts the guest by.
	path := filepath.Join(t.TempDir(), "known_hosts")
	if err := g.KnownHosts(path); err != nil {
		t.Fatal(err)
	}
	check, err := knownhosts.New(path)
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := net.ResolveTCPAddr("tcp", g.Addr())
	for _, key := range g.Lab.HostKeys {
		if err := check(g.Addr(), addr, key); err != nil {
			t.Errorf("%s: %v", key.Type(), err)
		}
	}
}

func testSudo(t *testing.T, g *Guest) {
	if got := mustSSH(t, g, Ops, "sudo -n id -u"); got != "0" {
		t.Errorf("sudo of ops is uid %q", got)
	}
	if out, err := g.SSH(t.Context(), OpsPW, "sudo -n id -u"); err == nil {
		t.Errorf("opspw could sudo without a password: %q", out)
	}
	if got := mustSSH(t, g, OpsPW, "echo '"+Password+"' | sudo -S -p '' id -u"); got != "0" {
		t.Errorf("sudo of opspw is uid %q", got)
	}
	if out, err := g.SSH(t.Context(), NoSudo, "echo '"+Password+"' | sudo -S -p '' id -u"); err == nil {
		t.Errorf("nosudo could sudo: %q", out)
	}
}

// upload writes a local file into the guest.
func upload(t *testing.T, g *Guest, user, from, to string) {
	t.Helper()
	c, err := g.Dial(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.Stdin = f
	if err := s.Run("cat >" + to); err != nil {
		t.Fatalf("upload %s: %v", from, err)
	}
}

// testCapture is a capture by hand: what the tool automates must be possible.
func testCapture(t *testing.T, g *Guest) {
	upload(t, g, Ops, g.Lab.Module, "/tmp/lime.ko")
	c, err := g.Dial(t.Context(), Ops)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Start("sudo insmod /tmp/lime.ko path=tcp:4444 format=lime localhostonly=1 timeout=0"); err != nil {
		t.Fatal(err)
	}
	stream := dialLime(t, c)
	defer stream.Close()

	start := time.Now()
	ranges, size := readLime(t, stream)
	if err := s.Wait(); err != nil {
		t.Errorf("insmod: %v", err)
	}
	t.Logf("%d bytes at %.1f MB/s", size, float64(size)/1e6/time.Since(start).Seconds())
	want := mustSSH(t, g, Ops, `sudo grep ' : System RAM$' /proc/iomem | cut -d ' ' -f 1`)
	if got := strings.Join(ranges, "\n"); got != want {
		t.Errorf("ranges:\n%s\nwant those of /proc/iomem:\n%s", got, want)
	}
	if got := mustSSH(t, g, Ops, "sudo rmmod lime && lsmod | grep -c ^lime || true"); got != "0" {
		t.Errorf("after rmmod %q modules called lime", got)
	}
}

// dialLime connects as soon as LiME listens: a refused connection is how one waits
// for it without being taken for its client.
func dialLime(t *testing.T, c *ssh.Client) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		stream, err := c.DialContext(t.Context(), "tcp", "127.0.0.1:4444")
		if err == nil {
			return stream
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// readLime reads an image to its end: the ranges as /proc/iomem prints them and
// the size of everything.
func readLime(t *testing.T, r io.Reader) (ranges []string, size int64) {
	t.Helper()
	for {
		var h struct {
			Magic, Version       uint32
			Start, End, Reserved uint64
		}
		err := binary.Read(r, binary.LittleEndian, &h)
		if err == io.EOF {
			return ranges, size
		}
		if err != nil || h.Magic != 0x4C694D45 || h.Version != 1 || h.End < h.Start {
			t.Fatalf("after %d bytes: header %+v, %v", size, h, err)
		}
		n := int64(h.End - h.Start + 1)
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			t.Fatalf("in range %x-%x: %v", h.Start, h.End, err)
		}
		ranges = append(ranges, fmt.Sprintf("%08x-%08x", h.Start, h.End))
		size += 32 + n
	}
}

func testOtherModule(t *testing.T, g *Guest) {
	upload(t, g, Root, g.Lab.OtherModule, "/root/other.ko")
	_, err := g.SSH(t.Context(), Root, "insmod /root/other.ko path=tcp:4444 format=lime")
	if err == nil || !strings.Contains(err.Error(), "Invalid module format") {
		t.Errorf("insmod of another kernel's module: %v, want it refused for its format", err)
	}
}

func testLink(t *testing.T, g *Guest) {
	if err := g.SetLink(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	if _, err := g.SSH(ctx, Root, "true"); err == nil {
		t.Error("logged in with the cable pulled")
	}
	if err := g.SetLink(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := g.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func testPause(t *testing.T, g *Guest) {
	if err := g.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := g.SSH(ctx, Root, "true"); err == nil {
		t.Error("logged in to a paused guest")
	}
	if err := g.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Ready(t.Context()); err != nil {
		t.Error(err)
	}
}

func testDump(t *testing.T, g *Guest) {
	path := filepath.Join(t.TempDir(), "memory")
	if err := g.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := g.Dump(t.Context(), path)
	if err := errors.Join(err, g.Resume(t.Context())); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) != g.MemoryMiB<<20 || !strings.Contains(string(b), "Linux version "+g.Lab.KernelRelease) {
		t.Errorf("the dump has %d bytes, want %d with the kernel's banner", len(b), g.MemoryMiB<<20)
	}
}

func testReset(t *testing.T, g *Guest) {
	const id = "cat /proc/sys/kernel/random/boot_id"
	before := mustSSH(t, g, Root, "touch /root/kept; sync; "+id)
	if err := g.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := g.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := mustSSH(t, g, Root, "ls /root/kept >&2 && "+id); after == before {
		t.Error("the guest did not reboot")
	}
}

func testClose(t *testing.T, g *Guest) {
	pid := g.machine.cmd.Process.Pid
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("QEMU is still there: %v", err)
	}
}

// TestKilledParent: a killed test run must not leave guests behind.
func TestKilledParent(t *testing.T) {
	if os.Getenv("LAB_TEST_PARENT") != "" {
		g := boot(t, Options{})
		fmt.Printf("qemu=%d\n", g.machine.cmd.Process.Pid)
		select {}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledParent$")
	cmd.Env = append(os.Environ(), "LAB_TEST_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscanf(out, "qemu=%d\n", &pid)
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// Its new parent may not reap it: a zombie is dead enough.
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("QEMU outlived its parent: %s", state)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// TestBootFails: the error names the cause, and nothing is left running.
func TestBootFails(t *testing.T) {
	if _, err := Boot(t.Context(), Options{MemoryMiB: -1}); !errors.Is(err, errQEMU) {
		t.Errorf("with impossible memory: %v, want QEMU's own error", err)
	}
	_, err := Boot(t.Context(), Options{KernelArgs: "rdinit=/none loglevel=7", Timeout: 8 * time.Second})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a guest that can't boot: %v, want a deadline exceeded", err)
	}
	if err != nil && !strings.Contains(err.Error(), "the console ends") {
		t.Errorf("the error lacks the console: %v", err)
	}
}

//go:build unix

package transporttest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/shotglass-ir/shotglass/transport"
	"golang.org/x/crypto/ssh"
)

const sshdPath = "/usr/sbin/sshd"

// A Daemon is the machine's own OpenSSH server on the loopback address, with
// configuration and keys in a temporary folder. The login is the user who
// runs the test.
type Daemon struct {
	HostKey ssh.Signer
	KeyFile string // accepted
	Dir     string // of its files

	listener net.Listener
	user     string
	wg       sync.WaitGroup
	mu       sync.Mutex
	procs    map[*exec.Cmd]struct{}
	closed   bool
}

// OpenSSHD starts the real sshd, with more lines for its configuration, which
// stand first and so win. It skips the test where there is none.
func OpenSSHD(tb testing.TB, config ...string) *Daemon {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return ServeOpenSSHD(tb, l, config...)
}

// ServeOpenSSHD is OpenSSHD on a listener, which it closes: wherever that listens, it must not be
// reached from other machines.
//
// The test listens and hands each connection to an "sshd -i", so that there is
// neither a port to guess nor a start to wait for.
func ServeOpenSSHD(tb testing.TB, l net.Listener, config ...string) *Daemon {
	tb.Helper()
	tb.Cleanup(func() { l.Close() })
	if _, err := os.Stat(sshdPath); err != nil {
		tb.Skipf("no %s: install openssh-server to test against the real one", sshdPath)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		tb.Fatal(err)
	}
	d := &Daemon{Dir: tb.TempDir(), user: me.Username, procs: map[*exec.Cmd]struct{}{}}
	hostKey, hostFile := NewKey(tb)
	client, clientFile := NewKey(tb)
	d.HostKey, d.KeyFile = hostKey, clientFile
	authorized := filepath.Join(d.Dir, "authorized_keys")
	if err := os.WriteFile(authorized, ssh.MarshalAuthorizedKey(client.PublicKey()), 0o600); err != nil {
		tb.Fatal(err)
	}
	lines := append(config,
		"HostKey "+hostFile, "AuthorizedKeysFile "+authorized, "StrictModes no", "UsePAM no", "PidFile none",
		"PermitRootLogin yes", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
		"AllowTcpForwarding yes", "PrintMotd no", "LogLevel VERBOSE")
	file := filepath.Join(d.Dir, "sshd_config")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command(sshdPath, "-t", "-f", file).CombinedOutput(); err != nil {
		tb.Fatalf("sshd -t: %v: %s", err, out)
	}
	d.listener = l
	log, err := os.Create(filepath.Join(d.Dir, "log"))
	if err != nil {
		tb.Fatal(err)
	}
	d.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if err := d.serve(c.(*net.TCPConn), file, log); err != nil {
				tb.Errorf("sshd: %v", err)
			}
		}
	})
	tb.Cleanup(func() {
		d.Close()
		log.Close()
		if tb.Failed() {
			text, _ := os.ReadFile(log.Name())
			tb.Logf("sshd said:\n%s", text)
		}
	})
	return d
}

func (d *Daemon) serve(c *net.TCPConn, config string, log *os.File) error {
	defer c.Close()
	f, err := c.File()
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(sshdPath, "-i", "-e", "-f", config)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, log
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	d.procs[cmd] = struct{}{}
	d.wg.Go(func() {
		cmd.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.procs, cmd)
	})
	return nil
}

// Kill ends all connections with their sshd processes.
func (d *Daemon) Kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := range d.procs {
		p.Process.Kill()
	}
}

// Close ends the server.
func (d *Daemon) Close() {
	d.listener.Close()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.Kill()
	d.wg.Wait()
}

// Addr is where the server listens.
func (d *Daemon) Addr() string { return d.listener.Addr().String() }

// Target is this server with its key pinned and a key that it accepts.
func (d *Daemon) Target() transport.Target {
	return target(d.Addr(), d.user, d.KeyFile, d.HostKey.PublicKey())
}

//go:build unix

package transport_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

type startSignal chan struct{}

func (s startSignal) Write(p []byte) (int, error) {
	select {
	case <-s:
	default:
		close(s)
	}
	return len(p), nil
}

// runBlocked starts a command that waits for its standard input.
func runBlocked(t *testing.T, ctx context.Context, c transport.Conn) chan error {
	t.Helper()
	started, result := make(startSignal), make(chan error, 1)
	r, w := io.Pipe()
	t.Cleanup(func() { w.Close() })
	go func() {
		result <- c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", "echo on; cat"}, Stdin: r, Stdout: started})
	}()
	<-started
	return result
}

func TestKilledConnection(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	c := dial(t, transporttest.Dialer(t), s.Target())
	result := runBlocked(t, t.Context(), c)
	s.Kill()
	if err := <-result; !errors.Is(err, transport.ErrNoExitStatus) {
		t.Errorf("got %v", err)
	}
	<-c.Done()
	if c.Err() == nil {
		t.Error("no reason")
	}
}

func TestNoExitStatus(t *testing.T) {
	s := (&transporttest.Server{Exec: func(string, io.Reader, io.Writer, io.Writer) int { return -1 }}).Start(t)
	c := dial(t, transporttest.Dialer(t), s.Target())
	if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"x"}}); !errors.Is(err, transport.ErrNoExitStatus) {
		t.Errorf("got %v", err)
	}
}

func TestStall(t *testing.T) {
	s := new(transporttest.Server).Start(t)
	d := transporttest.Dialer(t)
	d.KeepAlive = time.Millisecond // many are missed
	c := dial(t, d, s.Target())
	run, cancel := context.WithCancel(t.Context())
	result := runBlocked(t, run, c)
	s.Stall()
	short, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := c.Ping(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ping over a stalled link: %v", err)
	}
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while stalled: %v", err)
	}
	if _, err := c.DialTCP(run, "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("DialTCP while stalled: %v", err)
	}
	if c.Err() != nil {
		t.Fatalf("missed keepalives ended the connection: %v", c.Err())
	}
	s.Resume()
	if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"true"}}); err != nil {
		t.Errorf("after the stall: %v", err)
	}
	s.Stall()
	c.Close() // must not hang
}

func TestForwardingDenied(t *testing.T) {
	inProcess := (&transporttest.Server{NoForwarding: true}).Start(t)
	c := dial(t, transporttest.Dialer(t), inProcess.Target())
	if _, err := c.DialTCP(t.Context(), "127.0.0.1:1"); !errors.Is(err, transport.ErrForwardingDenied) {
		t.Errorf("got %v", err)
	}
	t.Run("OpenSSH", func(t *testing.T) {
		d := transporttest.OpenSSHD(t, "AllowTcpForwarding no")
		c := dial(t, transporttest.Dialer(t), d.Target())
		if _, err := c.DialTCP(t.Context(), "127.0.0.1:1"); !errors.Is(err, transport.ErrForwardingDenied) {
			t.Errorf("got %v", err)
		}
	})
}

// silent accepts connections and says nothing.
func silent(t *testing.T) transport.Target {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	return transport.Target{Name: "silent", Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "u",
		Auth: transport.Auth{NoAgent: true}, HostKey: transport.HostKeyPolicy{InsecureIgnore: true}, NoJumps: true}
}

func TestDialTimeout(t *testing.T) {
	before := transporttest.Goroutines()
	d := transporttest.Dialer(t)
	d.DialTimeout = 30 * time.Millisecond
	if _, err := d.Dial(t.Context(), silent(t)); !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	target := silent(t)
	target.ProxyCommand = "sleep 1000"
	if _, err := d.Dial(t.Context(), target); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("proxy command: %v", err)
	}
	s := new(transporttest.Server).Start(t)
	behind := silent(t)
	behind.Jumps = []transport.Target{s.Target()}
	d.DialTimeout = time.Second
	if _, err := d.Dial(t.Context(), behind); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("behind a jump host: %v", err)
	}
	s.Close()
	transporttest.NoLeak(t, before)
}

func TestDialCancel(t *testing.T) {
	before := transporttest.Goroutines()
	ctx, cancel := context.WithCancel(t.Context())
	s := new(transporttest.Server).Start(t)
	target := s.Target()
	_, key := transporttest.NewKey(t)
	target.Auth.KeyFiles = []string{key}
	asked := make(chan struct{})
	s.Close()
	s = (&transporttest.Server{Configure: acceptPassword("pw")}).Start(t)
	target = s.Target()
	target.Auth.Password = func(ctx context.Context, _ string) ([]byte, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	}
	go func() {
		<-asked
		cancel()
	}()
	if _, err := transporttest.Dialer(t).Dial(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	s.Close()
	transporttest.NoLeak(t, before)
}

func TestJumpHostError(t *testing.T) {
	first, last := (&transporttest.Server{NoForwarding: true}).Start(t), new(transporttest.Server).Start(t)
	target := last.Target()
	target.Jumps = []transport.Target{first.Target()}
	if _, err := transporttest.Dialer(t).Dial(t.Context(), target); !errors.Is(err, transport.ErrForwardingDenied) {
		t.Errorf("got %v", err)
	}
	if last.Seen() != 0 {
		t.Error("the target was dialled directly")
	}
	target.Jumps[0].HostKey.Fingerprints = last.Target().HostKey.Fingerprints
	_, err := transporttest.Dialer(t).Dial(t.Context(), target)
	if _, ok := errors.AsType[*transport.HostKeyError](err); !ok || !strings.Contains(err.Error(), "jump host") {
		t.Errorf("got %v", err)
	}
}

func TestThreeJumps(t *testing.T) {
	before := transporttest.Goroutines()
	var jumps []transport.Target
	var servers []*transporttest.Server
	for range 4 {
		s := new(transporttest.Server).Start(t)
		servers = append(servers, s)
		jumps = append(jumps, s.Target())
	}
	target := jumps[3]
	target.Jumps = jumps[:3]
	c := dial(t, transporttest.Dialer(t), target)
	if got := c.Info().Jumps; len(got) != 3 || got[0].Addr != servers[0].Addr() || got[2].HostKeyTrust != "pinned" {
		t.Errorf("got %+v", got)
	}
	servers[1].Stall()
	c.Close() // not held up by a stall on the way
	for _, s := range servers {
		s.Close()
	}
	transporttest.NoLeak(t, before)
}

func TestProxyCommand(t *testing.T) {
	if os.Getenv("SHOTGLASS_PROXY") != "" {
		return
	}
	s := new(transporttest.Server).Start(t)
	dir := t.TempDir()
	target := s.Target()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	pid := filepath.Join(dir, "pid")
	target.ProxyCommand = "env SHOTGLASS_PROXY=%h:%p SHOTGLASS_PID=" + pid + " " + exe
	c := dial(t, transporttest.Dialer(t), target)
	var out bytes.Buffer
	if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"echo", "hi"}, Stdout: &out}); err != nil || out.String() != "hi\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
	if c.Info().ProxyCommand == "" || c.Info().RemoteAddr != "" {
		t.Errorf("info %+v", c.Info())
	}
	c.Close()
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(string(text))
	if p, err := os.FindProcess(n); err == nil && p.Signal(nil0) == nil {
		t.Errorf("process %d still runs", n)
	}

	target.ProxyCommand = "sh -c 'echo no route >&2; exit 7'"
	_, err = transporttest.Dialer(t).Dial(t.Context(), target)
	if err == nil || !strings.Contains(err.Error(), `no route`) || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
	if _, err := exec.LookPath("/bin/sh"); err != nil {
		t.Skip("no /bin/sh")
	}
}

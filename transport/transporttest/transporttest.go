// Package transporttest checks implementations of transport.Conn, and lends
// SSH servers to the tests of packages that need a target: Server lives in the
// test process and knows faults, OpenSSHD is the real one.
package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// patience bounds waits for what must happen soon.
const patience = 20 * time.Second

// Test checks the contract of transport.Conn. The target has a POSIX shell and
// is this machine. The connections that newConn returns are closed by Test.
func Test(t *testing.T, newConn func(t *testing.T) transport.Conn) {
	for _, test := range []struct {
		name string
		f    func(*testing.T, context.Context, transport.Conn)
	}{
		{"argv", testArgv},
		{"exit", testExit},
		{"stderr tail", testStderrTail},
		{"signal", testSignal},
		{"stdin", testStdin},
		{"stdin blocked", testStdinBlocked},
		{"stdin fails", testStdinFails},
		{"big output", testBigOutput},
		{"writer fails", testWriterFails},
		{"cancel", testCancel},
		{"cancelled before", testCancelledBefore},
		{"concurrent", testConcurrent},
		{"dial echo", testDialEcho},
		{"dial refused", testDialRefused},
		{"dial name", testDialName},
		{"info and ping", testInfo},
		{"close", testClose},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c := newConn(t)
			defer c.Close()
			test.f(t, ctx, c)
		})
	}
	t.Run("no goroutine left", func(t *testing.T) {
		before := goroutines()
		c := newConn(t)
		if err := c.Run(t.Context(), &transport.Cmd{Argv: []string{"true"}}); err != nil {
			t.Fatal(err)
		}
		c.Close()
		NoLeak(t, before)
	})
}

// NoLeak waits until the process has no more goroutines of package transport
// and below than before; see Goroutines.
func NoLeak(tb testing.TB, before int) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for goroutines() > before {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			tb.Fatalf("%d goroutines, had %d:\n%s", goroutines(), before, buf[:runtime.Stack(buf, true)])
		}
		runtime.Gosched()
	}
}

// Goroutines counts the goroutines that run SSH code, for NoLeak.
func Goroutines() int { return goroutines() }

func goroutines() int {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	n := 0
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, "x/crypto/ssh") || strings.Contains(g, "shotglass/transport.") {
			n++
		}
	}
	return n
}

func output(t *testing.T, ctx context.Context, c transport.Conn, argv ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := c.Run(ctx, &transport.Cmd{Argv: argv, Stdout: &out}); err != nil {
		t.Fatalf("run %q: %v", argv, err)
	}
	return out.String()
}

// nasty are arguments that a careless quoting breaks.
var nasty = []string{
	"", " ", "plain", "two words", "'", "''", `"`, `\`, `\\'`, "$HOME", "`id`", "$(id)", "a;b", "a|b", "a&b",
	"*", "?", "[a-z]", "~", "~root", "#x", "-n", "--", "a=b", "!x", "{a,b}", "<in", ">out", "a\nb", "\n", "a\tb", "\r",
	"ünïcode", "\x01\x7f", "\xff\xfe", "%s", `it's "$5"`, strings.Repeat("x", 5000),
}

func testArgv(t *testing.T, ctx context.Context, c transport.Conn) {
	got := output(t, ctx, c, append([]string{"sh", "-c", `for a; do printf '%s\0' "$a"; done`, "sh"}, nasty...)...)
	if want := strings.Join(nasty, "\x00") + "\x00"; got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if err := c.Run(ctx, &transport.Cmd{}); err == nil {
		t.Error("an empty command ran")
	}
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"echo", "a\x00b"}}); err == nil {
		t.Error("an argument with a NUL byte was sent")
	}
}

func testExit(t *testing.T, ctx context.Context, c transport.Conn) {
	for _, code := range []int{0, 1, 2, 42, 126, 127, 255} {
		err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", fmt.Sprintf("echo why >&2; exit %d", code)}})
		if code == 0 {
			if err != nil {
				t.Errorf("exit 0: %v", err)
			}
			continue
		}
		exit, ok := errors.AsType[*transport.ExitError](err)
		if !ok || exit.Code != code || exit.Stderr != "why\n" || exit.Signal != "" {
			t.Errorf("exit %d: %#v", code, err)
		}
	}
	var stderr bytes.Buffer
	err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", "echo why >&2; exit 3"}, Stderr: &stderr})
	if exit, ok := errors.AsType[*transport.ExitError](err); !ok || exit.Stderr != "" || stderr.String() != "why\n" {
		t.Errorf("with Stderr: %#v, %q", err, stderr.String())
	}
}

func testStderrTail(t *testing.T, ctx context.Context, c transport.Conn) {
	err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c",
		"i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done >&2; exit 1"}})
	exit, ok := errors.AsType[*transport.ExitError](err)
	if !ok || len(exit.Stderr) > 4<<10 || !strings.HasSuffix(exit.Stderr, "line 2999\n") {
		t.Errorf("got %v", err)
	}
}

func testSignal(t *testing.T, ctx context.Context, c transport.Conn) {
	err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", "kill -KILL $$"}})
	exit, ok := errors.AsType[*transport.ExitError](err)
	// A login shell that stays between us and the command reports 137 itself.
	if !ok || exit.Code != 137 || (exit.Signal != "" && exit.Signal != "KILL") {
		t.Errorf("got %#v", err)
	}
}

func testStdin(t *testing.T, ctx context.Context, c transport.Conn) {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<17) // a full window
	var out bytes.Buffer
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"cat"}, Stdin: bytes.NewReader(data), Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), data) {
		t.Errorf("got %d bytes of %d back", out.Len(), len(data))
	}
	if got := output(t, ctx, c, "cat"); got != "" {
		t.Errorf("nil stdin gave %q", got)
	}
}

func testStdinBlocked(t *testing.T, ctx context.Context, c transport.Conn) {
	r, w := io.Pipe()
	defer w.Close()
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"true"}, Stdin: r}); err != nil {
		t.Error(err)
	}
}

func testStdinFails(t *testing.T, ctx context.Context, c transport.Conn) {
	broken := errors.New("disk on fire")
	r, w := io.Pipe()
	w.CloseWithError(broken)
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"cat"}, Stdin: r}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func testBigOutput(t *testing.T, ctx context.Context, c transport.Conn) {
	// Twice the window on both streams at once, and stderr discarded.
	const blocks = 128
	script := fmt.Sprintf("dd if=/dev/zero bs=32768 count=%d 2>/dev/null & dd if=/dev/zero bs=32768 count=%[1]d >&2 2>/dev/null; wait", blocks)
	var out, errs counter
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", script}, Stdout: &out, Stderr: &errs}); err != nil {
		t.Fatal(err)
	}
	if out != blocks*32768 || errs != blocks*32768 {
		t.Errorf("got %d and %d bytes", out, errs)
	}
	out = 0
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", script}, Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if out != blocks*32768 {
		t.Errorf("got %d bytes", out)
	}
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func testWriterFails(t *testing.T, ctx context.Context, c transport.Conn) {
	full := errors.New("no space left")
	err := c.Run(ctx, &transport.Cmd{Argv: []string{"cat", "/dev/zero"}, Stdout: failing{full}})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if got := output(t, ctx, c, "echo", "still here"); got != "still here\n" {
		t.Errorf("afterwards: %q", got)
	}
}

func testCancel(t *testing.T, ctx context.Context, c transport.Conn) {
	fifo := strings.TrimSpace(output(t, ctx, c, "mktemp", "-d")) + "/fifo"
	output(t, ctx, c, "mkfifo", fifo)
	defer output(t, ctx, c, "rm", "-rf", strings.TrimSuffix(fifo, "/fifo"))

	r, w := io.Pipe()
	defer w.Close()
	started, out := newSignal(), new(guarded)
	run, cancel := context.WithCancelCause(ctx)
	why := errors.New("the operator left")
	result := make(chan error, 1)
	go func() {
		result <- c.Run(run, &transport.Cmd{
			Argv: []string{"sh", "-c", "echo started; cat >/dev/null; echo ended > " + fifo},
			// The first write says that the command runs.
			Stdin: r, Stdout: io.MultiWriter(out, started),
		})
	}()
	<-started.c
	cancel(why)
	err := <-result
	out.forbid()
	if !errors.Is(err, context.Canceled) || !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	// The command saw end of file, and went on.
	if got := output(t, ctx, c, "cat", fifo); got != "ended\n" {
		t.Errorf("got %q", got)
	}
	if out.late {
		t.Error("stdout was written to after Run returned")
	}
}

// A guarded writer notices writes that come too late.
type guarded struct {
	mu        sync.Mutex
	forbidden bool
	late      bool
}

func (g *guarded) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.late = g.late || g.forbidden
	return len(p), nil
}

func (g *guarded) forbid() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forbidden = true
}

type signal struct {
	once sync.Once
	c    chan struct{}
}

func newSignal() *signal { return &signal{c: make(chan struct{})} }

func (s *signal) Write(p []byte) (int, error) {
	s.once.Do(func() { close(s.c) })
	return len(p), nil
}

func testCancelledBefore(t *testing.T, ctx context.Context, c transport.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"true"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if _, err := c.DialTCP(ctx, "127.0.0.1:9"); !errors.Is(err, context.Canceled) {
		t.Errorf("DialTCP: %v", err)
	}
}

func testConcurrent(t *testing.T, ctx context.Context, c transport.Conn) {
	var wg sync.WaitGroup
	for i := range 8 { // sshd allows 10 sessions on one connection
		wg.Go(func() {
			var out bytes.Buffer
			in := strings.Repeat(fmt.Sprintf("run %d\n", i), 20000)
			if err := c.Run(ctx, &transport.Cmd{Argv: []string{"cat"}, Stdin: strings.NewReader(in), Stdout: &out}); err != nil || out.String() != in {
				t.Errorf("run %d: %v, %d bytes of %d", i, err, out.Len(), len(in))
			}
		})
	}
	wg.Wait()
}

func testDialEcho(t *testing.T, ctx context.Context, c transport.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			io.Copy(nc, nc)
			nc.Close()
		}
	}()
	dial, cancel := context.WithCancel(ctx)
	nc, err := c.DialTCP(dial, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	cancel() // must not matter any more
	if nc.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("remote address %v", nc.RemoteAddr())
	}
	data := bytes.Repeat([]byte("echo"), 1<<18)
	go func() {
		nc.Write(data)
		if h, ok := nc.(interface{ CloseWrite() error }); ok {
			h.CloseWrite()
		}
	}()
	got := make([]byte, len(data))
	if _, err := io.ReadFull(nc, got); err != nil || !bytes.Equal(got, data) {
		t.Errorf("echo: %v", err)
	}
	if n, err := nc.Read(got); err != io.EOF {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

func testDialRefused(t *testing.T, ctx context.Context, c transport.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := c.DialTCP(ctx, addr); !errors.Is(err, transport.ErrConnRefused) || errors.Is(err, transport.ErrForwardingDenied) {
		t.Errorf("got %v", err)
	}
}

func testDialName(t *testing.T, ctx context.Context, c transport.Conn) {
	for _, addr := range []string{"localhost:22", "127.0.0.1", ":22", "", "127.0.0.1:0x16"} {
		if nc, err := c.DialTCP(ctx, addr); err == nil {
			nc.Close()
			t.Errorf("%q was dialled", addr)
		}
	}
}

func testInfo(t *testing.T, ctx context.Context, c transport.Conn) {
	info := c.Info()
	if info.Target == "" || info.Addr == "" || info.User == "" || !strings.HasPrefix(info.HostKey, "SHA256:") ||
		info.HostKeyType == "" || info.HostKeyTrust == "" || info.Auth == "" || info.Cipher == "" ||
		!strings.HasPrefix(info.ServerVersion, "SSH-2.0-") || info.RTT <= 0 {
		t.Errorf("got %+v", info)
	}
	if rtt, err := c.Ping(ctx); err != nil || rtt <= 0 {
		t.Errorf("ping: %v, %v", rtt, err)
	}
}

func testClose(t *testing.T, ctx context.Context, c transport.Conn) {
	select {
	case <-c.Done():
		t.Fatal("done already")
	default:
	}
	if err := c.Err(); err != nil {
		t.Errorf("Err while alive: %v", err)
	}
	started, result := newSignal(), make(chan error, 1)
	r, w := io.Pipe()
	defer w.Close()
	go func() {
		result <- c.Run(ctx, &transport.Cmd{Argv: []string{"sh", "-c", "echo started; cat"}, Stdin: r, Stdout: started})
	}()
	<-started.c
	for range 2 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Fatal("not done after Close")
	}
	if c.Err() == nil {
		t.Error("no Err after Close")
	}
	if err := <-result; !errors.Is(err, transport.ErrNoExitStatus) {
		t.Errorf("Run during Close: %v", err)
	}
	if err := c.Run(ctx, &transport.Cmd{Argv: []string{"true"}}); err == nil {
		t.Error("Run after Close succeeded")
	}
	if _, err := c.DialTCP(ctx, "127.0.0.1:9"); err == nil {
		t.Error("DialTCP after Close succeeded")
	}
	if _, err := c.Ping(ctx); err == nil {
		t.Error("Ping after Close succeeded")
	}
}

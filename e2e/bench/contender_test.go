//go:build e2e

package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	gossh "golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// capture is shotglass: what acquire.Plan.Run does with a stream once LiME
// listens, from the login to the committed image.
func capture(compression string) contender {
	return func(b *testing.B, r *rig, dir string) usage {
		return captureAll(b, r, compression, dir, 1)
	}
}

func captureAll(b *testing.B, r *rig, compression, dir string, hosts int) usage {
	disk, err := sink.NewDisk(dir)
	if err != nil {
		b.Fatal(err)
	}
	dialer := transporttest.Dialer(b)
	debug.FreeOSMemory()
	if err := resetPeak(); err != nil {
		b.Fatal(err)
	}
	begin, before := time.Now(), cpuTime(b)

	pool := frame.NewPool(frame.PoolOptions{})
	results := make([]pipeline.Result, hosts)
	var g errgroup.Group
	for i := range hosts {
		g.Go(func() (err error) {
			results[i], err = captureOne(b.Context(), r, dialer, disk, fmt.Sprintf("host%d-mem.lime", i), pool, compression)
			return err
		})
	}
	err = g.Wait()
	pool.Close()

	u := usage{wall: time.Since(begin), cpu: cpuTime(b) - before, rss: peak(b)}
	if err != nil {
		b.Fatal(err)
	}
	for _, res := range results {
		if got := res.Raw.SHA256.String(); got != r.image.sha256 || !res.Raw.Complete {
			b.Fatalf("raw digest %s, want %s", got, r.image.sha256)
		}
		u.stored += res.Stored.Bytes
	}
	u.stored /= int64(hosts)
	return u
}

func captureOne(ctx context.Context, r *rig, dialer *transport.SSH, disk *sink.Disk, name string, pool *frame.Pool, compression string) (pipeline.Result, error) {
	obj, err := disk.Create(ctx, name)
	if err != nil {
		return pipeline.Result{}, err
	}
	fail := func(res pipeline.Result, err error) (pipeline.Result, error) {
		return res, errors.Join(err, obj.Abort(context.WithoutCancel(ctx)))
	}
	conn, err := dialer.Dial(ctx, r.sshd.Target())
	if err != nil {
		return fail(pipeline.Result{}, err)
	}
	defer conn.Close()
	src, err := conn.DialTCP(ctx, net.JoinHostPort("127.0.0.1", r.port))
	if err != nil {
		return fail(pipeline.Result{}, err)
	}
	defer src.Close()
	walker := lime.NewWalker(lime.WalkerOptions{Needles: []lime.Needle{{Name: "banner", Text: []byte(r.image.banner + "\x00")}}})
	res, err := pipeline.Run(ctx, src, obj, pipeline.Options{
		Pool: pool, Compression: compression, Expected: r.image.size, Walker: walker, Progress: &pipeline.Progress{},
	})
	if err != nil {
		return fail(res, err)
	}
	rep, err := walker.Finish()
	if err != nil {
		return fail(res, err)
	}
	if len(rep.Found[0].Addrs) == 0 {
		return fail(res, errors.New("no banner in the image"))
	}
	if _, err = obj.Commit(ctx); err != nil {
		return fail(res, err)
	}
	return res, nil
}

// The pipes. A process substitution, as in `tee >(sha256sum)`, is a child of
// tee, which waits for nothing: neither its end nor its CPU time could be seen.
// Fifos and background jobs are the same plumbing, and bash waits for them.
var (
	// pipe does what shotglass does with zstd, but for looking into the image.
	pipe = script("out.zst", `
$SHA <raw >raw.sum & $SHA <stored >stored.sum &
$SSH cat "$IMAGE" | tee raw | zstd -q -1 -T1 | tee stored >out.zst && sync out.zst || exit
wait`)
	// pipeNone is what shotglass does without compression: one digest for both.
	pipeNone = script("out.lime", `
$SHA <raw >raw.sum &
$SSH cat "$IMAGE" | tee raw >out.lime && sync out.lime || exit
wait`)
	// pipeSimple is the pipe that people type: it digests only the stored bytes and syncs
	// nothing.
	pipeSimple = script("out.zst", `
$SHA <stored >stored.sum &
$SSH cat "$IMAGE" | zstd -q -1 | tee stored >out.zst || exit
wait`)
)

// What digests in the pipes. coreutils uses plain C on most systems, OpenSSL the SHA
// instructions, as Go does: the pipe of somebody who knows.
const (
	coreutils = "sha256sum"
	openssl   = "openssl dgst -sha256 -r"
)

func script(out, text string) func(sha string) contender {
	return func(sha string) contender { return scriptWith(out, text, sha) }
}

func scriptWith(out, text, sha string) contender {
	return func(b *testing.B, r *rig, dir string) usage {
		for _, fifo := range []string{"raw", "stored"} {
			if err := syscall.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		t := r.sshd.Target()
		known := filepath.Join(dir, "known_hosts")
		line := fmt.Sprintf("[%s]:%d %s\n", t.Host, t.Port, strings.TrimSpace(string(gossh.MarshalAuthorizedKey(r.sshd.HostKey.PublicKey()))))
		if err := os.WriteFile(known, []byte(line), 0o600); err != nil {
			b.Fatal(err)
		}
		ssh := strings.Join([]string{"ssh", "-F", "none", "-c", "aes128-gcm@openssh.com", "-o", "IdentitiesOnly=yes",
			"-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o", "GlobalKnownHostsFile=none",
			"-o", "UserKnownHostsFile=" + known, "-i", r.sshd.KeyFile, "-p", fmt.Sprint(t.Port), t.User + "@" + t.Host}, " ")

		cmd := exec.Command(r.bash, "-c", "set -o pipefail\n"+text)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "SSH="+ssh, "SHA="+sha, "IMAGE="+r.image.path)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		begin := time.Now()
		err := cmd.Run()
		u := usage{wall: time.Since(begin)}
		if err != nil {
			b.Fatalf("pipe: %v: %s", err, &stderr)
		}
		// With what bash waited for, which is everything but sshd and cat.
		u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		info, err := os.Stat(filepath.Join(dir, out))
		if err != nil {
			b.Fatal(err)
		}
		u.stored = info.Size()
		if !strings.Contains(text, "raw.sum") {
			return u
		}
		sum, err := os.ReadFile(filepath.Join(dir, "raw.sum"))
		if err != nil {
			b.Fatal(err)
		}
		if got, _, _ := strings.Cut(string(sum), " "); got != r.image.sha256 {
			b.Fatalf("pipe: raw digest %s, want %s", got, r.image.sha256)
		}
		return u
	}
}

func needBash(b *testing.B) string {
	for _, tool := range []string{"ssh", "zstd", "tee", "sha256sum", "openssl", "sync"} {
		if _, err := exec.LookPath(tool); err != nil {
			b.Skip(err)
		}
	}
	bash, err := exec.LookPath("bash")
	if err != nil {
		b.Skip(err)
	}
	return bash
}

// serveEnv makes the test binary a stand-in for LiME: a process of its own, so
// that its CPU time is not ours.
const serveEnv = "SHOTGLASS_BENCH_SERVE"

// startServer returns the port on which the image is served until b ends.
func startServer(b *testing.B, path string) string {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+path)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe() // its end is the server's
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		stdin.Close()
		cmd.Wait()
	})
	port, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(port)
}

// serve sends the file to whoever connects, as LiME does with memory, until
// standard input ends.
func serve(path string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	fmt.Println(port)
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			f, err := os.Open(path)
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				return
			}
			defer f.Close()
			io.Copy(c, f)
		}()
	}
}

// cpuTime is what this process has used, without its children: those are sshd
// and the server.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resetPeak makes VmHWM start anew: proc(5), /proc/pid/clear_refs.
func resetPeak() error { return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) }

// peak is the process's largest resident size since resetPeak.
func peak(b *testing.B) int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	b.Fatal("no VmHWM on " + runtime.GOOS)
	return 0
}

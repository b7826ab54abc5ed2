//go:build e2e

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// capture is shotglass to disk: what acquire.Plan.Run does with a stream once LiME
// listens, from the login to the committed image.
func capture(compression string) contender { return captureTo("", compression, toDisk) }

func toDisk(_ *testing.B, dir string) (sink.Sink, error) { return sink.NewDisk(dir) }

// captureTo is shotglass to any sink, of which the name tells.
func captureTo(name, compression string, where func(b *testing.B, dir string) (sink.Sink, error)) contender {
	return contender{compression + name, func(b *testing.B, r *rig, dir string) usage {
		s, err := where(b, dir)
		if err != nil {
			b.Fatal(err)
		}
		return captureAll(b, r, compression, s)
	}}
}

func captureAll(b *testing.B, r *rig, compression string, s sink.Sink) usage {
	dialer := transporttest.Dialer(b)
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as in cmd/shotglass
	debug.FreeOSMemory()
	if err := resetPeak(); err != nil {
		b.Fatal(err)
	}
	begin, before := time.Now(), cpuTime(b)

	pool := frame.NewPool(frame.PoolOptions{})
	results := make([]pipeline.Result, r.hosts)
	streams := make([]time.Duration, r.hosts)
	var g errgroup.Group
	for i := range r.hosts {
		g.Go(func() (err error) {
			results[i], streams[i], err = captureOne(b.Context(), r, dialer, s, fmt.Sprintf("host%d-mem.lime", i), pool, compression)
			return err
		})
	}
	err := g.Wait()
	pool.Close()

	u := usage{wall: time.Since(begin), cpu: cpuTime(b) - before, rss: peak(b), stream: slices.Max(streams)}
	if err != nil {
		b.Fatal(err)
	}
	for _, res := range results {
		if got := res.Raw.SHA256.String(); got != r.image.sha256 || !res.Raw.Complete {
			b.Fatalf("raw digest %s, want %s", got, r.image.sha256)
		}
	}
	u.stored = results[0].Stored.Bytes
	return u
}

func captureOne(ctx context.Context, r *rig, dialer *transport.SSH, s sink.Sink, name string, pool *frame.Pool, compression string) (pipeline.Result, time.Duration, error) {
	create := s.Create
	if sized, ok := s.(sink.Sizer); ok {
		create = func(ctx context.Context, name string) (sink.Object, error) {
			return sized.CreateSized(ctx, name, r.image.size)
		}
	}
	obj, err := create(ctx, name)
	if err != nil {
		return pipeline.Result{}, 0, err
	}
	fail := func(res pipeline.Result, err error) (pipeline.Result, time.Duration, error) {
		return res, 0, errors.Join(err, obj.Abort(context.WithoutCancel(ctx)))
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
	begin := time.Now()
	walker := lime.NewWalker(lime.WalkerOptions{Needles: []lime.Needle{{Name: "banner", Text: []byte(r.image.banner + "\x00")}}})
	res, err := pipeline.Run(ctx, src, obj, pipeline.Options{
		Pool: pool, Compression: compression, Expected: r.image.size, Walker: walker, Progress: &pipeline.Progress{},
	})
	stream := time.Since(begin)
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
	return res, stream, nil
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

//go:build e2e

// Package bench measures a whole capture, from the target's SSH server to a
// synced file, beside the shell pipe that does the same. `make bench` runs it,
// docs/performance.md says what it found.
//
// Everything stays on the loopback address: a real sshd, and in place of LiME a
// process that sends an image from the page cache. A contender is measured in
// turn with its rival, so that both meet the same weather on a shared machine.
package bench

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(serveEnv); path != "" {
		fmt.Fprintln(os.Stderr, "bench:", serve(path))
		os.Exit(1)
	}
	flag.Parse()
	os.Exit(m.Run())
}

// A contender stores an image in dir and says what it took. The image's digests
// are checked outside of what is measured.
type contender func(b *testing.B, r *rig, dir string) usage

// usage is what a run took on the side of the client: neither sshd nor what
// feeds it is in it.
type usage struct {
	wall, cpu time.Duration
	stored    int64
	rss       int64 // peak, bytes; 0 where it was not measured
}

// A rig is an image, with an SSH server that it can be had from.
type rig struct {
	image *image
	sshd  *transporttest.Daemon
	port  string // where the stand-in for LiME listens
	bash  string // what runs the pipes
}

func newRig(b *testing.B, im *image) *rig {
	return &rig{image: im, sshd: transporttest.OpenSSHD(b), port: startServer(b, im.path), bash: needBash(b)}
}

// BenchmarkCapture runs each contender in turn with its rival. MB/s and cpu-s/GiB
// are the contender's; x-rival is its speed over its rival's and cpu-ratio its
// CPU time over its rival's, each the median of the neighbouring runs.
func BenchmarkCapture(b *testing.B) {
	for _, im := range images(b) {
		b.Run(im.name, func(b *testing.B) {
			for _, c := range []struct {
				name       string
				run, rival contender
			}{
				{"zstd_vs_pipe", capture(frame.Zstd), pipe(coreutils)},
				{"zstd_vs_pipe-openssl", capture(frame.Zstd), pipe(openssl)},
				{"zstd_vs_simple", capture(frame.Zstd), pipeSimple(coreutils)},
				{"none_vs_pipe", capture(frame.None), pipeNone(coreutils)},
				{"none_vs_pipe-openssl", capture(frame.None), pipeNone(openssl)},
			} {
				b.Run(c.name, func(b *testing.B) { race(b, newRig(b, im), c.run, c.rival) })
			}
		})
	}
}

func race(b *testing.B, r *rig, run, rival contender) {
	once := func(c contender) usage {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		defer os.RemoveAll(dir)
		return c(b, r, dir)
	}
	b.SetBytes(r.image.size)
	var ours, theirs []usage
	for i := 0; b.Loop(); i++ {
		if i%2 == 1 {
			theirs = append(theirs, once(rival))
		}
		ours = append(ours, once(run))
		if i%2 == 0 {
			theirs = append(theirs, once(rival))
		}
	}
	var speed, cpu []float64
	for i := range ours {
		speed = append(speed, theirs[i].wall.Seconds()/ours[i].wall.Seconds())
		cpu = append(cpu, ours[i].cpu.Seconds()/theirs[i].cpu.Seconds())
	}
	of := func(runs []usage, f func(usage) float64) float64 {
		var v []float64
		for _, u := range runs {
			v = append(v, f(u))
		}
		return median(v)
	}
	size := float64(r.image.size)
	rate := func(u usage) float64 { return size / 1e6 / u.wall.Seconds() }
	perGiB := func(u usage) float64 { return u.cpu.Seconds() / size * (1 << 30) }
	b.ReportMetric(of(ours, func(u usage) float64 { return float64(u.wall.Nanoseconds()) }), "ns/op")
	b.ReportMetric(of(ours, rate), "MB/s")
	b.ReportMetric(of(theirs, rate), "rival-MB/s")
	b.ReportMetric(median(speed), "x-rival")
	b.ReportMetric(of(ours, perGiB), "cpu-s/GiB")
	b.ReportMetric(of(theirs, perGiB), "rival-cpu-s/GiB")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(size/float64(ours[0].stored), "shrink")
	b.ReportMetric(size/float64(theirs[0].stored), "rival-shrink")
	if rss := of(ours, func(u usage) float64 { return float64(u.rss) }); rss > 0 {
		b.ReportMetric(rss/(1<<20), "RSS-MiB")
	}
	b.ReportMetric(load(), "load")
	for i := range ours {
		b.Logf("run %d: %.1f s, rival %.1f s: %.2f times as fast, %.2f times the CPU time",
			i, ours[i].wall.Seconds(), theirs[i].wall.Seconds(), speed[i], cpu[i])
	}
}

// BenchmarkHosts captures the image from several hosts at once, in one process.
// RSS-MiB is the peak of the process, heap, stacks and program; stated-MiB is
// what pipeline.MemoryPerHost and frame.Pool.Memory say of the pipeline.
func BenchmarkHosts(b *testing.B) {
	im := images(b)[0]
	r := newRig(b, im)
	var alone float64
	for _, hosts := range []int{1, 8} {
		b.Run(strconv.Itoa(hosts), func(b *testing.B) {
			b.SetBytes(im.size * int64(hosts))
			var peaks, cpus []float64
			for b.Loop() {
				u := captureAll(b, r, frame.Zstd, b.TempDir(), hosts)
				peaks = append(peaks, float64(u.rss)/(1<<20))
				cpus = append(cpus, u.cpu.Seconds())
			}
			peak := slices.Max(peaks)
			if hosts == 1 {
				alone = peak
			} else if alone > 0 {
				b.ReportMetric((peak-alone)/float64(hosts-1), "MiB/host")
			}
			b.ReportMetric(peak, "RSS-MiB")
			b.ReportMetric(stated(b, im.size, hosts), "stated-MiB")
			b.ReportMetric(median(cpus)/float64(im.size)/float64(hosts)*(1<<30), "cpu-s/GiB")
			b.ReportMetric(load(), "load")
		})
	}
}

func stated(b *testing.B, size int64, hosts int) float64 {
	pool := frame.NewPool(frame.PoolOptions{})
	defer pool.Close()
	host, err := pipeline.MemoryPerHost(pipeline.Options{Pool: pool, Expected: size})
	if err != nil {
		b.Fatal(err)
	}
	shared, err := pool.Memory(frame.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return float64(shared+int64(hosts)*host) / (1 << 20)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// load is the load average of the last minute: what else ran meanwhile.
func load() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	v, _ := strconv.ParseFloat(first, 64)
	return v
}

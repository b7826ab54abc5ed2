//go:build e2e

// Package bench measures whole captures, from the target's SSH server to a
// synced file or an S3 server, beside the shell pipe and the Python program that do the
// same. `make bench` runs it and prints tables, docs/performance.md says what it found.
//
// Nothing leaves the machine: as root the process has a network namespace of its
// own, with a real sshd, and in place of LiME a process that sends an image from the page
// cache. A contender is measured in turn with its rival, so that both meet the
// same weather on a shared machine.
package bench

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

func TestMain(m *testing.M) {
	becomeHelper()
	flag.Parse()
	if code, done := inOwnNetwork(); done {
		os.Exit(code)
	}
	code := m.Run()
	if err := publish(*update && code == 0); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

// A contender stores the rig's image in dir, once for each of its hosts, and says
// what it took. The image's digests are checked outside of what is measured.
type contender struct {
	name string
	run  func(b *testing.B, r *rig, dir string) usage
}

// usage is what a run took on the side of the client: neither sshd nor what
// feeds it is in it, nor an S3 server.
type usage struct {
	wall, cpu time.Duration
	stored    int64         // of one host
	rss       int64         // peak, bytes; 0 where it was not measured
	stream    time.Duration // from the open channel to the last byte; 0 where it was not measured
}

// A rig is an image, with an SSH server that it can be had from.
type rig struct {
	image *image
	hosts int // that are captured at once
	sshd  *transporttest.Daemon
	port  string // where the stand-in for LiME listens
	bash  string // what runs the pipes
}

func newRig(b *testing.B, im *image) *rig {
	return &rig{image: im, hosts: 1, sshd: transporttest.OpenSSHD(b), port: startServer(b, im.path), bash: needBash(b)}
}

// bytes is what all hosts have.
func (r *rig) bytes() float64 { return float64(r.image.size) * float64(r.hosts) }

func (r *rig) rate(u usage) float64   { return r.bytes() / 1e6 / u.wall.Seconds() }
func (r *rig) perGiB(u usage) float64 { return u.cpu.Seconds() / r.bytes() * (1 << 30) }

// BenchmarkCapture captures one host, with each contender in turn with its rival.
func BenchmarkCapture(b *testing.B) {
	for _, im := range images(b) {
		b.Run(im.name, func(b *testing.B) {
			for _, c := range []struct {
				run, rival contender
				target     float64
			}{
				{capture(frame.Zstd), pipe(coreutils), 1.2},
				{capture(frame.Zstd), pipe(openssl), 1.2},
				{capture(frame.Zstd), pipeSimple(coreutils), 0},
				{capture(frame.Zstd), margaritaWork, 2},
				{capture(frame.Zstd), paramikoWork, 2},
				{capture(frame.S2), pipe(openssl), 1.2},
				{capture(frame.S2), paramikoWork, 2},
				{capture(frame.None), pipeNone(openssl), 1.2},
				{capture(frame.None), margarita, 2},
			} {
				b.Run(c.run.name+"_vs_"+c.rival.name, func(b *testing.B) {
					race(b, newRig(b, im), "One host", im.name, c.run, c.rival, c.target)
				})
			}
		})
	}
}

// BenchmarkHosts captures several hosts at once: shotglass in one process, its rivals
// in one for each host. The image is a part of the busy one, since 16 do not fit a disk's
// cache otherwise.
func BenchmarkHosts(b *testing.B) {
	im := part(b, images(b)[0], 128)
	for _, hosts := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(hosts), func(b *testing.B) {
			for _, rival := range []contender{pipe(openssl), margaritaWork, paramikoWork} {
				b.Run("zstd_vs_"+rival.name, func(b *testing.B) {
					r := newRig(b, im)
					r.hosts = hosts
					race(b, r, "Hosts at once", fmt.Sprintf("%d × %s", hosts, im.name), capture(frame.Zstd), rival, 0)
				})
			}
		})
	}
}

// race runs two contenders in turn, and reports the first one beside the second: medians
// of its figures, and of the ratios of neighbouring runs. target is how many times as fast it should
// be, 0 for no target; with a target it should take less CPU time, too.
func race(b *testing.B, r *rig, table, what string, run, rival contender, target float64) {
	once := func(c contender) usage {
		dir, err := os.MkdirTemp(b.TempDir(), "")
		if err != nil {
			b.Fatal(err)
		}
		defer os.RemoveAll(dir)
		return c.run(b, r, dir)
	}
	b.SetBytes(int64(r.bytes()))
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
		b.Logf("run %d: %.1f s, rival %.1f s: %.2f times as fast, %.2f times the CPU time",
			i, ours[i].wall.Seconds(), theirs[i].wall.Seconds(), speed[i], cpu[i])
	}
	shrink := func(u usage) float64 { return float64(r.image.size) / float64(u.stored) }
	b.ReportMetric(of(ours, func(u usage) float64 { return float64(u.wall.Nanoseconds()) }), "ns/op")
	b.ReportMetric(of(ours, r.rate), "MB/s")
	b.ReportMetric(median(speed), "x-rival")
	b.ReportMetric(of(ours, r.perGiB), "cpu-s/GiB")
	b.ReportMetric(median(cpu), "cpu-ratio")
	b.ReportMetric(load(), "load")
	cells := []string{
		what, run.name, rival.name,
		num("%.0f", of(ours, r.rate)), num("%.0f", of(theirs, r.rate)), spread(speed), verdict(target, median(speed), median(cpu)),
		num("%.2f", of(ours, r.perGiB)), num("%.2f", of(theirs, r.perGiB)), spread(cpu),
		num("%.2f", shrink(ours[0])), num("%.2f", shrink(theirs[0])),
		num("%.0f", of(ours, func(u usage) float64 { return float64(u.rss) / (1 << 20) })), num("%.1f", load()),
	}
	addRow(table, []string{"image", "shotglass", "rival", "MB/s", "rival", "speed, × rival", "target", "CPU s/GiB", "rival", "CPU, × rival", "shrinks", "rival", "peak MiB", "load"}, cells)
}

func verdict(target, speed, cpu float64) string {
	if target == 0 {
		return ""
	}
	said := map[bool]string{true: "met", false: "**missed**"}
	return fmt.Sprintf("%.1f %s, CPU %s", target, said[speed >= target], said[cpu < 1])
}

// of is the median of a figure.
func of(runs []usage, f func(usage) float64) float64 {
	var v []float64
	for _, u := range runs {
		v = append(v, f(u))
	}
	return median(v)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

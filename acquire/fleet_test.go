//go:build linux

package acquire

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// A fleet is many simulated hosts in another process, each an SSH server of its own on a port of
// the loopback, so that what this process takes is what the captures take.

const fleetVariable = "SHOTGLASS_TEST_FLEET"

// fleetHost is how to reach one.
type fleetHost struct {
	Port         int
	Key, HostKey string
}

// TestFleetServer is the other process, where startFleet starts it as such: it serves until its
// standard input ends. Otherwise it does nothing.
func TestFleetServer(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(fleetVariable))
	if err != nil {
		return
	}
	debug.SetGCPercent(50)
	first := newFake(t)
	out := json.NewEncoder(os.Stderr)
	for i := range n {
		f := first
		if i > 0 {
			f = &fakeTarget{t: t, ram: first.ram, image: first.image}
			f.server = (&transporttest.Server{Exec: f.exec, Dial: f.dial, HostKeys: first.server.HostKeys}).Start(t)
		}
		at := f.server.Target()
		out.Encode(fleetHost{at.Port, at.Auth.KeyFiles[0], ssh.FingerprintSHA256(first.server.HostKeys[0].PublicKey())})
	}
	io.Copy(io.Discard, os.Stdin)
}

// startFleet starts n hosts and returns a job for each.
func startFleet(tb testing.TB, n int) []Job {
	tb.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^TestFleetServer$")
	cmd.Env = append(os.Environ(), fleetVariable+"="+strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out)
		cmd.Wait()
	})
	var jobs []Job
	lines := bufio.NewScanner(out)
	for len(jobs) < n && lines.Scan() {
		var h fleetHost
		if err := json.Unmarshal(lines.Bytes(), &h); err != nil {
			tb.Fatalf("%v: %s", err, lines.Text())
		}
		jobs = append(jobs, Job{Target: transport.Target{
			Name: fmt.Sprintf("host%03d", len(jobs)), Host: "127.0.0.1", Port: h.Port, User: "tester", NoJumps: true,
			Auth:    transport.Auth{KeyFiles: []string{h.Key}, NoAgent: true},
			HostKey: transport.HostKeyPolicy{Fingerprints: []string{h.HostKey}},
		}})
	}
	if len(jobs) < n {
		tb.Fatalf("%d of %d hosts: %v", len(jobs), n, lines.Err())
	}
	return jobs
}

// usage is what this process takes.
type usage struct {
	rss, heap         int64 // bytes: resident, and of live and dead objects
	goroutines, files int
}

func takeUsage() usage {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	files, _ := os.ReadDir("/proc/self/fd")
	return usage{status("VmRSS"), int64(s[0].Value.Uint64()), runtime.NumGoroutine(), len(files) - 1}
}

// status reads a line of /proc/self/status, in bytes.
func status(name string) int64 {
	data, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(data), name+":")
	line, _, _ := strings.Cut(rest, "\n")
	kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(line), " kB"), 10, 64)
	return kb << 10
}

// peakUsage watches this process until the returned function is called, which gives the peaks.
func peakUsage() func() usage {
	stop := make(chan struct{})
	var peak usage
	var wg sync.WaitGroup
	look := func() {
		u := takeUsage()
		peak = usage{max(peak.rss, u.rss), max(peak.heap, u.heap), max(peak.goroutines, u.goroutines), max(peak.files, u.files)}
	}
	wg.Go(func() {
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				look()
			case <-stop:
				look()
				return
			}
		}
	})
	return func() usage { close(stop); wg.Wait(); return peak }
}

// fleetOptions capture into a folder, as the program does by default but for a fixed budget.
func fleetOptions(tb testing.TB) Options {
	d, err := sink.NewDisk(tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	return Options{Dialer: transporttest.Dialer(tb), Sink: d, Modules: fakeModules{}, MemoryBudget: fleetBudget, Case: "fleet"}
}

// fleetBudget is what `--memory-budget 512MiB` gives.
const fleetBudget = 512 << 20

// TestFleetBounded: what many hosts take grows by little for each, and nothing of it is left.
func TestFleetBounded(t *testing.T) {
	n := 64
	if testing.Short() {
		n = 12
	}
	jobs := startFleet(t, n)
	o := fleetOptions(t)
	runJobs(t.Context(), t, o, jobs[0]) // what is made once is there
	noLeak(t)
	base := takeUsage()
	o = fleetOptions(t)
	p, err := NewPlan(t.Context(), jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	idle := takeUsage()
	if each := (idle.goroutines - base.goroutines) / n; each > 8 {
		t.Errorf("an idle host has %d goroutines, want 8 at most", each)
	}
	if each := (idle.heap - base.heap) / int64(n); each > 128<<10 {
		t.Errorf("an idle host takes %d KiB, want 128 at most", each>>10)
	}
	if more := idle.files - base.files; more > n+4 {
		t.Errorf("%d idle hosts have %d files open", n, more)
	}
	stop := peakUsage()
	for _, r := range p.Run(t.Context()) {
		if r.State != StateComplete {
			t.Errorf("%s: %v", r.Host, r.Err)
		}
	}
	peak := stop()
	if each := (peak.goroutines - base.goroutines) / n; each > 24 {
		t.Errorf("a host under way has %d goroutines, want 24 at most", each)
	}
	if more := peak.files - base.files; more > n*(filesPerConn+filesPerCapture) {
		t.Errorf("%d hosts have %d files open, more than the budget of open files counts with", n, more)
	}
	p.Close()
	for end := time.Now().Add(5 * time.Second); ; runtime.Gosched() {
		if now := takeUsage(); now.files <= base.files {
			break
		} else if time.Now().After(end) {
			t.Errorf("%d files are open, had %d", now.files, base.files)
			break
		}
	}
}

// BenchmarkFleet captures many hosts in one run and reports what the process takes: after the plan,
// when the connections of all hosts idle, and at its peak.
func BenchmarkFleet(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(50)) // as the program does
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(MemoryLimit(fleetBudget)))
	for _, n := range []int{1, 8, 64, 500} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			jobs := startFleet(b, n)
			for b.Loop() {
				runtime.GC()
				debug.FreeOSMemory()
				base := takeUsage()
				began := time.Now()
				stop := peakUsage()
				p, err := NewPlan(b.Context(), jobs, fleetOptions(b))
				if err != nil {
					b.Fatal(err)
				}
				planned, planning := time.Since(began), stop()
				runtime.GC()
				idle := takeUsage()
				stop = peakUsage()
				began = time.Now()
				var bytes int64
				for _, r := range p.Run(b.Context()) {
					if r.State != StateComplete {
						b.Fatalf("%s: %v", r.Host, r.Err)
					}
					bytes += r.Image.Raw.Bytes
				}
				took, peak := time.Since(began), stop()
				p.Close()
				b.ReportMetric(float64(base.rss)/(1<<20), "base-MiB")
				b.ReportMetric(planned.Seconds(), "plan-s")
				b.ReportMetric(float64(idle.heap)/(1<<20), "planned-heap-MiB")
				b.ReportMetric(float64(planning.rss)/(1<<20), "plan-rss-MiB")
				b.ReportMetric(float64(idle.goroutines), "planned-goroutines")
				b.ReportMetric(float64(idle.files), "planned-files")
				b.ReportMetric(float64(peak.rss)/(1<<20), "peak-rss-MiB")
				b.ReportMetric(float64(peak.goroutines), "peak-goroutines")
				b.ReportMetric(float64(peak.files), "peak-files")
				b.ReportMetric(float64(bytes)/1e6/took.Seconds(), "MB/s")
			}
		})
	}
}

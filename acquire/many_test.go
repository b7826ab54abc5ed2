//go:build unix

package acquire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// TestRunOneDead: a host that is away costs the others nothing.
func TestRunOneDead(t *testing.T) {
	t.Parallel()
	a, dead, b := newFake(t), newFake(t), newFake(t)
	dead.server.Close()
	dir := t.TempDir()
	res := runJobs(t.Context(), t, a.options(dir), a.job("a"), dead.job("dead"), b.job("b"))
	for i, want := range []State{StateComplete, StateFailed, StateComplete} {
		if res[i].State != want {
			t.Errorf("%s is %s, want %s: %v", res[i].Host, res[i].State, want, res[i].Err)
		}
	}
	if m, _ := filepath.Glob(dir + "/*.json"); len(m) != 2 {
		t.Errorf("manifests: %q", m)
	}
	a.clean()
	b.clean()
}

// counted makes a fake that counts the streams which are open at once.
func counted(t *testing.T, now, most *atomic.Int64) *fakeTarget {
	f := newFake(t)
	f.serve = func(c net.Conn, image []byte) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		time.Sleep(20 * time.Millisecond) // streams that could overlap do
		c.Write(image)
	}
	return f
}

// heavySink holds so much of each object in memory.
type heavySink struct {
	sink.Sink
	each int64
}

func (s *heavySink) Memory(int64) int64 { return s.each }

func TestRunManyBounded(t *testing.T) {
	hosts := 64
	if testing.Short() {
		hosts = 12
	}
	const limit = 5
	pool := frame.NewPool(frame.PoolOptions{Workers: 1})
	defer pool.Close()
	shared, err := pool.Memory(frame.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := newFake(t)
	each, err := pipeline.MemoryPerHost(pipeline.Options{Pool: pool, Compression: "zstd", Expected: 0x9fbff - 0x1000 + 1 + 4<<20})
	if err != nil {
		t.Fatal(err)
	}
	f.server.Close()
	for name, edit := range map[string]func(*Options){
		"parallel": func(o *Options) { o.Parallel = limit },
		"memory":   func(o *Options) { o.MemoryBudget = shared + limit*each + each/2 },
		"sink": func(o *Options) {
			o.Sink = &heavySink{o.Sink, each}
			o.MemoryBudget = shared + limit*2*each + each/2
		},
		"tiny": func(o *Options) { o.MemoryBudget = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			var now, most atomic.Int64
			var jobs []Job
			want := int64(limit)
			n := hosts
			if name == "tiny" {
				want, n = 1, 4
			}
			for i := range n {
				jobs = append(jobs, counted(t, &now, &most).job(fmt.Sprintf("host%d", i)))
			}
			o := f.options(t.TempDir())
			o.Pool = pool
			var waited atomic.Int64
			o.Observer = func(e Event) {
				if w, ok := e.(Waiting); ok && strings.HasPrefix(w.Why, "waiting for ") {
					waited.Add(1)
				}
			}
			edit(&o)
			for _, r := range runJobs(t.Context(), t, o, jobs...) {
				if r.State != StateComplete {
					t.Errorf("%s: %v", r.Host, r.Err)
				}
			}
			if told := waited.Load() > 0; !told {
				t.Error("nobody was told of the waiting")
			}
			if n := most.Load(); n > want || n < min(want, 2) {
				t.Errorf("%d streams at once, want %d", n, want)
			}
		})
	}
}

// TestRunInterruptedWaiting: who waits for memory is not captured after a signal.
func TestRunInterruptedWaiting(t *testing.T) {
	a, b := newFake(t), newFake(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := func(c net.Conn, image []byte) {
		c.Write(image[:3<<20]) // more than fits a channel window: some of it was read
		cancel(errors.New("ctrl-c"))
		c.Read(make([]byte, 1))
	}
	a.serve, b.serve = stop, stop
	o := a.options(t.TempDir())
	o.MemoryBudget = 1
	partial, failed := 0, 0
	for _, r := range runJobs(ctx, t, o, a.job("a"), b.job("b")) {
		switch {
		case r.State == StatePartial && r.Interrupted:
			partial++
		case r.State == StateFailed && r.Interrupted && r.Err.Error() == "ctrl-c":
			failed++
		}
	}
	if partial != 1 || failed != 1 {
		t.Errorf("%d partial, %d failed", partial, failed)
	}
}

// TestJobOverrides: what a job says goes before what the options say.
func TestJobOverrides(t *testing.T) {
	f := newFake(t)
	f.tempered = func(facts string) string { return facts }
	common, own := t.TempDir(), t.TempDir()
	o := f.options(common)
	o.Modules, o.Settings = nil, []Setting{{"user", "nobody", "default"}}
	d, err := sink.NewDisk(own)
	if err != nil {
		t.Fatal(err)
	}
	j := f.job("10.0.0.1")
	j.Host, j.Sink, j.Modules = "web1", d, fakeModules{}
	j.Labels = map[string]string{"role": "web"}
	j.Settings = []Setting{{"user", "tester", "file"}}
	res := runJobs(t.Context(), t, o, j)
	if res[0].State != StateComplete || res[0].Host != "web1" || !strings.HasPrefix(res[0].Image.Name, "web1-") {
		t.Fatalf("%+v", res[0])
	}
	if e, _ := os.ReadDir(common); len(e) != 0 {
		t.Errorf("the common sink holds %v", e)
	}
	m := manifestIn(t, own)
	if d := cmp.Diff(j.Labels, m.Labels); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(j.Settings, m.Options); d != "" {
		t.Error(d)
	}
}

func TestNamesAreDistinct(t *testing.T) {
	names := func(jobs ...Job) ([]string, error) {
		p := &Plan{opts: Options{Now: func() time.Time { return time.Unix(0, 0) }}}
		for _, j := range jobs {
			p.Steps = append(p.Steps, &Step{Host: j.Host, Name: j.Name, opts: j.options(p.opts)})
		}
		err := p.nameImages()
		var out []string
		for _, s := range p.Steps {
			out = append(out, s.Name)
		}
		return out, err
	}
	have, err := names(Job{Host: "a/b"}, Job{Host: "a:b"}, Job{Name: "x.lime"}, Job{Host: "A_B"})
	want := []string{"a_b-19700101T000000Z-mem.lime", "a_b-19700101T000000Z-2-mem.lime", "x.lime", "A_B-19700101T000000Z-3-mem.lime"}
	if d := cmp.Diff(want, have); d != "" || err != nil {
		t.Errorf("%v\n%s", err, d)
	}
	if _, err := names(Job{Name: "x"}, Job{Name: "X"}); err == nil {
		t.Error("one name for two targets passes")
	}
	other := &sink.Discard{}
	if _, err := names(Job{Name: "x"}, Job{Name: "x", Sink: other}); err != nil {
		t.Errorf("one name in two places: %v", err)
	}
	if _, err := names(Job{Name: "x.json"}); err == nil {
		t.Error("a name that a manifest could have passes")
	}
	if j := Jobs(transport.Target{Name: "a"}, transport.Target{Name: "b"}); len(j) != 2 || j[1].Target.Name != "b" {
		t.Errorf("jobs: %+v", j)
	}
}

// What hangs on a host: before its first byte, and once everything of it is written. A host that is not
// captured has no before.
func TestHooks(t *testing.T) {
	t.Parallel()
	a, dead := newFake(t), newFake(t)
	dead.server.Close()
	dir := t.TempDir()
	var calls []string
	var mu sync.Mutex
	hooked := func(name string, j Job) Job {
		note := func(when string) {
			files, _ := filepath.Glob(dir + "/" + name + "-*.json")
			mu.Lock()
			defer mu.Unlock()
			calls = append(calls, fmt.Sprintf("%s %s, %d manifests", name, when, len(files)))
		}
		j.Before = func(context.Context) {
			a.mu.Lock()
			n := a.agents
			a.mu.Unlock()
			note(fmt.Sprintf("before, %d agents", n))
		}
		j.After = func(_ context.Context, r *Result) { note("after, " + string(r.State)) }
		return j
	}
	runJobs(t.Context(), t, a.options(dir), hooked("a", a.job("a")), hooked("dead", dead.job("dead")))
	slices.Sort(calls)
	if d := cmp.Diff([]string{"a after, complete, 1 manifests", "a before, 0 agents, 0 manifests", "dead after, failed, 0 manifests"}, calls); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	a.clean()
}

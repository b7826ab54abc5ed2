//go:build unix

package acquire

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/freeze"
)

// A fakeCgroups is a folder that behaves like a cgroup hierarchy of version 2: what is written to a
// switch shows up in cgroup.events.
type fakeCgroups struct {
	t    *testing.T
	root string

	mu    sync.Mutex
	paths []string
	stuck map[string]bool // never frozen in whole
}

func newCgroups(t *testing.T, paths ...string) *fakeCgroups {
	t.Helper()
	k := &fakeCgroups{t: t, root: t.TempDir(), paths: paths, stuck: map[string]bool{}}
	for _, p := range paths {
		if err := os.MkdirAll(k.root+p, 0o700); err != nil {
			t.Fatal(err)
		}
		k.write(p+"/cgroup.freeze", "0\n")
	}
	k.update()
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-time.After(5 * time.Millisecond):
				k.update()
			case <-stop:
				return
			}
		}
	}()
	t.Cleanup(func() { close(stop); <-ended })
	return k
}

func (k *fakeCgroups) write(name, text string) {
	if err := os.WriteFile(k.root+name, []byte(text), 0o600); err != nil {
		k.t.Error(err)
	}
}

func (k *fakeCgroups) update() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.paths {
		on := k.frozen(p)
		text := fmt.Sprintf("populated 1\nfrozen %d\n", map[bool]int{true: 1}[on && !k.stuck[p]])
		if old, _ := os.ReadFile(k.root + p + "/cgroup.events"); string(old) != text {
			k.write(p+"/new", text)
			os.Rename(k.root+p+"/new", k.root+p+"/cgroup.events")
		}
	}
}

// frozen says whether a switch is on.
func (k *fakeCgroups) frozen(path string) bool {
	b, _ := os.ReadFile(k.root + path + "/cgroup.freeze")
	return string(b) == "1\n"
}

// want fails unless, within a time, exactly these are on.
func (k *fakeCgroups) want(limit time.Duration, on ...string) {
	k.t.Helper()
	var have []string
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		have = nil
		for _, p := range k.paths {
			if k.frozen(p) {
				have = append(have, p)
			}
		}
		if slices.Equal(have, on) {
			return
		} else if time.Now().After(end) {
			k.t.Fatalf("frozen: %q, want %q", have, on)
		}
	}
}

// sayProcesses plays freezelook.sh: a host with two services that can be frozen and one, b, that feeds a
// watchdog device if f.processes says so.
func (f *fakeKcore) sayProcesses(script string, stdout io.Writer) int {
	if f.cgroups == nil {
		f.t.Error("nobody should look at processes, or freeze them")
		return 1
	}
	_, args, _ := strings.Cut(script, "set -- '")
	var b strings.Builder
	fmt.Fprintf(&b, "\n@@N hierarchy\n2 rw %s\n\n@@N self\n9\n\n@@N processes\np 1 0 S 0 0 systemd\nc /init.scope\np 9 1 S 0 0 sh\nc /ssh\n", f.cgroups.root)
	for i, p := range f.cgroups.paths {
		fmt.Fprintf(&b, "p %d 1 S 0 0 app\nc %s\n", 100+i, p)
	}
	b.WriteString("\n@@N fds\n/proc/1/fd:\n" + f.processes + "\n@@N units\nId=a.service\nControlGroup=/system.slice/a.service\nWatchdogUSec=0\n\n@@N end\n")
	io.WriteString(stdout, strings.ReplaceAll(b.String(), "@@N", "@@"+args[:len(testNonce)]))
	return 0
}

const serviceA, serviceB = "/system.slice/a.service", "/system.slice/b.service"

// newFrozen is a target with cgroups; while reading, its stream waits until the returned function is
// called.
func newFrozen(t *testing.T) (f *fakeKcore, reading chan struct{}, goOn func()) {
	f = newKcore(t)
	f.cgroups = newCgroups(t, serviceA, serviceB)
	reading, wait := make(chan struct{}), make(chan struct{})
	var once, again sync.Once
	var some atomic.Int64
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "read" {
			return w
		}
		return writerFunc(func(p []byte) (int, error) {
			if some.Add(int64(len(p))) > 8<<20 {
				once.Do(func() { close(reading) })
				<-wait
			}
			return w.Write(p)
		})
	}
	goOn = func() { again.Do(func() { close(wait) }) }
	t.Cleanup(goOn)
	return f, reading, goOn
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// testLease is longer than any test takes, on however busy a machine.
const testLease = 10 * time.Minute

func frozenOptions(o *Options) { o.Freeze, o.FreezeLease, o.Connections = true, testLease, 1 }

// during captures, and calls what between the first and the last byte.
func (f *fakeKcore) during(ctx context.Context, reading chan struct{}, goOn func(), what func(), edit func(*Options)) (*Manifest, Result) {
	f.t.Helper()
	dir := f.t.TempDir()
	done := make(chan Result, 1)
	go func() {
		done <- f.capture(ctx, dir, func(o *Options) {
			frozenOptions(o)
			if edit != nil {
				edit(o)
			}
		})
	}()
	select {
	case <-reading:
	case res := <-done:
		f.t.Fatalf("it ended before it read: %+v", res)
	}
	what()
	goOn()
	res := <-done
	return manifestIn(f.t, dir), res
}

func TestFreeze(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	f.cgroups.write(serviceB+"/cgroup.freeze", "1\n") // by somebody else, after the look
	m, res := f.during(t.Context(), reading, goOn, func() { f.cgroups.want(0, serviceA, serviceB) }, nil)
	f.cgroups.want(0, serviceB)
	use := m.Freeze
	first, last := m.ReadSpan()
	if res.State != StateComplete || len(res.Left) != 0 || res.Unfrozen != "" || use == nil || use.Lost != "" || !m.Footprint.Clean ||
		use.Begun.After(use.Frozen) || use.Frozen.After(first) || last.After(use.Thawing) || use.Thawing.After(use.Thawed) {
		t.Fatalf("%+v\nfreeze %+v, read from %s to %s", res, use, first, last)
	}
	if c := use.Cgroups; len(c) != 2 || c[0].State != stateFrozen || c[1].State != stateAlready || use.Lease != testLease {
		t.Errorf("cgroups %+v", c)
	}
	if k := use.Kept; len(k) != 2 || !slices.Equal(k[0].Why, []string{"systemd: PID 1"}) || !slices.Equal(k[1].Why, []string{"sh: our own session"}) {
		t.Errorf("kept %+v", k)
	}
}

// TestFreezeRefused: nothing is touched.
func TestFreezeRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		processes, want string
		exempt          string
	}{
		"watchdog":  {"/proc/101/fd:\nl 3 -> /dev/watchdog\n", "holds a watchdog device", ""},
		"exemption": {"", "no process can be frozen", "app"},
		"nonsense":  {"\n@@N processes\nx\n", "cannot be read", ""},
	} {
		f, _, _ := newFrozen(t)
		f.processes = tt.processes
		dir := t.TempDir()
		res := f.capture(t.Context(), dir, func(o *Options) {
			frozenOptions(o)
			if tt.exempt != "" {
				e, err := freeze.ParseExemption(tt.exempt)
				if err != nil {
					t.Fatal(err)
				}
				o.FreezeExempt = []freeze.Exemption{e}
			}
		})
		if res.State != StateFailed || !strings.Contains(res.Err.Error(), tt.want) {
			t.Errorf("%s: %+v", name, res)
		}
		if e, _ := os.ReadDir(dir); len(e) != 0 || f.scripts["freeze"] != 0 {
			t.Errorf("%s: left %v, scripts %v", name, e, f.scripts)
		}
	}
}

// TestFreezeNoStream: what was frozen is thawed, and on record, although no byte came.
func TestFreezeNoStream(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, _, _ := newFrozen(t)
	f.exec = func(name string) {
		if name == "look" { // the source's own, after the freeze
			f.cgroups.want(0, serviceA, serviceB)
			f.write("iomem", "00001000-0009fbff : System RAM\n")
		}
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, frozenOptions)
	f.cgroups.want(0)
	if res.State != StateFailed || len(res.Left) != 0 || !strings.Contains(res.Err.Error(), "has changed") {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Freeze == nil || m.Freeze.Thawed.IsZero() || m.Complete {
		t.Errorf("manifest %+v", m)
	}
}

// TestFreezeKilled: the watchdog is killed, and its guard thaws. The image stands, but not as asked.
func TestFreezeKilled(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	m, res := f.during(t.Context(), reading, goOn, func() {
		f.cgroups.want(0, serviceA, serviceB)
		f.mu.Lock()
		f.running["freeze"].Kill()
		f.mu.Unlock()
		f.cgroups.want(time.Minute)
	}, func(o *Options) { o.FreezeLease = 10 * time.Second })
	if res.State != StateComplete || len(res.Left) != 0 || !strings.Contains(res.Unfrozen, "watchdog on the target") || m.Freeze.Lost == "" || m.Freeze.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
	if !strings.Contains(strings.Join(m.Anomalies, ";"), "not frozen to the end") {
		t.Errorf("anomalies %q", m.Anomalies)
	}
}

// TestFreezeThawed: somebody on the target lets a cgroup go on, seen at the next beat, or at the end.
func TestFreezeThawed(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	m, res := f.during(t.Context(), reading, goOn, func() { f.cgroups.write(serviceB+"/cgroup.freeze", "0\n") }, nil)
	f.cgroups.want(0)
	if c := m.Freeze.Cgroups; res.State != StateComplete || len(res.Left) != 0 || c[0].State != stateFrozen || c[1].State != stateWarm ||
		!strings.Contains(m.Freeze.Lost, serviceB) || !strings.Contains(res.Unfrozen, "not frozen to the end") {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
}

// TestFreezeMute: of the watchdog's end nothing is heard. When it thawed nobody knows.
func TestFreezeMute(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	var mute atomic.Bool
	hear := f.stdout
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name != "freeze" {
			return hear(name, w)
		}
		return writerFunc(func(p []byte) (int, error) {
			if mute.Load() {
				return len(p), nil
			}
			return w.Write(p)
		})
	}
	f.exec = func(name string) {
		if name == "freeze" && mute.Load() { // it is looked at again
			mute.Store(false)
		}
	}
	m, res := f.during(t.Context(), reading, goOn, func() { mute.Store(true) }, nil)
	f.cgroups.want(0)
	if res.State != StateComplete || len(res.Left) != 0 || !strings.Contains(m.Freeze.Lost, "did not answer at the end; it may have thawed up to 10m0s earlier") ||
		res.Unfrozen == "" || m.Freeze.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
}

// TestFreezePart: what froze in part, and what would not freeze, is not told as frozen.
func TestFreezePart(t *testing.T) {
	t.Parallel()
	f, reading, goOn := newFrozen(t)
	f.cgroups.stuck[serviceB] = true
	m, res := f.during(t.Context(), reading, goOn, func() {}, nil)
	f.cgroups.want(0)
	stood, processes := m.Freeze.Stood()
	if res.State != StateComplete || m.Freeze.Lost != "" || !strings.Contains(res.Unfrozen, "1 of 2 cgroups stopped in part only") || stood != 1 || processes != 1 ||
		!slices.Contains(m.Anomalies, res.Unfrozen) || !slices.ContainsFunc(m.Timeline, func(e Moment) bool { return strings.HasPrefix(e.Event, "froze 1 of 2 cgroups with 1 processes") }) {
		t.Errorf("%+v\nfreeze %+v, %d cgroups with %d processes, timeline %v", res, m.Freeze, stood, processes, m.Timeline)
	}
	for state, want := range map[string]bool{stateFrozen: false, stateGone: false, stateAlready: false, stateSlow: true, stateRefused: true, stateAsked: true} {
		u := &freezer{use: FreezeUse{Begun: time.Now(), Cgroups: []FrozenCgroup{{State: stateFrozen}, {State: state}}}}
		if got := u.unfrozen(); (got != "") != want {
			t.Errorf("%s: %q", state, got)
		}
	}
}

// TestFreezeCut: the connection is gone in the middle. The target thaws at once by itself, and
// that is looked at over a new one.
func TestFreezeCut(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	m, res := f.during(t.Context(), reading, goOn, func() {
		f.server.Kill()
		f.cgroups.want(time.Minute)
	}, func(o *Options) { o.StallTimeout = 3 * time.Second })
	if len(res.Left) != 0 || m.Freeze.Lost == "" || m.Freeze.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
}

// TestFreezeInterrupted: the user does not want it any more.
func TestFreezeInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	ctx, cancel := context.WithCancel(t.Context())
	m, res := f.during(ctx, reading, goOn, cancel, nil)
	f.cgroups.want(0)
	if !res.Interrupted || len(res.Left) != 0 || res.Unfrozen != "" || m.Freeze.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
}

// TestFreezeLeft: a cgroup that cannot be thawed is told, with what thaws it.
func TestFreezeLeft(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, reading, goOn := newFrozen(t)
	m, res := f.during(t.Context(), reading, goOn, func() {
		file := f.cgroups.root + serviceB + "/cgroup.freeze"
		os.Remove(file) // one that takes no order
		os.Symlink("/proc/version", file)
	}, func(o *Options) { o.FreezeLease = 10 * time.Second }) // it waits for that
	if res.State != StateComplete || len(res.Left) != 1 || !strings.Contains(res.Left[0], serviceB) || strings.Contains(res.Left[0], serviceA) ||
		!strings.Contains(res.Fix, "echo 0 | sudo tee "+f.cgroups.root+serviceB+"/cgroup.freeze") || m.Footprint.Clean || !m.Freeze.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, m.Freeze)
	}
}

// TestFreezeLime: all is frozen before LiME is loaded, and thawed before it is unloaded.
func TestFreezeLime(t *testing.T) {
	t.Parallel()
	f, _, _ := newFrozen(t)
	f.stdout = nil
	l := newFake(t)
	l.image = f.image
	l.insmod = func(int) (int, string) {
		f.cgroups.want(0, serviceA, serviceB)
		return 0, ""
	}
	l.server.Exec = both(l, f)
	dir := t.TempDir()
	res := l.capture(t.Context(), dir, frozenOptions)
	f.cgroups.want(0)
	m := manifestIn(t, dir)
	if res.State == StateFailed || m.Method.Source != MethodLime || m.Freeze == nil || m.Freeze.Thawed.IsZero() || m.Freeze.Lost != "" {
		t.Fatalf("%+v\n%+v", res, m.Freeze)
	}
	at := func(text string) int {
		return slices.IndexFunc(m.Timeline, func(e Moment) bool { return strings.HasPrefix(e.Event, text) })
	}
	order := []int{at("froze 2 of 2 cgroups"), at("loading LiME"), at("streaming"), at("thawed"), at("the target is clean")}
	if !slices.IsSorted(order) || order[0] < 0 {
		t.Errorf("order %v of %v", order, m.Timeline)
	}
	// The last byte ends it; what is left to be done with it may take longer.
	if _, last := m.ReadSpan(); last.IsZero() || last.After(m.Freeze.Thawing) {
		t.Errorf("read until %s, and thawing from %s", last, m.Freeze.Thawing)
	}
}

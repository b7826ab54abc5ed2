//go:build unix

package acquire

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// TestAuto: LiME where it can be loaded, /proc/kcore where not, and why is on record. The
// fake of /proc/kcore knows no LiME: its agent is refused by name.
func TestAuto(t *testing.T) {
	t.Run("no module", func(t *testing.T) {
		f := newKcore(t)
		dir := t.TempDir()
		m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) { o.Method, o.Modules = "", nil }))
		if m.Method.Source != MethodKcore || len(m.Method.Candidates) != 2 {
			t.Fatalf("method %+v", m.Method)
		}
		if c := m.Method.Candidates[0]; c.Source != MethodLime || c.OK || !strings.Contains(c.Reason, "no LiME module was given") {
			t.Errorf("LiME: %+v", c)
		}
		if c := m.Method.Candidates[1]; c.Source != MethodKcore || !c.OK {
			t.Errorf("kcore: %+v", c)
		}
	})
	t.Run("a module", func(t *testing.T) {
		f := newFake(t)
		dir := t.TempDir()
		if res := f.capture(t.Context(), dir, nil); res.State != StateComplete {
			t.Fatal(res.Err)
		}
		m := manifestIn(t, dir)
		if c := m.Method.Candidates; m.Method.Source != MethodLime || len(c) != 2 || c[1].OK || m.Duration == 0 || m.Footprint.Logins != 1 {
			t.Errorf("method %+v, %s, footprint %+v", m.Method, m.Duration, m.Footprint)
		}
	})
	t.Run("neither", func(t *testing.T) {
		f := newFake(t)
		res := f.capture(t.Context(), t.TempDir(), func(o *Options) { o.Modules = nil })
		for _, says := range []string{"lime: no LiME module was given", "kcore: "} {
			if res.State != StateFailed || !strings.Contains(fmt.Sprint(res.Err), says) {
				t.Errorf("%q is not in %v", says, res.Err)
			}
		}
	})
	for _, method := range []string{MethodLime, MethodKcore} {
		t.Run("only "+method, func(t *testing.T) {
			f := newKcore(t)
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.Method, o.Modules = method, nil })
			if method == MethodLime {
				if res.State != StateFailed || strings.Contains(fmt.Sprint(res.Err), "kcore") || f.scripts["read"] != 0 {
					t.Errorf("%s: %v", res.State, res.Err)
				}
				return
			}
			m := f.complete(dir, res)
			if c := m.Method.Candidates[0]; c.Source != MethodLime || c.OK || !strings.Contains(c.Reason, "not asked for") {
				t.Errorf("LiME: %+v", c)
			}
		})
	}
}

// TestFallBack: the kernel refuses the module, nothing has been read yet, and the target is
// clean: memory is read through /proc/kcore. What was done before stays on record.
func TestFallBack(t *testing.T) {
	noLeak(t)
	f := newKcore(t)
	lime := newFake(t)
	lime.insmod = func(int) (int, string) {
		return 1, "insmod: ERROR: could not insert module: Key was rejected by service"
	}
	f.server.Exec = both(lime, f)
	dir := t.TempDir()
	var problems []string
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Method = MethodAuto
		o.Observer = func(e Event) {
			if p, ok := e.(Problem); ok {
				problems = append(problems, p.Err.Error())
			}
		}
	})
	if res.State != StateComplete {
		t.Fatalf("%+v", res)
	}
	m := manifestIn(t, dir)
	f.same(m, f.image)
	c := m.Method.Candidates[0]
	if m.Method.Source != MethodKcore || c.OK || !strings.Contains(c.Reason, "Key was rejected") {
		t.Errorf("method %+v", m.Method)
	}
	if m.Module == nil || m.Footprint.BytesPushed == 0 || !m.Footprint.Clean {
		t.Errorf("module %+v, footprint %+v", m.Module, m.Footprint)
	}
	if len(problems) != 1 || !strings.Contains(problems[0], "going on with kcore") {
		t.Errorf("problems %q", problems)
	}
}

// TestNoFallBack: a module that stays loaded, or that served a stranger, is no reason to go on as if
// nothing had happened.
func TestNoFallBack(t *testing.T) {
	for name, edit := range map[string]func(l *fakeTarget){
		"left": func(l *fakeTarget) {
			l.leave, l.loaded = true, true
			l.insmod = func(int) (int, string) { return 1, "Key was rejected" }
		},
		"disclosed": func(l *fakeTarget) { l.foreign = true },
	} {
		t.Run(name, func(t *testing.T) {
			f := newKcore(t)
			lime := newFake(t)
			edit(lime)
			f.server.Exec, f.server.Dial = both(lime, f), lime.dial
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, func(o *Options) { o.Method = MethodAuto })
			if res.State != StateFailed || f.scripts["read"] != 0 {
				t.Errorf("%s: %v, scripts %v", res.State, res.Err, f.scripts)
			}
			if files, _ := filepath.Glob(dir + "/*.json"); len(files) != 1 {
				e, _ := os.ReadDir(dir)
				t.Errorf("left %v", e)
			}
		})
	}
}

// TestJobConnections: a target's number is in place of that for all, auto too.
func TestJobConnections(t *testing.T) {
	for n, want := range map[int]int{0: 5, 3: 3, AutoConnections: 0} {
		if got := (Job{Connections: n}).options(Options{Connections: 5}).Connections; got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

// farConn is a connection of which only the round trip counts.
type farConn struct {
	transport.Conn
	rtt time.Duration
}

func (c *farConn) Info() transport.Info { return transport.Info{RTT: c.rtt} }

// TestKcoreKeepsConnections: a capture whose turn has come takes the memory that was admitted,
// also where the target looks further away by then.
func TestKcoreKeepsConnections(t *testing.T) {
	near, far := &farConn{}, &farConn{rtt: 300 * time.Millisecond}
	probe := func(k *kcoreSource, c *farConn) int64 {
		k.Probe(t.Context(), &remote{conn: c, opts: &Options{}, facts: &Facts{}})
		return k.memory()
	}
	k := new(kcoreSource)
	first := probe(k, near)
	if again := probe(k, far); again != first {
		t.Errorf("%d bytes were admitted, %d are taken", first, again)
	}
	if probe(new(kcoreSource), far) <= first {
		t.Error("a far target does not take more")
	}
}

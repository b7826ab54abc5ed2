//go:build unix

package acquire

import (
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
	"github.com/shotglass-ir/shotglass/transport/eice/eicetest"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// tunnelled is a target with a real sshd, which the tunnels of svc alone lead to.
func tunnelled(t *testing.T, svc *eicetest.Service) (*fakeKcore, transport.Target) {
	t.Helper()
	f := newKcore(t)
	var facts strings.Builder
	f.sayFacts(testNonce, &facts)
	f.write("facts", facts.String())
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := transporttest.OpenSSHD(t, "ForceCommand "+targetEnv+"="+f.dir+" "+self)
	svc.To = d.Addr()
	target := d.Target()
	target.Name, target.Tunnel = "fake", svc.Start(t).Tunnel("tunnel through eice-1")
	return f, target
}

// take captures over as many tunnels.
func (f *fakeKcore) take(t *testing.T, target transport.Target, connections int, edit func(*Options)) (res Result, m *Manifest, dir string) {
	t.Helper()
	dir = t.TempDir()
	o := (&fakeTarget{t: t}).options(dir)
	o.Method, o.Compression, o.Connections = MethodKcore, "none", connections
	o.LimitRate = 8 << 20 // so that all of them take part; a piece has 2 MiB
	if edit != nil {
		edit(&o)
	}
	res = runJobs(t.Context(), t, o, Job{Target: target})[0]
	return res, manifestIn(t, dir), dir
}

func said(m *Manifest, text string) (n int) {
	for _, k := range m.Timeline {
		n += strings.Count(k.Event, text)
	}
	return n
}

// gather makes the first tunnels, so many, wait for each other once 512 KiB have come through each, so that none has done the others' work. What it returns is told
// what Sent of a service is.
func gather(tunnels int) func(n int, bytes int64) {
	var all sync.WaitGroup
	all.Add(tunnels)
	there := make([]sync.Once, tunnels)
	return func(n int, bytes int64) {
		if n < tunnels && bytes > 512<<10 {
			there[n].Do(func() { all.Done(); all.Wait() })
		}
	}
}

// TestKcoreTunnelCut: of three tunnels to a real sshd one breaks in the middle of a piece, be it that of the plan or another. What it owed is read
// again, a new tunnel takes its place, and the image is whole.
func TestKcoreTunnelCut(t *testing.T) {
	t.Parallel()
	for name, tunnel := range map[string]int{"of the plan": 0, "of its own": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			svc := &eicetest.Service{}
			wait, fourth := gather(3), make(chan struct{})
			var cut, replaced sync.Once
			svc.Sent = func(n int, bytes int64) {
				wait(n, bytes)
				switch {
				case n == tunnel && bytes > 3<<20:
					cut.Do(func() { svc.Cut(n) })
				case n == 3 && bytes > 512<<10:
					replaced.Do(func() { close(fourth) })
				case n < 3 && bytes > 5<<20:
					<-fourth
				}
			}
			f, target := tunnelled(t, svc)
			res, m, dir := f.take(t, target, 3, nil)
			f.complete(dir, res)
			if s := m.Method.Kcore.Connections; s.Lost != 1 || s.Again == 0 || s.Made != 4 || len(svc.Ports()) < 4 {
				t.Errorf("connections %+v, %d tunnels", s, len(svc.Ports()))
			}
			if said(m, "the tunnel through eice-1 broke after ") == 0 {
				t.Errorf("timeline %+v", m.Timeline)
			}
		})
	}
}

// TestKcoreTunnelsExpire: each tunnel is ended as too old after 5 MiB, so that none carries what it was asked for to the end. The image is whole.
func TestKcoreTunnelsExpire(t *testing.T) {
	t.Parallel()
	svc := &eicetest.Service{}
	svc.Sent = func(n int, bytes int64) {
		if bytes > 5<<20 {
			svc.Expire(n)
		}
	}
	f, target := tunnelled(t, svc)
	target.Tunnel.Longest = time.Hour
	res, m, dir := f.take(t, target, 3, nil)
	f.complete(dir, res)
	if s := m.Method.Kcore.Connections; s.Lost < 4 || s.Again == 0 || said(m, `eice-1 ended the tunnel after `) < 4 || said(m, "Max tunnel duration reached") < 4 {
		t.Errorf("connections %+v, timeline %+v", s, m.Timeline)
	}
}

// TestKcoreTunnelsEnd: two tunnels end and the endpoint opens no other. The image is partial: what came before the first gap, and no byte after it, with what is missing.
func TestKcoreTunnelsEnd(t *testing.T) {
	t.Parallel()
	svc := &eicetest.Service{}
	var shut atomic.Bool
	wait := gather(2)
	svc.Refuse = func(w http.ResponseWriter) bool {
		if shut.Load() {
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, "Max websocket connections")
		}
		return shut.Load()
	}
	svc.Sent = func(n int, bytes int64) {
		wait(n, bytes)
		if bytes > 5<<20 {
			shut.Store(true)
			svc.Expire(n)
		}
	}
	f, target := tunnelled(t, svc)
	res, m, _ := f.take(t, target, 2, func(o *Options) { o.StallTimeout, o.CleanupTimeout = 5*time.Second, 3*time.Second })
	if res.State != StatePartial || m.Complete || len(m.Reasons) == 0 || len(res.Left) != 1 || !strings.Contains(res.Left[0], "not checked") {
		t.Fatalf("%+v", res)
	}
	const refused = `tunnel through eice-1: the service refuses the tunnel: 429 Too Many Requests: "Max websocket connections"`
	why := strings.Join(m.Reasons, "\n")
	for _, want := range []string{"no byte came for ", "no connection was left, and none could be made: connect to ", refused, "ranges: short: ", "missing: 0x100000000-0x1004807ff (4720640 bytes)"} {
		if !strings.Contains(why, want) {
			t.Errorf("the reasons do not say %q:\n%s", want, why)
		}
	}
	f.same(m, f.image[:res.Image.Raw.Bytes])
	if res.Image.Raw.Bytes < 2<<20 || said(m, "Max tunnel duration reached") != 2 {
		t.Errorf("%d bytes, timeline %+v", res.Image.Raw.Bytes, m.Timeline)
	}
}

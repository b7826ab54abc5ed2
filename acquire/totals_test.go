//go:build unix

package acquire

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/shotglass-ir/shotglass/kernelmodules"
	"github.com/shotglass-ir/shotglass/transport/transporttest"
)

// TestTotals: every host is counted, with why it is refused, before a byte was written.
func TestTotals(t *testing.T) {
	good, slow, dead, kept := newFake(t), newFake(t), newFake(t), newFake(t)
	dir := t.TempDir()
	o := good.resuming(dir)
	o.ConnectAttempts = 1
	if r := runJobs(t.Context(), t, o, kept.job("kept"))[0]; r.State != StateComplete {
		t.Fatal(r.Err)
	}
	dead.server.Close()
	wrongKey := good.job("wrong key")
	wrongKey.Target.HostKey.Fingerprints = []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}
	login := (&transporttest.Server{Configure: func(c *ssh.ServerConfig) {
		c.PublicKeyCallback = func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, errors.New("no") }
	}}).Start(t).Target()
	none := good.job("no module")
	none.Modules = noModules{}
	locked := newFake(t)
	locked.tempered = func(s string) string { return replaceSection(s, "modules_disabled", "1\n") }
	limited := slow.job("slow")
	limited.LimitRate = 1 << 20
	o.LimitTotalRate = 8 << 20
	p, err := NewPlan(t.Context(), []Job{
		good.job("good"), limited, dead.job("dead"), wrongKey, {Target: login, Host: "login"}, none, locked.job("locked"), kept.job("kept"),
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	have := p.Totals()
	want := Totals{
		Hosts: 8, Take: 2, Keep: 1, Refused: 5,
		Reasons: map[string]int{ReasonAway: 1, ReasonHostKey: 1, ReasonLogin: 1, ReasonModule: 1, ReasonRefused: 1},
	}
	each := p.Steps[0].Expected
	want.Bytes = 2 * each
	want.Least = time.Duration(float64(each) / (1 << 20) * float64(time.Second))
	if len(have.Space) != 1 || have.Space[0].Free <= 0 || have.Space[0].Need < want.Bytes || have.Space[0].Place != dir {
		t.Errorf("space %+v", have.Space)
	}
	have.Space = nil
	if d := cmp.Diff(want, have); d != "" {
		t.Error(d)
	}
	if files, _ := filepath.Glob(dir + "/*"); len(files) != 4 {
		t.Errorf("files %q", files)
	}
}

type noModules struct{}

func (noModules) String() string { return "none" }
func (noModules) Find(context.Context, kernelmodules.Kernel) (*kernelmodules.Module, error) {
	return nil, kernelmodules.ErrNoModule
}

// TestFileBudget: whatever the limit, all that is open at once stays within it, as long as it is
// large enough for one host.
func TestFileBudget(t *testing.T) {
	for limit := 96; limit < 5000; limit += 7 {
		b := newFileBudget(limit)
		if b.connecting < 1 || b.held < 1 || b.captures < 1 {
			t.Fatalf("%d: %+v", limit, b)
		}
		if n := filesForUs + (b.connecting+b.held)*filesPerConn + b.captures*filesPerCapture; n > limit {
			t.Fatalf("%d: %+v is %d files", limit, b, n)
		}
	}
	if b := newFileBudget(0); b.connecting != connecting || b.held != 0 || b.captures != 0 || b.warn(0, 500) != "" {
		t.Errorf("no limit: %+v", b)
	}
	b := newFileBudget(1024)
	if w := b.warn(1024, 500); !strings.Contains(w, "ulimit -n 8064") || b.warn(1024, 10) != "" {
		t.Errorf("%+v: %q", b, w)
	}
	if b := newFileBudget(8064); b.captures != 500 || b.warn(8064, 500) != "" {
		t.Errorf("what it advises is not enough: %+v", b)
	}
}

// TestParked: where open files are few, connections that wait are closed and made again, and
// every host gets its image.
func TestParked(t *testing.T) {
	var jobs []Job
	var fakes []*fakeTarget
	for i := range 6 {
		f := newFake(t)
		fakes = append(fakes, f)
		jobs = append(jobs, f.job("host"+string(rune('0'+i))))
	}
	o := fakes[0].options(t.TempDir())
	o.OpenFiles = filesForUs + 2*2*filesPerConn
	p, err := NewPlan(t.Context(), jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "enough for 1 captures") {
		t.Errorf("%q", p.Warnings)
	}
	open := func() (n int) {
		for _, f := range fakes {
			n += f.server.Conns()
		}
		return n
	}
	for end := time.Now().Add(5 * time.Second); open() > 1; runtime.Gosched() { // servers see it a little later
		if time.Now().After(end) {
			t.Fatalf("%d connections are open", open())
		}
	}
	for _, r := range p.Run(t.Context()) {
		if r.State != StateComplete {
			t.Errorf("%s: %v", r.Host, r.Err)
		}
	}
	again := 0
	for _, f := range fakes {
		if f.server.Seen() == 2 {
			again++
		}
	}
	if again != 5 {
		t.Errorf("%d hosts were connected to again, want 5", again)
	}
}

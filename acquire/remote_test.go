//go:build unix

package acquire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// hangs plays a target on which a script never ends: one with sign in it, or the command itself.
func (f *fakeTarget) hangs(sign string) func(string, io.Reader, io.Writer, io.Writer) int {
	return func(cmd string, stdin io.Reader, stdout, stderr io.Writer) int {
		if strings.Contains(cmd, sign) {
			<-f.t.Context().Done()
			return 1
		}
		// What is read to see which script it is goes on to it.
		var head bytes.Buffer
		if m := bootLine.FindStringSubmatch(strings.TrimSpace(cmd)); m != nil {
			var n int64
			fmt.Sscan(m[2], &n)
			io.CopyN(&head, stdin, int64(len(m[1]))+1+n)
			if strings.Contains(head.String(), sign) {
				<-f.t.Context().Done()
				return 1
			}
		}
		return f.exec(cmd, io.MultiReader(&head, stdin), stdout, stderr)
	}
}

// TestCommandHangs: a host on which a command before the stream never ends fails by itself; the
// other ones of the plan go on.
func TestCommandHangs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, sign string }{
		{"hello", "id -u)"},
		{"facts", "s uid; id -u"},
		{"look for a compressor", "zip'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			bad, good := newFake(t), newFake(t)
			bad.server.Exec = bad.hangs(tt.sign)
			o := good.options(t.TempDir())
			o.CompressOnTarget, o.testOnlyCommandLimit = ZipAuto, 2*time.Second
			p, err := NewPlan(t.Context(), []Job{bad.job("bad"), good.job("good")}, o)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if e, ok := errors.AsType[*errNoAnswer](p.Steps[0].Err); !ok || e.Hint() == "" || !strings.Contains(fmt.Sprint(p.Steps[0].Err), "within 2s") {
				t.Errorf("bad: %v", p.Steps[0].Err)
			}
			if err := p.Steps[1].Err; err != nil {
				t.Errorf("good: %v", err)
			}
		})
	}
}

// TestCheck: what judges a target's word stops it before anything is written, or has a warning in its plan.
func TestCheck(t *testing.T) {
	t.Parallel()
	bad, good, late, slow := newFake(t), newFake(t), newFake(t), newFake(t)
	var mu sync.Mutex
	planned := map[string][]string{}
	o := bad.options(t.TempDir())
	o.Observer = func(e Event) {
		if e, ok := e.(Planned); ok {
			mu.Lock()
			planned[e.Step.Host] = e.Step.Warnings
			mu.Unlock()
		}
	}
	o.LimitTotalRate = 1 << 20
	jobs := []Job{bad.job("bad"), good.job("good"), late.job("late"), slow.job("slow")}
	jobs[3].CheckShare = func(s *Step, _ func(time.Duration) int) error { return fmt.Errorf("%s are too long", s.Shared) }
	jobs[0].Check = func(*Facts) (string, error) { return "never told", errors.New("another machine") }
	jobs[1].Check = func(f *Facts) (string, error) { return "is this " + f.Hostname + "?", nil }
	jobs[1].CheckPlan = func(s *Step) (string, error) { return "by " + s.Source, nil }
	jobs[2].CheckPlan = func(s *Step) (string, error) { return "never told", fmt.Errorf("%d bytes are too many", s.Expected) }
	p, err := NewPlan(t.Context(), jobs, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if s := p.Steps[0]; s.Err == nil || s.Err.Error() != "another machine" || s.Source != "" || s.Facts == nil {
		t.Errorf("bad: %+v", s)
	}
	if s := p.Steps[2]; s.Err == nil || s.Err.Error() != fmt.Sprintf("%d bytes are too many", s.Expected) || s.Expected == 0 || slices.Contains(s.Warnings, "never told") {
		t.Errorf("late: %+v", s)
	}
	// Of the others only one takes turns with it.
	if s := p.Steps[3]; s.Err == nil || s.Err.Error() != fmt.Sprintf("%s are too long", 2*time.Duration(s.Expected)*time.Second>>20) || s.Obstacle != ObstacleTime || !s.parked {
		t.Errorf("slow: %+v", s)
	}
	mu.Lock()
	defer mu.Unlock()
	if s := p.Steps[1]; s.Err != nil || s.Source == "" || !slices.Contains(s.Warnings, "by "+s.Source) || len(planned["good"]) == 0 || !slices.Contains(planned["good"], "is this "+s.Facts.Hostname+"?") {
		t.Errorf("good: %v, %v, planned %q", s.Err, s.Warnings, planned)
	}
}

// TestCommandHangsInRun: it holds no place of the run either, and is not tried again.
func TestCommandHangsInRun(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var asked atomic.Int64
	var planned atomic.Bool
	hang := f.hangs("s uid; id -u")
	f.server.Exec = func(cmd string, stdin io.Reader, stdout, stderr io.Writer) int {
		if !planned.Load() {
			return f.exec(cmd, stdin, stdout, stderr)
		}
		asked.Add(1)
		return hang(cmd, stdin, stdout, stderr)
	}
	o := f.options(t.TempDir())
	o.testOnlyCommandLimit = 2 * time.Second
	p, err := NewPlan(t.Context(), []Job{f.job("fake")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	planned.Store(true)
	p.Steps[0].planned = p.Steps[0].planned.Add(-2 * stale)
	res := p.Run(t.Context())[0]
	if _, ok := errors.AsType[*errNoAnswer](res.Err); !ok || res.State != StateFailed || asked.Load() != 1 {
		t.Errorf("%d commands: %+v", asked.Load(), res)
	}
}

// TestTalksForEver: a target that prints without end is told so, not listened to.
func TestTalksForEver(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.server.Exec = func(_ string, _ io.Reader, stdout, _ io.Writer) int {
		for junk := make([]byte, 64<<10); ; {
			if _, err := stdout.Write(junk); err != nil {
				return 1
			}
		}
	}
	o := f.options(t.TempDir())
	p, err := NewPlan(t.Context(), []Job{f.job("fake")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Steps[0].Err; err == nil || !strings.Contains(err.Error(), "printed more than") {
		t.Errorf("%v", err)
	}
	var b limitedBuffer
	if n, err := b.Write(make([]byte, maxOutput)); n != maxOutput || err != nil {
		t.Errorf("all that may come: %d, %v", n, err)
	}
}

// notYetRoot is a connection to a target that lets nobody be root for a while.
type notYetRoot struct {
	transport.Conn
	times int
	runs  int
}

func (r *notYetRoot) Run(_ context.Context, cmd *transport.Cmd) error {
	if r.runs++; r.runs <= r.times {
		return &transport.ExitError{Code: 1}
	}
	_, err := io.WriteString(cmd.Stdout, "done")
	return err
}

// TestRootSoon: what a target refuses is tried again over a connection that had to be made anew, over the first one not.
func TestRootSoon(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		again bool
		since time.Duration
		runs  int
	}{{true, 0, 2}, {false, 0, 1}, {true, 2 * rootLimit, 1}} {
		conn := &notYetRoot{times: 1}
		h := &remote{opts: &Options{testOnlyCommandLimit: time.Minute}, conn: conn, since: time.Now().Add(-tt.since), again: tt.again}
		h.priv.kind = privRoot
		out, err := h.rootSoon(t.Context(), "true")
		if conn.runs != tt.runs || (err == nil) != (tt.runs == 2) || (string(out) == "done") != (err == nil) {
			t.Errorf("%+v: %d runs, %q, %v", tt, conn.runs, out, err)
		}
	}
}

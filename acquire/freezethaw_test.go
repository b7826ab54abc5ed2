//go:build unix

package acquire

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// stuckSink is one whose image takes no more bytes after some, until it is let go.
type stuckSink struct {
	sink.Sink
	after int64
	stuck chan struct{} // closed when it hangs
	free  chan struct{} // closed to let it go on
}

type stuckObject struct {
	sink.Object
	s    *stuckSink
	n    int64
	once sync.Once
}

func (s *stuckSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	if err != nil || strings.Contains(name, ".json") || strings.HasSuffix(name, FramesSuffix) {
		return o, err
	}
	return &stuckObject{Object: o, s: s}, nil
}

func (o *stuckObject) Write(p []byte) (int, error) {
	if o.n += int64(len(p)); o.n > o.s.after {
		o.once.Do(func() { close(o.s.stuck) })
		<-o.s.free
	}
	return o.Object.Write(p)
}

// hang captures a frozen host, which is f, through LiME if that is given, into a sink that hangs
// after some bytes of the image, calls what once it does, and lets it go on.
func (f *fakeKcore) hang(ctx context.Context, l *fakeTarget, after int64, patience time.Duration, what func()) (*Manifest, Result) {
	f.t.Helper()
	capture := f.capture
	f.stdout = nil
	if l != nil {
		l.image, l.server.Exec = f.image, both(l, f)
		capture = l.capture
	}
	dir := f.t.TempDir()
	s := &stuckSink{after: after, stuck: make(chan struct{}), free: make(chan struct{})}
	goOn := sync.OnceFunc(func() { close(s.free) })
	f.t.Cleanup(goOn)
	done := make(chan Result, 1)
	go func() {
		done <- capture(ctx, dir, func(o *Options) {
			frozenOptions(o)
			o.testOnlyPatience = patience
			s.Sink, o.Sink, o.Compression = o.Sink, s, "none"
		})
	}()
	select {
	case <-s.stuck:
	case res := <-done:
		f.t.Fatalf("it ended before the sink hung: %+v", res)
	}
	what()
	goOn()
	res := <-done
	return manifestIn(f.t, dir), res
}

// TestFreezeSinkHangs: the target does not stand still for a destination that takes nothing. The
// capture goes on, and says from where on processes ran.
func TestFreezeSinkHangs(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, _, _ := newFrozen(t)
	const after = 8 << 20
	m, res := f.hang(t.Context(), newFake(t), after, 300*time.Millisecond, func() { f.cgroups.want(time.Minute) })
	f.same(m, f.image)
	use := m.Freeze
	if res.State != StateComplete || len(res.Left) != 0 || !m.Complete || use.Early == nil || use.Early.Byte <= after || use.Early.Byte >= m.Image.Raw.Bytes ||
		use.Early.Waited < 300*time.Millisecond || use.Thawed.IsZero() {
		t.Fatalf("%+v\nfreeze %+v, early %+v", res, use, use.Early)
	}
	want := fmt.Sprintf("the destination took no byte for %s, so that they were let go on after %d bytes of the stream", use.Early.Waited.Round(time.Second), use.Early.Byte)
	if use.Lost != want || !strings.Contains(res.Unfrozen, want) || !slices.Contains(m.Anomalies, res.Unfrozen) {
		t.Errorf("lost %q, result %q, anomalies %q", use.Lost, res.Unfrozen, m.Anomalies)
	}
	if !slices.ContainsFunc(m.Timeline, func(e Moment) bool { return strings.Contains(e.Event, "frozen no more: "+want) }) {
		t.Errorf("timeline %v", m.Timeline)
	}
	if _, last := m.ReadSpan(); !last.After(use.Thawing) {
		t.Errorf("read until %s, thawed from %s on: nothing was read after it", last, use.Thawing)
	}
}

// TestFreezeSinkHangsAtEnd: once the last byte is here the target goes on, while the destination still
// takes them.
func TestFreezeSinkHangsAtEnd(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]int{"kcore": 8 << 20, "lime": 0} { // what /proc/kcore gives waits in several places
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f, _, _ := newFrozen(t)
			var l *fakeTarget
			if name == "lime" {
				l, after = newFake(t), len(f.image)-1
			}
			m, res := f.hang(t.Context(), l, int64(after), time.Hour, func() { f.cgroups.want(time.Minute) })
			f.same(m, f.image)
			if use := m.Freeze; res.State == StateFailed || len(res.Left) != 0 || res.Unfrozen != "" || use.Lost != "" || use.Early != nil || use.Thawed.IsZero() {
				t.Errorf("%+v\nfreeze %+v", res, use)
			}
		})
	}
}

// TestFreezeSinkHangsInterrupted: who gives up while the destination hangs does not leave the target
// standing until that is given up, too.
func TestFreezeSinkHangsInterrupted(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f, _, _ := newFrozen(t)
	ctx, cancel := context.WithCancel(t.Context())
	m, res := f.hang(ctx, newFake(t), 8<<20, time.Hour, func() {
		cancel()
		f.cgroups.want(time.Minute)
	})
	if use := m.Freeze; !res.Interrupted || len(res.Left) != 0 || use.Lost != "" || use.Early != nil || use.Thawed.IsZero() {
		t.Errorf("%+v\nfreeze %+v", res, use)
	}
}

//go:build unix

package acquire

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shotglass-ir/shotglass/sink"
)

// hungSink takes the first write of an image and hangs in the second, until it is hastened.
type hungSink struct {
	sink.Sink
	hung func() // called in the write that hangs
}

type hungObject struct {
	sink.Object
	s    *hungSink
	n    int
	free chan struct{}
}

func (s *hungSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	return &hungObject{Object: o, s: s, free: make(chan struct{})}, err
}

func (o *hungObject) Hasten(time.Duration) { close(o.free) }

func (o *hungObject) Write(p []byte) (int, error) {
	if o.n++; o.n == 2 {
		o.s.hung()
		<-o.free
		return 0, errors.New("hastened")
	}
	return o.Object.Write(p)
}

// TestRunHastened: an interrupt reaches a sink that hangs, and the image is sealed.
func TestRunHastened(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &hungSink{hung: func() { cancel(errors.New("ctrl-c")) }}
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) {
		s.Sink = o.Sink
		o.Sink, o.testOnlyFrameSize = s, 64<<10
	})
	if res.State != StatePartial || !res.Interrupted || res.Signature != "" || res.Manifest == "" {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Complete {
		t.Error("the manifest says complete")
	}
	f.clean()
}

func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		user, cancel := context.WithCancel(t.Context())
		early, done := grace(user)
		defer done()
		time.Sleep(time.Hour)
		synctest.Wait()
		if early.Err() != nil {
			t.Error("ended although nobody interrupted")
		}
		cancel()
		late, done := grace(user)
		defer done()
		for _, ctx := range []context.Context{early, late} {
			begin := time.Now()
			<-ctx.Done()
			if d := time.Since(begin); d > haste || !errors.Is(context.Cause(ctx), errHaste) {
				t.Errorf("ended after %s: %v", d, context.Cause(ctx))
			}
		}
	})
}

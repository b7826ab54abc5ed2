//go:build unix

package acquire

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// pendingSink is one whose images end in pieces.
type pendingSink struct{ sink.Sink }

type pendingObject struct{ sink.Object }

func (s *pendingSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	if strings.Contains(name, ".json") || strings.HasSuffix(name, FramesSuffix) {
		return o, err
	}
	return &pendingObject{o}, err
}

func (o *pendingObject) Commit(ctx context.Context) (sink.Receipt, error) {
	r, err := o.Object.Commit(ctx)
	r.Pending = &sink.Pending{
		Root: "/spill", Final: "s3://bucket/image", Here: 1, There: r.Size - 1, Why: "the bucket is gone",
		Descriptions: []sink.Description{{Name: "image.spill/pieces.json", SHA256: "abc"}},
	}
	return r, err
}

// TestRunPending: an image that is whole and in pieces is not called complete, its manifest is
// that of a whole image, and the user is told what finishes it.
func TestRunPending(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.Sink = &pendingSink{o.Sink} })
	var p *PendingError
	if res.State != StatePartial || !errors.As(res.Err, &p) || !strings.Contains(p.Hint(), "shotglass upload /spill") || len(res.Reasons) != 1 {
		t.Fatalf("%+v", res)
	}
	m := manifestIn(t, dir)
	if !m.Complete || m.Image.Partial || m.Image.Location != "s3://bucket/image" || m.Image.Pieces == nil || m.Image.Pieces.Descriptions[0] != (Reference{Name: "image.spill/pieces.json", SHA256: "abc"}) {
		t.Errorf("manifest %+v", m.Image)
	}
}

// emptySink loses everything.
type emptySink struct{ sink.Sink }

type emptyObject struct{ sink.Object }

func (s *emptySink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	if strings.Contains(name, ".json") || strings.HasSuffix(name, FramesSuffix) {
		return o, err
	}
	return &emptyObject{o}, err
}

func (o *emptyObject) Commit(context.Context) (sink.Receipt, error) {
	return sink.Receipt{}, errors.New("refused")
}

func (o *emptyObject) Keep(ctx context.Context) (sink.Receipt, error) {
	return sink.Receipt{}, errors.Join(o.Abort(ctx), sink.ErrNothing)
}

// TestRunNothingStored: without a byte in the sink there is no image, not even a partial one.
func TestRunNothingStored(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.Sink = &emptySink{o.Sink} })
	if res.State != StateFailed || res.Manifest == "" || !errors.Is(res.Err, sink.ErrNothing) {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Complete || m.Image.Stored.Bytes != 0 || m.Image.Raw.SHA256 != "" {
		t.Errorf("manifest %+v", m.Image)
	}
	f.clean()
}

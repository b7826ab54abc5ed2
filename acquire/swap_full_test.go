//go:build unix

package acquire

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
)

// A noSwapSink has room for everything but swap areas.
type noSwapSink struct{ sink.Sink }

type noSwapObject struct{ sink.Object }

func (s noSwapSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	if is, _ := IsSwap(name); err == nil && is {
		return noSwapObject{o}, nil
	}
	return o, err
}

func (noSwapObject) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestSwapDiskFull: where the place for an area takes no more, connections still read ahead. What
// they found is looked at once they have ended: only the race detector sees it otherwise, or a crash.
func TestSwapDiskFull(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newKcore(t)
	f.dd = withDirect
	const size = 96 << 20
	f.addSwap("swap1", size, swapHead(4096, size/4096, binary.LittleEndian, ""))
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		asksSwap(o)
		o.Sink, o.Compression, o.Connections = noSwapSink{o.Sink}, "none", 4
	})
	serr, ok := errors.AsType[*SwapError](res.Err)
	if res.State != StateComplete || !ok || !strings.Contains(serr.Error(), "no space") {
		t.Fatalf("%+v", res)
	}
	m := manifestIn(t, dir)
	if x := m.SwapImages[0]; !m.Complete || x.Complete || x.Connections == nil || x.Connections.Bytes == 0 || x.Unreadable == nil {
		t.Errorf("complete %t, swap %+v", m.Complete, x)
	}
}

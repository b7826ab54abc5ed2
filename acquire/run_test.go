//go:build unix

package acquire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/kcore"
	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/transport"
)

// onStreaming closes c when bytes may flow.
func onStreaming(c chan struct{}) Observer {
	return func(e Event) {
		if _, ok := e.(Streaming); ok {
			close(c)
		}
	}
}

func TestRunComplete(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	dir := t.TempDir()
	var events []Event
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Observer = func(e Event) { events = append(events, e) }
	})
	if res.State != StateComplete || res.Err != nil || len(res.Left) != 0 {
		t.Fatalf("%+v", res)
	}
	m := manifestIn(t, dir)
	if !m.Complete || m.Image.Raw.Bytes != int64(len(f.image)) || !m.Footprint.Clean || m.Footprint.TaintAfter != "4097" || m.Footprint.BytesPushed != 6 {
		t.Errorf("manifest %+v", m)
	}
	// When memory was read is on record, and within the stream.
	r := m.Stream.Ranges
	first, last := m.ReadSpan()
	if len(m.Reads) != 1 || m.Reads[0].Addr != 0x1000 || !first.Equal(r[0].First) || !last.Equal(r[1].Last) || m.Method.Buffered <= channelWindow {
		t.Errorf("reads %v, buffered %d, ranges %+v", m.Reads, m.Method.Buffered, r)
	}
	if _, ok := events[len(events)-1].(Finished); !ok {
		t.Errorf("last event %T", events[len(events)-1])
	}
	f.clean()
}

// partialCases end in a partial image.
func TestRunPartial(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		serve  func(c net.Conn, image []byte)
		reason string
	}{
		{"cut in a record", func(c net.Conn, b []byte) { c.Write(b[:3<<20]) }, "records: "},
		{"cut between records", func(c net.Conn, b []byte) { c.Write(b[:32+0x9fbff-0xfff]) }, "ranges: "},
		{"cut in a header", func(c net.Conn, b []byte) { c.Write(b[:32+0x9fbff-0xfff+5]) }, "records: "},
		{"a byte too much", func(c net.Conn, b []byte) { c.Write(append(b, 0)) }, "records: "},
		{"without the banner", func(c net.Conn, b []byte) {
			c.Write([]byte(strings.Replace(string(b), "Linux version", "Linux vorsion", 1)))
		}, "banner: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			noLeak(t)
			f := newFake(t)
			f.serve = tt.serve
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, nil)
			if res.State != StatePartial || res.Err == nil || !strings.HasSuffix(res.Image.Location, ".partial") {
				t.Fatalf("%+v", res)
			}
			m := manifestIn(t, dir)
			if m.Complete || !strings.HasPrefix(strings.Join(m.Reasons, "\n"), tt.reason) {
				t.Errorf("complete %t, reasons %q", m.Complete, m.Reasons)
			}
			f.clean()
		})
	}
}

func TestRunNothingSent(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.serve = func(net.Conn, []byte) {}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, nil)
	if res.State != StateFailed || res.Err == nil {
		t.Fatalf("%+v", res)
	}
	f.onRecord(dir, "the target sent nothing")
	f.clean()
}

func TestRunStalled(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newFake(t)
	f.serve = func(c net.Conn, b []byte) {
		c.Write(b[:1<<20])
		c.Read(make([]byte, 1)) // until it is closed
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.StallTimeout = time.Second })
	var stall *errStalled
	if res.State != StatePartial || !errors.As(res.Err, &stall) {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Image.Raw.Bytes != 1<<20 || len(m.Anomalies) == 0 {
		t.Errorf("%d bytes, anomalies %q", m.Image.Raw.Bytes, m.Anomalies)
	}
	f.clean()
}

func TestRunInterrupted(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	streaming := make(chan struct{})
	f.serve = func(c net.Conn, b []byte) {
		<-streaming
		c.Write(b[:3<<20]) // more than fits the channel window: some of it was read
		cancel(errors.New("ctrl-c"))
		c.Read(make([]byte, 1))
	}
	dir := t.TempDir()
	res := f.capture(ctx, dir, func(o *Options) { o.Observer = onStreaming(streaming) })
	if res.State != StatePartial || !res.Interrupted {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Complete || !m.Footprint.Clean {
		t.Errorf("complete %t, clean %t", m.Complete, m.Footprint.Clean)
	}
	f.clean()
}

// TestRunConnectionLost: the agent's word is missing, so a second connection checks.
func TestRunConnectionLost(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.mute = true
	streaming := make(chan struct{})
	f.serve = func(c net.Conn, b []byte) {
		<-streaming
		c.Write(b[:1<<20])
		f.server.Kill()
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) { o.Observer = onStreaming(streaming) })
	if res.State != StatePartial || len(res.Left) != 0 || f.cleaned != 1 {
		t.Fatalf("cleaned %d times: %+v", f.cleaned, res)
	}
	f.clean()
}

// TestRunGone: nobody can be asked any more; the user is told what may be left, and the
// command that removes it.
func TestRunGone(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newFake(t)
	f.mute = true
	streaming := make(chan struct{})
	f.serve = func(c net.Conn, b []byte) {
		<-streaming
		c.Write(b[:1<<20])
		go f.server.Close()
	}
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.CleanupTimeout, o.Observer = 3*time.Second, onStreaming(streaming)
	})
	if res.State != StatePartial || len(res.Left) != 1 || !strings.Contains(res.Fix, "rmmod lime") {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Footprint.Clean || len(m.Footprint.Left) != 1 {
		t.Errorf("%+v", m.Footprint)
	}
}

func TestRunLeft(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.leave = true
	res := f.capture(t.Context(), t.TempDir(), nil)
	if res.State != StateComplete || len(res.Left) != 1 || res.Fix == "" {
		t.Fatalf("%+v", res)
	}
}

func TestRunPortTaken(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.insmod = func(try int) (int, string) {
		if try < 3 {
			return 1, "insmod: ERROR: could not insert module lime.ko: Address already in use"
		}
		return 0, ""
	}
	if res := f.capture(t.Context(), t.TempDir(), nil); res.State != StateComplete || f.agents != 3 {
		t.Fatalf("%d agents: %+v", f.agents, res)
	}
	f.clean()
	f.agents, f.insmod = 0, func(int) (int, string) { return 1, "Address already in use" }
	dir := t.TempDir()
	if res := f.capture(t.Context(), dir, nil); res.State != StateFailed || !errors.Is(res.Err, errPortTaken) || f.agents != tries {
		t.Fatalf("%d agents: %+v", f.agents, res)
	}
	f.onRecord(dir, "the port is taken")
}

func TestRunDisclosed(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.foreign = true
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, nil)
	var d *errDisclosed
	if res.State != StateFailed || !errors.As(res.Err, &d) || !strings.Contains(d.detail, "uid 1000") {
		t.Fatalf("%+v", res)
	}
	f.onRecord(dir, "disclosed")
	f.clean()
}

// TestRunServedBefore: LiME has served somebody before we could connect.
func TestRunServedBefore(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.early = true
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, nil)
	var d *errDisclosed
	if res.State != StateFailed || !errors.As(res.Err, &d) {
		t.Fatalf("%+v", res)
	}
	f.onRecord(dir, "disclosed")
}

// TestRunInsmodKilled: the stream is whole, but insmod was killed at its end.
func TestRunInsmodKilled(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	f.exit = 137
	dir := t.TempDir()
	if res := f.capture(t.Context(), dir, nil); res.State != StatePartial || !strings.Contains(strings.Join(res.Reasons, ";"), "insmod: ") {
		t.Fatalf("%+v", res)
	}
}

// TestRunStale: a target that was rebooted while it waited for its turn is not captured.
func TestRunStale(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	tg := f.server.Target()
	tg.Name = "fake"
	p, err := NewPlan(t.Context(), Jobs(tg), f.options(t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Steps[0].planned = p.Steps[0].planned.Add(-2 * stale)
	f.server.Kill()
	f.tempered = func(s string) string { return replaceSection(s, "boot_id", "another") }
	if res := p.Run(t.Context())[0]; res.State != StateFailed || f.agents != 0 || !strings.Contains(res.Err.Error(), "changed since the plan") {
		t.Fatalf("%d agents, %+v", f.agents, res)
	}
}

// A movedDialer finds another machine at the name from the second connection on.
type movedDialer struct {
	transport.Dialer
	to    transport.Target
	dials atomic.Int64
}

func (d *movedDialer) Dial(ctx context.Context, t transport.Target) (transport.Conn, error) {
	if d.dials.Add(1) > 1 {
		t = d.to
	}
	return d.Dialer.Dial(ctx, t)
}

// TestRunMoved: a machine that says the same of itself and has another host key is not captured
// in place of the one that was planned, also where host keys are not checked.
func TestRunMoved(t *testing.T) {
	noLeak(t)
	f, other := newFake(t), newFake(t)
	dir := t.TempDir()
	o := f.options(dir)
	o.Dialer = &movedDialer{Dialer: o.Dialer, to: other.server.Target()}
	p, err := NewPlan(t.Context(), []Job{f.job("fake")}, o)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	f.server.Kill()
	p.Steps[0].planned = p.Steps[0].planned.Add(-2 * stale)
	res := p.Run(t.Context())[0]
	if res.State != StateFailed || f.agents+other.agents != 0 || !strings.Contains(fmt.Sprint(res.Err), "another host key") {
		t.Fatalf("%d agents, %+v", f.agents+other.agents, res)
	}
	if e, _ := os.ReadDir(dir); len(e) != 0 {
		t.Errorf("left %v", e)
	}
}

// TestRunFreshTunnel: a tunnel that lasts for a time alone is not the one in which the target waited for its turn. The old one is
// closed first: an endpoint carries few at once.
func TestRunFreshTunnel(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	for name, tt := range map[string]struct {
		longest, old time.Duration
		tunnels      int64
	}{"aged": {time.Hour, 2 * stale, 2}, "fresh": {time.Hour, 0, 1}, "endless": {0, 2 * stale, 1}} {
		t.Run(name, func(t *testing.T) {
			var made, left, open atomic.Int64
			j := f.job("fake")
			addr := f.server.Addr()
			j.Target.Tunnel = &transport.Tunnel{Name: "a tunnel", Longest: tt.longest, Dial: func(ctx context.Context, _ int) (net.Conn, error) {
				made.Add(1)
				left.Store(open.Load())
				c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
				open.Add(1)
				return &closeTold{Conn: c, told: func() { open.Add(-1) }}, err
			}}
			p, err := NewPlan(t.Context(), []Job{j}, f.options(t.TempDir()))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			s := p.Steps[0]
			s.host.since = s.host.since.Add(-tt.old)
			if res := p.Run(t.Context())[0]; res.State != StateComplete || made.Load() != tt.tunnels || left.Load() != 0 {
				t.Errorf("%d tunnels, %d open before the last: %+v", made.Load(), left.Load(), res)
			}
		})
	}
}

// closeTold tells of its first Close.
type closeTold struct {
	net.Conn
	once sync.Once
	told func()
}

func (c *closeTold) Close() error {
	c.once.Do(c.told)
	return c.Conn.Close()
}

// roomSink takes some bytes of the image, then has no room.
type roomSink struct {
	sink.Sink
	room int
}

type roomObject struct {
	sink.Object
	s *roomSink
}

func (s *roomSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	if err != nil || strings.HasSuffix(name, ".json") || strings.HasSuffix(name, ".frames") {
		return o, err
	}
	return &roomObject{o, s}, nil
}

func (o *roomObject) Write(p []byte) (int, error) {
	n, err := o.Object.Write(p[:min(len(p), o.s.room)])
	o.s.room -= n
	if err == nil && n < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

func TestRunDiskFull(t *testing.T) {
	noLeak(t)
	f := newFake(t)
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, func(o *Options) {
		o.Sink, o.Compression = &roomSink{o.Sink, 2<<20 + 100}, "none"
	})
	if res.State != StatePartial || !errors.Is(res.Err, syscall.ENOSPC) {
		t.Fatalf("%+v", res)
	}
	if m := manifestIn(t, dir); m.Image.Stored.Bytes != 2<<20+100 || m.Complete {
		t.Errorf("%+v", m.Image)
	}
	f.clean()
}

// A neutralSink cannot rename and uploads in the background: Keep can lose the end of what
// Write took.
type neutralSink struct {
	sink.Sink
	dir  string
	lose int64
}

func (*neutralSink) Neutral() bool { return true }

func (s *neutralSink) Open(ctx context.Context, name string) (sink.Reader, error) {
	return s.Sink.(sink.Opener).Open(ctx, name)
}

func (s *neutralSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	return &neutralObject{o, s, name}, err
}

type neutralObject struct {
	sink.Object
	s    *neutralSink
	name string
}

func (o *neutralObject) Keep(ctx context.Context) (sink.Receipt, error) {
	r, err := o.Object.Commit(ctx)
	if err == nil {
		r.Size, r.Partial = r.Size-o.s.lose, true
		err = os.Truncate(filepath.Join(o.s.dir, o.name), r.Size)
	}
	return r, err
}

// TestRunNeutral: where nothing can be renamed, the manifest's name says partial. What the sink
// lost is not in its digests.
func TestRunNeutral(t *testing.T) {
	for _, lose := range []int64{0, 1, 100_000} {
		for _, compression := range frame.Compressions {
			f := newFake(t)
			f.serve = func(c net.Conn, image []byte) { c.Write(image[:len(image)*3/4]); c.Close() }
			dir := t.TempDir()
			o, j := f.options(dir), f.job("fake")
			s := &neutralSink{o.Sink, dir, lose}
			o.Sink, o.Compression, o.Signer, j.Name = s, compression, alice, "web1.lime"
			res := runJobs(t.Context(), t, o, j)[0]
			if res.State != StatePartial || !strings.HasSuffix(res.Manifest, "web1.lime.partial.json") || !strings.HasSuffix(res.Signature, "web1.lime.partial.json.sig") {
				t.Fatalf("%+v", res)
			}
			rep, err := Verify(t.Context(), s, "web1.lime", VerifyOptions{Signers: allowed(t, "")})
			if err != nil || rep.Verdict != VerdictPartial {
				t.Errorf("%s without the last %d bytes: %v, %s", compression, lose, err, problemText(rep))
			}
		}
	}
}

// TestRunNames: what is there is never overwritten, and the target not touched.
func TestRunNameTaken(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	for _, taken := range []string{"image.lime", "image.lime.partial"} {
		if err := os.WriteFile(dir+"/"+taken, []byte("evidence"), 0o600); err != nil {
			t.Fatal(err)
		}
		j := f.job("fake")
		j.Name = "image.lime"
		res := runJobs(t.Context(), t, f.options(dir), j)[0]
		if res.State != StateFailed || !errors.Is(res.Err, sink.ErrExists) || f.agents != 0 {
			t.Fatalf("%+v", res)
		}
		if b, _ := os.ReadFile(dir + "/" + taken); string(b) != "evidence" {
			t.Fatalf("%s holds %q", taken, b)
		}
		os.Remove(dir + "/" + taken)
	}
}

// TestRunZeroFill: pages that live memory held before and after are zero in the image.
func TestRunZeroFill(t *testing.T) {
	f := newFake(t)
	// One segment maps all of the fake's RAM at offset 0 of a fake kcore.
	m, err := kcore.NewMap([]kcore.Segment{{Offset: 0, Virtual: 1 << 47, Physical: 0x1000, Size: 0x4ff000}}, f.ram)
	if err != nil {
		t.Fatal(err)
	}
	run := func(pages func(page uint64, look int) string) Result {
		f.pages = pages
		f.looks = 0
		tg := f.server.Target()
		tg.Name = "fake"
		p, err := NewPlan(t.Context(), Jobs(tg), f.options(t.TempDir()))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		p.Steps[0].host.facts.kcore = m
		return p.Run(t.Context())[0]
	}
	// kcore's page n is physical page n+1; every fourth page of each range is zero.
	zero := func(n uint64) bool { return n+1 < 0x100 && n%4 == 1 || n+1 >= 0x100 && (n+1-0x100)%4 == 1 }
	truth := func(n uint64, _ int) string {
		if zero(n) {
			return "999"
		}
		return "1"
	}
	if res := run(truth); res.State != StateComplete {
		t.Errorf("a true image: %+v", res)
	}
	if f.looks != 1 {
		t.Errorf("%d looks at memory, one suffices", f.looks)
	}
	// All in use before and after: the zeros are a lie.
	if res := run(func(uint64, int) string { return "1" }); res.State != StatePartial || !strings.Contains(strings.Join(res.Reasons, ";"), "zero fill") {
		t.Errorf("a zero fill: %+v", res)
	}
	// In use before and something else after: freed and used again. It proves nothing
	// where the image goes on after the zeros...
	lastInRange := func(n uint64) bool { return n+1 == 0x4ff }
	if res := run(func(n uint64, look int) string {
		if lastInRange(n) {
			return "999"
		}
		return map[int]string{1: "1", 2: "2"}[look]
	}); res.State != StateComplete {
		t.Errorf("pages that came and went: %+v", res)
	}
	// ... but it does where all is zero up to the end of the range.
	image := bytes.Clone(f.image)
	clear(f.image[len(f.image)-1<<20:])
	if res := run(func(n uint64, look int) string { return map[int]string{1: "1", 2: "2"}[look] }); res.State != StatePartial || !strings.Contains(strings.Join(res.Reasons, ";"), "all that follows") {
		t.Errorf("a zero tail: %+v", res)
	}
	// Freed and zero since: the truth.
	if res := run(func(n uint64, look int) string { return map[int]string{1: "1", 2: "999"}[look] }); res.State != StateComplete {
		t.Errorf("pages freed: %+v", res)
	}
	f.image = image
}

// slowSink takes its time with the second write.
type slowSink struct {
	sink.Sink
	wait chan struct{}
}

type slowObject struct {
	sink.Object
	s *slowSink
	n int
}

func (s *slowSink) Create(ctx context.Context, name string) (sink.Object, error) {
	o, err := s.Sink.Create(ctx, name)
	return &slowObject{Object: o, s: s}, err
}

func (o *slowObject) Write(p []byte) (int, error) {
	if o.n++; o.n == 2 {
		<-o.s.wait
	}
	return o.Object.Write(p)
}

// TestRunSlowSink: a sink that stands still longer than the stall timeout ends nothing.
func TestRunSlowSink(t *testing.T) {
	t.Parallel()
	noLeak(t)
	f := newFake(t)
	// A stream that is longer than what the pipeline holds, so that it must wait.
	s := &slowSink{wait: make(chan struct{})}
	time.AfterFunc(3*time.Second, func() { close(s.wait) })
	res := f.capture(t.Context(), t.TempDir(), func(o *Options) {
		s.Sink = o.Sink
		o.Sink, o.StallTimeout, o.testOnlyFrameSize = s, time.Second, 64<<10
	})
	if res.State != StateComplete {
		t.Fatalf("%+v", res)
	}
}

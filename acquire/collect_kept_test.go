//go:build unix

package acquire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/live"
	"github.com/shotglass-ir/shotglass/sink"
)

// takenSink has a file of the archive's name already.
type takenSink struct{ sink.Sink }

func (s takenSink) Create(ctx context.Context, name string) (sink.Object, error) {
	if strings.HasSuffix(name, LiveSuffix) && strings.HasPrefix(name, "fake-") {
		return nil, sink.ErrExists
	}
	return s.Sink.Create(ctx, name)
}

// fullSink has room for the image's manifest, and no more is kept once that was given back.
type fullSink struct {
	*sink.Disk
	asked atomic.Int32
}

func (s *fullSink) Reserve(ctx context.Context, name string, n int64) (func(), error) {
	if s.asked.Add(1) > 1 {
		return nil, errors.New("the disk is full")
	}
	return s.Disk.Reserve(ctx, name, n)
}

// TestCollectKept: what was read before memory is not thrown away for a name that is taken, or for
// want of room.
func TestCollectKept(t *testing.T) {
	t.Parallel()
	t.Run("name taken", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		dir := t.TempDir()
		m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) {
			collects(t, "clock", "version")(o)
			o.Sink = takenSink{o.Sink}
		}))
		l := m.Live
		if l.Complete || len(l.Reasons) != 1 || !strings.Contains(l.Reasons[0], "it is kept as "+l.Image.Name) || l.Image.Location == "" {
			t.Fatalf("%+v", l)
		}
		if files := filesOf(t, unpack(t, l.Image.Location, nil)); files["before/clock"] == "" || files["proc/version"] == "" {
			t.Errorf("it holds %v", files)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 || rep.Live.Raw == 0 || rep.Live.File != l.Image.Name {
			t.Errorf("verify: %+v, %+v", rep.Problems, rep.Live)
		}
	})
	t.Run("no room", func(t *testing.T) {
		t.Parallel()
		f := newKcore(t)
		dir := t.TempDir()
		var told []string
		m := f.complete(dir, f.capture(t.Context(), dir, func(o *Options) {
			collects(t, "clock", "version")(o)
			o.Sink = &fullSink{Disk: o.Sink.(*sink.Disk)}
			o.Observer = func(e Event) {
				if p, ok := e.(Problem); ok {
					told = append(told, p.Err.Error())
				}
			}
		}))
		files := filesOf(t, unpack(t, m.Live.Image.Location, nil))
		if files["before/clock"] == "" || files["proc/version"] != "" || !m.Live.Complete || len(told) != 1 || !strings.Contains(told[0], "the disk is full") {
			t.Errorf("%v, %+v, told %q", files, m.Live, told)
		}
		if it := itemOf(t, m.Live, "version", live.After); !strings.Contains(it.Error, "the disk is full") {
			t.Errorf("%+v", it)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 {
			t.Errorf("verify: %+v", rep.Problems)
		}
	})
}

// TestCollectRejected: a second image does not wait for what can be read after it.
func TestCollectRejected(t *testing.T) {
	t.Parallel()
	l, k := twoWays(t, nil)
	noBanner(k, l)
	var read []string
	k.stdout = func(name string, w io.Writer) io.Writer {
		if name != "?" && name != "read" {
			return w
		}
		return feed(func(p []byte) (int, error) {
			if i := bytes.Index(p, []byte(" + version\n")); i >= 0 {
				read = append(read, "version")
			} else if name == "read" && (len(read) == 0 || read[len(read)-1] != name) {
				read = append(read, name)
			}
			return w.Write(p)
		})
	}
	dir := t.TempDir()
	res := k.capture(t.Context(), dir, func(o *Options) {
		auto(o)
		collects(t, "clock", "version")(o)
		o.Connections = 1
	})
	if res.State != StateComplete || res.Other == nil {
		t.Fatalf("%+v", res)
	}
	if !slices.Equal(read, []string{"read", "version"}) {
		t.Errorf("read: %q", read)
	}
	all := manifestsIn(t, dir)
	first, second := all[res.Other.Image.Name], all[res.Image.Name]
	for _, m := range []*Manifest{first, second} {
		if it := itemOf(t, m.Live, "clock", live.Before); it.Error != "" || !m.Live.Complete {
			t.Errorf("%s: %+v, %+v", m.Image.Name, it, m.Live)
		}
		if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 {
			t.Errorf("verify: %+v", rep.Problems)
		}
	}
	if it := itemOf(t, first.Live, "version", live.After); !strings.Contains(it.Error, "second image") {
		t.Errorf("%+v", it)
	}
	if it := itemOf(t, second.Live, "version", live.After); it.Error != "" {
		t.Errorf("%+v", it)
	}
}

// TestVerifyNoImage: a capture that brings no byte of memory leaves what was collected, and verify checks it.
func TestVerifyNoImage(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	f.stdout = func(name string, w io.Writer) io.Writer {
		if name == "read" {
			return io.Discard
		}
		return w
	}
	f.dd = `printf() { command printf "$@"; case $1 in *ready*) exit 3 ;; esac; }`
	dir := t.TempDir()
	res := f.capture(t.Context(), dir, collects(t, "clock", "version"))
	m := manifestIn(t, dir)
	if res.State != StateFailed || m.Complete || m.Image.Location != "" || m.Live == nil {
		t.Fatalf("%+v, %+v", res, m.Live)
	}
	rep := verifyIn(t, dir, m)
	if len(rep.Problems) > 0 || rep.Live == nil || rep.Live.Raw == 0 || rep.Verdict != VerdictUntrusted {
		t.Errorf("%+v, %+v", rep, rep.Live)
	}
	d, err := sink.NewDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := d.Create(t.Context(), "other"+ManifestSuffix)
	if err != nil {
		t.Fatal(err)
	}
	m.Image.Name, m.Complete = "other", true
	data, err := m.Marshal()
	if err == nil {
		_, err = obj.Write(data)
	}
	if err == nil {
		_, err = obj.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if rep := verifyIn(t, dir, m); !strings.Contains(problemText(rep), "nothing is stored") {
		t.Errorf("complete without an image: %s", problemText(rep))
	}
}

// TestResumeUncollected: an image is kept without what is asked for beside it, and that is told.
func TestResumeUncollected(t *testing.T) {
	t.Parallel()
	f := newKcore(t)
	dir := t.TempDir()
	take := func(words ...string) Result {
		o := (&fakeTarget{t: t}).resuming(dir)
		o.Method = MethodKcore
		collects(t, words...)(&o)
		target := f.server.Target()
		target.Name = "fake"
		return runJobs(t.Context(), t, o, Job{Target: target})[0]
	}
	if res := take("version"); res.State != StateComplete {
		t.Fatalf("%+v", res)
	}
	if res := take("version"); res.KeptFrom.IsZero() || len(res.Notes) > 0 {
		t.Errorf("%+v", res)
	}
	if res := take("version", "cmdline"); res.KeptFrom.IsZero() || !strings.HasSuffix(strings.Join(res.Notes, ";"), "this was not collected beside it: cmdline") {
		t.Errorf("%+v", res)
	}
}

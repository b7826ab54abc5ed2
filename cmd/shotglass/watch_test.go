package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
	"github.com/shotglass-ir/shotglass/sink"
)

// story runs a capture of web1 through a view, in fake time, and returns stdout and stderr.
func story(t *testing.T, newView func(c *console) view) (stdout, stderr string) {
	var out, errs strings.Builder
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(nil, &out, &errs)
		w := watch(c, []string{"web1", "web2"}, newView(c))
		p := new(pipeline.Progress)
		res := &acquire.Result{Host: "web1", State: acquire.StateComplete, Duration: 100 * time.Second}
		res.Image.Raw = acquire.Digest{Bytes: 100 << 20, SHA256: "ab"}
		w.observeAs("web1", acquire.Connecting{})
		w.observeAs("web1", acquire.Connected{RTT: 100 * time.Millisecond, MaxRate: 20e6})
		w.observeAs("web1", acquire.Planned{Step: &acquire.Step{Host: "web1", Source: "lime", Expected: 100 << 20, Warnings: []string{"swap is not captured"}}})
		w.observeAs("web1", acquire.Preparing{What: "loading LiME"})
		w.observeAs("web1", acquire.Streaming{Expected: 100 << 20, Progress: p})
		time.Sleep(500 * time.Millisecond) // ticks fall between bytes
		for range 40 {
			p.RawBytes.Add(1 << 20)
			p.StoredBytes.Add(1 << 19)
			time.Sleep(time.Second)
		}
		w.observeAs("web1", acquire.Stalled{For: 10 * time.Second, GivesUp: 5 * time.Minute})
		for range 9 { // the engine repeats itself
			w.observeAs("web1", acquire.Stalled{For: 11 * time.Second, GivesUp: 5 * time.Minute})
		}
		w.observeAs("web1", acquire.Problem{Err: withHint(errors.New("manifest is not signed"), "do this")})
		w.showStatus()
		synctest.Wait()
		w.observeAs("web1", acquire.Resumed{After: 12 * time.Second})
		w.observeAs("web1", acquire.Cleaning{})
		w.observeAs("web1", acquire.Finished{Result: res})
		failed := &acquire.Result{Host: "web2", State: acquire.StateFailed, Err: errors.New("remote said \x1b[2J"), Left: []string{"module lime"}, Fix: "ssh web2 'sudo rmmod lime'"}
		w.observeAs("web2", acquire.Finished{Result: failed})
		w.close()
	})
	return out.String(), errs.String()
}

func withHint(err error, hint string) error { return &hinted{err, hint} }

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	rest := text
	for _, l := range lines {
		_, after, ok := strings.Cut(rest, l)
		if !ok {
			t.Errorf("%q is missing, or not in its place, in:\n%s", l, text)
			return
		}
		rest = after
	}
}

func TestPlainView(t *testing.T) {
	stdout, stderr := story(t, func(c *console) view { return &plainView{c: c} })
	if stdout != "" {
		t.Errorf("the story went to stdout: %q", stdout)
	}
	wantLines(t, stderr,
		"web1: connecting\n",
		"web1: connected, round trip 100ms: one SSH channel carries at most 20.0 MB/s\n",
		"web1: 100 MiB of memory through lime\n",
		"web1: warning: swap is not captured\n",
		"web1: loading LiME\n",
		"web1: streaming, 100 MiB expected\n",
		"web1: 30.0 MiB of 100 MiB (30 %), 15.0 MiB stored, 1.0 MB/s, 1m10s left\n",
		"web1: no byte came for 10s; giving up after 5m0s\n",
		"shotglass: error: web1: manifest is not signed\n",
		"shotglass: hint: do this\n",
		"web1: 40.0 MiB of 100 MiB (40 %)", "stalled\n",
		"web2: waiting\n",
		"web1: bytes flow again after 12s\n",
		"web1: stream ended, cleaning the target\n",
		"web1: complete, 100 MiB in 1m40s (1.0 MB/s)\n",
		`shotglass: error: web2: remote said \x1b[2J`+"\n",
		"shotglass: warning: web2: left on the target: module lime\n",
		"shotglass: hint: ssh web2 'sudo rmmod lime'\n",
	)
}

func TestQuietView(t *testing.T) {
	_, stderr := story(t, func(c *console) view { c.quiet = true; return &plainView{c: c, problems: true} })
	wantLines(t, stderr, "error: web1: manifest is not signed", "error: web2: remote said")
	for _, l := range []string{"connecting", "MiB", "complete"} {
		if strings.Contains(strings.Split(stderr, "hint: do this")[0], l) {
			t.Errorf("quiet view says %q:\n%s", l, stderr)
		}
	}
}

func TestJSONView(t *testing.T) {
	stdout, _ := story(t, func(c *console) view { c.json = true; return newJSONView(c, true) })
	kinds := map[string]int{}
	for l := range strings.Lines(stdout) {
		var m struct {
			V     int
			Type  string `json:"message_type"`
			State string
			Raw   int64   `json:"raw_bytes"`
			Rate  float64 `json:"bytes_per_second"`
		}
		if err := json.Unmarshal([]byte(l), &m); err != nil || m.V != 1 {
			t.Fatalf("%s: %v", l, err)
		}
		kinds[m.Type]++
		kinds[m.State]++
		if m.Type == "progress" && (m.Raw == 0 || m.Rate < 0.9e6) {
			t.Errorf("progress: %s", l)
		}
	}
	for _, k := range []string{"plan", "connecting", "connected", "preparing", "streaming", "stalled", "resumed", "cleaning", "problem", "complete", "failed"} {
		if kinds[k] != 1 {
			t.Errorf("%d lines of %s, want 1", kinds[k], k)
		}
	}
	if kinds["progress"] < 15 || kinds["progress"] > 22 {
		t.Errorf("%d progress lines in 40 s", kinds["progress"])
	}
}

// A terminal that takes nothing must not hold up the engine.
func TestObserverNeverBlocks(t *testing.T) {
	block := make(chan struct{})
	c := newConsole(nil, io.Discard, writerFunc(func(p []byte) (int, error) { <-block; return len(p), nil }))
	w := watch(c, []string{"web1"}, &plainView{c: c})
	c.divertTo(w.say)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 1000 {
			w.observeAs("web1", acquire.Preparing{What: fmt.Sprint(i)})
			c.log().Warn("library")
			w.showStatus()
		}
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the observer waits for the terminal")
	}
	close(block)
	w.close()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestPartialError(t *testing.T) {
	r := &acquire.Result{Reasons: []string{"stream: lost", "ranges: short"}}
	r.Image.Location = "/x.partial"
	r.Err = errors.Join(&acquire.PartialError{Reasons: r.Reasons}, errors.Join(withHint(errors.New("link died"), "look at the link")), errors.New("stream: lost"))
	var errs strings.Builder
	newConsole(nil, nil, &errs).fail("web1", &partialError{r})
	want := "shotglass: error: web1: the image is partial (0 B); it is kept in /x.partial\n" +
		"shotglass: error:   stream: lost\nshotglass: error:   ranges: short\nshotglass: error:   link died\n" +
		"shotglass: hint: look at the link\n"
	if errs.String() != want {
		t.Errorf("have\n%swant\n%s", errs.String(), want)
	}
	r.Reasons, r.Err = nil, errors.New("manifest: disk full")
	if msg := (&partialError{r}).Error(); !strings.Contains(msg, "its record is not") || !strings.Contains(msg, "disk full") {
		t.Error(msg)
	}
}

// TestInPieces: an image that waits in pieces is not said to be at its place.
func TestInPieces(t *testing.T) {
	perr := &acquire.PendingError{Pending: sink.Pending{Root: "/spill", Final: "s3://bucket/image", Here: 1, There: 2, Why: "gone"}}
	r := &acquire.Result{Reasons: []string{perr.Error()}, Err: perr}
	r.Image.Location = "s3://bucket/image"
	var errs strings.Builder
	newConsole(nil, nil, &errs).fail("web1", &partialError{r})
	want := "shotglass: error: web1: the image is in pieces (0 B)\n" +
		"shotglass: error:   s3://bucket/image is not there yet: its bucket failed; 2 bytes wait in it, and 1 in /spill: gone\n" +
		"shotglass: hint: keep /spill; when the bucket answers again: shotglass upload /spill\n"
	if errs.String() != want {
		t.Errorf("have\n%swant\n%s", errs.String(), want)
	}
}

func TestLeftBehind(t *testing.T) {
	h := newHosts([]string{"waiting", "busy host", "done"})
	now := time.Now()
	if s := goodbye("SIGINT", h); strings.Contains(s, "partial") {
		t.Errorf("nothing was touched yet, but: %s", s)
	}
	h.apply("busy host", acquire.Preparing{}, now)
	if s := goodbye("SIGINT", h); !strings.Contains(s, "finishing the partial image") || !strings.Contains(s, "again") {
		t.Error(s)
	}
	h.apply("busy host", acquire.Preparing{Freezes: 30 * time.Second}, now)
	h.apply("busy host", acquire.Preparing{What: "loading LiME"}, now)
	h.apply("busy host", acquire.Streaming{Progress: new(pipeline.Progress)}, now)
	res := &acquire.Result{State: acquire.StatePartial, Left: []string{"a folder"}}
	res.Image.Location = "/x.partial"
	h.apply("done", acquire.Finished{Result: res}, now)
	wantLines(t, strings.Join(leftLines(h), "\n"),
		"waiting: waiting, nothing was done to it",
		"done: finished, partial, /x.partial; left on the target: a folder",
		"busy host: its user processes may be frozen; they go on once this connection is gone, or within 30s",
		"busy host: streaming, LiME may still be loaded",
		"ssh 'busy host' 'sudo rmmod lime'",
		"by itself once this connection is gone",
	)
}

func TestRateWindow(t *testing.T) {
	p := new(pipeline.Progress)
	begin := time.Now()
	s := &hostState{Progress: p, Expected: 1000, began: begin}
	p.RawBytes.Store(100)
	if r := s.read(begin.Add(10 * time.Second)); r.Rate != 10 || r.Left != 90*time.Second {
		t.Errorf("%+v", r)
	}
	for i := range 100 { // nothing more comes
		s.read(begin.Add(time.Duration(11+i) * time.Second))
	}
	if r := s.read(begin.Add(200 * time.Second)); r.Rate != 0 || r.Left != 0 || len(s.samples) > 20 {
		t.Errorf("%+v with %d samples", r, len(s.samples))
	}
}

func TestConsoleKeepsTheFirstErrorOfStdout(t *testing.T) {
	n := 0
	c := newConsole(nil, writerFunc(func(p []byte) (int, error) { n++; return 0, errors.New("full") }), io.Discard)
	c.Write([]byte("a"))
	c.Write([]byte("b"))
	if n != 1 || c.resultErr() == nil {
		t.Errorf("%d writes, error %v", n, c.resultErr())
	}
	var errs strings.Builder
	full := writerFunc(func(p []byte) (int, error) { return 0, errors.New("full") })
	if code := run(t.Context(), []string{"shotglass", "version"}, nil, full, &errs); code != exitFailed || !strings.Contains(errs.String(), "standard output: full") {
		t.Errorf("code %d, %q", code, errs.String())
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"plain äöü":   "plain äöü",
		"a\x1b[31mb":  `a\x1b[31mb`,
		"a\nb\r":      `a\nb\r`,
		"\u202egnp":   `\u202egnp`,
		"bad\xffbyte": `bad\ufffdbyte`,
	} {
		if have := printable(in); have != want {
			t.Errorf("printable(%q) = %q, want %q", in, have, want)
		}
	}
}

func TestFormat(t *testing.T) {
	for in, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 30: "1.0 GiB", 500 << 20: "500 MiB"} {
		if have := size(in); have != want {
			t.Errorf("size(%d) = %q, want %q", in, have, want)
		}
	}
	for _, c := range []struct {
		part, whole int64
		want        string
	}{{0, 0, "?"}, {0, 10, "0 %"}, {999999, 1000000, "99 %"}, {10, 10, "100 %"}, {11, 10, "99 %"}} {
		if have := percent(c.part, c.whole); have != c.want {
			t.Errorf("percent(%d, %d) = %q, want %q", c.part, c.whole, have, c.want)
		}
	}
	if have := short(3*time.Hour + 4*time.Minute + 5*time.Second); have != "3h04m" {
		t.Error(have)
	}
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/pipeline"
)

// onTerminal plays a capture of n hosts on a terminal, in fake time.
func onTerminal(t *testing.T, width, height, n int, play func(f *fakeTerminal, w *watcher)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTerminal(width, height)
		c := newConsole(nil, io.Discard, f)
		var names []string
		for i := range n {
			names = append(names, hostName(i))
		}
		w := watch(c, names, newTTYView(c, f.screen(), n))
		play(f, w)
		w.close()
	})
}

func hostName(i int) string { return fmt.Sprintf("web%03d", i) }

// tick lets the view draw.
func tick() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// begin brings a host to streaming.
func begin(w *watcher, host string, expected int64) *pipeline.Progress {
	p := new(pipeline.Progress)
	w.observeAs(host, acquire.Connecting{})
	w.observeAs(host, acquire.Connected{})
	w.observeAs(host, acquire.Planned{Step: &acquire.Step{Host: host, Expected: expected, Source: "lime"}})
	w.observeAs(host, acquire.Preparing{What: "loading LiME"})
	w.observeAs(host, acquire.Streaming{Expected: expected, Progress: p})
	return p
}

func completeResult(host string, bytes int64) *acquire.Result {
	r := &acquire.Result{Host: host, State: acquire.StateComplete, Duration: 100 * time.Second}
	r.Image.Name = host + "-mem.lime.zst"
	r.Image.Location = "/evidence/" + r.Image.Name
	r.Image.Raw = acquire.Digest{Bytes: bytes, SHA256: strings.Repeat("ab", 32)}
	r.Image.Stored = acquire.Digest{Bytes: bytes / 4, SHA256: strings.Repeat("cd", 32)}
	return r
}

func TestTTYOneHost(t *testing.T) {
	onTerminal(t, 80, 24, 1, func(f *fakeTerminal, w *watcher) {
		tick()
		f.want(t) // a question may come: the terminal is not ours yet
		p := begin(w, "web000", 100<<20)
		for range 20 {
			p.RawBytes.Add(1 << 20)
			p.StoredBytes.Add(1 << 19)
			time.Sleep(time.Second)
		}
		tick()
		f.want(t, "web000: connecting", "web000: connected, round trip 0s", "web000: 100 MiB of memory through lime", "web000: loading LiME", "web000: streaming, 100 MiB expected", f.bar(t))
		if l := f.bar(t); !strings.Contains(l, " 20 %  100 MiB ") || !strings.Contains(l, "MB/s  2.0x ") || !strings.HasSuffix(l, " left") {
			t.Errorf("bar %q", l)
		}
		w.observeAs("web000", acquire.Stalled{For: 10 * time.Second, GivesUp: 5 * time.Minute})
		time.Sleep(32 * time.Second)
		synctest.Wait()
		if l := f.bar(t); l != "web000 stalled 42s (gives up in 4m18s), 20 % of 100 MiB" {
			t.Errorf("bar %q", l)
		}
		w.observeAs("web000", acquire.Resumed{After: 42 * time.Second})
		w.observeAs("web000", acquire.Cleaning{})
		tick()
		if l := f.bar(t); l != "web000 cleaning the target" {
			t.Errorf("bar %q", l)
		}
		w.observeAs("web000", acquire.Finished{Result: completeResult("web000", 100<<20)})
		w.close()
		if text := f.text(); !strings.HasSuffix(text, "web000: stream ended, cleaning the target\nweb000: complete, 100 MiB in 1m40s (1.0 MB/s)") {
			t.Errorf("the end is\n%s", text)
		}
		w.end, w.ended = make(chan struct{}), closedChannel() // onTerminal closes again
	})
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// bar is the last line.
func (f *fakeTerminal) bar(t *testing.T) string {
	t.Helper()
	lines := strings.Split(f.text(), "\n")
	return lines[len(lines)-1]
}

// TestTTYManyHosts: 200 hosts on a small and on a large terminal. What runs or stalls has a line,
// the others are counted, problems stand above.
func TestTTYManyHosts(t *testing.T) {
	for _, c := range []struct{ width, height int }{{80, 24}, {200, 50}, {40, 10}, {20, 5}} {
		t.Run(fmt.Sprintf("%dx%d", c.width, c.height), func(t *testing.T) {
			onTerminal(t, c.width, c.height, 200, func(f *fakeTerminal, w *watcher) {
				for i := range 200 {
					switch h := hostName(i); {
					case i < 40:
						w.observeAs(h, acquire.Finished{Result: completeResult(h, 1<<30)})
					case i < 50:
						begin(w, h, 1<<30).RawBytes.Store(int64(i) << 23)
					case i == 50:
						begin(w, h, 1<<30)
						w.observeAs(h, acquire.Stalled{For: 10 * time.Second, GivesUp: time.Minute})
					case i == 51:
						w.observeAs(h, acquire.Finished{Result: &acquire.Result{Host: h, State: acquire.StateFailed, Err: errors.New("connection refused")}})
					case i < 57:
						w.observeAs(h, acquire.Planned{Step: &acquire.Step{Expected: 1 << 30}})
						w.observeAs(h, acquire.Waiting{Why: "waiting for memory"})
					}
				}
				tick()
				text := f.text()
				if c.height >= 24 {
					wantLines(t, text, "error: web051: connection refused", "web050 stalled 11s (gives up in 49s)", "web049 [",
						"and 189 more: ", "1s: 1 failed, 1 stalled, 10 streaming, 148 waiting, 40 complete\n", "total  [")
				}
				bars := false // what stands above may wrap
				for l := range strings.Lines(text) {
					if bars = bars || strings.HasPrefix(l, "web050 "); !bars {
						continue
					}
					if n := runewidth.StringWidth(strings.TrimRight(l, "\n")); n >= c.width {
						t.Errorf("a line of %d columns: %q", n, l)
					}
				}
				if strings.Count(text, "\n") > 1+c.height*2/3+2 {
					t.Errorf("too much:\n%s", text)
				}
			})
		})
	}
}

// TestTTYResize: after a resize the screen shows the new layout and no remnants.
func TestTTYResize(t *testing.T) {
	onTerminal(t, 100, 24, 5, func(f *fakeTerminal, w *watcher) {
		for i := range 5 {
			begin(w, hostName(i), 1<<30)
		}
		tick()
		for _, c := range []struct{ width, height int }{{60, 24}, {120, 30}, {30, 12}, {100, 8}, {100, 24}} {
			f.Resize(c.width, c.height)
			tick()
			tick()
			if n := strings.Count(f.text(), "\ntotal"); n != 1 {
				t.Errorf("%dx%d: %d totals in\n%s", c.width, c.height, n, f.text())
			}
			if n := strings.Count(f.text(), "web000"); n > 1 {
				t.Errorf("%dx%d: a remnant in\n%s", c.width, c.height, f.text())
			}
		}
	})
}

// TestTTYInterrupt: neither the first nor the second Ctrl-C leaves remnants of bars.
func TestTTYInterrupt(t *testing.T) {
	onTerminal(t, 120, 30, 12, func(f *fakeTerminal, w *watcher) {
		for i := range 12 {
			begin(w, hostName(i), 1<<30)
		}
		tick()
		io.WriteString(f, "^C") // the terminal echoes it
		w.say(goodbye("SIGINT", w.hosts))
		synctest.Wait()
		lines := strings.Split(f.text(), "\n")
		if lines[0] != "shotglass: SIGINT: finishing the partial image and cleaning the target; press Ctrl-C again to leave at once" || strings.Contains(f.text(), "^C") {
			t.Errorf("after the first:\n%s", f.text())
		}
		leftBehind(w.console, w.hosts)
		tick() // the view knows nothing of it yet
		text := f.text()
		for l := range strings.Lines(text) {
			if strings.Contains(l, "12shotglass") || strings.Contains(l, "[>") || strings.Contains(l, "total") {
				t.Errorf("a remnant %q in\n%s", l, text)
			}
		}
		if !strings.Contains(text, "ssh web011 'sudo rmmod lime'") {
			t.Errorf("after the second:\n%s", text)
		}
	})
}

// TestTTYHostileNames: a name can neither drive the terminal nor break a line.
func TestTTYHostileNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFakeTerminal(60, 24)
		c := newConsole(nil, io.Discard, f)
		names := []string{"a\x1b[2J\nb", "主机主机主机主机主机主机主机主机主机主机", strings.Repeat("long", 50), "e\u0301\u202e"}
		w := watch(c, names, newTTYView(c, f.screen(), len(names)))
		for _, n := range names {
			begin(w, n, 1<<30)
		}
		tick()
		lines := strings.Split(f.text(), "\n")
		if len(lines) != 6 || !strings.HasPrefix(lines[0], `a\x1b[2J\nb `) {
			t.Errorf("%d lines:\n%s", len(lines), f.text())
		}
		w.close()
	})
}

// TestTTYQuestion: while a password is asked for, there are no bars.
func TestTTYQuestion(t *testing.T) {
	onTerminal(t, 80, 24, 2, func(f *fakeTerminal, w *watcher) {
		w.observeAs("web000", acquire.Connecting{})
		tick()
		f.want(t, "web000 connecting", "web001 waiting", "1s: 1 connecting, 1 waiting")
		back := w.console.lend()
		io.WriteString(f, "password: ")
		tick()
		f.want(t, "password:")
		io.WriteString(f, "\n")
		back()
		tick()
		if !strings.Contains(f.text(), "1 connecting, 1 waiting") {
			t.Errorf("no bars any more:\n%s", f.text())
		}
	})
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		part, whole int64
		want        string
	}{{0, 0, "[>   ]"}, {0, 100, "[>   ]"}, {50, 100, "[==> ]"}, {99, 100, "[===>]"}, {100, 100, "[====]"}, {120, 100, "[===>]"}} {
		if have := bar(c.part, c.whole, 6); have != c.want {
			t.Errorf("bar(%d, %d) = %q, want %q", c.part, c.whole, have, c.want)
		}
	}
}

func TestTotalExpectsNoMoreOfFinished(t *testing.T) {
	h := newHosts([]string{"a", "b", "c"})
	now := time.Now()
	p := new(pipeline.Progress)
	p.RawBytes.Store(10)
	h.apply("a", acquire.Streaming{Expected: 100, Progress: p}, now)
	h.apply("a", acquire.Finished{Result: &acquire.Result{State: acquire.StatePartial}}, now)
	h.apply("b", acquire.Planned{Step: &acquire.Step{Expected: 50}}, now)
	h.apply("c", acquire.Planned{Step: &acquire.Step{Expected: 70}}, now)
	h.apply("c", acquire.Finished{Result: &acquire.Result{State: acquire.StateFailed}}, now)
	if r := total(h.look(now)); r.Raw != 10 || r.Expected != 60 {
		t.Errorf("%+v", r)
	}
}

func TestCommonDomain(t *testing.T) {
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"a.prod.example.org", "b.prod.example.org"}, ".prod.example.org"},
		{[]string{"a.prod.example.org", "b.test.example.org"}, ".example.org"},
		{[]string{"example.org", "b.example.org"}, ".org"},
		{[]string{".org", "b.org"}, ""},
		{[]string{"10.0.1.7", "10.0.2.7"}, ""},
		{[]string{"a", "b.org"}, ""},
		{[]string{"a.org"}, ""},
	} {
		var hosts []look
		for _, n := range c.names {
			hosts = append(hosts, look{hostState: hostState{Name: n}})
		}
		if have := commonDomain(hosts); have != c.want {
			t.Errorf("%q: %q, want %q", c.names, have, c.want)
		}
	}
}

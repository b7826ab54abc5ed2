package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/hinshun/vt10x"
)

// A fakeTerminal is a terminal without a machine. It cuts lines when it gets narrower.
type fakeTerminal struct {
	vt10x.Terminal
	writes int
}

func newFakeTerminal(width, height int) *fakeTerminal {
	return &fakeTerminal{Terminal: vt10x.New(vt10x.WithSize(width, height))}
}

func (f *fakeTerminal) Write(p []byte) (int, error) {
	f.writes++
	// The line discipline of a real one makes CR LF of LF.
	if _, err := f.Terminal.Write([]byte(strings.ReplaceAll(strings.ReplaceAll(string(p), "\r\n", "\n"), "\n", "\r\n"))); err != nil {
		return 0, err
	}
	return len(p), nil
}

// text is what can be read on it, without blanks at the end.
func (f *fakeTerminal) text() string {
	var lines []string
	for l := range strings.Lines(f.String() + "\n") {
		lines = append(lines, strings.TrimRight(l, " \x00\n"))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

func (f *fakeTerminal) screen() *screen { return &screen{out: f, size: f.Size} }

func (f *fakeTerminal) want(t *testing.T, want ...string) {
	t.Helper()
	if have := f.text(); have != strings.Join(want, "\n") {
		t.Errorf("the screen shows\n%s\nwant\n%s", have, strings.Join(want, "\n"))
	}
}

func TestScreen(t *testing.T) {
	f := newFakeTerminal(20, 6)
	s := f.screen()
	fmt.Fprintln(s, "before")
	s.draw([]string{"a long bar", "total"})
	f.want(t, "before", "a long bar", "total")
	fmt.Fprintln(s, "news")
	f.want(t, "before", "news", "a long bar", "total")
	s.draw([]string{"bar", "another", "total"}) // shorter words, one more line
	f.want(t, "before", "news", "bar", "another", "total")
	s.draw([]string{"total"})
	f.want(t, "before", "news", "total")
	n := f.writes
	s.draw([]string{"total"})
	if f.writes != n {
		t.Error("what is there already is written again")
	}
	fmt.Fprintln(s, "a story of more than twenty columns")
	f.want(t, "before", "news", "a story of more than", " twenty columns", "total")
	if s.pause(); f.text() != "before\nnews\na story of more than\n twenty columns" {
		t.Errorf("a pause leaves\n%s", f.text())
	}
	s.draw([]string{"hidden"})
	f.want(t, "before", "news", "a story of more than", " twenty columns")
	s.resume()
	s.draw([]string{"back"})
	f.want(t, "before", "news", "a story of more than", " twenty columns", "back")
	s.close()
	s.draw([]string{"ghost"})
	fmt.Fprintln(s, "after")
	f.want(t, "before", "news", "a story of more than", " twenty columns", "after")
}

// What is too long or too much is cut: a wrapped or scrolled line would leave remnants.
func TestScreenCuts(t *testing.T) {
	f := newFakeTerminal(10, 4)
	s := f.screen()
	for range 3 {
		s.draw([]string{"one", "two", "three", "four and much more", "五五五五五五五"})
		s.draw([]string{"1", "2", "3", "4", "5"})
	}
	f.want(t, "3", "4", "5")
	s.close()
	f.want(t)
}

func TestScreenResize(t *testing.T) {
	f := newFakeTerminal(40, 8)
	s := f.screen()
	fmt.Fprintln(s, "before")
	s.draw([]string{strings.Repeat("x", 39), "total"})
	f.Resize(20, 8) // this terminal cuts
	fmt.Fprintln(s, "news")
	s.draw([]string{strings.Repeat("y", 39), "total"})
	f.want(t, "before", "news", strings.Repeat("y", 19), "total")
	f.Resize(60, 8)
	s.draw([]string{strings.Repeat("z", 39), "total"})
	f.want(t, "before", "news", strings.Repeat("z", 39), "total")
}

// A terminal that wraps old lines anew has more rows of ours than we drew.
func TestScreenReflow(t *testing.T) {
	f := newFakeTerminal(20, 8)
	s := f.screen()
	s.reflows = true
	fmt.Fprintf(f, "before\n%s\n%s\ntotal\n", strings.Repeat("x", 20), strings.Repeat("x", 19)) // as it does
	s.lines, s.width = []string{strings.Repeat("x", 39), "total"}, 40
	s.draw([]string{"bar", "total"})
	f.want(t, "before", "bar", "total")
}

func TestScreenInBackground(t *testing.T) {
	f := newFakeTerminal(20, 8)
	s := f.screen()
	s.ours = func() bool { return false }
	s.draw([]string{"bar"})
	fmt.Fprintln(s, "news")
	f.want(t, "news")
}

// The screen changes no mode, so that none needs to be restored.
func TestScreenModes(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out, size: func() (int, int) { return 80, 24 }}
	s.draw([]string{"a", "b"})
	io.WriteString(s, "news\n")
	s.draw([]string{"c"})
	s.close()
	for _, bad := range []string{"\x1b[?", "\x1b]", "\x1b7", "m"} {
		if strings.Contains(out.String(), bad) {
			t.Errorf("%q in %q", bad, out.String())
		}
	}
}

func TestReflowing(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want bool
	}{
		{map[string]string{"TERM": "xterm-256color"}, true},
		{map[string]string{"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(390)"}, false},
		{map[string]string{"TERM": "screen"}, false},
		{map[string]string{"TERM": "screen", "TMUX": "/tmp/x"}, true},
		{map[string]string{"TERM": "linux"}, false},
	} {
		if have := reflowing(func(k string) string { return c.env[k] }); have != c.want {
			t.Errorf("%v: %v", c.env, have)
		}
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		in    string
		width int
		want  string
	}{
		{"web1", 6, "web1  "},
		{"web1.prod.example.org", 10, "web1...org"},
		{"web1", 2, "we"},
		{"主机主机主机", 8, "主..机  "},
	} {
		if have := fit(c.in, c.width); have != c.want {
			t.Errorf("fit(%q, %d) = %q, want %q", c.in, c.width, have, c.want)
		}
	}
}

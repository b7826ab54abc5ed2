package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"

	"golang.org/x/term"

	hostsfile "github.com/shotglass-ir/shotglass/acquire/hosts"
)

// A console is where this program speaks: results to stdout, the story to stderr. It is
// safe for concurrent use.
type console struct {
	stdin  io.Reader
	stdout io.Writer // the result; see result
	stderr io.Writer

	mu     sync.Mutex
	screen *screen // where lines go while there are bars; nil: stderr
	outErr error   // the first error of stdout
	quiet  bool    // errors only
	json   bool    // the result is JSON Lines
	exit   func(int)
	divert atomic.Pointer[func(string)]
	trace  atomic.Pointer[trace] // the log file; nil: none
}

func newConsole(stdin io.Reader, stdout, stderr io.Writer) *console {
	return &console{stdin: stdin, stdout: stdout, stderr: stderr, exit: os.Exit}
}

// Write writes to the result. Its error is sticky and makes the program fail, because
// a result that did not arrive was not given.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.outErr != nil {
		return 0, c.outErr
	}
	n, err := c.stdout.Write(p)
	if err != nil {
		c.outErr = fmt.Errorf("write to standard output: %w", err)
		err = c.outErr
	}
	return n, err
}

func (c *console) resultErr() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.outErr
}

// info tells the story; --quiet silences it.
func (c *console) info(format string, args ...any) {
	if !c.quiet {
		c.line(fmt.Sprintf(format, args...))
	}
}

// warn tells of something that the user should know now.
func (c *console) warn(format string, args ...any) {
	c.line("shotglass: warning: " + fmt.Sprintf(format, args...))
}

// fail tells of an error and of what helps. host may be empty.
func (c *console) fail(host string, err error) {
	if p, ok := errors.AsType[hostsfile.Problems](err); ok && host == "" {
		for _, one := range p {
			c.failLines(one.Error())
		}
	} else {
		c.failLines(failMessage(host, err))
	}
	for _, h := range hints(err) {
		c.hint(h)
	}
}

func failMessage(host string, err error) string {
	msg := err.Error()
	if host != "" && !strings.HasPrefix(msg, host+": ") {
		msg = host + ": " + msg
	}
	return msg
}

func (c *console) failLines(msg string) {
	for i, l := range strings.Split(strings.TrimRight(msg, "\n"), "\n") {
		if i > 0 {
			l = "  " + l
		}
		c.line("shotglass: error: " + l)
	}
}

// hint says what helps.
func (c *console) hint(s string) {
	if s != "" {
		c.line("shotglass: hint: " + s)
	}
}

// line writes one line of the story, above the bars if there are some.
func (c *console) line(s string) {
	c.trace.Load().said(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.stderr
	if c.screen != nil {
		w = c.screen
	}
	io.WriteString(w, printable(s)+"\n")
}

// draw makes lines of the story pass above those of s.
func (c *console) draw(s *screen) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.screen = s
}

// drawing returns the screen, nil when there is none.
func (c *console) drawing() *screen {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.screen
}

// lend gives the terminal to somebody else, without bars on it, until back is called.
func (c *console) lend() (back func()) {
	s := c.drawing()
	if s == nil {
		return func() {}
	}
	s.pause()
	return s.resume
}

// printable escapes what could drive a terminal or forge a line. Remote text is
// quoted where it enters a message; this is the second fence.
func printable(s string) string {
	clean := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\t' }
	if strings.IndexFunc(s, clean) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if clean(r) {
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// terminal returns the file descriptor of a writer or reader that is a terminal.
func terminal(v any) (int, bool) {
	f, ok := v.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd := int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// log returns the logger that libraries get: what they warn of becomes part of the story.
func (c *console) log() *slog.Logger {
	level := slog.LevelWarn
	if c.quiet {
		level = slog.LevelError
	}
	return slog.New(slog.NewTextHandler(lineWriter{c}, &slog.HandlerOptions{Level: level, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type lineWriter struct{ c *console }

func (w lineWriter) Write(p []byte) (int, error) {
	l := "shotglass: " + strings.TrimRight(string(p), "\n")
	if say := w.c.divert.Load(); say != nil {
		(*say)(l)
	} else {
		w.c.line(l)
	}
	return len(p), nil
}

// divertTo hands the lines of libraries to say, which does not wait for the terminal as
// line does; nil ends that.
func (c *console) divertTo(say func(string)) {
	if say == nil {
		c.divert.Store(nil)
	} else {
		c.divert.Store(&say)
	}
}

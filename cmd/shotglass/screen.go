package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/mattn/go-runewidth"
)

// A screen keeps a few lines at the lower end of a terminal, and lets the story pass above them.
// What changed goes out in one write, so nothing tears or flickers, and nothing is
// written when nothing changed.
//
// It changes no mode of the terminal: the cursor is not hidden, echo stays on. So there is nothing to
// restore, whatever ends the program; the cursor rests on an empty line below, and what others
// write there (a panic, the shell) starts on a line of its own.
//
// It is safe for concurrent use.
type screen struct {
	out     io.Writer
	size    func() (width, height int)
	reflows bool        // the terminal wraps old lines anew when it gets narrower
	ours    func() bool // whether we may draw: not from the background; nil is yes

	mu     sync.Mutex
	lines  []string // as they stand there
	width  int      // of the terminal, when they were drawn
	paused bool
	closed bool
}

// draw puts lines in place of those that stand there. What is too long or too many for the
// terminal is cut.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	width, height := s.size()
	if s.paused || s.closed || width < 1 || height < 2 {
		return
	}
	if s.ours != nil && !s.ours() {
		return
	}
	lines = slices.Clone(lines)
	if over := len(lines) - (height - 1); over > 0 {
		lines = lines[over:]
	}
	for i, l := range lines {
		// The last column stays free: there terminals disagree about when to wrap.
		lines[i] = cut(l, width-1)
	}
	if width == s.width && slices.Equal(lines, s.lines) {
		return
	}
	var b strings.Builder
	s.home(&b, width, height)
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\r\n")
	}
	b.WriteString("\x1b[J")
	s.lines, s.width = lines, width
	io.WriteString(s.out, b.String())
}

// Write lets whole lines pass above.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) == 0 {
		return s.out.Write(p)
	}
	var b strings.Builder
	width, height := s.size()
	s.home(&b, width, height)
	b.WriteString("\x1b[J")
	b.Write(p)
	if width == s.width { // else the lines wait for the next draw
		for _, l := range s.lines {
			b.WriteString(l + "\r\n")
		}
	} else {
		s.lines = nil
	}
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// home moves the cursor to the start of the first line.
func (s *screen) home(b *strings.Builder, width, height int) {
	rows := 0
	for _, l := range s.lines {
		rows++
		if s.reflows && width > 0 {
			rows += max(0, runewidth.StringWidth(l)-1) / width
		}
	}
	if rows = min(rows, height-1); rows > 0 {
		fmt.Fprintf(b, "\r\x1b[%dA", rows)
	} else {
		b.WriteByte('\r')
	}
}

// erase takes the lines away. The caller holds the lock.
func (s *screen) erase() {
	if len(s.lines) == 0 {
		return
	}
	var b strings.Builder
	width, height := s.size()
	s.home(&b, width, height)
	b.WriteString("\x1b[J")
	s.lines = nil
	io.WriteString(s.out, b.String())
}

// pause takes the lines away until resume, so that others can have the terminal.
func (s *screen) pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.paused = true
}

func (s *screen) resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.paused = false
}

// close takes the lines away for good. Lines of the story may still come.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.closed = true
}

// reflowing guesses from the environment whether a terminal wraps old lines anew when it
// gets narrower. Most do; xterm, the Linux console and GNU screen cut them. A wrong
// guess costs lines of the story on the screen, or leaves old bars there.
func reflowing(getenv func(string) string) bool {
	term := getenv("TERM")
	switch {
	case getenv("TMUX") != "":
		return true
	case getenv("XTERM_VERSION") != "", term == "linux", strings.HasPrefix(term, "screen"), strings.HasPrefix(term, "vt"):
		return false
	}
	return true
}

// cut shortens s to at most width columns.
func cut(s string, width int) string {
	return runewidth.Truncate(s, max(width, 0), "")
}

// fit makes s take exactly width columns. Too long names lose their middle: both ends tell
// hosts apart.
func fit(s string, width int) string {
	return pad(squeeze(s, width), width)
}

func squeeze(s string, width int) string {
	if runewidth.StringWidth(s) <= width {
		return s
	}
	if width < 6 {
		return cut(s, width)
	}
	head := (width - 2) / 2
	tail := []rune(s)
	for runewidth.StringWidth(string(tail)) > width-2-head {
		tail = tail[1:]
	}
	return cut(s, head) + ".." + string(tail)
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-runewidth.StringWidth(s)))
}

// padLeft is pad with the blanks in front, for numbers.
func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-runewidth.StringWidth(s))) + s
}

package hosts

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Problem is what is wrong at one place of a file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"` // from 1; 0: the file as a whole
	Column  int    `json:"column,omitempty"`
	Message string `json:"error"`
	Excerpt string `json:"excerpt,omitempty"` // the line and a caret below, secrets masked
}

func (p Problem) Error() string {
	s := p.File
	if p.Line > 0 {
		s += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	s += ": " + p.Message
	if p.Excerpt != "" {
		s += "\n" + p.Excerpt
	}
	return s
}

// Problems are all that is wrong with a file, in its order.
type Problems []Problem

func (p Problems) Error() string {
	var lines []string
	for _, one := range p {
		lines = append(lines, one.Error())
	}
	return strings.Join(lines, "\n")
}

func sortProblems(p []Problem) {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Message, b.Message))
	})
}

// A place is where something stands in the file.
type place struct {
	line, column int
	secret       bool // a secret in clear
	cut          int  // the last column to show, if any: what follows could be a secret
}

func (at place) problem(file string, lines [][]byte, msg string) Problem {
	p := Problem{File: file, Line: at.line, Column: max(at.column, 1), Message: msg}
	if at.line < 1 || at.line > len(lines) {
		p.Line, p.Column = 0, 0
		return p
	}
	line := lines[at.line-1]
	if runes := []rune(string(line)); at.cut > 0 && at.cut < len(runes) {
		line = []byte(string(runes[:at.cut]) + " ...")
	}
	p.Excerpt = excerpt(line, at.line, p.Column)
	return p
}

// secretKey finds a secret's key and what follows. Messages about a file end up in
// terminals and logs; what it holds in secret must not.
var secretKey = regexp.MustCompile(`(?i)((?:pass\w*|secret|token)["']?\s*:\s*)([^\s,{}][^,}]*)`)

// webAddress finds what follows the scheme of a URL: that of a webhook is a secret, and others may
// hold a password.
var webAddress = regexp.MustCompile(`(?i)(\b(?:https?|ftp)://)([^\s,'"\]}]+)`)

// mask replaces secrets by stars that do not tell their length, and moves the column along.
func mask(line string, column int) (string, int) {
	line, column = maskBy(secretKey, line, column)
	return maskBy(webAddress, line, column)
}

// maskBy masks the second group of each match.
func maskBy(secret *regexp.Regexp, line string, column int) (string, int) {
	const stars = "***"
	var b strings.Builder
	last, moved := 0, column
	for _, m := range secret.FindAllStringSubmatchIndex(line, -1) {
		from, to := m[4], m[5]
		b.WriteString(line[last:from] + stars)
		last = to
		if before := utf8.RuneCountInString(line[:from]); column > before+1 {
			moved -= min(column-before-1, utf8.RuneCountInString(line[from:to])) - len(stars)
		}
	}
	return b.String() + line[last:], moved
}

// excerptWidth is how much of a long line is shown.
const excerptWidth = 100

// excerpt is the line with its number, and a caret below the column.
func excerpt(line []byte, number, column int) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, string(bytes.ToValidUTF8(bytes.TrimRight(line, "\r"), []byte("?"))))
	text, column := mask(clean, column)
	shown := []rune(text)
	column = min(max(column, 1), len(shown)+1)
	more := ""
	if start := column - excerptWidth*3/4; start > 0 {
		shown, column, more = shown[start:], column-start+3, "..."
	}
	if len(shown) > excerptWidth {
		shown = append(shown[:excerptWidth:excerptWidth], []rune("...")...)
	}
	head := fmt.Sprintf("%5d | ", number)
	return head + more + string(shown) + "\n" + strings.Repeat(" ", len(head)-2) + "| " + strings.Repeat(" ", column-1) + "^"
}

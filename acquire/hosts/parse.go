package hosts

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads the text of a hosts file; path is for messages. The error is of the type
// Problems: all that is wrong, unless the text is no YAML at all, whose first fault
// hides the rest. The file then holds what could be read, and must not be used.
func Parse(path string, data []byte, o Options) (*File, error) {
	d := &decoder{file: path, lines: bytes.Split(data, []byte("\n")), o: o, places: map[string]place{}}
	f := &File{Path: path, places: d.places, lines: d.lines}
	if len(data) > maxSize {
		return f, Problems{{File: path, Message: fmt.Sprintf("more than %d MiB are no hosts file", maxSize>>20)}}
	}
	if doc := d.document(data); doc != nil {
		d.anchors = anchorsOf(doc)
		d.decode(doc, f)
		d.check(f)
	}
	if len(d.problems) > 0 {
		sortProblems(d.problems)
		return f, Problems(d.problems)
	}
	for i := range f.Hosts {
		h := &f.Hosts[i]
		passphraseOf(h.Key, &h.Password, &h.Passphrase)
		for _, j := range h.jumpsInPlace() {
			passphraseOf(j.Key, &j.Password, &j.Passphrase)
		}
	}
	passphraseOf(f.Defaults.Key, &f.Defaults.Password, &f.Defaults.Passphrase)
	for _, j := range f.Defaults.jumpsInPlace() {
		passphraseOf(j.Key, &j.Password, &j.Passphrase)
	}
	return f, nil
}

func (d *Defaults) jumpsInPlace() (out []*Jump) {
	if d.JumpHost != nil {
		out = append(out, d.JumpHost)
	}
	for i := range d.Jumps {
		out = append(out, &d.Jumps[i])
	}
	return out
}

// document parses the YAML into its one document, or nil.
func (d *decoder) document(data []byte) (body ast.Node) {
	defer func() {
		// The library has panicked on malformed text before. A file that it cannot
		// read is refused like any other that is malformed.
		if r := recover(); r != nil {
			body = nil
			d.problems = append(d.problems, Problem{File: d.file, Message: "no valid YAML"})
		}
	}()
	if n := nesting(data); n > maxNesting {
		d.problems = append(d.problems, Problem{File: d.file, Message: fmt.Sprintf("nested more than %d deep: no hosts file is", maxNesting)})
		return nil
	}
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var y yaml.Error
		at := place{line: 1, column: 1}
		msg := "no valid YAML"
		if errors.As(err, &y) {
			at = placeOf(y.GetToken())
			msg += ": " + y.GetMessage()
		}
		d.problems = append(d.problems, at.problem(d.file, d.lines, msg))
		return nil
	}
	for _, doc := range tree.Docs {
		switch {
		case doc.Body == nil, doc.Body.Type() == ast.CommentType, doc.Body.Type() == ast.DirectiveType:
		case body != nil:
			d.fail(doc.Body, "a second YAML document: a hosts file is one")
			return nil
		default:
			body = doc.Body
		}
	}
	if body == nil {
		d.problems = append(d.problems, Problem{File: d.file, Message: "the file is empty: want hosts:"})
	}
	return body
}

// maxNesting bounds how deep the text may be nested, as the parser calls itself.
const maxNesting = 100

// nesting is an upper bound for how deep data is nested: brackets, and on one line
// indicators of lists and keys. Brackets in texts count too, at no harm.
func nesting(data []byte) (most int) {
	open, line := 0, 0
	for i, c := range data {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open = max(open-1, 0)
		case '\n':
			line = 0
		case '-', '?', ':':
			if i+1 == len(data) || data[i+1] == ' ' || data[i+1] == '\t' || data[i+1] == '\n' {
				line++
			}
		case ' ':
			// Indentation nests too, by one column a level at least; what stands deep
			// at the start of a line was opened on lines before.
		}
		most = max(most, open+line)
	}
	return most
}

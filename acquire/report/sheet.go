package report

import (
	"cmp"
	_ "embed"
	"html/template"
	"io"
	"reflect"
)

//go:embed sheet.html
var sheetText string

var sheetTemplate = template.Must(template.New("sheet").Parse(sheetText))

// A Sheet is a page of findings that are not evidence of a case, in the looks of its page: groups of what has
// the same reason, each with what to do. Its texts may be anybody's: Write escapes them.
type Sheet struct {
	Kicker, Title string
	Made          string // when, by what, about what
	Lead, Class   string // the finding in a sentence; "good", "warn" or "bad"
	Tiles         []Tile
	Notes         []string // what the reader must know first, such as what could not be looked at
	Groups        []Group
}

// A Tile is a figure.
type Tile struct{ Label, Value, Note string }

// A Group is what has one reason.
type Group struct {
	State, Class string // a word, and its colour as that of a sheet
	Title        string
	Summary      string // how many, how bad
	Text         string // why it matters
	Fix          string // commands
	Open         bool
	Rows         []Row
}

// A Row is one finding of a group.
type Row struct {
	State, Class string
	Name, Where  string
	Text, Fix    string
}

// Write renders the page. The same sheet gives the same bytes.
func (s Sheet) Write(w io.Writer) error {
	s = copied(s)
	harmless(reflect.ValueOf(&s))
	s.Class = cmp.Or(s.Class, "good")
	return writePage(w, sheetTemplate, struct {
		Sheet
		head
	}{s, styled()})
}

// copied keeps what harmless changes from reaching the caller's slices.
func copied(s Sheet) Sheet {
	s.Tiles = append([]Tile(nil), s.Tiles...)
	s.Notes = append([]string(nil), s.Notes...)
	s.Groups = append([]Group(nil), s.Groups...)
	for i := range s.Groups {
		s.Groups[i].Rows = append([]Row(nil), s.Groups[i].Rows...)
	}
	return s
}

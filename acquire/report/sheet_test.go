package report

import (
	"bytes"
	"strings"
	"testing"
)

// Nothing that a sheet is given becomes markup, drives what shows it, or reaches outside.
func TestSheetIsHarmless(t *testing.T) {
	const evil = "<script>alert(1)</script>\"'\u202e\x1b[31m javascript:x"
	s := Sheet{Kicker: evil, Title: evil, Made: evil, Lead: evil, Tiles: []Tile{{evil, evil, evil}}, Notes: []string{evil},
		Groups: []Group{{State: evil, Class: "bad", Title: evil, Summary: evil, Text: evil, Fix: evil, Open: true, Rows: []Row{{evil, "bad", evil, evil, evil, evil}}}}}
	var b, again bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "\u202e", "\x1b", `href="http`, "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(page, "&lt;script&gt;"); n != 19 { // the title is there twice
		t.Errorf("%d of its texts are on the page:\n%s", n, page)
	}
	if !strings.Contains(page, "default-src &#39;none&#39;") {
		t.Error("the page's policy allows what it does not need")
	}
	if err := s.Write(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) || s.Notes[0] != evil {
		t.Error("writing changed the sheet")
	}
}

package report

import (
	"os"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/sink"
)

// TestSegments: an image of several objects is looked for by its objects.
func TestSegments(t *testing.T) {
	l := newLab(t)
	m := l.capture(1, func(m *acquire.Manifest) {
		m.Image.Segments = []sink.Segment{{Name: m.Image.Name + ".000", Size: 3, SHA256: "aa"}, {Name: m.Image.Name + ".001", Size: 2, SHA256: "bb"}}
	})
	l.write(m.Image.Name+".000", []byte("abc"))
	l.write(m.Image.Name+".001", []byte("de"))
	page := render(t, l.trusted())
	want(t, page, "The image is recorded as complete", "aa "+m.Image.Name+".000")
	if !strings.Contains(page, "cat "+m.Image.Name+".000 "+m.Image.Name+".001 &gt; "+m.Image.Name) {
		t.Error("no command puts the segments together")
	}
	l.write(m.Image.Name+".000", []byte("ab"))
	os.Remove(l.path(m.Image.Name + ".001"))
	want(t, render(t, l.trusted()), ".000 has 2 bytes, the manifest says 3", "the segment "+m.Image.Name+".001 is not beside the manifest")
}

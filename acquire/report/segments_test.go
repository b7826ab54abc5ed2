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
		m.Image.Segments = []sink.Segment{{Name: m.Image.Name + ".000", Size: 3, SHA256: strings.Repeat("a", 64)}, {Name: m.Image.Name + ".001", Size: 2, SHA256: strings.Repeat("b", 64)}}
	})
	l.write(m.Image.Name+".000", []byte("abc"))
	l.write(m.Image.Name+".001", []byte("de"))
	page := render(t, l.trusted())
	want(t, page, "The image is recorded as complete", strings.Repeat("a", 64)+" "+m.Image.Name+".000")
	all := "cat " + m.Image.Name + ".000 " + m.Image.Name + ".001 | "
	if !strings.Contains(page, all+"sha256sum      # "+m.Image.Stored.SHA256) || !strings.Contains(page, all+"zstd -dc - | sha256sum      # "+m.Image.Raw.SHA256) {
		t.Error("no command reads the segments as one")
	}
	if strings.Contains(page, "&gt; ") {
		t.Error("a command writes a file, which could be one that is there")
	}
	l.write(m.Image.Name+".000", []byte("ab"))
	os.Remove(l.path(m.Image.Name + ".001"))
	want(t, render(t, l.trusted()), ".000 has 2 bytes, the manifest says 3", "the segment "+m.Image.Name+".001 is not beside the manifest")
}

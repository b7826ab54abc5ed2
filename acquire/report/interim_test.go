package report

import (
	"os"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

// TestInterim: a manifest that was written while the capture went on is shown where it is the only one,
// and is no second capture where it is not.
func TestInterim(t *testing.T) {
	l := newLab(t)
	m := l.capture(1, func(m *acquire.Manifest) { m.Interim = "written before swap was read" })
	last := l.path(m.Image.Name + acquire.ManifestSuffix)
	interim := l.path(m.Image.Name + acquire.InterimSuffix)
	for _, suffix := range []string{"", acquire.SignatureSuffix} {
		if err := os.Rename(last+suffix, interim+suffix); err != nil {
			t.Fatal(err)
		}
	}
	c := l.trusted()
	if len(c.Captures) != 1 || !c.Captures[0].Signature.Trusted || len(c.Captures[0].Trouble) != 0 || len(c.Unread) != 0 {
		t.Fatalf("alone: %+v, unread %q", c.Captures, c.Unread)
	}
	want(t, text(t, render(t, c)), "somebody removed it; "+m.Interim)
	l.capture(1, nil)
	if c := l.trusted(); len(c.Captures) != 1 || c.Captures[0].Interim != "" || len(c.Unread) != 0 {
		t.Errorf("beside the last one: %+v, unread %q", c.Captures, c.Unread)
	}
}

// TestRescued: that a manifest is not its capture's own is told.
func TestRescued(t *testing.T) {
	l := newLab(t)
	m := l.capture(1, func(m *acquire.Manifest) { m.Rescued = &acquire.Rescued{Operator: "me@desk", Recorded: m.Created} })
	want(t, text(t, render(t, l.trusted())), m.Rescued.Text())
}

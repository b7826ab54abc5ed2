package sink_test

import (
	"testing"

	"github.com/shotglass-ir/shotglass/sink"
	"github.com/shotglass-ir/shotglass/sink/sinktest"
)

func TestDiscard(t *testing.T) {
	sinktest.Test(t, func(*testing.T) sink.Sink { return new(sink.Discard) }, sinktest.Options{})

	var d sink.Discard
	for _, name := range []string{"a", "b"} {
		o, err := d.Create(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := o.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	if d.Bytes() != 200 {
		t.Errorf("Bytes = %d, want 200", d.Bytes())
	}
}

func FuzzValidName(f *testing.F) {
	for _, s := range []string{"", "a", "a.", "a/b", "..", "-x", ".x", "host-1.lime.zst", "x\x00y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if sink.ValidName(name) != nil {
			return
		}
		for i := range len(name) {
			if c := name[i]; c <= ' ' || c >= 0x7f || c == '/' || c == '\\' || c == ':' {
				t.Fatalf("%q is not a safe name", name)
			}
		}
		if name[0] == '.' || name[0] == '-' || name[len(name)-1] == '.' {
			t.Fatalf("%q is not a safe name", name)
		}
	})
}

package main

import (
	"slices"
	"testing"
)

// TestUploadOrder: what speaks for a file comes after it, and is held back with it.
func TestUploadOrder(t *testing.T) {
	want := []string{"x.lime", "x.lime.frames", "x.lime.segments", "x.lime.interim", "x.lime.json", "x.lime.interim.sig", "x.lime.json.sig"}
	got := slices.Sorted(slices.Values(want))
	slices.SortStableFunc(got, func(a, b string) int { return rank(a) - rank(b) })
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, name := range append(want[2:], "x.lime.partial.json", "x.lime.partial.json.sig") {
		if paper := paperOf(name); paper != "x.lime" {
			t.Errorf("%s is about %q", name, paper)
		}
	}
}

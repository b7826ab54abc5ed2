package audit

import (
	"testing"

	"github.com/shotglass-ir/shotglass/acquire"
)

// TestTwoImages: of a host with two images each manifest is on record once, whichever of the two
// is the host's result.
func TestTwoImages(t *testing.T) {
	result := func(name string, state acquire.State) *acquire.Result {
		return &acquire.Result{Host: "a", State: state, Manifest: "/case/" + name, ManifestDigest: acquire.Digest{Bytes: 1, SHA256: name}}
	}
	for _, state := range []acquire.State{acquire.StateComplete, acquire.StatePartial, acquire.StateFailed} {
		first, second := result("first", acquire.StatePartial), result("second", state)
		l := Start(t.Context(), Options{})
		l.Observe(acquire.Rejected{Result: first, Second: "second"})
		if state == acquire.StateComplete {
			second.Other = first
			l.Observe(acquire.Finished{Result: second})
		} else {
			first.Other = second
			l.Observe(acquire.Finished{Result: first})
		}
		if m := l.manifests; len(m) != 2 || m[0].SHA256 != "first" || m[1].SHA256 != "second" || m[0].Complete || m[1].Complete != (state == acquire.StateComplete) {
			t.Errorf("%s: manifests %+v", state, m)
		}
	}
}

//go:build unix

package acquire

import (
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport"
)

// TestRunApart: of five hosts one is dead, one shows a wrong host key and one stalls in the
// middle for longer than it may. The other two end before that one is given up, and their
// images are, byte for byte, what they are when each host is captured alone.
func TestRunApart(t *testing.T) {
	t.Parallel()
	alone := map[string][]byte{}
	for _, name := range []string{"fine1", "fine2"} {
		f := newFake(t)
		f.image[4096] ^= name[4] // each its own
		r := f.capture(t.Context(), t.TempDir(), nil)
		if r.State != StateComplete {
			t.Fatal(r.Err)
		}
		data, err := os.ReadFile(r.Image.Location)
		if err != nil {
			t.Fatal(err)
		}
		alone[name] = data
	}
	fine1, dead, stalls, refused, fine2 := newFake(t), newFake(t), newFake(t), newFake(t), newFake(t)
	fine1.image[4096] ^= '1'
	fine2.image[4096] ^= '2'
	dead.server.Close()
	gone := make(chan struct{})
	stalls.serve = func(c net.Conn, image []byte) {
		c.Write(image[:3<<20])
		<-gone
	}
	defer close(gone)
	wrong := refused.job("refused")
	wrong.Target.HostKey.Fingerprints = []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}

	o := fine1.options(t.TempDir())
	o.ConnectAttempts, o.StallTimeout = 1, 4*time.Second
	var mu sync.Mutex
	var ended []string
	o.Observer = func(e Event) {
		if _, ok := e.(Finished); ok {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, e.Host())
		}
	}
	res := runJobs(t.Context(), t, o, fine1.job("fine1"), dead.job("dead"), stalls.job("stalls"), wrong, fine2.job("fine2"))
	for i, want := range []State{StateComplete, StateFailed, StatePartial, StateFailed, StateComplete} {
		if res[i].State != want {
			t.Errorf("%s is %s, want %s: %v", res[i].Host, res[i].State, want, res[i].Err)
		}
	}
	if _, ok := res[3].Err.(*transport.HostKeyError); !ok {
		t.Errorf("refused: %v", res[3].Err)
	}
	for _, r := range []Result{res[0], res[4]} {
		if data, err := os.ReadFile(r.Image.Location); err != nil || !slices.Equal(data, alone[r.Host]) {
			t.Errorf("%s: the image differs from that of a run alone, %v", r.Host, err)
		}
	}
	if slices.Index(ended, "stalls") != 4 {
		t.Errorf("the hosts ended as %q: one waited for the one that stalls", ended)
	}
	for _, f := range []*fakeTarget{fine1, stalls, fine2} {
		f.clean()
	}
	if refused.agents != 0 {
		t.Error("the refused host was touched")
	}
}

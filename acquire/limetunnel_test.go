//go:build unix

package acquire

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/transport/eice/eicetest"
)

// TestLimeTunnelExpires: LiME gives its stream once, so that the end of its tunnel is that of the image. It is partial, with what had come, what is
// missing and why, and the target is cleaned over a new tunnel.
func TestLimeTunnelExpires(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	svc := &eicetest.Service{To: f.server.Addr()}
	f.serve = func(c net.Conn, image []byte) {
		c.Write(image[:7<<19]) // what is more than the window of 2 MiB has arrived by then
		svc.Expire(0)
	}
	dir := t.TempDir()
	o, j := f.options(dir), f.job("fake")
	j.Target.Tunnel = svc.Start(t).Tunnel("tunnel through eice-1")
	j.Target.Tunnel.Longest = time.Hour
	res := runJobs(t.Context(), t, o, j)[0]
	m := manifestIn(t, dir)
	why := strings.Join(m.Reasons, "\n")
	if res.State != StatePartial || m.Complete || !strings.Contains(why, "Max tunnel duration reached") || !strings.Contains(why, "short: ") {
		t.Errorf("%+v, reasons:\n%s", res, why)
	}
	if n := res.Image.Raw.Bytes; n < 1<<20 || n >= int64(len(f.image)) {
		t.Errorf("%d bytes of %d", n, len(f.image))
	}
	if len(svc.Ports()) < 2 {
		t.Errorf("%d tunnels", len(svc.Ports()))
	}
	f.clean()
}

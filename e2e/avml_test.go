//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// avml captures the guest with a real AVML, and holds the image against one that kcore took.
// It is skipped where AVML could not be built, for want of a cargo that is new enough: the one test
// that may be skipped for want of a part, see e2e/lab/avml.sh.
func (r *rig) avml(kcore memory) {
	t := r.t
	cache, err := lab.Cache()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(cache, "avml", "avml")
	if _, err := os.Stat(bin); err != nil {
		t.Skip("there is no AVML: e2e/lab/avml.sh builds it where cargo is 1.88 or newer")
	}
	before := r.ssh(names)
	args := append([]string{"capture"}, r.target("ops")...)
	args = append(args, "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(), "--progress", "lines",
		"--method", "avml", "--avml", bin, "--avml-sha256", sha256File(t, bin), "127.0.0.1")
	start(t, nil, args...).want(3, 5*time.Minute, "AVML left")
	m := r.manifest()
	a, u := m.Method.Avml, m.Unreadable
	if a == nil || u == nil {
		t.Fatalf("method %+v, unreadable %+v", m.Method, u)
	}
	t.Logf("AVML:  %d bytes in %s, %.1f MB/s, %s, %d records, %d pages left out: %v", m.Image.Raw.Bytes, m.Duration,
		float64(m.Image.Raw.Bytes)/1e6/m.Duration.Seconds(), a.Version, a.Records, u.Pages, u.Ranges)
	if a.Version != "avml 0.20.0" || a.ExitCode != "0" || a.Format != "lime" || a.From != "/proc/kcore" {
		t.Errorf("AVML %+v", a)
	}
	// Its last byte of memory is missing, and nothing is wrong but what is left out.
	if last := m.RAM[len(m.RAM)-1].End; len(u.Ranges) == 0 || u.Ranges[len(u.Ranges)-1].End != last {
		t.Errorf("left out: %v, RAM ends at %#x", u.Ranges, last)
	}
	for _, c := range m.Checks {
		if want := map[bool]string{true: acquire.Fail, false: acquire.Pass}[c.Name == "read"]; c.Result != want {
			t.Errorf("check %q: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	f := m.Footprint
	if !f.Clean || f.TaintAfter != f.TaintBefore || f.BytesPushed != a.Size || !strings.HasSuffix(f.PushedTo, " on tmpfs") {
		t.Errorf("footprint %+v", f)
	}
	if after := r.ssh(names); after != before {
		t.Errorf("files on the guest before:\n%s\nafter:\n%s", before, after)
	}
	start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(3, time.Minute)
	raw := r.raw(m.Image.Location)
	image := openMemory(t, raw, true)
	r.volatility(taken{manifest: m, raw: raw, image: image})
	var a1, b1 [lime.PageSize]byte
	pages, other := 0, 0
	for _, x := range m.RAM {
		for at := (x.Start + lime.PageSize - 1) &^ (lime.PageSize - 1); at+lime.PageSize-1 <= x.End; at += lime.PageSize {
			kcore.page(t, at, a1[:])
			image.page(t, at, b1[:])
			if pages++; a1 != b1 {
				other++
			}
		}
	}
	share := float64(other) / float64(pages)
	t.Logf("kcore and AVML: %.2f %% of pages differ", 100*share)
	if share > changing {
		t.Errorf("kcore and AVML: %.2f %% of pages differ", 100*share)
	}
}

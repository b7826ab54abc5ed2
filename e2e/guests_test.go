//go:build e2e

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// bothWays captures an idle guest through kcore and with LiME, and holds the images against each
// other, against QEMU and against Volatility 3.
func (r *rig) bothWays(more ...string) (k, l taken) {
	r.t.Helper()
	k = r.take(r.kcore("ops", append(more, "--connections", "2")...)...)
	r.noReaders(time.Second)
	other := rigOf(r.t, r.guest)
	other.collect = r.collect
	l = other.take(other.capture("ops", "--sign-key", r.signKey())...)
	r.clean(time.Second)
	if k.manifest.Method.Source != acquire.MethodKcore || l.manifest.Method.Source != acquire.MethodLime {
		r.t.Errorf("methods %s and %s", k.manifest.Method.Source, l.manifest.Method.Source)
	}
	agree(r.t, k, l)
	r.volatility(k)
	r.volatility(l)
	return k, l
}

// TestDebian13: a kernel of 2024, and a module that is packed as Debian 13 packs its own. What goes on there is found
// in the image of either method, one as it is and one through the mount.
func TestDebian13(t *testing.T) {
	t.Parallel()
	l, err := parts.Debian13()
	if err != nil {
		t.Fatal(err)
	}
	r := bootRig(t, l, lab.Options{})
	r.workload()
	work := r.work()
	before := r.truth()
	r.collect = "all"
	k, lime := r.bothWays("--compress", "none")
	after := r.truth()
	if f := k.manifest.Target.Facts; f.LA57 || !strings.Contains(f.OS, "trixie") || !strings.HasPrefix(f.Kernel, "6.12.") {
		t.Errorf("la57 %t, %s, %s", f.LA57, f.OS, f.Kernel)
	}
	symbols := r.symbols(t, k.manifest.Image.Location)
	t.Run("kcore", func(t *testing.T) {
		lookInto(t, k.manifest.Image.Location, symbols, before.shells()).agrees(before, after, work.hidden)
		triaged(t, r, k.manifest, work, triaging{newer: true, read: "as it is stored"})
	})
	t.Run("lime", func(t *testing.T) {
		s := mount(t, nil, "--signers", r.signers(), lime.manifest.Image.Location)
		lookInto(t, s.file(".lime"), symbols, nil).agrees(before, after, work.hidden)
		s.end(0)
		triaged(t, r, lime.manifest, work, triaging{newer: true, read: "in place"})
	})
}

// TestHole: RAM below a hole of 3.9 GiB and above it, as every machine with more than 4 GiB has, on a processor
// with five-level page tables.
func TestHole(t *testing.T) {
	t.Parallel()
	// The kernel would keep half of the low memory for devices that reach no other.
	r := bootRig(t, parts, lab.Options{MemoryMiB: 224, LowMiB: 128, KernelArgs: "swiotlb=1024", FiveLevel: true})
	k, _ := r.bothWays()
	if m := k.manifest; !m.Target.Facts.LA57 || !strings.Contains(strings.Join(m.Anomalies, "\n"), "la57") {
		t.Errorf("la57 %t, anomalies %q", m.Target.Facts.LA57, m.Anomalies)
	}
	var low, high uint64
	for _, m := range k.manifest.RAM {
		if m.Start < 4<<30 {
			low += m.Size()
		} else {
			high += m.Size()
		}
	}
	if low < 126<<20 || low > 128<<20 || high != 96<<20 {
		t.Errorf("%d bytes of RAM below 4 GiB, %d above: %v", low, high, k.manifest.RAM)
	}
}

// TestArm64 captures an arm64 guest that has busybox and sshd and nothing else, through kcore and
// with LiME from a cross compiler.
func TestArm64(t *testing.T) {
	t.Parallel()
	l, err := parts.Arm64()
	if err != nil {
		t.Fatal(err)
	}
	store := t.TempDir()
	start(t, nil, "modules", "build", "-o", store, l.KernelRelease).want(0, 4*time.Minute)
	r := bootRig(t, l, lab.Options{MemoryMiB: 160})
	k := r.take(r.kcore("root", "--connections", "2")...)
	r.noReaders(time.Second)
	f := k.manifest.Target.Facts
	if f.Machine != "aarch64" || k.manifest.Method.Source != acquire.MethodKcore {
		t.Errorf("machine %s, method %s", f.Machine, k.manifest.Method.Source)
	}
	// kallsyms of this kernel does not list linux_banner; /proc/iomem bounds its place.
	if !slices.ContainsFunc(k.manifest.Checks, func(c acquire.Check) bool {
		return c.Name == "banner" && strings.Contains(c.Detail, "among the kernel's constants")
	}) {
		t.Errorf("checks %+v, kernel at %v", k.manifest.Checks, f.KernelImage)
	}
	r.volatility(k)
	other := rigOf(t, r.guest)
	other.module = filepath.Join(store, "lime-"+l.KernelRelease+"-aarch64.ko")
	lime := other.take(other.capture("root")...)
	other.clean(time.Second)
	if m := lime.manifest; m.Method.Source != acquire.MethodLime || !m.Footprint.Clean || m.Method.Peer == nil || !m.Method.Peer.Verified {
		t.Errorf("method %+v, footprint %+v", m.Method, m.Footprint)
	}
	agree(t, k, lime)
	r.volatility(lime)
}

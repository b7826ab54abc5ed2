//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// raw unpacks an image.
func (r *rig) raw(image string) string {
	r.t.Helper()
	out := filepath.Join(r.t.TempDir(), "raw.lime")
	f, err := os.Create(out)
	if err != nil {
		r.t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(program, "cat", image)
	cmd.Stdout = f
	if err := cmd.Run(); err != nil {
		r.t.Fatal(err)
	}
	return out
}

// A memory is an image, or QEMU's dump, by physical address.
type memory struct {
	f      *os.File
	ranges []lime.RangeReport // nil: an address is an offset
}

func openMemory(t *testing.T, path string, image bool) memory {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m := memory{f: f}
	if image {
		rep, err := lime.Inspect(f, lime.WalkerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		m.ranges = rep.Ranges
	}
	return m
}

func (m memory) page(t *testing.T, addr uint64, buf []byte) {
	t.Helper()
	off := int64(addr)
	for _, r := range m.ranges {
		if addr >= r.Range.Start && addr <= r.Range.End {
			off = r.Offset + lime.HeaderSize + int64(addr-r.Range.Start)
		}
	}
	if _, err := m.f.ReadAt(buf, off); err != nil {
		t.Fatalf("page 0x%x: %v", addr, err)
	}
}

// A taken is a capture, with what QEMU says the memory was right after it.
type taken struct {
	manifest     *acquire.Manifest
	raw          string
	image, truth memory
}

// take runs the program, which has to take a complete image without a complaint, then stops the
// guest and has QEMU dump its memory.
func (r *rig) take(args ...string) taken {
	r.t.Helper()
	var env []string
	if r.collect != "" {
		env = append(env, "SHOTGLASS_COLLECT="+r.collect)
	}
	start(r.t, env, args...).want(0, 8*time.Minute)
	return r.took()
}

// took is take when the program has ended.
func (r *rig) took() taken {
	r.t.Helper()
	ctx := r.t.Context()
	path := filepath.Join(r.t.TempDir(), "truth")
	for _, step := range []func() error{
		func() error { return r.guest.Pause(ctx) },
		func() error { return r.guest.Dump(ctx, path) },
		func() error { return r.guest.Resume(ctx) },
	} {
		if err := step(); err != nil {
			r.t.Fatal(err)
		}
	}
	m := r.manifest()
	if !m.Complete || m.Image.Partial || !m.Footprint.Clean {
		r.t.Fatalf("manifest: complete %t %q, partial %t, footprint %+v", m.Complete, m.Reasons, m.Image.Partial, m.Footprint)
	}
	if now := r.taint(); m.Footprint.TaintAfter != now {
		r.t.Errorf("taint %s in the manifest, %s on the guest", m.Footprint.TaintAfter, now)
	}
	for _, c := range m.Checks {
		if c.Result != acquire.Pass {
			r.t.Errorf("check %q: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	r.t.Logf("%s: %d bytes in %s, %.1f MB/s", m.Method.Source, m.Image.Raw.Bytes, m.Duration, float64(m.Image.Raw.Bytes)/1e6/m.Duration.Seconds())
	raw := r.raw(m.Image.Location)
	return taken{m, raw, openMemory(r.t, raw, true), openMemory(r.t, path, false)}
}

// volatility has Volatility 3 find the kernel's banner, where kallsyms places it if it does.
func (r *rig) volatility(i taken) {
	r.t.Run("volatility "+i.manifest.Method.Source, func(t *testing.T) {
		out, err := exec.Command(parts.Volatility, "-q", "-f", i.raw, "banners.Banners").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := "\tLinux version " + r.guest.Lab.KernelRelease
		if at := i.manifest.Target.Facts.BannerAddress; at != 0 {
			want = fmt.Sprintf("0x%x%s", at, want)
		} else if !strings.Contains(i.manifest.Target.Facts.Machine, "aarch64") {
			t.Error("the banner's place is not known")
		}
		if !strings.Contains(string(out), want) {
			t.Errorf("Volatility does not say %q:\n%s", want, out)
		}
	})
}

// What an idle guest may change in the half minute from one image to the next, and while an
// image is taken, as shares of its pages. What reads the memory is in it: 4 MiB for each connection.
const (
	changing  = 0.30
	transient = 0.08
)

// agree holds two captures of an idle guest, a before b, against each other and against QEMU's
// dumps. They differ in what changed meanwhile, so shares of pages are compared; but of
// the pages that QEMU shows unchanged from the end of a to the end of b, b has to have all, but for
// those that changed and changed back.
func agree(t *testing.T, a, b taken) {
	t.Helper()
	if !slices.EqualFunc(a.image.ranges, b.image.ranges, func(a, b lime.RangeReport) bool { return a.Range == b.Range }) {
		t.Errorf("ranges differ")
	}
	var pages, truths, ourA, ourB, both, steady, moved int
	var buf [4][lime.PageSize]byte
	for _, r := range a.manifest.RAM {
		for at := (r.Start + lime.PageSize - 1) &^ (lime.PageSize - 1); at+lime.PageSize-1 <= r.End; at += lime.PageSize {
			for i, m := range []memory{a.image, a.truth, b.image, b.truth} {
				m.page(t, at, buf[i][:])
			}
			differ := func(i, j int, n *int) bool {
				if bytes.Equal(buf[i][:], buf[j][:]) {
					return false
				}
				*n++
				return true
			}
			pages++
			differ(0, 1, &ourA)
			differ(2, 3, &ourB)
			differ(0, 2, &both)
			if !differ(1, 3, &truths) {
				steady++
				differ(2, 1, &moved)
			}
		}
	}
	an, bn := a.manifest.Method.Source, b.manifest.Method.Source
	for _, share := range []struct {
		what  string
		n, of int
		most  float64
	}{
		{an + " and QEMU", ourA, pages, changing},
		{bn + " and QEMU", ourB, pages, changing},
		{an + " and " + bn, both, pages, changing},
		{"QEMU and QEMU", truths, pages, changing},
		{bn + " where QEMU shows no change", moved, steady, transient},
	} {
		part := float64(share.n) / float64(max(share.of, 1))
		t.Logf("%s: %d of %d pages differ, %.2f %%", share.what, share.n, share.of, 100*part)
		if part > share.most {
			t.Errorf("%s: %.2f %% of pages differ, more than %.0f %%", share.what, 100*part, 100*share.most)
		}
	}
}

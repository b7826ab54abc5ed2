//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/acquire/lime"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// kcore are the flags of a good capture through /proc/kcore: no module is given.
func (r *rig) kcore(user string, more ...string) []string {
	args := append([]string{"capture"}, r.target(user)...)
	args = append(args, "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(), "--progress", "lines")
	return append(append(args, more...), "127.0.0.1")
}

// readers are processes on the guest that a capture through /proc/kcore may leave.
const readers = `for p in /proc/[0-9]*; do tr '\0' ' ' 2>/dev/null <$p/cmdline | grep -E '^(dd |zstd |lz4 |gzip |/bin/sh -c while IFS|sudo)'; done; true`

func (r *rig) noReaders(limit time.Duration) {
	r.t.Helper()
	var left string
	defer func() {
		if r.t.Failed() {
			r.t.Logf("on the guest:\n%s", left)
		}
	}()
	r.eventually(limit, "no process reads /proc/kcore", func() bool {
		left = r.ssh(readers)
		return strings.TrimSpace(left) == ""
	})
}

// names are all files of the guest, but for what its own services do meanwhile.
const names = `find / /run /dev/shm /tmp -xdev 2>/dev/null | grep -v -E '^/(proc|sys|run/(systemd|user|log|udev|dbus))(/|$)' | sort -u`

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
	if _, err := m.f.ReadAt(buf, off); err != nil && err != io.EOF {
		t.Fatal(err)
	}
}

// differing is the share of whole pages of RAM that differ.
func differing(t *testing.T, ram []lime.Range, a, b memory) float64 {
	t.Helper()
	p, q := make([]byte, lime.PageSize), make([]byte, lime.PageSize)
	total, other := 0, 0
	for _, r := range ram {
		for at := (r.Start + lime.PageSize - 1) &^ (lime.PageSize - 1); at+lime.PageSize-1 <= r.End; at += lime.PageSize {
			a.page(t, at, p)
			b.page(t, at, q)
			if total++; !bytes.Equal(p, q) {
				other++
			}
		}
	}
	return float64(other) / float64(total)
}

// TestKcore takes a guest's memory with nothing loaded and no file written, and holds the
// image against LiME's and against what QEMU says the memory was.
func TestKcore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	marker := "shotglass-kcore-" + strings.Repeat("0123456789abcdef", 4)
	r.swapOn()
	r.ssh("printf %s " + marker[:20] + " >/dev/shm/marker; printf %s " + marker[20:] + " >>/dev/shm/marker")
	before := r.ssh(names)

	dump := func(name string) memory {
		path := filepath.Join(t.TempDir(), name)
		if err := r.guest.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := r.guest.Dump(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if err := r.guest.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		return openMemory(t, path, false)
	}

	p := start(t, nil, r.kcore("ops", "--connections", "2", "--swap")...)
	p.want(0, 5*time.Minute, "memory is read through kcore")
	truth := dump("after-kcore")
	m := r.manifest()
	r.noReaders(time.Second)
	if !m.Complete || m.Image.Partial || m.Method.Source != acquire.MethodKcore || m.Module != nil {
		t.Fatalf("manifest: complete %t %q, method %+v", m.Complete, m.Reasons, m.Method)
	}
	for _, c := range m.Checks {
		if c.Result != "pass" {
			t.Errorf("check %q: %s: %s", c.Name, c.Result, c.Detail)
		}
	}
	f := m.Footprint
	if !f.Clean || f.TaintBefore != "0" || f.TaintAfter != "0" || f.BytesPushed != 0 || f.Logins != 2 || f.Sudo == 0 {
		t.Errorf("footprint %+v", f)
	}
	t.Logf("kcore: %d bytes in %s, %.1f MB/s, %+v", m.Image.Raw.Bytes, m.Duration, float64(m.Image.Raw.Bytes)/1e6/m.Duration.Seconds(), *m.Method.Kcore)

	t.Run("agentless", func(t *testing.T) {
		if after := r.ssh(names); after != before {
			old := strings.Split(before, "\n")
			for _, name := range strings.Split(after, "\n") {
				if !slices.Contains(old, name) {
					t.Errorf("new on the guest: %s", name)
				}
			}
		}
		if out := r.ssh("cat /proc/sys/kernel/tainted; grep -c '^lime ' /proc/modules; true"); out != "0\n0\n" {
			t.Errorf("taint and LiME: %q", out)
		}
		// sudo's records in the log are those that the manifest counts.
		if n := strings.Count(r.ssh("journalctl -q -t sudo; true"), "COMMAND="); n != f.Sudo {
			t.Errorf("%d records of sudo, the manifest says %d", n, f.Sudo)
		}
	})
	t.Run("swap", func(t *testing.T) { r.swapTaken(m) })
	raw := r.raw(m.Image.Location)
	t.Run("verify", func(t *testing.T) {
		start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(0, time.Minute)
		data, err := os.ReadFile(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte(marker)) {
			t.Error("the marker is not in the image")
		}
	})
	t.Run("volatility", func(t *testing.T) {
		out, err := exec.Command(parts.Volatility, "-q", "-f", raw, "banners.Banners").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		want := fmt.Sprintf("0x%x\tLinux version %s", m.Target.Facts.BannerAddress, parts.KernelRelease)
		if m.Target.Facts.BannerAddress == 0 || !strings.Contains(string(out), want) {
			t.Errorf("Volatility does not say %q:\n%s", want, out)
		}
	})

	other := rigOf(t, r.guest)
	// Compressed on the guest, by what Debian has: the same stream, read there by bash.
	start(t, nil, other.capture("ops", "--compress-on-target", "auto")...).want(0, 5*time.Minute)
	truthLime := dump("after-lime")
	l := other.manifest()
	if !l.Complete || l.Method.Source != acquire.MethodLime {
		t.Fatalf("LiME: complete %t, method %+v", l.Complete, l.Method)
	}
	if w := l.Method.Wire; w == nil || w.Raw != l.Image.Raw.Bytes || w.Wire == 0 || w.Wire > w.Raw/2 || w.CPU == 0 || l.Method.Peer == nil || !l.Method.Peer.Verified {
		t.Errorf("LiME: compressed on target %+v, peer %+v", w, l.Method.Peer)
	} else {
		t.Logf("LiME: %+v", *w)
	}
	t.Logf("LiME:  %d bytes in %s, %.1f MB/s", l.Image.Raw.Bytes, l.Duration, float64(l.Image.Raw.Bytes)/1e6/l.Duration.Seconds())
	ours, theirs := openMemory(t, raw, true), openMemory(t, other.raw(l.Image.Location), true)
	if !slices.EqualFunc(ours.ranges, theirs.ranges, func(a, b lime.RangeReport) bool { return a.Range == b.Range }) {
		t.Errorf("ranges differ")
	}
	for _, tt := range []struct {
		name string
		a, b memory
	}{{"kcore and QEMU", ours, truth}, {"LiME and QEMU", theirs, truthLime}, {"kcore and LiME", ours, theirs}} {
		share := differing(t, m.RAM, tt.a, tt.b)
		t.Logf("%s: %.2f %% of pages differ", tt.name, 100*share)
		if share > 0.2 {
			t.Errorf("%s: %.2f %% of pages differ", tt.name, 100*share)
		}
	}
}

// TestKcoreKilled: nobody is there to clean. What reads on the target ends by itself.
func TestKcoreKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, user := range []string{"root", "ops", "opspw"} {
		t.Run(user, func(t *testing.T) {
			r := rigOf(t, r.guest)
			p := start(t, []string{"SHOTGLASS_SUDO_PASSWORD=" + parts.Password}, r.kcore(user, "--connections", "3")...)
			r.streaming(p)
			if out := r.ssh(readers); strings.TrimSpace(out) == "" {
				t.Fatal("no process reads /proc/kcore: the test would prove nothing")
			}
			p.cmd.Process.Signal(syscall.SIGKILL)
			r.noReaders(20 * time.Second)
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		r := rigOf(t, r.guest)
		p := start(t, nil, r.kcore("ops", "--connections", "3")...)
		r.streaming(p)
		p.cmd.Process.Signal(syscall.SIGINT)
		p.want(130, time.Minute)
		r.noReaders(time.Second)
		if m := r.partial(); !m.Footprint.Clean {
			t.Errorf("footprint %+v", m.Footprint)
		}
	})
}

// TestKcoreLockdown: a kernel that is locked down refuses its memory, and the plan says so.
func TestKcoreLockdown(t *testing.T) {
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
	for _, level := range []string{"confidentiality", "integrity"} {
		t.Run(level, func(t *testing.T) {
			g, err := parts.Boot(t.Context(), lab.Options{KernelArgs: "lockdown=" + level})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			r := rigOf(t, g)
			if level == "confidentiality" {
				start(t, nil, r.kcore("root")...).want(1, time.Minute, "locked down (confidentiality)", "signed modules")
				if f := r.files(); len(f) != 0 {
					t.Errorf("left here: %v", f)
				}
				return
			}
			// LiME cannot be loaded, /proc/kcore is open: as under Secure Boot.
			start(t, nil, r.capture("root")...).want(0, 5*time.Minute, "signed modules", "memory is read through kcore")
			if m := r.manifest(); !m.Complete || m.Method.Source != acquire.MethodKcore || m.Target.Facts.Lockdown != level {
				t.Errorf("complete %t, method %+v", m.Complete, m.Method)
			}
		})
	}
}

//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
	"github.com/shotglass-ir/shotglass/e2e/lab"
)

// kcore are the flags of a good capture through /proc/kcore: no module is given.
func (r *rig) kcore(user string, more ...string) []string {
	args := append([]string{"capture"}, r.target(user)...)
	args = append(args, "--output", r.dir, "--case", "e2e", "--sign-key", r.signKey(), "--progress", "lines")
	return append(append(args, more...), "127.0.0.1")
}

// readers are processes on the guest that a capture through /proc/kcore may leave.
const readers = `{ ps -eo args= || echo sudo: no ps here; } | grep -E '^(dd |zstd |lz4 |gzip |/bin/sh -c while IFS|sudo)'; true`

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

// TestKcore takes a guest's memory with nothing loaded and no file written, and holds the
// image against LiME's and against what QEMU says the memory was.
func TestKcore(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	marker := "shotglass-kcore-" + strings.Repeat("0123456789abcdef", 4)
	r.swapOn()
	r.ssh("printf %s " + marker[:20] + " >/dev/shm/marker; printf %s " + marker[20:] + " >>/dev/shm/marker")
	before := r.ssh(names)

	ours := r.take(r.kcore("ops", "--connections", "2", "--swap")...)
	m := ours.manifest
	r.noReaders(time.Second)
	if m.Method.Source != acquire.MethodKcore || m.Module != nil {
		t.Fatalf("method %+v, module %+v", m.Method, m.Module)
	}
	f := m.Footprint
	if !f.Clean || f.TaintBefore != "0" || f.TaintAfter != "0" || f.BytesPushed != 0 || f.Logins != 2 || f.Sudo == 0 {
		t.Errorf("footprint %+v", f)
	}

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
	t.Run("verify", func(t *testing.T) {
		start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(0, time.Minute)
		data, err := os.ReadFile(ours.raw)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(data, []byte(marker)) {
			t.Error("the marker is not in the image")
		}
	})
	r.volatility(ours)
	other := rigOf(t, r.guest)
	// Compressed on the guest, by what Debian has: the same stream, read there by bash.
	theirs := other.take(other.capture("ops", "--compress-on-target", "auto")...)
	l := theirs.manifest
	if l.Method.Source != acquire.MethodLime {
		t.Fatalf("LiME: method %+v", l.Method)
	}
	if w := l.Method.Wire; w == nil || w.Raw != l.Image.Raw.Bytes || w.Wire == 0 || w.Wire > w.Raw/2 || w.CPU == 0 || l.Method.Peer == nil || !l.Method.Peer.Verified {
		t.Errorf("LiME: compressed on target %+v, peer %+v", w, l.Method.Peer)
	} else {
		t.Logf("LiME: %+v", *w)
	}
	agree(t, ours, theirs)
	t.Run("avml", func(t *testing.T) { rigOf(t, r.guest).avml(ours.image) })
}

// kcoreInS3 takes the guest's memory once more, through /proc/kcore, compressed and encrypted straight into S3, and has
// Volatility read it there through the mount, which agrees with the guest.
func (r *rig) kcoreInS3(t *testing.T, work workload) {
	srv := startS3(t)
	key, recipient := ageKeygen(t, r.home)
	access := []string{"--s3-endpoint", srv.Endpoint, "--s3-path-style"}
	read := append([]string{"--identity", key, "--signers", r.signers()}, access...)
	before := r.truth()
	args := r.kcore("ops", slices.Concat(access, []string{"--recipient", recipient, "--to", "s3://" + srv.Bucket + "/kcore/"})...)
	i := slices.Index(args, "--output")
	start(t, append(srv.Env(), "SHOTGLASS_COLLECT=all"), slices.Delete(args, i, i+2)...).want(0, 8*time.Minute)
	after := r.truth()
	m, _ := s3Manifest(t, srv, "kcore/", "-mem.lime.zst.age.json")
	if !m.Complete || m.Method.Source != acquire.MethodKcore || m.Image.Encryption != "age" {
		t.Fatalf("complete %t, method %s, image %+v", m.Complete, m.Method.Source, m.Image)
	}
	live := filepath.Join(t.TempDir(), "live")
	start(t, srv.Env(), slices.Concat([]string{"live", "--identity", key, "--output", live}, access, []string{m.Image.Location})...).want(0, time.Minute)
	symbols := filepath.Join(t.TempDir(), "symbols")
	start(t, nil, "symbols", "--from", live, "--output", filepath.Join(symbols, "kernel.json.xz")).want(0, time.Minute)
	s := mount(t, srv.Env(), append(read, m.Image.Location)...)
	lookInto(t, s.file(".lime"), symbols, before.shells()).agrees(before, after, work.hidden)
	s.end(0)
	triaged(t, r, m, work, triaging{env: srv.Env(), flags: append([]string{"--identity", key}, access...), newer: true, read: "in place"})
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
	slots.take(t)
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

//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/acquire"
)

// push writes a file on the guest.
func (r *rig) push(data []byte, path string) {
	r.t.Helper()
	r.ssh("base64 -d >" + path + " <<'EOF'\n" + base64.StdEncoding.EncodeToString(data) + "\nEOF")
}

// smallDisk mounts a file system of this size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small file system (root is needed): %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestZeroFill provokes LiME's silent zero fill: its own default timeout, and a
// reader that pauses. The image has its full length and insmod is content, yet
// it must not be called complete; a second one is taken through /proc/kcore, and both are kept.
func TestZeroFill(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops", "--lime-timeout", "1000")...)
	r.streaming(p)
	p.cmd.Process.Signal(syscall.SIGSTOP)
	// LiME is stuck once its socket's send queue has not moved for two seconds.
	const queue = `awk '$3 != "00000000:0000" && $4 == "01" && $10 != "0" && $8 == "0" {split($5, q, ":"); if (q[1] != "00000000") print q[1]}' /proc/net/tcp`
	last, since := "", time.Now()
	r.eventually(2*time.Minute, "LiME waits for the reader", func() bool {
		if r.ssh("ls /sys/module/lime/parameters 2>/dev/null; true") == "" {
			return true // a busy machine was slow enough by itself
		}
		if now := r.ssh(queue); now != last || now == "" {
			last, since = now, time.Now()
		}
		return time.Since(since) > 3*time.Second
	})
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.want(0, 10*time.Minute, "zero fill", "taking a second one through /proc/kcore")
	r.clean(30 * time.Second)
	r.noReaders(time.Second)
	files, _ := filepath.Glob(filepath.Join(r.dir, "*-kcore-mem.lime.zst.json"))
	if len(files) != 1 {
		t.Fatalf("second manifests: %v, folder holds %v", files, r.files())
	}
	second := readManifest(t, files[0])
	if o := second.Other; !second.Complete || second.Method.Source != acquire.MethodKcore || o == nil || o.Order != "before" || o.Manifest == nil {
		t.Errorf("second: complete %t %q, other image %+v", second.Complete, second.Reasons, o)
	}
	start(t, nil, "verify", "--signers", r.signers(), second.Image.Location).want(0, time.Minute)
	os.Remove(files[0])
	m := r.partial()
	if o := m.Other; o == nil || o.Order != "after" || o.Name != second.Image.Name {
		t.Errorf("first: other image %+v", o)
	}
	if m.Stream == nil || m.Stream.Size() != uint64(m.Target.Facts.RAMBytes) {
		t.Errorf("the image has %d bytes of %d: LiME's fill should give the full length", m.Stream.Size(), m.Target.Facts.RAMBytes)
	}
	for _, c := range m.Checks {
		switch c.Name {
		case "zero fill":
			if c.Result != "fail" || !strings.Contains(c.Detail, "zero in the image") {
				t.Errorf("zero fill: %s: %s", c.Result, c.Detail)
			}
		case "records", "ranges", "stream":
			if c.Result != "pass" {
				t.Errorf("%s: %s: %s", c.Name, c.Result, c.Detail)
			}
		}
	}
}

// TestPause is the same pause with the parameters that shotglass uses: nothing is lost.
func TestPause(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	r.streaming(p)
	p.cmd.Process.Signal(syscall.SIGSTOP)
	slots.idle(func() { time.Sleep(10 * time.Second) })
	p.cmd.Process.Signal(syscall.SIGCONT)
	p.want(0, 5*time.Minute)
	if m := r.manifest(); !m.Complete {
		t.Errorf("not complete: %q", m.Reasons)
	}
	r.clean(30 * time.Second)
}

func TestInsmodKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops", "--method", "lime")...)
	r.streaming(p)
	r.ssh("pkill -KILL insmod")
	p.want(3, 3*time.Minute)
	r.clean(30 * time.Second)
	r.partial()
}

func TestSSHDKilled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	r.streaming(p)
	r.ssh("pkill -KILL -f '^sshd: ops'")
	p.want(3, 3*time.Minute)
	r.clean(30 * time.Second)
	if m := r.partial(); !m.Footprint.Clean {
		t.Errorf("the manifest does not say that the target is clean: %q", m.Footprint.Left)
	}
}

// TestLinkStalls: a link that is away for a minute and comes back ends nothing.
func TestLinkStalls(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	r.streaming(p)
	link(t, r, false)
	slots.idle(func() { time.Sleep(time.Minute) })
	link(t, r, true)
	p.want(0, 8*time.Minute, "no byte")
	m := r.manifest()
	if !m.Complete {
		t.Errorf("not complete: %q", m.Reasons)
	}
	if !strings.Contains(strings.Join(m.Anomalies, "\n"), "stood still") {
		t.Errorf("the stall is not recorded: %q", m.Anomalies)
	}
	r.clean(30 * time.Second)
}

// TestLinkDead: a link that never comes back ends in a partial image and a warning;
// the target cleans itself once the link's end is seen there.
func TestLinkDead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops", "--stall-timeout", "20s", "--cleanup-timeout", "20s")...)
	r.streaming(p)
	link(t, r, false)
	slots.idle(func() { p.want(3, 3*time.Minute, "no byte came for", "rmmod lime") })
	m := r.partial()
	if m.Footprint.Clean || len(m.Footprint.Left) == 0 || m.Footprint.Fix == "" {
		t.Errorf("footprint %+v", m.Footprint)
	}
	// Nobody asks the target any more: it cleans itself when the agent's lease of 80 s
	// ends, at the latest 100 s after the last beat.
	slots.idle(func() { time.Sleep(105 * time.Second) })
	link(t, r, true)
	r.clean(time.Minute)
}

func link(t *testing.T, r *rig, up bool) {
	t.Helper()
	if err := r.guest.SetLink(t.Context(), up); err != nil {
		t.Fatal(err)
	}
}

func TestDiskFull(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.dir = smallDisk(t, "24m")
	p := start(t, nil, r.capture("ops", "--allow-low-space")...)
	p.want(3, 3*time.Minute, "no space left")
	r.clean(30 * time.Second)
	if m := r.partial(); m.Image.Stored.Bytes < 10<<20 {
		t.Errorf("only %d bytes were kept", m.Image.Stored.Bytes)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	r.streaming(p)
	p.cmd.Process.Signal(syscall.SIGINT)
	p.want(130, time.Minute)
	r.clean(10 * time.Second)
	if m := r.partial(); !m.Footprint.Clean {
		t.Errorf("the manifest does not say that the target is clean: %q", m.Footprint.Left)
	}
}

// TestInterruptTwice leaves at once; the target cleans itself.
func TestInterruptTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	file := r.streaming(p)
	r.guest.Pause(t.Context()) // so that the first interrupt cannot finish
	p.cmd.Process.Signal(syscall.SIGINT)
	r.eventually(10*time.Second, "the first interrupt is answered", func() bool {
		return strings.Contains(p.stderr.String(), "again")
	})
	p.cmd.Process.Signal(syscall.SIGINT)
	p.want(130, 5*time.Second, "rmmod lime")
	if err := r.guest.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.clean(30 * time.Second)
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the partial image is gone: %v", err)
	}
}

// TestKill: after SIGKILL the target is clean within 30 s without a second run,
// the bytes are there, and a second run overwrites nothing.
func TestKill(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := start(t, nil, r.capture("ops")...)
	file := r.streaming(p)
	p.cmd.Process.Kill()
	<-p.done
	r.clean(30 * time.Second)
	before := sha256File(t, file)

	again := start(t, nil, r.capture("ops")...)
	again.want(0, 5*time.Minute)
	if m := r.manifest(); !m.Complete || strings.HasPrefix(filepath.Base(file), m.Image.Name) {
		t.Errorf("complete %t, name %s, the first was %s", m.Complete, m.Image.Name, file)
	}
	if sha256File(t, file) != before {
		t.Error("the second run changed the first one's bytes")
	}
	// What was left is food for zstd and for inspect.
	start(t, nil, "inspect", file).want(3, time.Minute)
}

func TestReboot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	// An emulated guest takes its time to boot where others boot, too.
	p := start(t, nil, r.capture("ops", "--stall-timeout", "90s", "--cleanup-timeout", "8m")...)
	r.streaming(p)
	if err := r.guest.Reset(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.want(3, 12*time.Minute)
	m := r.partial()
	if !m.Footprint.Clean {
		t.Errorf("left: %q", m.Footprint.Left)
	}
	found := false
	for _, e := range m.Timeline {
		found = found || strings.Contains(e.Event, "rebooted")
	}
	if !found {
		t.Errorf("the reboot is not in the timeline: %v", m.Timeline)
	}
	r.clean(30 * time.Second)
}

// TestStranger: another user of the target connects to LiME first. LiME serves
// that user, so shotglass stops it and says what happened.
func TestStranger(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const port = 23456
	// A shell without a program of its own connects as fast as it can.
	steal := fmt.Sprintf(`rm -f /tmp/stolen; nohup bash -c 'until exec 3<>/dev/tcp/127.0.0.1/%d; do :; done; head -c 4096 <&3 >/tmp/stolen; sleep 300' >/dev/null 2>&1 & echo`, port)
	if out, err := r.guest.SSH(t.Context(), "nosudo", steal); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := start(t, nil, r.capture("ops", "--lime-port", fmt.Sprint(port))...)
	p.want(1, 2*time.Minute, "disclosed", "uid")
	r.clean(30 * time.Second)
	// There is no image, but what happened is on record.
	if m := r.manifest(); m.Complete || m.Image.Stored.Bytes != 0 || !strings.Contains(strings.Join(m.Reasons, "\n"), "disclosed") || !m.Footprint.Clean {
		t.Errorf("complete %t, image %+v, reasons %q, footprint %+v", m.Complete, m.Image, m.Reasons, m.Footprint)
	}
	if size := strings.TrimSpace(r.ssh("stat -c %s /tmp/stolen")); size != "4096" {
		t.Errorf("the stranger got %s bytes: the test did not test", size)
	}
}

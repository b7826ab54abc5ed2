//go:build e2e

package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire"
)

// swapMarker is a line of what was swapped out on the guest. It is never in an argument there.
const swapMarker = "swapped-out-marker-0123456789"

// swapOn gives the guest a swap file and a swap device, and swaps 4 MiB of marked memory out to the
// file, whose zeros are still in the page cache.
func (r *rig) swapOn() {
	r.t.Helper()
	out := r.ssh(`set -e
dd if=/dev/zero of=/swapfile bs=1M count=16 2>/dev/null
dd if=/dev/zero of=/swapdisk bs=1M count=8 2>/dev/null
chmod 600 /swapfile /swapdisk
modprobe loop
[ -b /dev/loop0 ] || mknod /dev/loop0 b 7 0
losetup /dev/loop0 /swapdisk
mkswap -q -L marked -U 01234567-89ab-cdef-0123-456789abcdef /swapfile
mkswap -q /dev/loop0
swapon -p 10 /swapfile
swapon -p 1 /dev/loop0
c=/sys/fs/cgroup/marked
mkdir $c
(sh -c 'echo $PPID' >$c/cgroup.procs; m=swapped-out; yes "$m-marker-0123456789" | head -c 4M >/dev/shm/marked)
for i in 1 2 3 4 5; do echo 4M >$c/memory.reclaim 2>/dev/null || true; done
cat $c/memory.swap.current /proc/swaps`)
	if !strings.Contains(out, "/swapfile") || strings.HasPrefix(out, "0\n") {
		r.t.Fatalf("nothing was swapped out: %s", out)
	}
}

// swapTaken holds the swap areas of a capture of such a guest against it.
func (r *rig) swapTaken(m *acquire.Manifest) {
	t := r.t
	if len(m.SwapImages) != 2 {
		t.Fatalf("%d swap areas: %+v", len(m.SwapImages), m.SwapImages)
	}
	file, disk := m.SwapImages[0], m.SwapImages[1]
	if file.Name != "/swapfile" {
		file, disk = disk, file
	}
	for _, x := range m.SwapImages {
		t.Logf("%s: %d bytes in %s, %d used, header %+v, %d connections", x.Name, x.Size, x.Duration, x.Used, *x.Header, x.Connections.Made)
		if !x.Complete || x.Image.Raw.Bytes != x.Size {
			t.Errorf("%+v", x)
		}
		start(t, nil, "inspect", x.Image.Location).want(0, time.Minute)
	}
	if file.Size != 16<<20 || file.Type != "file" || file.Priority != 10 || file.Header.Label != "marked" || file.Header.UUID != "01234567-89ab-cdef-0123-456789abcdef" || file.Used == 0 {
		t.Errorf("swap file: %+v", file)
	}
	if disk.Size != 8<<20 || disk.Type != "partition" || disk.Name != "/dev/loop0" {
		t.Errorf("swap device: %+v", disk)
	}
	raw, err := exec.Command(program, "cat", file.Image.Location).Output()
	if err != nil || int64(len(raw)) != file.Size {
		t.Fatalf("cat: %d bytes, %v", len(raw), err)
	}
	if n := bytes.Count(raw, []byte(swapMarker)); n < 1000 {
		t.Errorf("the marker is in the swap area %d times", n)
	}
	// The signed manifest speaks for the swap areas, too.
	b, err := os.ReadFile(disk.Image.Location)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	os.WriteFile(disk.Image.Location, b, 0o600)
	start(t, nil, "verify", "--signers", r.signers(), m.Image.Location).want(4, time.Minute)
	b[len(b)/2] ^= 1
	os.WriteFile(disk.Image.Location, b, 0o600)
}

//go:build linux

package acquire

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/shotglass-ir/shotglass/acquire/wire"
)

// TestKcorePages reads memory with real holes by real programs: that of this test, of which pages
// beyond the end of a file cannot be read. Each dd says in its own way which they were.
func TestKcorePages(t *testing.T) {
	const pages = 300
	base, err := unix.MmapPtr(-1, 0, nil, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.MunmapPtr(base, pages*page) })
	memory := unsafe.Slice((*byte)(base), pages*page)
	rand.NewChaCha8([32]byte{7}).Read(memory)
	want := bytes.Clone(memory)
	empty, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	var holes []int
	for k := range pages {
		if k == 0 || k >= 17 && k < 20 || k >= 100 && k < 250 || k == pages-1 {
			// Of an empty file; an unmapped page could become our own heap.
			if _, err := unix.MmapPtr(int(empty.Fd()), 0, unsafe.Add(base, k*page), page, unix.PROT_READ, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
				t.Fatal(err)
			}
			holes = append(holes, k)
			clear(want[k*page:][:page])
		}
	}
	unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0) // an error says that there is no Yama
	path := fmt.Sprintf("/proc/%d/mem", os.Getpid())
	for _, tt := range []struct {
		name   string
		shell  []string
		before string
		zip    string
		orders int64 // at most
	}{
		{"coreutils", []string{"/bin/sh"}, "", "", 2},
		{"coreutils, bash", []string{"bash"}, "", "", 2},
		{"busybox", []string{"busybox", "sh"}, `dd() { busybox dd "$@"; }` + "\n", "", 160},
		{"coreutils, zstd", []string{"/bin/sh"}, "", wire.Zstd, 2},
		{"coreutils, lz4", []string{"/bin/sh"}, "", wire.Lz4, 2},
		{"coreutils, gzip", []string{"/bin/sh"}, "", wire.Gzip, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range []string{tt.shell[0], tt.zip} {
				if _, err := exec.LookPath(p); p != "" && err != nil {
					t.Skip(err)
				}
			}
			l := scriptLane(t, tt.shell, tt.before, path, tt.zip)
			buf := make([]byte, pages*page)
			bad, err := l.careful(1<<32, uint64(uintptr(base)), buf)
			if err != nil {
				t.Fatalf("%v; %s", err, l.stderr.String())
			}
			if !bytes.Equal(buf, want) {
				t.Error("what was read is not the memory")
			}
			var got []int
			for _, r := range bad {
				for a := r.Start; a < r.End; a += page {
					got = append(got, int(a-1<<32)/page)
				}
			}
			if !slices.Equal(got, holes) {
				t.Errorf("unreadable %v, want %v", got, holes)
			}
			if l.seq > tt.orders {
				t.Errorf("it took %d orders, want at most %d", l.seq, tt.orders)
			}
		})
	}
}

// scriptLane is a lane whose script runs here.
func scriptLane(t *testing.T, shell []string, before, core, zip string) *kcoreLane {
	t.Helper()
	st := &kcoreStream{mark: newNonce(), h: &remote{}, zip: zip, ticks: map[*kcoreLane]int64{}}
	from, to := io.Pipe()
	l := &kcoreLane{st: st, ready: make(chan struct{}), read: make(chan struct{}), from: from}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	var unpack *wire.Unpacker
	command := ""
	if zip != "" {
		unpack, _ = wire.NewUnpacker(zip)
		command = wire.Command(zip)
	}
	script := before + withArgs(kcoreScript, []string{st.mark, core, command})
	cmd := exec.CommandContext(l.ctx, shell[0], append(shell[1:], "-c", script)...)
	pr, pw := io.Pipe()
	l.in = pw
	cmd.Stdin, cmd.Stdout, cmd.Stderr = pr, &laneInput{l, to}, &l.stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.read)
		l.end(l.take(bufio.NewReaderSize(from, maxNoise), unpack))
	}()
	t.Cleanup(func() {
		pw.Close()
		cmd.Wait()
		to.Close()
		l.Close()
	})
	<-l.ready
	return l
}

//go:build linux || darwin

package fusefs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// holes has data from 100 to 200, from 200 to 300, and from 500 to 600, its end.
type holes struct{ Bytes }

func (holes) Data(off int64) (from, to int64, ok bool) {
	for _, p := range [][2]int64{{100, 200}, {200, 300}, {500, 600}} {
		if off < p[1] {
			return max(off, p[0]), p[1], true
		}
	}
	return 600, 600, false
}

func TestHoles(t *testing.T) {
	n := &node{f: File{Source: holes{make(Bytes, 600)}}}
	for _, c := range []struct {
		off    uint64
		whence uint32
		want   uint64
		errno  syscall.Errno
	}{
		{0, seekData, 100, 0}, {0, seekHole, 0, 0}, {150, seekData, 150, 0}, {150, seekHole, 300, 0}, {300, seekData, 500, 0},
		{400, seekHole, 400, 0}, {599, seekHole, 600, 0}, {600, seekData, 0, syscall.ENXIO}, {0, 9, 0, syscall.EINVAL},
	} {
		if got, errno := n.Lseek(t.Context(), nil, c.off, c.whence); got != c.want || errno != c.errno {
			t.Errorf("%+v: %d, %v", c, got, errno)
		}
	}
	var out fuse.AttrOut
	if n.Getattr(t.Context(), nil, &out); out.Size != 600 || out.Blocks != 3 || out.Mode != 0o400 {
		t.Errorf("%+v", out.Attr)
	}
	n.o.AllowOther = true
	if n.Getattr(t.Context(), nil, &out); out.Mode != 0o444 {
		t.Errorf("for others: %o", out.Mode)
	}
	if _, _, errno := n.Open(t.Context(), syscall.O_RDWR); errno != syscall.EROFS {
		t.Errorf("for writing: %v", errno)
	}
}

// A folder that is not empty, or none, is refused before anything is mounted.
func TestNoPlace(t *testing.T) {
	dir := t.TempDir()
	if _, err := New(filepath.Join(dir, "none"), nil, Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(dir, nil, Options{}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a folder in use: %v", err)
	}
}

// A read that failed does so again at once, since the kernel asks twice; after that it is tried, and so is what it did not
// cover.
func TestFailsAgain(t *testing.T) {
	tried, gone := 0, errors.New("gone")
	n := &node{o: Options{}.withDefaults(), f: File{Source: source{make(Bytes, 8192), func(_ context.Context, p []byte, off int64) (int, error) {
		if tried++; tried == 1 {
			return 0, gone
		}
		return len(p), nil
	}}}}
	page := func(off int64) syscall.Errno {
		_, errno := n.Read(t.Context(), nil, make([]byte, 4096), off)
		return errno
	}
	synctest.Test(t, func(t *testing.T) {
		if page(0) != syscall.EIO || page(0) != syscall.EIO || tried != 1 {
			t.Errorf("%d reads were tried", tried)
		}
		if errno := page(4096); errno != 0 {
			t.Errorf("the next page: %v", errno)
		}
		time.Sleep(again)
		if errno := page(0); errno != 0 || tried != 3 {
			t.Errorf("later: %v, %d reads were tried", errno, tried)
		}
	})
}

// Only damaged pages fail, though the kernel asked for many at once. Of a server that is away, what it did not give fails.
func TestFailsWhereItIsBad(t *testing.T) {
	const size, bad = 16 * 4096, 5 * 4096
	broken := errors.New("broken")
	for damage, want := range map[bool]int{true: 1, false: 11} {
		n := &node{o: Options{Damage: func(err error) bool { return damage && err == broken }}.withDefaults(), f: File{Source: source{make(Bytes, size), func(_ context.Context, p []byte, off int64) (int, error) {
			if off <= bad && bad < off+int64(len(p)) {
				return int(bad - off), broken
			}
			return len(p), nil
		}}}}
		synctest.Test(t, func(t *testing.T) {
			if _, errno := n.Read(t.Context(), nil, make([]byte, size), 0); errno != syscall.EIO {
				t.Errorf("all: %v", errno)
			}
			failed := 0
			for off := int64(0); off < size; off += 4096 {
				if _, errno := n.Read(t.Context(), nil, make([]byte, 4096), off); errno != 0 {
					failed++
				}
			}
			if failed != want {
				t.Errorf("damage %t: %d pages failed, want %d", damage, failed, want)
			}
		})
	}
}

//go:build unix

package acquire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// TestSwapGone: that an area of the plan is not there any more, or that nobody can tell, is never
// called complete.
func TestSwapGone(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		swaps  int                // at the plan
		then   func(f *fakeKcore) // before the first look
		want   []string           // of each area listed, its name and why it is not complete
		reason string
	}{
		{"one of two", 2, func(f *fakeKcore) {
			lines := strings.SplitAfter(f.read("swaps"), "\n")
			f.write("swaps", lines[0]+lines[2])
		}, []string{"swap2", "swap1"}, "switched off since the plan"},
		{"all", 1, func(f *fakeKcore) { f.write("swaps", swapsHead) }, []string{"swap1"}, "switched off since the plan"},
		{"an empty list", 1, func(f *fakeKcore) { f.write("swaps", "") }, []string{"swap1"}, "did not list its swap areas"},
		{"no list", 1, func(f *fakeKcore) { // what cat says goes elsewhere
			os.Remove(f.path("swaps"))
			os.Mkdir(f.path("swaps"), 0o700)
		}, []string{"swap1"}, "did not list its swap areas"},
		{"no list, and none at the plan", 0, func(f *fakeKcore) { f.write("swaps", "") }, []string{"swaps"}, "did not list its swap areas"},
		{"none, and none at the plan", 0, func(f *fakeKcore) {}, nil, ""},
		{"a kernel without swap", 0, func(f *fakeKcore) { os.Remove(f.path("swaps")) }, nil, ""},
		{"more than there can be", 1, func(f *fakeKcore) {
			f.write("swaps", f.read("swaps")+strings.Repeat("/dev/sdx1 partition\t1024\t0\t-2\n", maxActive))
		}, []string{"swap1"}, "no kernel has more than 32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			noLeak(t)
			f := newKcore(t)
			f.dd = withDirect
			for i := range tt.swaps {
				f.addSwap([]string{"swap1", "swap2"}[i], 1<<20, swapHead(4096, 256, binary.LittleEndian, ""))
			}
			f.exec = func(script string) {
				if script == "swap" && f.scripts["swap"] == 1 {
					tt.then(f)
				}
			}
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, asksSwap)
			m := manifestIn(t, dir)
			if res.State != StateComplete || !m.Complete || len(m.SwapImages) != len(tt.want) {
				t.Fatalf("%+v; swap %+v", res, m.SwapImages)
			}
			for i, name := range tt.want {
				if x := m.SwapImages[i]; !strings.HasSuffix(x.Name, "/"+name) {
					t.Errorf("swap %d is %q", i+1, x.Name)
				}
			}
			if tt.reason == "" {
				if res.Err != nil {
					t.Error(res.Err)
				}
				return
			}
			serr, ok := errors.AsType[*SwapError](res.Err)
			if !ok || len(serr.Areas) != 1 || !strings.Contains(serr.Error(), tt.reason) || !strings.HasPrefix(serr.Areas[0].Reasons[0], "not read: ") {
				t.Errorf("%v", res.Err)
			}
			if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 {
				t.Errorf("verify: %+v", rep.Problems)
			}
		})
	}
}

// TestSwapSize: how much is read, and whether it is the kernel's, goes by the size in /proc/swaps, which
// is that of all pages but the first and the bad ones.
func TestSwapSize(t *testing.T) {
	t.Parallel()
	head := func(pageSize, pages, bad int, order binary.ByteOrder) []byte {
		p := swapHead(pageSize, pages, order, "")
		order.PutUint32(p[1032:], uint32(bad))
		return p
	}
	for _, tt := range []struct {
		name       string
		head       []byte
		kib        int // in /proc/swaps
		size, read int64
		note       bool
		reason     string
	}{
		{"as mkswap and swapon leave it", head(4096, 4096, 0, binary.LittleEndian), 16380, 16 << 20, 16 << 20, false, ""},
		{"pages of 64 KiB, big-endian", head(65536, 64, 0, binary.BigEndian), 4032, 4 << 20, 4 << 20, false, ""},
		{"bad pages", head(4096, 256, 3, binary.LittleEndian), 1008, 1 << 20, 1 << 20, false, ""},
		{"a small area on a large device", head(4096, 256, 0, binary.LittleEndian), 1020, 64 << 20, 1020<<10 + 2*MaxSwapPage, true, ""},
		{"one page less", head(4096, 255, 0, binary.LittleEndian), 1020, 1 << 20, 1 << 20, false, "another file or device has its name"},
		{"another file, smaller", head(4096, 256, 0, binary.LittleEndian), 16380, 1 << 20, 1 << 20, false, "another file or device has its name"},
		{"another file, larger", head(4096, 4096, 0, binary.LittleEndian), 1020, 16 << 20, 1020<<10 + 2*MaxSwapPage, true, "another file or device has its name"},
		{"more bad pages than pages", head(4096, 256, 1<<31, binary.LittleEndian), 1020, 1 << 20, 1 << 20, false, "the kernel can swap 0 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newKcore(t)
			f.dd = withDirect
			f.write("swap1", string(tt.head))
			if err := os.Truncate(f.path("swap1"), tt.size); err != nil {
				t.Fatal(err)
			}
			f.write("swaps", fmt.Sprintf("%s%s file\t%d\t0\t-2\n", swapsHead, f.path("swap1"), tt.kib))
			dir := t.TempDir()
			res := f.capture(t.Context(), dir, asksSwap)
			m := manifestIn(t, dir)
			x := m.SwapImages[0]
			note := slices.Contains(x.Notes, fmt.Sprintf("%d bytes that the device or file has beyond what the kernel swaps to were not read", tt.size-tt.read))
			if x.Size != tt.read || x.Image.Raw.Bytes != tt.read || note != tt.note || x.Complete != (tt.reason == "") || (res.Err != nil) == x.Complete {
				t.Fatalf("%v; %+v", res.Err, x)
			}
			if tt.reason != "" && (len(x.Reasons) != 1 || !strings.Contains(x.Reasons[0], tt.reason)) {
				t.Errorf("reasons %q", x.Reasons)
			}
			if rep := verifyIn(t, dir, m); len(rep.Problems) > 0 {
				t.Errorf("verify: %+v", rep.Problems)
			}
		})
	}
}

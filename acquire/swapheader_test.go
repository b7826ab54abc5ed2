package acquire

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/live"
)

func TestParseSwapHeader(t *testing.T) {
	area := func(pageSize, pages int, order binary.ByteOrder) []byte {
		p := make([]byte, MaxSwapPage)
		order.PutUint32(p[1024:], 1)
		order.PutUint32(p[1028:], uint32(pages-1))
		order.PutUint32(p[1032:], 2)
		copy(p[1036:], "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef")
		copy(p[1052:1068], "a label of 16 by")
		copy(p[pageSize-10:], "SWAPSPACE2")
		return p
	}
	for _, tt := range []struct {
		name  string
		size  int
		order binary.ByteOrder
	}{{"x86-64", 4096, binary.LittleEndian}, {"arm64 with large pages", 65536, binary.LittleEndian}, {"s390x", 4096, binary.BigEndian}} {
		h := ParseSwapHeader(area(tt.size, 1000, tt.order))
		if h == nil || h.PageSize != tt.size || h.Pages != 1000 || h.BadPages != 2 || h.Version != 1 || h.Bytes() != int64(1000*tt.size) ||
			h.UUID != "01234567-89ab-cdef-0123-456789abcdef" || h.Label != "a label of 16 by" {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
	old := make([]byte, 4096)
	copy(old[4086:], "SWAP-SPACE")
	if h := ParseSwapHeader(old); h == nil || h.Magic != "SWAP-SPACE" || h.Pages != 0 {
		t.Errorf("old: %+v", h)
	}
	for _, p := range [][]byte{nil, make([]byte, 4095), make([]byte, MaxSwapPage), []byte(strings.Repeat("x", 5000))} {
		if h := ParseSwapHeader(p); h != nil {
			t.Errorf("of %d bytes: %+v", len(p), h)
		}
	}
}

func FuzzSwapHeader(f *testing.F) {
	p := make([]byte, 4096)
	copy(p[4086:], "SWAPSPACE2")
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		if h := ParseSwapHeader(p); h != nil && (h.PageSize > len(p) || h.Bytes() < 0) {
			t.Errorf("%+v", h)
		}
	})
}

func TestSwapNames(t *testing.T) {
	for image, want := range map[string]string{
		"web1-20261122T044807Z-mem.lime.zst":      "web1-20261122T044807Z-swap-1.raw.zst",
		"web1.example.org-2026-2-mem.lime.s2.age": "web1.example.org-2026-2-swap-1.raw.s2.age",
		"web1-20261122T044807Z-mem.lime":          "web1-20261122T044807Z-swap-1.raw",
		"evidence.img":                            "evidence.img-swap-1.raw",
	} {
		c := "none"
		switch {
		case strings.Contains(image, ".zst"):
			c = "zstd"
		case strings.Contains(image, ".s2"):
			c = "s2"
		}
		got := SwapName(image, 1, c, strings.HasSuffix(image, ".age"))
		if got != want {
			t.Errorf("beside %q: %q, want %q", image, got, want)
		}
		if is, plain := IsSwap(got); !is || plain != (c == "none") {
			t.Errorf("IsSwap(%q) = %t, %t", got, is, plain)
		}
		if strings.Contains(image, "-mem") && imageOf(got+FramesSuffix) != image {
			t.Errorf("imageOf(%q) = %q, want %q", got, imageOf(got+FramesSuffix), image)
		}
		if ValidImageName(got) == nil {
			t.Errorf("an image may be called %q", got)
		}
	}
}

func TestUnmangle(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\04`: `/a\04`, `/a\999`: `/a\999`, "/plain": "/plain"} {
		if got := live.Unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

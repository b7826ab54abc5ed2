package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

func TestBannerFinder(t *testing.T) {
	const text = "Linux version 6.1.0-9 (me@here) (gcc 12) #1 SMP Debian"
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		raw := make([]byte, 3000+rng.IntN(3000))
		lime.AppendHeader(raw[:0], lime.Range{Start: 0x1000, End: 0x1000 + uint64(len(raw)) - lime.HeaderSize - 1})
		first, count := -1, 0
		for at := lime.HeaderSize + 64 + rng.IntN(1500); at+len(text) <= len(raw); at += len(text) + 1 + rng.IntN(1500) {
			copy(raw[at:], text)
			if first < 0 {
				first = at
			}
			count++
		}
		copy(raw[lime.HeaderSize:], "Linux version %s")
		w, f := lime.NewWalker(lime.WalkerOptions{}), newBannerFinder()
		w.Write(raw)
		rep, err := w.Finish()
		if err != nil {
			t.Fatal(err)
		}
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(1+round*8))
			f.Write(rest[:n])
			rest = rest[n:]
		}
		found := f.found(rep)
		want := fmt.Sprint([]banner{{text, count, lime.Addr(0x1000 + first - lime.HeaderSize)}})
		if have := fmt.Sprint(found); have != want {
			t.Fatalf("round %d: found %s, want %s", round, have, want)
		}
	}
	if _, ok := bannerText([]byte("Linux version " + strings.Repeat("9", 600))); ok {
		t.Error("a text without a build number is taken for a banner")
	}
}

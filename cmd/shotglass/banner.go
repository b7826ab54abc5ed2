package main

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A banner is a text that the Linux kernel says of itself, as found in an image.
type banner struct {
	Text    string    `json:"text"`
	Count   int       `json:"count"`
	Address lime.Addr `json:"first_address"`
}

const (
	bannerStart = "Linux version "
	maxBanner   = 512 // longer ones are cut
	maxBanners  = 64  // different texts that are kept
	shownBanner = 8
)

// A bannerFinder looks for kernel banners in the raw bytes that are written to it.
type bannerFinder struct {
	carry []byte // the end of what came before, where a banner may begin
	off   int64  // raw offset of carry
	seen  map[string]*foundBanner
}

type foundBanner struct {
	count int
	first int64 // raw offset
}

func newBannerFinder() *bannerFinder { return &bannerFinder{seen: map[string]*foundBanner{}} }

// Write looks at the next bytes.
func (f *bannerFinder) Write(p []byte) (int, error) {
	n := len(p)
	if len(f.carry) > 0 {
		// First what begins in the carry, with enough of p to end it.
		k := len(f.carry)
		f.carry = append(f.carry, p[:min(n, maxBanner)]...)
		if n < maxBanner {
			// Too little to be sure of anything: keep it all, but for what cannot begin any more.
			f.scan(f.carry, f.off, len(f.carry)-maxBanner)
			f.keep(f.carry, f.off)
			return n, nil
		}
		f.scan(f.carry, f.off, k)
		f.off += int64(k)
	}
	f.scan(p, f.off, n-maxBanner)
	f.carry = f.carry[:0]
	f.keep(p, f.off)
	return n, nil
}

// keep keeps the last maxBanner bytes of b, which begins at raw offset off.
func (f *bannerFinder) keep(b []byte, off int64) {
	start := max(0, len(b)-maxBanner)
	f.carry = append(f.carry[:0], b[start:]...)
	f.off = off + int64(start)
}

// scan finds the banners that begin in b before limit.
func (f *bannerFinder) scan(b []byte, off int64, limit int) {
	for i := 0; i < limit; {
		j := bytes.Index(b[i:min(len(b), limit+len(bannerStart)-1)], []byte(bannerStart))
		if j < 0 {
			return
		}
		i += j
		if text, ok := bannerText(b[i:min(len(b), i+maxBanner)]); ok {
			f.add(text, off+int64(i))
		}
		i++
	}
}

// bannerText cuts a banner out: "Linux version 6.1.0 (who) (compiler) #1 SMP ...".
// What has no version or no build number is a format string or a file name.
func bannerText(b []byte) (string, bool) {
	end := bytes.IndexFunc(b, func(r rune) bool { return r < ' ' || r > '~' })
	if end >= 0 {
		b = b[:end]
	}
	rest := b[len(bannerStart):]
	if len(rest) == 0 || rest[0] < '0' || rest[0] > '9' || !bytes.Contains(rest, []byte(" #")) {
		return "", false
	}
	return string(b), true
}

func (f *bannerFinder) add(text string, off int64) {
	if b := f.seen[text]; b != nil {
		b.count++
	} else if len(f.seen) < maxBanners {
		f.seen[text] = &foundBanner{1, off}
	}
}

// found ends the search and returns the banners, the most frequent first.
func (f *bannerFinder) found(rep *lime.Report) []banner {
	f.scan(f.carry, f.off, len(f.carry))
	f.carry = nil
	out := []banner{}
	for text, b := range f.seen {
		out = append(out, banner{text, b.count, addressOf(rep, b.first)})
	}
	slices.SortFunc(out, func(a, b banner) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text))
	})
	return out[:min(len(out), shownBanner)]
}

// addressOf translates an offset of the raw stream.
func addressOf(rep *lime.Report, off int64) lime.Addr {
	for _, r := range rep.Ranges {
		if at := off - r.Offset - lime.HeaderSize; at >= 0 && uint64(at) < r.Bytes {
			return lime.Addr(r.Range.Start + uint64(at))
		}
	}
	return 0
}

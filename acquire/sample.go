package acquire

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

//go:embed sample.sh
var sampleScript string

// Samples of live memory tell LiME's silent zero fill from an idle host's zero
// pages: a page that held the same content before and after the capture
// cannot have been zero during it.
type samples struct {
	zero   string            // checksum of a page of zeros
	before map[uint64]string // by physical address
	after  map[uint64]string // of the pages that the image shows as zero, and before did not
	err    error             // why the second look failed
}

const (
	// spread samples lie evenly over RAM.
	spread = 32
	// At the end of each range, samples lie at doubling distances from it, since
	// a zero fill always reaches the end of a range.
	tailSamples = 12
	// maxSamples bounds the reads on the target: each is a dd and a checksum.
	maxSamples = 128
	page       = lime.PageSize
)

// samplePages chooses the physical addresses to sample, ascending.
func samplePages(ram []lime.Range) []uint64 {
	var total uint64
	for _, r := range ram {
		total += r.Size()
	}
	step := max(total/spread, page)
	var tails, even []uint64
	var passed uint64
	for _, r := range ram {
		first := (r.Start + page - 1) / page * page
		end := (r.End + 1) / page * page // of the last whole page
		if end <= first {
			continue
		}
		if r.Size() >= 1<<20 { // the small ranges are the firmware's
			for i := range tailSamples {
				if back := uint64(page) << i; end-first >= back {
					tails = append(tails, end-back)
				}
			}
		}
		for i := range uint64(spread) {
			a := i * step
			if a < passed || a >= passed+r.Size() {
				continue
			}
			if p := (r.Start + (a - passed)) / page * page; p >= first && p < end {
				even = append(even, p)
			}
		}
		passed += r.Size()
	}
	// Hosts with very many ranges: the last ranges are the large ones.
	if n := len(tails) - (maxSamples - spread); n > 0 {
		tails = tails[n:]
	}
	all := append(tails, even...)
	slices.Sort(all)
	return slices.Compact(all)
}

// takeSamples reads pages of live memory through /proc/kcore. It returns nil
// when that cannot be done.
func takeSamples(ctx context.Context, h *remote, pages []uint64) (zero string, sums map[uint64]string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	nonce, sum := newNonce(), summer(h.facts)
	args := []string{nonce, sum}
	at := map[string]uint64{}
	for _, p := range pages {
		off, ok := h.facts.kcore.Offset(p)
		if !ok || off%page != 0 {
			continue
		}
		n := strconv.FormatUint(off/page, 10)
		at[n] = p
		args = append(args, n)
	}
	if len(at) == 0 {
		return "", nil, fmt.Errorf("no page of /proc/kcore matches")
	}
	out, err := h.root(ctx, sampleScript, args...)
	if err != nil {
		return "", nil, fmt.Errorf("sample /proc/kcore: %w", err)
	}
	sums = map[uint64]string{}
	ended := false
	for line := range strings.Lines(string(out)) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "@"+nonce+" ")
		if !ok {
			continue
		}
		f := strings.Fields(rest)
		switch {
		case len(f) == 1 && f[0] == "end":
			ended = true
		case len(f) != 3 || !wholePage(sum, f[1], f[2]): // the page could not be read
		case f[0] == "zero":
			zero = f[1]
		default:
			if p, ok := at[f[0]]; ok {
				sums[p] = f[1]
			}
		}
	}
	if !ended || zero == "" || len(sums) == 0 {
		return "", nil, fmt.Errorf("sample /proc/kcore: the target returned no page")
	}
	return zero, sums, nil
}

// summer is the program of the target that makes checksums of samples, or nothing. The
// quicker one is not in every busybox.
func summer(f *Facts) string {
	for _, t := range []string{"cksum", "sha256sum"} {
		if f.tools[t] {
			return t
		}
	}
	return ""
}

// wholePage says whether a checksum is of a page. sha256sum tells no size, but the kernel
// gives a page in whole or not at all.
func wholePage(program, sum, size string) bool {
	if program == "cksum" {
		return size == strconv.Itoa(page)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	return size == "-" && len(sum) == len(empty) && sum != empty
}

// doubtful lists the sampled pages that the image shows as zero although they
// were not before.
func (s *samples) doubtful(rep *lime.Report) []uint64 {
	var pages []uint64
	for _, x := range rep.Samples {
		sum, ok := s.before[uint64(x.Addr)]
		if ok && sum != s.zero && x.Zero && x.Bytes == page {
			pages = append(pages, uint64(x.Addr))
		}
	}
	return pages
}

// judge decides on the zero fill. pages are the doubtful ones.
//
// A page with the same content before and after was not zero in between: a lie.
// Other doubtful pages may have been freed, cleared and used again. LiME's fill always
// reaches the end of a range, so those that no zeros follow up to there are
// explained by that, and so are those that are zero now; the rest is not.
func (s *samples) judge(source string, rep *lime.Report, pages []uint64) Check {
	c := Check{Name: checkZeroFill}
	sure, perhaps, limits := "LiME filled with zeros instead of reading", "LiME may have filled with zeros instead of reading", ""
	if source == MethodKcore || source == MethodAvml {
		// Both come through /proc/kcore: this finds what went wrong between there and here.
		sure, perhaps = "what was read did not get into the image", "what was read may not have got into the image"
		limits = "; both come through /proc/kcore, so this says nothing of what the kernel itself withholds"
	}
	live := 0
	for _, x := range rep.Samples {
		if sum, ok := s.before[uint64(x.Addr)]; ok && sum != s.zero && x.Bytes == page {
			live++
		}
	}
	var same, open []uint64
	for _, p := range pages {
		sum, seen := s.after[p]
		switch {
		case seen && sum == s.before[p]:
			same = append(same, p)
		case seen && sum == s.zero, !inZeroTail(rep, p):
		default:
			open = append(open, p)
		}
	}
	switch {
	case len(same) > 0:
		c.Result = Fail
		c.Detail = fmt.Sprintf("%d of %d sampled pages that were in use before and are unchanged after the capture are zero in the image, the first at %s: %s",
			len(same), live, lime.Addr(same[0]), sure)
	case len(open) > 0:
		c.Result = Fail
		c.Detail = fmt.Sprintf("%d of %d sampled pages that were in use before the capture are zero in the image, as is all that follows them in their range, the first at %s: %s",
			len(open), live, lime.Addr(open[0]), perhaps)
		if s.err != nil {
			c.Detail += fmt.Sprintf("; they could not be looked at again: %v", s.err)
		}
	case live == 0:
		c.Result = Unknown
		c.Detail = fmt.Sprintf("none of %d sampled pages was in use before the capture", len(s.before))
	default:
		c.Result = Pass
		c.Detail = fmt.Sprintf("of %d pages sampled through /proc/kcore %d were in use before the capture; %d of these are zero in the image, and live memory or what follows them explains that%s",
			len(s.before), live, len(pages), limits)
	}
	return c
}

// inZeroTail says whether the image holds nothing but zeros from the page to the
// end of its range.
func inZeroTail(rep *lime.Report, p uint64) bool {
	for _, r := range rep.Ranges {
		if p >= r.Range.Start && p <= r.Range.End {
			return p+r.ZeroTail >= r.Range.Start+r.Bytes
		}
	}
	return false
}

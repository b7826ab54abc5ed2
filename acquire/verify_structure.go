package acquire

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shotglass-ir/shotglass/acquire/frame"
	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// maxRecordsTold is how many records that differ are told one by one; where a
// header is damaged, all that follow differ.
const maxRecordsTold = 16

// claims checks what the manifest says against itself.
func (v *verification) claims() {
	m := v.m
	bad := func(format string, args ...any) { v.mismatch(mismatchManifest, format, args...) }
	if m.Image.Name != v.name {
		v.mismatch(mismatchName, "the manifest beside %s is that of %q", v.name, m.Image.Name)
	}
	if interim := v.paper == v.name+InterimSuffix; interim != (m.Interim != "") {
		v.mismatch(mismatchName, "the manifest called %s says of itself: %q", v.paper, m.Interim)
	}
	v.imageClaims(formatLime)
	if !m.Complete {
		return
	}
	if v.paper == v.name+PartialManifestSuffix {
		v.mismatch(mismatchName, "the manifest says complete, and its name, %s, partial", v.paper)
	}
	if m.Stream == nil {
		bad("it says complete, and not what the image holds")
	}
	if m.Target.Facts == nil {
		bad("it says complete, and not of which kernel")
	}
	for _, c := range m.Checks {
		// Samples of live memory overrule the parameter, see judgement.checks.
		if c.Result == Fail && c.Name != checkParameter {
			bad("it says complete, and that the check %q failed: %q", c.Name, c.Detail)
		}
	}
}

// imageClaims checks what it says of one file and its state.
func (v *verification) imageClaims(format string) {
	m := v.m
	bad := func(format string, args ...any) { v.mismatch(mismatchManifest, format, args...) }
	if f := m.Image.Frames; f != nil && f.Name != m.Image.Name+FramesSuffix {
		v.mismatch(mismatchName, "the manifest names %q as the frame index of %q", f.Name, m.Image.Name)
	}
	if m.Image.Format != format {
		bad("format %q is not known", m.Image.Format)
	}
	if c := m.Image.Compression; !slices.Contains(frame.Compressions, c) {
		bad("compression %q is not known: the image was not decoded", c)
	}
	if e := m.Image.Encryption; e != encryptionNone && e != encryptionAge {
		bad("encryption %q is not known: the image was taken as not encrypted", e)
	}
	if m.Complete && m.Image.Partial {
		bad("it says complete, and that the image is partial")
	}
	if m.Complete && len(m.Reasons) > 0 {
		bad("it says complete, and why not: %q", m.Reasons)
	}
}

// needles are the texts that the image must hold by the manifest.
func (v *verification) needles() []lime.Needle {
	f := v.m.Target.Facts
	if f == nil || strings.HasPrefix(f.Version, "\x00") { // the walker takes no such text
		return nil
	}
	return needles(f)
}

// structure compares the records, and the places of the needles, with those that the
// capture saw.
func (v *verification) structure(walked *lime.Report) {
	s := v.m.Stream
	if s == nil {
		return // told by claims, if it matters
	}
	// After a failure of the sink the capture saw more than was stored.
	start := !v.m.Complete && s.Bytes > v.m.Image.Raw.Bytes
	if !start && (walked.Bytes != s.Bytes || walked.Complete != s.Complete || len(walked.Ranges) != len(s.Ranges)) {
		v.mismatch(mismatchStructure, "the image holds %d bytes in %d records (all whole: %t); the manifest says %d bytes in %d records (all whole: %t)",
			walked.Bytes, len(walked.Ranges), walked.Complete, s.Bytes, len(s.Ranges), s.Complete)
	}
	differ := 0
	for i := range walked.Ranges {
		g := &walked.Ranges[i]
		said := "it has no such record"
		if i < len(s.Ranges) {
			w := &s.Ranges[i]
			cut := start && i == len(walked.Ranges)-1 && g.Bytes < w.Bytes
			if g.Range == w.Range && g.Offset == w.Offset && (g.Bytes == w.Bytes || cut) {
				continue
			}
			said = fmt.Sprintf("%s with %d bytes at raw offset %d", w.Range, w.Bytes, w.Offset)
		}
		if differ++; differ <= maxRecordsTold {
			v.report(Mismatch{
				What: mismatchStructure, Frame: -1, StoredOffset: -1, RawOffset: g.Offset, Address: lime.Addr(g.Range.Start).String(),
				Detail: fmt.Sprintf("record %d is %s with %d bytes; the manifest says: %s", i, g.Range, g.Bytes, said),
			})
		}
	}
	if differ > maxRecordsTold {
		v.mismatch(mismatchStructure, "%d more records differ", differ-maxRecordsTold)
	}
	for _, g := range walked.Found {
		i := slices.IndexFunc(s.Found, func(f lime.Found) bool { return f.Name == g.Name })
		if i < 0 {
			continue // not looked for
		}
		want := s.Found[i].Addrs
		if start {
			want = want[:min(len(want), len(g.Addrs))]
		}
		if !slices.Equal(g.Addrs, want) {
			v.mismatch(mismatchBanner, "%s is at %v; the manifest says %v", g.Name, g.Addrs, s.Found[i].Addrs)
		}
	}
}

// complete makes the tests again that a complete image must pass. Digests alone
// would let a manifest pass that was made for a short image.
func (v *verification) complete(walked *lime.Report) {
	for _, p := range walked.Problems {
		v.report(Mismatch{
			What: mismatchComplete, Frame: -1, StoredOffset: -1, RawOffset: p.Offset, Address: rangeStart(p.Range),
			Detail: fmt.Sprintf("the manifest says complete, but: %v", p),
		})
	}
	for _, d := range walked.Compare(v.m.RAM) {
		v.report(Mismatch{
			What: mismatchRanges, Frame: -1, StoredOffset: -1, RawOffset: -1, Address: rangeStart(&d.Range),
			Detail: "the manifest says complete, but against its System RAM: " + d.String(),
		})
	}
	if v.m.Target.Facts == nil {
		return
	}
	j := judgement{facts: v.m.Target.Facts, rep: walked}
	if c := j.banner(); c.Result == Fail {
		v.mismatch(mismatchBanner, "the manifest says complete, but %s", c.Detail)
	}
}

func rangeStart(r *lime.Range) string {
	if r == nil {
		return ""
	}
	return lime.Addr(r.Start).String()
}

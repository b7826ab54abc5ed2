package lime

import (
	"cmp"
	"fmt"
	"slices"
)

// A DiffKind classifies a Difference.
type DiffKind string

// How an image and the expected ranges can differ.
const (
	Missing  DiffKind = "missing"    // expected, not in the image: a whole range or a part that does not reach its end
	Short    DiffKind = "short"      // the end of an expected range is not in the image
	OffByOne DiffKind = "off by one" // exactly one byte too few or too many at the edge of an expected range
	Extra    DiffKind = "extra"      // in the image, not expected
)

// A Difference is a stretch of memory that an image lacks or has in excess.
type Difference struct {
	Kind     DiffKind `json:"kind"`
	Range    Range    `json:"range"`              // the bytes that differ
	Expected *Range   `json:"expected,omitempty"` // the expected range concerned, if there is one
}

// String describes the difference for people.
func (d Difference) String() string {
	s := fmt.Sprintf("%s: %s (%d bytes)", d.Kind, d.Range, d.Range.Size())
	if d.Expected != nil && *d.Expected != d.Range {
		s += " of " + d.Expected.String()
	}
	return s
}

// Compare returns every difference between the content seen and the expected
// ranges, such as ParseIOMem returns, ascending by address. It is about bytes, not records:
// a range cut into several records does not differ, a record cut short does.
func (r *Report) Compare(expected []Range) []Difference {
	got := make([]Range, 0, len(r.Ranges))
	for i := range r.Ranges {
		if g := &r.Ranges[i]; g.Bytes > 0 {
			got = append(got, Range{g.Range.Start, g.Range.Start + g.Bytes - 1})
		}
	}
	return Compare(got, expected)
}

// Compare returns every difference between two sets of ranges.
func Compare(got, expected []Range) []Difference {
	got, whole := Coalesce(got), Coalesce(expected)
	var out []Difference
	for _, e := range ascending(expected) {
		for _, m := range subtract([]Range{e}, got) {
			d := Difference{Kind: Missing, Range: m, Expected: &e}
			edge := m.Start == e.Start || m.End == e.End
			switch {
			case m == e:
			case edge && m.Start == m.End:
				d.Kind = OffByOne
			case m.End == e.End:
				d.Kind = Short
			}
			out = append(out, d)
		}
	}
	for _, x := range subtract(got, whole) {
		d := Difference{Kind: Extra, Range: x}
		if x.Start == x.End {
			for _, e := range whole {
				if (e.End < x.Start && e.End+1 == x.Start) || (x.End < e.Start && x.End+1 == e.Start) {
					d.Kind, d.Expected = OffByOne, &e
				}
			}
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Difference) int { return cmp.Compare(a.Range.Start, b.Range.Start) })
	return out
}

// Coalesce returns the ranges ascending, with those that touch or overlap
// joined. Invalid ranges are left out.
func Coalesce(ranges []Range) []Range {
	var out []Range
	for _, r := range ascending(ranges) {
		if n := len(out) - 1; n >= 0 && (r.Start <= out[n].End || r.Start-1 == out[n].End) {
			out[n].End = max(out[n].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}

// ascending returns a sorted copy of the valid ranges.
func ascending(ranges []Range) []Range {
	out := slices.DeleteFunc(slices.Clone(ranges), func(r Range) bool { return r.Start > r.End })
	slices.SortFunc(out, func(a, b Range) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	return out
}

// subtract returns what of a is not in b. Both are ascending, b is coalesced.
func subtract(a, b []Range) []Range {
	var out []Range
	for _, r := range a {
		i, _ := slices.BinarySearchFunc(b, r.Start, func(x Range, at uint64) int { return cmp.Compare(x.End, at) })
		whole := false
		for ; i < len(b) && b[i].Start <= r.End; i++ {
			if b[i].Start > r.Start {
				out = append(out, Range{r.Start, b[i].Start - 1})
			}
			if whole = b[i].End >= r.End; whole {
				break
			}
			r.Start = b[i].End + 1
		}
		if !whole {
			out = append(out, r)
		}
	}
	return out
}

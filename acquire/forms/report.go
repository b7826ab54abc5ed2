package forms

import (
	"fmt"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Kind says what is damaged.
type Kind string

// Kinds of damage.
const (
	Truncated Kind = "truncated" // the file ends too early
	BadFrame  Kind = "frame"     // a compressed frame, or a part of the file, does not decode or cannot be read
	Suspect   Kind = "suspect"   // it decodes, and its digest is not that of the index
	BadHeader Kind = "header"    // of a record; what it was is known from elsewhere
	BadBlock  Kind = "block"     // snappy: bad checksum, or does not decode
	Garbage   Kind = "garbage"   // bytes that belong to no record
	Outside   Kind = "outside"   // memory that lies in no range, and was not carried over
	Appended  Kind = "appended"  // bytes after the end
)

// Damage is one thing that is wrong with an image.
type Damage struct {
	Kind   Kind  `json:"kind"`
	Offset int64 `json:"offset"` // in the decoded file
	Bytes  int64 `json:"bytes"`  // concerned, of the decoded file; 0 where that is not known
	// Zeroed says that zeros stand in for the bytes; Ranges say of which memory, where that is known.
	Zeroed bool         `json:"zeroed,omitempty"`
	Ranges []lime.Range `json:"ranges,omitempty"`
	Detail string       `json:"detail"`
}

func (d Damage) String() string {
	s := fmt.Sprintf("%s at offset %d", d.Kind, d.Offset)
	if d.Bytes > 0 {
		s += fmt.Sprintf(", %d bytes", d.Bytes)
	}
	s += ": " + d.Detail
	if d.Zeroed {
		s += "; zeros stand in for it"
	}
	for i, r := range d.Ranges {
		if i == 4 {
			return s + fmt.Sprintf(" and %d more ranges", len(d.Ranges)-i)
		}
		s += " " + r.String()
	}
	return s
}

// maxDamage is how many a report lists; the rest is counted.
const maxDamage = 4096

// A Report says what was read.
type Report struct {
	Content   Form   `json:"content"`     // lime, avml2, raw or elf; avml1 shows as lime
	Container string `json:"compression"` // none, zstd, s2, gzip or zlib
	Records   int    `json:"records"`     // read
	Bytes     uint64 `json:"memory_bytes"`
	// Ranges are those that were given on.
	Ranges []lime.Range `json:"ranges,omitempty"`
	// LeftOut is memory that the form does not store, and that is zeros here: AVML leaves out
	// zeros, the last byte of each range, and what it could not read. It does not say which.
	LeftOut []lime.Range `json:"left_out,omitempty"`
	Damage  []Damage     `json:"damage,omitempty"`
	More    int          `json:"more_damage,omitempty"` // not listed
	Notes   []string     `json:"notes,omitempty"`
}

func (r *Report) damage(d Damage) {
	if n := len(r.Damage); n > 0 { // a stretch of blocks is one
		l := &r.Damage[n-1]
		if l.Kind == d.Kind && l.Zeroed == d.Zeroed && l.Detail == d.Detail && l.Bytes > 0 && l.Offset+l.Bytes == d.Offset {
			l.Bytes += d.Bytes
			l.Ranges = lime.Coalesce(append(l.Ranges, d.Ranges...))
			return
		}
	}
	if len(r.Damage) == maxDamage {
		r.More++
		return
	}
	r.Damage = append(r.Damage, d)
}

// leftOut adds a range, joined to the last one where they touch.
func (r *Report) leftOut(x lime.Range) {
	if n := len(r.LeftOut); n > 0 && r.LeftOut[n-1].End+1 == x.Start {
		r.LeftOut[n-1].End = x.End
		return
	}
	r.LeftOut = append(r.LeftOut, x)
}

// Whole reports whether nothing was damaged.
func (r *Report) Whole() bool { return len(r.Damage) == 0 }

// Package lime reads, checks and writes memory images in the LiME v1 format.
//
// An image is a sequence of records and nothing else: a 32-byte header that
// names a range of physical memory, then the bytes of that range. There is no
// file header, no count and no trailer, so an image that stopped early looks
// like one that ended, except by record arithmetic. A [Walker] does that
// arithmetic while the bytes pass, and gathers what is needed to judge the
// content: times, zero pages, zero runs, the places of known texts. Its
// [Report] compares itself to what /proc/iomem of the host said, which
// [ParseIOMem] reads. A [Writer] makes images, [Inspect] checks stored ones.
//
// Analysis tools drop the whole image, without a word, when records descend or
// overlap or when a single byte follows the last record; all of these are
// errors here. Gaps between records are legal.
//
// The format: https://github.com/jtsylve/LiME/blob/master/doc/README.md
package lime

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

const (
	// Magic starts every record: "EMiL" on disk.
	Magic uint32 = 0x4C694D45
	// Version is the only version of the format.
	Version uint32 = 1
	// HeaderSize is the length of a record's header in bytes.
	HeaderSize = 32
	// PageSize is the page that zero statistics and samples count in,
	// whatever the page of the host.
	PageSize = 4096
)

// An Addr is a physical address. Its text form is hexadecimal with "0x".
type Addr uint64

// String returns the address as 0x and hexadecimal digits.
func (a Addr) String() string { return "0x" + strconv.FormatUint(uint64(a), 16) }

// MarshalText returns the text form.
func (a Addr) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText parses the text form.
func (a *Addr) UnmarshalText(b []byte) error {
	digits, ok := strings.CutPrefix(string(b), "0x")
	if !ok {
		return fmt.Errorf("address %q: no 0x prefix", b)
	}
	v, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return fmt.Errorf("address %q: %w", b, err)
	}
	*a = Addr(v)
	return nil
}

// A Range is a range of physical addresses. End is its last byte: inclusive,
// as in LiME and in /proc/iomem.
type Range struct {
	Start, End uint64
}

// maxSize keeps lengths and stream offsets inside an int64.
const maxSize = math.MaxInt64 - HeaderSize

// Size returns the length of a valid range in bytes.
func (r Range) Size() uint64 { return r.End - r.Start + 1 }

// Valid reports whether the range has a length that a stream can have.
func (r Range) Valid() bool { return r.Start <= r.End && r.End-r.Start < maxSize }

// String returns "0xSTART-0xEND".
func (r Range) String() string { return Addr(r.Start).String() + "-" + Addr(r.End).String() }

type rangeJSON struct {
	Start Addr `json:"start"`
	End   Addr `json:"end"`
}

// MarshalJSON writes {"start":"0x…","end":"0x…"}.
func (r Range) MarshalJSON() ([]byte, error) {
	return json.Marshal(rangeJSON{Addr(r.Start), Addr(r.End)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Range) UnmarshalJSON(b []byte) error {
	var j rangeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	r.Start, r.End = uint64(j.Start), uint64(j.End)
	return nil
}

// Total returns the length of an image with one record for each range,
// headers included.
func Total(ranges []Range) int64 {
	var n int64
	for _, r := range ranges {
		n += HeaderSize + int64(r.Size())
	}
	return n
}

// AppendHeader appends the header of the record for r to b.
func AppendHeader(b []byte, r Range) []byte {
	b = binary.LittleEndian.AppendUint32(b, Magic)
	b = binary.LittleEndian.AppendUint32(b, Version)
	b = binary.LittleEndian.AppendUint64(b, r.Start)
	b = binary.LittleEndian.AppendUint64(b, r.End)
	return append(b, 0, 0, 0, 0, 0, 0, 0, 0)
}

// DecodeHeader decodes a record's header. Its errors are *FormatError with
// offset 0.
func DecodeHeader(b []byte) (Range, error) {
	if len(b) < HeaderSize {
		return Range{}, &FormatError{Kind: ErrTruncatedHeader, Detail: fmt.Sprintf("%d of %d bytes", len(b), HeaderSize)}
	}
	if m := binary.LittleEndian.Uint32(b); m != Magic {
		return Range{}, &FormatError{Kind: ErrBadMagic, Detail: fmt.Sprintf("0x%08x", m)}
	}
	if v := binary.LittleEndian.Uint32(b[4:]); v != Version {
		return Range{}, &FormatError{Kind: ErrBadVersion, Detail: strconv.FormatUint(uint64(v), 10)}
	}
	r := Range{binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])}
	if !r.Valid() {
		return r, &FormatError{Kind: ErrBadRange, Range: &r}
	}
	return r, nil
}

// A Kind says what is wrong with an image. Kinds are the sentinels that
// errors.Is finds in the errors of this package.
type Kind string

// What can be wrong with the structure of an image.
const (
	ErrEmpty           Kind = "no record"
	ErrBadMagic        Kind = "bad magic"
	ErrBadVersion      Kind = "unknown version"
	ErrBadRange        Kind = "range ends before it starts"
	ErrOverlap         Kind = "record overlaps the one before"
	ErrDescending      Kind = "record starts below the one before"
	ErrTrailing        Kind = "bytes after the last record"
	ErrTruncatedHeader Kind = "header cut short"
	ErrTruncatedRecord Kind = "record cut short"
	ErrTooManyRecords  Kind = "more records than the report holds"
)

// Error returns the text of the kind.
func (k Kind) Error() string { return string(k) }

// A FormatError is one defect of an image's structure.
type FormatError struct {
	Kind   Kind   `json:"kind"`
	Offset int64  `json:"offset"`          // in the stream, of the first byte concerned
	Range  *Range `json:"range,omitempty"` // of the record concerned, where known
	Detail string `json:"detail,omitempty"`
}

func (e *FormatError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lime: %s at offset %d", string(e.Kind), e.Offset)
	if e.Range != nil {
		fmt.Fprintf(&b, ", range %s", e.Range)
	}
	if e.Detail != "" {
		fmt.Fprintf(&b, ": %s", e.Detail)
	}
	return b.String()
}

// Unwrap returns the Kind.
func (e *FormatError) Unwrap() error { return e.Kind }

package lime

import "time"

// A Report is what a Walker saw.
type Report struct {
	Bytes    int64          `json:"bytes"`    // of the whole stream, headers included
	Complete bool           `json:"complete"` // the structure is whole; says nothing about which ranges there should be
	Ranges   []RangeReport  `json:"ranges"`   // in stream order
	Found    []Found        `json:"found,omitempty"`
	Samples  []Sample       `json:"samples,omitempty"`
	Problems []*FormatError `json:"problems,omitempty"` // in stream order, the first 16
	// Spans say when each stretch of memory came, ascending. A manifest has them elsewhere.
	Spans []Span `json:"-"`
	More  int    `json:"more_problems,omitempty"`
}

// A RangeReport describes one record.
type RangeReport struct {
	Range  Range     `json:"range"`  // as the header says
	Offset int64     `json:"offset"` // of the header in the stream
	Bytes  uint64    `json:"bytes"`  // of content seen: less than the range's size when cut short
	First  time.Time `json:"first,omitzero"`
	Last   time.Time `json:"last,omitzero"` // when the first and the last byte of content were seen
	Marks  []Mark    `json:"marks,omitempty"`

	Pages     uint64 `json:"pages"`      // touched; a page in part counts
	ZeroPages uint64 `json:"zero_pages"` // with nothing but zeros in what was seen of them
	ZeroTail  uint64 `json:"zero_tail"`  // zero bytes directly before the end of what was seen
	// LongestZero is the longest run of zero bytes, the first of equals. Runs
	// shorter than a page are not looked for.
	LongestZero Run `json:"longest_zero,omitzero"`
}

// A Mark says when the walk passed a physical address.
type Mark struct {
	Addr Addr      `json:"addr"`
	Time time.Time `json:"time"`
}

// A Span is when a stretch of up to WalkerOptions.MarkEvery bytes came: no byte of it before
// First, nor after Last.
type Span struct {
	Addr        Addr // of its first byte in the image
	First, Last time.Time
}

// A Run is a run of equal bytes.
type Run struct {
	Start  Addr   `json:"start"`
	Length uint64 `json:"length"`
}

// Found lists where a needle occurs.
type Found struct {
	Name  string `json:"name"`
	Addrs []Addr `json:"addrs"` // ascending in each record; how many: see Needle
}

// A Sample is the state of one watched page. Bytes counts what of the page
// was in the image: only a sample with Bytes == PageSize can be compared.
type Sample struct {
	Addr  Addr   `json:"addr"`
	Bytes int    `json:"bytes"`
	Zero  bool   `json:"zero"`
	CRC32 uint32 `json:"crc32"` // IEEE
}

// Size returns the sum of content bytes seen.
func (r *Report) Size() uint64 {
	var n uint64
	for i := range r.Ranges {
		n += r.Ranges[i].Bytes
	}
	return n
}

// Pages returns the sums of pages and of zero pages over all records.
func (r *Report) Pages() (pages, zero uint64) {
	for i := range r.Ranges {
		pages += r.Ranges[i].Pages
		zero += r.Ranges[i].ZeroPages
	}
	return pages, zero
}

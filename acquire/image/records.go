package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// A Record is one stretch of physical memory in the image.
type Record struct {
	Range lime.Range // as its header says
	Raw   int64      // of its first byte in the raw stream, after the header
	Bytes int64      // that are there; less than Range has when the image was cut short
}

// maxRecords is how many are read: as many as a report of package lime holds.
const maxRecords = 1 << 17

// Records lists the records that can be read, in ascending order. They are not changed.
func (i *Image) Records() []Record { return i.records }

// Defect says why there may be more memory in the image than Records list: its structure is not that of a
// LiME image from some place on. It is a *lime.FormatError, or that of a frame that could not be
// read; nil where every record is whole.
func (i *Image) Defect() error { return i.defect }

// walk reads the headers. Where one cannot be read, the manifest says where the next records lie.
func (i *Image) walk() error {
	var header [lime.HeaderSize]byte
	at := int64(0)
	for at < i.size {
		if len(i.records) == maxRecords {
			i.defect = &lime.FormatError{Kind: lime.ErrTooManyRecords, Offset: at, Detail: fmt.Sprintf("limit %d", maxRecords)}
			return nil
		}
		n, err := i.raw.ReadContext(i.life, header[:min(lime.HeaderSize, i.size-at)], at)
		if err != nil && !(err == io.EOF && n > 0) {
			if !Damage(err) {
				return fmt.Errorf("read records: %w", err)
			}
			i.defect = fmt.Errorf("header of a record at offset %d: %w", at, err)
			i.recorded(at)
			break
		}
		r, err := lime.DecodeHeader(header[:n])
		if err == nil {
			err = i.follows(r)
		}
		if err != nil {
			var bad *lime.FormatError
			if errors.As(err, &bad) {
				bad.Offset = at
			}
			i.defect = err
			break
		}
		at += lime.HeaderSize
		have := min(int64(r.Size()), i.size-at)
		i.records = append(i.records, Record{Range: r, Raw: at, Bytes: have})
		if at += have; have < int64(r.Size()) {
			i.defect = &lime.FormatError{Kind: lime.ErrTruncatedRecord, Offset: at, Range: &r, Detail: fmt.Sprintf("%d of %d bytes missing", int64(r.Size())-have, r.Size())}
		}
	}
	if i.life.Err() != nil {
		return context.Cause(i.life)
	}
	if len(i.records) == 0 {
		if i.defect == nil {
			i.defect = &lime.FormatError{Kind: lime.ErrEmpty}
		}
		return i.defect
	}
	return nil
}

// follows checks that a record lies above the one before.
func (i *Image) follows(r lime.Range) error {
	if len(i.records) == 0 {
		return nil
	}
	last := i.records[len(i.records)-1].Range
	switch {
	case r.Start < last.Start:
		return &lime.FormatError{Kind: lime.ErrDescending, Range: &r, Detail: "after " + last.String()}
	case r.Start <= last.End:
		return &lime.FormatError{Kind: lime.ErrOverlap, Range: &r, Detail: "after " + last.String()}
	}
	return nil
}

// recorded takes the records from at on as the manifest lists them, if it lists them.
func (i *Image) recorded(at int64) {
	switch m, c := i.trust.Manifest, i.trust.Converted; {
	case m != nil && m.Stream != nil:
		for _, r := range m.Stream.Ranges {
			if !i.listed(at, r.Offset, r.Range) {
				return
			}
		}
	case c != nil:
		offset := int64(0)
		for _, r := range c.Ranges {
			if !r.Valid() || r.Size() > uint64(math.MaxInt64-lime.HeaderSize-offset) || !i.listed(at, offset, r) {
				return
			}
			offset += lime.HeaderSize + int64(r.Size())
		}
	}
}

// listed takes a record whose header is at offset, if that is not before at. false: no more can be taken.
func (i *Image) listed(at, offset int64, r lime.Range) bool {
	from := offset + lime.HeaderSize
	if offset < at || from >= i.size || !r.Valid() || i.follows(r) != nil {
		return true
	}
	if n := len(i.records); n > 0 && i.records[n-1].Raw+i.records[n-1].Bytes > offset || n == maxRecords {
		return false
	}
	i.records = append(i.records, Record{Range: r, Raw: from, Bytes: min(int64(r.Size()), i.size-from)})
	return true
}

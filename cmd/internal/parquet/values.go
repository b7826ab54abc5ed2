package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Encodings.
const (
	plain, plainDictionary, deltaBinary, deltaLength, deltaBytes, rleDictionary = 0, 2, 5, 6, 7, 8
	levelsRLE                                                                   = 3
)

// maxValue bounds a value. Those of flow logs have some hundred bytes.
const maxValue = 64 << 10

// errNoMore is that a column has no more values.
var errNoMore = errors.New("it has fewer values than its row group has rows")

// A reader reads a column's values in a row group, one by one.
type reader struct {
	pages    *pager
	kind     int64
	optional bool

	left   int64 // values of the page
	defs   *hybrid
	value  func() ([]byte, error)
	data   []byte // the page
	dict   []byte
	starts []uint32 // of a dictionary's texts
	texts  int      // how many the dictionary has
	number [20]byte
}

func (f *File) reader(c column, at chunk) (*reader, error) {
	switch {
	case c.kind != at.kind:
		return nil, errors.New("its description has two types for it")
	case c.kind != kindInt32 && c.kind != kindInt64 && c.kind != kindBytes:
		return nil, fmt.Errorf("values of the type number %d are not read", c.kind)
	case c.repetition != required && c.repetition != optional:
		return nil, errors.New("a column of lists is not read")
	}
	p, err := f.pages(at)
	return &reader{pages: p, kind: c.kind, optional: c.repetition == optional}, err
}

// next is the next value, nil if there is none in the row. It holds until the next call.
func (r *reader) next() ([]byte, error) {
	for r.left == 0 {
		if err := r.page(); err != nil {
			return nil, err
		}
	}
	r.left--
	if r.defs != nil {
		if there, err := r.defs.next(); err != nil || there == 0 {
			return nil, err
		}
	}
	b, err := r.value()
	if len(b) > maxValue {
		return nil, fmt.Errorf("a value has more than %d bytes", maxValue)
	}
	return b, err
}

// page goes to the next page that has values.
func (r *reader) page() error {
	h, data, err := r.pages.next(r.data)
	r.data = data
	if err != nil {
		return err
	}
	switch h.kind {
	case pageDictionary:
		if r.dict != nil {
			return errors.New("it has two dictionaries")
		}
		r.dict, r.data = r.data, nil
		return r.readDictionary(h)
	case pageData, pageData2:
		return r.start(h, data)
	}
	return nil // an index, or what a later version has
}

func (r *reader) readDictionary(h head) error {
	if h.encoding != plain && h.encoding != plainDictionary {
		return fmt.Errorf("a dictionary of the encoding number %d is not read", h.encoding)
	}
	r.texts = int(h.values)
	if width := r.width(); width > 0 {
		if r.texts > len(r.dict)/width {
			return errShort
		}
		return nil
	}
	if r.texts > len(r.dict)/4 {
		return errShort
	}
	if r.pages.f.held += 4 * r.texts; r.pages.f.held > maxHeld {
		return fmt.Errorf("its pages take more than %d bytes", maxHeld)
	}
	r.starts = make([]uint32, r.texts)
	for i, at := 0, 0; i < r.texts; i++ {
		r.starts[i] = uint32(at)
		b, err := text(r.dict[at:])
		if err != nil {
			return err
		}
		at += 4 + len(b)
	}
	return nil
}

// width is how many bytes a number has; 0: they are texts.
func (r *reader) width() int {
	switch r.kind {
	case kindInt32:
		return 4
	case kindInt64:
		return 8
	}
	return 0
}

// text is what begins with its length in four bytes.
func text(b []byte) ([]byte, error) {
	if len(b) < 4 {
		return nil, errShort
	}
	if n := binary.LittleEndian.Uint32(b); uint64(n) <= uint64(len(b)-4) {
		return b[4 : 4+n], nil
	}
	return nil, errShort
}

// start begins a page of values.
func (r *reader) start(h head, data []byte) error {
	r.left, r.defs = h.values, nil
	if r.optional {
		var levels []byte
		if h.kind == pageData2 {
			levels, data = data[:h.levelBytes], data[h.levelBytes:]
		} else {
			var err error
			if h.levels != levelsRLE {
				return fmt.Errorf("levels of the encoding number %d are not read", h.levels)
			}
			if levels, err = text(data); err != nil {
				return err
			}
			data = data[4+len(levels):]
		}
		r.defs, _ = newHybrid(levels, 1) //nolint:errcheck // it is narrow
	} else if h.kind == pageData2 {
		data = data[h.levelBytes:]
	}
	return r.encoded(h, data)
}

// encoded sets how the values of a page are read.
func (r *reader) encoded(h head, data []byte) error {
	width := r.width()
	switch {
	case h.encoding == plain && width > 0:
		r.value = func() ([]byte, error) {
			if len(data) < width {
				return nil, errShort
			}
			b := r.decimal(data)
			data = data[width:]
			return b, nil
		}
	case h.encoding == plain:
		r.value = func() ([]byte, error) {
			b, err := text(data)
			if err == nil {
				data = data[4+len(b):]
			}
			return b, err
		}
	case h.encoding == plainDictionary || h.encoding == rleDictionary:
		return r.indexed(data)
	case h.encoding == deltaBinary && width > 0:
		d, err := newDelta(data, h.values)
		r.value = func() ([]byte, error) {
			n, err := d.next()
			if width == 4 {
				n = int64(int32(n))
			}
			return strconv.AppendInt(r.number[:0], n, 10), err
		}
		return err
	case h.encoding == deltaLength && width == 0:
		d, err := newLengths(data, h.values)
		r.value = func() ([]byte, error) { return d.next() }
		return err
	case h.encoding == deltaBytes && width == 0:
		d, err := newPrefixed(data, h.values)
		r.value = func() ([]byte, error) { return d.next() }
		return err
	default:
		return fmt.Errorf("values of the encoding number %d are not read", h.encoding)
	}
	return nil
}

// indexed sets that values are those of the dictionary.
func (r *reader) indexed(data []byte) error {
	if r.dict == nil {
		return errors.New("a page refers to a dictionary that is not there")
	}
	if len(data) == 0 { // all of the page are null
		r.value = func() ([]byte, error) { return nil, errShort }
		return nil
	}
	indexes, err := newHybrid(data[1:], int(data[0]))
	r.value = func() ([]byte, error) {
		i, err := indexes.next()
		switch {
		case err != nil:
			return nil, err
		case uint64(i) >= uint64(r.texts):
			return nil, errors.New("a page refers to what its dictionary does not have")
		case r.starts == nil:
			return r.decimal(r.dict[int(i)*r.width():]), nil
		}
		return text(r.dict[r.starts[i]:])
	}
	return err
}

// decimal is a number as text.
func (r *reader) decimal(b []byte) []byte {
	n := int64(int32(binary.LittleEndian.Uint32(b)))
	if r.kind == kindInt64 {
		n = int64(binary.LittleEndian.Uint64(b))
	}
	return strconv.AppendInt(r.number[:0], n, 10)
}

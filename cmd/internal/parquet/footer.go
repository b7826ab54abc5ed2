package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// maxFooter bounds the description at a file's end: that of 40 columns in 100 row groups has some 600 KiB.
	maxFooter = 4 << 20
	// maxColumns bounds the columns, maxGroups the row groups, maxChunks the columns of all of them.
	maxColumns, maxGroups, maxChunks = 512, 50000, 50000
	magic                            = "PAR1"
)

// A chunk is a column in a row group.
type chunk struct {
	name        string // "" for one in a group of columns
	kind, codec int64
	values      int64
	from, size  int64 // in the file
}

// A group is a row group.
type group struct {
	rows   int64
	chunks []chunk
}

// readFooter reads a file's description.
func (f *File) readFooter() error {
	if f.size < 12 {
		return errors.New("it is too short for a Parquet file")
	}
	var end [8]byte
	if err := readAt(f.r, end[:], f.size-8); err != nil {
		return err
	}
	n := int64(binary.LittleEndian.Uint32(end[:]))
	switch text := string(end[4:]); {
	case text == "PARE":
		return errors.New("it is encrypted")
	case text != magic:
		return errors.New("it does not end as a Parquet file does")
	case n > f.size-12:
		return errShort
	case n > maxFooter:
		return fmt.Errorf("its description has more than %d bytes", maxFooter)
	}
	b := make([]byte, n)
	if err := readAt(f.r, b, f.size-8-n); err != nil {
		return err
	}
	return f.describe(b)
}

// describe reads a FileMetaData.
func (f *File) describe(b []byte) error {
	w, chunks := &wire{b: b}, 0
	w.structure(func(id int, kind byte) bool {
		switch {
		case id == 2 && kind == thriftList:
			f.readSchema(w)
		case id == 4 && kind == thriftList:
			w.list(thriftStruct, func() {
				if len(f.groups) == maxGroups {
					w.fail(fmt.Errorf("it has more than %d row groups", maxGroups))
					return
				}
				f.groups = append(f.groups, readGroup(w, &chunks))
			})
		case id == 8:
			w.fail(errors.New("it is encrypted"))
		default:
			return false
		}
		return true
	})
	if w.err != nil {
		return w.err
	}
	return f.disjoint()
}

// disjoint refuses columns that have more bytes together than the file: some are told twice, and a small file would be read without end.
func (f *File) disjoint() error {
	left := f.size
	for _, g := range f.groups {
		for _, c := range g.chunks {
			if c.size < 0 || c.size > left {
				return errors.New("its columns are longer than it is")
			}
			left -= c.size
		}
	}
	return nil
}

// readSchema reads the columns. Those in groups, lists and maps, of which flow logs have none, are left out.
func (f *File) readSchema(w *wire) {
	n, inside := 0, []int64{}
	w.list(thriftStruct, func() {
		c, children := column{}, int64(0)
		w.structure(func(id int, kind byte) bool {
			switch {
			case id == 1 && kind == thriftI32:
				c.kind = w.int()
			case id == 3 && kind == thriftI32:
				c.repetition = w.int()
			case id == 4 && kind == thriftBinary:
				c.name = string(w.bytes())
			case id == 5 && kind == thriftI32:
				children = w.int()
			default:
				return false
			}
			return true
		})
		if n++; n > maxColumns {
			w.fail(fmt.Errorf("it has more than %d columns", maxColumns))
		}
		for len(inside) > 0 && inside[len(inside)-1] == 0 {
			inside = inside[:len(inside)-1]
		}
		if len(inside) > 0 {
			inside[len(inside)-1]--
		}
		if children == 0 && len(inside) == 1 {
			f.columns = append(f.columns, c)
		}
		if children > 0 || n == 1 {
			inside = append(inside, children)
		}
	})
}

func readGroup(w *wire, chunks *int) (g group) {
	w.structure(func(id int, kind byte) bool {
		switch {
		case id == 1 && kind == thriftList:
			w.list(thriftStruct, func() {
				if *chunks++; *chunks > maxChunks {
					w.fail(fmt.Errorf("it has more than %d columns of row groups", maxChunks))
				}
				g.chunks = append(g.chunks, readChunk(w))
			})
		case id == 3 && kind == thriftI64:
			g.rows = w.int()
		default:
			return false
		}
		return true
	})
	return g
}

// readChunk reads a ColumnChunk and the ColumnMetaData in it.
func readChunk(w *wire) (c chunk) {
	data, dictionary, path := int64(0), int64(0), 0
	meta := func(id int, kind byte) bool {
		switch {
		case id == 3 && kind == thriftList:
			w.list(thriftBinary, func() {
				if c.name = string(w.bytes()); path > 0 {
					c.name = ""
				}
				path++
			})
		case id == 1 && kind == thriftI32:
			c.kind = w.int()
		case id == 4 && kind == thriftI32:
			c.codec = w.int()
		case id == 5 && kind == thriftI64:
			c.values = w.int()
		case id == 7 && kind == thriftI64:
			c.size = w.int()
		case id == 9 && kind == thriftI64:
			data = w.int()
		case id == 11 && kind == thriftI64:
			dictionary = w.int()
		default:
			return false
		}
		return true
	}
	w.structure(func(id int, kind byte) bool {
		switch {
		case id == 1 && kind == thriftBinary:
			if len(w.bytes()) > 0 {
				w.fail(errors.New("its columns are in another file"))
			}
		case id == 3 && kind == thriftStruct:
			w.structure(meta)
		default:
			return false
		}
		return true
	})
	if c.from = data; dictionary > 0 && dictionary < data {
		c.from = dictionary
	}
	return c
}

// readAt reads all of b.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case err == nil || err == io.EOF:
		return errShort
	}
	return err
}

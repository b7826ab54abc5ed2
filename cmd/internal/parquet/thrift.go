package parquet

import "errors"

var (
	errShort = errors.New("it ends within what it says")
	errDeep  = errors.New("its description is nested too deep")
)

// Types of Thrift's compact protocol.
const (
	thriftTrue, thriftFalse, thriftByte            = 1, 2, 3
	thriftI16, thriftI32, thriftI64                = 4, 5, 6
	thriftDouble, thriftBinary                     = 7, 8
	thriftList, thriftSet, thriftMap, thriftStruct = 9, 10, 11, 12
)

// maxDepth bounds what is nested; Parquet's own structures are six deep.
const maxDepth = 16

// A wire reads Thrift's compact protocol. Nothing is made before its bytes are there, whatever length is claimed. The first error stays.
type wire struct {
	b     []byte
	err   error
	depth int
}

func (w *wire) fail(err error) {
	if w.err == nil {
		w.err = err
	}
	w.b = nil
}

// take takes n bytes.
func (w *wire) take(n uint64) []byte {
	if w.err != nil || n > uint64(len(w.b)) {
		w.fail(errShort)
		return nil
	}
	b := w.b[:n]
	w.b = w.b[n:]
	return b
}

func (w *wire) byte() byte {
	if b := w.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (w *wire) uvarint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := w.byte()
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
	w.fail(errors.New("a number has more than 64 bits"))
	return 0
}

func (w *wire) int() int64 {
	n := w.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (w *wire) bytes() []byte { return w.take(w.uvarint()) }

// structure reads one; field reads the fields that it wants, and returns false for those to be skipped.
func (w *wire) structure(field func(id int, kind byte) bool) {
	if w.depth++; w.depth > maxDepth {
		w.fail(errDeep)
	}
	defer func() { w.depth-- }()
	for id := 0; w.err == nil; {
		head := w.byte()
		if head == 0 {
			return
		}
		if step := int(head >> 4); step > 0 {
			id += step
		} else {
			id = int(int16(w.int()))
		}
		if kind := head & 15; !field(id, kind) {
			w.skip(kind)
		}
	}
}

// list calls item for each of a list's, which must be of a kind.
func (w *wire) list(kind byte, item func()) {
	head := w.byte()
	n := uint64(head >> 4)
	if n == 15 {
		n = w.uvarint()
	}
	if n > 0 && head&15 != kind {
		w.fail(errors.New("a list is of another type"))
	}
	for ; n > 0 && w.err == nil; n-- {
		item()
	}
}

// skip passes over a value.
func (w *wire) skip(kind byte) {
	if w.depth++; w.depth > maxDepth {
		w.fail(errDeep)
	}
	defer func() { w.depth-- }()
	switch kind {
	case thriftTrue, thriftFalse: // the value is in the field's head
	case thriftByte:
		w.byte()
	case thriftI16, thriftI32, thriftI64:
		w.uvarint()
	case thriftDouble:
		w.take(8)
	case thriftBinary:
		w.bytes()
	case thriftList, thriftSet:
		head := w.byte()
		n := uint64(head >> 4)
		if n == 15 {
			n = w.uvarint()
		}
		for ; n > 0 && w.err == nil; n-- {
			w.skipItem(head & 15)
		}
	case thriftMap:
		n := w.uvarint()
		if n == 0 {
			return
		}
		for head := w.byte(); n > 0 && w.err == nil; n-- {
			w.skipItem(head >> 4)
			w.skipItem(head & 15)
		}
	case thriftStruct:
		w.structure(func(int, byte) bool { return false })
	default:
		w.fail(errors.New("its description has a type that Thrift does not"))
	}
}

// skipItem passes over one of a list or map, where a truth value takes a byte.
func (w *wire) skipItem(kind byte) {
	if kind == thriftTrue || kind == thriftFalse {
		w.byte()
		return
	}
	w.skip(kind)
}

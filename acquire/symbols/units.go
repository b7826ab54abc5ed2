package symbols

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A batch of compilation units is read, and what the reader of DWARF remembers of it dropped, before the next: a kernel has
// thousands, whose types take gigabytes, and their section 150 MB and more. A batch has this many units at most, and of more than
// one this many bytes.
const (
	unitsAtOnce = 16
	bytesAtOnce = 8 << 20
)

// errAcross is a unit that refers to another, as LTO and dwz make them: it cannot be read by itself.
var errAcross = errors.New("a unit refers to another")

// A unitReader reads .debug_info a batch of units after the other.
type unitReader struct {
	r      io.Reader
	order  binary.ByteOrder
	abbrev []byte
	at     int64 // of the next unit, in the section
	left   int64 // bytes of the section that were not read
	plain  map[uint64]bool
	batch  bytes.Buffer

	// Of the next unit, once it was looked at: how it begins, how much more it has, and whether it refers to others.
	head   []byte
	rest   int64
	across bool
}

// newUnitReader reads a section of size bytes, whose units' abbreviations are in abbrev.
func newUnitReader(r io.Reader, size int64, order binary.ByteOrder, abbrev []byte) *unitReader {
	return &unitReader{r: r, order: order, abbrev: abbrev, left: size, plain: map[uint64]bool{}}
}

// next returns the next units, as they lie in the section, until next is called again; there are none at the end.
// errAcross: the unit at u.at cannot be read by itself.
func (u *unitReader) next() ([]byte, error) {
	u.batch.Reset()
	for n := 0; n < unitsAtOnce; n++ {
		if u.head == nil {
			if u.left == 0 {
				break
			}
			if err := u.look(); err != nil {
				return nil, fmt.Errorf("the unit at %#x: %w", u.at, err)
			}
		}
		size := int64(len(u.head)) + u.rest
		if n > 0 && (u.across || int64(u.batch.Len())+size > bytesAtOnce) {
			break
		}
		if u.across {
			return nil, errAcross
		}
		u.batch.Write(u.head)
		if err := u.take(&u.batch, u.rest); err != nil {
			return nil, fmt.Errorf("the unit at %#x: %w", u.at, err)
		}
		u.head = nil
		u.at += size
	}
	return u.batch.Bytes(), nil
}

// take reads n bytes as they come: lengths may be wrong.
func (u *unitReader) take(to *bytes.Buffer, n int64) error {
	if n > u.left {
		return io.ErrUnexpectedEOF
	}
	m, err := io.CopyN(to, u.r, n)
	u.left -= m
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// look reads how the next unit begins: its length, and where its abbreviations are.
func (u *unitReader) look() error {
	var head bytes.Buffer
	if err := u.take(&head, 4); err != nil {
		return err
	}
	length, wide := uint64(u.order.Uint32(head.Bytes())), false
	if length == 0xffffffff {
		if err := u.take(&head, 8); err != nil {
			return err
		}
		length, wide = u.order.Uint64(head.Bytes()[4:]), true
	}
	const more = 12 // bytes behind the length, at most, have what is wanted
	if length < more || length > uint64(u.left) {
		return fmt.Errorf("it has %d bytes", length)
	}
	if err := u.take(&head, more); err != nil {
		return err
	}
	b := head.Bytes()[head.Len()-more:]
	version := u.order.Uint16(b)
	if b = b[2:]; version >= 5 {
		b = b[2:] // the unit's type, and the size of addresses
	}
	table := uint64(u.order.Uint32(b))
	if wide {
		table = u.order.Uint64(b)
	}
	plain, known := u.plain[table]
	if !known {
		plain = table < uint64(len(u.abbrev)) && refersInside(u.abbrev[table:])
		u.plain[table] = plain
	}
	u.head, u.rest, u.across = head.Bytes(), int64(length)-more, !plain
	return nil
}

// What debug/dwarf keeps to itself: forms by which an entry refers to one of another unit, and the one that has its value in
// the abbreviation.
const (
	formRefAddr       = 0x10
	formIndirect      = 0x16
	formRefSig8       = 0x20
	formImplicitConst = 0x21
)

// refersInside tells whether by this table of abbreviations entries refer to those of their own unit alone; not of a table
// that cannot be read.
func refersInside(b []byte) bool {
	value := func() (n uint64, ok bool) {
		n, size := binary.Uvarint(b)
		if size <= 0 {
			return 0, false
		}
		b = b[size:]
		return n, true
	}
	for {
		code, ok := value()
		if !ok || code == 0 {
			return ok
		}
		if _, ok = value(); !ok || len(b) == 0 { // the tag
			return false
		}
		b = b[1:] // whether it has children
		for {
			attr, ok := value()
			if !ok {
				return false
			}
			form, ok := value()
			if !ok || form == formRefAddr || form == formRefSig8 || form == formIndirect {
				return false
			}
			if form == formImplicitConst {
				if _, ok := value(); !ok { // signed, of the same length
					return false
				}
			}
			if attr == 0 && form == 0 {
				break
			}
		}
	}
}

// rust tells a unit whose types Volatility has no use for, by its first entry.
func rust(e *dwarf.Entry) bool {
	lang, _ := e.Val(dwarf.AttrLanguage).(int64)
	return lang == dwRust
}

package symbols

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// Two tables of abbreviations, each of one code: of a compilation unit with a constant, and of one that refers to another unit.
var (
	plainTable  = []byte{1, 0x11, 0, 0x13, formImplicitConst, 0x0c, 0x03, 0x08, 0, 0, 0}
	acrossTable = []byte{1, 0x11, 0, 0x31, formRefAddr, 0, 0, 0}
	bothTables  = append(bytes.Clone(plainTable), acrossTable...)
)

// unit is one of DWARF 5 with some bytes behind its header, by the table at an offset.
func unit(table uint32, bytes int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(8+bytes))
	b = append(b, 5, 0, 1, 8)
	b = binary.LittleEndian.AppendUint32(b, table)
	return append(b, make([]byte, bytes)...)
}

func reader(section []byte) *unitReader {
	return newUnitReader(bytes.NewReader(section), int64(len(section)), binary.LittleEndian, bothTables)
}

// TestUnits reads a section a bounded part after the other, and all of it.
func TestUnits(t *testing.T) {
	var section []byte
	for i := range 3*unitsAtOnce + 1 {
		section = append(section, unit(0, 10+i)...)
	}
	section = append(section, unit(0, bytesAtOnce)...) // by itself
	wide := binary.LittleEndian.AppendUint64([]byte{0xff, 0xff, 0xff, 0xff}, 20)
	section = append(append(section, append(wide, 5, 0, 1, 8)...), make([]byte, 16)...)
	u := reader(section)
	var got []byte
	var sizes []int
	for {
		b, err := u.next()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			break
		}
		got, sizes = append(got, b...), append(sizes, len(b))
	}
	if !bytes.Equal(got, section) || u.at != int64(len(section)) {
		t.Errorf("%d bytes of %d, in batches %d", len(got), len(section), sizes)
	}
	if len(sizes) != 6 || sizes[4] != len(unit(0, bytesAtOnce)) {
		t.Errorf("batches %d", sizes)
	}
}

// TestUnitsAcross stops before a unit that refers to another, once those before it were given.
func TestUnitsAcross(t *testing.T) {
	first := append(unit(0, 8), unit(0, 9)...)
	for name, table := range map[string]uint32{"refers to another": uint32(len(plainTable)), "no table": 1 << 20} {
		u := reader(append(bytes.Clone(first), unit(table, 8)...))
		got, err := u.next()
		if err != nil || !bytes.Equal(got, first) {
			t.Fatalf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := u.next(); !errors.Is(err, errAcross) || u.at != int64(len(first)) {
			t.Errorf("%s: %v at %d, want %d", name, err, u.at, len(first))
		}
	}
}

// TestRefersInside takes no table for one of a unit by itself that it cannot read to the end.
func TestRefersInside(t *testing.T) {
	for n := range len(plainTable) {
		if refersInside(plainTable[:n]) {
			t.Errorf("%d bytes of a table: taken", n)
		}
	}
	if !refersInside(plainTable) || refersInside(acrossTable) {
		t.Error("a whole table is misread")
	}
}

// TestUnitsDamaged gives an error for lengths that cannot be, without taking the room that they speak of.
func TestUnitsDamaged(t *testing.T) {
	good := unit(0, 8)
	for name, section := range map[string][]byte{
		"cut":       good[:len(good)-1],
		"in header": good[:3],
		"no room":   {4, 0, 0, 0, 5, 0, 1, 8, 0, 0, 0, 0},
		"wide":      append([]byte{0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0x80}, good...),
	} {
		if b, err := reader(section).next(); err == nil || errors.Is(err, errAcross) {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
	// A section that is said to be larger than the file has.
	u := newUnitReader(bytes.NewReader(append(binary.LittleEndian.AppendUint32(nil, 1<<30), good[4:]...)), 1<<31, binary.LittleEndian, bothTables)
	if _, err := u.next(); !errors.Is(err, io.ErrUnexpectedEOF) || u.batch.Cap() > 1<<20 {
		t.Errorf("%v, with room for %d bytes", err, u.batch.Cap())
	}
}

// FuzzUnits reads any section: what it gives is what lies there.
func FuzzUnits(f *testing.F) {
	f.Add(append(unit(0, 8), unit(11, 3)...), bothTables)
	f.Fuzz(func(t *testing.T, section, abbrev []byte) {
		u := newUnitReader(bytes.NewReader(section), int64(len(section)), binary.LittleEndian, abbrev)
		at := 0
		for {
			b, err := u.next()
			if err != nil || len(b) == 0 {
				if err == nil && at != len(section) {
					t.Fatalf("%d bytes of %d, and no error", at, len(section))
				}
				return
			}
			if !bytes.Equal(b, section[at:at+len(b)]) || at+len(b) != int(u.at) {
				t.Fatalf("other bytes at %d", at)
			}
			at += len(b)
		}
	})
}

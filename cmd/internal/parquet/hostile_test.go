package parquet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func zigzag(b []byte, n int64) []byte { return binary.AppendUvarint(b, uint64(n<<1)^uint64(n>>63)) }

// ended is a file of data and a footer.
func ended(data, footer []byte) []byte {
	b := slices.Concat([]byte(magic), data, footer)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), magic...)
}

// groupsAt is a footer of row groups without rows, whose one column is at the same place of the file each time.
func groupsAt(groups, size int64) []byte {
	f := []byte{0x29, 0x2c, 0x48, 1, 's', 0x15}
	f = append(zigzag(f, 1), 0, 0x15)
	f = append(zigzag(f, kindBytes), 0x25)
	f = append(zigzag(f, required), 0x18, 1, 'a', 0)
	f = binary.AppendUvarint(append(f, 0x29, 0xfc), uint64(groups))
	for range groups {
		f = append(f, 0x19, 0x1c, 0x3c, 0x15)
		f = append(zigzag(f, kindBytes), 0x29, 0x18, 1, 'a', 0x15)
		f = append(zigzag(f, codecNone), 0x16)
		f = append(zigzag(f, 0), 0x26)
		f = append(zigzag(f, size), 0x26)
		f = append(zigzag(f, int64(len(magic))), 0, 0, 0x26)
		f = append(zigzag(f, 0), 0)
	}
	return append(f, 0)
}

// What row groups tell of the same bytes is read once at most: a small file cannot have much more than itself fetched.
func TestSameBytes(t *testing.T) {
	page := []byte{0x15}
	page = append(zigzag(page, pageData), 0x15)
	page = append(zigzag(page, 1<<20), 0x15)
	page = append(zigzag(page, 1<<20), 0x2c, 0x15)
	page = append(zigzag(page, 0), 0x15)
	page = append(zigzag(page, 0), 0, 0)
	page = append(page, make([]byte, 1<<20)...)
	read := func(groups int64) (int, error) {
		r := &ranges{b: ended(page, groupsAt(groups, int64(len(page))))}
		f, err := Open(r, int64(len(r.b)))
		if err != nil {
			return r.read, err
		}
		if names := f.Columns(); !slices.Equal(names, []string{"a"}) || len(f.groups) != int(groups) {
			t.Fatal(names, len(f.groups))
		}
		return r.read, f.Read(t.Context(), []string{"a"}, func([][]byte) error { return nil })
	}
	if n, err := read(1); err != nil || n < 1<<20 { // it is read, to see that it has no value
		t.Error(n, err)
	}
	if n, err := read(100); err == nil || err.Error() != "its columns are longer than it is" || n > 1<<20 {
		t.Error(n, err)
	}
}

// A byte of a footer makes a row group: their number is bounded, and with it what is held for them.
func TestManyGroups(t *testing.T) {
	footer := binary.AppendUvarint([]byte{0x49, 0xfc}, maxGroups+1)
	footer = append(append(footer, make([]byte, maxGroups+1)...), 0)
	b := ended(nil, footer)
	if _, err := Open(bytes.NewReader(b), int64(len(b))); err == nil || !strings.Contains(err.Error(), "row groups") {
		t.Error(err)
	}
}

package symbols

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"
)

// rawBTF is BTF of the words of its types and of its strings.
func rawBTF(strings string, words ...uint32) []byte {
	b := append(binary.LittleEndian.AppendUint16(nil, 0xeb9f), 1, 0)
	for _, w := range []uint32{24, 0, uint32(4 * len(words)), uint32(4 * len(words)), uint32(len(strings))} {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	for _, w := range words {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return append(b, strings...)
}

// TestHostileBTF: each of these makes the library run out of stack or memory if it sees it.
func TestHostileBTF(t *testing.T) {
	var pointers, structs []uint32
	for i := range uint32(600_000) {
		pointers = append(pointers, 0, 2<<24, i+2)
		structs = append(structs, 0, btfStruct<<24|1, 8, 0, i+2, 0)
	}
	members := []uint32{}
	for range 30 {
		members = append(members, 1, btfEnum<<24|60_000, 4)
		for range 60_000 {
			members = append(members, 1, 0)
		}
	}
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"pointers without end": {rawBTF("\x00", pointers...), "deep"},
		"structs in structs":   {rawBTF("\x00", structs...), "deep"},
		"a long name":          {rawBTF("\x00"+strings.Repeat("a", 5000)+"\x00", 1, 2<<24, 0), "more than 1024 bytes"},
		"names at each use":    {rawBTF("\x00"+strings.Repeat("a", 1000)+"\x00", members...), "than any kernel has"},
		"outside strings":      {rawBTF("\x00", 9, 2<<24, 0), "outside"},
		"unknown kind":         {rawBTF("\x00", 0, 31<<24, 0), "unknown kind"},
	} {
		t.Run(name, func(t *testing.T) {
			in := inputs(t)
			in.BTF = c.raw
			if _, err := WriteJSON(io.Discard, in); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestCircles: types that C cannot have, which a writer of definitions would follow for ever.
func TestCircles(t *testing.T) {
	in := inputs(t)
	in.BTF = rawBTF("\x00a\x00",
		0, btfStruct<<24|1, 8, 1, 2, 0, // 1: struct without a name { a: *1 }
		0, 2<<24, 1, // 2: pointer to it
		0, 2<<24, 3, // 3: pointer to itself
		1, 8<<24, 4, // 4: typedef of itself
		0, btfArray<<24, 0, 5, 5, 9, // 5: array of itself
		0, 10<<24, 6, // 6: const of itself
		1, btfStruct<<24|4, 8, 1, 3, 0, 1, 4, 0, 1, 5, 0, 1, 6, 0, // 7: struct a of all these
		0, btfUnion<<24|2, 8, 0, 8, 0, 0, 9, 0, // 8: union without a name that holds itself
		0, btfUnion<<24|2, 8, 0, 8, 0, 0, 8, 0, // 9: and one that holds it twice
	)
	f, _ := written(t, in)
	if f.User["a"].Size != 8 || len(f.User) != 4 {
		t.Errorf("%+v", f.User)
	}
}

func FuzzBTF(f *testing.F) {
	whole := kernel(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(rawBTF("\x00a\x00", 1, btfStruct<<24|1, 8, 1, 1, 0, 0, btfDeclTag<<24, 1, 0))
	f.Add(rawBTF("\x00", 0, 10<<24, 1, 0, 18<<24, 1, 0, btfFuncProto<<24|1, 2, 0, 0))
	in := inputs(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		in := in
		in.BTF = raw
		in.ModuleBTF = map[string][]byte{"m": raw}
		check(t, in)
		in.BTF = whole
		check(t, in)
	})
}

func FuzzSymbols(f *testing.F) {
	in := inputs(f)
	f.Add(in.Kallsyms, kallsyms(0), in.VMCoreInfo, in.Banner)
	f.Add(in.Kallsyms, []byte("0 T a [b]\n\n"), []byte("OSRELEASE=\nSYMBOL(=1\nKERNELOFFSET=-1"), []byte("Linux version \n\x00"))
	f.Fuzz(func(t *testing.T, kallsyms, systemMap, note, banner []byte) {
		in := in
		in.Kallsyms, in.SystemMap, in.VMCoreInfo, in.Banner = kallsyms, systemMap, note, banner
		check(t, in)
		parseSymbols(kallsyms)
		parseNote(note).symbols()
	})
}

// check holds what must be true of any input: an error or a file that is JSON.
func check(t *testing.T, in Inputs) {
	var out bytes.Buffer
	rep, err := WriteJSON(&out, in)
	if err != nil {
		return
	}
	if rep.JSONBytes != int64(out.Len()) {
		t.Errorf("%d bytes reported, %d written", rep.JSONBytes, out.Len())
	}
	if _, err := readISF(out.Bytes()); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}

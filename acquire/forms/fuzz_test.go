package forms

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"

	"github.com/shotglass-ir/shotglass/acquire/lime"
)

// limited ends a reading that would write more zeros than a fuzzer has time for.
type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n += len(p); l.n > 64<<20 {
		return 0, io.ErrShortWrite
	}
	return len(p), nil
}

// fuzzRead reads a file in every way. Whatever it is, reading ends, and what is given are whole, ascending records.
func fuzzRead(t *testing.T, file []byte, o OpenOptions) {
	img, err := Open(bytes.NewReader(file), int64(len(file)), o)
	if err != nil {
		return
	}
	defer img.Close()
	img.Ranges(t.Context())
	img.ReadPhysical(t.Context(), make([]byte, 16), 0x1000)
	walker := lime.NewWalker(lime.WalkerOptions{})
	rep, _, err := Copy(t.Context(), Source{Image: img, RAM: o.RAM}, NewLime(io.MultiWriter(walker, &limited{})), &Finder{})
	if err != nil {
		return
	}
	w, _ := walker.Finish()
	for _, p := range w.Problems {
		if p.Kind != lime.ErrTruncatedRecord || rep.Whole() {
			t.Fatalf("%v, %+v", p, rep)
		}
	}
	if uint64(w.Size()) != rep.Bytes {
		t.Errorf("%d bytes of memory, and the report says %d", w.Size(), rep.Bytes)
	}
}

func seeds(f *testing.F, form Form) {
	m := memory{at(0x1000, words(1, 3000)), at(0x10000, join(words(2, 70000), make([]byte, 9000)))}
	file := write(f, form, m, WriteOptions{VMCoreInfo: []byte("OSRELEASE=1\nPAGESIZE=4096\n")})
	f.Add(file, false)
	f.Add(file, true)
	f.Add(file[:len(file)*2/3], false)
	for _, at := range []int{3, 30, 45, len(file) / 2} {
		bad := bytes.Clone(file)
		bad[at] ^= 0x41
		f.Add(bad, false)
	}
}

func fuzz(f *testing.F, form Form) {
	seeds(f, form)
	f.Fuzz(func(t *testing.T, file []byte, known bool) {
		var o OpenOptions
		if known {
			o.RAM = []lime.Range{{Start: 0x1000, End: 0x1bb7}, {Start: 0x10000, End: 0x10000 + 78999}}
		}
		fuzzRead(t, file, o)
	})
}

func FuzzLime(f *testing.F)  { fuzz(f, Lime) }
func FuzzAVML2(f *testing.F) { fuzz(f, AVML2) }
func FuzzELF(f *testing.F)   { fuzz(f, ELF) }
func FuzzGzip(f *testing.F)  { fuzz(f, Gzip) }
func FuzzS2(f *testing.F)    { fuzz(f, S2) }
func FuzzZstd(f *testing.F)  { fuzz(f, Zstd) }

func FuzzVMCoreInfo(f *testing.F) {
	f.Add([]byte("OSRELEASE=6.1\nPAGESIZE=4096\nSYMBOL(init_top_pgt)=ffffffff80001000\nNUMBER(phys_base)=0\n"), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, text, tables []byte) {
		info, err := ParseVMCoreInfo(text)
		if err != nil || len(tables) == 0 {
			return
		}
		DirectMap(MachineX86, info, func(p []byte, phys uint64) error {
			for i := range p {
				p[i] = tables[(uint64(i)+phys)%uint64(len(tables))]
			}
			return nil
		})
	})
}

// TestDirectMap walks page tables of four and of five levels.
func TestDirectMap(t *testing.T) {
	for levels, want := range map[int]uint64{4: 0xffff8a0940000000, 5: 0xff11000240000000} {
		mem := map[uint64][]byte{}
		table := func(at uint64) []byte {
			if mem[at] == nil {
				mem[at] = make([]byte, lime.PageSize)
			}
			return mem[at]
		}
		set := func(at uint64, index, entry uint64) { binary.LittleEndian.PutUint64(table(at)[8*index:], entry) }
		index := func(level int) uint64 { return want >> (12 + 9*level) & 511 }
		at := uint64(0x7000000)
		set(at, 511, 0x9999001) // the kernel's text lies above
		for level := levels - 1; level > 1; level-- {
			set(at, index(level), at+0x1000|1)
			at += 0x1000
		}
		set(at, 0, 0x1000|0x1000|pageLarge|1) // 2 MiB at 0, with its PAT bit
		info := VMCoreInfo{"SYMBOL(swapper_pg_dir)": "ffffffffb1e10000", "NUMBER(phys_base)": "-719323136", "NUMBER(pgtable_l5_enabled)": map[int]string{4: "0", 5: "1"}[levels]}
		top := uint64(0xffffffffb1e10000 - textBase - 719323136)
		mem[top&pageFrame] = mem[0x7000000]
		got, ok := DirectMap(MachineX86, info, func(p []byte, phys uint64) error {
			if mem[phys] == nil {
				return io.EOF
			}
			copy(p, mem[phys])
			return nil
		})
		if !ok || got != want {
			t.Errorf("%d levels: %#x, %t, want %#x", levels, got, ok, want)
		}
	}
}

package forms

import (
	"bytes"
	"debug/elf"
	"testing"
)

// FuzzELFHead makes heads of any stretches: each is one that debug/elf reads, with those stretches.
func FuzzELFHead(f *testing.F) {
	f.Add(uint64(0x1000), int64(0x9f000), uint64(0x100000), int64(1), []byte("PAGESIZE=4096\n"))
	f.Fuzz(func(t *testing.T, a uint64, n int64, b uint64, m int64, note []byte) {
		head, places, err := ELFHead(MachineARM64, []Stretch{{a, n}, {b, m}}, note, 0)
		if err != nil {
			return
		}
		e, err := elf.NewFile(bytes.NewReader(head))
		if err != nil {
			t.Fatal(err)
		}
		if places[0] < int64(len(head)) || places[1] < places[0]+n || places[0]%4096 != 0 {
			t.Errorf("places %v after a head of %d", places, len(head))
		}
		loads := 0
		for _, p := range e.Progs {
			if p.Type == elf.PT_LOAD {
				loads++
				if p.Align != 0 {
					t.Errorf("p_align %d: crash takes the core for one of netdump", p.Align)
				}
			}
		}
		if want := min(n, 1) + min(m, 1); loads != int(want) {
			t.Errorf("%d segments of %d and %d bytes", loads, n, m)
		}
	})
}

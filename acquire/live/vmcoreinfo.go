package live

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
)

// ErrNoNote says that the head of /proc/kcore holds no VMCOREINFO.
var ErrNoNote = errors.New("the head of /proc/kcore has no VMCOREINFO note: kernels before 4.19 have none")

// VMCoreInfo returns the content of the VMCOREINFO note in the head of an ELF core such as /proc/kcore:
// lines of text. head is foreign, and little-endian or big-endian ELF of 64 bits.
func VMCoreInfo(head []byte) ([]byte, error) {
	if len(head) < 64 || string(head[:4]) != elf.ELFMAG || elf.Class(head[elf.EI_CLASS]) != elf.ELFCLASS64 {
		return nil, errors.New("/proc/kcore does not begin as an ELF file of 64 bits")
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	at, size, count := order.Uint64(head[32:]), uint64(order.Uint16(head[54:])), uint64(order.Uint16(head[56:]))
	if size != 56 || at > uint64(len(head)) {
		return nil, errors.New("the head of /proc/kcore has no program headers")
	}
	for i := range count {
		off := at + i*size
		if off+size > uint64(len(head)) {
			break
		}
		ph := head[off:]
		if elf.ProgType(order.Uint32(ph)) != elf.PT_NOTE {
			continue
		}
		begin, n := order.Uint64(ph[8:]), order.Uint64(ph[32:])
		if begin > uint64(len(head)) {
			return nil, ErrNoNote
		}
		notes := head[begin:]
		notes = notes[:min(n, uint64(len(notes)))]
		if d := note(notes, order); d != nil {
			return d, nil
		}
	}
	return nil, ErrNoNote
}

// note finds the one called VMCOREINFO.
func note(b []byte, order binary.ByteOrder) []byte {
	round := func(n uint64) uint64 { return (n + 3) &^ 3 }
	for len(b) >= 12 {
		name, desc := uint64(order.Uint32(b)), uint64(order.Uint32(b[4:]))
		b = b[12:]
		if round(name) > uint64(len(b)) {
			return nil
		}
		called := bytes.TrimRight(b[:name], "\x00")
		b = b[round(name):]
		if desc > uint64(len(b)) {
			return nil // cut short
		}
		if string(called) == "VMCOREINFO" {
			return bytes.TrimRight(b[:desc], "\x00")
		}
		b = b[min(round(desc), uint64(len(b))):]
	}
	return nil
}

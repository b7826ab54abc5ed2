package forms

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The machines that an ELF core can be of.
const (
	MachineX86   = elf.EM_X86_64
	MachineARM64 = elf.EM_AARCH64
)

const (
	elfHeader = 64
	elfPhdr   = 56
	elfPage   = 4096 // of places in the file

	// MaxVMCoreInfo bounds the note: the kernel's has one page.
	MaxVMCoreInfo = 64 << 10
)

// A Stretch is some bytes of memory at a physical address.
type Stretch struct {
	Start uint64
	Bytes int64
}

// ELFHead returns the beginning of an ELF core: headers and notes, and where in the file the bytes of each
// stretch begin. They lie in the order of the stretches, each at a multiple of 4096, and what lies
// between them is zero. Segments are addressed by p_paddr. p_vaddr is where the kernel maps all of memory, if direct is
// the address of that map, otherwise 0. With vmcoreinfo, the text of the kernel's note, debuggers find the rest.
// Stretches are ascending; one without bytes has no segment. p_align is 0, as kdump writes it: of a file with another crash
// thinks that netdump wrote it, and then asks its VMCOREINFO nothing, not even where KASLR put the kernel.
func ELFHead(machine elf.Machine, stretches []Stretch, vmcoreinfo []byte, direct uint64) (head []byte, places []int64, err error) {
	if len(stretches) > math.MaxUint16-2 {
		return nil, nil, fmt.Errorf("%d stretches of memory: an ELF core has %d at most", len(stretches), math.MaxUint16-2)
	}
	if len(vmcoreinfo) > MaxVMCoreInfo {
		return nil, nil, fmt.Errorf("VMCOREINFO has %d bytes, more than %d", len(vmcoreinfo), MaxVMCoreInfo)
	}
	// crash wants the registers of a CPU before it takes a file for a dump. There are none: zeros.
	notes := coreNote("CORE", uint32(elf.NT_PRSTATUS), make([]byte, prstatus[machine]))
	notes = append(notes, coreNote("VMCOREINFO", 0, vmcoreinfo)...)
	at := int64(elfHeader + elfPhdr*(1+len(stretches)))
	headers := []elf.Prog64{{Type: uint32(elf.PT_NOTE), Off: uint64(at), Filesz: uint64(len(notes)), Memsz: uint64(len(notes)), Align: 4}}
	at += int64(len(notes))
	for _, s := range stretches {
		if s.Bytes < 0 || at > math.MaxInt64-elfPage || s.Bytes > math.MaxInt64-elfPage-at {
			return nil, nil, errors.New("more memory than a file can hold")
		}
		at = (at + elfPage - 1) &^ (elfPage - 1)
		places = append(places, at)
		if s.Bytes == 0 {
			continue
		}
		h := elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Off: uint64(at),
			Paddr: s.Start, Filesz: uint64(s.Bytes), Memsz: uint64(s.Bytes),
		}
		if direct != 0 {
			h.Vaddr = direct + s.Start
		}
		headers = append(headers, h)
		at += s.Bytes
	}
	h := elf.Header64{
		Type: uint16(elf.ET_CORE), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: elfHeader, Ehsize: elfHeader, Phentsize: elfPhdr, Phnum: uint16(len(headers)),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)       // a Buffer takes everything
	binary.Write(&b, binary.LittleEndian, headers) //
	b.Write(make([]byte, elfHeader+elfPhdr*(1+len(stretches))-b.Len()))
	b.Write(notes)
	return b.Bytes(), places, nil
}

// prstatus is the size of struct elf_prstatus.
var prstatus = map[elf.Machine]int{MachineX86: 336, MachineARM64: 392}

// coreNote is a note of an ELF core; of nothing there is none.
func coreNote(name string, kind uint32, desc []byte) []byte {
	if len(desc) == 0 {
		return nil
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(name)+1))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(desc)))
	b = binary.LittleEndian.AppendUint32(b, kind)
	b = pad(append(append(b, name...), 0))
	return pad(append(b, desc...))
}

package image

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

// ELFHead returns the beginning of an ELF core: headers and notes, and where in the file the bytes of each
// stretch begin. They lie in the order of the stretches, each at a multiple of 4096, and what lies
// between them is zero. Segments are addressed by p_paddr, and p_vaddr is the same, as QEMU does; with vmcoreinfo,
// the text of the kernel's note, debuggers find the rest. Stretches are ascending; one without bytes has no segment.
func ELFHead(machine elf.Machine, stretches []Stretch, vmcoreinfo []byte) (head []byte, places []int64, err error) {
	if len(stretches) > math.MaxUint16-2 {
		return nil, nil, fmt.Errorf("%d stretches of memory: an ELF core has %d at most", len(stretches), math.MaxUint16-2)
	}
	if len(vmcoreinfo) > MaxVMCoreInfo {
		return nil, nil, fmt.Errorf("VMCOREINFO has %d bytes, more than %d", len(vmcoreinfo), MaxVMCoreInfo)
	}
	note := coreNote("VMCOREINFO", 0, vmcoreinfo)
	var headers []elf.Prog64
	at := int64(elfHeader + elfPhdr*(1+len(stretches)))
	if len(note) > 0 {
		headers = append(headers, elf.Prog64{Type: uint32(elf.PT_NOTE), Off: uint64(at), Filesz: uint64(len(note)), Memsz: uint64(len(note)), Align: 4})
		at += int64(len(note))
	}
	for _, s := range stretches {
		if s.Bytes < 0 || at > math.MaxInt64-elfPage || s.Bytes > math.MaxInt64-elfPage-at {
			return nil, nil, errors.New("more memory than a file can hold")
		}
		at = (at + elfPage - 1) &^ (elfPage - 1)
		places = append(places, at)
		if s.Bytes == 0 {
			continue
		}
		headers = append(headers, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_W | elf.PF_X), Off: uint64(at),
			Vaddr: s.Start, Paddr: s.Start, Filesz: uint64(s.Bytes), Memsz: uint64(s.Bytes), Align: elfPage,
		})
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
	b.Write(note)
	return b.Bytes(), places, nil
}

// A Stretch is some bytes of memory at a physical address.
type Stretch struct {
	Start uint64
	Bytes int64
}

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

// ELF is an ELF core of the memory that is there, for crash, drgn and gdb. vmcoreinfo is the text of the kernel's
// note, nil where it is not known: then those tools lack what they need to find symbols.
func (i *Image) ELF(machine elf.Machine, vmcoreinfo []byte) (*View, error) {
	stretches := make([]Stretch, len(i.records))
	for n, r := range i.records {
		stretches[n] = Stretch{r.Range.Start, r.Bytes}
	}
	head, places, err := ELFHead(machine, stretches, vmcoreinfo)
	if err != nil {
		return nil, err
	}
	v := &View{img: i, size: int64(len(head)), parts: []part{{size: int64(len(head)), data: head}}}
	for n, r := range i.records {
		if r.Bytes > 0 {
			v.parts = append(v.parts, part{at: places[n], size: r.Bytes, raw: r.Raw})
			v.size = places[n] + r.Bytes
		}
	}
	return v, nil
}

// Machine is that of the target by the manifest; without one it is taken for x86-64.
func (i *Image) Machine() elf.Machine {
	if m := i.trust.Manifest; m != nil && m.Target.Facts != nil && m.Target.Facts.Machine == "aarch64" {
		return MachineARM64
	}
	return MachineX86
}

// Package moduletest makes kernel modules for tests: whole ELF files, but no code in
// them.
package moduletest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"strings"
)

// A Fake describes a module, in the order of a real one: header, sections, names, section
// headers. Zero values mean x86-64.
type Fake struct {
	Machine elf.Machine
	Class   elf.Class
	Order   binary.ByteOrder
	Kind    elf.Type
	Info    []string // .modinfo; nil: no section
	This    string   // name in struct module; "-": no section
	Padding int      // bytes of .text
}

// LiMEInfo is what modinfo says of LiME 1.12.0.
func LiMEInfo(vermagic string) []string {
	return []string{
		"license=GPL", "depends=", "retpoline=Y", "name=lime", "vermagic=" + vermagic,
		"parm=path:Output path", "parmtype=path:charp", "parmtype=dio:int", "parmtype=format:charp",
		"parmtype=localhostonly:int", "parmtype=digest:charp", "parmtype=timeout:long", "parmtype=compress:int",
	}
}

// LiME is a module that passes for LiME.
func LiME(vermagic string) []byte { return Fake{Info: LiMEInfo(vermagic)}.Bytes() }

// Bytes is the file.
func (f Fake) Bytes() []byte {
	if f.Machine == 0 {
		f.Machine = elf.EM_X86_64
	}
	if f.Class == 0 {
		f.Class = elf.ELFCLASS64
	}
	if f.Order == nil {
		f.Order = binary.LittleEndian
	}
	if f.Kind == 0 {
		f.Kind = elf.ET_REL
	}
	type section struct {
		name string
		kind elf.SectionType
		data []byte
		size uint64 // of NOBITS
	}
	sections := []section{
		{},
		{name: ".text", kind: elf.SHT_PROGBITS, data: make([]byte, f.Padding)},
		{name: ".bss", kind: elf.SHT_NOBITS, size: 1 << 30},
	}
	if f.Info != nil {
		sections = append(sections, section{name: ".modinfo", kind: elf.SHT_PROGBITS, data: []byte(strings.Join(f.Info, "\x00") + "\x00")})
	}
	if f.This != "-" {
		offset := 24
		if f.Class == elf.ELFCLASS32 {
			offset = 12
		}
		this := make([]byte, 900)
		copy(this[offset:], f.This)
		sections = append(sections, section{name: ".gnu.linkonce.this_module", kind: elf.SHT_PROGBITS, data: this})
	}
	sections = append(sections, section{name: ".shstrtab", kind: elf.SHT_STRTAB})
	names := &sections[len(sections)-1]
	index := make([]uint32, len(sections))
	for i, s := range sections {
		index[i] = uint32(len(names.data))
		names.data = append(append(names.data, s.name...), 0)
	}

	headerSize, sectionSize := binary.Size(elf.Header64{}), binary.Size(elf.Section64{})
	if f.Class == elf.ELFCLASS32 {
		headerSize, sectionSize = binary.Size(elf.Header32{}), binary.Size(elf.Section32{})
	}
	var body, table bytes.Buffer
	put := func(w *bytes.Buffer, v any) {
		if err := binary.Write(w, f.Order, v); err != nil {
			panic(err)
		}
	}
	for i, s := range sections {
		off, size := uint64(headerSize+body.Len()), uint64(len(s.data))
		if s.kind == elf.SHT_NOBITS {
			size = s.size
		}
		body.Write(s.data)
		if f.Class == elf.ELFCLASS32 {
			put(&table, elf.Section32{Name: index[i], Type: uint32(s.kind), Off: uint32(off), Size: uint32(size)})
		} else {
			put(&table, elf.Section64{Name: index[i], Type: uint32(s.kind), Off: off, Size: size})
		}
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(f.Class), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)}
	if f.Order == binary.BigEndian {
		ident[elf.EI_DATA] = byte(elf.ELFDATA2MSB)
	}
	var out bytes.Buffer
	shoff := headerSize + body.Len()
	if f.Class == elf.ELFCLASS32 {
		put(&out, elf.Header32{
			Ident: ident, Type: uint16(f.Kind), Machine: uint16(f.Machine), Version: 1, Shoff: uint32(shoff),
			Ehsize: uint16(headerSize), Shentsize: uint16(sectionSize), Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
		})
	} else {
		put(&out, elf.Header64{
			Ident: ident, Type: uint16(f.Kind), Machine: uint16(f.Machine), Version: 1, Shoff: uint64(shoff),
			Ehsize: uint16(headerSize), Shentsize: uint16(sectionSize), Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
		})
	}
	out.Write(body.Bytes())
	out.Write(table.Bytes())
	return out.Bytes()
}

// Sign appends a signature of n bytes as scripts/sign-file does.
func Sign(module []byte, n int) []byte {
	pkcs7 := make([]byte, n)
	copy(pkcs7, []byte{0x30, 0x82, byte((n - 4) >> 8), byte(n - 4)})
	out := append(bytes.Clone(module), pkcs7...)
	out = append(out, 0, 0, 2, 0, 0, 0, 0, 0) // struct module_signature: id_type PKEY_ID_PKCS7
	out = binary.BigEndian.AppendUint32(out, uint32(n))
	return append(out, "~Module signature appended~\n"...)
}

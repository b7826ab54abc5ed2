// Package moduletest makes kernel modules for tests: whole ELF files, but no code in
// them.
package moduletest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
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
	Imports []Import // undefined symbols and modversions; nil: neither section
	// ExtendedVersions puts the CRCs where kernels since 6.14 can put them.
	ExtendedVersions bool
}

// An Import is a symbol that a module wants.
type Import struct {
	Name   string
	CRC    uint32
	NoCRC  bool // not in the modversions
	Weak   bool
	Hidden bool // not in the symbol table
}

// Imports are those of LiME, as modules of LiME here have them.
func Imports() []Import {
	return []Import{
		{Name: "module_layout", CRC: 0x2b6a4e8c, Hidden: true},
		{Name: "_printk", CRC: 0x92997ed8},
		{Name: "iomem_resource", CRC: 0x7cd8d75e},
		{Name: "kernel_sendmsg", CRC: 0xe1c12ad4},
		{Name: "param_ops_charp", CRC: 0x8ab3d1b0},
	}
}

// Symvers is the Module.symvers of a kernel that a module with Imports fits.
func Symvers() []byte {
	var b bytes.Buffer
	for _, i := range Imports() {
		fmt.Fprintf(&b, "0x%08x\t%s\tvmlinux\tEXPORT_SYMBOL\t\n", i.CRC, i.Name)
	}
	return b.Bytes()
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
func LiME(vermagic string) []byte { return Fake{Info: LiMEInfo(vermagic), Imports: Imports()}.Bytes() }

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
		link uint32
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
	if f.Imports != nil {
		basic, crcs, names := f.versions()
		if f.ExtendedVersions {
			sections = append(sections, section{name: "__version_ext_crcs", kind: elf.SHT_PROGBITS, data: crcs},
				section{name: "__version_ext_names", kind: elf.SHT_PROGBITS, data: names})
		} else {
			sections = append(sections, section{name: "__versions", kind: elf.SHT_PROGBITS, data: basic})
		}
		symtab, strtab := f.symbols()
		sections = append(sections, section{name: ".symtab", kind: elf.SHT_SYMTAB, data: symtab, link: uint32(len(sections) + 1)},
			section{name: ".strtab", kind: elf.SHT_STRTAB, data: strtab})
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
			put(&table, elf.Section32{Name: index[i], Type: uint32(s.kind), Off: uint32(off), Size: uint32(size), Link: s.link})
		} else {
			put(&table, elf.Section64{Name: index[i], Type: uint32(s.kind), Off: off, Size: size, Link: s.link})
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

// versions are the two forms of modversions.
func (f Fake) versions() (basic, crcs, names []byte) {
	for _, i := range f.Imports {
		if i.NoCRC {
			continue
		}
		entry := make([]byte, 64)
		if f.Class == elf.ELFCLASS32 {
			f.Order.PutUint32(entry, i.CRC)
			copy(entry[4:], i.Name)
		} else {
			f.Order.PutUint64(entry, uint64(i.CRC))
			copy(entry[8:], i.Name)
		}
		basic = append(basic, entry...)
		crcs = append(crcs, make([]byte, 4)...)
		f.Order.PutUint32(crcs[len(crcs)-4:], i.CRC)
		names = append(append(names, i.Name...), 0)
	}
	return basic, crcs, names
}

// symbols are the symbol table, with a local symbol first and a defined one last, and its names.
func (f Fake) symbols() (symtab, strtab []byte) {
	var b bytes.Buffer
	put := func(name string, info byte, index elf.SectionIndex) {
		at := uint32(len(strtab))
		strtab = append(append(strtab, name...), 0)
		var v any = elf.Sym64{Name: at, Info: info, Shndx: uint16(index)}
		if f.Class == elf.ELFCLASS32 {
			v = elf.Sym32{Name: at, Info: info, Shndx: uint16(index)}
		}
		if err := binary.Write(&b, f.Order, v); err != nil {
			panic(err)
		}
	}
	put("", 0, elf.SHN_UNDEF)
	for _, i := range f.Imports {
		bind := elf.STB_GLOBAL
		if i.Weak {
			bind = elf.STB_WEAK
		}
		if !i.Hidden {
			put(i.Name, elf.ST_INFO(bind, elf.STT_NOTYPE), elf.SHN_UNDEF)
		}
	}
	put("init_module", elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), 1)
	return b.Bytes(), strtab
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

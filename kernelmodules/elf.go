package kernelmodules

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// elfFile is what a module needs of ELF. debug/elf supplies the types, but
// its reader is not made for hostile files (see its package documentation), and
// does not tell a truncated file from a damaged one.
type elfFile struct {
	data     []byte
	header   elf.FileHeader
	machine  string // in uname -m's words
	sections []elf.Section64
	names    []byte // of the sections
	end      int    // of the last header or section
}

// machines are the kinds of ELF file that Linux modules come in.
var machines = []struct {
	machine elf.Machine
	class   elf.Class
	data    elf.Data
	uname   string
}{
	{elf.EM_X86_64, elf.ELFCLASS64, elf.ELFDATA2LSB, "x86_64"},
	{elf.EM_AARCH64, elf.ELFCLASS64, elf.ELFDATA2LSB, "aarch64"},
	{elf.EM_386, elf.ELFCLASS32, elf.ELFDATA2LSB, "i686"},
	{elf.EM_ARM, elf.ELFCLASS32, elf.ELFDATA2LSB, "armv7l"},
	{elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2LSB, "ppc64le"},
	{elf.EM_PPC64, elf.ELFCLASS64, elf.ELFDATA2MSB, "ppc64"},
	{elf.EM_RISCV, elf.ELFCLASS64, elf.ELFDATA2LSB, "riscv64"},
	{elf.EM_S390, elf.ELFCLASS64, elf.ELFDATA2MSB, "s390x"},
	{elf.EM_LOONGARCH, elf.ELFCLASS64, elf.ELFDATA2LSB, "loongarch64"},
}

func readELF(data []byte) (*elfFile, error) {
	if !bytes.HasPrefix(data, []byte(elf.ELFMAG)) {
		return nil, errors.New(looksLike(data))
	}
	f := &elfFile{data: data}
	h, err := f.readHeader()
	if err != nil {
		return nil, err
	}
	if err := f.readSections(h); err != nil {
		return nil, err
	}
	return f, nil
}

// readHeader reads the ELF header in either class.
func (f *elfFile) readHeader() (elf.Header64, error) {
	var h elf.Header64
	if len(f.data) < elf.EI_NIDENT {
		return h, truncated(len(f.data), binary.Size(h))
	}
	f.header.Class = elf.Class(f.data[elf.EI_CLASS])
	f.header.Data = elf.Data(f.data[elf.EI_DATA])
	switch f.header.Data {
	case elf.ELFDATA2LSB:
		f.header.ByteOrder = binary.LittleEndian
	case elf.ELFDATA2MSB:
		f.header.ByteOrder = binary.BigEndian
	default:
		return h, fmt.Errorf("is damaged: its byte order is %d", f.data[elf.EI_DATA])
	}
	order := f.header.ByteOrder
	switch f.header.Class {
	case elf.ELFCLASS64:
		if _, err := binary.Decode(f.data, order, &h); err != nil {
			return h, truncated(len(f.data), binary.Size(h))
		}
	case elf.ELFCLASS32:
		var n elf.Header32
		if _, err := binary.Decode(f.data, order, &n); err != nil {
			return h, truncated(len(f.data), binary.Size(n))
		}
		h = elf.Header64{
			Type: n.Type, Machine: n.Machine, Shoff: uint64(n.Shoff),
			Shentsize: n.Shentsize, Shnum: n.Shnum, Shstrndx: n.Shstrndx,
		}
	default:
		return h, fmt.Errorf("is damaged: its ELF class is %d", f.data[elf.EI_CLASS])
	}
	if t := elf.Type(h.Type); t != elf.ET_REL {
		return h, fmt.Errorf("is an ELF file, but not a kernel module: its type is %v, not ET_REL", t)
	}
	for _, m := range machines {
		if m.machine == elf.Machine(h.Machine) && m.class == f.header.Class && m.data == f.header.Data {
			f.machine = m.uname
			return h, nil
		}
	}
	return h, fmt.Errorf("is for a machine that is not known: %v, %v, %v", elf.Machine(h.Machine), f.header.Class, f.header.Data)
}

// readSections reads the section headers, and checks that the file holds all
// of them and all that they point to.
func (f *elfFile) readSections(h elf.Header64) error {
	size := binary.Size(elf.Section64{})
	if f.header.Class == elf.ELFCLASS32 {
		size = binary.Size(elf.Section32{})
	}
	// A number of 0 means that it did not fit 16 bits: not in a module.
	if h.Shoff == 0 || h.Shnum == 0 || int(h.Shentsize) != size || h.Shstrndx >= h.Shnum {
		return fmt.Errorf("is damaged, or stripped of its sections: %d section headers of %d bytes at %d, names in section %d",
			h.Shnum, h.Shentsize, h.Shoff, h.Shstrndx)
	}
	table := uint64(h.Shnum) * uint64(size)
	if err := f.covers(h.Shoff, table); err != nil {
		return err
	}
	b := f.data[h.Shoff:][:table]
	f.sections = make([]elf.Section64, h.Shnum)
	for i := range f.sections {
		s, err := f.decodeSection(b[i*size:])
		if err != nil {
			return err
		}
		f.sections[i] = s
	}
	// The largest shortage is the one to report, so no return at the first.
	var short error
	missing := 0
	for _, s := range f.sections {
		if t := elf.SectionType(s.Type); t == elf.SHT_NOBITS || t == elf.SHT_NULL {
			continue
		}
		if err := f.covers(s.Off, s.Size); err != nil {
			var t *truncatedError
			if !errors.As(err, &t) {
				return err
			}
			if t.missing > missing {
				short, missing = err, t.missing
			}
		}
	}
	if short != nil {
		return short
	}
	names := f.sections[h.Shstrndx]
	if elf.SectionType(names.Type) != elf.SHT_STRTAB {
		return errors.New("is damaged: the names of its sections are no string table")
	}
	f.names = f.data[names.Off:][:names.Size]
	return nil
}

func (f *elfFile) decodeSection(b []byte) (elf.Section64, error) {
	var s elf.Section64
	if f.header.Class == elf.ELFCLASS64 {
		_, err := binary.Decode(b, f.header.ByteOrder, &s)
		return s, err
	}
	var n elf.Section32
	_, err := binary.Decode(b, f.header.ByteOrder, &n)
	return elf.Section64{Name: n.Name, Type: n.Type, Off: uint64(n.Off), Size: uint64(n.Size), Link: n.Link}, err
}

// covers returns an error unless the file has the bytes from off to off+size,
// and notes where the last ones end.
func (f *elfFile) covers(off, size uint64) error {
	if off > MaxSize || size > MaxSize {
		return fmt.Errorf("is damaged: it refers to %d bytes at %d", size, off)
	}
	end := int(off + size)
	if end > len(f.data) {
		return truncated(len(f.data), end)
	}
	f.end = max(f.end, end)
	return nil
}

// section returns the content of the first section with that name, or nil.
func (f *elfFile) section(name string) []byte {
	for _, s := range f.sections {
		if elf.SectionType(s.Type) == elf.SHT_NOBITS || elf.SectionType(s.Type) == elf.SHT_NULL {
			continue
		}
		if uint64(s.Name) >= uint64(len(f.names)) {
			continue
		}
		if n, _, ok := bytes.Cut(f.names[s.Name:], []byte{0}); ok && string(n) == name {
			return f.data[s.Off:][:s.Size:s.Size]
		}
	}
	return nil
}

type truncatedError struct{ have, missing int }

func truncated(have, want int) error { return &truncatedError{have: have, missing: want - have} }

func (e *truncatedError) Error() string {
	return fmt.Sprintf("is truncated: at least %d of %d bytes are missing", e.missing, e.have+e.missing)
}

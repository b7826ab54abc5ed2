package kernelmodules

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// layoutSymbol stands in a module's modversions beside the symbols that it uses: its CRC is that of
// struct module itself.
const layoutSymbol = "module_layout"

// An Import is a symbol that a module wants from the kernel.
type Import struct {
	Name   string
	CRC    uint32 // of the kernel that the module was built for
	HasCRC bool   // false without modversions
	Weak   bool   // the kernel may lack it
}

// Imports returns what the module wants from the kernel, by name: its undefined symbols, and
// those that its modversions list.
func (m *Module) Imports() ([]Import, error) {
	f, err := readELF(m.Data)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", m.Origin, err)
	}
	found := make(map[string]Import)
	if err := f.undefined(found); err != nil {
		return nil, fmt.Errorf("module %s: %w", m.Origin, err)
	}
	if err := f.versions(found); err != nil {
		return nil, fmt.Errorf("module %s: %w", m.Origin, err)
	}
	return slices.SortedFunc(maps.Values(found), func(a, b Import) int { return strings.Compare(a.Name, b.Name) }), nil
}

// CheckImports compares what the module wants with what a kernel exports, and returns a
// *MismatchError with every symbol that the kernel lacks, or has with another CRC, or
// nil. Without symvers it checks only that the module is whole in itself: each symbol has a CRC if
// its vermagic promises modversions.
//
// The kernel compares the same CRCs when it loads the module; one that loads in spite of a
// difference (insmod -f, a kernel without modversions) works on structures of another form.
func (m *Module) CheckImports(symvers *Symvers) error {
	imports, err := m.Imports()
	if err != nil {
		return err
	}
	var reasons []string
	no := func(format string, args ...any) { reasons = append(reasons, fmt.Sprintf(format, args...)) }
	words := strings.Fields(m.Vermagic)
	versions := slices.Contains(words, "modversions")
	if symvers != nil && versions != symvers.modversions() {
		if versions {
			no("it has modversions, which the kernel has not")
		} else {
			no("it has no modversions, which the kernel has")
		}
	}
	layout := false
	for _, i := range imports {
		layout = layout || i.Name == layoutSymbol
		if versions && !i.HasCRC {
			no("it has no CRC of the symbol %s", printable(i.Name))
		}
		if symvers == nil {
			continue
		}
		crc, exported := symvers.CRC(i.Name)
		switch {
		case !exported && !i.Weak:
			no("the kernel does not export the symbol %s", printable(i.Name))
		case exported && i.HasCRC && crc != i.CRC:
			no("the symbol %s has the CRC 0x%08x, in the kernel 0x%08x", printable(i.Name), i.CRC, crc)
		}
	}
	if versions && !layout {
		no("it has no CRC of struct module (%s)", layoutSymbol)
	}
	if reasons == nil {
		return nil
	}
	return &MismatchError{Origin: m.Origin, Kernel: Kernel{Release: m.Release(), Machine: m.Machine}, Reasons: reasons}
}

// undefined collects the undefined symbols of the symbol table.
func (f *elfFile) undefined(found map[string]Import) error {
	for _, s := range f.sections {
		if elf.SectionType(s.Type) != elf.SHT_SYMTAB {
			continue
		}
		if int(s.Link) >= len(f.sections) || elf.SectionType(f.sections[s.Link].Type) != elf.SHT_STRTAB {
			return errors.New("is damaged: its symbol table has no names")
		}
		names := f.sections[s.Link]
		strtab := f.data[names.Off:][:names.Size]
		for b := f.data[s.Off:][:s.Size]; len(b) > 0; {
			sym, n, err := f.symbol(b)
			if err != nil {
				return err
			}
			b = b[n:]
			bind := elf.ST_BIND(sym.Info)
			if elf.SectionIndex(sym.Shndx) != elf.SHN_UNDEF || bind == elf.STB_LOCAL {
				continue
			}
			if uint64(sym.Name) >= uint64(len(strtab)) {
				return errors.New("is damaged: a symbol's name lies outside of its table")
			}
			name, _, ok := bytes.Cut(strtab[sym.Name:], []byte{0})
			if !ok || len(name) == 0 {
				return errors.New("is damaged: a symbol that it wants has no name")
			}
			found[string(name)] = Import{Name: string(name), Weak: bind == elf.STB_WEAK}
		}
		return nil
	}
	return errors.New("has no symbol table: it was stripped too far to be loaded")
}

// symbol reads the symbol at the start of b, and says how many bytes it has.
func (f *elfFile) symbol(b []byte) (elf.Sym64, int, error) {
	var s elf.Sym64
	short := errors.New("is damaged: its symbol table ends within a symbol")
	if f.header.Class == elf.ELFCLASS64 {
		n, err := binary.Decode(b, f.header.ByteOrder, &s)
		if err != nil {
			return s, 0, short
		}
		return s, n, nil
	}
	var s32 elf.Sym32
	n, err := binary.Decode(b, f.header.ByteOrder, &s32)
	if err != nil {
		return s, 0, short
	}
	return elf.Sym64{Name: s32.Name, Info: s32.Info, Shndx: s32.Shndx}, n, nil
}

// versions adds the CRCs: those of __versions, and those that kernels since 6.14 keep in two
// sections when names are long (CONFIG_EXTENDED_MODVERSIONS).
func (f *elfFile) versions(found map[string]Import) error {
	add := func(name []byte, crc uint32) {
		i := found[string(name)]
		i.Name, i.CRC, i.HasCRC = string(name), crc, true
		found[i.Name] = i
	}
	// struct modversion_info: an unsigned long, and a name that fills 64 bytes.
	long := 8
	if f.header.Class == elf.ELFCLASS32 {
		long = 4
	}
	const entry = 64
	basic := f.section("__versions")
	if len(basic)%entry != 0 {
		return fmt.Errorf("is damaged: its modversions have %d bytes, no multiple of %d", len(basic), entry)
	}
	for b := range slices.Chunk(basic, entry) {
		name, _, ok := bytes.Cut(b[long:], []byte{0})
		if !ok || len(name) == 0 {
			return errors.New("is damaged: one of its modversions has no name")
		}
		crc := f.header.ByteOrder.Uint32(b)
		if long == 8 {
			crc = uint32(f.header.ByteOrder.Uint64(b))
		}
		add(name, crc)
	}
	crcs, names := f.section("__version_ext_crcs"), f.section("__version_ext_names")
	if len(crcs)%4 != 0 {
		return fmt.Errorf("is damaged: its extended modversions have %d bytes, no multiple of 4", len(crcs))
	}
	for b := range slices.Chunk(crcs, 4) {
		name, rest, ok := bytes.Cut(names, []byte{0})
		if !ok || len(name) == 0 {
			return errors.New("is damaged: its extended modversions have fewer names than CRCs")
		}
		add(name, f.header.ByteOrder.Uint32(b))
		names = rest
	}
	return nil
}
